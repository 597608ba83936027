//! The grid that the controls ask for: of pass keys, or of another task.

use longlens_app::settings::Settings;
use longlens_app::steps::Step;
use longlens_app::sweep::Evaluation;
use longlens_eval::passkey::Grid;
use longlens_eval::tasks::Task;

use super::App;
use crate::export;

/// The grid that the controls ask for.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// Pass keys.
    Passkeys(Grid),
    /// Samples of another task.
    Task(Evaluation),
}

impl Asked {
    /// What the controls ask for.
    pub fn of(app: &App) -> Self {
        export::evaluation(app).map_or_else(|| Self::Passkeys(export::grid(app)), Self::Task)
    }

    /// Lengths in tokens; none where the task has none, or one of its own.
    pub fn lengths(&self) -> &[usize] {
        match self {
            Self::Passkeys(grid) => &grid.lengths,
            Self::Task(evaluation) => &evaluation.lengths,
        }
    }

    /// Prompts of each length, where that is known: files have as many as they have.
    pub fn n_a_length(&self) -> Option<usize> {
        match self {
            Self::Passkeys(grid) => Some(grid.depths.len() * grid.trials),
            Self::Task(evaluation) => {
                let task = Task::parse(&evaluation.task).ok()?;
                let given =
                    |name: &str| task.given().find(|(given, _)| *given == name).map(|(_, value)| value.number());
                let samples = given("samples")?;
                Some((samples * given("depths").unwrap_or(1.0)) as usize)
            }
        }
    }

    /// Prompts in all, where that is known.
    pub fn n_prompts(&self) -> Option<usize> {
        Some(self.n_a_length()? * self.lengths().len().max(1))
    }

    /// The step that runs it under these settings.
    pub fn step(&self, settings: Settings) -> Step {
        match self {
            Self::Passkeys(grid) => Step::Grid(settings, grid.clone()),
            Self::Task(evaluation) => Step::Evaluate(settings, evaluation.clone()),
        }
    }
}
