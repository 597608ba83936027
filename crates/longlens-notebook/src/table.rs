//! A small table for results of experiments: named columns, rows of cells, and the questions one asks of them.
//!
//! Every operation leaves its table as it is and makes a new one. Rows keep their order, and groups stand in the order in
//! which they first appear.

mod csv;
mod datum;
mod group;
mod json;
mod parquet;
mod rows;
mod text;

use longlens_app::Problem;
use std::collections::HashSet;
use std::convert::Infallible;

use longlens_app::views;
use longlens_core::nearest::nearest;

use crate::running::{Stopped, room_for};
pub use datum::{Datum, not_finite};
pub use group::{Aggregation, Summary};
pub(crate) use json::parsed_bytes;

/// Named columns and rows of cells. Every row has one cell per column, no two columns share a name, and a table without
/// columns has no rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<Datum>>,
}

/// Why there is no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// A name that no column has.
    #[error("there is no column `{column}`")]
    UnknownColumn {
        /// The name asked for.
        column: String,
        /// The column it may stand for.
        nearest: Option<String>,
        /// Every column.
        known: Vec<String>,
    },
    /// Two columns would share a name.
    #[error("two columns would be called `{column}`")]
    DuplicateColumn {
        /// The name.
        column: String,
    },
    /// A row has too few or too many cells.
    #[error("row {row} has {found} cells, but there are {expected} columns")]
    RowLength {
        /// The row, from 0.
        row: usize,
        /// Columns.
        expected: usize,
        /// Cells.
        found: usize,
    },
    /// What is given per row does not fit the rows.
    #[error("{what} has {found} values, but the table has {expected} rows")]
    Length {
        /// What is given.
        what: String,
        /// Rows.
        expected: usize,
        /// Values.
        found: usize,
    },
    /// A row that does not exist.
    #[error("there is no row {row}: the table has {n_rows} rows")]
    UnknownRow {
        /// The row asked for, from 0.
        row: usize,
        n_rows: usize,
    },
    /// A cell that is no number, where numbers are needed.
    #[error("`{value}` in row {row} of column `{column}` is no number")]
    NotANumber {
        column: String,
        /// The row, from 0.
        row: usize,
        /// What the cell holds.
        value: String,
    },
    /// A name that no aggregation has.
    #[error("there is no aggregation `{name}`")]
    UnknownAggregation {
        /// The name asked for.
        name: String,
    },
    /// The result would not fit memory.
    #[error("{what} would have {n_rows} rows")]
    TooLarge {
        /// What was asked for.
        what: &'static str,
        /// Rows it would have.
        n_rows: usize,
    },
    /// There is no room for it, or the cell is to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// Bytes that are no table.
    #[error("this is no table in {format}: {problem}")]
    Unreadable {
        /// The format it was read as.
        format: &'static str,
        /// What is wrong, and where.
        problem: String,
    },
    /// A table that a format cannot hold.
    #[error("{format} cannot hold this table: {problem}")]
    Unwritable {
        format: &'static str,
        /// What is wrong.
        problem: String,
    },
}

impl From<TableError> for Problem {
    fn from(error: TableError) -> Self {
        Self::new(error.to_string(), error.help())
    }
}

impl TableError {
    /// What to do next.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::UnknownColumn { nearest: Some(nearest), .. } => Some(format!("did you mean `{nearest}`?")),
            Self::UnknownColumn { known, .. } if known.is_empty() => Some("the table has no columns".to_owned()),
            Self::UnknownColumn { known, .. } => Some(format!("the columns are {}", quoted(known))),
            Self::DuplicateColumn { .. } => Some("rename one of them".to_owned()),
            Self::NotANumber { .. } => {
                Some("leave out the rows without numbers, or use `count`, `min`, `max`, `first` or `last`".to_owned())
            }
            Self::UnknownAggregation { name } => {
                let names = Aggregation::ALL.map(Aggregation::name);
                Some(match nearest(name, names) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => format!("use one of {}", quoted(&names)),
                })
            }
            Self::TooLarge { .. } => Some("name more columns to match, or make the rows unique first".to_owned()),
            Self::Stopped(_) => Some("take fewer rows, columns or letters at once".to_owned()),
            Self::RowLength { .. } | Self::Length { .. } | Self::UnknownRow { .. } => None,
            Self::Unreadable { format, .. } => Some(format!("check that the file is whole and really is {format}")),
            Self::Unwritable { .. } => Some("write it as JSON instead".to_owned()),
        }
    }
}

impl Table {
    /// A table of these columns and rows.
    pub fn new(columns: Vec<String>, rows: Vec<Vec<Datum>>) -> Result<Self, TableError> {
        let mut seen = HashSet::new();
        if let Some(column) = columns.iter().find(|column| !seen.insert(column.as_str())) {
            return Err(TableError::DuplicateColumn { column: column.clone() });
        }
        let expected = columns.len();
        if let Some((row, cells)) = rows.iter().enumerate().find(|(_, cells)| cells.len() != expected) {
            return Err(TableError::RowLength { row, expected, found: cells.len() });
        }
        let rows = if columns.is_empty() { Vec::new() } else { rows };
        Ok(Self { columns, rows })
    }

    /// A table without columns and rows.
    pub fn empty() -> Self {
        Self::default()
    }

