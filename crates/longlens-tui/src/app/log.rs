//! What happened, line by line.

/// Lines that are kept.
const KEPT: usize = 1000;

/// The log, and whether its newest line was read.
#[derive(Debug, Clone, Default)]
pub struct Log {
    lines: Vec<(Level, String)>,
    is_read: bool,
}

/// How serious a line of the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something was done.
    Note,
    /// Something is unwise.
    Warning,
    /// Something went wrong.
    Error,
}

impl Log {
    /// All lines that are kept, the oldest first.
    pub fn lines(&self) -> &[(Level, String)] {
        &self.lines
    }

    /// The newest line, until a key is pressed.
    pub fn notice(&self) -> Option<&(Level, String)> {
        self.lines.last().filter(|_| !self.is_read)
    }

    /// Adds a line, which becomes the notice.
    pub(crate) fn say(&mut self, level: Level, text: impl Into<String>) {
        self.lines.push((level, text.into()));
        self.is_read = false;
        if self.lines.len() > KEPT {
            self.lines.remove(0);
        }
    }

    /// Takes the notice away; the line stays in the log.
    pub(super) fn dismiss(&mut self) {
        self.is_read = true;
    }
}
