//! Raises the flag of a cell that runs too long.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use longlens_core::lens::CancelToken;

/// Time between one raising and the next.
const AGAIN: Duration = Duration::from_millis(20);

/// A thread that waits for a cell to end.
pub struct Watchdog {
    ended: Sender<()>,
    thread: JoinHandle<bool>,
}

impl Watchdog {
    /// Raises `flag` in `timeout`, unless it is asked before. It raises it again and again until the cell ends: a cell lowers
    /// the flag when it starts, which may be later.
    pub fn new(flag: CancelToken, timeout: Duration) -> Self {
        let (ended, ends) = channel();
        let thread = std::thread::spawn(move || {
            let mut n_barks = 0;
            while ends.recv_timeout(if n_barks == 0 { timeout } else { AGAIN }) == Err(RecvTimeoutError::Timeout) {
                flag.cancel();
                n_barks += 1;
            }
            n_barks > 0
        });
        Self { ended, thread }
    }

    /// Whether the flag had to be raised; after this it stays as it is.
    pub fn barked(self) -> bool {
        drop(self.ended);
        self.thread.join().unwrap_or(false)
    }
}
