//! Many rows become few: groups, pivots, descriptions.

use std::collections::BTreeMap;

use super::{Datum, Table, TableError, key};
use crate::running::room_for;

/// How the cells of a group become one. Empty cells are left out; NaN is a value, so that what it enters is NaN. Without any
/// cell the result is empty, only `count` says 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregation {
    /// Cells that are not empty.
    Count,
    /// Arithmetic mean; `true` is 1 and `false` 0.
    Mean,
    /// Sum; whole numbers stay whole.
    Sum,
    /// The lowest cell; texts by their order.
    Min,
    /// The highest cell; texts by their order.
    Max,
    /// The middle number, or the mean of the two in the middle.
    Median,
    /// Standard deviation of a sample (divided by n - 1); empty for a single number.
    Std,
    /// The first cell.
    First,
    /// The last cell.
    Last,
}

/// One column of a grouped table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The column to summarize.
    pub column: String,
    /// How.
    pub aggregation: Aggregation,
    /// What the new column is called.
    pub name: String,
}

impl Summary {
    /// A summary called `<column>_<aggregation>`.
    pub fn new(column: impl Into<String>, aggregation: Aggregation) -> Self {
        let column = column.into();
        let name = format!("{column}_{}", aggregation.name());
        Self { column, aggregation, name }
    }

    /// The same summary under another name.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }
}

impl Aggregation {
    /// Every aggregation.
    pub const ALL: [Self; 9] =
        [Self::Count, Self::Mean, Self::Sum, Self::Min, Self::Max, Self::Median, Self::Std, Self::First, Self::Last];

    /// The name in scripts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Mean => "mean",
            Self::Sum => "sum",
            Self::Min => "min",
            Self::Max => "max",
            Self::Median => "median",
            Self::Std => "std",
            Self::First => "first",
            Self::Last => "last",
        }
    }

    /// The aggregation of this name.
    pub fn parse(name: &str) -> Result<Self, TableError> {
        let unknown = || TableError::UnknownAggregation { name: name.to_owned() };
        Self::ALL.into_iter().find(|aggregation| aggregation.name() == name).ok_or_else(unknown)
    }
}

impl Table {
    /// One row per distinct combination of the columns `by`: those cells, then one column per summary. Groups stand in the
    /// order in which they first appear; without `by` all rows are one group.
    pub fn group(&self, by: &[impl AsRef<str>], summaries: &[Summary]) -> Result<Self, TableError> {
        let by = self.places(by)?;
        let sources: Vec<_> = summaries.iter().map(|summary| self.place(&summary.column)).collect::<Result<_, _>>()?;
        let mut columns: Vec<_> = by.iter().map(|place| self.columns[*place].clone()).collect();
        columns.extend(summaries.iter().map(|summary| summary.name.clone()));
        let mut rows = Vec::new();
        for group in self.groups(&by) {
            let mut row: Vec<Datum> = by.iter().map(|place| self.rows[group[0]][*place].clone()).collect();
            for (summary, place) in summaries.iter().zip(&sources) {
                row.push(self.summarize(&group, *place, summary.aggregation)?);
            }
            rows.push(row);
        }
        Self::new(columns, rows)
    }

    /// Rows per group, in a column `n`.
    pub fn count(&self, by: &[impl AsRef<str>]) -> Result<Self, TableError> {
        let by = self.places(by)?;
        let names = by.iter().map(|place| self.columns[*place].clone()).chain(["n".to_owned()]);
        let row = |group: Vec<usize>| {
            let cells = by.iter().map(|place| self.rows[group[0]][*place].clone());
            cells.chain([Datum::Int(group.len() as i64)]).collect()
        };
        Self::new(names.collect(), self.groups(&by).into_iter().map(row).collect())
    }

    /// The mean of every numeric column per group, under the column's own name.
    pub fn mean(&self, by: &[impl AsRef<str>]) -> Result<Self, TableError> {
        let places = self.places(by)?;
        let numeric = (0..self.n_columns()).filter(|place| !places.contains(place) && self.holds_numbers(*place));
        let summary = |place: usize| {
            let column = &self.columns[place];
            Summary::new(column, Aggregation::Mean).named(column)
        };
        self.group(by, &numeric.map(summary).collect::<Vec<_>>())
    }

    /// One row per distinct combination of the columns `index`, one column per distinct cell of `columns`, and in each place
    /// the aggregation of `values` over the rows that have both; empty where there are none. Rows and columns stand in the
    /// order in which they first appear.
    pub fn pivot(
        &self,
        index: &[impl AsRef<str>],
        columns: &str,
        values: &str,
        aggregation: Aggregation,
    ) -> Result<Self, TableError> {
        let (index, across, values) = (self.places(index)?, self.place(columns)?, self.place(values)?);
        let headings = self.groups(&[across]);
        let mut names: Vec<_> = index.iter().map(|place| self.columns[*place].clone()).collect();
        names.extend(headings.iter().map(|group| self.rows[group[0]][across].to_string()));

        let groups = self.groups(&index);
        room_for((groups.len() as u64).saturating_mul(names.len() as u64 * Datum::BYTES))?;
        let mut rows = Vec::new();
        for group in groups {
            room_for(0)?;
            let mut parts: BTreeMap<&Datum, Vec<usize>> = BTreeMap::new();
            for row in &group {
                parts.entry(&self.rows[*row][across]).or_default().push(*row);
            }
            let mut row: Vec<Datum> = index.iter().map(|place| self.rows[group[0]][*place].clone()).collect();
            for heading in &headings {
                let part = parts.get(&self.rows[heading[0]][across]);
                row.push(part.map_or(Ok(Datum::Empty), |part| self.summarize(part, values, aggregation))?);
            }
            rows.push(row);
        }
        Self::new(names, rows)
    }

