//! Progress bars, as wide as the terminal has room for.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use longlens_core::lens::{CancelToken, Control};
use longlens_core::printable::{excerpt, printable_line};

use super::{Screen, lock};

/// A progress bar that also carries Ctrl-C into a run. It goes when text is streamed, or when this is dropped.
pub struct Progress {
    bar: ProgressBar,
    screen: Arc<Mutex<Screen>>,
    cancel: CancelToken,
    /// Characters of what is being done.
    room: usize,
}

impl Progress {
    pub(super) fn new(what: &str, screen: Arc<Mutex<Screen>>, cancel: CancelToken) -> Self {
        // hidden where there is no terminal, or one that cannot move its cursor
        let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr_with_hz(10));
        let columns = usize::from(console::Term::stderr().size_checked().map_or(80, |(_, columns)| columns));
        let (style, room) = layout(columns, std::env::var_os("NO_COLOR").is_none());
        bar.set_style(style);
        let progress = Self { bar, screen, cancel, room };
        progress.doing(what);
        lock(&progress.screen).bar = Some(progress.bar.clone());
        progress.bar.enable_steady_tick(Duration::from_millis(200));
        progress
    }

    /// What is being done now.
    pub fn doing(&self, what: &str) {
        let what = printable_line(what);
        self.bar.set_message(excerpt(&what, 0, self.room).0.into_owned());
    }

    /// Something new is being done, and nothing of it is done yet.
    pub fn begin(&self, what: &str) {
        self.doing(what);
        self.bar.set_length(1);
        self.bar.set_position(0);
        self.bar.reset_elapsed();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        lock(&self.screen).bar = None;
        self.bar.finish_and_clear();
    }
}

impl Control for Progress {
    fn progress(&mut self, done: usize, total: usize) {
        // a bar that was taken off the screen stays off it
        if !self.bar.is_finished() {
            self.bar.set_length(total as u64);
            self.bar.set_position(done as u64);
        }
    }

    fn cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}

/// What a bar looks like on so many columns, and how many characters it can say. Two columns stay free, for the `^C` that a
/// terminal echoes.
fn layout(columns: usize, has_colours: bool) -> (ProgressStyle, usize) {
    let (cells, times, taken) = match columns {
        100.. => (32, " {elapsed} (left {eta})", 62),
        60..100 => (16, " {elapsed} (left {eta})", 46),
        _ => (8, "", 18),
    };
    let colour = if has_colours { ".cyan/dim" } else { "" };
    let style = ProgressStyle::with_template(&format!("{{msg}} [{{bar:{cells}{colour}}}] {{percent:>3}}%{times}"));
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    (style.progress_chars("=> "), columns.saturating_sub(taken).max(4))
}
