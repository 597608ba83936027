//! Where a run keeps its results. A run without `-o` replaces its input only once every cell is done: what comes before, and what
//! a run leaves that failed or was stopped, lies beside it.

use std::io;
use std::path::{Path, PathBuf};

use longlens_notebook::document::{DocumentError, Form, Notebook};

use super::refused;
use crate::args::language::NotebookRun;
use crate::failure::Failure;

/// Where results go.
pub enum Kept {
    /// Into a file that was named, or that is not the input.
    Into(PathBuf),
    /// Beside the input, until they can take its place.
    Beside {
        /// The notebook.
        input: PathBuf,
        /// Its results so far.
        partial: PathBuf,
    },
}

impl Kept {
    /// As flags ask for it. A run that goes on goes on from what lies beside, or from the input where nothing does.
    pub fn of(args: &NotebookRun) -> Result<Self, Failure> {
        let input = &args.input;
        if let Some(out) = &args.output {
            return Ok(Self::Into(out.clone()));
        }
        if Form::of(input).map_err(refused)? == Form::Text {
            return Ok(Self::Into(input.with_extension("ipynb")));
        }
        let partial = input.with_extension("partial.ipynb");
        if args.resume && !partial.exists() {
            // nothing is written before it is read again
            Notebook::read(input).and_then(|notebook| notebook.write(&partial)).map_err(refused)?;
        }
        Ok(Self::Beside { input: input.clone(), partial })
    }

    /// The file that the run writes.
    pub fn out(&self) -> &Path {
        match self {
            Self::Into(out) => out,
            Self::Beside { partial, .. } => partial,
        }
    }

    /// The run is over. Returns where its results are, and whether that is beside the input, which is as it was then.
    pub fn settle(self, notebook: &Notebook, is_clean: bool) -> Result<(PathBuf, bool), DocumentError> {
        match self {
            Self::Into(out) => Ok((out, false)),
            Self::Beside { partial, .. } if !is_clean => Ok((partial, true)),
            Self::Beside { input, partial } => {
                notebook.write(&input)?;
                match std::fs::remove_file(&partial) {
                    Err(source) if source.kind() != io::ErrorKind::NotFound => {
                        Err(DocumentError::Unwritable { path: partial, source })
                    }
                    _ => Ok((input, false)),
                }
            }
        }
    }
}
