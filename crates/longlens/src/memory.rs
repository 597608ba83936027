//! How the program's allocator treats large blocks.

/// Keeps freed memory for the next layer instead of giving it back: a prompt's activations are allocated and freed many times,
/// and fresh pages cost a short prefill a fifth of its time.
pub fn keep_freed_pages() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: settings of the allocator, made before any other thread starts
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20); // the most that glibc takes
        libc::mallopt(libc::M_TRIM_THRESHOLD, 256 << 20);
    }
}
