//! Matrices in parts of bfloat16, in the order in which the matrix units read them.
use super::{Operand, Piece, STEP};
use crate::squares::transpose;
use std::arch::x86_64::*;

/// Floats that are asked for ahead in each of 16 lines, which are more than the processor foresees.
const AHEAD: usize = 128;

/// What is packed: lines and steps from the first on, none behind the end.
pub(super) struct Lines<'a> {
    pub of: Operand<'a>,
    pub first: (usize, usize),
    pub end: (usize, usize),
}

/// How a tile lies in memory. Two steps that are multiplied at a time are 16 apart, on both sides: then one of them is the lower half of a vector's numbers
/// and the other the upper half, without a shuffle.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Order {
    /// Line by line, each of 32 steps.
    Lines,
    /// Two steps at a time, each pair of all 16 lines.
    Pairs,
}

/// Writes the parts of so many blocks of lines and `steps` of each, `[block, step]`; false if one of the numbers is not finite.
///
/// # Safety
///
/// The processor has AVX-512; there is room for the pieces.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn pack(lines: &Lines<'_>, order: Order, pieces: *mut Piece, [blocks, steps]: [usize; 2]) -> bool {
    let mut sums = [_mm512_setzero_ps(); 2];
    // SAFETY: as the caller promises.
    unsafe {
        // Along what lies side by side in memory.
        if lines.of.deep == 1 {
            for tile in 0..2 * blocks {
                for step in 0..steps {
                    pack_tile(lines, order, tile, step, pieces.add(tile / 2 * steps + step), &mut sums);
                }
            }
        } else {
            for step in 0..steps {
                for tile in 0..2 * blocks {
                    pack_tile(lines, order, tile, step, pieces.add(tile / 2 * steps + step), &mut sums);
                }
            }
        }
    }
    _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(sums[0], sums[1]) == 0
}

/// One of the two tiles of a piece; what is added to `sums` is zero, or not a number if one of the tile's is not finite.
///
/// # Safety
///
/// The processor has AVX-512; the piece can be written.
#[target_feature(enable = "avx512f")]
unsafe fn pack_tile(
    lines: &Lines<'_>,
    order: Order,
    tile: usize,
    step: usize,
    piece: *mut Piece,
    sums: &mut [__m512; 2],
) {
    let Operand { values, line, deep, page } = lines.of;
    let by_line = deep == 1;
    let first = (lines.first.0 + 16 * tile, lines.first.1 + STEP * step);
    let count = (lines.end.0.saturating_sub(first.0).min(16), lines.end.1.saturating_sub(first.1).min(STEP));
    // SAFETY: a piece has three parts of two tiles of 16 vectors.
    let out = unsafe { piece.cast::<__m512i>().add(tile % 2 * 16) };
    // Vectors of 16 numbers, as the matrix lies: lines and half of their steps, or steps and all lines.
    let mut halves = [[_mm512_setzero_si512(); 16]; 2];
    if count.0 > 0 && count.1 > 0 {
        let start = first.0 * line + page.place(first.1, deep);
        debug_assert!(start + (count.0 - 1) * line + (count.1 - 1) * deep < values.len());
        let direct = by_line == (order == Order::Lines);
        // SAFETY: the elements that are read are inside.
        unsafe {
            let from = values.as_ptr().add(start);
            let (next, other) = if by_line { (line, 16) } else { (deep, 16 * deep) };
            if by_line {
                for i in 0..16 {
                    let ahead = from.wrapping_add(i * next + AHEAD).cast::<i8>();
                    _mm_prefetch::<_MM_HINT_T0>(ahead);
                    _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(64));
                }
            }
            if count == (16, STEP) {
                for i in 0..16 {
                    let from = from.add(i * next);
                    let [low, high] = [from, from.add(other)].map(|from| _mm512_loadu_si512(from.cast()));
                    if direct {
                        split(low, high, out.add(i), sums);
                    } else {
                        (halves[0][i], halves[1][i]) = (low, high);
                    }
                }
                if direct {
                    return;
                }
            } else {
                let mask = |many: usize| ((1_u32 << many.min(16)) - 1) as __mmask16;
                for i in 0..16 {
                    let from = from.wrapping_add(i * next);
                    let [near, far] = if by_line {
                        let whole = if i < count.0 { !0 } else { 0 };
                        [mask(count.1) & whole, mask(count.1.saturating_sub(16)) & whole]
                    } else {
                        [i, i + 16].map(|step| if step < count.1 { mask(count.0) } else { 0 })
                    };
                    halves[0][i] = _mm512_maskz_loadu_epi32(near, from.cast());
                    halves[1][i] = _mm512_maskz_loadu_epi32(far, from.wrapping_add(other).cast());
                }
            }
        }
        if !direct {
            transpose(&mut halves[0]);
            transpose(&mut halves[1]);
        }
    }
    for i in 0..16 {
        // SAFETY: as above.
        unsafe { split(halves[0][i], halves[1][i], out.add(i), sums) };
    }
}

/// Writes the three parts of two vectors, each number of the second one above the one of the first.
///
/// # Safety
///
/// `out` can be written, as can the vectors 32 and 64 behind it.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn split(low: __m512i, high: __m512i, out: *mut __m512i, sums: &mut [__m512; 2]) {
    let upper = _mm512_set1_epi32(0xffff_0000_u32 as i32);
    let cut = |x: __m512| _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(x), upper));
    // Cut and not rounded: nothing overflows, and the differences are exact.
    let parts = |x: __m512| {
        let rest = _mm512_sub_ps(x, cut(x));
        [x, rest, _mm512_sub_ps(rest, cut(rest))]
    };
    let [low, high] = [_mm512_castsi512_ps(low), _mm512_castsi512_ps(high)];
    // What is infinite times zero is not a number.
    sums[0] = _mm512_fmadd_ps(low, _mm512_setzero_ps(), sums[0]);
    sums[1] = _mm512_fmadd_ps(high, _mm512_setzero_ps(), sums[1]);
    for (part, (low, high)) in parts(low).into_iter().zip(parts(high)).enumerate() {
        let low = _mm512_srli_epi32::<16>(_mm512_castps_si512(low));
        // low | (high & upper)
        let both = _mm512_ternarylogic_epi32::<0xf8>(low, _mm512_castps_si512(high), upper);
        // SAFETY: as the caller promises.
        unsafe { _mm512_store_si512(out.add(32 * part), both) };
    }
}