    /// A table of one row per record. A name that earlier records lack becomes a new column at the end, and its cell is empty
    /// in the rows that have no such name; of a name that stands twice in one record, the last cell counts.
    pub fn from_records<Record, Name>(records: impl IntoIterator<Item = Record>) -> Self
    where
        Record: IntoIterator<Item = (Name, Datum)>,
        Name: Into<String>,
    {
        let Ok(table) = Self::gather(records, |_| Ok::<_, Infallible>(()));
        table
    }

    /// The numbers behind a view.
    pub fn of_view(numbers: &views::Table) -> Result<Self, TableError> {
        room_for((numbers.rows.len() * numbers.columns.len()) as u64 * Datum::BYTES)?;
        let columns = numbers.columns.iter().map(|column| column.name.to_owned()).collect();
        Self::new(columns, numbers.rows.iter().map(|row| row.iter().map(Datum::from).collect()).collect())
    }

    /// The same of records that somebody else wrote: a name more in each makes a table of many empty cells out of little.
    pub fn from_foreign<Record, Name>(records: impl IntoIterator<Item = Record>) -> Result<Self, TableError>
    where
        Record: IntoIterator<Item = (Name, Datum)>,
        Name: Into<String>,
    {
        Self::gather(records, |n_cells| Ok(room_for(n_cells as u64 * Datum::BYTES)?))
    }

    /// Asks for room for so many cells before it makes them.
    fn gather<Record, Name, E>(
        records: impl IntoIterator<Item = Record>,
        room: impl Fn(usize) -> Result<(), E>,
    ) -> Result<Self, E>
    where
        Record: IntoIterator<Item = (Name, Datum)>,
        Name: Into<String>,
    {
        let mut columns: Vec<String> = Vec::new();
        let mut places = std::collections::HashMap::new();
        let mut rows: Vec<Vec<Datum>> = Vec::new();
        for record in records {
            room(columns.len())?;
            let mut row = vec![Datum::Empty; columns.len()];
            for (name, cell) in record {
                let name = name.into();
                let place = *places.entry(name).or_insert_with_key(|name| {
                    columns.push(name.clone());
                    columns.len() - 1
                });
                if place == row.len() {
                    row.push(cell);
                } else {
                    row[place] = cell;
                }
            }
            rows.push(row);
        }
        room(rows.iter().map(|row| columns.len() - row.len()).sum())?;
        for row in &mut rows {
            row.resize(columns.len(), Datum::Empty);
        }
        let rows = if columns.is_empty() { Vec::new() } else { rows };
        Ok(Self { columns, rows })
    }

    /// Bytes of all cells, about as many as their text takes.
    pub fn n_bytes(&self) -> u64 {
        let text = |cell: &Datum| if let Datum::Text(text) = cell { text.len() as u64 } else { 0 };
        self.rows.iter().flatten().map(|cell| Datum::BYTES + text(cell)).sum()
    }

    /// Names of the columns, in order.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Rows, each with one cell per column.
    pub fn rows(&self) -> &[Vec<Datum>] {
        &self.rows
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.rows.len()
    }

    /// Number of columns.
    pub fn n_columns(&self) -> usize {
        self.columns.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The cells of a column, one per row.
    pub fn column(&self, name: &str) -> Result<Vec<Datum>, TableError> {
        let place = self.place(name)?;
        Ok(self.cells(place).cloned().collect())
    }

    /// The numbers of a column, one per row: an empty cell is NaN, `true` is 1 and `false` 0. A text is an error.
    pub fn numbers(&self, name: &str) -> Result<Vec<f64>, TableError> {
        let place = self.place(name)?;
        let number = |(row, cell): (usize, &Datum)| match cell {
            Datum::Empty => Ok(f64::NAN),
            cell => cell.number().ok_or_else(|| self.not_a_number(row, place)),
        };
        self.cells(place).enumerate().map(number).collect()
    }

    /// Whether a column holds numbers, `true` or `false`, or nothing, and at least one that is not empty.
    pub fn is_numeric(&self, name: &str) -> Result<bool, TableError> {
        Ok(self.holds_numbers(self.place(name)?))
    }

    /// Where a column stands.
    fn place(&self, name: &str) -> Result<usize, TableError> {
        let unknown = || TableError::UnknownColumn {
            column: name.to_owned(),
            nearest: nearest(name, self.columns.iter().map(String::as_str)).map(ToOwned::to_owned),
            known: self.columns.clone(),
        };
        self.columns.iter().position(|column| column == name).ok_or_else(unknown)
    }

    /// Where each of several columns stands.
    fn places(&self, names: &[impl AsRef<str>]) -> Result<Vec<usize>, TableError> {
        names.iter().map(|name| self.place(name.as_ref())).collect()
    }

    /// Cells of the column at `place`, top to bottom.
    fn cells(&self, place: usize) -> impl Iterator<Item = &Datum> {
        self.rows.iter().map(move |row| &row[place])
    }

    fn holds_numbers(&self, place: usize) -> bool {
        let mut filled = self.cells(place).filter(|cell| !matches!(cell, Datum::Empty)).peekable();
        filled.peek().is_some() && filled.all(|cell| cell.number().is_some())
    }

    fn not_a_number(&self, row: usize, place: usize) -> TableError {
        let value = self.rows[row][place].to_string();
        TableError::NotANumber { column: self.columns[place].clone(), row, value }
    }
}

/// The cells of a row that tell it from others.
fn key<'a>(row: &'a [Datum], places: &[usize]) -> Vec<&'a Datum> {
    places.iter().map(|place| &row[*place]).collect()
}

fn quoted(names: &[impl AsRef<str>]) -> String {
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
