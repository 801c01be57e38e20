/// Asks the system's allocator to keep freed memory for the next tensor, and the kernel for large pages, for the whole process.
///
/// Training allocates and frees the same few megabytes thousands of times a second. The GNU allocator returns blocks of that size to the kernel at once, and
/// every reuse then costs page faults; and a tensor that is read across its rows touches a page of 4 KiB with nearly every row. Both show on a CPU: kept and
/// in pages of 2 MiB a training step takes 0.6 to 0.9 of its time. Call it once, at the start of `main`; a library must not. Elsewhere than on GNU/Linux it
/// does nothing, and where the kernel gives no large pages (`/sys/kernel/mm/transparent_hugepage/enabled` is `never`) memory is only kept.
///
/// Tensors of 32 MiB and more, which the GNU allocator maps and unmaps one by one whatever its thresholds, are kept too, if the thread that called `main` makes
/// them: a U-Net's training step on 128 images of 32 x 32, whose largest are of that size, takes 0.85 to 0.91 of its time, in as much memory. The price: a large
/// block that is needed once, a data set say, is kept too, and a large vector that grows is copied where its pages could be moved.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    gnu::keep();
}

/// To be called now and then, before fresh memory is written: the heap may have grown since.
#[cfg(feature = "flex")]
#[inline]
pub(crate) fn grown() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    gnu::grown();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
mod gnu {
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// What is asked for at once, so that the heap grows by so much and [`GROW_BY`].
    const FIRST: usize = 16 << 20;
    /// Never to be given back.
    const KEPT: i32 = -1;
    const GROW_BY: i32 = 512 << 20;

    /// Up to where the heap was asked to be in large pages; 0 if nobody wants it.
    static END: AtomicUsize = AtomicUsize::new(0);

    pub(super) fn keep() {
        // SAFETY: `mallopt` takes plain numbers, is thread-safe in glibc and only changes when memory is returned; a parameter it refuses leaves it as it was.
        unsafe {
            // No block by itself; the threshold for that is 32 MiB at most. Where the heap cannot grow the allocator maps one nevertheless.
            libc::mallopt(libc::M_MMAP_MAX, 0);
            libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
            libc::mallopt(libc::M_TOP_PAD, GROW_BY);
        }
        let _ = END.compare_exchange(0, end(), Ordering::Relaxed, Ordering::Relaxed);
        // The first tensors find a heap that has grown already.
        drop(std::hint::black_box(Vec::<u8>::with_capacity(FIRST)));
        grown();
    }

    #[cfg_attr(not(feature = "flex"), allow(dead_code))]
    pub(super) fn grown() {
        let known = END.load(Ordering::Relaxed);
        if known == 0 {
            return;
        }
        let end = end();
        if end == known || END.compare_exchange(known, end, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        // The break need not lie between two pages.
        let start = known.next_multiple_of(PAGE);
        if end > start {
            // SAFETY: the range is part of the heap; the advice changes no contents, and what the kernel makes of it is its business.
            unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_HUGEPAGE) };
        }
    }

    const PAGE: usize = 1 << 12;

    /// The end of the heap.
    fn end() -> usize {
        // SAFETY: asks and moves nothing.
        unsafe { libc::sbrk(0) as usize }
    }
}
