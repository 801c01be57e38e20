//! The products of a linear layer, by the `gemm` crate, into memory that nobody has zeroed or copied before.
use super::buffer::{Shared, filled_by};
use super::threads;
use gemm::{Parallelism, gemm};
use std::mem::MaybeUninit;

/// Rows whose gradients are summed by one task: fixed, so that the number of threads changes no bit.
const ROWS: usize = 512;
/// Multiply-adds below which one thread is faster.
const PARALLEL: usize = 1 << 19;
/// Parts that a product is cut into for the threads, at most, and the least lines of one.
const STRIPS: usize = 8;
const STRIP: usize = 64;
/// Elements below which filling takes less than starting the other threads.
const LARGE: usize = 1 << 16;

/// The sizes of a linear layer on `[rows, from]`; none is 0.
#[derive(Clone, Copy)]
pub(crate) struct Linear {
    pub rows: usize,
    pub from: usize,
    pub to: usize,
}

/// A matrix in memory: from a row and from a column to the next. One of them is 1.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub values: &'a [f32],
    pub by_row: usize,
    pub by_column: usize,
}

impl Linear {
    /// `x weight + bias`, `[rows, to]`.
    pub(crate) fn forward(&self, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
        let Self { rows, from, to } = *self;
        self.check(&[(x, rows * from), (weight, from * to), (bias, to)]);
        let (x, weight) = (row_major(x, from), row_major(weight, to));
        // SAFETY: each row is a copy of the bias, to which the product is added.
        unsafe {
            filled_by(rows * to, |out| {
                let fill = |out: &mut [MaybeUninit<f32>]| {
                    let fill = |row: &mut [MaybeUninit<f32>]| {
                        for (out, bias) in row.iter_mut().zip(bias) {
                            out.write(*bias);
                        }
                    };
                    if rows * to < LARGE {
                        out.chunks_mut(to).for_each(fill);
                    } else {
                        threads::for_each_chunk(out, (LARGE / 4 / to + 1) * to, |_, rows| {
                            rows.chunks_mut(to).for_each(fill)
                        });
                    }
                };
                product([rows, from, to], x, weight, out, Some(&fill));
            })
        }
    }

    /// `gradient weight^T`, `[rows, from]`.
    pub(crate) fn input_gradient(&self, weight: &[f32], gradient: &[f32]) -> Vec<f32> {
        let Self { rows, from, to } = *self;
        self.check(&[(weight, from * to), (gradient, rows * to)]);
        let (gradient, weight) = (row_major(gradient, to), transposed(weight, to));
        // SAFETY: the product writes all of its elements.
        unsafe {
            filled_by(rows * from, |out| {
                product([rows, to, from], gradient, weight, out, None);
            })
        }
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

fn row_major(values: &[f32], columns: usize) -> Matrix<'_> {
    Matrix { values, by_row: columns, by_column: 1 }
}

/// The transpose of a matrix of so many columns.
fn transposed(values: &[f32], columns: usize) -> Matrix<'_> {
    Matrix { values, by_row: 1, by_column: columns }
}

/// `left right`, or that added to what `fill` writes: `[m, k]` times `[k, n]`.
///
/// # Safety
///
/// `out` has room for `m * n` floats, and `fill` writes them all; the matrices hold `m * k` and `k * n`.
unsafe fn product(
    [m, k, n]: [usize; 3],
    left: Matrix<'_>,
    right: Matrix<'_>,
    out: &mut [MaybeUninit<f32>],
    fill: Option<&dyn Fn(&mut [MaybeUninit<f32>])>,
) {
    debug_assert!(left.values.len() == m * k && right.values.len() == k * n && out.len() == m * n);
    if let Some(fill) = fill {
        fill(out);
    }
    #[cfg(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu"))]
    if super::tiles::pays([m, k, n]) {
        // SAFETY: as the caller promises.
        if unsafe { super::tiles::product([m, k, n], left, right, out.as_mut_ptr().cast(), fill.is_some()) } {
            return;
        }
        if let Some(fill) = fill {
            fill(out);
        }
    }
    // Strips of the longer side, as wide as its length says: whoever does them, a number is the same.
    let (by_row, add) = (m >= n, fill.is_some());
    let strip = if m * k * n < PARALLEL { m.max(n) } else { m.max(n).div_ceil(STRIPS).next_multiple_of(STRIP) };
    let out = Shared(out.as_mut_ptr().cast());
    threads::for_each(m.max(n).div_ceil(strip), |index| {
        let first = index * strip;
        let count = strip.min(m.max(n) - first);
        let ([m, n_of_strip], row, column) = if by_row { ([count, n], first, 0) } else { ([m, count], 0, first) };
        // SAFETY: as the caller promises, the strips are apart; strides stay within the slices, since one is 1 and the other the length of a line.
        unsafe {
            gemm(
                m,
                n_of_strip,
                k,
                out.at(row * n + column),
                1,
                n as isize,
                add,
                left.values.as_ptr().add(row * left.by_row),
                left.by_column as isize,
                left.by_row as isize,
                right.values.as_ptr().add(column * right.by_column),
                right.by_column as isize,
                right.by_row as isize,
                1.0,
                1.0,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    });
}
