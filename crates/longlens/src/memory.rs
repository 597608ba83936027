//! How the program's allocator treats large blocks, and how much a process may take.

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

/// Gives back what is free once: reading a checkpoint's files takes memory that running it never uses again.
pub fn give_back_freed_pages() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the allocator's own function; what is in use stays where it is
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Lets this process take so many bytes of address space and no more, where the system can: what needs more ends it.
pub fn limit(bytes: u64) {
    #[cfg(unix)]
    // SAFETY: the limit is a plain structure that the call only reads
    unsafe {
        let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
        libc::setrlimit(libc::RLIMIT_AS, &raw const limit);
        // no file of its memory is left behind
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
    }
    #[cfg(not(unix))]
    let _ = bytes;
}
