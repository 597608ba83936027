//! Finished samples in the formats of other programs.
//!
//! A table of samples is one file; what has runs is a folder: of lm-evaluation-harness, of trackers of experiments, of `TensorBoard`. A run
//! is what answered: a model under a method and a RoPE scaling. Its curve goes over lengths.

use std::path::Path;

use longlens_eval::evaluate::Record;

use crate::problem::Problem;

mod flat;
mod lm_eval;
mod runs;
mod target;
mod tensorboard;
#[cfg(test)]
mod tests;
mod trackers;

use runs::Runs;

/// What to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A Parquet file, a row for each sample.
    Parquet,
    /// Comma-separated values, a line for each sample.
    Csv,
    /// JSON lines, an object without objects in it for each sample.
    Jsonl,
    /// A folder as lm-evaluation-harness writes it.
    LmEval,
    /// A folder with runs, and the script that logs them to Weights & Biases.
    Wandb,
    /// The same for Trackio.
    Trackio,
    /// A folder of event files.
    Tensorboard,
}

impl Format {
    /// All of them, in the order of help.
    pub const ALL: [Self; 7] =
        [Self::Parquet, Self::Csv, Self::Jsonl, Self::LmEval, Self::Wandb, Self::Trackio, Self::Tensorboard];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
            Self::LmEval => "lm_eval",
            Self::Wandb => "wandb",
            Self::Trackio => "trackio",
            Self::Tensorboard => "tensorboard",
        }
    }

    /// What it is, in a line.
    pub fn doc(self) -> &'static str {
        match self {
            Self::Parquet => "one file for data frames, a row for each sample",
            Self::Csv => "one file of comma-separated values, a line for each sample",
            Self::Jsonl => "one file of JSON lines, a flat object for each sample",
            Self::LmEval => "a folder as lm-evaluation-harness writes it: results_*.json and samples_*.jsonl",
            Self::Wandb => "a folder with runs and the script that logs them to Weights & Biases",
            Self::Trackio => "a folder with runs and the script that logs them to Trackio",
            Self::Tensorboard => "a folder of event files for TensorBoard",
        }
    }

    fn is_folder(self) -> bool {
        !matches!(self, Self::Parquet | Self::Csv | Self::Jsonl)
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Files.
    pub n_files: usize,
    /// Whether an earlier export stood there.
    pub is_replaced: bool,
}

/// Whether an export may be written here: where nothing is, into an empty folder, or over an earlier one of the same format.
pub fn check(format: Format, to: &Path) -> Result<(), Problem> {
    target::is_ours(format, to).map(drop)
}

/// Writes samples; `name` is what they are called. The same samples give the same bytes.
pub fn export(format: Format, name: &str, records: &[Record], to: &Path) -> Result<Written, Problem> {
    let is_replaced = target::is_ours(format, to)?;
    let files = match format {
        Format::Parquet => return target::write_file(to, &flat::parquet(records)?, is_replaced),
        Format::Csv => return target::write_file(to, &flat::csv(records), is_replaced),
        Format::Jsonl => return target::write_file(to, &flat::jsonl(records), is_replaced),
        Format::LmEval => lm_eval::files(&Runs::of(records)),
        Format::Wandb | Format::Trackio => trackers::files(format, name, &Runs::of(records)),
        Format::Tensorboard => tensorboard::files(&Runs::of(records)),
    };
    target::write_folder(format, to, &files, is_replaced)
}
