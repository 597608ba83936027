//! What a prompt, a notebook and Jupyter ask of a language, and what they get back.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use longlens_core::lens::CancelToken;
use longlens_core::printable::excerpt;

use crate::shown::Shown;

/// A language with its variables: runs cells one after the other.
pub trait Interpreter {
    /// Runs a cell; the value of its last expression is returned, and what it says meanwhile goes to `out`. After an error
    /// every variable that the cell had set is kept. Lowers the flag of [`Interpreter::cancel`] before it starts.
    fn run(&mut self, cell: &str, out: &Out) -> Result<Option<Shown>, CellError>;

    /// Runs code beside the cells, as [`Interpreter::run`] does, for a question about the variables say: it has no number, is
    /// no part of the history, and its value does not become the last result.
    fn aside(&mut self, code: &str, out: &Out) -> Result<Option<Shown>, CellError>;

    /// How many characters a line of text may have from now on.
    fn set_width(&mut self, _columns: usize) {}

    /// Cells run so far: the number of the newest.
    fn count(&self) -> usize;

    /// The flag that stops the running cell; any thread may raise it.
    fn cancel(&self) -> CancelToken;

    /// Whether a cell is whole, as far as its brackets, strings and operators go.
    fn completeness(&self, cell: &str) -> Completeness;

    /// Why a cell cannot run, without running it.
    fn check(&self, cell: &str) -> Result<(), CellError>;

    /// What may stand at byte `cursor` of `cell`.
    fn complete(&self, cell: &str, cursor: usize) -> Completions;

    /// What is known of the name at byte `cursor` of `cell`; `more` asks for examples too.
    fn inspect(&self, cell: &str, cursor: usize, more: bool) -> Option<Shown>;

    /// Cells run so far, with their numbers, oldest first.
    fn history(&self) -> Vec<(usize, String)>;
}

/// Where a cell's words go while it runs.
pub type Out = Rc<RefCell<dyn Output>>;

/// Takes what a cell says while it runs.
pub trait Output {
    /// Text that the cell printed, newlines as it gave them.
    fn print(&mut self, text: &str);

    /// Something to look at.
    fn show(&mut self, shown: &Shown);

    /// How far a long step is; `None` when it is over.
    fn progress(&mut self, _progress: Option<&Progress>) {}
}

/// Nobody listens: what is said is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Nobody;

impl Nobody {
    /// Where words go when nobody is to hear them.
    pub fn out() -> Out {
        Rc::new(RefCell::new(Self))
    }
}

impl Output for Nobody {
    fn print(&mut self, _text: &str) {}

    fn show(&mut self, _shown: &Shown) {}
}

/// How far a long step is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// What is being done.
    pub label: String,
    /// Steps done.
    pub done: usize,
    /// Steps in all.
    pub total: usize,
    /// Seconds since it began.
    pub seconds: f64,
    /// Steps of those done that were there before it began.
    pub before: usize,
}

/// Why a cell stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellError {
    /// What kind of error: `SyntaxError`, `NameError`, `TypeError`, `Interrupted`, `Error`, ….
    pub name: String,
    /// What went wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Where, if that is known.
    pub place: Option<Box<Place>>,
    /// The functions of cells that were running, the innermost first.
    pub calls: Vec<Call>,
}

/// A call of a function that a cell wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its name; nothing for one without a name.
    pub function: Option<String>,
    /// Where it was called.
    pub place: Place,
    /// The cell in which that is, where it is another than the one that ran.
    pub cell: Option<usize>,
}

/// Characters of a line that an error shows.
pub(crate) const SHOWN: usize = 160;

/// A part of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// First character of the line, from 1.
    pub column: usize,
    /// Characters, at least 1.
    pub len: usize,
    /// The whole line.
    pub text: String,
}

/// Whether a cell is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completeness {
    /// It can run, or at least be parsed.
    Whole,
    /// Something is still open; the next line starts with this.
    Open {
        /// Spaces to start the next line with.
        indent: String,
    },
    /// More lines will not help.
    Wrong,
}

