//! Progress of many calls as one.

use longlens_core::lens::Control;

/// Passes one call's progress on as a part of a larger whole.
pub struct Part<'a> {
    /// Who watches the whole.
    pub control: &'a mut dyn Control,
    /// Steps of the whole before this part.
    pub before: usize,
    /// Steps of the whole that this part is.
    pub size: usize,
    /// Steps of the whole.
    pub total: usize,
}

impl Control for Part<'_> {
    fn progress(&mut self, done: usize, total: usize) {
        self.control.progress(self.before + self.size * done / total.max(1), self.total);
    }

    fn cancelled(&self) -> bool {
        self.control.cancelled()
    }
}

/// Passes cancellation in and no progress out.
pub struct Quiet<'a>(pub &'a mut dyn Control);

impl Control for Quiet<'_> {
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}
