//! What long steps of a cell ask while they go on: whether there is room for more, and whether the cell is to stop.
//!
//! The language asks at each of its own steps. One step may be a long one, such as reading a file or writing out a list whose
//! entries share a text; what makes it knows no session, so the session that runs on this thread is asked.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use crate::memory::Gauge;
use longlens_core::lens::{CancelToken, Control};

/// What a cell may use up, so that it is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    /// The memory of the machine, of its control group, or of the program's own limits; this bounds it.
    Memory(&'static str),
    /// What a session may hold.
    Share,
    /// Levels of values inside values.
    Levels,
    /// What one cell may print and show.
    Room,
}

/// Why a step ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// There is no room for what it makes.
    #[error("this takes more memory than there is: the session may hold {limit} (`%config`, --memory-limit)")]
    Full {
        /// What the session may hold.
        limit: String,
    },
    /// Somebody wants the cell to stop.
    #[error("stopped")]
    Cancelled,
}

thread_local! {
    static SESSION: RefCell<Asked> = RefCell::default();
}

/// What is asked of the session.
#[derive(Default)]
struct Asked {
    gauge: Weak<Gauge>,
    cancel: CancelToken,
    exhausted: Rc<Cell<Option<Exhausted>>>,
}

/// A cell begins: from now on its session is asked, and learns what a step has used up.
pub fn begin(gauge: &Rc<Gauge>, cancel: &CancelToken, exhausted: &Rc<Cell<Option<Exhausted>>>) {
    SESSION.set(Asked { gauge: Rc::downgrade(gauge), cancel: cancel.clone(), exhausted: exhausted.clone() });
}

/// Whether a step may make so many bytes more; 0 asks whether it may go on. After [`Stopped::Full`] the cell ends at its next step.
pub fn room_for(bytes: u64) -> Result<(), Stopped> {
    SESSION.with_borrow(|session| {
        let Some(gauge) = session.gauge.upgrade() else { return Ok(()) };
        if session.cancel.is_cancelled() {
            return Err(Stopped::Cancelled);
        }
        let what = if gauge.lacks(bytes) {
            Exhausted::Share
        } else if gauge.has_grown()
            && let Some(room) = gauge.shortage()
        {
            Exhausted::Memory(room.bound)
        } else {
            return Ok(());
        };
        session.exhausted.set(Some(what));
        Err(Stopped::Full { limit: gauge.limit() })
    })
}

/// The cell that runs on this thread, for steps of other crates that ask whether to stop.
#[derive(Debug, Clone, Copy)]
pub struct OfCell;

impl Control for OfCell {
    fn cancelled(&self) -> bool {
        room_for(0).is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_stops_what_has_room() {
        let (gauge, cancel, exhausted) = (Rc::new(Gauge::default()), CancelToken::default(), Rc::default());
        gauge.set_limit(1 << 40);
        begin(&gauge, &cancel, &exhausted);
        assert_eq!((room_for(1), exhausted.get()), (Ok(()), None));
        assert!(matches!(room_for(1 << 60), Err(Stopped::Full { .. })));
        assert_eq!(exhausted.get(), Some(Exhausted::Share));
        cancel.cancel();
        assert_eq!(room_for(0), Err(Stopped::Cancelled));
        drop(gauge);
        assert_eq!(room_for(1 << 60), Ok(()), "nobody is there to ask");
    }
}