/// What may stand at a place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Completions {
    /// Bytes of the cell that a candidate replaces.
    pub replaces: Range<usize>,
    /// Candidates, best first.
    pub candidates: Vec<Candidate>,
}

/// One completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The text to insert.
    pub text: String,
    /// What it is: `function`, `variable`, `method`, `parameter`, `file`, `magic`, `keyword`.
    pub kind: &'static str,
    /// One line about it, if there is one.
    pub help: String,
}

impl CellError {
    /// An error without a place.
    pub fn new(name: &str, message: impl Into<String>, help: Option<String>) -> Self {
        Self { name: name.into(), message: message.into(), help, place: None, calls: Vec::new() }
    }

    /// Lines that say it all: message, the line with a caret, calls, help.
    pub fn lines(&self) -> Vec<String> {
        let line = |parts: Vec<(Part, String)>| parts.into_iter().map(|(_, text)| text).collect();
        self.parts().into_iter().map(line).collect()
    }

    /// The same lines in parts, for places that colour them.
    pub fn parts(&self) -> Vec<Vec<(Part, String)>> {
        let mut lines = vec![vec![(Part::Alarm, self.name.clone()), (Part::Plain, format!(": {}", self.message))]];
        if let Some(place) = &self.place {
            let number = place.line.to_string();
            let gutter = " ".repeat(number.len());
            let (text, at) = excerpt(&place.text, place.column.saturating_sub(1), SHOWN);
            let len = place.len.min(SHOWN.saturating_sub(at)).max(1);
            let caret = format!("{}{}", " ".repeat(at), "^".repeat(len));
            lines.push(vec![(Part::Faint, format!("{gutter} |"))]);
            lines.push(vec![(Part::Faint, format!("{number} |")), (Part::Plain, format!(" {text}"))]);
            lines.push(vec![(Part::Faint, format!("{gutter} |")), (Part::Alarm, format!(" {caret}"))]);
        }
        lines.extend(self.calls().into_iter().map(|call| vec![(Part::Faint, call)]));
        lines.extend(self.help.iter().map(|help| vec![(Part::Help, format!("help: {help}"))]));
        lines
    }

    /// A line for every call; of many the innermost and the outermost.
    fn calls(&self) -> Vec<String> {
        let line = |call: &Call| {
            let function =
                call.function.as_ref().map_or("a function without a name".into(), |name| format!("`{name}`"));
            let cell = call.cell.map_or(String::new(), |cell| format!(" of cell {cell}"));
            let text: String = call.place.text.trim().chars().take(MOST_CALL).collect();
            format!("in {function}, called in line {}{cell}: {text}", call.place.line)
        };
        let n_left_out = self.calls.len().saturating_sub(MOST_CALLS);
        let mut lines: Vec<String> = self.calls.iter().map(line).collect();
        if n_left_out > 0 {
            let first = MOST_CALLS / 2;
            lines.splice(first..first + n_left_out, [format!("… {n_left_out} more calls …")]);
        }
        lines
    }
}

/// Calls of an error that are shown, and characters of a line that one stands in.
const MOST_CALLS: usize = 8;
const MOST_CALL: usize = 80;

/// What a piece of an error's lines is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The error's name, and the caret.
    Alarm,
    /// What went wrong, and the code.
    Plain,
    /// Line numbers and calls.
    Faint,
    /// What to do next.
    Help,
}

impl fmt::Display for CellError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_shown_round_its_place() {
        let text = format!("{}here{}", "x".repeat(1 << 20), "y".repeat(1 << 20));
        let place = Place { line: 7, column: (1 << 20) + 1, len: 4, text };
        let error = CellError { place: Some(place.into()), ..CellError::new("Error", "no", None) };
        let lines = error.lines();
        let at = lines[2].chars().position(|c| c == 'h').unwrap();
        assert!(lines.iter().all(|line| line.chars().count() <= SHOWN + 4), "{lines:?}");
        assert_eq!(lines[3].trim_end(), format!("  | {}^^^^", " ".repeat(at - 4)));
    }
}
