//! The numbers behind a view as a table: columns with names and units, rows of cells.

use std::fmt;

use serde_json::{Value, json};

/// A table with one row per thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// What the cells of a row are.
    pub columns: Vec<Column>,
    /// A cell per column each.
    pub rows: Vec<Vec<Cell>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// What its cells are, in a word.
    pub name: &'static str,
    /// The unit of its numbers: `tokens`, `nats`, `share` (0 to 1); empty for names, indices and flags.
    pub unit: &'static str,
}

/// What a cell holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Cell {
    /// Nothing is known; also what is not a number.
    #[default]
    Empty,
    /// Yes or no.
    Flag(bool),
    /// An index or a count.
    Count(usize),
    /// A number that was computed in 32 bits.
    Single(f32),
    /// A number that was computed in 64 bits.
    Double(f64),
    /// Words.
    Text(String),
}

impl Table {
    /// An empty table; columns are pairs of name and unit.
    pub fn new(columns: &[(&'static str, &'static str)]) -> Self {
        let columns = columns.iter().map(|(name, unit)| Column { name, unit }).collect();
        Self { columns, rows: Vec::new() }
    }

    /// The same with a column more, for the cells that rows have at their end.
    #[must_use]
    pub fn and(mut self, name: &'static str, unit: &'static str) -> Self {
        self.columns.push(Column { name, unit });
        self
    }

    /// Adds a row. Panics when it has not a cell for every column.
    pub fn push(&mut self, row: Vec<Cell>) {
        assert_eq!(row.len(), self.columns.len(), "a row has a cell for every column");
        self.rows.push(row);
    }

    /// The table with a line of names above; cells with commas, quotes or line ends are quoted.
    pub fn to_csv(&self) -> String {
        let mut text = self.columns.iter().map(|column| column.name).collect::<Vec<_>>().join(",") + "\n";
        for row in &self.rows {
            for (at, cell) in row.iter().enumerate() {
                text += if at == 0 { "" } else { "," };
                let cell = cell.to_string();
                if cell.contains([',', '"', '\n', '\r']) {
                    text.extend(["\"", &cell.replace('"', "\"\""), "\""]);
                } else {
                    text += &cell;
                }
            }
            text.push('\n');
        }
        text
    }

    /// `{"columns": [{"name", "unit"}], "rows": [[cell]]}`.
    pub fn to_json(&self) -> Value {
        let columns = self.columns.iter().map(|column| json!({ "name": column.name, "unit": column.unit }));
        let rows = self.rows.iter().map(|row| row.iter().map(Cell::to_json).collect::<Vec<_>>());
        json!({ "columns": columns.collect::<Vec<_>>(), "rows": rows.collect::<Vec<_>>() })
    }
}

impl Cell {
    fn to_json(&self) -> Value {
        match self {
            Self::Empty => Value::Null,
            Self::Flag(flag) => json!(flag),
            Self::Count(count) => json!(count),
            Self::Single(number) => json!(number),
            Self::Double(number) => json!(number),
            Self::Text(text) => json!(text),
        }
    }
}

/// The shortest text that says it exactly; nothing for an empty cell.
impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => Ok(()),
            Self::Flag(flag) => flag.fmt(f),
            Self::Count(count) => count.fmt(f),
            Self::Single(number) => number.fmt(f),
            Self::Double(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl From<bool> for Cell {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<usize> for Cell {
    fn from(count: usize) -> Self {
        Self::Count(count)
    }
}

impl From<f32> for Cell {
    fn from(number: f32) -> Self {
        if number.is_nan() { Self::Empty } else { Self::Single(number) }
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        if number.is_nan() { Self::Empty } else { Self::Double(number) }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Empty, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_a_line_is_quoted_and_what_is_no_number_is_empty() {
        let mut table = Table::new(&[("run", ""), ("loss", "nats")]).and("found", "");
        table.push(vec!["full, \"a\"\nb".into(), 0.1_f32.into(), true.into()]);
        table.push(vec!["full".into(), f64::NAN.into(), None::<bool>.into()]);
        assert_eq!(table.to_csv(), "run,loss,found\n\"full, \"\"a\"\"\nb\",0.1,true\nfull,,\n");
        assert_eq!(table.to_json()["columns"][1], json!({ "name": "loss", "unit": "nats" }));
        assert_eq!(table.to_json()["rows"][1], json!(["full", null, null]));
    }
}
