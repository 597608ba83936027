//! What the user sees between two prompts: prints, results, figures, errors, and one line that says how far a step is.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use longlens_app::pace;
use longlens_core::printable::printable;
use longlens_plot::terminal::Depth;

use super::colours::{Paint, Role, painted};
use super::picture::{self, Way};
use crate::interpreter::{CellError, Output, Progress};
use crate::shown::Shown;
use longlens_plot::terminal::cut;

/// How things look.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// How many colours there are.
    pub colours: Depth,
    /// How figures are shown.
    pub images: Way,
    /// Columns of the terminal.
    pub width: usize,
    /// Whether a line says how far a step is.
    pub progress: bool,
}

/// Writes to a terminal.
pub struct Console {
    out: Box<dyn Write>,
    /// Where the progress line and notes stand.
    err: Box<dyn Write>,
    look: Look,
    /// Whether the last line that was printed has its end.
    at_start: bool,
    /// When the progress line was drawn last, while it stands.
    drawn: Option<Instant>,
    failed: Option<io::Error>,
}

/// Shorter steps show no progress.
const PATIENCE_SECONDS: f64 = 0.3;
/// The progress line is not drawn more often.
const REDRAWN: Duration = Duration::from_millis(100);
/// Cells of the bar.
const BAR: usize = 24;
/// The same on a narrow terminal.
const SHORT_BAR: usize = 4;

impl Console {
    /// Cells' words go to `out`; progress and notes to `err`.
    pub fn new(out: Box<dyn Write>, err: Box<dyn Write>, look: Look) -> Self {
        Self { out, err, look, at_start: true, drawn: None, failed: None }
    }

    /// Columns of the terminal from now on.
    pub fn set_width(&mut self, width: usize) {
        self.look.width = width;
    }

    /// One line before the first prompt.
    pub fn greet(&mut self, program: &str, model: &str) {
        let about =
            format!("{program} · model {model}, opened when a cell needs it · ? for help, %magics, Ctrl-D quits");
        let line = format!("{}\n", cut(&about, self.look.width));
        let line = self.look.colours.paint(Role::Faint, &line).into_owned();
        self.write(&line);
    }

    /// What `?` alone shows.
    pub fn help(&mut self) {
        self.write(HELP);
    }

    /// The value of a cell.
    pub fn result(&mut self, number: usize, shown: &Shown) {
        self.clear_progress();
        self.end_line();
        let label = self.look.colours.paint(Role::Prompt, &format!("[{number}] =")).into_owned();
        let gap = if shown.text.contains('\n') { "\n" } else { " " };
        self.write(&format!("{label}{gap}{}\n", printable(&shown.text)));
        self.picture(shown);
    }

    /// Why a cell stopped.
    pub fn error(&mut self, error: &CellError) {
        self.clear_progress();
        // the terminal echoed the key that stopped the cell
        self.at_start &= error.name != "Interrupted";
        self.end_line();
        let text = painted(error, self.look.colours).join("\n") + "\n";
        self.write(&text);
    }

    /// Something about the prompt itself.
    pub fn note(&mut self, text: &str) {
        let line = format!("note: {}\n", printable(text));
        let line = self.look.colours.paint(Role::Faint, &line).into_owned();
        self.write(&line);
    }

    /// Ends what a cell left open; the error of a write that failed since the last call.
    pub fn finish(&mut self) -> io::Result<()> {
        self.clear_progress();
        self.end_line();
        if let Err(error) = self.out.flush() {
            self.failed.get_or_insert(error);
        }
        self.failed.take().map_or(Ok(()), Err)
    }

    fn write(&mut self, text: &str) {
        if let Err(error) = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()) {
            self.failed.get_or_insert(error);
        }
        self.at_start = text.ends_with('\n') || (text.is_empty() && self.at_start);
    }

    fn end_line(&mut self) {
        if !self.at_start {
            self.write("\n");
            self.at_start = true;
        }
    }

    fn picture(&mut self, shown: &Shown) {
        let drawn = picture::draw(shown, self.look.images, self.look.colours, self.look.width);
        match drawn {
            Ok(text) if text.is_empty() => (),
            Ok(text) => {
                self.write(&text);
                self.at_start = true;
            }
            Err(error) => self.note(&format!("the figure cannot be drawn here: {error}")),
        }
    }

    fn clear_progress(&mut self) {
        if self.drawn.take().is_some() {
            // a progress line that stays is better than a prompt that ends
            let _ = self.err.write_all(b"\r\x1b[2K").and_then(|()| self.err.flush());
        }
    }
}

impl Output for Console {
    fn print(&mut self, text: &str) {
        self.clear_progress();
        self.write(&printable(text));
    }

    fn show(&mut self, shown: &Shown) {
        self.clear_progress();
        self.end_line();
        self.write(&format!("{}\n", printable(&shown.text)));
        self.picture(shown);
    }

    fn progress(&mut self, progress: Option<&Progress>) {
        let Some(progress) = progress else { return self.clear_progress() };
        let is_early = progress.seconds < PATIENCE_SECONDS || self.drawn.is_some_and(|at| at.elapsed() < REDRAWN);
        // a line that was begun would be wiped out
        if !self.look.progress || is_early || !self.at_start {
            return;
        }
        let width = self.look.width.saturating_sub(1);
        let line = cut(&progress_line(progress, width), width);
        let line = self.look.colours.paint(Role::Faint, &line).into_owned();
        let _ = write!(self.err, "\r\x1b[2K{line}").and_then(|()| self.err.flush());
        self.drawn = Some(Instant::now());
    }
}

