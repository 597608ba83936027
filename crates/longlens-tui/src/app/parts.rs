//! What the state is made of: what can happen, what has to happen outside, and the small records of views.

use std::ops::Range;
use std::path::PathBuf;

use longlens_app::Problem;
use longlens_app::prompt::PromptSource;
use longlens_app::runs::RunId;
use longlens_app::session::SavedSession;
use longlens_app::settings::{Checked, Settings};
use longlens_app::steps::{Start, Step, WriteSteps};
use longlens_app::worker::{Ask, Event};
use longlens_core::trace::{MapPick, MapWindow};
use ratatui::crossterm::event::{KeyEvent, MouseEvent};

use super::plots::{DrawAsk, Drawn};
use crate::export::Export;
use crate::pen::Seen;
use crate::theme::{Depth, ThemeName};

/// Something that happened.
#[derive(Debug)]
pub enum Action {
    /// A command of the table.
    Do(crate::command::Command),
    /// A key; what it means depends on what is open.
    Key(KeyEvent),
    /// Pasted text.
    Paste(String),
    /// The mouse.
    Mouse(MouseEvent),
    /// The worker has something to tell.
    Job(Event),
    /// A frame was drawn.
    Drawn(Seen),
    /// The figure of the view at this place was drawn, or not, under the number of its question.
    Figure(usize, u64, Result<Drawn, Problem>),
    /// Files were written, or not; the step that this makes.
    Wrote(Result<String, Problem>, Option<Box<Step>>),
    /// Time has passed.
    Tick,
    /// The system asks the program to end.
    Stop,
}

/// Something to be done outside.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "few wait at a time")]
pub enum Effect {
    /// Work for the model.
    Ask(Ask),
    /// Stops the model's work.
    Cancel,
    /// Stops the grid.
    CancelGrid,
    /// Draws the figure of a view.
    Draw(Box<DrawAsk>),
    /// Writes the files of a view, which makes a step.
    Export(Box<Export>, Box<Step>),
    /// Writes a file.
    Save(PathBuf, Vec<u8>),
    /// Keeps the session.
    Keep(Box<SavedSession>),
    /// Takes the mouse, or gives it back.
    Mouse(bool),
    /// Ends the program.
    Quit,
}

/// Whether the model is there.
#[derive(Debug, Clone, PartialEq)]
pub enum Opening {
    /// It is being loaded.
    Waiting,
    /// It is open.
    Done,
    /// It cannot be opened.
    Failed(Problem),
}

/// What a map was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapKey {
    /// Which run.
    pub run: RunId,
    /// Layer.
    pub layer: usize,
    /// Head.
    pub head: usize,
    /// Most cells of a side.
    pub side: usize,
    /// The part that is zoomed to.
    pub window: Option<MapWindow>,
    /// All of it, where that is more than the prompt.
    pub whole: Option<MapWindow>,
}

impl MapKey {
    /// What to record for it.
    pub fn pick(&self) -> MapPick {
        MapPick { layer: self.layer, head: self.head, side: self.side, window: self.window.or(self.whole) }
    }
}

/// What an inspection at all heads was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadsKey {
    /// Which run.
    pub run: RunId,
    /// The query.
    pub query: usize,
    /// Tokens of a chunk.
    pub chunk_len: usize,
    /// Queries whose choices count for hit rates.
    pub answer: Range<usize>,
}

/// What the maps of two runs were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DifferenceKey {
    /// The two runs.
    pub runs: [RunId; 2],
    /// Layer.
    pub layer: usize,
    /// Head.
    pub head: usize,
    /// Most cells of a side.
    pub side: usize,
}

/// A typed value that is not taken yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Edit {
    /// Which field, by its place.
    pub field: usize,
    /// The text so far.
    pub text: String,
    /// What it would mean, or why it is impossible.
    pub verdict: Result<Checked, Problem>,
}

/// What lies behind the tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenColor {
    /// Their loss.
    Loss,
    /// The attention that the query pays them.
    Attention,
}

/// How to begin.
#[derive(Debug, Clone)]
pub struct Options {
    /// How the program was started.
    pub start: Start,
    /// How steps are written to a file.
    pub write_steps: WriteSteps,
    /// First settings.
    pub settings: Settings,
    /// First prompt; a needle prompt when absent.
    pub prompt: Option<PromptSource>,
    /// Colors.
    pub theme: ThemeName,
    /// How many of them.
    pub depth: Depth,
    /// A session to bring back.
    pub resume: Option<SavedSession>,
    /// Whether a crashed session could be brought back.
    pub hint: bool,
    /// What the log begins with.
    pub notes: Vec<String>,
}
