//! Rows of data sets as their authors publish them: JSON lines, a list of JSON objects, a Parquet table, or CSV.
//!
//! A row is an object with named fields, and knows where it stands, so that whatever is wrong with it is said with its file, its line and its
//! field.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::error::{EvalError, in_line};
use crate::files::{Disk, Files};
use crate::text::{read_bytes, text_of};

mod find;
mod parquet;

pub use find::{find, opened};

/// A row of a data set.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    fields: Map<String, Value>,
    path: Arc<Path>,
    at: At,
}

/// Where a row stands in its file, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Line(usize),
    Row(usize),
}

const FORMATS: &str = "give JSON lines (an object a line), a list of JSON objects, a Parquet table, or a .csv with names in its first line";

/// Reads the rows of a file, whose format its bytes tell, and of CSV its name. A file without rows is refused.
pub fn read(files: &dyn Files, name: &str) -> Result<Vec<Row>, EvalError> {
    of_bytes(&Path::new(name).into(), files.read(name)?)
}

/// The rows of a file's `bytes`.
pub fn of_bytes(path: &Arc<Path>, bytes: Vec<u8>) -> Result<Vec<Row>, EvalError> {
    let is_csv = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
    let rows = if parquet::is_table(&bytes) {
        parquet::rows(path, bytes)?
    } else if is_csv {
        of_csv(path, &text_of(path, bytes)?)?
    } else {
        of_text(path, bytes)?
    };
    if rows.is_empty() {
        return Err(EvalError::File {
            path: path.to_path_buf(),
            problem: "it holds no rows".into(),
            help: FORMATS.into(),
        });
    }
    Ok(rows)
}

/// The objects of the `.json` files in a folder, one a file, by the files' names.
pub fn objects_in(folder: &Path) -> Result<Vec<Row>, EvalError> {
    let listed = Disk.folder(&folder.to_string_lossy())?.unwrap_or_default();
    let files = listed.iter().map(Path::new).filter(|file| file.extension().is_some_and(|ending| ending == "json"));
    let rows: Vec<Row> = files.map(|file| object(file, read_bytes(file)?)).collect::<Result<_, _>>()?;
    if rows.is_empty() {
        return Err(EvalError::File {
            path: folder.to_owned(),
            problem: "the folder holds no .json files".into(),
            help: "name a file, or a folder of files with an object each".into(),
        });
    }
    Ok(rows)
}

/// The object that a file holds.
pub fn object(path: &Path, bytes: Vec<u8>) -> Result<Row, EvalError> {
    let item = serde_json::from_str(&text_of(path, bytes)?).map_err(|error| EvalError::File {
        path: path.to_owned(),
        problem: format!("no JSON: {error}"),
        help: "it holds one object".into(),
    })?;
    Row::of(item, &path.into(), At::Row(1))
}

/// Every field of a table in text is a text; one that is empty is there, and empty.
fn of_csv(path: &Arc<Path>, text: &str) -> Result<Vec<Row>, EvalError> {
    let mut table = csv::Reader::from_reader(text.as_bytes());
    let refused = |error: csv::Error| {
        let line = error.position().map_or(1, |position| position.line() as usize);
        let reason = match error.kind() {
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                format!("it has {len} fields, and the first line names {expected_len}")
            }
            _ => error.to_string(),
        };
        refusal(path, At::Line(line), reason, "texts with commas or line ends stand in double quotes".into())
    };
    let names = table.headers().map_err(refused)?.clone();
    let mut rows = Vec::new();
    for record in table.records() {
        let record = record.map_err(refused)?;
        let line = record.position().map_or(0, |position| position.line() as usize);
        let field = |(name, value): (&str, &str)| (name.to_owned(), Value::from(value));
        let fields = names.iter().zip(&record).map(field).collect();
        rows.push(Row { fields, path: path.clone(), at: At::Line(line) });
    }
    Ok(rows)
}

