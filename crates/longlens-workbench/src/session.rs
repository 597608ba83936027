//! What survives a crash: prompt, settings and pinned runs, saved while the user works.
//!
//! Every running program has a file of its own and holds a lock beside it; a session whose lock nobody holds is over.
//! Numbers of processes tell nothing: they are used again, and two containers can share a folder.

use std::cmp::Reverse;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use longlens_core::trace::RunRecord;
use serde::{Deserialize, Serialize};

use crate::prompt::PromptSource;
use crate::runs::Runs;
use crate::settings::Settings;
use crate::steps::Step;

/// What survives a crash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Whether the program ended as it should.
    pub clean: bool,
    /// Nanoseconds since 1970 of the last save.
    pub saved: u64,
    /// The process that saved it.
    pub pid: u32,
    /// What `--model` was.
    pub model: String,
    /// What `--trained-context` was.
    #[serde(default)]
    pub trained_context: Option<usize>,
    /// Method, scaling, sampling.
    pub settings: Settings,
    /// The prompt, if there was one.
    pub source: Option<PromptSource>,
    /// Runs that were pinned.
    pub runs: Runs,
    /// What was done so far.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// Selected layer, head and query.
    #[serde(default)]
    pub selected: (usize, usize, Option<usize>),
    /// Passkey grids, oldest first.
    #[serde(default)]
    pub grids: Vec<KeptGrid>,
    /// Tokens of a chunk in the views, where the user chose them.
    #[serde(default)]
    pub chunk_len: Option<usize>,
}

/// A passkey grid, as far as it was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptGrid {
    /// What it ran under.
    pub settings: Settings,
    /// Lengths in tokens, ascending.
    pub lengths: Vec<usize>,
    /// Depths, ascending.
    pub depths: Vec<f64>,
    /// Row-major `[n_depths, n_lengths]`: share of keys found, and prompts behind it.
    pub cells: Vec<Option<(f64, usize)>>,
    /// What was run, from the first cell.
    pub record: RunRecord,
    /// Prompts of a cell.
    pub trials: usize,
}

