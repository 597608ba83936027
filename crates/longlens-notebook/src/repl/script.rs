//! Cells that come from a pipe: all of them, one after the other, as plain text.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use longlens_core::lens::CancelToken;

use super::{Entry, ReplError};
use crate::document::{Kind, Notebook};
use crate::interpreter::{Completeness, Interpreter, Out, Output};
use crate::lexer::{self, tokens};
use crate::shown::Shown;

/// Runs a text: cell by cell where it has `// %%` lines, else split at lines for the session (`%time …`, `?name`), else as one cell,
/// or, where that cannot be parsed, as the lines would run at the prompt. Values are
/// written to `out` as plain text. The first error ends it and is returned, not shown; so is one of `out`, except that for a
/// reader who went away the script runs on without a word, as its cells may write files, until it has said a lot to nobody.
pub fn script<I: Interpreter>(mut session: I, text: &str, out: Box<dyn Write>) -> Result<(), ReplError> {
    let pipe = Rc::new(RefCell::new(Pipe { out, unread: None, cancel: session.cancel(), failed: None }));
    let shared: Out = pipe.clone();
    let whole = cells(text);
    // lines as they are typed at the prompt have no `;` between them
    let typed = match &whole[..] {
        [one] if one.len() <= MOST_TYPED && session.check(one).is_err() => typed(one),
        _ => Vec::new(),
    };
    // what is wrong in any case is told with its place in the whole text
    let parses = !typed.is_empty() && typed.iter().all(|cell| session.check(cell).is_ok());
    for cell in if parses { typed } else { whole } {
        match Entry::of(&cell) {
            Entry::Nothing | Entry::Help => continue,
            Entry::Leave => break,
            Entry::Cell => (),
        }
        let ran = session.run(&cell, &shared);
        if let Ok(Some(shown)) = &ran {
            pipe.borrow_mut().show(shown);
        }
        match pipe.borrow_mut().failed.take() {
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Some(error) => return Err(error.into()),
            None => ran.map_err(ReplError::Cell)?,
        };
    }
    Ok(())
}

/// Bytes of a text that is tried line by line: each line that leaves something open is read again with the next.
const MOST_TYPED: usize = 64 << 10;

/// A text cut where the prompt would have run it: after every line that leaves nothing open. The whole text where that is no better.
fn typed(text: &str) -> Vec<String> {
    let (mut cells, mut open) = (Vec::new(), String::new());
    for line in text.split_inclusive('\n') {
        open.push_str(line);
        match lexer::completeness(&open) {
            Completeness::Whole if !open.trim().is_empty() => cells.push(std::mem::take(&mut open)),
            Completeness::Whole | Completeness::Open { .. } => (),
            Completeness::Wrong => return vec![text.to_owned()],
        }
    }
    if open.trim().is_empty() { cells } else { vec![text.to_owned()] }
}

/// The cells of a text.
fn cells(text: &str) -> Vec<String> {
    if text.lines().any(|line| line.starts_with("// %%")) {
        let cells = Notebook::from_text(text).cells.into_iter();
        return cells.filter(|cell| cell.kind == Kind::Code).map(|cell| cell.source).collect();
    }
    let mut cells = Vec::new();
    let mut at = 0;
    for magic in tokens(text).into_iter().filter(|token| token.kind == lexer::Kind::Magic) {
        cells.extend([text[at..magic.bytes.start].to_owned(), text[magic.bytes.clone()].to_owned()]);
        at = magic.bytes.end;
    }
    cells.push(text[at..].to_owned());
    cells.retain(|cell| !cell.trim().is_empty());
    cells
}

/// Bytes that a script may say to nobody: one that says more does little else.
const UNREAD: usize = 1 << 20;

/// Plain text to a place that may go away.
struct Pipe {
    out: Box<dyn Write>,
    /// Bytes that were said since the reader went away.
    unread: Option<usize>,
    /// Raised when the place takes no more.
    cancel: CancelToken,
    failed: Option<io::Error>,
}

impl Output for Pipe {
    fn print(&mut self, text: &str) {
        let failed = match &mut self.unread {
            _ if self.failed.is_some() => return,
            Some(unread) => {
                *unread += text.len();
                if *unread < UNREAD {
                    return;
                }
                io::ErrorKind::BrokenPipe.into()
            }
            None => match self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()) {
                Ok(()) => return,
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    self.unread = Some(0);
                    return;
                }
                Err(error) => error,
            },
        };
        self.failed = Some(failed);
        self.cancel.cancel();
    }

    fn show(&mut self, shown: &Shown) {
        self.print(&format!("{}\n", shown.text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_cell_or_several() {
        assert_eq!(cells("let a = 1;\nlet b = 2;\na + b\n"), ["let a = 1;\nlet b = 2;\na + b\n"]);
        assert_eq!(cells("a\n%who\nb\n%time c"), ["a\n", "%who", "\nb\n", "%time c"]);
        assert_eq!(cells("`\n%who\n`"), ["`\n%who\n`"], "inside a string a line is no magic");
        assert_eq!(cells("// %%\na\n\n// %% [markdown]\n// words\n\n// %%\nb\n"), ["a", "b"]);
        assert!(cells(" \n").is_empty());
        assert_eq!(typed("let f = |x| {\n    x\n};\nf(1)\nf(2)"), ["let f = |x| {\n    x\n};\n", "f(1)\n", "f(2)"]);
        assert_eq!(typed("a)\nb"), ["a)\nb"]);
        assert_eq!(typed("f(\nb"), ["f(\nb"]);
    }
}
