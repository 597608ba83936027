//! What can go wrong between a notebook and its file.

use std::path::{Path, PathBuf};

use super::Form;

/// Why a notebook cannot be read, written or given parameters.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// What is wrong, and in which file.
    #[error("{}: {problem}", path.display())]
    In {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: Box<DocumentError>,
    },
    /// No such file.
    #[error("{} does not exist", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file is there, and cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("{} cannot be written: {source}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// More than any notebook has.
    #[error("{} has {} MB; at most {} MB are read", path.display(), bytes >> 20, most >> 20)]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The most that is read.
        most: u64,
    },
    /// A file that is no notebook by its name.
    #[error("{} ends neither in .ipynb nor in .rhai", path.display())]
    UnknownEnding {
        /// The file.
        path: PathBuf,
    },
    /// A run is to be kept in a file that keeps no results.
    #[error("{} is the text form of a notebook, which keeps no results", path.display())]
    NoResults {
        /// The file.
        path: PathBuf,
    },
    /// Bytes that are not UTF-8.
    #[error("{place}")]
    NotText {
        /// The first byte that does not fit: line, column, and what it may be.
        place: String,
        /// How to convert it.
        help: String,
    },
    /// Broken JSON.
    #[error("not JSON: {what} at line {line}, column {column}")]
    NotJson {
        /// What the parser says.
        what: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// JSON of something else.
    #[error("not a notebook: {what}")]
    NotNotebook {
        /// What is missing or wrong, and in which cell.
        what: String,
    },
    /// A version that nobody knows here.
    #[error("notebook format {version} is unknown; 3 and 4.0 to 4.5 are read")]
    UnknownVersion {
        /// The version in the file.
        version: String,
    },
    /// A notebook for another kernel.
    #[error("the notebook's language is `{language}`, not `rhai`")]
    OtherLanguage { language: String },
    /// A notebook that does not say its language, and whose cells are no code of ours.
    #[error("the notebook does not say its language, and its code cell {cell} is not Rhai: {what}")]
    NoLanguage {
        /// The cell, among those with code, from 1.
        cell: usize,
        /// Why it cannot be parsed.
        what: String,
    },
    /// A notebook that does not say its language, with results that a run would replace.
    #[error("the notebook does not say its language, and holds results that this run would replace")]
    OfNobody,
    /// A notebook with a cell that the script whose results are to take its place does not have.
    #[error("its cell {cell} holds {what} that is not in {}", script.display())]
    NotOfScript {
        /// The cell, from 1.
        cell: usize,
        /// `code`, `prose` or `text`.
        what: &'static str,
        script: PathBuf,
    },
    /// A file that a run would replace, though nobody named it and it holds something else.
    #[error("{} would be replaced by the results of this run: {problem}", path.display())]
    WouldReplace {
        /// The file.
        path: PathBuf,
        /// What it holds.
        problem: Box<DocumentError>,
    },
    /// Two cells with one id.
    #[error("cells {first} and {second} have the same id `{id}`")]
    SameId {
        id: String,
        /// The first cell, from 1.
        first: usize,
        /// The other cell, from 1.
        second: usize,
    },
    /// A parameter that is not written as `key=value`.
    #[error("`{text}` is no parameter")]
    NotParameter {
        /// What was given.
        text: String,
    },
    /// A parameter that no variable can be named after.
    #[error("parameter `{name}` cannot be the name of a variable")]
    NotName { name: String },
    /// A value that the language cannot write.
    #[error("parameter `{name}` has the value {value}, which Rhai cannot write")]
    NotValue {
        /// The parameter.
        name: String,
        value: String,
    },
    /// Parameters in another form that cannot be read.
    #[error("not parameters in {form}: {what}")]
    NotParameters {
        /// `YAML`, `JSON` or `base64`.
        form: &'static str,
        /// What the parser says.
        what: String,
    },
    /// A file of parameters that is not TOML.
    #[error("not TOML: {what}")]
    NotToml {
        /// What the parser says, with line and column.
        what: String,
    },
}

