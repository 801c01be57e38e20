//! Vectors at the end of a slice, where fewer elements than lanes may be left.
use rten_simd::Simd;
use rten_simd::ops::BitOps;

/// Loads a vector, or the `left` elements that are left and zeros.
///
/// # Safety
///
/// `pointer` is valid for reads of `left` floats, or of a vector if that is less.
#[inline(always)]
pub(super) unsafe fn load<S: Simd, O: BitOps<f32, Simd = S>>(ops: O, pointer: *const f32, left: usize) -> S {
    // SAFETY: as the caller promises; the mask covers no more than `left` elements.
    unsafe { if left >= ops.len() { ops.load_ptr(pointer) } else { ops.load_ptr_mask(pointer, ops.first_n_mask(left)) } }
}

/// Stores a vector, or the first `left` elements of it.
///
/// # Safety
///
/// `pointer` is valid for writes of `left` floats, or of a vector if that is less.
#[inline(always)]
pub(super) unsafe fn store<S: Simd, O: BitOps<f32, Simd = S>>(ops: O, value: S, pointer: *mut f32, left: usize) {
    // SAFETY: as the caller promises; the mask covers no more than `left` elements.
    unsafe { if left >= ops.len() { ops.store_ptr(value, pointer) } else { ops.store_ptr_mask(value, pointer, ops.first_n_mask(left)) } }
}
