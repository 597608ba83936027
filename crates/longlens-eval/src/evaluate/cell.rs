//! A score as a table shows it, with what a reader should know of it.

use serde::Serialize;

use super::summary::Row;

/// The score of a method at a length.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cell {
    /// In per cent of perfect answers, or perplexity.
    pub score: f64,
    /// Its 95 % interval.
    pub interval: (f64, f64),
    /// Samples that were scored.
    pub n: usize,
    /// Tasks that it is the mean of; 1 of a task by itself.
    pub n_tasks: usize,
    /// Samples that were passed over as too long.
    pub n_skipped: usize,
    /// Samples of which something was left out.
    pub n_truncated: usize,
    /// Samples on whose answers the script raises an exception.
    pub n_errors: usize,
    /// Empty answers.
    pub n_empty: usize,
    /// Answers that ended at the most tokens.
    pub n_at_limit: usize,
    /// Mean prompt tokens.
    pub mean_prompt: f64,
    /// Tokens whose loss counts.
    pub n_scored: usize,
    /// Seconds in all.
    pub seconds: f64,
}

impl Cell {
    /// What a row shows.
    pub fn of(row: &Row) -> Self {
        Self {
            score: row.score,
            interval: row.interval,
            n: row.n,
            n_tasks: 1,
            n_skipped: row.n_skipped,
            n_truncated: row.n_truncated,
            n_errors: row.n_errors,
            n_empty: row.n_empty,
            n_at_limit: row.n_at_limit,
            mean_prompt: row.mean_prompt,
            n_scored: row.n_scored,
            seconds: row.seconds,
        }
    }
}
