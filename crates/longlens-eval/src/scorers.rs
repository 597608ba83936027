//! The scorers of long-context evaluations: what the papers' scripts give for a prediction, number for number, and what they should give.
//!
//! In: a row with a prediction, its references and what else the scorer asks for. Out: the score as the script returns it, in full precision
//! and with its rounding where it rounds. [`Mode::Faithful`] repeats the faults of the scripts, since published numbers hold them;
//! [`Mode::Fixed`] mends those that [`Scorer::fixed`] names and agrees with the other mode everywhere else. Read [`SCORERS`] first.

pub mod babilong;
mod common;
mod error;
pub mod fuzz;
pub mod infinitebench;
pub mod infllm;
mod jieba;
pub mod leval;
mod list;
pub mod lm_eval;
pub mod longbench;
pub mod niah;
mod numbers;
mod overlap;
mod pairs;
pub mod passkey;
mod porter;
pub mod rouge;
pub mod rouge_score;
mod row;
pub mod ruler;
pub mod scrolls;
mod sentences;
#[cfg(test)]
pub(crate) mod tests;
use crate::words;

pub use error::ScoreError;
pub use jieba::segment;
pub use list::SCORERS;
pub use pairs::score_lines;
pub use row::Row;
pub(crate) use sentences::sentences;

use error::Stop;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Whether faults of the original scripts are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Byte for byte what the original computes: for numbers that are compared with published ones.
    #[default]
    Faithful,
    /// Right where the original is wrong.
    Fixed,
}

impl Mode {
    /// Both, with the default first.
    pub const ALL: [Self; 2] = [Self::Faithful, Self::Fixed];

    /// `faithful` or `fixed`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Faithful => "faithful",
            Self::Fixed => "fixed",
        }
    }

    fn is_fixed(self) -> bool {
        self == Self::Fixed
    }
}

/// How one script scores.
#[derive(Debug)]
pub struct Scorer {
    /// What it is called in rows and on the command line.
    pub name: &'static str,
    /// The score of a perfect answer; 1 where the score is a truth value.
    pub scale: f64,
    /// What it computes, in a phrase.
    pub summary: &'static str,
    /// The repository and file whose numbers it gives.
    pub source: &'static str,
    /// What [`Mode::Fixed`] does otherwise; empty where there is nothing to mend.
    pub fixed: &'static str,
    /// Fields that a row may or must have beside `prediction` and `references`; a `?` marks those that it may lack.
    pub extras: &'static [&'static str],
    /// Whether a row is a whole data set, with lists for predictions and references.
    pub is_aggregate: bool,
    run: fn(Row<'_>, Mode) -> Result<Value, Stop>,
}

impl Scorer {
    /// The scorer of this name; an error names the nearest one.
    pub fn named(name: &str) -> Result<&'static Self, ScoreError> {
        SCORERS.iter().find(|scorer| scorer.name == name).ok_or_else(|| ScoreError::unknown(name))
    }

    /// The score of a row: the object with `prediction`, `references` and what [`Self::extras`] names. Where the original raises an
    /// exception the score is `{"error": NAME}`; an error is a row that the original could not have been given.
    pub fn score(&self, row: &Map<String, Value>, mode: Mode) -> Result<Value, ScoreError> {
        match (self.run)(Row::new(self.name, row), mode) {
            Ok(score) => Ok(score),
            Err(Stop::Raised(name)) => Ok(json!({ "error": name })),
            Err(Stop::Refused(error)) => Err(error),
        }
    }
}

/// The best of `score` over all `references`, as Python's `max` takes it, which raises where there are none.
fn best(references: &[&str], score: impl FnMut(&str) -> f64) -> Result<f64, Stop> {
    references.iter().copied().map(score).reduce(larger).ok_or(Stop::Raised("ValueError"))
}

/// The first of two numbers unless the second is larger, as Python's `max` decides.
fn larger(first: f64, second: f64) -> f64 {
    if second > first { second } else { first }
}

/// The mean of `scores` added up in order, which raises where there are none.
fn mean(scores: &[f64]) -> Result<f64, Stop> {
    if scores.is_empty() {
        Err(Stop::Raised("ZeroDivisionError"))
    } else {
        Ok(scores.iter().sum::<f64>() / scores.len() as f64)
    }
}
