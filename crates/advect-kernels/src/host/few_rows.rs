//! Products of few rows and a large matrix; of a handful, they take as long as the matrix takes to come.
//!
//! Each element of it is read once for every four rows, in the order in which it lies. A thread that has the same columns each time finds them in its own cache.
use super::buffer::Shared;
use super::lanes::{load, store};
use super::product::Matrix;
use super::threads;
use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdOp};

/// Rows of the left matrix, at most, for which this is the way without the vectors of AVX-512; with them, all for which no copy of the right matrix pays.
pub(super) const FEW: usize = 8;
/// Steps of the depth, at most: a number of the result is one sum, of one product after the other.
pub(super) const DEEPEST: usize = 1 << 12;
/// Columns of a task: half a kilobyte of a row, which the processor asks for in time by itself.
const STRIP: usize = 128;
/// Elements of the right matrix below which one thread is faster, if they are not multiplied often.
const LARGE: usize = 1 << 16;
/// Multiply-adds from which more of them are.
const MANY: usize = 1 << 19;

/// Columns of a task in a right matrix that is stored column by column.
const LINES: usize = 32;

/// `out = left right`, plus `bias` in each row, for a right matrix whose rows lie one after the other.
///
/// # Safety
///
/// The matrices hold `m * k` and `k * n` floats and the bias `n`; `out` is valid for writes of `m * n`.
pub(super) unsafe fn product(
    [m, k, n]: [usize; 3],
    left: Matrix<'_>,
    right: Matrix<'_>,
    out: *mut f32,
    bias: Option<&[f32]>,
) {
    debug_assert!(right.by_column == 1);
    let out = Shared(out);
    let strip = if k * n < LARGE && m * k * n < MANY { n } else { STRIP };
    threads::for_each(n.div_ceil(strip), |index| {
        let first = index * strip;
        Columns { sizes: [m, k, n], columns: first..n.min(first + strip), left, right, bias, out }.dispatch();
    });
}

/// The same without a bias for a right matrix that is stored column by column, and a left one row by row.
///
/// # Safety
///
/// As for [`product`].
pub(super) unsafe fn product_of_lines([m, k, n]: [usize; 3], left: Matrix<'_>, right: Matrix<'_>, out: *mut f32) {
    debug_assert!(left.by_column == 1 && right.by_row == 1);
    let out = Shared(out);
    let strip = if k * n < LARGE && m * k * n < MANY { n } else { LINES };
    threads::for_each(n.div_ceil(strip), |index| {
        let first = index * strip;
        Dots(Columns { sizes: [m, k, n], columns: first..n.min(first + strip), left, right, bias: None, out })
            .dispatch();
    });
}

/// Some columns of the product.
struct Columns<'a> {
    sizes: [usize; 3],
    columns: std::ops::Range<usize>,
    left: Matrix<'a>,
    right: Matrix<'a>,
    bias: Option<&'a [f32]>,
    out: Shared,
}

impl SimdOp for Columns<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let m = self.sizes[0];
        // As many sums as the multiply-add units need to be busy, where there are so many registers.
        let wide = isa.f32().len() == 16;
        let mut row = 0;
        while row < m {
            row += match (m - row, wide) {
                (1, _) => self.rows::<I, 1, 8>(isa, row),
                (2, true) => self.rows::<I, 2, 8>(isa, row),
                (2, false) => self.rows::<I, 2, 4>(isa, row),
                (3, true) => self.rows::<I, 3, 4>(isa, row),
                (3, false) => self.rows::<I, 3, 2>(isa, row),
                (_, true) => self.rows::<I, 4, 4>(isa, row),
                (_, false) => self.rows::<I, 4, 2>(isa, row),
            };
        }
    }
}

