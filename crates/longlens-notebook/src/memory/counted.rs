//! An allocator that knows how many bytes are in use.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

static LIVE: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, which counts: a program that runs cells makes it its `#[global_allocator]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted;

/// Bytes in use; 0 in a program that counts none.
pub fn live() -> u64 {
    LIVE.load(Ordering::Relaxed) as u64
}

fn more(pointer: *mut u8, bytes: usize) -> *mut u8 {
    if !pointer.is_null() {
        LIVE.fetch_add(bytes, Ordering::Relaxed);
    }
    pointer
}

// SAFETY: every call goes to the system's allocator as it came
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        more(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        more(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) };
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let grown = more(unsafe { System.realloc(pointer, layout, size) }, size);
        if !grown.is_null() {
            LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        }
        grown
    }
}
