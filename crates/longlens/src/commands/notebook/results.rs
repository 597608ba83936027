//! Where a run keeps its results. A run without `-o` replaces a notebook only once every cell is done: what comes before, and
//! what a run leaves that failed or was stopped, lies beside it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::{fs, io};

use longlens_notebook::document::{DocumentError, Form, Notebook};
use longlens_notebook::runner;

use super::refused;
use crate::args::language::NotebookRunArgs;
use crate::failure::Failure;
use crate::inputs::spare_files;

/// Where results go.
pub enum Destination {
    /// Into a file that was named, or that holds nothing yet that is worth keeping.
    Into(PathBuf),
    /// Beside a notebook, until they can take its place.
    Beside {
        /// The notebook: the input, or the one that a script keeps its results in.
        target: PathBuf,
        /// The results so far.
        partial: PathBuf,
        /// What the notebook held when the run began; nothing where it could not be read.
        held: Option<u64>,
    },
}

/// What became of the results.
pub enum Settled {
    /// They are where they were wanted.
    Done(PathBuf),
    /// They lie beside `target`, since not all cells are done without an error.
    Beside {
        /// Where they lie.
        partial: PathBuf,
        /// The notebook that is as it was.
        target: PathBuf,
    },
    /// They lie beside `target`, since somebody changed it while the cells ran.
    Changed {
        /// Where they lie.
        partial: PathBuf,
        /// The notebook that was changed.
        target: PathBuf,
    },
}

impl Destination {
    /// As flags ask for it. A run that goes on goes on from what lies beside, or from the notebook where nothing does.
    ///
    /// Refuses to replace a notebook that nobody named and that is of another language or not made from this script. What the
    /// notebook of a script holds and the script cannot, such as attachments, comes into `notebook`.
    pub fn of(args: &NotebookRunArgs, notebook: &mut Notebook) -> Result<Self, Failure> {
        let input = &args.input;
        let is_script = Form::of(input).map_err(refused)? == Form::Text;
        if let Some(out) = &args.output {
            let read = args.parameters_file.iter().chain(is_script.then_some(input));
            spare_files(out, &read.map(AsRef::as_ref).collect::<Vec<_>>())?;
            return Ok(Self::Into(out.clone()));
        }
        let (target, partial) = (input.with_extension("ipynb"), input.with_extension("partial.ipynb"));
        let may_replace = if is_script {
            if !target.exists() {
                return Ok(Self::Into(target));
            }
            let before =
                Notebook::read(&target).and_then(|before| before.check_made_from(input, notebook).map(|()| before));
            before.map(|before| {
                take_back(notebook, &before);
                runner::is_complete(&before)
            })
        } else {
            notebook.check_replaceable().map(|()| true)
        };
        match may_replace {
            Ok(true) => {}
            Ok(false) => return Ok(Self::Into(target)),
            Err(error) if is_script => return Err(refused(error.would_replace(&target))),
            Err(error) => return Err(refused(error.in_file(input))),
        }
        if partial.exists() {
            Notebook::read(&partial).map_err(|error| refused(error.would_replace(&partial)))?;
        } else if args.resume {
            // nothing is written before it is read again
            Notebook::read(&target).and_then(|notebook| notebook.write(&partial)).map_err(refused)?;
        }
        Ok(Self::Beside { held: held(&target), target, partial })
    }

    /// The file that the run writes.
    pub fn out(&self) -> &Path {
        match self {
            Self::Into(out) => out,
            Self::Beside { partial, .. } => partial,
        }
    }

    /// All files that the run may write.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let (first, second) = match self {
            Self::Into(out) => (out, None),
            Self::Beside { target, partial, .. } => (partial, Some(target)),
        };
        std::iter::once(first).chain(second).map(PathBuf::as_path)
    }

    /// The run is over. Whatever is not put in the notebook's place leaves it as it is.
    pub fn settle(&self, notebook: &Notebook, is_clean: bool) -> Result<Settled, DocumentError> {
        match self {
            Self::Into(out) => Ok(Settled::Done(out.clone())),
            Self::Beside { partial, target, .. } if !is_clean => {
                Ok(Settled::Beside { partial: partial.clone(), target: target.clone() })
            }
            Self::Beside { target, partial, held: before } if held(target) != *before => {
                notebook.write(partial)?;
                Ok(Settled::Changed { partial: partial.clone(), target: target.clone() })
            }
            Self::Beside { target, partial, .. } => {
                notebook.write(target)?;
                match fs::remove_file(partial) {
                    Err(source) if source.kind() != io::ErrorKind::NotFound => {
                        Err(DocumentError::Unwritable { path: partial.clone(), source })
                    }
                    _ => Ok(Settled::Done(target.clone())),
                }
            }
        }
    }
}

/// Takes into the cells of a script what its notebook has for them beside results of this run: attachments, results of cells
/// that do not run.
fn take_back(script: &mut Notebook, before: &Notebook) {
    script.take_back(before);
    // of the run before, which may have had parameters
    script.metadata.remove("longlens");
    script.metadata.remove("papermill");
}

impl Settled {
    /// The file that holds the results.
    pub fn path(&self) -> &Path {
        let (Self::Done(path) | Self::Beside { partial: path, .. } | Self::Changed { partial: path, .. }) = self;
        path
    }
}

/// What a file holds, in short.
fn held(path: &Path) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    fs::read(path).ok()?.hash(&mut hasher);
    Some(hasher.finish())
}
