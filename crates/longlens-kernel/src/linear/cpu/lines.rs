//! Memory of packed weights: cache lines, in huge pages where the system has them.
//!
//! A generated token reads every weight once. With pages of 4 KiB the processor stops at the end of each, looks the next one up, and starts
//! to fetch ahead anew; with pages of 2 MiB the same two cores read half as fast again. Matrices are smaller than such a page, so
//! they lie one behind the other in blocks that the system is asked to back with huge pages.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::Arc as Shared;

/// Words of a cache line.
pub(super) const LINE: usize = 16;

/// A cache line of words.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub [u32; LINE]);

/// The lines of one matrix.
#[derive(Debug)]
pub(super) struct Lines {
    start: NonNull<Line>,
    len: usize,
    /// What frees them; none where there are no lines.
    _block: Option<Shared<Block>>,
}

impl Default for Lines {
    /// No lines.
    fn default() -> Self {
        Self { start: NonNull::dangling(), len: 0, _block: None }
    }
}

// SAFETY: after they were written they are only read
unsafe impl Send for Lines {}
// SAFETY: as above
unsafe impl Sync for Lines {}

impl Lines {
    /// So many lines, all of which `write` writes.
    ///
    /// # Safety
    /// `write` leaves no line as it was.
    pub unsafe fn written(n_lines: usize, write: impl FnOnce(&mut [MaybeUninit<Line>])) -> Self {
        if n_lines == 0 {
            return Self::default();
        }
        let (block, start) = room(n_lines);
        // SAFETY: these lines are nobody else's, and may hold anything
        write(unsafe { std::slice::from_raw_parts_mut(start.as_ptr().cast(), n_lines) });
        Self { start, len: n_lines, _block: Some(block) }
    }

    /// Their words from a line on.
    pub fn words(&self, first: usize) -> &[u32] {
        let n_lines = self.len.checked_sub(first).expect("a line of the matrix");
        // SAFETY: inside, written, and a line is an array of words without gaps
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(first).cast(), n_lines * LINE) }
    }

    pub fn n_words(&self) -> usize {
        self.len * LINE
    }
}

/// Memory of one matrix or several, freed with the last.
#[derive(Debug)]
enum Block {
    Allocated(NonNull<Line>, Layout),
    #[cfg(target_os = "linux")]
    Mapped(huge::Mapping),
}

// SAFETY: it owns its memory, and reads and writes nothing there
unsafe impl Send for Block {}
// SAFETY: as above
unsafe impl Sync for Block {}

impl Drop for Block {
    fn drop(&mut self) {
        match self {
            // SAFETY: allocated with this layout
            Self::Allocated(start, layout) => unsafe { dealloc(start.as_ptr().cast(), *layout) },
            #[cfg(target_os = "linux")]
            Self::Mapped(_) => {} // unmaps itself
        }
    }
}

/// Room for so many lines, which may hold anything.
fn room(n_lines: usize) -> (Shared<Block>, NonNull<Line>) {
    #[cfg(target_os = "linux")]
    if let Some(room) = huge::room(n_lines) {
        return room;
    }
    let layout = Layout::array::<Line>(n_lines).expect("as many bytes as memory can have");
    // SAFETY: the layout has a size, since there are lines
    let start = NonNull::new(unsafe { alloc(layout) }.cast()).unwrap_or_else(|| handle_alloc_error(layout));
    (Shared::new(Block::Allocated(start, layout)), start)
}

#[cfg(target_os = "linux")]
mod huge {
    use std::ptr::{NonNull, null_mut};
    use std::sync::{Arc as Shared, Mutex, PoisonError, Weak};

    use super::{Block, Line};
    use crate::cpu::pages::HUGE as PAGE;

    /// Bytes of a block that matrices share. What no matrix has touched takes no memory.
    const BLOCK: usize = 64 << 20;
    /// Smaller matrices are left to the allocator: a page would hold little else.
    const SMALLEST: usize = 64 << 10;

    /// The block that matrices are put into, and the bytes of it that are taken.
    static OPEN: Mutex<(Weak<Block>, usize)> = Mutex::new((Weak::new(), 0));

    /// Room in a block of huge pages; none for small matrices, or where the system maps no more.
    pub fn room(n_lines: usize) -> Option<(Shared<Block>, NonNull<Line>)> {
        let bytes = n_lines.checked_mul(size_of::<Line>()).filter(|bytes| *bytes >= SMALLEST)?;
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let block = open.0.upgrade().filter(|_| bytes <= BLOCK - open.1);
        let (block, at) = match block {
            Some(block) => (block, open.1),
            None => (Shared::new(Block::Mapped(Mapping::new(bytes.max(BLOCK))?)), 0),
        };
        let Block::Mapped(mapping) = &*block else { return None };
        // SAFETY: inside the mapping, which is at least that long
        let start = unsafe { mapping.start.byte_add(at) };
        if bytes < BLOCK {
            *open = (Shared::downgrade(&block), at + bytes);
        }
        Some((block, start))
    }

    /// Memory that the system was asked to back with huge pages.
    #[derive(Debug)]
    pub struct Mapping {
        /// At the start of a huge page.
        pub start: NonNull<Line>,
        base: NonNull<libc::c_void>,
        len: usize,
    }

    impl Mapping {
        fn new(bytes: usize) -> Option<Self> {
            let len = bytes.checked_add(PAGE)?; // so that a huge page starts inside
            let (rights, kind) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
            // SAFETY: new memory wherever the system likes
            let base = unsafe { libc::mmap(null_mut(), len, rights, kind, -1, 0) };
            if base == libc::MAP_FAILED {
                return None;
            }
            let base = NonNull::new(base)?;
            let gap = base.as_ptr().align_offset(PAGE);
            // SAFETY: the gap is less than a page
            let start = unsafe { base.byte_add(gap) }.cast::<Line>();
            // the last page may reach past the matrix, so it stays small
            // SAFETY: inside the mapping; without huge pages the advice is refused, and nothing is lost
            unsafe { libc::madvise(start.as_ptr().cast(), bytes / PAGE * PAGE, libc::MADV_HUGEPAGE) };
            Some(Self { start, base, len })
        }
    }

    impl Drop for Mapping {
        fn drop(&mut self) {
            // SAFETY: mapped with this length
            unsafe { libc::munmap(self.base.as_ptr(), self.len) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(n_lines: usize, with: u32) -> Lines {
        let write = |lines: &mut [MaybeUninit<Line>]| {
            for line in lines {
                line.write(Line([with; LINE]));
            }
        };
        // SAFETY: every line is written
        unsafe { Lines::written(n_lines, write) }
    }

    #[test]
    fn matrices_keep_their_own_lines_whatever_else_comes_and_goes() {
        // smaller than a block of their own, as large, and larger
        let sizes = [1, 1 << 10, 1 << 14, (64 << 20) / 64, (64 << 20) / 64 + 1, 3 << 10];
        let mut kept: Vec<(u32, Lines)> = Vec::new();
        for round in 0..4 {
            for (at, n_lines) in sizes.into_iter().enumerate() {
                let with = 100 * round + at as u32;
                kept.push((with, filled(n_lines, with)));
            }
            // every other one goes
            let mut at = 0;
            kept.retain(|_| {
                at += 1;
                at % 2 == 0
            });
            for (with, lines) in &kept {
                assert!(lines.words(0).iter().all(|word| word == with), "{with}");
                assert_eq!(lines.words(0).len(), lines.n_words());
                assert_eq!(lines.start.as_ptr() as usize % 64, 0);
            }
        }
    }
}
