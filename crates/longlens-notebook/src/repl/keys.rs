//! Keys that know the language: Enter runs a whole cell and opens the next line of half a one, brackets fall back, Tab indents.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use rustyline::{Cmd, ConditionalEventHandler, Event, EventContext, RepeatCount};

use super::Entry;
use crate::interpreter::Completeness;
use crate::lexer::completeness;

/// One step of indentation.
const INDENT: &str = "    ";

/// What Enter does.
#[derive(Debug, PartialEq, Eq)]
pub enum Entered {
    /// Runs the cell.
    Run,
    /// Begins a line with these spaces.
    Line(String),
}

/// What Enter does at byte `cursor` of a cell: an empty line at the end runs whatever is open.
pub fn entered(cell: &str, cursor: usize) -> Entered {
    let (before, after) = cell.split_at(cursor);
    if after.contains('\n') {
        return Entered::Line(next_indent(before));
    }
    if Entry::of(cell) != Entry::Cell {
        return Entered::Run;
    }
    match completeness(cell) {
        Completeness::Open { .. } if after.trim().is_empty() && ends_in_empty_line(before) => Entered::Run,
        Completeness::Open { .. } => Entered::Line(next_indent(before)),
        Completeness::Whole | Completeness::Wrong => Entered::Run,
    }
}

/// Whether the last line is empty and not the only one.
pub fn ends_in_empty_line(cell: &str) -> bool {
    cell.rsplit_once('\n').is_some_and(|(_, line)| line.trim().is_empty())
}

/// Spaces for the line after this text: as many as are open, else those of the line before.
fn next_indent(before: &str) -> String {
    match completeness(before) {
        Completeness::Open { indent } => indent,
        Completeness::Whole | Completeness::Wrong => {
            let line = before.rsplit('\n').next().unwrap_or_default();
            line[..line.len() - line.trim_start_matches(' ').len()].to_owned()
        }
    }
}

/// Where a bracket that closes belongs instead of the cursor: one step further left, if only indentation stands before it.
pub fn fallen_back(cell: &str, cursor: usize) -> Option<usize> {
    let (_, line) = cell[..cursor].rsplit_once('\n')?;
    (line.len() >= INDENT.len() && line.bytes().all(|byte| byte == b' ')).then(|| cursor - INDENT.len())
}

/// The bracket that is to take the place of indentation, 0 for none. No command of rustyline does that and goes on behind the
/// bracket, but a completion does: the key leaves the bracket here, and the completer finds it.
pub type Closing = Arc<AtomicU8>;

/// Enter.
pub struct Enter;
/// A bracket that closes, and where it is left for the completer.
pub struct Close(pub u8, pub Closing);
/// Tab.
pub struct Tab;

impl ConditionalEventHandler for Enter {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext) -> Option<Cmd> {
        Some(match entered(context.line(), context.pos()) {
            Entered::Run => Cmd::AcceptLine,
            Entered::Line(indent) => Cmd::Insert(1, format!("\n{indent}")),
        })
    }
}

impl ConditionalEventHandler for Close {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext) -> Option<Cmd> {
        fallen_back(context.line(), context.pos())?;
        self.1.store(self.0, Ordering::SeqCst);
        Some(Cmd::Complete)
    }
}

impl ConditionalEventHandler for Tab {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext) -> Option<Cmd> {
        let before = &context.line()[..context.pos()];
        // at the beginning of a further line there is nothing to complete
        ends_in_empty_line(before).then(|| Cmd::Insert(1, INDENT.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enter_runs_what_is_whole() {
        let line = |indent: &str| Entered::Line(indent.into());
        // `|` is the cursor
        for (text, expected) in [
            ("1 + 1|", Entered::Run),
            ("f(1|)", Entered::Run),
            ("fn f() {|", line("    ")),
            ("fn f() {\n    g(|", line("        ")),
            ("fn f() {\n    x|\n}", line("    ")),
            ("fn f() {\n    x\n}|", Entered::Run),
            ("fn f() {\n    |", Entered::Run),
            ("fn f() {|}", Entered::Run),
            ("let s = `a|", line("")),
            ("a)|", Entered::Run),
            ("%time f(|", Entered::Run),
            ("|", Entered::Run),
            ("?|", Entered::Run),
        ] {
            let cursor = text.find('|').unwrap();
            assert_eq!(entered(&text.replacen('|', "", 1), cursor), expected, "{text}");
        }
    }

    #[test]
    fn brackets_fall_back_in_the_indentation_only() {
        assert_eq!(fallen_back("f(#{\n        ", 13), Some(9));
        for (cell, cursor) in [("    ", 4), ("f{\n  ", 5), ("f{\n    x", 8), ("f{\n", 3)] {
            assert_eq!(fallen_back(cell, cursor), None, "{cell}");
        }
    }
}