    /// One row per numeric column: its count, mean, sample standard deviation, minimum, quartiles and maximum.
    #[must_use]
    pub fn describe(&self) -> Self {
        let names = ["column", "count", "mean", "std", "min", "25%", "50%", "75%", "max"];
        let numeric = (0..self.n_columns()).filter(|place| self.holds_numbers(*place));
        let row = |place: usize| {
            let numbers: Vec<f64> = self.cells(place).filter_map(Datum::number).collect();
            let sorted = sorted(&numbers);
            let quartiles = [0.0, 0.25, 0.5, 0.75, 1.0].map(|share| Datum::from(quantile(&sorted, share)));
            let first = [Datum::Text(self.columns[place].clone()), Datum::Int(numbers.len() as i64)];
            let spread = [Datum::from(mean(&numbers)), std(&numbers).into()];
            first.into_iter().chain(spread).chain(quartiles).collect()
        };
        Self { columns: names.map(str::to_owned).to_vec(), rows: numeric.map(row).collect() }
    }

    /// Rows of every group in the order in which groups first appear. No group is empty, so that its first row names it.
    fn groups(&self, by: &[usize]) -> Vec<Vec<usize>> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut places: BTreeMap<Vec<&Datum>, usize> = BTreeMap::new();
        for (row, cells) in self.rows.iter().enumerate() {
            let place = *places.entry(key(cells, by)).or_insert(groups.len());
            if place == groups.len() {
                groups.push(Vec::new());
            }
            groups[place].push(row);
        }
        groups
    }

    /// One cell from the cells at `place` in these rows.
    fn summarize(&self, rows: &[usize], place: usize, aggregation: Aggregation) -> Result<Datum, TableError> {
        let filled = || rows.iter().map(|row| &self.rows[*row][place]).filter(|cell| !matches!(cell, Datum::Empty));
        let cell = |cell: Option<&Datum>| cell.cloned().unwrap_or_default();
        let nan = || filled().find(|cell| cell.is_missing());
        let numbers = || -> Result<Vec<f64>, TableError> {
            let filled = rows.iter().filter(|row| !matches!(self.rows[**row][place], Datum::Empty));
            filled.map(|row| self.rows[*row][place].number().ok_or_else(|| self.not_a_number(*row, place))).collect()
        };
        Ok(match aggregation {
            Aggregation::Count => Datum::Int(filled().count() as i64),
            Aggregation::First => cell(filled().next()),
            Aggregation::Last => cell(filled().next_back()),
            Aggregation::Min => cell(nan().or_else(|| filled().min())),
            Aggregation::Max => cell(nan().or_else(|| filled().max())),
            Aggregation::Mean => mean(&numbers()?).into(),
            Aggregation::Median => quantile(&sorted(&numbers()?), 0.5).into(),
            Aggregation::Std => std(&numbers()?).into(),
            Aggregation::Sum => sum(filled(), &numbers()?),
        })
    }
}

/// Whole when every cell is and the sum fits.
fn sum<'a>(cells: impl Iterator<Item = &'a Datum>, numbers: &[f64]) -> Datum {
    let whole = |cell: &Datum| match cell {
        Datum::Int(whole) => Some(*whole),
        Datum::Bool(yes) => Some(i64::from(*yes)),
        _ => None,
    };
    if numbers.is_empty() {
        return Datum::Empty;
    }
    let mut wholes = cells.map(whole);
    let total = wholes.try_fold(0i64, |total, whole| total.checked_add(whole?));
    total.map_or_else(|| Datum::Real(numbers.iter().sum()), Datum::Int)
}

fn mean(numbers: &[f64]) -> Option<f64> {
    (!numbers.is_empty()).then(|| numbers.iter().sum::<f64>() / numbers.len() as f64)
}

/// Of a sample; nothing for fewer than two numbers.
fn std(numbers: &[f64]) -> Option<f64> {
    let mean = mean(numbers).filter(|_| numbers.len() > 1)?;
    let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
    Some((squares / (numbers.len() - 1) as f64).sqrt())
}

fn sorted(numbers: &[f64]) -> Vec<f64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The number below which `share` of the sorted numbers lie, on a straight line between neighbors; NaN if there is one.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    if sorted.iter().any(|number| number.is_nan()) {
        return Some(f64::NAN);
    }
    let at = share * sorted.len().checked_sub(1)? as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    // infinite neighbors must not meet in a difference
    Some(if low.total_cmp(&high).is_eq() { low } else { low * (1.0 - at.fract()) + high * at.fract() })
}
