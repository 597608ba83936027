//! Cells from a terminal that cannot move its cursor (`TERM=dumb`): the terminal itself edits each line.
//!
//! Lines are read on a thread of their own, so that Ctrl-C, which is a signal there and no key, is heard while one is awaited.

use std::io::{self, BufRead, Write};
use std::sync::mpsc::{Receiver, Sender, channel};

use rustyline::error::ReadlineError;

use super::Interrupts;

/// Reads cells line by line.
pub struct Lines {
    heard: Receiver<Heard>,
}

/// What a prompt waits for.
#[derive(Debug)]
pub enum Heard {
    /// A line with its end.
    Line(String),
    /// Ctrl-C.
    Interrupt,
    /// No more lines; with an error where one ended them.
    End(Option<io::Error>),
}

impl Lines {
    /// Listens to stdin, and to presses of Ctrl-C while no cell runs.
    pub fn new(interrupts: &Interrupts) -> io::Result<Self> {
        let (sender, heard) = channel();
        interrupts.tell(sender.clone());
        std::thread::Builder::new().name("longlens-lines".into()).spawn(move || listen(io::stdin().lock(), &sender))?;
        Ok(Self { heard })
    }

    /// Asks for a cell on `out`: lines until one leaves nothing open.
    pub fn read(
        &self,
        number: usize,
        out: &mut impl Write,
        is_open: impl Fn(&str) -> bool,
    ) -> Result<String, ReadlineError> {
        let prompt = format!("[{number}]: ");
        let more = format!("{:>width$}", "... ", width = prompt.len());
        let mut cell = String::new();
        loop {
            let prompt = if cell.is_empty() { &prompt } else { &more };
            out.write_all(prompt.as_bytes()).and_then(|()| out.flush())?;
            match self.heard.recv() {
                Ok(Heard::Line(line)) => {
                    cell += &line;
                    let whole = cell.strip_suffix('\n').unwrap_or(&cell);
                    if !is_open(whole.strip_suffix('\r').unwrap_or(whole)) {
                        return Ok(cell);
                    }
                }
                ended => {
                    // the terminal echoes the key, or nothing at the end, and stays on the line
                    out.write_all(b"\n")?;
                    return Err(match ended {
                        Ok(Heard::Interrupt) => ReadlineError::Interrupted,
                        Ok(Heard::End(Some(error))) => error.into(),
                        _ => ReadlineError::Eof,
                    });
                }
            }
        }
    }
}

/// Passes on lines until there are no more.
fn listen(mut input: impl BufRead, sender: &Sender<Heard>) {
    loop {
        let mut line = Vec::new();
        let heard = match input.read_until(b'\n', &mut line) {
            Ok(0) => Heard::End(None),
            Ok(_) => Heard::Line(String::from_utf8_lossy(&line).into_owned()),
            Err(error) => Heard::End(Some(error)),
        };
        let is_end = matches!(heard, Heard::End(_));
        if sender.send(heard).is_err() || is_end {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_lines_until_nothing_is_open() {
        let (sender, heard) = channel();
        let lines = Lines { heard };
        listen(&b"1 + 1\n(1 +\n"[..], &sender);
        sender.send(Heard::Interrupt).unwrap();
        listen(&b"(1 +\r\n2)\r\nx"[..], &sender);
        let is_open = |cell: &str| cell.matches('(').count() > cell.matches(')').count();
        let mut out = Vec::new();
        let mut read = |number| lines.read(number, &mut out, is_open);
        assert_eq!(read(1).unwrap(), "1 + 1\n");
        // what stood before was the end of the first input
        assert!(matches!(read(2), Err(ReadlineError::Eof)));
        assert!(matches!(read(2), Err(ReadlineError::Interrupted)));
        assert_eq!(read(2).unwrap(), "(1 +\r\n2)\r\n");
        assert_eq!(read(3).unwrap(), "x");
        assert!(matches!(read(4), Err(ReadlineError::Eof)));
        assert_eq!(String::from_utf8(out).unwrap(), "[1]: [2]:  ... \n[2]: \n[2]:  ... [3]: [4]: \n");
    }
}
