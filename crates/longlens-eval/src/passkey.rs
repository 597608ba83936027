//! Passkey retrieval: a number hidden in filler, asked for at the end, over a grid of lengths and depths.
//!
//! Scored twice: on tokens, as the authors' scripts do, and on text, for tokenizers that spell a number in several
//! ways.

use longlens_core::lens::{Control, Lens, TextCodec};
use longlens_core::trace::RunRecord;
use serde::{Deserialize, Serialize};

pub use self::chat::{Chat, NoTemplate};
pub use self::depth::{depth, depth_of};
pub use self::fixtures::{Fixture, Fixtures, read_fixtures, run_fixtures};
pub use self::lines::fixtures;
pub use self::prompt::{Needle, PasskeyPrompt, Place, hiding, prompt};
use self::series::{Series, With};
pub use self::templates::Template;
use crate::error::{EvalError, expect};
use crate::ledger::Ledger;
use crate::setup::SetupFor;
use crate::stats::wilson95;

mod chat;
mod depth;
mod filler;
mod fixtures;
mod lines;
mod prompt;
mod series;
mod templates;
mod words;

/// Which prompts to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// Wording of prompts and questions.
    pub template: Template,
    /// The chat template's, where prompts are put into one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<Chat>,
    /// Target lengths in tokens.
    pub lengths: Vec<usize>,
    /// Shares of the filler before the needle, 0 to 1.
    pub depths: Vec<f64>,
    /// Prompts per length and depth.
    pub trials: usize,
    /// Start of the random numbers.
    pub seed: u64,
}

impl Grid {
    /// How it is measured, in one line.
    pub fn protocol(&self) -> String {
        let Self { template, trials, seed, .. } = self;
        let chat = self.chat.as_ref().map_or(String::new(), |chat| format!(" {chat}"));
        let prompts = if *trials == 1 { "1 prompt".to_owned() } else { format!("{trials} prompts") };
        format!("passkey grid: template {template}{chat}, {prompts} per cell, seed {seed}; {SCORING}")
    }
}

/// What a grid or a file of prompts gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PasskeyReport {
    /// How it was measured.
    pub protocol: String,
    /// What was run; of the first prompt, as each cell may have its own method parameters.
    pub run: RunRecord,
    /// The cells that were run, by length, then depth.
    pub cells: Vec<Cell>,
    /// Whether every cell was run; false after a cancellation.
    pub complete: bool,
}

/// All prompts of one length and depth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Target length in tokens.
    pub length: usize,
    /// Share of the filler before the needle.
    pub depth: f64,
    /// Prompts run; fewer than asked for after a cancellation.
    pub n_trials: usize,
    /// Prompts whose answer has exactly the expected tokens.
    pub hits_tokens: usize,
    /// Prompts whose answer reads as the key.
    pub hits_text: usize,
    /// 95 % interval of the share of `hits_tokens`.
    pub wilson95: (f64, f64),
    /// Mean of the real prompt lengths.
    pub mean_prompt_tokens: f64,
    /// What was run; of the first prompt.
    pub run: RunRecord,
    /// Every prompt's outcome.
    pub trials: Vec<Trial>,
}

/// One prompt's outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// What was to be found.
    pub key: String,
    /// Tokens of the prompt; the template may miss the target length by some.
    pub prompt_tokens: usize,
    /// First token of the needle, where it was found.
    pub needle_start: Option<usize>,
    /// One past the needle's last token, where it was found.
    pub needle_end: Option<usize>,
    /// What the model answered.
    pub output_text: String,
    /// Whether its tokens are exactly the expected ones.
    pub ok_tokens: bool,
    /// Whether its text reads as the key.
    pub ok_text: bool,
    /// Seconds of prefill and answer.
    pub seconds: f64,
}

/// Finished cells by length and depth.
pub type CellLedger<'a> = dyn Ledger<(usize, f64), Cell> + 'a;

/// Runs every prompt of `grid`: prefill, then greedily as many tokens as the answer has, past an end token too.
///
/// Prompts of one haystack begin alike, up to where the needle is hidden. Those tokens are computed once: the cache is forked
/// before the needle, and the next prompt goes on from there, if that is exact ([`Sequence::serves`]); a trial's seconds are
/// then those of the rest.
///
/// Prompts depend on the grid alone, so every method gets the same ones. Progress counts target tokens over the whole
/// grid; after a cancellation the cells so far are returned, the last one perhaps with fewer trials.
pub fn run(
    lens: &mut dyn Lens,
    setup_for: &mut SetupFor,
    grid: &Grid,
    control: &mut dyn Control,
    ledger: &mut CellLedger,
) -> Result<PasskeyReport, EvalError> {
    let mut cells = Cells::new(lens, grid)?;
    let mut report = PasskeyReport { protocol: grid.protocol(), ..PasskeyReport::default() };
    while cells.n_left() > 0 && report.complete {
        report.add(cells.next(lens, setup_for, control, ledger)?);
    }
    Ok(report)
}

/// The cells of a grid one at a time, for those who do other things between them. What prompts begin with stays computed from
/// cell to cell.
#[derive(Debug)]
pub struct Cells {
    grid: Grid,
    /// Cells that are done.
    n_done: usize,
    series: Series,
}

