//! What a cell says while it runs: passed on and kept, up to a limit.

use std::rc::Rc;

use super::Ran;
use crate::host::Host;
use crate::interpreter::{Out, Output, Progress};
use crate::running::Exhausted;
use crate::shown::Shown;

/// Bytes of text and pictures that one cell may say; one that says more is stopped.
pub const MOST: usize = 64 << 20;

/// What a cell put out while it ran.
#[derive(Debug, Clone)]
pub enum CellOutput {
    /// Printed.
    Text(String),
    Shown(Shown),
}

/// Passes on what a cell says, and keeps it. What is beyond the limit is dropped, and the host told, so that the cell stops at
/// its next step: a function in the middle of its work cannot be.
pub struct Record {
    out: Out,
    host: Rc<Host>,
    /// What was put out so far.
    pub outputs: Vec<CellOutput>,
    /// Bytes of it.
    n_bytes: usize,
}

impl Record {
    /// Nothing was put out yet.
    pub fn new(out: Out, host: Rc<Host>) -> Self {
        Self { out, host, outputs: Vec::new(), n_bytes: 0 }
    }

    /// Whether there is room for so many bytes more.
    fn has_room(&mut self, n_bytes: usize) -> bool {
        self.n_bytes = self.n_bytes.saturating_add(n_bytes);
        if self.n_bytes > MOST {
            self.host.exhaust(Exhausted::Room);
        }
        self.n_bytes <= MOST
    }
}

impl Output for Record {
    fn print(&mut self, text: &str) {
        if !self.has_room(text.len()) {
            return;
        }
        match self.outputs.last_mut() {
            Some(CellOutput::Text(before)) => before.push_str(text),
            _ => self.outputs.push(CellOutput::Text(text.to_owned())),
        }
        self.out.borrow_mut().print(text);
    }

    fn show(&mut self, shown: &Shown) {
        if !self.has_room(bytes_of(shown)) {
            return;
        }
        self.outputs.push(CellOutput::Shown(shown.clone()));
        self.out.borrow_mut().show(shown);
    }

    fn progress(&mut self, progress: Option<&Progress>) {
        self.out.borrow_mut().progress(progress);
    }
}

/// Bytes that a cell's value and words take.
pub fn bytes(ran: &Ran) -> usize {
    let outputs = ran.outputs.iter().map(|output| match output {
        CellOutput::Text(text) => text.len(),
        CellOutput::Shown(shown) => bytes_of(shown),
    });
    outputs.sum::<usize>() + ran.value.as_ref().map_or(0, bytes_of)
}

/// Bytes of a thing in all its forms. A figure that is not drawn yet belongs to the value that it was made from.
fn bytes_of(shown: &Shown) -> usize {
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let png = shown.png.as_ref().map_or(0, Vec::len);
    size_of::<Shown>() + shown.text.len() + shown.caption.len() + length(&shown.html) + png
}
