//! A session in a file of the user's: what a notebook hands to the workbench, and gets back from it.

use std::fs;
use std::path::Path;

use super::SavedSession;
use crate::problem::Problem;
use crate::prompt::PromptSource;
use crate::runs::Runs;
use crate::settings::Settings;
use crate::steps::Start;

/// Sessions beyond this were not written here.
const MAX_BYTES: u64 = 512 << 20;

impl SavedSession {
    /// A session that begins with this prompt under these settings.
    pub fn beginning(start: Start, settings: Settings, source: PromptSource) -> Self {
        Self {
            clean: true,
            saved: 0,
            pid: 0,
            start,
            settings,
            source: Some(source),
            runs: Runs::default(),
            steps: Vec::new(),
            selected: None,
            grids: Vec::new(),
            chunk_len: None,
        }
    }

    /// The bytes of its file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a session is numbers and texts");
        bytes.push(b'\n');
        bytes
    }

    /// Reads the bytes of a file; `name` is what errors call it.
    pub fn of_bytes(bytes: &[u8], name: &str) -> Result<Self, Problem> {
        serde_json::from_slice(bytes).map_err(|error| {
            Problem::new(
                format!("{name} is no session of the workbench: {error}"),
                "give a file that `workbench` in a cell or `--session` wrote".to_owned(),
            )
        })
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, Problem> {
        let failed = |error: std::io::Error| {
            let help = "give a file that `workbench` in a cell or `--session` wrote".to_owned();
            Problem::new(format!("cannot read {}: {error}", path.display()), help)
        };
        let there = fs::metadata(path).map_err(failed)?;
        if !there.is_file() || there.len() > MAX_BYTES {
            return Err(failed(std::io::Error::other("it is no file of a session")));
        }
        Self::of_bytes(&fs::read(path).map_err(failed)?, &path.display().to_string())
    }
}
