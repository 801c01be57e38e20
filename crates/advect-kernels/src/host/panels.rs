//! Right matrices in panels, and products of them tile by tile in registers.
use super::buffer::Lines;
use super::matrix::{Left, Right, TALL, VECTORS, lanes, multiply_add};
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

/// The tiles of a product `[rows, depth]` times `[depth, columns]`: each begins with what `begin` says of its row and column, and `end` gets the sums.
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
    begin: impl Fn(usize, usize) -> I::F32,
    end: impl Fn(usize, usize, I::F32),
) {
    let lanes = isa.f32().len();
    let mut column = 0;
    while column < columns {
        let mut row = 0;
        while row < rows {
            // SAFETY: as the caller promises.
            row += unsafe {
                match (rows - row, columns - column > lanes, lanes == 16) {
                    (1, true, _) => tile::<I, 1, 2>(isa, depth, rows, row, column, left, right, &begin, &end),
                    (1, false, _) => tile::<I, 1, 1>(isa, depth, rows, row, column, left, right, &begin, &end),
                    (2..=4, true, _) => tile::<I, 4, 2>(isa, depth, rows, row, column, left, right, &begin, &end),
                    (2..=4, false, _) => tile::<I, 4, 1>(isa, depth, rows, row, column, left, right, &begin, &end),
                    (_, true, true) => tile::<I, TALL, 2>(isa, depth, rows, row, column, left, right, &begin, &end),
                    (_, false, true) => tile::<I, TALL, 1>(isa, depth, rows, row, column, left, right, &begin, &end),
                    (_, true, false) => tile::<I, LOW, 2>(isa, depth, rows, row, column, left, right, &begin, &end),
                    (_, false, false) => tile::<I, LOW, 1>(isa, depth, rows, row, column, left, right, &begin, &end),
                }
            };
        }
        column += VECTORS * lanes;
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
    depth: usize,
    rows: usize,
    row: usize,
    column: usize,
    left: Left,
    right: Right,
    begin: &impl Fn(usize, usize) -> I::F32,
    end: &impl Fn(usize, usize, I::F32),
) -> usize {
    let lanes = isa.f32().len();
    let count = M.min(rows - row);
    let mut starts = [left.start; M];
    let mut sums = [[isa.f32().zero(); N]; M];
    for (i, (start, sums)) in starts.iter_mut().zip(&mut sums).enumerate() {
        let row = row + i.min(count - 1);
        // SAFETY: the row is inside.
        *start = unsafe { left.start.add(row * left.row_step) };
        for (j, sum) in sums.iter_mut().enumerate() {
            *sum = begin(row, column + j * lanes);
        }
    }
    // SAFETY: as the caller promises.
    unsafe {
        let columns = right.start.add(column / (VECTORS * lanes) * right.panel_step);
        multiply_add(
            isa,
            &mut sums,
            depth,
            |i, d| starts[i].add(d * left.depth_step),
            |j, d| columns.add(d * right.depth_step + j * lanes),
        );
    }
    for (i, sums) in sums.iter().enumerate().take(count) {
        for (j, sum) in sums.iter().enumerate() {
            end(row + i, column + j * lanes, *sum);
        }
    }
    M
}
