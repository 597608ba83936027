//! What survives a crash: prompt, settings and pinned runs, saved while the user works.
//!
//! Every running program has a file of its own and holds a lock beside it; a session whose lock nobody holds is over.
//! Numbers of processes tell nothing: they are used again, and two containers can share a folder.

use std::cmp::Reverse;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

mod handed;
mod salvage;

use longlens_core::trace::RunRecord;
use longlens_eval::evaluate::Record;
use longlens_eval::passkey::{Cell, Chat};
use serde::{Deserialize, Serialize};

use crate::prompt::PromptSource;
use crate::runs::Runs;
use crate::settings::Settings;
use crate::steps::{Start, Step};
use crate::sweep::Evaluation;
use crate::write_private;

/// What survives a crash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedSession {
    /// Whether the program ended as it should.
    pub clean: bool,
    /// Nanoseconds since 1970 of the last save.
    pub saved: u64,
    /// The process that saved it.
    pub pid: u32,
    /// How its program was started.
    #[serde(flatten)]
    pub start: Start,
    /// Method, scaling, sampling, trained context.
    pub settings: Settings,
    /// The prompt, if there was one.
    pub source: Option<PromptSource>,
    /// Runs that were pinned.
    pub runs: Runs,
    /// What was done so far.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// Selected layer, head and query; nothing in a session that cells began.
    #[serde(default)]
    pub selected: Option<(usize, usize, Option<usize>)>,
    /// Grids, oldest first.
    #[serde(default)]
    pub grids: Vec<KeptGrid>,
    /// Tokens of a chunk in the views, where the user chose them.
    #[serde(default)]
    pub chunk_len: Option<usize>,
}

/// A grid of pass keys, or of the scores of another task, as far as it was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptGrid {
    /// What it ran under.
    pub settings: Settings,
    /// Lengths in tokens, ascending.
    pub lengths: Vec<usize>,
    /// Depths, ascending.
    pub depths: Vec<f64>,
    /// Row-major `[n_depths, n_lengths]`; nothing where prompts were still to be run.
    pub cells: Vec<Option<Cell>>,
    /// What was run, from the first cell.
    pub record: RunRecord,
    /// Prompts of a cell.
    pub trials: usize,
    /// The chat template's, where prompts were put into one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<Chat>,
    /// The samples of a task, where it is a grid of another task than pass keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scored: Option<Scored>,
}

/// The samples of a task that a grid shows, as far as they are finished.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// What was asked for.
    pub evaluation: Evaluation,
    /// Samples in all; nothing before they are counted.
    pub n_samples: Option<usize>,
    /// Finished samples.
    pub records: Vec<Record>,
}

/// A folder of sessions, one of them this program's; or one file of the user's, which holds this program's.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    /// The file of the user's.
    file: Option<PathBuf>,
    /// Nanoseconds since 1970.
    started: u64,
    pid: u32,
    /// This program's session, from the first save on.
    own: Option<Own>,
}

/// A session that is being kept: its name, and the lock that shows others that its program runs.
#[derive(Debug)]
struct Own {
    name: String,
    _lock: File,
}

/// Sessions of programs that are over: crashed ones first, then the newest.
#[derive(Debug, Default)]
pub struct Found {
    list: Vec<(PathBuf, Header)>,
    /// Files of which nothing can be read.
    unreadable: Vec<PathBuf>,
}

/// A session that comes back.
#[derive(Debug)]
pub struct Restored {
    /// What there is of it.
    pub session: SavedSession,
    /// What could not be read, and where it is kept; nothing where all is there.
    pub damage: Option<String>,
}

/// The beginning of a session's file.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Header {
    clean: bool,
    saved: u64,
    pid: u32,
}

/// Sessions that are kept, of programs that ended as they should.
const ENDED_KEPT: usize = 4;
/// Sessions that are kept, of programs that did not.
const CRASHED_KEPT: usize = 8;

