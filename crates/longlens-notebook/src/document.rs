//! A notebook, as the runner, the export and the text form see it.
//!
//! The crate `nbformat` knows the format's versions but keeps only the fields it has names for: an output it cannot parse
//! is dropped, and its maps have no order. A notebook that goes through this program comes back whole, so cells are read
//! here, everything without a name stays JSON, and the crate upgrades files of version 3 alone.

pub mod html;
pub mod parameters;

mod error;
mod highlight;
pub(crate) mod identity;
mod ipynb;
mod json;
mod merge;
mod origin;
pub(crate) mod papermill;
mod text;

use std::borrow::Cow;
use std::io::{self, Read};
use std::path::Path;

use cap_fs_ext::OpenOptionsSyncExt;
use cap_std::ambient_authority;
use cap_std::fs::{File, OpenOptions};
use longlens_core::printable::excerpt;
use serde_json::{Map, Value, json};

use crate::interpreter::{CellError, Interpreter, SHOWN};
use crate::lexer::is_magic;
use crate::lexer::magic::MAGICS;

pub use error::DocumentError;
pub(crate) use highlight::escaped;
pub use merge::Merged;

/// The tag of the cell whose variables may be set from outside.
pub const PARAMETERS: &str = "parameters";
/// The tag of the cell that sets them.
pub const INJECTED: &str = "injected-parameters";
/// The tag of a cell whose error is expected.
pub const RAISES: &str = "raises-exception";
/// The tag of a cell that does not run.
pub const SKIPPED: &str = "skip-execution";

/// No notebook is larger than this; what is would fill the memory before anybody sees it.
pub(crate) const MOST_BYTES: u64 = 256 << 20;

/// A notebook: cells in order, and what is known about them.
#[derive(Debug, Clone, PartialEq)]
pub struct Notebook {
    /// Cells in order; no two have the same `id`.
    pub cells: Vec<Cell>,
    /// What the file says about itself: kernel, language, and whatever other programs keep there.
    pub metadata: Map<String, Value>,
    /// Fields of the file that the format does not name.
    pub rest: Map<String, Value>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// 1 to 64 of `A-Z a-z 0-9 - _`.
    pub id: String,
    /// What it holds.
    pub kind: Kind,
    /// Its text, lines joined.
    pub source: String,
    /// Tags, and whatever other programs keep there.
    pub metadata: Map<String, Value>,
    /// What it showed, as objects of the format with their lines joined. Empty unless it is code.
    pub outputs: Vec<Value>,
    /// Its number in the run that gave `outputs`. `None` unless it is code.
    pub execution_count: Option<i64>,
    /// Other fields: `attachments`, and what the format does not name.
    pub rest: Map<String, Value>,
}

/// What a cell holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Code to run.
    Code,
    /// Prose in markdown.
    Markdown,
    /// Text for another program, passed through.
    Raw,
}

/// The two ways a notebook lies on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `.ipynb`: JSON with results.
    Ipynb,
    /// `.rhai`: code with `// %%` between cells, without results.
    Text,
}

impl Notebook {
    /// A notebook of this language, without cells.
    pub fn new() -> Self {
        let metadata = json!({ "kernelspec": kernelspec(), "language_info": language_info() });
        Self { cells: Vec::new(), metadata: ipynb::object(metadata), rest: Map::new() }
    }

    /// Reads a file; its ending says which form it has.
    pub fn read(path: &Path) -> Result<Self, DocumentError> {
        let form = Form::of(path)?;
        Self::from_text_of(path, form, &read_text(path)?)
    }

    /// Reads what a file of this path holds.
    pub(crate) fn from_bytes(path: &Path, form: Form, bytes: Vec<u8>) -> Result<Self, DocumentError> {
        Self::from_text_of(path, form, &text_of(path, bytes)?)
    }

    fn from_text_of(path: &Path, form: Form, text: &str) -> Result<Self, DocumentError> {
        let notebook = match form {
            Form::Ipynb => Self::from_ipynb(text),
            Form::Text => Ok(Self::from_text(text)),
        };
        notebook.map_err(|error| error.in_file(path))
    }