impl Columns<'_> {
    /// `M` rows, `N` vectors of columns at a time; gives `M`.
    #[inline(always)]
    fn rows<I: Isa, const M: usize, const N: usize>(&self, isa: I, row: usize) -> usize {
        let width = N * isa.f32().len();
        for column in self.columns.clone().step_by(width) {
            if self.columns.end - column >= width {
                self.tile::<I, M, N>(isa, row, column, usize::MAX);
            } else {
                self.tile::<I, M, N>(isa, row, column, self.columns.end - column);
            }
        }
        M
    }

    /// The sums of one step after the other, of the columns that are left.
    #[inline(always)]
    fn tile<I: Isa, const M: usize, const N: usize>(&self, isa: I, row: usize, column: usize, left: usize) {
        let (ops, [_, k, n]) = (isa.f32(), self.sizes);
        let behind = |vector: usize| left.saturating_sub(vector * ops.len());
        // SAFETY: rows and columns are inside; vectors are cut off behind the last column.
        unsafe {
            let mut sums = [[ops.zero(); N]; M];
            if let Some(bias) = self.bias {
                for (j, sum) in sums[0].iter_mut().enumerate() {
                    *sum = load(ops, bias.as_ptr().add(column).wrapping_add(j * ops.len()), behind(j));
                }
                sums = [sums[0]; M];
            }
            let (a, b) =
                (self.left.values.as_ptr().add(row * self.left.by_row), self.right.values.as_ptr().add(column));
            for step in 0..k {
                let b = b.add(step * self.right.by_row);
                let mut values = [ops.zero(); N];
                for (j, value) in values.iter_mut().enumerate() {
                    *value = load(ops, b.wrapping_add(j * ops.len()), behind(j));
                }
                for (i, sums) in sums.iter_mut().enumerate() {
                    let factor = ops.splat(*a.add(i * self.left.by_row + step * self.left.by_column));
                    for (sum, value) in sums.iter_mut().zip(values) {
                        *sum = ops.mul_add(factor, value, *sum);
                    }
                }
            }
            for (i, sums) in sums.into_iter().enumerate() {
                for (j, sum) in sums.into_iter().enumerate() {
                    store(ops, sum, self.out.at((row + i) * n + column).wrapping_add(j * ops.len()), behind(j));
                }
            }
        }
    }
}

/// Some columns of a product of rows and columns that lie one after the other: each number is as many sums as a vector has numbers, and then their sum.
struct Dots<'a>(Columns<'a>);

impl SimdOp for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let (m, end) = (self.0.sizes[0], self.0.columns.end);
        let mut column = self.0.columns.start;
        while column < end {
            // Four columns of up to some 2,000 steps stay in the first-level cache until all rows have been there.
            column += if end - column >= 4 {
                self.column::<I, 4>(isa, column, m)
            } else {
                self.column::<I, 1>(isa, column, m)
            };
        }
    }
}

impl Dots<'_> {
    /// All rows times `N` columns; gives `N`.
    #[inline(always)]
    fn column<I: Isa, const N: usize>(&self, isa: I, column: usize, rows: usize) -> usize {
        // Without AVX-512 half as many sums, for as many registers.
        let wide = isa.f32().len() == 16;
        let mut row = 0;
        while row < rows {
            row += match (rows - row, wide) {
                (1, _) => self.tile::<I, 1, N>(isa, row, column),
                (2 | 3, _) | (_, false) => self.tile::<I, 2, N>(isa, row, column),
                (_, true) => self.tile::<I, 4, N>(isa, row, column),
            };
        }
        N
    }

    /// `M` rows times `N` columns; gives `M`.
    #[inline(always)]
    fn tile<I: Isa, const M: usize, const N: usize>(&self, isa: I, row: usize, column: usize) -> usize {
        let Columns { sizes: [_, k, n], left, right, out, .. } = self.0;
        let ops = isa.f32();
        let mut sums = [[ops.zero(); N]; M];
        // SAFETY: rows and columns are inside; vectors are cut off behind the last step.
        unsafe {
            let a = left.values.as_ptr().add(row * left.by_row);
            let b = right.values.as_ptr().add(column * right.by_column);
            let whole = k - k % ops.len();
            for at in (0..whole).step_by(ops.len()) {
                add::<I, M, N>(isa, &mut sums, [a.add(at), b.add(at)], [left.by_row, right.by_column], usize::MAX);
            }
            if whole < k {
                let from = [a.add(whole), b.add(whole)];
                add::<I, M, N>(isa, &mut sums, from, [left.by_row, right.by_column], k - whole);
            }
            for (i, sums) in sums.into_iter().enumerate() {
                for (j, sum) in sums.into_iter().enumerate() {
                    *out.at((row + i) * n + column + j) = ops.sum(sum);
                }
            }
        }
        M
    }
}

/// Adds the products of a vector of each row and of each column, or of the `rest` that is left of them.
///
/// # Safety
///
/// The lines are valid for reads of so many floats.
#[inline(always)]
unsafe fn add<I: Isa, const M: usize, const N: usize>(
    isa: I,
    sums: &mut [[I::F32; N]; M],
    [a, b]: [*const f32; 2],
    [row, column]: [usize; 2],
    rest: usize,
) {
    let ops = isa.f32();
    // SAFETY: as the caller promises.
    unsafe {
        let mut values = [ops.zero(); N];
        for (j, value) in values.iter_mut().enumerate() {
            *value = load(ops, b.add(j * column), rest);
        }
        for (i, sums) in sums.iter_mut().enumerate() {
            let factor = load(ops, a.add(i * row), rest);
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum = ops.mul_add(factor, value, *sum);
            }
        }
    }
}
