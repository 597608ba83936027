//! Stdout, stderr, progress bars and Ctrl-C.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use longlens_core::lens::{CancelToken, Control};
use serde::Serialize;

use crate::failure::Failure;

/// Where a command says things.
pub struct Terminal {
    json: bool,
    cancel: CancelToken,
}

/// A progress bar that also carries Ctrl-C into a run. Silent when stderr is no terminal.
pub struct Progress {
    bar: ProgressBar,
    cancel: CancelToken,
}

impl Terminal {
    /// Takes over Ctrl-C: the first press asks the run to stop, the second ends the program.
    pub fn new(json: bool) -> Self {
        let cancel = CancelToken::default();
        let raised = cancel.clone();
        // a second handler in one process is the only way this fails; then Ctrl-C simply ends the program
        let _ = ctrlc::set_handler(move || {
            if raised.is_cancelled() {
                std::process::exit(1);
            }
            raised.cancel();
            let _ = writeln!(io::stderr(), "\nstopping; what is finished is kept (press again to end at once)");
        });
        Self { json, cancel }
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

    /// Text for people: stdout, or stderr when stdout is for machines.
    pub fn say(&self, text: impl fmt::Display) -> Result<(), Failure> {
        if self.json { self.note(text) } else { write(&mut io::stdout().lock(), format_args!("{text}\n")) }
    }

    /// Text without a line end, shown at once.
    pub fn stream(&self, text: &str) -> Result<(), Failure> {
        if self.json { Ok(()) } else { write(&mut io::stdout().lock(), format_args!("{text}")) }
    }

    /// Text beside the result, on stderr.
    #[expect(clippy::unused_self, reason = "said by the terminal, like the rest")]
    pub fn note(&self, text: impl fmt::Display) -> Result<(), Failure> {
        write(&mut io::stderr().lock(), format_args!("{text}\n"))
    }

    /// The result for machines, on stdout; nothing unless `--json`.
    pub fn result(&self, value: &impl Serialize) -> Result<(), Failure> {
        if !self.json {
            return Ok(());
        }
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Failure::failed(format!("cannot write the result as JSON: {error}"), None))?;
        write(&mut io::stdout().lock(), format_args!("{text}\n"))
    }

    /// A bar for `what`, shown once it takes longer than a moment.
    pub fn progress(&self, what: &str) -> Progress {
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::stderr_with_hz(10)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(1), target);
        let style = if std::env::var_os("NO_COLOR").is_some() {
            "{msg} [{bar:32}] {percent:>3}% {elapsed} (left {eta})"
        } else {
            "{msg} [{bar:32.cyan/dim}] {percent:>3}% {elapsed} (left {eta})"
        };
        let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("=> "));
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress { bar, cancel: self.cancel.clone() }
    }
}

impl Progress {
    /// What is being done now.
    pub fn doing(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Control for Progress {
    fn progress(&mut self, done: usize, total: usize) {
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
    }

    fn cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}

/// Writes and flushes; a reader that went away ends the program without a word.
fn write(to: &mut impl Write, text: fmt::Arguments<'_>) -> Result<(), Failure> {
    to.write_fmt(text).and_then(|()| to.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::quiet(),
        _ => Failure::failed(format!("cannot write the output: {error}"), None),
    })
}

/// Writes a file whole or not at all; what is no file, such as a device or a pipe, is written where it stands.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let written = if stands(path) {
        fs::write(path, bytes)
    } else {
        let part = part_of(path);
        let written = fs::write(&part, bytes).and_then(|()| fs::rename(&part, path));
        if written.is_err() {
            // the error of the write is the one worth telling
            let _ = fs::remove_file(&part);
        }
        written
    };
    written.map_err(|error| unwritable(path, &error))
}

/// Refuses a file that cannot be written, before anything is computed for it.
pub fn check_writable(path: &Path) -> Result<(), Failure> {
    let tried = if path.is_dir() {
        Err(io::ErrorKind::IsADirectory.into())
    } else if stands(path) {
        Ok(())
    } else {
        let part = part_of(path);
        File::create(&part).and_then(|_| fs::remove_file(&part))
    };
    tried.map_err(|error| unwritable(path, &error))
}

/// Whether something is there that a file must not take the place of.
fn stands(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|there| !there.is_file())
}

/// Where a file grows until it is whole.
fn part_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.part", std::process::id()))
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let help = match error.kind() {
        io::ErrorKind::NotFound => "create the folder first",
        io::ErrorKind::IsADirectory => "give the name of a file",
        _ => "choose a folder you may write to",
    };
    Failure::failed(format!("cannot write {}: {error}", path.display()), Some(help.into()))
}

/// Makes a folder for results.
pub fn make_folder(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(|error| Failure::io("make the folder", path, &error))
}