    /// Writes a file whole or not at all; its ending says which form it gets. The text form keeps no results.
    pub fn write(&self, path: &Path) -> Result<(), DocumentError> {
        longlens_app::write_whole(path, &self.to_bytes(path)?)
            .map_err(|source| DocumentError::Unwritable { path: path.to_owned(), source })
    }

    /// The same for a file with results, where some cells are written already: see [`ipynb::write_known`].
    pub(crate) fn write_known(&self, path: &Path, texts: &mut Vec<String>) -> Result<(), DocumentError> {
        longlens_app::write_whole(path, ipynb::write_known(self, texts).as_bytes())
            .map_err(|source| DocumentError::Unwritable { path: path.to_owned(), source })
    }

    /// What a file of this path is to hold.
    pub(crate) fn to_bytes(&self, path: &Path) -> Result<Vec<u8>, DocumentError> {
        let text = match Form::of(path)? {
            Form::Ipynb => self.to_ipynb(),
            Form::Text => self.to_text(),
        };
        Ok(text.into_bytes())
    }

    /// Refuses a notebook that does not say its language and whose cells this one cannot parse: it is of another.
    pub fn check_language(&self, interpreter: &dyn Interpreter) -> Result<(), DocumentError> {
        if ipynb::says_language(&self.metadata) {
            return Ok(());
        }
        let code = self.cells.iter().filter(|cell| cell.kind == Kind::Code);
        for (at, cell) in code.enumerate() {
            if let Some(what) = not_ours(&cell.source, interpreter) {
                return Err(DocumentError::NoLanguage { cell: at + 1, what });
            }
        }
        Ok(())
    }

    /// Refuses a notebook that does not say its language and holds results: whoever made them may have run another one, and to
    /// replace them is more than a guess may do.
    pub fn check_replaceable(&self) -> Result<(), DocumentError> {
        let holds_results = self.cells.iter().any(|cell| !cell.outputs.is_empty());
        if holds_results && !ipynb::says_language(&self.metadata) { Err(DocumentError::OfNobody) } else { Ok(()) }
    }

    /// Reads the JSON of a notebook file: 4.0 to 4.5, and 3. Older ones come back as 4.5.
    pub fn from_ipynb(text: &str) -> Result<Self, DocumentError> {
        ipynb::read(text)
    }

    /// The notebook as a file of version 4.5, byte for byte as Jupyter writes it.
    pub fn to_ipynb(&self) -> String {
        ipynb::write(self)
    }

    /// Reads code with `// %%` between cells. Any text is a notebook.
    pub fn from_text(text: &str) -> Self {
        text::read(text)
    }

    /// The notebook as code with `// %%` between cells: everything but results and attachments.
    pub fn to_text(&self) -> String {
        text::write(self)
    }

    /// How many cells have code.
    pub fn n_code(&self) -> usize {
        self.cells.iter().filter(|cell| cell.kind == Kind::Code).count()
    }

    /// Appends a cell under an id of its own.
    pub fn push(&mut self, kind: Kind, source: impl Into<String>) -> &mut Cell {
        self.cells.push(Cell::new(kind, source));
        identity::name_cells(&mut self.cells);
        self.cells.last_mut().expect("a cell was just pushed")
    }
}

impl Default for Notebook {
    fn default() -> Self {
        Self::new()
    }
}

impl Cell {
    /// What runs of it: its source, with parameters that papermill wrote in Python as Rhai has them.
    ///
    /// Errors: parameters that Rhai cannot have.
    pub fn code(&self) -> Result<Cow<'_, str>, CellError> {
        papermill::translate(&self.source)
    }

    /// A cell without tags or results; it has no id until it is in a notebook.
    fn new(kind: Kind, source: impl Into<String>) -> Self {
        Self {
            id: String::new(),
            kind,
            source: source.into(),
            metadata: Map::new(),
            outputs: Vec::new(),
            execution_count: None,
            rest: Map::new(),
        }
    }

    /// Its tags, in order.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.metadata.get("tags").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }

    /// Whether it has a tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags().any(|other| other == tag)
    }

    /// Forgets what it showed.
    pub fn clear(&mut self) {
        self.outputs.clear();
        self.execution_count = None;
    }
}

