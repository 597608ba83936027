//! `longlens repl`: a prompt for experiments.

use std::fmt;
use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;

use longlens_app::session::state_folder;
use longlens_eval::text;
use longlens_model::source::EMBEDDED;
use longlens_notebook::interpreter::{Interpreter, Nobody};
use longlens_notebook::repl::{self, Images, Interrupts, ReplError, ReplOptions};

use super::language::session;
use crate::args::language::{Inline, ReplArgs};
use crate::failure::Failure;
use crate::terminal::{Safe, Terminal};
use crate::tty::is_dumb;

pub fn run(args: &ReplArgs) -> Result<(), Failure> {
    let mut session = session(&args.session, false, &Nobody::out())?;
    if !io::stdin().is_terminal() {
        let text = cells_of_stdin()?;
        let interrupts = Interrupts::new(session.cancel());
        register(interrupts.clone());
        return interrupts.during(|| repl::script(session, &text, out())).or_else(failure);
    }
    session.set_ground(args.theme.ground());
    // whoever sits here decides
    session.let_raise_limits();
    let options = ReplOptions {
        model: args.session.model.clone().unwrap_or_else(|| EMBEDDED.to_owned()),
        history: if args.no_history { None } else { history() },
        colours: args.colors.into(),
        images: match args.images {
            Inline::Auto => Images::Auto,
            Inline::Blocks => Images::HalfBlocks,
            Inline::Kitty => Images::Kitty,
            Inline::Sixel => Images::Sixel,
            Inline::Iterm2 => Images::Iterm2,
            Inline::Off => Images::None,
        },
        signals: Some(Box::new(register)),
        ..ReplOptions::default()
    };
    repl::run(session, options).or_else(failure)
}

/// The text that comes through a pipe, read as every other text is.
fn cells_of_stdin() -> Result<String, Failure> {
    let failed =
        |error: &dyn fmt::Display, help| Failure::failed(format!("cannot read cells from stdin: {error}"), help);
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes).map_err(|error| failed(&error, None))?;
    text::decode(bytes).map_err(|error| failed(&error, Some(error.help("FILE"))))
}

/// What cells of a script say: as it is, but for a terminal.
fn out() -> Box<dyn Write> {
    if io::stdout().is_terminal() { Box::new(Safe(io::stdout())) } else { Box::new(io::stdout()) }
}

/// Hands Ctrl-C to the cell that runs, or to a prompt that it does not reach as a key. Any other signal, and Ctrl-C with
/// neither, ends the program as it would without us, and the terminal is given back, which the line editor holds.
fn register(interrupts: Interrupts) {
    let modes = Modes::now();
    let end = move || {
        modes.give_back();
        std::process::exit(130);
    };
    #[cfg(unix)]
    {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

        // where signals cannot be had, they end the program at once
        let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM]) else { return };
        std::thread::spawn(move || {
            for signal in signals.forever() {
                let is_heard = if signal == SIGINT { interrupts.press() } else { interrupts.stop() };
                if !is_heard {
                    end();
                }
            }
        });
    }
    // a second handler in one process is the only way this fails; then Ctrl-C simply ends the program
    #[cfg(not(unix))]
    let _ = ctrlc::set_handler(move || {
        if !interrupts.press() {
            end()
        }
    });
}

/// Settings of the terminal on stdin.
struct Modes {
    /// None when stdin is no terminal.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    before: Option<libc::termios>,
}

impl Modes {
    /// As they are now.
    fn now() -> Self {
        Self {
            #[cfg(all(target_os = "linux", target_env = "gnu"))]
            // SAFETY: zeros are a `termios`, and the call fills it or says that it did not
            before: unsafe {
                let mut modes = std::mem::zeroed();
                (libc::tcgetattr(libc::STDIN_FILENO, &raw mut modes) == 0).then_some(modes)
            },
        }
    }

    /// Sets the terminal as it was: lines and echo as before, pasted text plain.
    fn give_back(&self) {
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        if let Some(before) = &self.before {
            let plain: &[u8] = if is_dumb() { b"\r\n" } else { b"\x1b[?2004l\r\n" };
            // the terminal may be gone, and so may who would hear of it
            let _ = io::stdout().write_all(plain).and_then(|()| io::stdout().flush());
            // SAFETY: the settings are those that the system gave
            unsafe {
                libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, before);
            }
        }
    }
}

/// Where entries are kept: beside the workbench's sessions.
fn history() -> Option<PathBuf> {
    Some(state_folder()?.join("repl-history.txt"))
}

fn failure(error: ReplError) -> Result<(), Failure> {
    match error {
        // its lines point into the cell
        ReplError::Cell(error) => Terminal::new(false).note(error).and(Err(Failure::silent(1))),
        ReplError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        error => {
            let help = error.help().map(str::to_owned);
            Err(Failure::failed(error, help))
        }
    }
}
