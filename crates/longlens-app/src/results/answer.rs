//! What a question to finished samples gives: named columns and rows of cells.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::Datum;
use super::columns::Column;

/// Columns and rows. As JSON it is a list of objects.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// Names of the columns, no two the same.
    pub columns: Vec<String>,
    /// Rows, each with a cell for every column.
    pub rows: Vec<Vec<Datum>>,
}

impl Answer {
    /// The table that a list of columns makes of values.
    pub fn of<'a, T: 'a>(columns: &[Column<T>], values: impl IntoIterator<Item = &'a T>) -> Self {
        Self {
            columns: columns.iter().map(|column| column.name.to_owned()).collect(),
            rows: values.into_iter().map(|value| columns.iter().map(|column| (column.of)(value)).collect()).collect(),
        }
    }

    /// The same, of columns whose names the question gave: a name that comes again gets a number.
    #[cfg_attr(not(feature = "sql"), allow(dead_code, reason = "nothing else names columns at will"))]
    pub(super) fn named(names: impl IntoIterator<Item = String>) -> Self {
        let mut columns: Vec<String> = Vec::new();
        for name in names {
            let numbered = (2..).map(|number| format!("{name}:{number}"));
            let free = [name.clone()].into_iter().chain(numbered).find(|name| !columns.contains(name));
            columns.extend(free);
        }
        Self { columns, rows: Vec::new() }
    }

    /// A line of names and a line for each row, as RFC 4180 has it, in UTF-8. An empty cell is no characters, and so is an empty text.
    pub fn csv(&self) -> Vec<u8> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        // nothing that is written to memory fails, and all rows are as long as the first line
        let lines = std::iter::once(self.columns.clone())
            .chain(self.rows.iter().map(|row| row.iter().map(ToString::to_string).collect()));
        lines.for_each(|line| writer.write_record(line).expect("memory takes every line"));
        writer.into_inner().expect("memory takes every line")
    }
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.rows.len()))?;
        for row in &self.rows {
            list.serialize_element(&Object { names: &self.columns, row })?;
        }
        list.end()
    }
}

/// A row as an object.
struct Object<'a> {
    names: &'a [String],
    row: &'a [Datum],
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(self.row.len()))?;
        for (name, cell) in self.names.iter().zip(self.row) {
            object.serialize_entry(name, cell)?;
        }
        object.end()
    }
}
