//! Stdout of the whole program: written and flushed, until nobody reads it.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use longlens_core::printable::printable;

use crate::failure::Failure;

/// What became of stdout.
#[derive(Default)]
enum Output {
    #[default]
    Open,
    /// Its reader went away, as `head` does.
    Left,
    /// It cannot be written.
    Failed(io::Error),
}

static OUTPUT: Mutex<Output> = Mutex::new(Output::Open);

/// Writes and flushes. After the first failure nothing is written, and everything else goes on.
pub fn write(text: &str) {
    let mut output = output();
    if !matches!(*output, Output::Open) {
        return;
    }
    let mut to = io::stdout().lock();
    if let Err(error) = to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        *output = match error.kind() {
            io::ErrorKind::BrokenPipe => Output::Left,
            _ => Output::Failed(error),
        };
    }
}

/// Whether everything so far was written.
pub fn is_read() -> bool {
    matches!(*output(), Output::Open)
}

/// Why stdout does not hold the whole result; a reader that went away has what it wanted.
pub fn unwritten() -> Option<Failure> {
    match &*output() {
        Output::Open | Output::Left => None,
        Output::Failed(error) => {
            let help = "files that were asked for are written; give stdout to something that takes it".to_owned();
            Some(Failure::failed(format!("cannot write the output: {error}"), Some(help)))
        }
    }
}

fn output() -> MutexGuard<'static, Output> {
    OUTPUT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A terminal that is shown what would command it.
pub struct Safe<W>(pub W);

impl<W: Write> Write for Safe<W> {
    /// `bytes` are whole characters.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(printable(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
