use crate::DataError;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// An array of bytes in the IDX format of the MNIST files.
///
/// Y. LeCun, C. Cortes, C. Burges, *The MNIST database*: two zero bytes, the element type, the rank, the sizes as
/// big-endian 32-bit numbers, the elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idx {
    /// The sizes, outermost first.
    pub shape: Vec<usize>,
    /// The elements, the last axis fastest.
    pub values: Vec<u8>,
}

/// The type code of unsigned bytes, the only one that image sets use.
const UNSIGNED_BYTE: u8 = 0x08;
const MAX_RANK: u8 = 8;

impl Idx {
    /// Reads a file, packed with gzip or not.
    ///
    /// # Errors
    /// [`DataError::File`] if it cannot be read or is not an IDX file of unsigned bytes of the size that it states.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, DataError> {
        let path = path.as_ref();
        let failed = |reason: String| DataError::File { path: path.to_owned(), reason };
        let file = File::open(path).map_err(|e| failed(e.to_string()))?;
        let mut file = BufReader::new(file);
        let packed =
            std::io::BufRead::fill_buf(&mut file).map_err(|e| failed(e.to_string()))?.starts_with(&[0x1f, 0x8b]);
        if packed { Self::parse(flate2::bufread::MultiGzDecoder::new(file)) } else { Self::parse(file) }.map_err(failed)
    }

    /// Reads what follows from the header: never more than a byte beyond what that states, whatever a packed file unpacks to.
    fn parse(mut from: impl Read) -> Result<Self, String> {
        let short = |e: std::io::Error| format!("it ends too early ({e})");
        let mut magic = [0; 4];
        from.read_exact(&mut magic).map_err(short)?;
        let [0, 0, kind, rank @ 1..=MAX_RANK] = magic else {
            return Err(format!("it does not start like an IDX file, but with the bytes {magic:?}"));
        };
        if kind != UNSIGNED_BYTE {
            return Err(format!("its elements have the type 0x{kind:02x}; only unsigned bytes (0x08) are supported"));
        }
        let mut shape = Vec::new();
        for _ in 0..rank {
            let mut size = [0; 4];
            from.read_exact(&mut size).map_err(short)?;
            shape.push(u32::from_be_bytes(size) as usize);
        }
        let count = shape.iter().try_fold(1_usize, |count, &size| count.checked_mul(size));
        let count = count.ok_or_else(|| format!("its sizes {shape:?} are too large"))?;
        // Grown as bytes arrive: a header that lies costs no memory.
        let mut values = Vec::new();
        from.take((count as u64).saturating_add(1)).read_to_end(&mut values).map_err(short)?;
        if values.len() != count {
            let found = if values.len() > count { "more".to_owned() } else { values.len().to_string() };
            return Err(format!("it states {count} elements ({shape:?}), but has {found}"));
        }
        Ok(Self { shape, values })
    }
}

#[cfg(test)]
mod tests {
    use super::Idx;

    #[test]
    fn a_file_written_by_hand_is_read() {
        let bytes = [0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 255];
        let idx = Idx::parse(&bytes[..]).ok();
        assert_eq!(idx, Some(Idx { shape: vec![2, 3], values: vec![1, 2, 3, 4, 5, 255] }));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let said = |bytes: &[u8]| Idx::parse(bytes).err().unwrap_or_default();
        assert!(said(&[]).contains("too early"));
        assert!(said(&[0x89, b'P', b'N', b'G', 0]).contains("does not start like an IDX file"));
        assert!(said(&[0, 0, 0x0d, 1, 0, 0, 0, 1, 0, 0, 0, 0]).contains("0x0d"));
        assert!(said(&[0, 0, 8, 1, 0, 0, 0, 3, 1, 2]).contains("states 3 elements ([3]), but has 2"));
        assert!(said(&[0, 0, 8, 1, 0, 0, 0, 1, 1, 2]).contains("has more"));
        assert!(said(&[0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255]).contains("too large"));
        // 3 * 5 * 17 * 257 * 641 * 65537 * 6700417 = 2^64 - 1 elements over none: a count that has no next one.
        let mut bytes = vec![0, 0, 8, 3];
        for size in [3_u32 * 5 * 17 * 257, 641 * 65537, 6_700_417] {
            bytes.extend(size.to_be_bytes());
        }
        assert!(said(&bytes).contains("has 0"));
        // A header of 64 GiB over three bytes.
        assert!(said(&[0, 0, 8, 2, 0, 4, 0, 0, 0, 4, 0, 0, 1, 2, 3]).contains("has 3"));
    }
}
