//! What survives a crash: prompt, settings and pinned runs, saved while the user works.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

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
    /// Seconds since 1970 of the last save.
    pub saved: u64,
    /// The process that saved it.
    pub pid: u32,
    /// What `--model` was.
    pub model: String,
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
}

/// A folder with one file per process.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
    pid: u32,
}

/// Files that are kept, of programs that ended as they should.
const KEPT: usize = 4;

impl Store {
    /// The user's own: `$XDG_STATE_HOME/longlens`, or `~/.local/state/longlens`; nothing where neither variable is set.
    pub fn of_user() -> Option<Self> {
        let path = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let state = path("XDG_STATE_HOME").or_else(|| {
            let home = path("HOME").or_else(|| path("USERPROFILE"))?;
            Some(home.join(".local").join("state"))
        })?;
        Some(Self::at(state.join("longlens")))
    }

    /// A store in any folder; it is made with the first save.
    pub fn at(folder: PathBuf) -> Self {
        Self { folder, pid: std::process::id() }
    }

    /// This process's file.
    fn file(&self) -> PathBuf {
        self.folder.join(format!("session-{}.json", self.pid))
    }

    /// Saves this process's session, whole or not at all.
    pub fn save(&self, mut session: Session) -> io::Result<()> {
        session.pid = self.pid;
        session.saved = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        std::fs::create_dir_all(&self.folder)?;
        longlens_plot::write_whole(&self.file(), &serde_json::to_vec(&session)?)
    }

    /// Sessions of other processes that are no longer there, newest first; files that do not read are passed over.
    pub fn others(&self) -> Vec<(PathBuf, Session)> {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return Vec::new() };
        let mut found: Vec<_> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .filter_map(|path| Some((serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?, path)))
            .map(|(session, path): (Session, PathBuf)| (path, session))
            .filter(|(_, session)| session.pid != self.pid && !is_alive(session.pid))
            .collect();
        found.sort_by_key(|(_, session)| std::cmp::Reverse(session.saved));
        found
    }

    /// The newest session that did not end as it should.
    pub fn crashed(&self) -> Option<Session> {
        self.others().into_iter().map(|(_, session)| session).find(|session| !session.clean)
    }

    /// The newest session, crashed ones first; what `--resume` brings back.
    pub fn newest(&self) -> Option<Session> {
        self.crashed().or_else(|| self.others().into_iter().next().map(|(_, session)| session))
    }

    /// Forgets sessions that were resumed, and the oldest of those that ended well.
    pub fn tidy(&self, resumed: Option<&Session>) {
        for (at, (path, session)) in self.others().into_iter().enumerate() {
            let was_resumed =
                resumed.is_some_and(|resumed| resumed.pid == session.pid && resumed.saved == session.saved);
            if was_resumed || (session.clean && at >= KEPT) {
                // a file that cannot be removed is passed over next time
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

/// Whether a process of this number runs; unknown ones count as gone.
fn is_alive(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(clean: bool) -> Session {
        Session {
            clean,
            saved: 0,
            pid: 0,
            model: "embedded".into(),
            settings: Settings::default(),
            source: Some(PromptSource::Text("hello".into())),
            runs: Runs::default(),
            steps: Vec::new(),
            selected: (1, 2, None),
        }
    }

    #[test]
    fn the_newest_crashed_session_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let of = |pid| Store { folder: folder.path().join("longlens"), pid };
        let me = Store::at(folder.path().join("longlens"));
        assert_eq!(me.newest(), None);
        // processes of these numbers cannot exist
        of(u32::MAX).save(session(false)).unwrap();
        of(u32::MAX - 1).save(session(true)).unwrap();
        me.save(session(false)).unwrap();
        assert_eq!(me.crashed().map(|session| session.pid), Some(u32::MAX), "not its own, not the clean one");
        let crashed = me.newest().unwrap();
        assert_eq!(crashed.source, Some(PromptSource::Text("hello".into())));
        me.tidy(Some(&crashed));
        assert_eq!(me.crashed(), None);
        assert_eq!(me.newest().map(|session| session.pid), Some(u32::MAX - 1));
        std::fs::write(folder.path().join("longlens/session-7.json"), "{ half").unwrap();
        assert_eq!(me.others().len(), 1);
    }
}
