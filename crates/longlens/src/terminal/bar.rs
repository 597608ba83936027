//! Progress bars, as wide as the terminal has room for.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use longlens_core::lens::{CancelToken, Control};
use longlens_core::printable::{excerpt, printable_line};

use super::{Screen, lock};
use crate::tty::is_dumb;

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
        let place = Place(Term::stderr());
        let (style, room) = layout(place.width().into(), std::env::var_os("NO_COLOR").is_none());
        let cannot = is_dumb() || std::env::var_os("TERM").is_none();
        let target = if place.0.is_term() && !cannot {
            ProgressDrawTarget::term_like_with_hz(Box::new(place), 10)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(1), target);
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

/// What a bar looks like on so many columns, and how many characters it can say.
fn layout(columns: usize, has_colours: bool) -> (ProgressStyle, usize) {
    let (cells, times, taken) = match columns {
        100.. => (32, " {elapsed} (left {eta})", 60),
        60..100 => (16, " {elapsed} (left {eta})", 44),
        _ => (8, "", 16),
    };
    let colour = if has_colours { ".cyan/dim" } else { "" };
    let style = ProgressStyle::with_template(&format!("{{msg}} [{{bar:{cells}{colour}}}] {{percent:>3}}%{times}"));
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    (style.progress_chars("=> "), columns.saturating_sub(taken).max(4))
}

/// Stderr without its last columns: a bar fills its line, and the `^C` that a terminal echoes behind it must not begin another,
/// or the bar would not be found again.
#[derive(Debug)]
struct Place(Term);

/// Columns that a bar leaves free.
const FREE: u16 = 3;

impl TermLike for Place {
    fn width(&self) -> u16 {
        self.0.size_checked().map_or(80, |(_, columns)| columns).saturating_sub(FREE).max(1)
    }

    fn height(&self) -> u16 {
        self.0.size_checked().map_or(24, |(rows, _)| rows)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_up(n)
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_down(n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_right(n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_left(n)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.0.write_line(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        self.0.flush()
    }
}
