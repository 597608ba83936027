//! Where tasks read the files that a user names.

use std::path::{Path, PathBuf};

use crate::error::EvalError;
use crate::text::read_bytes;

/// Reads files by the names that a user gave.
pub trait Files {
    /// The bytes of a file.
    fn read(&self, name: &str) -> Result<Vec<u8>, EvalError>;

    /// The files in a folder, by name, hidden ones and folders left out; `None` where `name` is no folder.
    fn folder(&self, name: &str) -> Result<Option<Vec<String>>, EvalError>;
}

/// Names count from the working directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, name: &str) -> Result<Vec<u8>, EvalError> {
        read_bytes(Path::new(name))
    }

    fn folder(&self, name: &str) -> Result<Option<Vec<String>>, EvalError> {
        let path = PathBuf::from(name);
        if !path.is_dir() {
            return Ok(None);
        }
        let failed = |source| EvalError::Io { path: path.clone(), source };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
            if entry.path().is_file() && !is_hidden {
                names.push(entry.path().to_string_lossy().into_owned());
            }
        }
        // the order of a folder differs from machine to machine
        names.sort();
        Ok(Some(names))
    }
}
