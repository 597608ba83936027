//! One run at a time writes a notebook.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::journal::is_at;

/// Runs that may end between two looks at one file; more is a file system that cannot tell.
const TRIES: usize = 8;

/// A locked file beside a notebook, for as long as a run writes it; it goes away afterwards.
pub struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Holds the notebook at `out`; an error where another run does. Nothing where no lock can be had: a folder that cannot be
    /// written is told by whoever writes into it.
    pub fn acquire(out: &Path) -> Result<Option<Self>, Failure> {
        let mut name = OsString::from(".");
        name.push(out.file_name().unwrap_or_default());
        name.push(".lock");
        let path = out.with_file_name(name);
        for _ in 0..TRIES {
            let Ok(file) = OpenOptions::new().create(true).truncate(false).write(true).open(&path) else {
                return Ok(None);
            };
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => {
                    return Err(Failure::failed(
                        format!("another run writes {}", out.display()),
                        Some("wait for it, or give -o another name".into()),
                    ));
                }
                // file systems without locks are used as they are
                Err(TryLockError::Error(_)) => return Ok(None),
                Ok(()) => {}
            }
            // one that ended meanwhile has taken its file away
            if is_at(&file, &path) {
                return Ok(Some(Self { path, _file: file }));
            }
        }
        Ok(None)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // while it is locked: nobody else holds it
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notebook_is_held_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a.ipynb");
        let held = Lock::acquire(&out).unwrap().unwrap();
        let refused = Lock::acquire(&out).err().map(|failure| failure.to_string());
        assert!(refused.is_some_and(|said| said.starts_with("another run writes ")));
        assert!(Lock::acquire(&folder.path().join("b.ipynb")).unwrap().is_some());
        drop(held);
        assert!(Lock::acquire(&out).unwrap().is_some());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
        assert!(Lock::acquire(Path::new("/nowhere/at/all.ipynb")).unwrap().is_none());
    }
}
