//! Stopping the cell that runs now, and never the one after it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use longlens_core::lens::CancelToken;
use tokio::time::sleep;

/// A cell may lower its flag just after it was raised, as it starts; so the flag is raised again until the cell has ended.
const AGAIN: Duration = Duration::from_millis(20);

/// What both threads know of the cell that runs.
#[derive(Debug, Default)]
pub(super) struct Interrupts(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Runs begun so far.
    n_begun: u64,
    /// The flag of the run that is going on.
    running: Option<CancelToken>,
    closing: bool,
}

impl Interrupts {
    /// A run begins that `flag` stops. `false` when the kernel is about to end, and nothing is to begin.
    pub(super) fn begin(&self, flag: CancelToken) -> bool {
        let mut state = self.lock();
        if state.closing {
            return false;
        }
        state.n_begun += 1;
        state.running = Some(flag);
        true
    }

    /// The run is over: its flag stays as it is from here on.
    pub(super) fn end(&self) {
        self.lock().running = None;
    }

    /// Stops the run that is going on; no other is to begin.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closing = true;
        state.running.iter().for_each(CancelToken::cancel);
    }

    /// Stops the run that is going on now, whenever the future is first polled; it is done when the run is over, and at
    /// once when there is none.
    pub(super) fn stop(self: &Arc<Self>) -> impl Future<Output = ()> + Send + use<> {
        let interrupts = Arc::clone(self);
        let number = interrupts.lock().n_begun;
        async move {
            while interrupts.raise(number) {
                sleep(AGAIN).await;
            }
        }
    }

    /// Raises the flag of this run; `false` when it is over.
    fn raise(&self, number: u64) -> bool {
        let state = self.lock();
        match &state.running {
            Some(flag) if state.n_begun == number => {
                flag.cancel();
                true
            }
            _ => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // whoever panicked inside has left a whole state: every change is one assignment
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_run_that_was_meant_is_stopped() {
        let interrupts = Interrupts::default();
        assert!(!interrupts.raise(0), "nothing runs yet");

        let first = CancelToken::default();
        assert!(interrupts.begin(first.clone()));
        assert!(interrupts.raise(1));
        assert!(first.is_cancelled());
        interrupts.end();
        assert!(!interrupts.raise(1));

        let second = CancelToken::default();
        assert!(interrupts.begin(second.clone()));
        assert!(!interrupts.raise(1));
        assert!(!second.is_cancelled());
    }

    #[test]
    fn nothing_begins_once_the_kernel_closes() {
        let interrupts = Interrupts::default();
        let last = CancelToken::default();
        assert!(interrupts.begin(last.clone()));
        interrupts.close();
        assert!(last.is_cancelled());
        interrupts.end();
        assert!(!interrupts.begin(CancelToken::default()));
    }
}