impl DocumentError {
    /// The same, with the name of the file.
    #[must_use]
    pub fn in_file(self, path: &Path) -> Self {
        Self::In { path: path.to_owned(), problem: Box::new(self) }
    }

    /// Says that a run would replace the file that this is said of.
    #[must_use]
    pub fn would_replace(self, path: &Path) -> Self {
        let problem = match self {
            Self::In { problem, .. } => problem,
            problem => Box::new(problem),
        };
        Self::WouldReplace { path: path.to_owned(), problem }
    }

    /// Bytes that are no text in UTF-8; `file` is what they are called.
    pub(crate) fn not_text(error: &longlens_eval::text::NotText, file: &str) -> Self {
        Self::NotText { place: error.to_string(), help: error.help(file) }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::In { problem, .. } => problem.help(),
            Self::Missing { path } => missing(path),
            Self::Unreadable { .. } => "check that it is a file and that you may read it".into(),
            Self::Unwritable { path, .. } => unwritable(path),
            Self::TooLarge { .. } => "clear its outputs in Jupyter, or move large images out of it".into(),
            Self::UnknownEnding { .. } => {
                "name it .ipynb (JSON with results) or .rhai (text with `// %%` cells)".into()
            }
            Self::NoResults { path } => {
                format!("write to {} instead", path.with_extension("ipynb").display())
            }
            Self::NotText { help, .. } => help.clone(),
            Self::NotJson { .. } => {
                "an .ipynb file is JSON; look for a merge conflict or a half-written file at that line".into()
            }
            Self::NotNotebook { .. } => "open and save it in Jupyter, which repairs what it can".into(),
            Self::UnknownVersion { .. } => {
                "convert it: `jupyter nbconvert --to notebook --nbformat 4 --inplace FILE`".into()
            }
            Self::OtherLanguage { .. } => {
                "run it with its own kernel; to run its cells as Rhai, set `kernelspec` and `language_info` in its \
                 metadata to `rhai`"
                    .into()
            }
            Self::SameId { second, .. } => format!("delete the id of cell {second}; it gets a new one when it is read"),
            Self::NotParameter { .. } => "write it as `name=value`, as in `-p context=8192`".into(),
            Self::NotName { .. } => {
                "a name is letters, digits and `_`, begins with a letter or `_`, and is no word of the language".into()
            }
            Self::NotValue { .. } => {
                "whole numbers lie within ±9223372036854775807; put larger ones in quotes, or write them with a point"
                    .into()
            }
            Self::NotParameters { form, .. } => match *form {
                "YAML" => "write names with values, as in `context: 8192`".into(),
                "JSON" => "write an object, as in {\"context\": 8192}".into(),
                _ => "encode YAML, as in `echo 'context: 8192' | base64`".into(),
            },
            Self::NoLanguage { .. } => {
                "if it is Rhai, set `language` in the `kernelspec` of its metadata to `rhai`; nothing was written"
                    .into()
            }
            Self::OfNobody => {
                "give the run a file of its own with -o OUT.ipynb, or set `language` in the `kernelspec` of its metadata to `rhai`"
                    .into()
            }
            Self::NotOfScript { script, .. } | Self::WouldReplace { path: script, .. } => {
                let notebook = script.with_extension("ipynb");
                format!(
                    "give the results a file of their own with -o OUT.ipynb; `-o {}` replaces this one whatever it holds",
                    notebook.display()
                )
            }
            Self::NotToml { .. } => "the file holds lines like `context = 8192`".into(),
        }
    }
}

fn missing(path: &Path) -> String {
    let other = match Form::of(path) {
        Ok(Form::Ipynb) => path.with_extension("rhai"),
        Ok(Form::Text) => path.with_extension("ipynb"),
        Err(_) => return "check the path".into(),
    };
    if other.is_file() { format!("there is {}; was it meant?", other.display()) } else { "check the path".into() }
}

fn unwritable(path: &Path) -> String {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    match folder {
        Some(folder) if !folder.is_dir() => format!("make the folder first: mkdir -p {}", folder.display()),
        _ => "check that you may write there and that the disk has room, or name another file".into(),
    }
}
