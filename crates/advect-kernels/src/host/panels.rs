//! Right matrices in panels, and products of them tile by tile in registers.
use super::buffer::Lines;
use super::matrix::{Left, Right, TALL, VECTORS, WIDE, WIDE_ROWS, lanes, multiply_add};
use rten_simd::Isa;
use rten_simd::ops::BitOps;

/// Rows of a tile where there are 16 registers.
const LOW: usize = 6;

/// The right matrix of a product, `[depth, columns]`: as it is, if its rows are whole vectors; or in panels, with zeros behind the last column.
pub(super) fn panels(packed: &mut Lines, weight: &[f32], [depth, columns]: [usize; 2]) -> Right {
    let lanes = lanes();
    let width = VECTORS * lanes;
    if columns.is_multiple_of(lanes) {
        return Right { start: weight.as_ptr(), panel_step: width, depth_step: columns };
    }
    let out = packed.reserve(columns.div_ceil(width) * depth * width);
    for (panel, out) in out.chunks_exact_mut(depth * width).enumerate() {
        let first = panel * width;
        let count = width.min(columns - first);
        for (row, out) in weight.chunks_exact(columns).zip(out.chunks_exact_mut(width)) {
            out[..count].copy_from_slice(&row[first..first + count]);
        }
    }
    Right { start: out.as_ptr(), panel_step: depth * width, depth_step: width }
}

/// The transpose of a weight `[from, to]` in panels of its rows.
pub(super) fn transposed_panels(packed: &mut Lines, weight: &[f32], [from, to]: [usize; 2]) -> Right {
    let width = VECTORS * lanes();
    let out = packed.reserve(from.div_ceil(width) * to * width);
    for (rows, out) in weight.chunks(width * to).zip(out.chunks_exact_mut(to * width)) {
        for (i, row) in rows.chunks_exact(to).enumerate() {
            for (value, out) in row.iter().zip(out[i..].iter_mut().step_by(width)) {
                *out = *value;
            }
        }
    }
    Right { start: out.as_ptr(), panel_step: to * width, depth_step: width }
}

/// The tiles of a product `[rows, depth]` times `[depth, columns]`: each begins with what `begin` says of its row and column, and `end` gets the sums. Both hear
/// whether the vector is sure to end inside its row.
///
/// # Safety
///
/// `left` and `right` are valid for reads, whole vectors of the right one.
#[inline(always)]
pub(super) unsafe fn tiles<I: Isa>(
    isa: I,
    [rows, depth, columns]: [usize; 3],
    left: Left,
    right: Right,
    begin: impl Fn(usize, usize, bool) -> I::F32,
    end: impl Fn(usize, usize, I::F32, bool),
) {
    let (lanes, sizes) = (isa.f32().len(), [rows, depth, columns]);
    let mut column = 0;
    // SAFETY: as the caller promises.
    unsafe {
        if lanes == 16 {
            while column + (WIDE - 1) * lanes < columns {
                let mut row = 0;
                while row < rows {
                    row += match rows - row {
                        1 => tile::<I, 1, WIDE>(isa, sizes, row, column, left, right, &begin, &end),
                        2..=4 => tile::<I, 4, WIDE>(isa, sizes, row, column, left, right, &begin, &end),
                        _ => tile::<I, WIDE_ROWS, WIDE>(isa, sizes, row, column, left, right, &begin, &end),
                    };
                }
                column += WIDE * lanes;
            }
        }
        while column < columns {
            let mut row = 0;
            while row < rows {
                row += match (rows - row, columns - column > lanes, lanes == 16) {
                    (1, true, _) => tile::<I, 1, 2>(isa, sizes, row, column, left, right, &begin, &end),
                    (1, false, _) => tile::<I, 1, 1>(isa, sizes, row, column, left, right, &begin, &end),
                    (2..=4, true, _) => tile::<I, 4, 2>(isa, sizes, row, column, left, right, &begin, &end),
                    (2..=4, false, _) => tile::<I, 4, 1>(isa, sizes, row, column, left, right, &begin, &end),
                    (_, true, true) => tile::<I, TALL, 2>(isa, sizes, row, column, left, right, &begin, &end),
                    (_, false, true) => tile::<I, TALL, 1>(isa, sizes, row, column, left, right, &begin, &end),
                    (_, true, false) => tile::<I, LOW, 2>(isa, sizes, row, column, left, right, &begin, &end),
                    (_, false, false) => tile::<I, LOW, 1>(isa, sizes, row, column, left, right, &begin, &end),
                };
            }
            column += VECTORS * lanes;
        }
    }
}

/// One tile, of `M` rows (those behind the end are the last one again) and `N` vectors of columns; gives `M`.
///
/// # Safety
///
/// As for [`tiles`].
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn tile<I: Isa, const M: usize, const N: usize>(
    isa: I,
    [rows, depth, columns]: [usize; 3],
    row: usize,
    column: usize,
    left: Left,
    right: Right,
    begin: &impl Fn(usize, usize, bool) -> I::F32,
    end: &impl Fn(usize, usize, I::F32, bool),
) -> usize {
    let lanes = isa.f32().len();
    let count = M.min(rows - row);
    // Whole tiles, which nearly all are, have loops without conditions, and nothing asks for one of their sums by a number that is not known: the
    // compiler keeps them in registers.
    let whole = count == M && columns - column >= N * lanes;
    let mut starts = [left.start; M];
    let mut sums = [[isa.f32().zero(); N]; M];
    for (i, start) in starts.iter_mut().enumerate() {
        // SAFETY: the row is inside.
        *start = unsafe { left.start.add((row + i.min(count - 1)) * left.row_step) };
    }
    if whole {
        for (i, sums) in sums.iter_mut().enumerate() {
            for (j, sum) in sums.iter_mut().enumerate() {
                *sum = begin(row + i, column + j * lanes, true);
            }
        }
    } else {
        let mut first = [[isa.f32().zero(); N]; M];
        for (i, first) in first.iter_mut().enumerate() {
            for (j, first) in first.iter_mut().enumerate() {
                *first = begin(row + i.min(count - 1), column + j * lanes, false);
            }
        }
        sums = first;
    }
    // SAFETY: as the caller promises.
    unsafe {
        let panel = right.start.add(column / (VECTORS * lanes) * right.panel_step);
        multiply_add(
            isa,
            &mut sums,
            depth,
            |i, d| starts[i].add(d * left.depth_step),
            |j, d| right.vector(panel, j, d, lanes),
        );
    }
    if whole {
        for (i, sums) in sums.iter().enumerate() {
            for (j, sum) in sums.iter().enumerate() {
                end(row + i, column + j * lanes, *sum, true);
            }
        }
    } else {
        let last = sums;
        for (i, sums) in last.iter().enumerate().take(count) {
            for (j, sum) in sums.iter().enumerate() {
                end(row + i, column + j * lanes, *sum, false);
            }
        }
    }
    M
}
