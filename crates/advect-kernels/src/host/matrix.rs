//! Products of small matrices.
use super::lanes::{load, store};
use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdOp};

/// Rows of the left matrix that are multiplied at once.
pub(super) const BLOCK: usize = 8;
/// Vectors of the right matrix that are multiplied at once: 16 accumulators keep two multiply-add units of latency 4
/// busy and fit the registers of AVX-512.
pub(super) const VECTORS: usize = 2;

/// Rows with the 32 registers of AVX-512.
pub(super) const TALL: usize = 12;
/// Vectors of columns, and rows, of a wide tile, with as many sums: it loads ten times in a step, a tall one fourteen times, and reaches 97 to 100 % of what
/// a Zen 4 can multiply, where a tall one reaches 66 to 95 %.
pub(super) const WIDE: usize = 4;
pub(super) const WIDE_ROWS: usize = 6;

/// Steps of the depth, at most, of a part: with two vectors of AVX-512 these are 32 KiB of the right matrix.
const DEPTH: usize = 256;

/// `sums[i][j] += sum over d of a(i, d) * b(j, d)`, the products of each sum added in the order of `d`.
///
/// # Safety
///
/// For each i, j and d, `a` gives a pointer that is valid for reads of one float, and `b` one valid for reads of a
/// vector.
#[inline(always)]
pub(super) unsafe fn multiply_add<I: Isa, const M: usize, const N: usize>(
    isa: I,
    sums: &mut [[I::F32; N]; M],
    depth: usize,
    a: impl Fn(usize, usize) -> *const f32,
    b: impl Fn(usize, usize) -> *const f32,
) {
    let ops = isa.f32();
    // A copy, which the compiler can keep in registers.
    let mut local = *sums;
    for d in 0..depth {
        // SAFETY: as the caller promises.
        unsafe {
            let mut right = [ops.zero(); N];
            for (j, right) in right.iter_mut().enumerate() {
                *right = ops.load_ptr(b(j, d));
            }
            for (i, sums) in local.iter_mut().enumerate() {
                let left = ops.splat(*a(i, d));
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum = ops.mul_add(left, right, *sum);
                }
            }
        }
    }
    *sums = local;
}

/// The number of floats in a vector of this processor.
pub(super) fn lanes() -> usize {
    struct Lanes;
    impl SimdOp for Lanes {
        type Output = usize;

        fn eval<I: Isa>(self, isa: I) -> usize {
            isa.f32().len()
        }
    }
    Lanes.dispatch()
}

/// The left matrix: element (row, d) is at `start + row * row_step + d * depth_step`.
#[derive(Clone, Copy)]
pub(super) struct Left {
    pub start: *const f32,
    pub row_step: usize,
    pub depth_step: usize,
}

/// The right matrix, cut into panels of [`VECTORS`] vectors of columns: those of panel p and step d begin at `start + p
/// * panel_step + d * depth_step`, side by side, and whole vectors of them can be read.
#[derive(Clone, Copy)]
pub(super) struct Right {
    pub start: *const f32,
    pub panel_step: usize,
    pub depth_step: usize,
}

impl Right {
    /// Vector j of step d, counted from the panel that begins at `columns`.
    ///
    /// # Safety
    ///
    /// There is such a vector.
    #[inline(always)]
    pub(super) unsafe fn vector(&self, columns: *const f32, j: usize, d: usize, lanes: usize) -> *const f32 {
        // SAFETY: as the caller promises.
        unsafe { columns.add(j / VECTORS * self.panel_step).add(d * self.depth_step).add(j % VECTORS * lanes) }
    }
}

// SAFETY: a pointer alone does nothing; the matrix is only read, by whoever promises that it is there.
unsafe impl Send for Right {}
// SAFETY: as above.
unsafe impl Sync for Right {}

/// The result, row after row with `row_step` between them, and what is there before.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub start: *mut f32,
    pub row_step: usize,
    /// Whether the product is added to it.
    pub add: bool,
}

/// `target = left right` for matrices `[rows, depth]` and `[depth, columns]`.
///
/// A sum takes its products in the order of the depth, in parts of a length that the depth decides: it does not depend
/// on where its row and column lie.
///
/// # Safety
///
/// `left` and `right` are valid for reads, `target` is valid for writes of `columns` floats in each row and overlaps
/// neither.
pub(super) unsafe fn multiply(rows: usize, depth: usize, columns: usize, left: Left, right: Right, target: Target) {
    Multiply { rows, depth, columns, left, right, target, ahead: None, bias: None }.dispatch();
}

/// `target = bias + left right`, where a row's sums begin with its bias.
///
/// # Safety
///
/// As for [`multiply`]; `bias` is valid for reads of `rows` floats.
pub(super) unsafe fn multiply_biased(
    [rows, depth, columns]: [usize; 3],
    left: Left,
    right: Right,
    bias: *const f32,
    target: Target,
) {
    Multiply { rows, depth, columns, left, right, target, ahead: None, bias: Some(bias) }.dispatch();
}

/// [`multiply`], and the right matrix of the next product, one float of it for each of this one's, is fetched meanwhile.
///
/// # Safety
///
/// As for [`multiply`]; `next` may point anywhere.
pub(super) unsafe fn multiply_ahead(
    [rows, depth, columns]: [usize; 3],
    left: Left,
    right: Right,
    next: *const f32,
    target: Target,
) {
    Multiply { rows, depth, columns, left, right, target, ahead: Some(next), bias: None }.dispatch();
}

