//! The products of a linear layer, into memory that nobody has zeroed or copied before.
use super::buffer::filled_by;
use super::product::{product, row_major, transposed};
use super::threads;

/// Rows whose gradients are summed by one task: fixed, so that the number of threads changes no bit.
const ROWS: usize = 512;
/// Elements below which summing takes less than starting the other threads.
const LARGE: usize = 1 << 16;

/// The sizes of a linear layer on `[rows, from]`; none is 0.
#[derive(Clone, Copy)]
pub(crate) struct Linear {
    pub rows: usize,
    pub from: usize,
    pub to: usize,
}

impl Linear {
    /// `x weight + bias`, `[rows, to]`.
    pub(crate) fn forward(&self, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
        let Self { rows, from, to } = *self;
        self.check(&[(x, rows * from), (weight, from * to), (bias, to)]);
        let (x, weight) = (row_major(x, from), row_major(weight, to));
        // SAFETY: the product writes all of its elements.
        unsafe { filled_by(rows * to, |out| product([rows, from, to], x, weight, out, Some(bias))) }
    }

    /// `gradient weight^T`, `[rows, from]`.
    pub(crate) fn input_gradient(&self, weight: &[f32], gradient: &[f32]) -> Vec<f32> {
        let Self { rows, from, to } = *self;
        self.check(&[(weight, from * to), (gradient, rows * to)]);
        let (gradient, weight) = (row_major(gradient, to), transposed(weight, to));
        // SAFETY: the product writes all of its elements.
        unsafe { filled_by(rows * from, |out| product([rows, to, from], gradient, weight, out, None)) }
    }

    /// `x^T gradient`, `[from, to]`.
    pub(crate) fn weight_gradient(&self, x: &[f32], gradient: &[f32]) -> Vec<f32> {
        let Self { rows, from, to } = *self;
        self.check(&[(x, rows * from), (gradient, rows * to)]);
        let (x, gradient) = (transposed(x, from), row_major(gradient, to));
        // SAFETY: the product writes all of its elements.
        unsafe { filled_by(from * to, |out| product([from, rows, to], x, gradient, out, None)) }
    }

    fn check(&self, slices: &[(&[f32], usize)]) {
        assert!(self.rows > 0 && self.from > 0 && self.to > 0);
        assert!(slices.iter().all(|(slice, len)| slice.len() == *len));
    }
}

/// The sum of the rows of `[.., to]`.
pub(crate) fn bias_gradient(to: usize, gradient: &[f32]) -> Vec<f32> {
    let sum = |rows: &[f32]| {
        let mut sums = vec![0.0_f32; to];
        for row in rows.chunks_exact(to) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += value;
            }
        }
        sums
    };
    let parts: Vec<Vec<f32>> = if gradient.len() < LARGE {
        gradient.chunks(ROWS * to).map(sum).collect()
    } else {
        let piece = ROWS * to;
        threads::map(gradient.len().div_ceil(piece), |i| sum(&gradient[i * piece..gradient.len().min((i + 1) * piece)]))
    };
    parts.into_iter().reduce(|a, b| a.iter().zip(&b).map(|(a, b)| a + b).collect()).unwrap_or_else(|| vec![0.0; to])
}
