//! What cells wrote, so that they may write it again.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::hash::hash64;

/// Files that cells wrote, by their paths, with a mark of what they held then: in memory, and in a file for later sessions.
#[derive(Debug, Default)]
pub struct Written {
    file: Option<PathBuf>,
    marks: RefCell<HashMap<String, u64>>,
}

/// Bytes of the file beyond which its older half goes.
const MOST_BYTES: u64 = 1 << 20;

/// What tells a file's contents from others.
pub fn mark_of(bytes: &[u8]) -> u64 {
    hash64([bytes])
}

impl Written {
    /// Nothing was written yet in this session; what earlier ones wrote stands in the file.
    pub fn new(file: Option<PathBuf>) -> Self {
        Self { file, marks: RefCell::default() }
    }

    /// What a file held when cells wrote it last.
    pub fn mark(&self, path: &Path) -> Option<u64> {
        let path = path.to_string_lossy();
        // another program may have written it since: its word is newer than ours
        let told = self.file.as_ref().and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
        let newest = told.lines().rev().find_map(|line| {
            let (mark, of) = line.split_once(' ')?;
            (of == path).then(|| u64::from_str_radix(mark, 16).ok())?
        });
        newest.or_else(|| self.marks.borrow().get(path.as_ref()).copied())
    }

    /// Remembers what a file holds now.
    pub fn remember(&self, path: &Path, mark: u64) {
        let path = path.to_string_lossy().into_owned();
        if let Some(file) = self.file.as_ref().filter(|_| !path.contains('\n')) {
            // a later session asks then, and nothing is lost
            let _ = add(file, &format!("{mark:016x} {path}\n"));
        }
        self.marks.borrow_mut().insert(path, mark);
    }
}

fn add(file: &Path, line: &str) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    if fs::metadata(file).is_ok_and(|there| there.len() > MOST_BYTES) {
        let text = fs::read_to_string(file)?;
        let middle = text.len() / 2;
        let newer = text.bytes().skip(middle).position(|byte| byte == b'\n').map_or("", |at| &text[middle + at + 1..]);
        longlens_app::write_whole(file, newer.as_bytes())?;
    }
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600); // where somebody works is nobody else's business
    options.open(file)?.write_all(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_known_in_the_next_session() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state/written");
        let first = Written::new(Some(file.clone()));
        assert_eq!(first.mark(Path::new("/data/a b.csv")), None);
        first.remember(Path::new("/data/a b.csv"), 7);
        first.remember(Path::new("/data/a b.csv"), 8);
        first.remember(Path::new("/data/\n.csv"), 9);
        let second = Written::new(Some(file.clone()));
        assert_eq!(second.mark(Path::new("/data/a b.csv")), Some(8));
        assert_eq!(second.mark(Path::new("/data/\n.csv")), None);
        assert_eq!(first.mark(Path::new("/data/\n.csv")), Some(9));
        second.remember(Path::new("/data/a b.csv"), 10);
        assert_eq!(first.mark(Path::new("/data/a b.csv")), Some(10), "the newest counts, whoever wrote it");
        assert_eq!(Written::new(Some(folder.path().into())).mark(Path::new("x")), None);
    }

    #[test]
    fn the_file_has_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("written");
        fs::write(&file, "0000000000000001 /old\n".repeat(60_000)).unwrap();
        let written = Written::new(Some(file.clone()));
        written.remember(Path::new("/new"), 2);
        assert!(fs::metadata(&file).unwrap().len() < MOST_BYTES);
        let again = Written::new(Some(file));
        assert_eq!((again.mark(Path::new("/old")), again.mark(Path::new("/new"))), (Some(1), Some(2)));
    }
}
