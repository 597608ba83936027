//! Finished parts of a measurement, written beside its results while it runs, so that a run that was killed goes on.
//!
//! One file for each set of all that decides the numbers (model, method, seed, texts, this program, …): runs with other
//! settings never meet in one. It is held locked while a run writes, and goes away once the results are there.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use longlens_core::lens::{ModelInfo, Setup};
use longlens_eval::ledger::Ledger;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::terminal::Terminal;

/// Finished parts of one measurement, in a file of theirs; nowhere without a folder for results.
#[derive(Default)]
pub struct Journal {
    file: Option<(PathBuf, File)>,
    known: HashMap<String, Value>,
    /// The first line, until there is something to stand behind it.
    head: Option<String>,
    /// Parts that were written.
    n_written: usize,
    /// The first part that could not be written.
    failed: Option<io::Error>,
}

/// A line of the file but its first, which says what decides the numbers.
#[derive(Serialize, Deserialize)]
struct Line {
    key: String,
    part: Value,
}

impl Journal {
    /// What an earlier run of `command` with the same `decides` left in `folder`, to go on with.
    pub fn open(terminal: &Terminal, folder: Option<&Path>, command: &str, decides: &Value) -> Result<Self, Failure> {
        let Some(folder) = folder else { return Ok(Self::default()) };
        let path = folder.join(format!("{command}-{:016x}.cells.jsonl", hash(&decides.to_string())));
        let failed = |error: io::Error| {
            let help = "choose another folder with --out, one that you may write to".to_owned();
            Failure::failed(format!("cannot keep finished cells in {}: {error}", path.display()), Some(help))
        };
        expect_small_file(&path)?;
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::failed(
                    format!("another run with these settings writes {}", path.display()),
                    Some("wait for it, or give --out another folder".into()),
                ));
            }
            // file systems without locks are used as they are
            Ok(()) | Err(TryLockError::Error(_)) => (),
        }
        if !is_at(&file, &path) {
            return Err(Failure::failed(
                format!("the run that wrote {} has just ended", path.display()),
                Some("start this one again".into()),
            ));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        // a line that a kill cut short is computed again
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let text = String::from_utf8_lossy(&bytes[..whole]);
        let mut lines = text.lines();
        let is_ours = lines.next().and_then(|line| serde_json::from_str::<Value>(line).ok()).as_ref() == Some(decides);
        if !is_ours && whole > 0 {
            return Err(Failure::failed(
                format!("{} holds something else than finished cells of this run", path.display()),
                Some("move it away, or give --out another folder".into()),
            ));
        }
        file.set_len(whole as u64).and_then(|()| file.seek(SeekFrom::End(0))).map_err(failed)?;
        let head = (!is_ours).then(|| format!("{decides}\n"));
        let known = lines.filter_map(|line| serde_json::from_str(line).ok());
        let known: HashMap<_, _> = known.map(|Line { key, part }| (key, part)).collect();
        if !known.is_empty() {
            terminal.note(format_args!(
                "{} used again, of a run that was cut short (to measure all anew, delete {})",
                if known.len() == 1 {
                    "1 cell finished before is".into()
                } else {
                    format!("{} cells finished before are", known.len())
                },
                path.display()
            ))?;
        }
        Ok(Self { file: Some((path, file)), known, head, n_written: 0, failed: None })
    }

    /// The parts of the measurement of this name, for a command that measures several things.
    pub fn section<'a>(&'a mut self, name: &'a str) -> Section<'a> {
        Section { journal: self, name }
    }

    /// The results are written: what was kept for them goes. A run that was stopped leaves it, and says what it could not keep.
    pub fn end(self, terminal: &Terminal, complete: bool) -> Result<(), Failure> {
        let Some((path, file)) = self.file else { return Ok(()) };
        let has_parts = self.n_written > 0 || !self.known.is_empty();
        if complete || !has_parts && self.failed.is_none() {
            // a leftover only makes the next run faster
            let _ = fs::remove_file(&path);
            drop(file);
        } else if let Some(error) = self.failed {
            terminal.note(format_args!("warning: finished cells could not be kept in {}: {error}", path.display()))?;
        } else {
            terminal.note(format_args!("finished cells are kept in {}: the same command goes on", path.display()))?;
        }
        Ok(())
    }
}

/// The parts of one of several measurements that share a file.
pub struct Section<'a> {
    journal: &'a mut Journal,
    /// What the keys of the others lack.
    name: &'a str,
}

impl<K: Serialize, T: Serialize + DeserializeOwned> Ledger<K, T> for Section<'_> {
    fn find(&mut self, key: &K) -> Option<T> {
        self.journal.find(&(self.name, key))
    }

    fn finished(&mut self, key: &K, part: &T) {
        self.journal.finished(&(self.name, key), part);
    }
}

impl<K: Serialize, T: Serialize + DeserializeOwned> Ledger<K, T> for Journal {
    fn find(&mut self, key: &K) -> Option<T> {
        let key = serde_json::to_string(key).ok()?;
        self.known.get(&key).and_then(|part| serde_json::from_value(part.clone()).ok())
    }

