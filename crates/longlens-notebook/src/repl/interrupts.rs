//! Ctrl-C while a cell runs.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use longlens_core::lens::CancelToken;

use super::plain::Heard;

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
    /// A prompt for which Ctrl-C is no key and which wants to hear of it.
    prompt: Mutex<Option<Sender<Heard>>>,
}

/// Presses this near to each other come from somebody who waits.
const WAITING_MS: u64 = 1000;

impl Interrupts {
    /// Presses raise this flag.
    pub fn new(cancel: CancelToken) -> Self {
        let (running, pressed) = (AtomicBool::new(false), AtomicU64::new(0));
        let state = State { running, started: Instant::now(), pressed, prompt: Mutex::default() };
        Self { cancel, state: Arc::new(state) }
    }

    /// Presses while no cell runs are told to a prompt.
    pub(super) fn tell(&self, prompt: Sender<Heard>) {
        *self.prompt() = Some(prompt);
    }

    fn prompt(&self) -> MutexGuard<'_, Option<Sender<Heard>>> {
        self.state.prompt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ctrl-C: asks the running cell to stop, or tells a prompt for which it is no key. False when neither is there.
    pub fn press(&self) -> bool {
        self.stop() || self.prompt().as_ref().is_some_and(|prompt| prompt.send(Heard::Interrupt).is_ok())
    }

    /// Asks the running cell to stop. False when no cell runs: then a signal is for the whole program. A second press within
    /// a second, while the cell still runs, says on stderr how to leave.
    pub fn stop(&self) -> bool {
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
