//! Samples as one table.

use longlens_eval::evaluate::Record;
use serde_json::{Map, Value};

use crate::parquet::{Kind as Stored, Values};
use crate::problem::Problem;
use crate::results::columns::{Kind, SAMPLES};
use crate::results::{Answer, Datum};

/// What a Parquet file says that it holds.
pub(super) const NOTE: (&str, &str) = ("longlens.table", "samples");

pub(super) fn csv(records: &[Record]) -> Vec<u8> {
    Answer::of(SAMPLES, records).csv()
}

/// Lists and objects stand as such here, since JSON has them.
pub(super) fn jsonl(records: &[Record]) -> Vec<u8> {
    let mut lines = Vec::new();
    for record in records {
        let object: Map<String, Value> = SAMPLES
            .iter()
            .map(|column| {
                let value = match ((column.of)(record), column.kind) {
                    (Datum::Text(text), Kind::Json) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
                    (cell, _) => serde_json::to_value(cell).unwrap_or_default(),
                };
                (column.name.to_owned(), value)
            })
            .collect();
        lines.extend(Value::Object(object).to_string().into_bytes());
        lines.push(b'\n');
    }
    lines
}

pub(super) fn parquet(records: &[Record]) -> Result<Vec<u8>, Problem> {
    let stored = |kind| match kind {
        Kind::Text | Kind::Json => Stored::Text,
        Kind::Integer => Stored::Int,
        Kind::Real => Stored::Real,
    };
    let columns: Vec<_> = SAMPLES.iter().map(|column| (column.name, stored(column.kind))).collect();
    let values = |place: usize| {
        let column = &SAMPLES[place];
        let cells = records.iter().map(column.of);
        match stored(column.kind) {
            Stored::Int => Values::Int(cells.map(|cell| whole(&cell)).collect()),
            Stored::Real => Values::Real(cells.map(|cell| real(&cell)).collect()),
            Stored::Text | Stored::Bool => Values::Text(cells.map(text).collect()),
        }
    };
    crate::parquet::bytes(&columns, values, &[NOTE])
        .map_err(|problem| Problem::new(format!("Parquet cannot hold these samples: {problem}"), None))
}

fn whole(cell: &Datum) -> Option<i64> {
    if let Datum::Integer(whole) = cell { Some(*whole) } else { None }
}

fn real(cell: &Datum) -> Option<f64> {
    match cell {
        Datum::Real(real) => Some(*real),
        Datum::Integer(whole) => Some(*whole as f64),
        Datum::Empty | Datum::Text(_) => None,
    }
}

fn text(cell: Datum) -> Option<String> {
    if let Datum::Text(text) = cell { Some(text) } else { None }
}
