//! Products of large matrices.
//!
//! With the 32 registers of AVX-512 the right matrix is copied into panels once, by all threads, and the left one is read where it lies: tiles of six rows and four
//! vectors of columns reach nearly all that the multiply-add units can do. On processors with matrix units those do it ([`tiles`](super::tiles)), on all others the `gemm` crate. Few rows read the right matrix where it lies ([`few_rows`]).
use super::buffer::{Lines, Shared};
use super::few_rows::{self, DEEPEST, FEW};
use super::lanes::{SQUARE, load, load_if, store, store_if, transpose_square};
use super::matrix::{Left, Right, TALL, VECTORS, lanes};
use super::panels;
use super::threads;
use super::tiles::{self, Operand, Page, pays};
use gemm::{Parallelism, gemm};
use rten_simd::ops::BitOps;
use rten_simd::{Isa, SimdOp};
use std::mem::MaybeUninit;

/// Multiply-adds below which one thread is faster.
const PARALLEL: usize = 1 << 19;
/// Parts that a product of the `gemm` crate is cut into for the threads, at most, and the least lines of one.
const STRIPS: usize = 8;
const STRIP: usize = 64;
/// Elements below which filling takes less than starting the other threads.
const LARGE: usize = 1 << 16;
/// Rows of the left matrix from which a copy of the right one pays.
const MANY: usize = 4 * TALL;
/// Rows of a task, at most: with [`DEPTH`] steps of the left matrix they stay in the second-level cache.
const ROWS: usize = 8 * TALL;
/// Steps of the depth of a pass: a panel of so many, 48 KiB, streams from the second-level cache once for each task.
const DEPTH: usize = 384;

/// A matrix in memory: from a row and from a column to the next. One of them is 1.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub values: &'a [f32],
    pub by_row: usize,
    pub by_column: usize,
}

pub(super) fn row_major(values: &[f32], columns: usize) -> Matrix<'_> {
    Matrix { values, by_row: columns, by_column: 1 }
}

/// The transpose of a matrix of so many columns.
pub(super) fn transposed(values: &[f32], columns: usize) -> Matrix<'_> {
    Matrix { values, by_row: 1, by_column: columns }
}

/// `left right`, plus `bias` in each row: `[m, k]` times `[k, n]`.
///
/// Which way it goes depends on the sizes and the processor (and, with matrix units, on whether all numbers are finite), a number of the result on nothing else but
/// its row and column.
///
/// # Panics
///
/// If the slices have other lengths.
pub(super) fn product(
    [m, k, n]: [usize; 3],
    left: Matrix<'_>,
    right: Matrix<'_>,
    out: &mut [MaybeUninit<f32>],
    bias: Option<&[f32]>,
) {
    assert!(left.values.len() == m * k && right.values.len() == k * n && out.len() == m * n);
    assert!(bias.is_none_or(|bias| bias.len() == n));
    if pays([m, k, n]) {
        let left = Operand { values: left.values, line: left.by_row, deep: left.by_column, page: Page::ONE };
        let right = Operand { values: right.values, line: right.by_column, deep: right.by_row, page: Page::ONE };
        // SAFETY: the slices have the lengths asserted above.
        if unsafe { tiles::product([m, k, n], left, right, out.as_mut_ptr().cast(), bias) } {
            return;
        }
    }
    let few = if lanes() == 16 { MANY - 1 } else { FEW };
    let by_rows = left.by_column == 1;
    if m <= few && k <= DEEPEST && right.by_column == 1 && (m <= FEW || by_rows) {
        // SAFETY: as above.
        unsafe { few_rows::product([m, k, n], left, right, out.as_mut_ptr().cast(), bias) };
    } else if m <= few && bias.is_none() && by_rows && right.by_row == 1 {
        // SAFETY: as above.
        unsafe { few_rows::product_of_lines([m, k, n], left, right, out.as_mut_ptr().cast()) };
    } else if m >= MANY && m * k * n >= PARALLEL && lanes() == 16 {
        in_panels([m, k, n], left, right, out, bias);
    } else {
        fill(n, out, bias);
        // SAFETY: the slices have the lengths asserted above, and `out` holds the bias if there is one.
        unsafe { by_gemm([m, k, n], left, right, out, bias.is_some()) };
    }
}

/// Writes the bias into each row.
fn fill(n: usize, out: &mut [MaybeUninit<f32>], bias: Option<&[f32]>) {
    let Some(bias) = bias else { return };
    let rows = |rows: &mut [MaybeUninit<f32>]| {
        for row in rows.chunks_mut(n) {
            for (out, bias) in row.iter_mut().zip(bias) {
                out.write(*bias);
            }
        }
    };
    if out.len() < LARGE {
        rows(out);
    } else {
        threads::for_each_chunk(out, (LARGE / 4 / n + 1) * n, |_, part| rows(part));
    }
}

