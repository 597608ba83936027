//! Lines for the kernel's log about what others do wrong, which they may do a thousand times a second.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::log;

/// Between two lines.
const BETWEEN: Duration = Duration::from_secs(1);

/// Says one thing a second at most, and counts what it does not say.
#[derive(Debug, Default)]
pub(super) struct Complaints(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    n_unsaid: usize,
}

impl Complaints {
    /// Says this, or counts it.
    pub(super) fn say(&self, line: &str) {
        if let Some(line) = self.due(line, Instant::now()) {
            log(&line);
        }
    }

    fn due(&self, line: &str, now: Instant) -> Option<String> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.is_some_and(|last| now.duration_since(last) < BETWEEN) {
            state.n_unsaid += 1;
            return None;
        }
        state.last = Some(now);
        Some(match std::mem::take(&mut state.n_unsaid) {
            0 => line.to_owned(),
            n => format!("{line} (and {n} more before it)"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted() {
        let (complaints, start) = (Complaints::default(), Instant::now());
        let at = |ms| complaints.due("no", start + Duration::from_millis(ms));
        assert_eq!(at(0).unwrap(), "no");
        assert_eq!((at(1), at(999)), (None, None));
        assert_eq!(at(1001).unwrap(), "no (and 2 more before it)");
        assert_eq!(at(2002).unwrap(), "no");
    }
}
