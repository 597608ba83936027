//! Columns as a Parquet file, which data frames of other languages read best.
//!
//! Every column is optional and has one type: boolean, 64-bit integer, double, or UTF-8 text.

use std::sync::Arc;

use ::parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use ::parquet::data_type::{BoolType, ByteArrayType, DataType, DoubleType, Int64Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use ::parquet::schema::types::Type;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Yes or no.
    Bool,
    /// Whole numbers.
    Int,
    /// Numbers.
    Real,
    /// Words.
    Text,
}

/// The values of a column, one for each row; nothing where a cell is empty.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Of [`Kind::Bool`].
    Bool(Vec<Option<bool>>),
    /// Of [`Kind::Int`].
    Int(Vec<Option<i64>>),
    /// Of [`Kind::Real`].
    Real(Vec<Option<f64>>),
    /// Of [`Kind::Text`].
    Text(Vec<Option<String>>),
}

impl Kind {
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

/// The bytes of a file, compressed with Snappy. `values` gives the values of the column at a place, of its kind and as many for each
/// column; it is asked for one column after the other, so that no more than one is held twice. What stands in `notes` says what the file
/// is, beside its rows.
pub fn bytes(
    columns: &[(&str, Kind)],
    values: impl FnMut(usize) -> Values,
    notes: &[(&str, &str)],
) -> Result<Vec<u8>, String> {
    write(columns, values, notes).map_err(|error| error.to_string())
}

fn write(
    columns: &[(&str, Kind)],
    mut values: impl FnMut(usize) -> Values,
    notes: &[(&str, &str)],
) -> Result<Vec<u8>, ParquetError> {
    let fields = columns.iter().map(|(name, kind)| kind.field(name).map(Arc::new));
    let schema = Type::group_type_builder("table").with_fields(fields.collect::<Result<_, _>>()?).build()?;
    let notes: Vec<KeyValue> =
        notes.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), (*value).to_owned())).collect();
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by(CREATED_BY.to_owned())
        .set_key_value_metadata((!notes.is_empty()).then_some(notes))
        .build();
    let mut file = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties))?;
    let mut group = file.next_row_group()?;
    for (place, (name, kind)) in columns.iter().enumerate() {
        let mut column = group.next_column()?.expect("the schema has every column");
        match (kind, values(place)) {
            (Kind::Bool, Values::Bool(values)) => write_column::<BoolType, _>(&mut column, values, |yes| yes),
            (Kind::Int, Values::Int(values)) => write_column::<Int64Type, _>(&mut column, values, |whole| whole),
            (Kind::Real, Values::Real(values)) => write_column::<DoubleType, _>(&mut column, values, |real| real),
            (Kind::Text, Values::Text(values)) => {
                write_column::<ByteArrayType, _>(&mut column, values, |text| text.into_bytes().into())
            }
            (kind, _) => unreachable!("the column {name} of {kind:?} has values of another kind"),
        }?;
        column.close()?;
    }
    group.close()?;
    file.into_inner()
}

/// Which program wrote a file.
const CREATED_BY: &str = concat!("longlens ", env!("CARGO_PKG_VERSION"));

/// Writes which cells are there, and the values of those.
fn write_column<T: DataType, V>(
    column: &mut SerializedColumnWriter<'_>,
    cells: Vec<Option<V>>,
    value: impl Fn(V) -> T::T,
) -> Result<(), ParquetError> {
    let present: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
    let values: Vec<T::T> = cells.into_iter().flatten().map(value).collect();
    column.typed::<T>().write_batch(&values, Some(&present), None)?;
    Ok(())
}
