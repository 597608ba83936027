//! A table as Parquet, the file that data frames of other languages read best.
//!
//! Every column is optional and has one type: boolean, 64-bit integer, double, or UTF-8 text. Whole and real numbers in one
//! column become doubles; any other mixture, and a column without cells, becomes text.

use bytes::Bytes;
use longlens_app::parquet::{Kind, Values};
use longlens_core::panics::caught;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

use super::{Datum, Table, TableError};
use crate::running::room_for;

const FORMAT: &str = "Parquet";

impl Table {
    /// The bytes of a Parquet file, compressed with Snappy.
    pub fn to_parquet(&self) -> Result<Vec<u8>, TableError> {
        let kinds: Vec<_> = (0..self.n_columns()).map(|place| kind_of(self.cells(place))).collect();
        let columns: Vec<_> = self.columns.iter().map(String::as_str).zip(kinds.iter().copied()).collect();
        longlens_app::parquet::bytes(&columns, |place| values(kinds[place], self.cells(place)), &[])
            .map_err(|problem| TableError::Unwritable { format: FORMAT, problem })
    }

    /// Reads a Parquet file, uncompressed or compressed with Snappy. Dates, decimals and nested values become their text.
    pub fn from_parquet(bytes: &[u8]) -> Result<Self, TableError> {
        // the library asserts what a sound file would hold; a damaged one must not end the program
        let read = caught(|| read(Bytes::copy_from_slice(bytes)));
        let (columns, rows) = read.map_err(|_| refused("the file is damaged"))??;
        Self::new(columns, rows)
    }
}

/// What every cell of a column can become.
fn kind_of<'a>(cells: impl Iterator<Item = &'a Datum>) -> Kind {
    let kinds = cells.filter_map(|cell| match cell {
        Datum::Empty => None,
        Datum::Bool(_) => Some(Kind::Bool),
        Datum::Int(_) => Some(Kind::Int),
        Datum::Real(_) => Some(Kind::Real),
        Datum::Text(_) => Some(Kind::Text),
    });
    let common = |a: Kind, b: Kind| match (a, b) {
        (a, b) if a == b => a,
        (Kind::Int, Kind::Real) | (Kind::Real, Kind::Int) => Kind::Real,
        _ => Kind::Text,
    };
    kinds.reduce(common).unwrap_or(Kind::Text)
}

fn values<'a>(kind: Kind, cells: impl Iterator<Item = &'a Datum>) -> Values {
    let there = cells.map(|cell| (!matches!(cell, Datum::Empty)).then_some(cell));
    match kind {
        Kind::Bool => Values::Bool(there.map(|cell| cell.map(|cell| cell == &Datum::Bool(true))).collect()),
        Kind::Int => Values::Int(there.map(|cell| cell.map(whole)).collect()),
        Kind::Real => Values::Real(there.map(|cell| cell.map(real)).collect()),
        Kind::Text => Values::Text(there.map(|cell| cell.map(ToString::to_string)).collect()),
    }
}

fn whole(cell: &Datum) -> i64 {
    match cell {
        Datum::Int(whole) => *whole,
        _ => unreachable!("a column of whole numbers holds {cell:?}"),
    }
}

fn real(cell: &Datum) -> f64 {
    cell.number().expect("a column of numbers holds numbers")
}

fn refused(problem: impl Into<Box<dyn std::error::Error>>) -> TableError {
    TableError::Unreadable { format: FORMAT, problem: problem.into().to_string() }
}

fn read(bytes: Bytes) -> Result<(Vec<String>, Vec<Vec<Datum>>), TableError> {
    let reader = SerializedFileReader::new(bytes).map_err(refused)?;
    let schema = reader.metadata().file_metadata().schema();
    let columns: Vec<_> = schema.get_fields().iter().map(|field| field.name().to_owned()).collect();
    if columns.is_empty() {
        return Ok((columns, Vec::new()));
    }
    // a file of a few bytes may hold a billion equal rows
    let row_bytes = columns.len() as u64 * Datum::BYTES;
    let cells = |row: Result<parquet::record::Row, ParquetError>| {
        room_for(row_bytes)?;
        Ok(row.map_err(refused)?.into_columns().into_iter().map(|(_, field)| cell(field)).collect())
    };
    let rows = reader.get_row_iter(None).map_err(refused)?.map(cells).collect::<Result<_, TableError>>()?;
    Ok((columns, rows))
}

fn cell(field: Field) -> Datum {
    let wide = |whole: u64| i64::try_from(whole).map_or_else(|_| Datum::Text(whole.to_string()), Datum::Int);
    match field {
        Field::Null => Datum::Empty,
        Field::Bool(yes) => Datum::Bool(yes),
        Field::Byte(whole) => Datum::Int(whole.into()),
        Field::Short(whole) => Datum::Int(whole.into()),
        Field::Int(whole) => Datum::Int(whole.into()),
        Field::Long(whole) => Datum::Int(whole),
        Field::UByte(whole) => Datum::Int(whole.into()),
        Field::UShort(whole) => Datum::Int(whole.into()),
        Field::UInt(whole) => Datum::Int(whole.into()),
        Field::ULong(whole) => wide(whole),
        Field::Float16(real) => Datum::Real(real.into()),
        Field::Float(real) => Datum::Real(real.into()),
        Field::Double(real) => Datum::Real(real),
        Field::Str(text) => Datum::Text(text),
        Field::Bytes(bytes) => Datum::Text(String::from_utf8_lossy(bytes.data()).into_owned()),
        other => Datum::Text(other.to_string()),
    }
}