impl Kind {
    /// The format's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Markdown => "markdown",
            Self::Raw => "raw",
        }
    }
}

impl Form {
    /// The form that a file's ending stands for.
    pub fn of(path: &Path) -> Result<Self, DocumentError> {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("ipynb") => Ok(Self::Ipynb),
            Some("rhai") => Ok(Self::Text),
            _ => Err(DocumentError::UnknownEnding { path: path.to_owned() }),
        }
    }
}

/// What a notebook says about the program that runs it.
pub fn kernelspec() -> Value {
    json!({ "display_name": "longlens", "language": "rhai", "name": "longlens" })
}

/// What a notebook, and the kernel that runs it, say about the language.
pub fn language_info() -> Value {
    json!({
        "codemirror_mode": "rust",
        "file_extension": ".rhai",
        "mimetype": "text/x-rhai",
        "name": "rhai",
        "pygments_lexer": "rust",
        // of the language: what changes with every version of the program would change every notebook that is opened
        "version": "1",
    })
}

/// The text of a file that is not too large, without a byte order mark.
fn read_text(path: &Path) -> Result<String, DocumentError> {
    let file = open(path)?;
    let failed = |source| DocumentError::Unreadable { path: path.to_owned(), source };
    let bytes = file.metadata().map_err(failed)?.len();
    let mut read = Vec::new();
    // it may grow meanwhile
    file.take(MOST_BYTES + 1).read_to_end(&mut read).map_err(failed)?;
    if read.len() as u64 > MOST_BYTES {
        return Err(DocumentError::TooLarge {
            path: path.to_owned(),
            bytes: bytes.max(MOST_BYTES + 1),
            most: MOST_BYTES,
        });
    }
    text_of(path, read)
}

/// A file that is one, open to be read: a device or a pipe may never end.
pub(crate) fn open(path: &Path) -> Result<File, DocumentError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => DocumentError::Missing { path: path.to_owned() },
        _ => DocumentError::Unreadable { path: path.to_owned(), source },
    };
    let plain = |is_file: bool| if is_file { Ok(()) } else { Err(failed(io::Error::other("it is no file"))) };
    // looked at before it is opened, since opening a device can do things
    plain(std::fs::metadata(path).map_err(failed)?.is_file())?;
    let mut options = OpenOptions::new();
    // a pipe that took its place since would wait for a writer
    options.read(true).nonblock(true);
    let file = File::open_ambient_with(path, &options, ambient_authority()).map_err(failed)?;
    plain(file.metadata().map_err(failed)?.is_file())?;
    Ok(file)
}

/// Bytes as text, without a byte order mark.
fn text_of(path: &Path, bytes: Vec<u8>) -> Result<String, DocumentError> {
    longlens_eval::text::decode(bytes)
        .map_err(|error| DocumentError::not_text(&error, &path.display().to_string()).in_file(path))
}

/// Why a cell is no code of ours, if it is none.
fn not_ours(source: &str, interpreter: &dyn Interpreter) -> Option<String> {
    if let Some(line) = source.lines().map(str::trim).find(|line| !line.is_empty()).filter(|line| is_magic(line)) {
        let name = line.trim_start_matches('%').split_whitespace().next().unwrap_or_default();
        let known = line.starts_with('?') || MAGICS.iter().any(|(magic, ..)| *magic == name);
        return (!known).then(|| format!("there is no `{}`", excerpt(line, 0, SHOWN).0));
    }
    let checked = papermill::translate(source).and_then(|source| interpreter.check(&source));
    checked.err().map(|error| error.message)
}
