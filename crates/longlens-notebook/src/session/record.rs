//! What a cell says while it runs: passed on and kept, up to a limit.

use std::rc::Rc;

use super::Ran;
use crate::host::Host;
use crate::interpreter::{Out, Output, Progress};
use crate::memory::size;
use crate::running::Exhausted;
use crate::shown::Shown;

/// Bytes of text and pictures that one cell may say; one that says more is stopped.
pub const MOST: usize = 64 << 20;

/// Bytes of words and tables that a place that keeps them gets of one cell: a notebook that holds more is slow to open.
pub const MOST_KEPT: usize = 1 << 20;

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
    /// Bytes of words and tables among them, and those that this place does not get.
    n_kept: usize,
    n_left_out: usize,
}

impl Record {
    /// Nothing was put out yet.
    pub fn new(out: Out, host: Rc<Host>) -> Self {
        Self { out, host, outputs: Vec::new(), n_bytes: 0, n_kept: 0, n_left_out: 0 }
    }

    /// Whether there is room for so many bytes more.
    fn has_room(&mut self, n_bytes: usize) -> bool {
        self.n_bytes = self.n_bytes.saturating_add(n_bytes);
        if self.n_bytes > MOST {
            self.host.exhaust(Exhausted::Room);
        }
        self.n_bytes <= MOST
    }

    /// The part of a text that this place gets: up to its limit whole lines, where a line ends there.
    fn kept<'a>(&mut self, text: &'a str) -> &'a str {
        let room = if self.host.keeps() { MOST_KEPT.saturating_sub(self.n_kept) } else { usize::MAX };
        self.n_kept = self.n_kept.saturating_add(text.len());
        if text.len() <= room {
            return text;
        }
        let start = &text[..text.floor_char_boundary(room)];
        let start = start.rfind('\n').map_or(start, |end| &start[..=end]);
        // what comes after the first that is cut is left out as well
        self.n_kept = self.n_kept.max(MOST_KEPT);
        self.n_left_out += text.len() - start.len();
        start
    }

    /// Says what was left out, if anything was, after the last word of the cell; of a long value the start is left.
    pub fn finish(&mut self, value: Option<Shown>) -> Option<Shown> {
        let value = value.map(|mut shown| {
            let n_bytes = shown.text.len();
            let start = self.kept(&shown.text).len();
            if start < n_bytes {
                shown.text.truncate(start);
                shown.text.push('…');
                shown.html = None;
            }
            shown
        });
        if self.n_left_out > 0 {
            let left_out = size(self.n_left_out as u64);
            let note = format!(
                "… {left_out} more are left out here: a cell keeps {} of words. save(text, \"FILE.txt\") writes a text to a file.\n",
                size(MOST_KEPT as u64)
            );
            self.outputs.push(CellOutput::Text(note.clone()));
            self.out.borrow_mut().print(&note);
        }
        value
    }
}

impl Output for Record {
    fn print(&mut self, text: &str) {
        if !self.has_room(text.len()) {
            return;
        }
        let text = self.kept(text);
        if text.is_empty() {
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
        let words = shown.html.as_ref().map_or(0, String::len) + shown.text.len();
        if self.host.keeps() && self.n_kept.saturating_add(words) > MOST_KEPT {
            self.n_kept = MOST_KEPT;
            self.n_left_out += words;
            return;
        }
        self.n_kept += words;
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
    size_of::<Shown>() + shown.text.len() + shown.caption.len() + length(&shown.html) + length(&shown.svg) + png
}
