//! Buffers that are written before they are read.
use std::mem::MaybeUninit;

/// A vector of `len` floats filled by `write`, which must initialise every one of them: zeroing megabytes that are about to be overwritten costs as much
/// as an elementwise operator.
///
/// # Safety
///
/// `write` initialises all `len` elements.
pub(crate) unsafe fn filled_by(len: usize, write: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut values = Vec::with_capacity(len);
    write(&mut values.spare_capacity_mut()[..len]);
    // SAFETY: the capacity is at least `len`, and the caller promises that `write` initialised those elements.
    unsafe { values.set_len(len) };
    values
}
