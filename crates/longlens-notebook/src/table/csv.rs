//! A table as comma-separated values.
//!
//! The format has no types, so a cell is read as what it looks like: `true` and `false`, whole numbers, numbers, `NaN`, `inf` and
//! `-inf`, else a text; no characters are an empty cell. A text that looks like a number, and an empty text, therefore come
//! back as something else. JSON and Parquet keep them.

use super::{Datum, Table, TableError};
use crate::running::room_for;

const FORMAT: &str = "CSV";

impl Table {
    /// A line of names and one line per row, in UTF-8; nothing for a table without columns.
    pub fn to_csv(&self) -> Result<Vec<u8>, TableError> {
        if self.columns.is_empty() {
            return Ok(Vec::new());
        }
        let refused = |source: csv::Error| TableError::Unwritable { format: FORMAT, problem: source.to_string() };
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(&self.columns).map_err(refused)?;
        for row in &self.rows {
            writer.write_record(row.iter().map(Datum::to_string)).map_err(refused)?;
        }
        writer.into_inner().map_err(|source| refused(source.into_error().into()))
    }

    /// Reads what [`Table::to_csv`] and most programs write: UTF-8, commas, a first line of names.
    pub fn from_csv(bytes: &[u8]) -> Result<Self, TableError> {
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let refused = |source: csv::Error| TableError::Unreadable { format: FORMAT, problem: source.to_string() };
        let mut reader = csv::Reader::from_reader(bytes);
        let columns = reader.headers().map_err(refused)?.iter().map(ToOwned::to_owned).collect();
        let row = |record: Result<csv::StringRecord, csv::Error>| {
            let record = record.map_err(refused)?;
            room_for(record.len() as u64 * Datum::BYTES)?;
            Ok(record.iter().map(Datum::of_word).collect())
        };
        let rows = reader.records().map(row).collect::<Result<_, TableError>>()?;
        Self::new(columns, rows)
    }
}
