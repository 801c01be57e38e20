use crate::{DataError, Dataset, Units};
use std::io::Read;

const PACKED: &[u8] = include_bytes!("../data/digits.bin.gz");
const COUNT: usize = 1797;
const PIXELS: usize = 64;

/// The 1,797 handwritten digits of the UCI set: 8x8 pixels of 0 (paper) to 16 (ink), ten classes.
///
/// E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine Learning Repository, 1998,
/// <https://doi.org/10.24432/C50P49>, CC BY 4.0. Embedded in the crate; nothing is downloaded.
///
/// # Shapes
/// - one sample: `[1, 8, 8]`; models see `[-1, 1]`
///
/// # Errors
/// [`DataError::Damaged`] if the embedded bytes do not unpack.
pub fn digits() -> Result<Dataset, DataError> {
    let damaged = |reason: String| DataError::Damaged { name: "digits", reason };
    let mut bytes = Vec::with_capacity(COUNT * (PIXELS + 1));
    flate2::read::GzDecoder::new(PACKED).read_to_end(&mut bytes).map_err(|e| damaged(e.to_string()))?;
    if bytes.len() != COUNT * (PIXELS + 1) {
        return Err(damaged(format!("{} bytes instead of {}", bytes.len(), COUNT * (PIXELS + 1))));
    }
    let (labels, pixels) = bytes.split_at(COUNT);
    let values = pixels.iter().map(|&p| f32::from(p)).collect();
    let labels = labels.iter().map(|&l| usize::from(l)).collect();
    Dataset::new(vec![1, 8, 8], values, Some(labels), 10, Units { offset: 8.0, scale: 8.0 })
}