    fn finished(&mut self, key: &K, part: &T) {
        // what follows a line that could not be written would be lost with it
        let Some((_, file)) = self.file.as_mut().filter(|_| self.failed.is_none()) else { return };
        let written = serde_json::to_string(key)
            .and_then(|key| serde_json::to_string(&Line { key, part: serde_json::to_value(part)? }))
            .map_err(io::Error::from)
            // one write a line, so that a kill cuts the last line at most
            .and_then(|line| {
                let line = format!("{}{line}\n", self.head.as_deref().unwrap_or_default());
                if file.metadata()?.len() + line.len() as u64 > MAX_BYTES {
                    return Err(io::Error::other(format!("it would have more than {} MiB", MAX_BYTES >> 20)));
                }
                file.write_all(line.as_bytes())
            })
            .and_then(|()| file.sync_data());
        match written {
            Ok(()) => {
                self.head = None;
                self.n_written += 1;
            }
            Err(error) => {
                self.failed.get_or_insert(error);
            }
        }
    }
}

/// Whether an open file is still the one of this name.
pub fn is_at(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let place = |there: io::Result<fs::Metadata>| there.ok().map(|there| (there.dev(), there.ino()));
        place(file.metadata()) == place(fs::metadata(path))
    }
    #[cfg(not(unix))]
    {
        let _ = (file, path); // an open file cannot be taken away there
        true
    }
}

/// Bytes of a file of finished cells at most; thousands of cells with their answers have a hundredth of it.
const MAX_BYTES: u64 = 256 << 20;

/// Refuses what stands under the name of our file and cannot be it, before it is opened: opening a pipe waits for its writer,
/// and reading a device never ends.
fn expect_small_file(path: &Path) -> Result<(), Failure> {
    let problem = match fs::metadata(path) {
        Ok(there) if !there.is_file() => "is no file".to_owned(),
        Ok(there) if there.len() > MAX_BYTES => {
            format!("has more than {} MiB, and finished cells have not", MAX_BYTES >> 20)
        }
        // what is not there is made; what cannot be looked at cannot be opened either, and is told then
        _ => return Ok(()),
    };
    Err(Failure::failed(
        format!("cannot keep finished cells in {}: it {problem}", path.display()),
        Some("move it away, or give --out another folder".into()),
    ))
}

/// All that decides the numbers of a method on a model, but for what is measured.
pub fn decides(model: &ModelInfo, setup: &Setup, measured: &Value) -> Value {
    let program = std::env::current_exe().ok().and_then(|path| stamp(&path));
    json!({
        "version": env!("CARGO_PKG_VERSION"), "program": program, "model": model.name, "source": model.source,
        "files": stamps(Path::new(&model.source)), "dtype": model.dtype, "kernel_path": model.kernel_path,
        "method": setup.plan.method, "rope": setup.rope.to_string(), "prefill_chunk": setup.prefill_chunk,
        "layer_windows": setup.plan.layer_windows(),
        "measured": measured,
    })
}

/// A number for anything that says what it is.
pub fn hash(of: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// Bytes and time of the last change, in nanoseconds, of every file in a folder.
fn stamps(folder: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .filter_map(|entry| Some((entry.file_name().to_string_lossy().into_owned(), stamp(&entry.path())?)))
        .collect();
    files.sort();
    files
}

fn stamp(path: &Path) -> Option<String> {
    let there = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let changed = there.modified().ok()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    Some(format!("{} bytes, {changed}", there.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_begins_with_its_first_part() {
        let folder = tempfile::tempdir().unwrap();
        let terminal = Terminal::new(false);
        let open = || Journal::open(&terminal, Some(folder.path()), "measure", &json!({ "seed": 1 })).unwrap();
        let n_files = || fs::read_dir(folder.path()).unwrap().count();
        open().end(&terminal, false).unwrap();
        assert_eq!(n_files(), 0, "a run that was stopped before leaves nothing");
        let mut store = open();
        store.finished(&1_u32, &"one".to_owned());
        store.finished(&2_u32, &"two".to_owned());
        store.end(&terminal, false).unwrap();
        let path = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 3);
        let mut store = open();
        assert_eq!(Ledger::<u32, String>::find(&mut store, &2), Some("two".to_owned()));
        store.finished(&3_u32, &"three".to_owned());
        store.end(&terminal, false).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 4, "one line says what decides the numbers");
        open().end(&terminal, true).unwrap();
        assert_eq!(n_files(), 0);
    }

    #[test]
    fn what_cannot_be_a_file_of_finished_cells_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("folder")).unwrap();
        File::create(at("large")).unwrap().set_len(MAX_BYTES + 1).unwrap();
        File::create(at("small")).unwrap().set_len(MAX_BYTES).unwrap();
        let problem = |name: &str| expect_small_file(&at(name)).err().map(|failure| failure.to_string());
        assert!(problem("folder").is_some_and(|said| said.ends_with("it is no file")));
        assert!(problem("large").is_some_and(|said| said.contains("it has more than 256 MiB")));
        assert_eq!((problem("small"), problem("absent")), (None, None));
        #[cfg(unix)]
        {
            let made = std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap();
            assert!(made.success() && problem("pipe").is_some_and(|said| said.ends_with("it is no file")));
        }
    }
}
