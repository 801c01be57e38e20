/// Asks the system's allocator to keep freed memory for the next tensor, for the whole process.
///
/// Training allocates and frees the same few megabytes thousands of times a second. The GNU allocator returns blocks of
/// that size to the kernel at once, and every reuse then costs page faults, which show in the time of a small U-Net on
/// a CPU. Call it once, at the start of `main`; a library must not. Elsewhere than on GNU/Linux it does nothing.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // The largest threshold that the allocator accepts; larger blocks are mapped one by one as before.
        const MAPPED_ABOVE: i32 = 32 << 20;
        const KEPT: i32 = 1 << 30;
        const GROW_BY: i32 = 64 << 20;
        // SAFETY: `mallopt` takes plain numbers, is thread-safe in glibc and only changes when memory is returned; a
        // parameter it refuses leaves it as it was.
        #[allow(unsafe_code)]
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_ABOVE);
            libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
            libc::mallopt(libc::M_TOP_PAD, GROW_BY);
        }
    }
}
