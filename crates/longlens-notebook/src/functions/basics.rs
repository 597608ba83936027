//! Showing, waiting, timing.

use rhai::plugin::*;

#[export_module]
#[allow(clippy::needless_pass_by_value)] // the macro hands values over
pub mod functions {
    use std::time::{Duration, Instant};

    use longlens_core::lens::LensError;
    use rhai::{Dynamic, FnPtr};

    use crate::functions::calls::within;
    use crate::host::{Returned, host, raise, refuse};
    use crate::shown::Form;
    use crate::values::{self, Html};

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

    /// The same, its picture as `"svg"`, `"png2x"` (twice as many pixels, shown at the same size) or `"png"`. Pictures are PNG where
    /// nobody asks: nbconvert makes no PDF of SVG without another program. `%config figures svg` asks for all that follow.
    ///
    /// ```rhai
    /// show(positions("streaming:window=32", 128), "svg")
    /// ```
    #[rhai_fn(name = "show", return_raw)]
    pub fn show_as(context: NativeCallContext, value: Dynamic, form: &str) -> Returned<()> {
        let names = Form::ALL.map(Form::name).join(", ");
        let Some(form) = Form::named(form) else {
            return refuse(format!("pictures are not shown as `{form}`"), format!("there are: {names}"));
        };
        if let Some(shown) = values::show(&value) {
            host(&context).show_as(shown, form);
        }
        Ok(())
    }

    /// A piece of HTML that shows itself: coloured words, a table of your own, an SVG drawing. Scripts, forms, frames and what would
    /// be loaded from elsewhere are taken out, since a page with notebooks can do all that its reader can; styles stay. Terminals
    /// show its text.
    ///
    /// ```rhai
    /// html("<b style='color: teal'>kept</b> and <i>dropped</i>")
    /// ```
    #[rhai_fn(name = "html", return_raw)]
    pub fn html(text: &str) -> Returned<Html> {
        within("an HTML text of so many bytes:", text.len(), Html::MOST)?;
        Ok(Html::of(text))
    }

    /// Text that may stand in HTML: `<`, `>`, `&` and quotes are written out.
    ///
    /// ```rhai
    /// html(`<code>${escaped("a < b")}</code>`)
    /// ```
    #[rhai_fn(name = "escaped")]
    pub fn escaped(text: &str) -> String {
        crate::document::escaped(text)
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
