//! A table as JSON: an array of objects, or one object per line.
//!
//! Every row is an object with all columns in order; an empty cell is `null`. JSON has no NaN and nothing infinite, so these are
//! the strings `"NaN"`, `"inf"` and `"-inf"`, and are numbers again when they are read; a text of exactly these letters
//! becomes a number too. Reals come back to within their last bits. A table without rows loses the names of its columns.

use serde_json::{Map, Number, Value};

use super::{Datum, Table, TableError};
use crate::running::room_for;

const FORMAT: &str = "JSON";
const LINES: &str = "JSON lines";

impl Table {
    /// An array of objects, one per row and line, with a newline at the end.
    pub fn to_json(&self) -> Vec<u8> {
        if self.is_empty() {
            return b"[]\n".to_vec();
        }
        let objects: Vec<_> = self.objects().map(|object| object.to_string()).collect();
        format!("[\n{}\n]\n", objects.join(",\n")).into_bytes()
    }

    /// One object per line.
    pub fn to_json_lines(&self) -> Vec<u8> {
        self.objects().flat_map(|object| (object.to_string() + "\n").into_bytes()).collect()
    }

    /// Reads an array of objects. Names that some objects lack are empty there; lists and objects inside become their JSON text.
    pub fn from_json(bytes: &[u8]) -> Result<Self, TableError> {
        room_for(parsed_bytes(bytes))?;
        let objects: Vec<Map<String, Value>> = parse(bytes, FORMAT, "")?;
        Self::from_foreign(objects.into_iter().map(record))
    }

    /// Reads one object per line; lines without anything are passed over.
    pub fn from_json_lines(bytes: &[u8]) -> Result<Self, TableError> {
        let lines = bytes.split(|byte| *byte == b'\n').enumerate();
        let filled = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
        let object = |(at, line): (usize, &[u8])| {
            room_for(parsed_bytes(line))?;
            Ok(parse(line, LINES, &format!("line {}: ", at + 1)).map(record)?.collect())
        };
        Self::from_foreign(filled.map(object).collect::<Result<Vec<Vec<_>>, TableError>>()?)
    }

    fn objects(&self) -> impl Iterator<Item = Value> {
        self.rows.iter().map(|row| {
            let entries = self.columns.iter().zip(row).map(|(column, cell)| (column.clone(), value(cell)));
            Value::Object(entries.collect())
        })
    }
}

/// Bytes that the values of a JSON text take once they are read, at most: one for each comma, colon and bracket, and the texts.
pub(crate) fn parsed_bytes(json: &[u8]) -> u64 {
    const VALUE: u64 = 64;
    let n_values = json.iter().filter(|byte| matches!(byte, b',' | b':' | b'[' | b'{')).count() as u64;
    json.len() as u64 + VALUE * n_values
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8], format: &'static str, place: &str) -> Result<T, TableError> {
    serde_json::from_slice(bytes)
        .map_err(|source| TableError::Unreadable { format, problem: format!("{place}{source}") })
}

fn record(object: Map<String, Value>) -> impl Iterator<Item = (String, Datum)> {
    object.into_iter().map(|(name, value)| (name, cell(value)))
}

fn value(cell: &Datum) -> Value {
    match cell {
        Datum::Empty => Value::Null,
        Datum::Bool(yes) => Value::Bool(*yes),
        Datum::Int(whole) => Value::Number((*whole).into()),
        Datum::Real(real) => Number::from_f64(*real).map_or_else(|| Value::String(cell.to_string()), Value::Number),
        Datum::Text(text) => Value::String(text.clone()),
    }
}

fn cell(value: Value) -> Datum {
    match value {
        Value::Null => Datum::Empty,
        Value::Bool(yes) => Datum::Bool(yes),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => Datum::Int(whole),
            // an id beyond 63 bits would share its nearest real number with others
            (None, Some(whole)) => Datum::Text(whole.to_string()),
            (None, None) => Datum::from(number.as_f64()),
        },
        Value::String(text) => Datum::of_special(&text).unwrap_or(Datum::Text(text)),
        value @ (Value::Array(_) | Value::Object(_)) => Datum::Text(value.to_string()),
    }
}
