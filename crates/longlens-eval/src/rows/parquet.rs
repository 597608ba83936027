//! Rows of a Parquet table, uncompressed or compressed with Snappy, as data frames write them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::Field;
use bytes::Bytes;
use longlens_core::panics::caught;
use serde_json::{Map, Number, Value};

use super::{At, Row, refusal};
use crate::error::EvalError;

/// Bytes of texts at most: a file of a few bytes may hold a billion equal ones.
const MAX_BYTES: usize = 4 << 30;

const MARK: &[u8] = b"PAR1";

/// Whether the bytes are a table's, which begins with a mark; one that does not end with it is cut.
pub(super) fn is_table(bytes: &[u8]) -> bool {
    bytes.starts_with(MARK)
}

/// The rows of a table, lists and groups as those of JSON. Bytes have to be UTF-8; dates and decimals become texts.
pub(super) fn rows(path: &Arc<Path>, bytes: Vec<u8>) -> Result<Vec<Row>, EvalError> {
    let is_whole = bytes.len() > 2 * MARK.len() && bytes.ends_with(MARK);
    let damaged = |problem: String| EvalError::File {
        path: PathBuf::from(&**path),
        problem: format!("the Parquet table cannot be read: {problem}"),
        help: "write it anew, uncompressed or compressed with Snappy, or as JSON lines".into(),
    };
    if !is_whole {
        return Err(EvalError::File {
            path: PathBuf::from(&**path),
            problem: "it is the beginning of a Parquet table, whose end is missing".into(),
            help: "fetch or copy it again, whole".into(),
        });
    }
    // the library asserts what a sound file would hold; a damaged one must not end the program
    caught(|| read(path, bytes, &damaged)).unwrap_or_else(|problem| Err(damaged(problem)))
}

fn read(path: &Arc<Path>, bytes: Vec<u8>, damaged: &dyn Fn(String) -> EvalError) -> Result<Vec<Row>, EvalError> {
    let reader = SerializedFileReader::new(Bytes::from(bytes)).map_err(|error| damaged(error.to_string()))?;
    let (mut rows, mut n_bytes) = (Vec::new(), 0);
    for (at, row) in reader.get_row_iter(None).map_err(|error| damaged(error.to_string()))?.enumerate() {
        let at = At::Row(at + 1);
        let row = row.map_err(|error| damaged(error.to_string()))?;
        let mut fields = Map::new();
        for (name, field) in row.into_columns() {
            let value = value(field).ok_or_else(|| {
                refusal(path, at, format!("`{name}` holds bytes that are no UTF-8"), "write texts in UTF-8".into())
            })?;
            n_bytes += name.len() + size(&value);
            fields.insert(name, value);
        }
        if n_bytes > MAX_BYTES {
            return Err(damaged(format!("it has more than {} MiB of texts", MAX_BYTES >> 20)));
        }
        rows.push(Row { fields, path: path.clone(), at });
    }
    Ok(rows)
}

/// Nothing where bytes are no text.
fn value(field: Field) -> Option<Value> {
    let real = |real: f64| Number::from_f64(real).map_or(Value::Null, Value::Number);
    Some(match field {
        Field::Null => Value::Null,
        Field::Bool(yes) => yes.into(),
        Field::Byte(whole) => whole.into(),
        Field::Short(whole) => whole.into(),
        Field::Int(whole) => whole.into(),
        Field::Long(whole) => whole.into(),
        Field::UByte(whole) => whole.into(),
        Field::UShort(whole) => whole.into(),
        Field::UInt(whole) => whole.into(),
        Field::ULong(whole) => whole.into(),
        Field::Float16(number) => real(number.into()),
        Field::Float(number) => real(number.into()),
        Field::Double(number) => real(number),
        Field::Str(text) => text.into(),
        Field::Bytes(bytes) => std::str::from_utf8(bytes.data()).ok()?.into(),
        Field::ListInternal(list) => list.elements().iter().cloned().map(value).collect::<Option<Vec<_>>>()?.into(),
        Field::Group(group) => {
            let fields = group.into_columns().into_iter().map(|(name, field)| Some((name, value(field)?)));
            Value::Object(fields.collect::<Option<_>>()?)
        }
        other => other.to_string().into(),
    })
}

/// About the bytes that a value takes in memory.
fn size(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(size).sum(),
            Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + size(value)).sum(),
            _ => 0,
        }
}
