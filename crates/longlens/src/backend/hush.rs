//! Panics of a device's runtime say nothing by themselves: where there is no device, or no memory is left on it, they are the answer,
//! and become an error.

use std::cell::Cell;
use std::panic::{self, PanicHookInfo};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::thread;

use longlens_core::panics::message;

/// How many threads are inside [`caught`].
static N_INSIDE: AtomicUsize = AtomicUsize::new(0);

/// What the first panic said since the first of them entered: a runtime has a thread of its own, and what its caller says afterwards is
/// only that it is gone.
static FIRST: Mutex<Option<String>> = Mutex::new(None);

thread_local! {
    /// Whether this thread is inside.
    static IS_INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Lets the panic hook pass over what [`caught`] catches. The hook is changed once: call this before a hook that is to
/// stand above it.
pub fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| panic::set_hook(hushing(panic::take_hook())));
}

type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;

/// A hook that keeps what is said inside [`caught`], and leaves all else to another.
fn hushing(loud: Hook) -> Hook {
    Box::new(move |info| {
        // threads of the device panic too; all others are heard
        let is_hushed = IS_INSIDE.get() || thread::current().name().is_some_and(is_of_runtime);
        if N_INSIDE.load(Ordering::SeqCst) == 0 || !is_hushed {
            return loud(info);
        }
        let mut first = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| message(info.payload()));
    })
}

/// Whether a thread of this name is a device's, as `CubeCL` names them.
fn is_of_runtime(name: &str) -> bool {
    ["DSU-", "DSD-"].iter().any(|begin| name.starts_with(begin))
}

/// Runs something on a device; a panic becomes what the first one said, on whichever thread it was.
pub fn caught<T>(run: impl FnOnce() -> T + panic::UnwindSafe) -> Result<T, String> {
    prepare();
    let was_inside = IS_INSIDE.replace(true);
    let first = || FIRST.lock().unwrap_or_else(PoisonError::into_inner);
    if N_INSIDE.fetch_add(1, Ordering::SeqCst) == 0 {
        *first() = None;
    }
    let done = panic::catch_unwind(run);
    N_INSIDE.fetch_sub(1, Ordering::SeqCst);
    IS_INSIDE.set(was_inside);
    done.map_err(|payload| first().take().unwrap_or_else(|| message(payload.as_ref())))
}

/// What the first panic said since then, where something went on without it.
pub fn said() -> Option<String> {
    FIRST.lock().unwrap_or_else(PoisonError::into_inner).take()
}

#[cfg(test)]
pub mod tests {
    use std::sync::MutexGuard;

    use super::*;

    /// Held by every test that panics inside: what the first of all threads said is kept once.
    pub fn alone() -> MutexGuard<'static, ()> {
        static ALONE: Mutex<()> = Mutex::new(());
        ALONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[test]
    fn panics_are_silent_while_a_device_computes() {
        static N_TOLD: AtomicUsize = AtomicUsize::new(0);
        let _alone = alone();
        prepare();
        let before = panic::take_hook();
        panic::set_hook(hushing(Box::new(move |info| match info.payload_as_str() {
            Some("no device") => drop(N_TOLD.fetch_add(1, Ordering::SeqCst)),
            _ => before(info),
        })));
        let absent = || panic!("no device");
        let joined = |name: &str| thread::Builder::new().name(name.to_owned()).spawn(absent).unwrap().join();
        assert_eq!(caught(absent), Err::<(), _>("no device".to_owned()));
        assert!(caught(|| joined("DSD-4-0").is_err()).unwrap());
        let later = || assert!(joined("DSU-4-0").is_ok(), "its thread is gone");
        assert_eq!(caught(later), Err("no device".to_owned()), "the first panic is the reason");
        assert_eq!(caught(|| caught(absent).unwrap_err()), Ok("no device".to_owned()));
        assert_eq!(N_TOLD.load(Ordering::SeqCst), 0);
        assert!(caught(|| joined("figures").is_err()).unwrap());
        assert_eq!((N_TOLD.load(Ordering::SeqCst), said()), (1, None), "threads of others are heard");
        assert!(panic::catch_unwind(absent).is_err());
        assert_eq!(N_TOLD.load(Ordering::SeqCst), 2, "afterwards they are told again");
        assert_eq!(caught(|| 7), Ok(7));
    }
}