struct Multiply {
    rows: usize,
    depth: usize,
    columns: usize,
    left: Left,
    right: Right,
    target: Target,
    ahead: Option<*const f32>,
    bias: Option<*const f32>,
}

impl SimdOp for Multiply {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let lanes = isa.f32().len();
        // Steps and columns outside: their part of the right matrix stays in the first-level cache.
        let steps = self.depth.div_ceil(self.depth.div_ceil(DEPTH).max(1)).max(1);
        for first in (0..self.depth.max(1)).step_by(steps) {
            let mut part = Self { depth: steps.min(self.depth - first), ..self };
            // SAFETY: the matrices have these steps.
            unsafe {
                part.left.start = self.left.start.add(first * self.left.depth_step);
                part.right.start = self.right.start.add(first * self.right.depth_step);
            }
            if first > 0 {
                part.target.add = true;
                part.bias = None;
            }
            let mut column = 0;
            if lanes == 16 {
                while column + (WIDE - 1) * lanes < self.columns {
                    part.rows::<I, WIDE>(isa, column);
                    column += WIDE * lanes;
                }
            }
            while column + lanes < self.columns {
                part.rows::<I, VECTORS>(isa, column);
                column += VECTORS * lanes;
            }
            if column < self.columns {
                part.rows::<I, 1>(isa, column);
            }
        }
    }
}

impl Multiply {
    #[inline(always)]
    fn rows<I: Isa, const N: usize>(&self, isa: I, column: usize) {
        let mut row = 0;
        // More rows at once, where there are registers for their sums: fewer loads of the right matrix.
        if isa.f32().len() == 16 {
            let height = if N == WIDE { WIDE_ROWS } else { TALL };
            while self.rows - row >= height {
                if let Some(next) = self.ahead {
                    // Some lines of the cache for each step, shared among the first blocks of rows.
                    let share = (N * self.depth).div_ceil((self.rows / height).max(1));
                    let first = row / height * share;
                    for line in first..first + share {
                        isa.f32().prefetch(next.wrapping_add(column * self.depth + line * 16));
                    }
                }
                if N == WIDE {
                    self.block::<I, WIDE_ROWS, N>(isa, row, column);
                } else {
                    self.block::<I, TALL, N>(isa, row, column);
                }
                row += height;
            }
        }
        while row < self.rows {
            match self.rows - row {
                5.. if N == WIDE => {
                    self.block::<I, WIDE_ROWS, N>(isa, row, column);
                    return;
                }
                1 => self.block::<I, 1, N>(isa, row, column),
                2..=4 => self.block::<I, 4, N>(isa, row, column),
                _ => self.block::<I, BLOCK, N>(isa, row, column),
            }
            row += BLOCK;
        }
    }

    #[inline(always)]
    fn block<I: Isa, const M: usize, const N: usize>(&self, isa: I, row: usize, column: usize) {
        let ops = isa.f32();
        let Self { left, right, target, .. } = *self;
        let count = M.min(self.rows - row);
        // Rows behind the end are the last one again, and are not stored.
        let mut starts = [left.start; M];
        let mut sums = [[ops.zero(); N]; M];
        // SAFETY: as the caller of `multiply` promises; the rows and columns are inside.
        unsafe {
            for (i, start) in starts.iter_mut().enumerate() {
                *start = left.start.add((row + i.min(count - 1)) * left.row_step);
            }
            if let Some(bias) = self.bias {
                for (i, sums) in sums.iter_mut().enumerate() {
                    *sums = [ops.splat(*bias.add(row + i.min(count - 1))); N];
                }
            }
            let columns = right.start.add(column / (VECTORS * ops.len()) * right.panel_step);
            multiply_add(
                isa,
                &mut sums,
                self.depth,
                |i, d| starts[i].add(d * left.depth_step),
                |j, d| right.vector(columns, j, d, ops.len()),
            );
            // Whole tiles have loops without conditions: the compiler keeps the sums in registers.
            if count == M && self.columns - column >= N * ops.len() {
                for (i, sums) in sums.iter().enumerate() {
                    let out = target.start.add((row + i) * target.row_step + column);
                    if target.add {
                        for (j, sum) in sums.iter().enumerate() {
                            let out = out.add(j * ops.len());
                            ops.store_ptr(ops.add(ops.load_ptr(out), *sum), out);
                        }
                    } else {
                        for (j, sum) in sums.iter().enumerate() {
                            ops.store_ptr(*sum, out.add(j * ops.len()));
                        }
                    }
                }
                return;
            }
            // A copy: sums that are asked for by a number would all lie in memory.
            let last = sums;
            for (i, sums) in last.iter().enumerate().take(count) {
                let out = target.start.add((row + i) * target.row_step);
                for (j, sum) in sums.iter().enumerate() {
                    let at = column + j * ops.len();
                    let left = self.columns - at;
                    let sum = if target.add { ops.add(load(ops, out.add(at), left), *sum) } else { *sum };
                    store(ops, sum, out.add(at), left);
                }
            }
        }
    }
}
