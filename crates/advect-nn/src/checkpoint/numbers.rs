//! Numbers as bytes: transposed, joined, compared, counted. No number is converted here, so all of it is exact.

use burn::tensor::{DType, TensorData};

/// The transpose of a row-major `[rows, columns]` matrix of numbers of `size` bytes.
pub(crate) fn transpose(bytes: &[u8], [rows, columns]: [usize; 2], size: usize) -> Vec<u8> {
    fn cells<const N: usize>(bytes: &[u8], [rows, columns]: [usize; 2]) -> Vec<u8> {
        /// In tiles that stay in the first cache, or each number would cost a cache line.
        const TILE: usize = 32;
        let (from, _) = bytes.as_chunks::<N>();
        let mut to = vec![[0; N]; from.len()];
        for top in (0..rows).step_by(TILE) {
            for left in (0..columns).step_by(TILE) {
                for row in top..rows.min(top + TILE) {
                    for column in left..columns.min(left + TILE) {
                        to[column * rows + row] = from[row * columns + column];
                    }
                }
            }
        }
        to.into_flattened()
    }
    match size {
        2 => cells::<2>(bytes, [rows, columns]),
        4 => cells::<4>(bytes, [rows, columns]),
        8 => cells::<8>(bytes, [rows, columns]),
        _ => cells::<1>(bytes, [rows, columns]),
    }
}

/// The numbers of `size` bytes of a strided view, in the order of its shape. All of it must be in `bytes`.
pub(crate) fn gather(bytes: &[u8], shape: &[usize], stride: &[usize], size: usize) -> Vec<u8> {
    let count: usize = shape.iter().product();
    let mut gathered = Vec::with_capacity(count * size);
    let mut index = vec![0; shape.len()];
    for _ in 0..count {
        let at = size * index.iter().zip(stride).map(|(i, step)| i * step).sum::<usize>();
        gathered.extend_from_slice(&bytes[at..at + size]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    gathered
}

/// How many of the numbers are NaN or infinite: those whose exponent is all ones. Integers never are.
pub(crate) fn not_finite(data: &TensorData) -> usize {
    let bytes = data.as_bytes();
    let halves = |mask: u16| {
        let words = bytes.as_chunks::<2>().0.iter();
        words.filter(|word| u16::from_le_bytes(**word) & mask == mask).count()
    };
    match data.dtype() {
        DType::F64 => {
            let words = bytes.as_chunks::<8>().0.iter();
            words.filter(|word| !f64::from_le_bytes(**word).is_finite()).count()
        }
        DType::F32 | DType::Flex32 => {
            let words = bytes.as_chunks::<4>().0.iter();
            words.filter(|word| !f32::from_le_bytes(**word).is_finite()).count()
        }
        DType::F16 => halves(0x7c00),
        DType::BF16 => halves(0x7f80),
        _ => 0,
    }
}
