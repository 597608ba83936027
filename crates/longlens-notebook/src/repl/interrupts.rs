//! Ctrl-C while a cell runs.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use longlens_core::lens::CancelToken;

/// What a signal handler presses. At the prompt itself Ctrl-C is a key; only while a cell runs it is a signal.
#[derive(Debug, Clone)]
pub struct Interrupts {
    cancel: CancelToken,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    running: AtomicBool,
    started: Instant,
    /// Milliseconds from the start to the last press, and one: 0 is never.
    pressed: AtomicU64,
}

/// Presses this near to each other come from somebody who waits.
const WAITING_MS: u64 = 1000;

impl Interrupts {
    /// Presses raise this flag.
    pub fn new(cancel: CancelToken) -> Self {
        let state = State { running: AtomicBool::new(false), started: Instant::now(), pressed: AtomicU64::new(0) };
        Self { cancel, state: Arc::new(state) }
    }

    /// Asks the running cell to stop. False when no cell runs: then a signal is for the whole program. A second press within
    /// a second, while the cell still runs, says on stderr how to leave.
    pub fn press(&self) -> bool {
        if !self.state.running.load(Ordering::SeqCst) {
            return false;
        }
        self.cancel.cancel();
        if self.is_impatient(self.state.started.elapsed().as_millis() as u64) {
            // nobody is left to tell when stderr is gone
            let _ =
                io::stderr().write_all(b"\nstopping once the present step ends; Ctrl-\\ ends the program at once\n");
        }
        true
    }

    fn is_impatient(&self, now: u64) -> bool {
        let before = self.state.pressed.swap(now + 1, Ordering::SeqCst);
        before > 0 && now + 1 - before < WAITING_MS
    }

    /// Runs something that presses may stop.
    pub fn during<T>(&self, run: impl FnOnce() -> T) -> T {
        self.state.pressed.store(0, Ordering::SeqCst);
        self.state.running.store(true, Ordering::SeqCst);
        let done = run();
        self.state.running.store(false, Ordering::SeqCst);
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_press_stops_what_runs_and_nothing_else() {
        let cancel = CancelToken::default();
        let interrupts = Interrupts::new(cancel.clone());
        assert!(!interrupts.press() && !cancel.is_cancelled());
        assert!(interrupts.during(|| interrupts.clone().press()) && cancel.is_cancelled());
        assert!(!interrupts.press());
    }

    #[test]
    fn two_quick_presses_are_impatient() {
        let interrupts = Interrupts::new(CancelToken::default());
        assert!(!interrupts.is_impatient(0));
        assert!(interrupts.is_impatient(900));
        assert!(!interrupts.is_impatient(1900));
        interrupts.during(|| assert!(!interrupts.is_impatient(1950), "a new cell begins anew"));
    }
}
