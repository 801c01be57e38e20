//! Buffers that are written before they are read.
use std::mem::MaybeUninit;

/// Elements from which a vector may have made the heap grow.
const LARGE: usize = 1 << 16;

/// A vector of `len` floats filled by `write`, which must initialise every one of them: zeroing megabytes that are
/// about to be overwritten costs as much as an elementwise operator.
///
/// # Safety
///
/// `write` initialises all `len` elements.
pub(crate) unsafe fn filled_by(len: usize, write: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut values = Vec::with_capacity(len);
    if len >= LARGE {
        crate::memory::grown();
    }
    write(&mut values.spare_capacity_mut()[..len]);
    // SAFETY: the capacity is at least `len`, and the caller promises that `write` initialised those elements.
    unsafe { values.set_len(len) };
    values
}

/// A pointer that several threads write through, each to places of its own.
#[derive(Clone, Copy)]
pub(super) struct Shared(pub *mut f32);

// SAFETY: a pointer alone does nothing; whoever writes through it sees to it that no two threads touch the same
// element.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// The place `count` elements further.
    ///
    /// # Safety
    ///
    /// It lies in the same allocation.
    pub(super) unsafe fn at(self, count: usize) -> *mut f32 {
        // SAFETY: as the caller promises.
        unsafe { self.0.add(count) }
    }
}

/// Floats that begin at a line of the cache, so that a vector never lies in two.
#[derive(Default)]
pub(super) struct Lines(Vec<Line>);

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

const LINE: usize = 16;

impl Lines {
    /// Room for `len` floats that nobody has written.
    pub(super) fn room(&mut self, len: usize) -> &mut [MaybeUninit<f32>] {
        let lines = len.div_ceil(LINE);
        self.0.clear();
        self.0.reserve(lines);
        // SAFETY: the vector has room for so many lines, and a line is its floats, side by side without gaps.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), len) }
    }

    /// Makes room for `len` floats, which keep what they were, or are 0.
    pub(super) fn reserve(&mut self, len: usize) -> &mut [f32] {
        let lines = len.div_ceil(LINE);
        if self.0.len() < lines {
            self.0.resize(lines, Line([0.0; LINE]));
        }
        // SAFETY: a line is its floats, side by side without gaps.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), len) }
    }
}
