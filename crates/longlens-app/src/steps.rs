//! What the user did, so that it can be done again.

use std::path::{Path, PathBuf};

use longlens_core::printable::is_command;
use longlens_core::spec::ModelSpec;
use longlens_eval::passkey::Grid;
use serde::{Deserialize, Serialize};

use crate::problem::Problem;
use crate::prompt::PromptSource;
use crate::settings::Settings;
use crate::sweep::Evaluation;

/// Writes steps as a file that does them again, in the form that the file's name asks for; an error where it asks for none. The
/// model is given as it was opened. Which forms there are is a matter of the program.
pub type WriteSteps = fn(&Path, &Start, &[Step], &ModelSpec) -> Result<String, Problem>;

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
    /// Ran the samples of a task.
    Evaluate(Settings, Evaluation),
}

/// What a picture showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Picture {
    /// A view of a trace, with its options, in its text form.
    View(String),
    /// Positions that a head has over a prompt.
    Positions {
        /// Tokens of the prompt.
        n_tokens: usize,
        /// Layer.
        layer: usize,
        head: usize,
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
    /// Scores of a task.
    Scores(Evaluation),
    /// A view that can only be seen in the workbench.
    Other(String),
}

/// A run behind a picture: what it ran under, and what.
pub type Ran = (Settings, PromptSource);

/// How the program was started: flags that every command repeats.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Start {
    /// `--model`.
    pub model: String,
    /// `--device`, where it is not the processor.
    #[serde(default)]
    pub device: Option<String>,
    /// `--weights`, where it was given.
    #[serde(default)]
    pub weights: Option<String>,
    /// `--adapter`, where it was given.
    #[serde(default)]
    pub adapter: Option<String>,
    /// `--kv-offload`.
    #[serde(default)]
    pub kv_offload: bool,
}

impl Step {
    /// What it ran under.
    pub fn settings(&self) -> &Settings {
        match self {
            Self::Run(settings, _)
            | Self::Picture(_, settings, ..)
            | Self::Grid(settings, _)
            | Self::Evaluate(settings, _) => settings,
        }
    }
}

impl Picture {
    /// The view, in words.
    pub fn view(&self) -> &str {
        match self {
            Self::View(text) | Self::Other(text) => text,
            Self::Positions { .. } => "positions",
            Self::Loss { .. } => "loss",
            Self::Compare { .. } => "compare",
            Self::Grid(_) | Self::Scores(_) => "grid",
        }
    }
}

/// Text that stays in its line of a comment.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if is_command(c) { ' ' } else { c }).collect()
}

/// A word for the shell.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=:,./@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
