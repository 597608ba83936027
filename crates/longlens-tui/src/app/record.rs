//! What was done, for the notebook or script that repeats it.

use longlens_app::steps::Step;

/// Steps that are kept.
const KEPT: usize = 1000;

/// Steps, and how many files were named for views.
#[derive(Debug, Clone, Default)]
pub struct Record {
    steps: Vec<Step>,
    n_exported: usize,
}

impl Record {
    /// The steps of an earlier session, to be followed by more.
    pub(super) fn of(steps: Vec<Step>) -> Self {
        Self { steps, ..Self::default() }
    }

    /// What was done, the oldest first.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// How many views were exported.
    pub(super) fn n_exported(&self) -> usize {
        self.n_exported
    }

    /// Adds what was done.
    pub(super) fn add(&mut self, step: Step) {
        self.steps.push(step);
        if self.steps.len() > KEPT {
            self.steps.remove(0);
        }
    }

    /// Takes back the newest step that `is_it`.
    pub(super) fn take_back(&mut self, is_it: &dyn Fn(&Step) -> bool) {
        if let Some(at) = self.steps.iter().rposition(is_it) {
            self.steps.remove(at);
        }
    }

    /// Puts another step in the place of the newest one like it.
    pub(super) fn replace(&mut self, step: &Step, other: Step) {
        if let Some(at) = self.steps.iter().rposition(|own| own == step) {
            self.steps[at] = other;
        }
    }

    /// Notes an export whose files are being written.
    pub(super) fn export(&mut self) {
        self.n_exported += 1;
    }
}