/// `label  ━━━━────  41%  3.2 s (5 s left)  Ctrl-C stops`, its bar as long as a line of `width` leaves room for.
fn progress_line(progress: &Progress, width: usize) -> String {
    let Progress { label, done, total, seconds, before } = progress;
    let left = pace::left(*seconds, done.saturating_sub(*before), total.saturating_sub(*before));
    let left = left.filter(|_| done < total);
    let left = left.map_or(String::new(), |left| format!(" ({} left)", pace::text(left)));
    let seconds = if *seconds < 60.0 { format!("{seconds:.1} s") } else { pace::text(*seconds) };
    if *total == 0 {
        return format!("{label}  {seconds}  Ctrl-C stops");
    }
    let share = (*done as f64 / *total as f64).clamp(0.0, 1.0);
    let rest = format!(" {:>3.0}%  {seconds}{left}  Ctrl-C stops", (share * 100.0).floor());
    let room = width.saturating_sub(label.chars().count() + 2 + rest.chars().count());
    let bar = room.clamp(SHORT_BAR, BAR);
    let filled = (share * bar as f64) as usize;
    format!("{label}  {}{}{rest}", "━".repeat(filled), "─".repeat(bar - filled))
}

const HELP: &str = "\
  name?  name??         what is known of a name; the same with examples
  Tab                   completes names, options, files; a hint behind the cursor shows parameters
  Enter                 runs a whole cell, else begins a line; an empty line at the end runs it anyway
  Alt-Enter             begins a line wherever the cursor is
  Up  Down  Ctrl-R      earlier entries; searches them
  _  _3                 the last result; the one of cell 3
  Ctrl-C                clears the line; stops a cell that runs
  Ctrl-D  exit  quit    leaves
  %functions  %magics   lists functions; lines for the session
";

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::interpreter::Place;

    #[derive(Clone, Default)]
    struct Written(Rc<RefCell<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Written {
        fn text(&self) -> String {
            String::from_utf8(self.0.take()).unwrap()
        }
    }

    fn console(colours: Depth) -> (Console, Written, Written) {
        let (out, err) = (Written::default(), Written::default());
        let look = Look { colours, images: Way::None, width: 60, progress: true };
        (Console::new(Box::new(out.clone()), Box::new(err.clone()), look), out, err)
    }

    #[test]
    fn results_begin_a_line_of_their_own() {
        let (mut console, out, _) = console(Depth::Mono);
        console.print("half");
        console.result(3, &Shown::text("5"));
        console.result(4, &Shown::text("a  b\n1  2"));
        console.print("no end");
        console.finish().unwrap();
        assert_eq!(out.text(), "half\n[3] = 5\n[4] =\na  b\n1  2\nno end\n");
    }

    #[test]
    fn errors_have_colours_where_they_help() {
        let place = Place { line: 2, column: 3, len: 2, text: "  xy | 1".into() };
        let error = CellError {
            place: Some(place.into()),
            ..CellError::new("NameError", "no xy", Some("did you mean x?".into()))
        };
        let (mut plain, out, _) = console(Depth::Mono);
        plain.error(&error);
        assert_eq!(out.text(), format!("{error}\n"));
        let (mut coloured, out, _) = console(Depth::Ansi16);
        coloured.error(&error);
        let text = out.text();
        assert!(text.starts_with("\x1b[1;31mNameError\x1b[0m: no xy\n"), "{text:?}");
        assert!(text.contains("\x1b[2m2 |\x1b[0m   xy | 1\n") && text.contains("\x1b[1;31m   ^^\x1b[0m\n"), "{text:?}");
        assert!(text.ends_with("\x1b[32mhelp: did you mean x?\x1b[0m\n"), "{text:?}");
    }

    #[test]
    fn progress_is_one_line_that_goes_away() {
        let (mut console, out, err) = console(Depth::Mono);
        let mut progress = Progress { label: "passkey".into(), done: 41, total: 100, seconds: 0.1, before: 0 };
        console.progress(Some(&progress));
        assert_eq!(err.text(), "", "too early");
        progress.seconds = 3.21;
        console.progress(Some(&progress));
        console.progress(Some(&progress));
        assert_eq!(
            err.text(),
            "\r\x1b[2Kpasskey  ━━━━━────────  41%  3.2 s (5 s left)  Ctrl-C stops",
            "not twice at once"
        );
        console.print("x\n");
        console.progress(None);
        assert_eq!((err.text().as_str(), out.text().as_str()), ("\r\x1b[2K", "x\n"));
        progress.total = 0;
        assert_eq!(progress_line(&progress, 80), "passkey  3.2 s  Ctrl-C stops");
    }

    #[test]
    fn texts_cannot_command_the_terminal() {
        let (mut console, out, _) = console(Depth::True);
        console.print("a\x1b[2Jb\u{9b}c\td\x7f\n");
        assert_eq!(out.text(), "a␛[2Jb\u{fffd}c\td␡\n");
    }
}
