//! What has to happen outside, and how far the worker is.

use longlens_app::worker::{Ask, Progress};

use super::Effect;

/// Effects that wait to be carried out, questions that were sent, and the progress of the newest.
#[derive(Debug)]
pub struct Work {
    effects: Vec<Effect>,
    n_numbered: u64,
    n_sent: u64,
    is_busy: bool,
    progress: Option<Progress>,
}

impl Default for Work {
    /// The model is being opened.
    fn default() -> Self {
        Self { effects: Vec::new(), n_numbered: 0, n_sent: 0, is_busy: true, progress: None }
    }
}

impl Work {
    /// Whether the worker has something to do.
    pub fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// How far the worker is with what it does; nothing where it does nothing or has not said.
    pub fn progress(&self) -> Option<&Progress> {
        self.progress.as_ref().filter(|_| self.is_busy)
    }

    /// A number that no question had before.
    pub(super) fn number(&mut self) -> u64 {
        self.n_numbered += 1;
        self.n_numbered
    }

    /// Asks the worker.
    pub(super) fn ask(&mut self, ask: Ask) {
        (self.is_busy, self.n_sent) = (true, self.n_sent + 1);
        self.effects.push(Effect::Ask(ask));
    }

    /// Adds something to be done outside.
    pub(super) fn add(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Notes how far the worker is.
    pub(super) fn advance(&mut self, progress: Progress) {
        self.progress = Some(progress);
    }

    /// The worker had nothing to do after so many questions; more may be on their way.
    pub(super) fn idle_after(&mut self, n_sent: u64) {
        if n_sent == self.n_sent {
            self.stop();
        }
    }

    /// The worker does nothing any more.
    pub(super) fn stop(&mut self) {
        (self.is_busy, self.progress) = (false, None);
    }

    /// Everything to be done outside since the last time.
    pub(super) fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }
}
