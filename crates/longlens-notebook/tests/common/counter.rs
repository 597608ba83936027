//! An interpreter of a few words, for tests of what is around it.

use std::thread;
use std::time::Duration;

use longlens_core::lens::CancelToken;
use longlens_notebook::interpreter::{CellError, Completeness, Completions, Interpreter, Out};
use longlens_notebook::shown::Shown;

/// `wait` runs until it is stopped, `deaf` cannot be stopped, `crash` takes the interpreter down, `long` shows a MiB; the rest is
/// counted.
#[derive(Default)]
pub struct Counter {
    count: usize,
    cancel: CancelToken,
}

impl Interpreter for Counter {
    fn run(&mut self, cell: &str, _out: &Out) -> Result<Option<Shown>, CellError> {
        self.cancel.lower();
        match cell {
            "wait" => {
                while !self.cancel.is_cancelled() {
                    thread::sleep(Duration::from_millis(1));
                }
                Err(CellError::new("Interrupted", "stopped", None))
            }
            "deaf" => {
                thread::sleep(Duration::from_secs(30));
                Ok(None)
            }
            "long" => Ok(Some(Shown::text("x".repeat(1 << 20)))),
            "crash" => panic!("on purpose"),
            _ => {
                self.count += 1;
                Ok(Some(Shown::text(self.count.to_string())))
            }
        }
    }

    fn aside(&mut self, _code: &str, _out: &Out) -> Result<Option<Shown>, CellError> {
        Ok(Some(Shown::text(self.count.to_string())))
    }

    fn count(&self) -> usize {
        self.count
    }

    fn cancel(&self) -> CancelToken {
        self.cancel.clone()
    }

    fn completeness(&self, _cell: &str) -> Completeness {
        Completeness::Whole
    }

    fn check(&self, _cell: &str) -> Result<(), CellError> {
        Ok(())
    }

    fn complete(&self, _cell: &str, _cursor: usize) -> Completions {
        Completions::default()
    }

    fn inspect(&self, _cell: &str, _cursor: usize, _more: bool) -> Option<Shown> {
        None
    }

    fn history(&self) -> Vec<(usize, String)> {
        Vec::new()
    }
}
