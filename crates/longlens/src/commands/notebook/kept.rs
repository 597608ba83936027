//! Where a run keeps its results. A run without `-o` replaces its input only once every cell is done: what comes before, and what
//! a run leaves that failed or was stopped, lies beside it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::{fs, io};

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
        /// What the input held when the run began; nothing where it could not be read.
        held: Option<u64>,
    },
}

/// What became of the results.
pub enum Settled {
    /// They are where they were wanted.
    Done(PathBuf),
    /// They lie beside the input, since not all cells are done without an error.
    Beside(PathBuf),
    /// They lie beside the input, since somebody changed it while its cells ran.
    Changed(PathBuf),
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
        Ok(Self::Beside { input: input.clone(), partial, held: held(input) })
    }

    /// The file that the run writes.
    pub fn out(&self) -> &Path {
        match self {
            Self::Into(out) => out,
            Self::Beside { partial, .. } => partial,
        }
    }

    /// The run is over. Whatever is not put in the input's place leaves it as it is.
    pub fn settle(self, notebook: &Notebook, is_clean: bool) -> Result<Settled, DocumentError> {
        match self {
            Self::Into(out) => Ok(Settled::Done(out)),
            Self::Beside { partial, .. } if !is_clean => Ok(Settled::Beside(partial)),
            Self::Beside { input, partial, held: before } if held(&input) != before => {
                notebook.write(&partial)?;
                Ok(Settled::Changed(partial))
            }
            Self::Beside { input, partial, .. } => {
                notebook.write(&input)?;
                match fs::remove_file(&partial) {
                    Err(source) if source.kind() != io::ErrorKind::NotFound => {
                        Err(DocumentError::Unwritable { path: partial, source })
                    }
                    _ => Ok(Settled::Done(input)),
                }
            }
        }
    }
}

impl Settled {
    /// The file that holds the results.
    pub fn path(&self) -> &Path {
        let (Self::Done(path) | Self::Beside(path) | Self::Changed(path)) = self;
        path
    }
}

/// What a file holds, in short.
fn held(path: &Path) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    fs::read(path).ok()?.hash(&mut hasher);
    Some(hasher.finish())
}
