//! Panics of a device that is tried say nothing: where there is no device they are the answer, and become an error.

use std::cell::Cell;
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Whether a device is tried.
static TRIED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether this thread tries it.
    static TRIES: Cell<bool> = const { Cell::new(false) };
}

/// Lets the panic hook pass over what [`caught`] catches. The hook is changed once: call this before a hook that is to
/// stand above it.
pub fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // threads of the device panic too, but the main thread is heard unless it is the one that tries
            let is_hushed = TRIES.get() || thread::current().name() != Some("main");
            if !(TRIED.load(Ordering::SeqCst) && is_hushed) {
                loud(info);
            }
        }));
    });
}

/// Tries a device.
#[cfg(any(feature = "wgpu", feature = "cuda", test))]
pub fn caught<T>(run: impl FnOnce() -> T + panic::UnwindSafe) -> thread::Result<T> {
    prepare();
    TRIES.set(true);
    TRIED.store(true, Ordering::SeqCst);
    let done = panic::catch_unwind(run);
    TRIED.store(false, Ordering::SeqCst);
    TRIES.set(false);
    done
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn panics_are_silent_while_a_device_is_tried() {
        static N_TOLD: AtomicUsize = AtomicUsize::new(0);
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| match info.payload_as_str() {
            Some("no device") => drop(N_TOLD.fetch_add(1, Ordering::SeqCst)),
            _ => before(info),
        }));
        let absent = || panic!("no device");
        assert!(caught(absent).is_err());
        assert!(caught(|| thread::spawn(absent).join()).unwrap().is_err());
        assert_eq!(N_TOLD.load(Ordering::SeqCst), 0);
        assert!(panic::catch_unwind(absent).is_err());
        assert_eq!(N_TOLD.load(Ordering::SeqCst), 1, "afterwards they are told again");
        assert_eq!(caught(|| 7).unwrap(), 7);
    }
}
