//! Vectors and slices: the end of a slice, where fewer elements than lanes may be left, and sums.
use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, Simd};

/// Loads a vector, or the `left` elements that are left and zeros.
///
/// # Safety
///
/// `pointer` is valid for reads of `left` floats, or of a vector if that is less.
#[inline(always)]
pub(super) unsafe fn load<S: Simd, O: BitOps<f32, Simd = S>>(ops: O, pointer: *const f32, left: usize) -> S {
    // SAFETY: as the caller promises; the mask covers no more than `left` elements.
    unsafe {
        if left >= ops.len() { ops.load_ptr(pointer) } else { ops.load_ptr_mask(pointer, ops.first_n_mask(left)) }
    }
}

/// Stores a vector, or the first `left` elements of it.
///
/// # Safety
///
/// `pointer` is valid for writes of `left` floats, or of a vector if that is less.
#[inline(always)]
pub(super) unsafe fn store<S: Simd, O: BitOps<f32, Simd = S>>(ops: O, value: S, pointer: *mut f32, left: usize) {
    // SAFETY: as the caller promises; the mask covers no more than `left` elements.
    unsafe {
        if left >= ops.len() {
            ops.store_ptr(value, pointer)
        } else {
            ops.store_ptr_mask(value, pointer, ops.first_n_mask(left))
        }
    }
}

/// [`load`], without its condition where the vector is known to be `whole`.
///
/// # Safety
///
/// As for [`load`].
#[inline(always)]
pub(super) unsafe fn load_if<S: Simd, O: BitOps<f32, Simd = S>>(
    ops: O,
    pointer: *const f32,
    left: usize,
    whole: bool,
) -> S {
    // SAFETY: as the caller promises.
    unsafe { if whole { ops.load_ptr(pointer) } else { load(ops, pointer, left) } }
}

/// [`store`], without its condition where the vector is known to be `whole`.
///
/// # Safety
///
/// As for [`store`].
#[inline(always)]
pub(super) unsafe fn store_if<S: Simd, O: BitOps<f32, Simd = S>>(
    ops: O,
    value: S,
    pointer: *mut f32,
    left: usize,
    whole: bool,
) {
    // SAFETY: as the caller promises.
    unsafe { if whole { ops.store_ptr(value, pointer) } else { store(ops, value, pointer, left) } }
}

/// The sum of `term` over a slice, in four vectors of partial sums.
#[inline(always)]
pub(super) fn sum<I: Isa>(isa: I, x: &[f32], term: impl Fn(I::F32) -> I::F32) -> f32 {
    let ops = isa.f32();
    let lanes = ops.len();
    let mut sums = [ops.zero(); 4];
    let mut blocks = x.chunks_exact(4 * lanes);
    for block in &mut blocks {
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the block has four vectors.
            *sum = ops.add(*sum, term(unsafe { ops.load_ptr(block.as_ptr().add(i * lanes)) }));
        }
    }
    for part in blocks.remainder().chunks(lanes) {
        let mask = ops.first_n_mask(part.len());
        // SAFETY: the mask covers the elements of the part.
        let value = unsafe { ops.load_ptr_mask(part.as_ptr(), mask) };
        // The lanes behind the end must add nothing, whatever `term` makes of a zero.
        sums[0] = ops.add(sums[0], ops.select(term(value), ops.zero(), mask));
    }
    ops.sum(ops.add(ops.add(sums[0], sums[1]), ops.add(sums[2], sums[3])))
}

/// Rows and columns that [`transpose_square`] turns.
pub(super) const SQUARE: usize = 4;

/// Writes the rows of a square matrix as columns: `to[j * to_step + i] = from[i * from_step + j]`.
///
/// Each processor of a family that has vectors at all has these; `rten_simd` has no such shuffles.
///
/// # Safety
///
/// `from` is valid for reads and `to` for writes of `SQUARE` floats in each of `SQUARE` rows.
#[inline(always)]
pub(super) unsafe fn transpose_square(from: *const f32, from_step: usize, to: *mut f32, to_step: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as the caller promises; SSE belongs to the architecture.
    unsafe {
        use std::arch::x86_64::{
            _mm_loadu_ps, _mm_movehl_ps, _mm_movelh_ps, _mm_storeu_ps, _mm_unpackhi_ps, _mm_unpacklo_ps,
        };
        let [a, b, c, d] = [0, 1, 2, 3].map(|row| _mm_loadu_ps(from.add(row * from_step)));
        let (ab, cd) = (_mm_unpacklo_ps(a, b), _mm_unpacklo_ps(c, d));
        _mm_storeu_ps(to, _mm_movelh_ps(ab, cd));
        _mm_storeu_ps(to.add(to_step), _mm_movehl_ps(cd, ab));
        let (ab, cd) = (_mm_unpackhi_ps(a, b), _mm_unpackhi_ps(c, d));
        _mm_storeu_ps(to.add(2 * to_step), _mm_movelh_ps(ab, cd));
        _mm_storeu_ps(to.add(3 * to_step), _mm_movehl_ps(cd, ab));
    }
    #[cfg(not(target_arch = "x86_64"))]
    for i in 0..SQUARE {
        for j in 0..SQUARE {
            // SAFETY: as the caller promises.
            unsafe { *to.add(j * to_step + i) = *from.add(i * from_step + j) };
        }
    }
}