/// A folder of sessions, one of them this program's.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
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
        Self { folder, started: now(), pid: std::process::id(), own: None }
    }

    /// Saves this program's session, whole or not at all.
    pub fn save(&mut self, mut session: Session) -> io::Result<()> {
        (session.pid, session.saved) = (self.pid, now());
        make_private(&self.folder)?;
        // somebody may have emptied the folder meanwhile
        self.own.take_if(|own| !file(&self.folder, &own.name, "lock").exists());
        let own = match &mut self.own {
            Some(own) => own,
            none => none.insert(lock(&self.folder, self.started, self.pid)?),
        };
        longlens_plot::write_whole(&file(&self.folder, &own.name, "json"), &serde_json::to_vec(&session)?)
    }

    /// Sessions of programs that are over; files that do not read are passed over.
    pub fn found(&self) -> Found {
        let mut list: Vec<_> = self
            .files()
            .filter(|(path, name)| path.extension().is_some_and(|extension| extension == "json") && self.is_over(name))
            .filter_map(|(path, _)| Some((read(&path)?, path)))
            .map(|(header, path): (Header, _)| (path, header))
            .collect();
        list.sort_by_key(|(_, header)| (header.clean, Reverse(header.saved)));
        Found { list }
    }

    /// Forgets the session that was resumed, the oldest of the others, and files that belong to none.
    pub fn tidy(&self, resumed: Option<&Session>) {
        let is_resumed =
            |header: &Header| resumed.is_some_and(|resumed| (resumed.pid, resumed.saved) == (header.pid, header.saved));
        let mut found = self.found().list;
        found.retain(|(_, header)| !is_resumed(header));
        let n_crashed = found.iter().take_while(|(_, header)| !header.clean).count();
        let (crashed, ended) = found.split_at(n_crashed);
        let kept: Vec<_> = crashed.iter().take(CRASHED_KEPT).chain(ended.iter().take(ENDED_KEPT)).collect();
        for (path, name) in self.files() {
            let is_kept = kept.iter().any(|(kept, _)| *kept == file(&self.folder, &name, "json"));
            // a hold on the lock keeps a program that is just starting from taking a file that goes
            if !is_kept && let Ok(_hold) = self.hold(&name) {
                // a file that cannot be removed is passed over next time
                let _ = fs::remove_file(path);
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

    /// The newest session, crashed ones first; what `--resume` brings back.
    pub fn newest(&self) -> Option<Session> {
        self.list.iter().find_map(|(path, _)| read(path))
    }
}

/// Takes the lock of a session that nobody has, called by its start and process.
fn lock(folder: &Path, mut started: u64, pid: u32) -> io::Result<Own> {
    loop {
        let name = format!("session-{started}-{pid}");
        let path = file(folder, &name, "lock");
        let lock = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
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

/// Makes a folder that is the user's alone: prompts can be private.
fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(clean: bool, text: &str) -> Session {
        Session {
            clean,
            saved: 0,
            pid: 0,
            model: "embedded".into(),
            trained_context: None,
            settings: Settings::default(),
            source: Some(PromptSource::Text(text.into())),
            runs: Runs::default(),
            steps: Vec::new(),
            selected: (1, 2, None),
            grids: Vec::new(),
            chunk_len: None,
        }
    }

    /// A store below a folder of the test's, which is not made yet; all have the process of the test.
    fn store(folder: &tempfile::TempDir) -> Store {
        Store::at(folder.path().join("state/longlens"))
    }

    /// A program that saved this and is over.
    fn over(folder: &tempfile::TempDir, clean: bool, text: &str) {
        store(folder).save(session(clean, text)).unwrap();
    }

    fn newest(store: &Store) -> Option<String> {
        store.found().newest().map(|session| session.source.unwrap().to_string())
    }

    fn names(store: &Store) -> Vec<String> {
        let mut names: Vec<_> =
            store.files().map(|(path, _)| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_newest_crashed_session_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let me = store(&folder);
        assert!(me.found().newest().is_none() && !me.found().crashed());
        over(&folder, false, "older");
        over(&folder, false, "newer");
        over(&folder, true, "ended");
        for (left, crashed) in [("newer", true), ("older", true), ("ended", false)] {
            let found = me.found();
            let session = found.newest().unwrap();
            assert_eq!((session.source.clone(), found.crashed()), (Some(PromptSource::Text(left.into())), crashed));
            me.tidy(Some(&session));
        }
        assert!(me.found().newest().is_none());
        assert_eq!(names(&me), [""; 0], "locks go too");
    }

    #[test]
    fn a_session_is_over_when_nobody_holds_its_lock() {
        let folder = tempfile::tempdir().unwrap();
        let (mut first, mut second) = (store(&folder), store(&folder));
        // started in the same nanosecond by processes of the same number, as in two containers
        second.started = first.started;
        first.save(session(false, "first")).unwrap();
        second.save(session(false, "second")).unwrap();
        let me = store(&folder);
        assert!(me.found().newest().is_none(), "both are alive");
        me.tidy(None);
        assert_eq!(names(&me).len(), 4, "nothing of theirs is touched");
        drop(second);
        assert_eq!(newest(&me), newest(&first), "each sees that the other is over");
        assert!(newest(&me).unwrap().contains("second"));
        first.save(session(true, "first")).unwrap();
        assert!(first.found().crashed() && newest(&first).unwrap().contains("second"), "never its own");
    }

    #[test]
    fn files_that_do_not_read_are_passed_over_and_tidied() {
        let folder = tempfile::tempdir().unwrap();
        over(&folder, false, "whole");
        let me = store(&folder);
        let write = |name: &str, text: &str| fs::write(me.folder.join(name), text).unwrap();
        let whole = fs::read_to_string(me.found().list[0].0.as_path()).unwrap();
        write("session-7-7.json", &whole[..whole.len() / 2]);
        write(".session-8-8.json.8-0.part", "");
        write("session-9-9.lock", "");
        write("session-10-10.json", &format!(r#"{{"clean":false,"saved":{},"pid":1}}"#, u64::MAX));
        write("notes.txt", "not ours");
        assert!(newest(&me).unwrap().contains("whole"), "a header without a session is passed over too");
        me.tidy(None);
        let names = names(&me);
        assert_eq!(names.len(), 3, "one header, one session and its lock: {names:?}");
        assert!(me.folder.join("notes.txt").exists());
    }

    #[test]
    fn tidy_keeps_the_newest_of_each_kind() {
        let folder = tempfile::tempdir().unwrap();
        for at in 0..12 {
            over(&folder, false, &format!("crashed {at}"));
            over(&folder, true, &format!("ended {at}"));
        }
        let me = store(&folder);
        me.tidy(None);
        let list = me.found().list;
        let texts: Vec<_> = list.iter().map(|(path, _)| read::<Session>(path).unwrap().source.unwrap()).collect();
        let expected = (4..12).rev().map(|at| format!("crashed {at}"));
        let expected = expected.chain((8..12).rev().map(|at| format!("ended {at}")));
        assert_eq!(texts, expected.map(PromptSource::Text).collect::<Vec<_>>());
        assert_eq!(names(&me).len(), 2 * (CRASHED_KEPT + ENDED_KEPT));
    }

    #[cfg(unix)]
    #[test]
    fn the_folder_is_the_users_alone() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        over(&folder, true, "private");
        let mode = fs::metadata(folder.path().join("state/longlens")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error_of_the_save() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("state"), "a file").unwrap();
        let mut me = store(&folder);
        assert!(me.found().newest().is_none());
        me.tidy(None);
        assert!(me.save(session(false, "lost")).is_err());
        fs::remove_file(folder.path().join("state")).unwrap();
        me.save(session(false, "kept")).unwrap();
    }
}
