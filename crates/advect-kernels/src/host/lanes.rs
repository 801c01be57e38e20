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