/// Where this program keeps what outlives it; nothing where no folder is the user's.
pub fn state_folder() -> Option<PathBuf> {
    let path = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = path("XDG_STATE_HOME").or_else(|| {
        let home = path("HOME").or_else(|| path("USERPROFILE"))?;
        Some(home.join(".local").join("state"))
    })?;
    Some(state.join("longlens"))
}

impl Store {
    /// The user's own: `$XDG_STATE_HOME/longlens`, or `~/.local/state/longlens`; nothing where neither variable is set.
    pub fn of_user() -> Option<Self> {
        state_folder().map(Self::at)
    }

    /// A store in any folder; nothing is written before the first save.
    pub fn at(folder: PathBuf) -> Self {
        Self { folder, file: None, started: now(), pid: std::process::id(), own: None }
    }

    /// One file for this program's session alone.
    pub fn of_file(file: PathBuf) -> Self {
        Self { file: Some(file), ..Self::at(PathBuf::new()) }
    }

    /// Saves this program's session, whole or not at all.
    pub fn save(&mut self, mut session: SavedSession) -> io::Result<()> {
        (session.pid, session.saved) = (self.pid, now());
        if let Some(file) = &self.file {
            return write_private(file, &session.to_bytes());
        }
        make_private(&self.folder)?;
        if self.own.is_none() {
            self.files().for_each(|(path, _)| hide(&path));
        }
        // somebody may have emptied the folder meanwhile
        self.own.take_if(|own| !file(&self.folder, &own.name, "lock").exists());
        let own = match &mut self.own {
            Some(own) => own,
            none => none.insert(lock(&self.folder, self.started, self.pid)?),
        };
        write_private(&file(&self.folder, &own.name, "json"), &serde_json::to_vec(&session)?)
    }

    /// Sessions of programs that are over.
    pub fn found(&self) -> Found {
        let mut found = Found::default();
        if self.file.is_some() {
            return found;
        }
        for (path, name) in self.files() {
            if !is_session(&path) || !self.is_over(&name) {
                continue;
            }
            match fs::read(&path).ok().and_then(|bytes| header(&bytes)) {
                Some(header) => found.list.push((path, header)),
                None => found.unreadable.push(path),
            }
        }
        found.list.sort_by_key(|(_, header)| (header.clean, Reverse(header.saved)));
        found
    }

    /// Forgets the session that was resumed, the oldest of the others, and files that belong to none. What is damaged is set
    /// aside under another name and never forgotten.
    pub fn tidy(&self, resumed: Option<&SavedSession>) {
        if self.file.is_some() {
            return;
        }
        let is_resumed =
            |header: &Header| resumed.is_some_and(|resumed| (resumed.pid, resumed.saved) == (header.pid, header.saved));
        let Found { list: mut found, unreadable } = self.found();
        let damaged = found.iter().filter(|(path, header)| is_resumed(header) && read::<SavedSession>(path).is_none());
        for path in unreadable.iter().chain(damaged.map(|(path, _)| path)) {
            // where it cannot be renamed it stays, and is set aside another time
            let _ = fs::rename(path, set_aside(path));
        }
        found.retain(|(_, header)| !is_resumed(header));
        let n_crashed = found.iter().take_while(|(_, header)| !header.clean).count();
        let (crashed, ended) = found.split_at(n_crashed);
        let kept: Vec<_> = crashed.iter().take(CRASHED_KEPT).chain(ended.iter().take(ENDED_KEPT)).collect();
        for (path, name) in self.files() {
            let is_kept = kept.iter().any(|(kept, _)| *kept == file(&self.folder, &name, "json"));
            // a hold on the lock keeps a program that is just starting from taking a file that goes
            if !is_kept && let Ok(_hold) = self.hold(&name) {
                let is_damaged = is_session(&path) && read::<SavedSession>(&path).is_none();
                // a file that cannot be removed is passed over next time
                let _ = if is_damaged { fs::rename(&path, set_aside(&path)) } else { fs::remove_file(&path) };
            }
        }
    }

