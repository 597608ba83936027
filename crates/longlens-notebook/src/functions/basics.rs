//! Showing, waiting, timing.

use rhai::plugin::*;

#[export_module]
#[allow(clippy::needless_pass_by_value)] // the macro hands values over
pub mod functions {
    use std::time::{Duration, Instant};

    use longlens_core::lens::LensError;
    use rhai::{Dynamic, FnPtr};

    use crate::host::{Returned, host, raise, refuse};
    use crate::values;

    /// Shows a value at once, as if it stood at the end of the cell: a table, a picture, a trace.
    ///
    /// ```rhai
    /// for n in [1, 2] { show(table(#{ n: [n] })); }
    /// ```
    #[rhai_fn(name = "show")]
    pub fn show(context: NativeCallContext, value: Dynamic) {
        if let Some(shown) = values::show(&value) {
            host(&context).show(shown);
        }
    }

    /// Seconds that a function takes.
    ///
    /// ```rhai
    /// time(|| generate("Hello", full(), 4)) >= 0.0
    /// ```
    #[rhai_fn(name = "time", return_raw)]
    pub fn time(context: NativeCallContext, work: FnPtr) -> Returned<f64> {
        let started = Instant::now();
        let _ = work.call_within_context::<Dynamic>(&context, ())?;
        Ok(started.elapsed().as_secs_f64())
    }

    /// Waits so many seconds.
    ///
    /// ```rhai
    /// sleep(0.01);
    /// ```
    #[rhai_fn(name = "sleep", return_raw)]
    pub fn sleep(context: NativeCallContext, seconds: f64) -> Returned<()> {
        let Ok(wait) = Duration::try_from_secs_f64(seconds) else {
            return refuse(format!("cannot sleep {seconds} seconds"), "give a number of at least 0");
        };
        let (host, started) = (host(&context), Instant::now());
        while let Some(left) = wait.checked_sub(started.elapsed()).filter(|left| !left.is_zero()) {
            if host.cancel().is_cancelled() {
                return Err(raise(LensError::Cancelled));
            }
            std::thread::sleep(left.min(Duration::from_millis(20)));
        }
        Ok(())
    }

    /// Waits so many seconds.
    #[rhai_fn(name = "sleep", return_raw)]
    pub fn sleep_whole(context: NativeCallContext, seconds: i64) -> Returned<()> {
        sleep(context, seconds as f64)
    }

    /// The version of longlens.
    ///
    /// ```rhai
    /// longlens_version()
    /// ```
    #[rhai_fn(name = "longlens_version")]
    pub fn longlens_version() -> String {
        env!("CARGO_PKG_VERSION").into()
    }
}
