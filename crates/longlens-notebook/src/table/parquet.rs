//! A table as Parquet, the file that data frames of other languages read best.
//!
//! Every column is optional and has one type: boolean, 64-bit integer, double, or UTF-8 text. Whole and real numbers in one
//! column become doubles; any other mixture, and a column without cells, becomes text.

use std::sync::Arc;

use bytes::Bytes;
use longlens_core::panics::caught;
use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::record::Field;
use parquet::schema::types::Type;

use super::{Datum, Table, TableError};
use crate::running::room_for;

const FORMAT: &str = "Parquet";

/// What every cell of a column can become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Int,
    Real,
    Text,
}

impl Table {
    /// The bytes of a Parquet file, compressed with Snappy.
    pub fn to_parquet(&self) -> Result<Vec<u8>, TableError> {
        let refused = |source: ParquetError| TableError::Unwritable { format: FORMAT, problem: source.to_string() };
        self.write_parquet().map_err(refused)
    }

    /// Reads a Parquet file, uncompressed or compressed with Snappy. Dates, decimals and nested values become their text.
    pub fn from_parquet(bytes: &[u8]) -> Result<Self, TableError> {
        // the library asserts what a sound file would hold; a damaged one must not end the program
        let read = caught(|| read(Bytes::copy_from_slice(bytes)));
        let (columns, rows) = read.map_err(|_| refused("the file is damaged"))??;
        Self::new(columns, rows)
    }

    fn write_parquet(&self) -> Result<Vec<u8>, ParquetError> {
        let kinds: Vec<_> = (0..self.n_columns()).map(|place| Kind::of(self.cells(place))).collect();
        let fields = self.columns.iter().zip(&kinds).map(|(name, kind)| kind.field(name).map(Arc::new));
        let schema = Type::group_type_builder("table").with_fields(fields.collect::<Result<_, _>>()?).build()?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(concat!("longlens ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let mut file = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties))?;
        let mut group = file.next_row_group()?;
        for (place, kind) in kinds.into_iter().enumerate() {
            let mut column = group.next_column()?.expect("the schema has every column");
            let cells = self.cells(place);
            match kind {
                Kind::Bool => write_column::<BoolType>(&mut column, cells, |cell| cell == &Datum::Bool(true)),
                Kind::Int => write_column::<Int64Type>(&mut column, cells, whole),
                Kind::Real => write_column::<DoubleType>(&mut column, cells, real),
                Kind::Text => write_column::<ByteArrayType>(&mut column, cells, text),
            }?;
            column.close()?;
        }
        group.close()?;
        file.into_inner()
    }
}

impl Kind {
    fn of<'a>(cells: impl Iterator<Item = &'a Datum>) -> Self {
        let kinds = cells.filter_map(|cell| match cell {
            Datum::Empty => None,
            Datum::Bool(_) => Some(Self::Bool),
            Datum::Int(_) => Some(Self::Int),
            Datum::Real(_) => Some(Self::Real),
            Datum::Text(_) => Some(Self::Text),
        });
        let common = |a: Self, b: Self| match (a, b) {
            (a, b) if a == b => a,
            (Self::Int, Self::Real) | (Self::Real, Self::Int) => Self::Real,
            _ => Self::Text,
        };
        kinds.reduce(common).unwrap_or(Self::Text)
    }

    fn field(self, name: &str) -> Result<Type, ParquetError> {
        let (physical, logical) = match self {
            Self::Bool => (Physical::BOOLEAN, None),
            Self::Int => (Physical::INT64, None),
            Self::Real => (Physical::DOUBLE, None),
            Self::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let builder = Type::primitive_type_builder(name, physical).with_repetition(Repetition::OPTIONAL);
        builder.with_logical_type(logical).build()
    }
}

/// Writes which cells are there, and the values of those.
fn write_column<'a, T: DataType>(
    column: &mut SerializedColumnWriter<'_>,
    cells: impl Iterator<Item = &'a Datum>,
    value: impl Fn(&Datum) -> T::T,
) -> Result<(), ParquetError> {
    let (mut values, mut present) = (Vec::new(), Vec::new());
    for cell in cells {
        let is_there = !matches!(cell, Datum::Empty);
        present.push(i16::from(is_there));
        if is_there {
            values.push(value(cell));
        }
    }
    column.typed::<T>().write_batch(&values, Some(&present), None)?;
    Ok(())
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

fn text(cell: &Datum) -> ByteArray {
    cell.to_string().into_bytes().into()
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