    /// Files of sessions, with the names of their sessions.
    fn files(&self) -> impl Iterator<Item = (PathBuf, String)> {
        fs::read_dir(&self.folder).into_iter().flatten().flatten().filter_map(|entry| {
            let (path, name) = (entry.path(), entry.file_name().into_string().ok()?);
            // files that are being written begin with a dot
            let name = name.trim_start_matches('.').split('.').next()?;
            name.starts_with("session-").then(|| (path, name.to_owned()))
        })
    }

    fn is_over(&self, name: &str) -> bool {
        self.hold(name).is_ok()
    }

    /// A hold on the lock of a session that is over, nothing where it has none; an error while its program may run.
    fn hold(&self, name: &str) -> io::Result<Option<File>> {
        let lock = match File::open(file(&self.folder, name, "lock")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        // others may look at the same time
        lock.try_lock_shared()?;
        Ok(Some(lock))
    }
}

impl Found {
    /// Whether a program did not end as it should.
    pub fn crashed(&self) -> bool {
        self.list.first().is_some_and(|(_, header)| !header.clean)
    }

    /// The newest session, crashed ones first; what `--resume` brings back, as far as it can be read.
    pub fn newest(&self) -> Option<Restored> {
        self.list.iter().find_map(|(path, _)| {
            let bytes = fs::read(path).ok()?;
            if let Ok(session) = serde_json::from_slice(&bytes) {
                return Some(Restored { session, damage: None });
            }
            let (session, lost) = salvage::session(&bytes)?;
            let damage = format!(
                "the session is damaged: {} could not be read; the file is kept as {}",
                lost.join(", "),
                set_aside(path).display()
            );
            Some(Restored { session, damage: Some(damage) })
        })
    }

    /// Files of which nothing can be read, in a sentence.
    pub fn unreadable(&self) -> Option<String> {
        let first = self.unreadable.first()?;
        let more = match self.unreadable.len() - 1 {
            0 => String::new(),
            n => format!(", and {n} more"),
        };
        Some(format!("a session cannot be read; the file is kept as {}{more}", set_aside(first).display()))
    }
}

/// Whether a file of a session is the session itself: no lock, and none that is being written.
fn is_session(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.starts_with(b"session-") && name.ends_with(b".json")
}

/// Where a file that cannot be read is kept: beside it, where no session is looked for.
fn set_aside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("damaged-{name}"))
}

fn header(bytes: &[u8]) -> Option<Header> {
    serde_json::from_slice(bytes).ok().or_else(|| serde_json::from_value(salvage::fields(bytes).into()).ok())
}

/// Takes the lock of a session that nobody has, called by its start and process.
fn lock(folder: &Path, mut started: u64, pid: u32) -> io::Result<Own> {
    loop {
        let name = format!("session-{started}-{pid}");
        let path = file(folder, &name, "lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let lock = options.open(&path)?;
        match lock.try_lock() {
            // a lock that was tidied away in between shows nobody anything
            Ok(()) if path.exists() && !file(folder, &name, "json").exists() => return Ok(Own { name, _lock: lock }),
            Ok(()) | Err(fs::TryLockError::WouldBlock) => (),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
        started += 1;
    }
}

fn file(folder: &Path, name: &str, extension: &str) -> PathBuf {
    folder.join(format!("{name}.{extension}"))
}

fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Makes a folder that is the user's alone, whoever could look into it before: prompts can be private.
pub fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)?;
    hide(folder);
    Ok(())
}

/// Takes from others what they may do with a file or folder of the user's. One that belongs to somebody else stays as it is.
#[cfg(unix)]
pub fn hide(path: &Path) {
    use std::os::unix::fs::PermissionsExt;

    let Ok(there) = fs::symlink_metadata(path) else { return };
    let mode = there.permissions().mode();
    if !there.is_symlink() && mode & 0o077 != 0 {
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o700));
    }
}

/// Folders of a user are private here.
#[cfg(not(unix))]
pub fn hide(_: &Path) {}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

#[cfg(test)]
mod tests;
