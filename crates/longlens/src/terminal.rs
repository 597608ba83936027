//! Stdout, stderr, progress bars and Ctrl-C.
//!
//! Everything that a command says goes through here, and what could command a terminal is shown instead (`printable`). The
//! one exception is what a model says, where nobody looks: [`Terminal::stream`] to a pipe or a file.

mod bar;
mod files;
pub mod ground;
mod output;

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::ProgressBar;
use longlens_core::lens::CancelToken;
use longlens_core::printable::{printable, printable_json, printable_line};
use serde::Serialize;

use crate::failure::Failure;
pub use bar::Progress;
pub use files::{check_writable, limits_are_errors, make_folder, write_file};
pub use output::{Safe, unwritten};

/// Where a command says things.
///
/// A reader of stdout that goes away, or a disk that is full, ends no command: files are written all the same, and
/// [`unwritten`] tells what was lost when everything else is done.
pub struct Terminal {
    json: bool,
    cancel: CancelToken,
    screen: Arc<Mutex<Screen>>,
}

/// What stands on the last line of the terminal.
#[derive(Default)]
struct Screen {
    bar: Option<ProgressBar>,
    /// Whether text was streamed there whose line has no end yet.
    is_mid_line: bool,
}

/// How long a press of Ctrl-C waits until the screen shows it.
const TELLING: Duration = Duration::from_millis(100);

impl Terminal {
    /// Takes over Ctrl-C: the first press asks the run to stop, the second ends the program.
    pub fn new(json: bool) -> Self {
        let (cancel, screen) = (CancelToken::default(), Arc::new(Mutex::new(Screen::default())));
        let (raised, shown) = (cancel.clone(), screen.clone());
        // a second handler in one process is the only way this fails; then Ctrl-C simply ends the program
        let _ = ctrlc::set_handler(move || {
            let is_second = raised.is_cancelled();
            let shown = shown.clone();
            // a reader that reads no more must not keep the next press from being heard
            let told = std::thread::spawn(move || if is_second { clear(&shown) } else { stopping(&shown) });
            let since = std::time::Instant::now();
            while !told.is_finished() && since.elapsed() < TELLING {
                std::thread::sleep(Duration::from_millis(1));
            }
            if is_second {
                std::process::exit(1);
            }
            // last, or the program may end before it has said why
            raised.cancel();
        });
        Self { json, cancel, screen }
    }

    /// Hands Ctrl-C on to another flag, for as long as the program runs.
    pub fn stops(&self, flag: &CancelToken) {
        let (raised, flag) = (self.cancel.clone(), flag.clone());
        std::thread::spawn(move || {
            loop {
                if raised.is_cancelled() {
                    flag.cancel();
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
    }

    /// Whether Ctrl-C was pressed.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Asks what runs to stop, as Ctrl-C does.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Text for people: stdout, or stderr when stdout is for machines.
    pub fn say(&self, text: impl fmt::Display) -> Result<(), Failure> {
        if self.json {
            return self.note(text);
        }
        self.end_line();
        self.above(|| output::write(&format!("{}\n", printable(&text.to_string()))));
        Ok(())
    }

    /// What a model says, without a line end, shown at once; a bar goes before the first piece. A terminal is shown what
    /// would command it, pipes and files get the text as it is. A quiet failure says that nobody reads any more.
    pub fn stream(&self, text: &str) -> Result<(), Failure> {
        if self.json || text.is_empty() {
            return Ok(());
        }
        clear(&self.screen);
        if io::stdout().is_terminal() {
            output::write(&printable(text));
            lock(&self.screen).is_mid_line = !text.ends_with('\n');
        } else {
            output::write(text);
        }
        if output::is_read() { Ok(()) } else { Err(output::unwritten().unwrap_or_else(Failure::quiet)) }
    }

    /// Ends the line of a streamed text; a pipe gets its line end in any case.
    pub fn end_stream(&self) {
        if io::stdout().is_terminal() {
            self.end_line();
        } else if !self.json {
            output::write("\n");
        }
    }

    /// Text beside the result, on stderr.
    #[expect(
        clippy::unnecessary_wraps,
        reason = "said like the rest; nothing is left to tell anyone when stderr is gone"
    )]
    pub fn note(&self, text: impl fmt::Display) -> Result<(), Failure> {
        if io::stderr().is_terminal() {
            self.end_line();
        }
        let text = text.to_string();
        self.above(|| tell(&printable(&text)));
        Ok(())
    }

    /// The result for machines, on stdout; nothing unless `--json`.
    pub fn result(&self, value: &impl Serialize) -> Result<(), Failure> {
        if !self.json {
            return Ok(());
        }
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Failure::failed(format!("cannot write the result as JSON: {error}"), None))?;
        self.above(|| output::write(&format!("{}\n", printable_json(&text))));
        Ok(())
    }

    /// Says what the files of a model, or a document, gave reason to say.
    pub fn caution(&self, warnings: &[String]) -> Result<(), Failure> {
        warnings.iter().try_for_each(|warning| self.note(format_args!("warning: {}", printable_line(warning))))
    }

    /// A bar for `what`, shown once it takes longer than a moment. Silent when stderr is no terminal, or one that cannot move
    /// its cursor.
    pub fn progress(&self, what: &str) -> Progress {
        Progress::new(what, self.screen.clone(), self.cancel.clone())
    }

    /// Writes while no bar stands.
    fn above(&self, write: impl FnOnce()) {
        let bar = lock(&self.screen).bar.clone();
        match bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn end_line(&self) {
        if std::mem::take(&mut lock(&self.screen).is_mid_line) {
            output::write("\n");
        }
    }
}

fn lock(screen: &Mutex<Screen>) -> MutexGuard<'_, Screen> {
    screen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the bar off the screen for good.
fn clear(screen: &Mutex<Screen>) {
    let bar = lock(screen).bar.take();
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

fn stopping(screen: &Mutex<Screen>) {
    const STOPPING: &str = "stopping; what is finished is kept (press again to end at once)";
    let bar = {
        let mut screen = lock(screen);
        screen.is_mid_line = false;
        screen.bar.clone()
    };
    match bar {
        // the terminal echoed the key behind the bar, and both go
        Some(bar) if !bar.is_hidden() => bar.suspend(|| tell(STOPPING)),
        _ => tell(&format!("\n{STOPPING}")),
    }
}

/// A line on stderr. Nothing is left to tell anyone when that is gone.
fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