/// The product by tiles, on a copy of the right matrix in panels.
fn in_panels(
    [m, k, n]: [usize; 3],
    left: Matrix<'_>,
    right: Matrix<'_>,
    out: &mut [MaybeUninit<f32>],
    bias: Option<&[f32]>,
) {
    let width = VECTORS * lanes();
    let mut packed = Lines::default();
    // The copies of a pass lie side by side: [pass, panel, step, column].
    let room = packed.room(n.div_ceil(width) * width * k);
    let start = Shared(room.as_mut_ptr().cast());
    let panels = n.div_ceil(width);
    threads::for_each(panels, |panel| {
        for first in (0..k).step_by(DEPTH) {
            let depth = DEPTH.min(k - first);
            let (first, sizes) = ([first, panel * width], [depth, width.min(n - panel * width)]);
            // SAFETY: the panel of this pass belongs to this task alone.
            let to = unsafe { start.at(first[0] * panels * width + panel * depth * width) };
            Pack { from: right, first, sizes, width, to }.dispatch();
        }
    });
    let out = Shared(out.as_mut_ptr().cast());
    let task = rows_of_task(m, rayon::current_num_threads());
    threads::for_each_init(m.div_ceil(task), Lines::default, |scratch, index| {
        let row = index * task;
        let rows = task.min(m - row);
        let scratch = scratch.room(if left.by_row == 1 { task * DEPTH } else { 0 }).as_mut_ptr().cast::<f32>();
        for first in (0..k).step_by(DEPTH) {
            let depth = DEPTH.min(k - first);
            // SAFETY: the rows of the result belong to this task, and the matrices are as long as asserted.
            unsafe {
                let from = left.values.as_ptr().add(row * left.by_row + first * left.by_column);
                let left = Left { start: from, row_step: left.by_row, depth_step: left.by_column };
                let right =
                    Right { start: start.at(first * panels * width), panel_step: depth * width, depth_step: width };
                Pass { sizes: [rows, depth, n], left, right, bias, first: first == 0, out: out.at(row * n), scratch }
                    .dispatch();
            }
        }
    });
}

/// Rows of a task: whole tiles, and such that so many threads end together.
fn rows_of_task(rows: usize, threads: usize) -> usize {
    let last = |task: usize| rows.div_ceil(task).div_ceil(threads) * task;
    (1..=ROWS / TALL).map(|tiles| tiles * TALL).rev().min_by_key(|task| last(*task)).unwrap_or(ROWS)
}

/// Packs `[steps, columns]` of a matrix, from a step and a column on, to lines of `width` floats, with zeros behind the last column.
struct Pack<'a> {
    from: Matrix<'a>,
    first: [usize; 2],
    sizes: [usize; 2],
    width: usize,
    /// Room for `steps * width` floats.
    to: *mut f32,
}

impl SimdOp for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let (ops, Self { from, first, sizes: [steps, columns], width, to }) = (isa.f32(), self);
        // SAFETY: as `in_panels` promises, what is read lies inside of the matrix and what is written in the room.
        unsafe {
            let start = from.values.as_ptr().add(first[0] * from.by_row + first[1] * from.by_column);
            if from.by_column == 1 {
                for step in 0..steps {
                    for at in (0..width).step_by(ops.len()) {
                        // Nothing is left behind the last column.
                        let left = columns.saturating_sub(at);
                        let value =
                            if left == 0 { ops.zero() } else { load(ops, start.add(step * from.by_row + at), left) };
                        ops.store_ptr(value, to.add(step * width + at));
                    }
                }
                return;
            }
            let squares = [steps / SQUARE * SQUARE, columns / SQUARE * SQUARE];
            for column in (0..squares[1]).step_by(SQUARE) {
                for step in (0..squares[0]).step_by(SQUARE) {
                    let start = start.add(column * from.by_column + step);
                    transpose_square(start, from.by_column, to.add(step * width + column), width);
                }
            }
            for step in 0..steps {
                let rest = if step < squares[0] { squares[1] } else { 0 };
                for column in rest..width {
                    let value = if column < columns { *start.add(column * from.by_column + step) } else { 0.0 };
                    *to.add(step * width + column) = value;
                }
            }
        }
    }
}

/// Some rows of the product, some steps of its depth.
struct Pass<'a> {
    sizes: [usize; 3],
    left: Left,
    right: Right,
    bias: Option<&'a [f32]>,
    /// Whether these are the first steps; otherwise the result is added to.
    first: bool,
    out: *mut f32,
    /// Room for the left matrix where the rows lie across.
    scratch: *mut f32,
}

impl SimdOp for Pass<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let (ops, &Self { sizes: [rows, depth, n], mut left, right, bias, first, out, scratch }) = (isa.f32(), &self);
        // SAFETY: as `in_panels` promises; loads and stores end with a row.
        unsafe {
            if left.row_step == 1 {
                // Otherwise each step of each tile would be a line of the cache of its own, at distances that share few of its sets.
                for step in 0..depth {
                    let from = left.start.add(step * left.depth_step);
                    for at in (0..rows).step_by(ops.len()) {
                        let value = load(ops, from.add(at), rows - at);
                        store(ops, value, scratch.add(step * rows + at), rows - at);
                    }
                }
                left = Left { start: scratch, row_step: 1, depth_step: rows };
            }
            let end = |row: usize, column: usize, sum, whole| {
                store_if(ops, sum, out.add(row * n + column), n - column, whole);
            };
            match (first, bias) {
                (false, _) => {
                    let begin =
                        |row: usize, column: usize, whole| load_if(ops, out.add(row * n + column), n - column, whole);
                    panels::tiles(isa, [rows, depth, n], left, right, begin, end);
                }
                (true, Some(bias)) => {
                    let begin = |_, column: usize, whole| load_if(ops, bias.as_ptr().add(column), n - column, whole);
                    panels::tiles(isa, [rows, depth, n], left, right, begin, end);
                }
                (true, None) => panels::tiles(isa, [rows, depth, n], left, right, |_, _, _| ops.zero(), end),
            }
        }
    }
}

/// The product by the `gemm` crate, added to what is there or not.
///
/// # Safety
///
/// `out` has room for `m * n` floats, and holds them if they are added to; the matrices hold `m * k` and `k * n`.
unsafe fn by_gemm([m, k, n]: [usize; 3], left: Matrix<'_>, right: Matrix<'_>, out: &mut [MaybeUninit<f32>], add: bool) {
    // Strips of the longer side, as wide as its length says: whoever does them, a number is the same.
    let by_row = m >= n;
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