fn of_text(path: &Arc<Path>, bytes: Vec<u8>) -> Result<Vec<Row>, EvalError> {
    let text = text_of(path, bytes)?;
    if text.trim_start().starts_with('[') {
        let refused = |problem: String| EvalError::File { path: path.to_path_buf(), problem, help: FORMATS.into() };
        let items: Vec<Value> =
            serde_json::from_str(&text).map_err(|error| refused(format!("it is no list of JSON objects: {error}")))?;
        let rows = items.into_iter().enumerate().map(|(at, item)| Row::of(item, path, At::Row(at + 1)));
        return rows.collect();
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let row = |(at, line): (usize, &str)| {
        let at = At::Line(at + 1);
        let item = serde_json::from_str(line).map_err(|error| {
            let help = if error.is_eof() && line.trim_start().starts_with('{') {
                format!("an object has to stand in one line: `jq -c . {} > NEW` puts it there", path.display())
            } else {
                FORMATS.to_owned()
            };
            refusal(path, at, format!("no JSON: {}", in_line(&error)), help)
        })?;
        Row::of(item, path, at)
    };
    lines.map(row).collect()
}

fn refusal(path: &Path, at: At, reason: String, help: String) -> EvalError {
    let path = path.to_owned();
    match at {
        At::Line(line) => EvalError::Line { path, line, reason, help },
        At::Row(row) => EvalError::File { path, problem: format!("row {row}: {reason}"), help },
    }
}

impl Row {
    fn of(item: Value, path: &Arc<Path>, at: At) -> Result<Self, EvalError> {
        let found = kind(&item);
        match item {
            Value::Object(fields) => Ok(Self { fields, path: path.clone(), at }),
            _ => Err(refusal(path, at, format!("it is {found}, not an object with named fields"), FORMATS.into())),
        }
    }

    /// The same place with other fields.
    #[must_use]
    pub fn with_fields(self, fields: Map<String, Value>) -> Self {
        Self { fields, ..self }
    }

    /// Its fields alone.
    pub fn into_fields(self) -> Map<String, Value> {
        self.fields
    }

    /// Names of its fields, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }

    /// A field as it is, `null` too.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field)
    }

    /// Refuses the row for what is wrong with it; `help` says what to do.
    pub fn refuse(&self, reason: impl Into<String>, help: impl Into<String>) -> EvalError {
        refusal(&self.path, self.at, reason.into(), help.into())
    }

    /// Its place, as `line 3`.
    pub fn place(&self) -> String {
        match self.at {
            At::Line(line) => format!("line {line}"),
            At::Row(row) => format!("row {row}"),
        }
    }

    /// A field that may be missing, which `null` is, too.
    pub fn maybe(&self, field: &str) -> Option<&Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    /// A field that has to be there.
    pub fn field(&self, field: &str) -> Result<&Value, EvalError> {
        self.maybe(field).ok_or_else(|| {
            let names: Vec<_> = self.names().collect();
            let has = if names.is_empty() { "no fields".into() } else { format!("the fields {}", names.join(", ")) };
            self.refuse(format!("`{field}` is missing"), format!("the row has {has}: is this the task's file?"))
        })
    }

    fn expected(&self, field: &str, value: &Value, expected: &str) -> EvalError {
        self.refuse(format!("`{field}` is {}, not {expected}", kind(value)), format!("make `{field}` {expected}"))
    }

    /// A text.
    pub fn text(&self, field: &str) -> Result<&str, EvalError> {
        let value = self.field(field)?;
        value.as_str().ok_or_else(|| self.expected(field, value, "a text"))
    }

    /// A text that may be missing.
    pub fn maybe_text(&self, field: &str) -> Result<Option<&str>, EvalError> {
        self.maybe(field).map(|_| self.text(field)).transpose()
    }

    /// A list of texts.
    pub fn texts(&self, field: &str) -> Result<Vec<&str>, EvalError> {
        let value = self.field(field)?;
        let texts = value.as_array().map(|items| items.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
        texts.flatten().ok_or_else(|| self.expected(field, value, "a list of texts"))
    }

    /// Right answers: a text, or a list of at least one; nothing but blanks is no answer.
    pub fn answers(&self, field: &str) -> Result<Vec<&str>, EvalError> {
        let answers = if self.field(field)?.is_string() { vec![self.text(field)?] } else { self.texts(field)? };
        if answers.iter().all(|answer| answer.trim().is_empty()) {
            let help = "a question without a right answer cannot be scored: leave its row out";
            return Err(self.refuse(format!("`{field}` holds no answer"), help));
        }
        Ok(answers)
    }

    /// A whole number.
    pub fn count(&self, field: &str) -> Result<usize, EvalError> {
        let value = self.field(field)?;
        let whole = value.as_u64().and_then(|whole| usize::try_from(whole).ok());
        whole.ok_or_else(|| self.expected(field, value, "a whole number"))
    }

    /// What tells a row from others: a text or a whole number.
    pub fn id(&self, field: &str) -> Result<String, EvalError> {
        match self.field(field)? {
            Value::String(id) => Ok(id.clone()),
            Value::Number(id) if !id.is_f64() => Ok(id.to_string()),
            other => Err(self.expected(field, other, "a text or a whole number")),
        }
    }
}

/// The ids of rows: of those that have the field all are different; rows without it are told apart by their number, from 0.
pub fn ids(rows: &[Row], field: &str) -> Result<Vec<String>, EvalError> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut ids = Vec::with_capacity(rows.len());
    for (at, row) in rows.iter().enumerate() {
        let id = if row.maybe(field).is_some() { row.id(field)? } else { at.to_string() };
        if let Some(before) = seen.insert(id.clone(), at) {
            let reason = format!("the id `{id}` is that of {}, too", rows[before].place());
            return Err(row.refuse(reason, "results are kept by id: give every row one of its own"));
        }
        ids.push(id);
    }
    Ok(ids)
}

/// Rows in an order in which those of one document stand behind each other: documents as they first come, their rows as they come.
pub fn by_document(rows: Vec<Row>, document: impl Fn(&Row) -> Result<&str, EvalError>) -> Result<Vec<Row>, EvalError> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut placed = Vec::with_capacity(rows.len());
    for row in rows {
        let n_known = places.len();
        let place = *places.entry(document(&row)?.to_owned()).or_insert(n_known);
        placed.push((place, row));
    }
    placed.sort_by_key(|(place, _)| *place);
    Ok(placed.into_iter().map(|(_, row)| row).collect())
}

/// What a value is, in words.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(items) if items.is_empty() => "an empty list",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests;
