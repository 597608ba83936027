//! The terminal prompt: cells are typed, run and shown, with colours, completion, hints, history and figures.
//!
//! In: an [`Interpreter`] and what is known of the terminal. Out: what cells print and show. [`run`] is the prompt, [`script`]
//! the same without a terminal. Nothing is opened before a cell needs it.

mod colours;
mod console;
mod editor;
mod highlight;
mod hint;
mod history;
mod interrupts;
mod keys;
mod menu;
mod picture;
mod plain;
mod script;

use std::cell::RefCell;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::rc::Rc;

use rustyline::error::ReadlineError;

pub(crate) use colours::painted;
pub use interrupts::Interrupts;
pub use longlens_plot::terminal::Depth;
pub use picture::Images;
pub(crate) use picture::half_blocks;
pub use script::script;

use crate::interpreter::{CellError, Completeness, Interpreter, Out};
use console::{Console, Look};
use editor::Editor;
use history::History;
use plain::Lines;

/// What the prompt starts with.
pub struct ReplOptions {
    /// The program and its version, for the greeting.
    pub program: String,
    /// The model that a cell will open, for the greeting.
    pub model: String,
    /// Where entries are kept from start to start; nowhere when absent.
    pub history: Option<PathBuf>,
    /// How many colours there are.
    pub colours: Depth,
    /// How figures are shown.
    pub images: Images,
    /// Whether the terminal cannot move its cursor: then lines are read as the terminal itself edits them.
    pub is_dumb: bool,
    /// Columns of the terminal; it is asked when absent.
    pub width: Option<usize>,
    /// Receives the handle that a signal handler presses; called once, before the first prompt.
    pub signals: Option<Box<dyn FnOnce(Interrupts)>>,
}

/// Why the prompt or a script ended.
#[derive(Debug, thiserror::Error)]
pub enum ReplError {
    /// The terminal cannot be read.
    #[error("cannot read the terminal: {0}")]
    Terminal(#[from] ReadlineError),
    /// What cells say cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// A cell of a script failed; the display is every line of the error.
    #[error("{0}")]
    Cell(CellError),
}

impl ReplError {
    /// What to do next.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Terminal(_) => Some("pass the cells through standard input, or as a file"),
            Self::Output(_) | Self::Cell(_) => None,
        }
    }
}

impl Default for ReplOptions {
    fn default() -> Self {
        Self {
            program: format!("longlens {}", env!("CARGO_PKG_VERSION")),
            model: "embedded".into(),
            history: None,
            colours: Depth::of_terminal(),
            images: Images::Auto,
            is_dumb: std::env::var_os("TERM").is_some_and(|term| term == "dumb"),
            width: None,
            signals: None,
        }
    }
}

/// Columns where nobody knows the terminal.
const WIDTH: usize = 80;

/// Runs the prompt until its user leaves it with Ctrl-D, `exit` or `quit`.
pub fn run<I: Interpreter + 'static>(session: I, options: ReplOptions) -> Result<(), ReplError> {
    let ReplOptions { program, model, history, colours, images, is_dumb, width, signals } = options;
    let interrupts = Interrupts::new(session.cancel());
    if let Some(register) = signals {
        register(interrupts.clone());
    }
    let lines = is_dumb.then(|| Lines::new(&interrupts)).transpose()?;
    let (mut history, entries, mut note) = History::open(history);
    let session = Rc::new(RefCell::new(session));
    let mut editor = Editor::new(session.clone(), &entries, colours)?;
    let images = images.of_terminal(colours);
    let look = Look { colours, images, width: editor.width(width), progress: io::stderr().is_terminal() && !is_dumb };
    let console = Rc::new(RefCell::new(Console::new(Box::new(io::stdout()), Box::new(io::stderr()), look)));
    let out: Out = console.clone();
    console.borrow_mut().greet(&program, &model);
    let mut n_cleared = 0;
    loop {
        if let Some(note) = note.take() {
            console.borrow_mut().note(&note);
        }
        console.borrow_mut().finish()?;
        let number = session.borrow().count() + 1;
        let read = match &lines {
            Some(lines) => lines.read(number, &mut io::stdout(), |cell| is_open(&*session.borrow(), cell)),
            None => editor.read(number, width),
        };
        console.borrow_mut().set_width(editor.width(width));
        let cell = match read {
            Ok(cell) => cell,
            Err(ReadlineError::Interrupted) => {
                n_cleared += 1;
                match (n_cleared, is_dumb) {
                    (1, true) => console.borrow_mut().note("Ctrl-C again or Ctrl-D quits"),
                    (2, true) => return Ok(()),
                    (2, false) => console.borrow_mut().note("Ctrl-D quits"),
                    _ => (),
                }
                continue;
            }
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        n_cleared = 0;
        let cell = cell.trim_end();
        match Entry::of(cell) {
            Entry::Nothing => continue,
            Entry::Leave => return Ok(()),
            Entry::Help => console.borrow_mut().help(),
            Entry::Cell => {
                session.borrow_mut().set_width(editor.width(width));
                let ran = interrupts.during(|| session.borrow_mut().run(cell, &out));
                match ran {
                    Ok(Some(shown)) => console.borrow_mut().result(number, &shown),
                    Ok(None) => (),
                    Err(error) => console.borrow_mut().error(&error),
                }
            }
        }
        editor.remember(cell)?;
        note = history.add(cell);
    }
}

/// Whether a cell goes on in the next line; an empty line ends it in any case.
fn is_open(session: &impl Interpreter, cell: &str) -> bool {
    let is_unfinished = matches!(session.completeness(cell), Completeness::Open { .. });
    is_unfinished && Entry::of(cell) == Entry::Cell && !keys::ends_in_empty_line(cell)
}

/// What an entry asks for.
#[derive(Debug, PartialEq, Eq)]
enum Entry {
    Nothing,
    Help,
    Leave,
    Cell,
}

impl Entry {
    fn of(cell: &str) -> Self {
        let word = cell.trim().trim_end_matches(';').trim_end();
        let word = word.strip_suffix("()").unwrap_or(word);
        match word {
            "" => Self::Nothing,
            "?" | "help" => Self::Help,
            "exit" | "quit" | "%exit" | "%quit" => Self::Leave,
            _ => Self::Cell,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_words_are_for_the_prompt() {
        for word in ["exit", "quit", "exit()", " quit ();", "%quit", "exit;"] {
            let expected = if word == " quit ();" { Entry::Cell } else { Entry::Leave };
            assert_eq!(Entry::of(word), expected, "{word}");
        }
        assert_eq!(Entry::of(" \n"), Entry::Nothing);
        assert_eq!(Entry::of("?"), Entry::Help);
        assert_eq!(Entry::of("exit + 1"), Entry::Cell);
    }
}
