//! Large files, mapped: they are read where they are looked at.

use std::ops::{Deref, Range};

use memmap2::Mmap;

use super::Located;
use crate::error::OpenError;

/// A file that is mapped, or bytes that are in memory anyway.
#[derive(Debug)]
pub(crate) enum Mapped {
    File(Mmap),
    Bytes(&'static [u8]),
}

impl Mapped {
    /// Maps a file; errors call it `shown`.
    pub fn new(shown: &str, located: Located) -> Result<Self, OpenError> {
        let file = match located {
            Located::Bytes(bytes) => return Ok(Self::Bytes(bytes)),
            Located::File(file) => file,
        };
        let failed = |source| OpenError::Io { file: shown.into(), source };
        if file.metadata().map_err(failed)?.len() == 0 {
            return Ok(Self::Bytes(&[]));
        }
        // SAFETY: the map is only read. Should another process cut the file meanwhile, the system ends this one;
        // every reader of mapped weights accepts that, and checkpoints are not edited in place.
        Ok(Self::File(unsafe { Mmap::map(&file) }.map_err(failed)?))
    }

    /// Gives back the memory that holds what was read of `range`, where the system offers that.
    pub fn forget(&self, range: &Range<usize>) {
        #[cfg(unix)]
        if let Self::File(map) = self {
            // SAFETY: the map is only read, so pages given back come again from the file
            let done =
                unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len()) };
            // it is only advice
            drop(done);
        }
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::File(map) => map,
            Self::Bytes(bytes) => bytes,
        }
    }
}
