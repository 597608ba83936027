//! What long steps of a cell ask while they go on: whether there is room for more, and whether the cell is to stop.
//!
//! The language asks at each of its own steps. One step may be a long one, such as reading a file or writing out a list whose
//! entries share a text; what makes it knows no session, so the session that runs on this thread is asked.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use longlens_core::lens::CancelToken;
use rhai::{Array, Blob, Dynamic, Map};

use crate::host::Exhausted;
use crate::memory::Gauge;
use crate::values::{Prompt, Table};

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

/// Bytes of a value once it is written out: a text that a thousand entries share is written a thousand times.
pub fn written(value: &Dynamic) -> u64 {
    match (value.read_lock::<Table>(), value.read_lock::<Prompt>()) {
        (Some(table), _) => WORD + table.0.table.n_bytes(),
        (_, Some(prompt)) => WORD + prompt.built.pieces.iter().map(|piece| piece.len() as u64).sum::<u64>(),
        _ => in_words(value),
    }
}

/// Bytes of a number, a name of a type, or the brackets and commas round an entry.
const WORD: u64 = 24;

/// The same where tables and prompts are named alone.
pub fn in_words(value: &Dynamic) -> u64 {
    if let Ok(text) = value.as_immutable_string_ref() {
        return WORD + text.len() as u64;
    }
    if let Some(list) = value.read_lock::<Array>() {
        return WORD + list.iter().map(in_words).sum::<u64>();
    }
    if let Some(map) = value.read_lock::<Map>() {
        return WORD + map.iter().map(|(name, value)| name.len() as u64 + in_words(value)).sum::<u64>();
    }
    if let Some(bytes) = value.read_lock::<Blob>() {
        return WORD + 3 * bytes.len() as u64;
    }
    WORD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_text_counts_wherever_it_is_written() {
        let text = Dynamic::from("x".repeat(1000));
        let list = Dynamic::from_array(vec![text.clone(); 100]);
        assert!((100_000..110_000).contains(&written(&list)), "{}", written(&list));
        let map = Dynamic::from_map([("a".into(), list.clone()), ("b".into(), list)].into_iter().collect());
        assert!((200_000..220_000).contains(&written(&map)), "{}", written(&map));
    }

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
