//! What the user did, as files that do it again: cells of a notebook, or commands of the shell.

use std::path::{Path, PathBuf};

use longlens_core::printable::is_command;
use longlens_core::spec::ModelSpec;
use longlens_core::trace::MapWindow;
use longlens_eval::passkey::Grid;
use serde::{Deserialize, Serialize};

use crate::problem::Problem;
use crate::prompt::PromptSource;
use crate::settings::Settings;

mod cells;
mod commands;

pub use cells::cells;
pub use commands::{command, script};

/// The steps as a file's ending asks for them: `.rhai` for [`cells`], `.sh` for a [`script`]. Other endings are refused.
pub fn written(path: &Path, start: &Start, steps: &[Step], model: &ModelSpec) -> Result<String, Problem> {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("rhai") => Ok(cells(path, start, steps, model)),
        Some("sh") => Ok(script(start, steps, model)),
        _ => Err(Problem::new(
            format!("{} does not say what to write the steps as", path.display()),
            "end the name in .rhai for notebook cells, or in .sh for commands".to_owned(),
        )),
    }
}

/// One thing the user did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Ran a prompt.
    Run(Settings, PromptSource),
    /// Saved a picture.
    Picture(Picture, Settings, Option<PromptSource>, PathBuf),
    /// Ran a passkey grid.
    Grid(Settings, Grid),
}

/// What a picture showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Picture {
    /// Chunks of every head, for a query.
    Heads {
        /// The query token.
        query: usize,
        /// Tokens of a chunk, where it shows attention instead of a choice.
        chunk_len: Option<usize>,
    },
    /// One head's map.
    Map {
        layer: usize,
        head: usize,
        /// Most cells of a side.
        side: usize,
        /// The largest weight of a cell instead of the mean.
        max: bool,
        /// Linear colours.
        linear: bool,
        /// The part that it zooms to; what lies behind the prompt is drawn in the workbench alone.
        #[serde(default)]
        window: Option<MapWindow>,
    },
    /// Positions over so many tokens.
    Positions(usize),
    /// How much every head attends to the needle, or far away, from a query.
    Layers {
        /// The query token.
        query: usize,
        /// Tokens of a chunk, where the method has none of its own.
        chunk_len: Option<usize>,
    },
    /// Losses of runs, by token.
    Loss {
        runs: Vec<Ran>,
        /// Tokens that a curve is smoothed over.
        smooth: usize,
    },
    /// Two runs of one prompt.
    Compare {
        /// The runs; the first is what the second is compared with.
        runs: Box<[Ran; 2]>,
        /// Layer and head whose maps are compared too.
        head: Option<(usize, usize)>,
    },
    /// A passkey grid.
    Grid(Grid),
    /// A view that can only be seen in the workbench.
    Other(String),
}

/// A run behind a picture: what it ran under, and what.
pub type Ran = (Settings, PromptSource);

/// How the program was started: flags that every command repeats.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Start {
    /// `--model`.
    pub model: String,
    /// `--device`, where it is not the processor.
    pub device: Option<String>,
    /// `--weights`, where it is not f32.
    pub weights: Option<String>,
    /// `--trained-context`, where it was given.
    pub trained_context: Option<usize>,
}

impl Picture {
    /// The view, in words.
    fn view(&self) -> &str {
        match self {
            Self::Heads { .. } => "heads",
            Self::Map { window: None, .. } => "map",
            Self::Map { window: Some(_), .. } => "map, zoomed",
            Self::Positions(_) => "positions",
            Self::Layers { .. } => "layers",
            Self::Loss { .. } => "loss",
            Self::Compare { .. } => "compare",
            Self::Grid(_) => "grid",
            Self::Other(view) => view,
        }
    }
}

/// Text that stays in its line of a comment.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if is_command(c) { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests;
