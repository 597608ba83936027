//! One task at some lengths under the settings of a run: what a grid of the terminal workbench is of.

use serde::{Deserialize, Serialize};

use super::{Axes, Unit};
use crate::problem::Problem;
use crate::settings::Settings;

/// A task at some lengths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The task with its settings, as text.
    pub task: String,
    /// Tokens of prompt and answer; empty where the task has no lengths, or one of its own.
    pub lengths: Vec<usize>,
}

impl Evaluation {
    /// A unit for each length, under these settings.
    pub fn units(&self, settings: &Settings) -> Result<Vec<Unit>, Problem> {
        let mut axes = Axes { fixed: vec![("task".to_owned(), self.task.clone())], ..Axes::default() };
        if !self.lengths.is_empty() {
            axes.grid.push(("length".to_owned(), self.lengths.iter().map(ToString::to_string).collect()));
        }
        let units = axes.units()?.into_iter();
        Ok(units.map(|unit| Unit { settings: settings.clone(), ..unit }).collect())
    }
}
