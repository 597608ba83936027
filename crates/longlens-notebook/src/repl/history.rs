//! Entries from start to start: a file with one line for each, appended as they come.
//!
//! An entry's line breaks and backslashes are written `\n` and `\\`. Each entry is one write at the end of the file, so
//! prompts that run at the same time and a program that is killed lose nothing.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use longlens_app::session::{hide, make_private};
use longlens_app::write_private;

/// The file of entries; problem with it is told once and then left alone.
pub struct History {
    path: Option<PathBuf>,
    last: Option<String>,
}

/// Entries that are kept.
pub const KEPT: usize = 5000;

impl History {
    /// Opens the file and reads its entries, oldest first, each once. The note says what is wrong with the file.
    pub fn open(path: Option<PathBuf>) -> (Self, Vec<String>, Option<String>) {
        let Some(path) = path else { return (Self { path: None, last: None }, Vec::new(), None) };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                let note = format!("the history {} cannot be read ({error}); entries are not kept", path.display());
                return (Self { path: None, last: None }, Vec::new(), Some(note));
            }
        };
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<String> = text.lines().filter(|line| !line.is_empty()).map(read).collect();
        let entries = newest(&lines);
        if lines.len() > 2 * KEPT {
            shorten(&path, &entries);
        }
        let last = entries.last().cloned();
        (Self { path: Some(path), last }, entries, None)
    }

    /// Keeps an entry; the note says why that failed.
    pub fn add(&mut self, entry: &str) -> Option<String> {
        let path = self.path.clone()?;
        if self.last.as_deref() == Some(entry) {
            return None;
        }
        self.last = Some(entry.to_owned());
        let error = append(&path, &format!("{}\n", written(entry))).err()?;
        self.path = None;
        Some(format!("the history {} cannot be written ({error}); entries are not kept", path.display()))
    }
}

fn append(path: &Path, line: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        make_private(folder)?;
    }
    hide(path); // it may have been made by hand, or by an earlier version
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600); // cells may hold what is nobody else's business
    options.open(path)?.write_all(line.as_bytes())
}

/// Writes the entries alone; a file that stays long does no harm.
fn shorten(path: &Path, entries: &[String]) {
    let text: String = entries.iter().flat_map(|entry| [written(entry), "\n".into()]).collect();
    let _ = write_private(path, text.as_bytes());
}

/// The newest of each entry, oldest first, as many as are kept.
fn newest(lines: &[String]) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut entries: Vec<String> =
        lines.iter().rev().filter(|line| seen.insert(line.as_str())).take(KEPT).cloned().collect();
    entries.reverse();
    entries
}

fn written(entry: &str) -> String {
    entry.replace('\\', "\\\\").replace('\n', "\\n")
}

/// A line of the file as an entry; backslashes that mean nothing stay.
fn read(line: &str) -> String {
    let mut entry = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, chars.as_str().chars().next()) {
            ('\\', Some('n')) => entry.push('\n'),
            ('\\', Some('\\')) => entry.push('\\'),
            _ => {
                entry.push(c);
                continue;
            }
        }
        chars.next();
    }
    entry
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn entries_come_back_and_repetitions_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/history");
        let (mut history, entries, note) = History::open(Some(path.clone()));
        assert!(entries.is_empty() && note.is_none());
        for entry in ["a", "fn f() {\n    \"\\n\"\n}", "a", "a", "b"] {
            assert_eq!(history.add(entry), None);
        }
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 4);
        // another prompt at the same time
        History::open(Some(path.clone())).0.add("c");
        history.add("d");
        let (_, entries, _) = History::open(Some(path));
        assert_eq!(entries, ["fn f() {\n    \"\\n\"\n}", "a", "b", "c", "d"]);
    }

    #[test]
    fn problem_is_a_note() {
        let folder = tempfile::tempdir().unwrap();
        let (mut history, _, note) = History::open(Some(folder.path().into()));
        assert!(note.unwrap().contains("cannot be read"));
        assert_eq!(history.add("a"), None);
        let file = folder.path().join("file");
        fs::write(&file, "x").unwrap();
        let (mut history, ..) = History::open(Some(folder.path().join("new")));
        history.path = Some(file.join("history"));
        assert!(history.add("a").unwrap().contains("cannot be written"));
        assert_eq!(history.add("b"), None, "told once");
        fs::write(&file, b"ok\n\xff\xfe\n").unwrap();
        assert_eq!(History::open(Some(file)).1[0], "ok");
    }

    #[test]
    fn a_long_file_becomes_short() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        let lines: Vec<String> = (0..3 * KEPT).map(|n| n.to_string()).collect();
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        let (_, entries, _) = History::open(Some(path.clone()));
        assert_eq!((entries.len(), entries.last().unwrap().as_str()), (KEPT, "14999"));
        assert_eq!(fs::read_to_string(path).unwrap().lines().count(), KEPT);
    }

    proptest! {
        #[test]
        fn any_entry_is_one_line(entry in "[\\\\n\na é]{0,12}") {
            prop_assert!(!written(&entry).contains('\n'));
            prop_assert_eq!(read(&written(&entry)), entry);
        }
    }
}