impl Cells {
    /// All cells of `grid`, each once. A length or depth that has no prompt is refused before anything runs.
    pub fn new(lens: &dyn Lens, grid: &Grid) -> Result<Self, EvalError> {
        let (lengths, depths) = (distinct(&grid.lengths, |a, b| a == b), distinct(&grid.depths, same_depth));
        expect(grid.trials > 0, "trials", grid.trials, "a whole number of at least 1")?;
        for (what, is_empty) in [("lengths", lengths.is_empty()), ("depths", depths.is_empty())] {
            if is_empty {
                return Err(EvalError::Nothing { what });
            }
        }
        let grid = Grid { lengths, depths, ..grid.clone() };
        let shortest = grid.lengths.iter().copied().min().unwrap_or(0);
        for depth in &grid.depths {
            grid.prompt(lens.text()?, (shortest, *depth), 0)?;
        }
        let n_tokens = grid.lengths.iter().sum::<usize>() * grid.depths.len() * grid.trials;
        Ok(Self { grid, n_done: 0, series: Series::new(n_tokens) })
    }

    /// Passes over the first `n` cells, which were done before.
    pub fn skip(&mut self, n: usize) {
        while self.n_done < n && self.n_left() > 0 {
            self.series.n_done += self.place().0 * self.grid.trials;
            self.n_done += 1;
        }
    }

    /// How many cells are done.
    pub fn n_done(&self) -> usize {
        self.n_done
    }

    /// How many cells are left.
    pub fn n_left(&self) -> usize {
        self.grid.lengths.len() * self.grid.depths.len() - self.n_done
    }

    /// Length and depth of the next cell.
    fn place(&self) -> (usize, f64) {
        let Grid { lengths, depths, .. } = &self.grid;
        (lengths[self.n_done / depths.len()], depths[self.n_done % depths.len()])
    }

    /// Runs the next cell, by length, then depth. There must be one left.
    pub fn next(
        &mut self,
        lens: &mut dyn Lens,
        setup_for: &mut SetupFor,
        control: &mut dyn Control,
        ledger: &mut CellLedger,
    ) -> Result<Outcome, EvalError> {
        let (place, grid) = (self.place(), &self.grid);
        let make = |codec: &dyn TextCodec, trial| grid.prompt(codec, place, trial);
        let outcome = self.series.cell(&mut With { lens, setup_for, control, ledger }, place, grid.trials, &make)?;
        self.n_done += usize::from(matches!(outcome, Outcome::Whole(_)));
        Ok(outcome)
    }
}

/// What running a cell came to.
#[derive(Debug)]
pub enum Outcome {
    /// All its prompts were run.
    Whole(Cell),
    /// It was cancelled, after some of its prompts or before the first one was done.
    Cancelled(Option<Cell>),
}

impl Grid {
    fn prompt(
        &self,
        codec: &dyn TextCodec,
        (length, depth): (usize, f64),
        trial: usize,
    ) -> Result<PasskeyPrompt, EvalError> {
        prompt(
            codec,
            self.template,
            self.chat.as_ref(),
            &Place { length, depth, trial, seed: self.seed, shared: false },
        )
    }
}

/// Every value once, where it first stands: a cell that is named twice is one cell.
fn distinct<T: Copy>(values: &[T], same: fn(T, T) -> bool) -> Vec<T> {
    let mut kept: Vec<T> = Vec::new();
    for value in values {
        if !kept.iter().any(|earlier| same(*earlier, *value)) {
            kept.push(*value);
        }
    }
    kept
}

/// Whether two depths are one however they were written: `33.3%` is a rounding away from `0.333`.
fn same_depth(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

/// How answers are had and scored.
const SCORING: &str = "greedy, as many tokens as the answer has, hits on exact tokens";

impl Default for PasskeyReport {
    /// A report of no cells, none of which was cancelled.
    fn default() -> Self {
        Self { protocol: String::new(), run: RunRecord::default(), cells: Vec::new(), complete: true }
    }
}

impl PasskeyReport {
    fn add(&mut self, outcome: Outcome) {
        let cell = match outcome {
            Outcome::Whole(cell) => Some(cell),
            Outcome::Cancelled(cell) => {
                self.complete = false;
                cell
            }
        };
        if let Some(cell) = cell {
            if self.cells.is_empty() {
                self.run = cell.run.clone();
            }
            self.cells.push(cell);
        }
    }
}

impl Cell {
    fn new(length: usize, depth: f64, run: RunRecord, trials: Vec<Trial>) -> Self {
        let n_trials = trials.len();
        let hits_tokens = trials.iter().filter(|trial| trial.ok_tokens).count();
        let prompt_tokens: usize = trials.iter().map(|trial| trial.prompt_tokens).sum();
        Self {
            length,
            depth,
            n_trials,
            hits_tokens,
            hits_text: trials.iter().filter(|trial| trial.ok_text).count(),
            wilson95: wilson95(hits_tokens, n_trials),
            mean_prompt_tokens: prompt_tokens as f64 / n_trials as f64,
            run,
            trials,
        }
    }

    /// Share of prompts whose answer has exactly the expected tokens.
    pub fn accuracy(&self) -> f64 {
        self.hits_tokens as f64 / self.n_trials as f64
    }
}

#[cfg(test)]
mod tests;
