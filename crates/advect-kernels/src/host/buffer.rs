//! Buffers that are written before they are read.
use std::marker::PhantomData;
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

/// Bytes of a line of the cache.
const LINE: usize = 64;

/// Room for so many values, of which nobody has written any, from the beginning of a line of the cache on.
///
/// It lies in a block as any other. One that is asked for with an alignment is cut out of a larger one, and once it is free too short for the next of its size:
/// with a hundred of them in each evaluation of a network the heap grows into fresh pages for seconds, to twice its size and more.
pub(super) struct Room<T> {
    block: Vec<MaybeUninit<u8>>,
    start: usize,
    of: PhantomData<T>,
}

impl<T> Room<T> {
    pub(super) fn new(count: usize) -> Self {
        const { assert!(align_of::<T>() <= LINE && size_of::<T>() > 0) };
        let slack = if count > 0 { LINE - 1 } else { 0 };
        let block: Vec<MaybeUninit<u8>> =
            Vec::with_capacity(count.saturating_mul(size_of::<T>()).saturating_add(slack));
        let start = block.as_ptr().addr().wrapping_neg() % LINE;
        if block.capacity() >= 4 * LARGE {
            crate::memory::grown();
        }
        Self { block, start, of: PhantomData }
    }

    pub(super) fn as_ptr(&self) -> *const T {
        self.block.as_ptr().wrapping_add(self.start).cast()
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut T {
        self.block.as_mut_ptr().wrapping_add(self.start).cast()
    }

    /// How many there is room for, at least.
    pub(super) fn count(&self) -> usize {
        self.block.capacity().saturating_sub(self.start) / size_of::<T>()
    }
}

/// Floats that begin at a line of the cache, so that a vector never lies in two.
pub(super) struct Lines {
    room: Room<f32>,
    /// So many of them are written.
    written: usize,
}

impl Default for Lines {
    fn default() -> Self {
        Self { room: Room::new(0), written: 0 }
    }
}

impl Lines {
    /// Room for `len` floats that nobody has written.
    pub(super) fn room(&mut self, len: usize) -> &mut [MaybeUninit<f32>] {
        if self.room.count() < len {
            self.room = Room::new(len);
        }
        self.written = 0;
        // SAFETY: there is room for so many.
        unsafe { std::slice::from_raw_parts_mut(self.room.as_mut_ptr().cast(), len) }
    }

    /// Makes room for `len` floats, which keep what they were, or are 0.
    pub(super) fn reserve(&mut self, len: usize) -> &mut [f32] {
        if self.room.count() < len {
            let mut room = Room::<f32>::new(len);
            // SAFETY: so many are written here, and there is room for more of them there.
            unsafe { room.as_mut_ptr().copy_from_nonoverlapping(self.room.as_ptr(), self.written) };
            self.room = room;
        }
        if self.written < len {
            // SAFETY: there is room for so many.
            unsafe { self.room.as_mut_ptr().add(self.written).write_bytes(0, len - self.written) };
            self.written = len;
        }
        // SAFETY: all of these are written.
        unsafe { std::slice::from_raw_parts_mut(self.room.as_mut_ptr(), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_begins_at_a_line_of_the_cache() {
        for count in [0, 1, 15, 16, 17, 1000, 100_000] {
            let mut room = Room::<f32>::new(count);
            assert!(room.as_ptr().addr().is_multiple_of(LINE) && !room.as_ptr().is_null(), "{count}");
            assert!(room.as_mut_ptr().cast_const() == room.as_ptr());
            assert!(room.count() >= count && (count > 0 || room.count() == 0), "{count}");
            for i in 0..count {
                // SAFETY: there is room for so many.
                unsafe { room.as_mut_ptr().add(i).write(i as f32) };
            }
        }
        // Of another size than a line.
        assert!(Room::<[u64; 3]>::new(5).count() >= 5);
    }

    #[test]
    fn reserved_floats_are_zero_or_what_they_were() {
        let mut lines = Lines::default();
        assert!(lines.reserve(0).is_empty());
        assert_eq!(lines.reserve(3), [0.0; 3]);
        lines.reserve(3).copy_from_slice(&[1.0, 2.0, 3.0]);
        assert_eq!(lines.reserve(5), [1.0, 2.0, 3.0, 0.0, 0.0]);
        // Fewer in between, and then more than there is room for.
        assert_eq!(lines.reserve(1), [1.0]);
        let mut grown = vec![0.0; 1000];
        grown[..3].copy_from_slice(&[1.0, 2.0, 3.0]);
        assert_eq!(lines.reserve(1000), grown);
        assert!(lines.reserve(1000).as_ptr().addr().is_multiple_of(LINE));
        // What others wrote into the room is not there any more.
        for value in lines.room(4) {
            value.write(7.0);
        }
        assert_eq!(lines.reserve(6), [0.0; 6]);
    }
}
