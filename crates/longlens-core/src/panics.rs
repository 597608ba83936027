//! Panics of libraries that read what others wrote become errors, without a word on stderr.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// How many calls of [`caught`] this thread is inside.
    static N_INSIDE: Cell<usize> = const { Cell::new(0) };
}

/// Runs `work`; a panic on this thread becomes its message. What `work` was changing may be half changed after a panic: drop
/// it, or hand in only what is made anew.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    prepare();
    let done = {
        let _inside = Inside::enter();
        panic::catch_unwind(AssertUnwindSafe(work))
    };
    done.map_err(|payload| message(payload.as_ref()))
}

/// Changes the panic hook once, so that it passes over what [`caught`] catches. Call it before a hook that is to stand above
/// it; [`caught`] does it otherwise.
pub fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if N_INSIDE.get() == 0 {
                loud(info);
            }
        }));
    });
}

/// What a panic said.
pub fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no reason given").to_owned()
}

struct Inside;

impl Inside {
    fn enter() -> Self {
        N_INSIDE.set(N_INSIDE.get() + 1);
        Self
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        N_INSIDE.set(N_INSIDE.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message_and_later_ones_are_heard() {
        assert_eq!(caught(|| 7), Ok(7));
        assert_eq!(caught(|| -> u8 { panic!("bad {}", "file") }), Err("bad file".into()));
        let nested = caught(|| (caught(|| -> u8 { panic!("inner") }), N_INSIDE.get()));
        assert_eq!(nested, Ok((Err("inner".into()), 1)));
        assert_eq!(N_INSIDE.get(), 0);
    }
}
