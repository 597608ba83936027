//! Choosing, ordering and joining rows and columns.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Datum, Table, TableError, key};

/// More cells than this are refused before memory is taken for them.
const MAX_CELLS: usize = 100_000_000;

impl Table {
    /// These columns alone, in this order.
    pub fn select(&self, columns: &[impl AsRef<str>]) -> Result<Self, TableError> {
        let places = self.places(columns)?;
        let columns = places.iter().map(|place| self.columns[*place].clone()).collect();
        let rows = self.rows.iter().map(|row| places.iter().map(|place| row[*place].clone()).collect()).collect();
        Self::new(columns, rows)
    }

    /// All but these columns.
    pub fn drop(&self, columns: &[impl AsRef<str>]) -> Result<Self, TableError> {
        let dropped = self.places(columns)?;
        let kept: Vec<_> = (0..self.n_columns()).filter(|place| !dropped.contains(place)).collect();
        self.select(&kept.into_iter().map(|place| &self.columns[place]).collect::<Vec<_>>())
    }

    /// Gives columns new names: pairs of the old name and the new one, all exchanged at once.
    pub fn rename(&self, names: &[(impl AsRef<str>, impl AsRef<str>)]) -> Result<Self, TableError> {
        let mut columns = self.columns.clone();
        for (from, to) in names {
            to.as_ref().clone_into(&mut columns[self.place(from.as_ref())?]);
        }
        Self::new(columns, self.rows.clone())
    }

    /// The rows whose flag is set; one flag per row.
    pub fn filter_rows(&self, keep: &[bool]) -> Result<Self, TableError> {
        if keep.len() != self.n_rows() {
            let what = "the filter".to_owned();
            return Err(TableError::Length { what, expected: self.n_rows(), found: keep.len() });
        }
        let rows = self.rows.iter().zip(keep).filter(|(_, keep)| **keep).map(|(row, _)| row.clone());
        Ok(self.with_rows(rows.collect()))
    }

    /// The rows at these places, from 0, in this order; a place may stand more than once.
    pub fn take_rows(&self, rows: &[usize]) -> Result<Self, TableError> {
        let row = |row: &usize| {
            let unknown = TableError::UnknownRow { row: *row, n_rows: self.n_rows() };
            self.rows.get(*row).cloned().ok_or(unknown)
        };
        Ok(self.with_rows(rows.iter().map(row).collect::<Result<_, _>>()?))
    }

    /// Rows by the first column, then the second, and so on; equal rows keep their order. What is empty or NaN stands last
    /// either way.
    pub fn sort(&self, columns: &[impl AsRef<str>], descending: bool) -> Result<Self, TableError> {
        let places = self.places(columns)?;
        let order = |a: &Datum, b: &Datum| match a.is_missing().cmp(&b.is_missing()) {
            Ordering::Equal if descending && !a.is_missing() => b.cmp(a),
            Ordering::Equal => a.cmp(b),
            missing => missing,
        };
        let by_all = |a: &Vec<Datum>, b: &Vec<Datum>| {
            let orders = places.iter().map(|place| order(&a[*place], &b[*place]));
            orders.fold(Ordering::Equal, Ordering::then)
        };
        let mut rows = self.rows.clone();
        rows.sort_by(by_all);
        Ok(self.with_rows(rows))
    }

    /// The first `n` rows.
    #[must_use]
    pub fn head(&self, n: usize) -> Self {
        self.with_rows(self.rows.iter().take(n).cloned().collect())
    }

    /// The last `n` rows.
    #[must_use]
    pub fn tail(&self, n: usize) -> Self {
        self.with_rows(self.rows[self.n_rows().saturating_sub(n)..].to_vec())
    }

    /// The first of all rows that agree in these columns, or in every column when none is named.
    pub fn unique(&self, columns: &[impl AsRef<str>]) -> Result<Self, TableError> {
        let places = if columns.is_empty() { (0..self.n_columns()).collect() } else { self.places(columns)? };
        let mut seen = BTreeSet::new();
        let rows = self.rows.iter().filter(|row| seen.insert(key(row, &places))).cloned();
        Ok(self.with_rows(rows.collect()))
    }

    /// With a new column at the end, or another content for the column of this name; one cell per row. In a table without
    /// columns the cells make the rows.
    pub fn with_column(&self, name: &str, cells: Vec<Datum>) -> Result<Self, TableError> {
        if self.columns.is_empty() {
            return Self::new(vec![name.to_owned()], cells.into_iter().map(|cell| vec![cell]).collect());
        }
        if cells.len() != self.n_rows() {
            let what = format!("column `{name}`");
            return Err(TableError::Length { what, expected: self.n_rows(), found: cells.len() });
        }
        let mut table = self.clone();
        let place = self.columns.iter().position(|column| column == name);
        if place.is_none() {
            table.columns.push(name.to_owned());
        }
        for (row, cell) in table.rows.iter_mut().zip(cells) {
            match place {
                Some(place) => row[place] = cell,
                None => row.push(cell),
            }
        }
        Ok(table)
    }

    /// The rows of this table and then those of another. Columns go by their names; what one table lacks is empty there.
    #[must_use]
    pub fn concat(&self, below: &Self) -> Self {
        Self::concat_all([self, below])
    }

    /// The rows of many tables, one below the other, in one go. Columns go by their names, in the order in which they first
    /// appear; what a table lacks is empty there.
    pub fn concat_all<'a>(tables: impl IntoIterator<Item = &'a Self>) -> Self {
        let (mut columns, mut rows) = (Vec::new(), Vec::new());
        let mut places: HashMap<&str, usize> = HashMap::new();
        for table in tables {
            let place = |name: &'a String| {
                *places.entry(name).or_insert_with(|| {
                    columns.push(name.clone());
                    columns.len() - 1
                })
            };
            let targets: Vec<usize> = table.columns.iter().map(place).collect();
            for row in &table.rows {
                let mut wide = vec![Datum::Empty; columns.len()];
                for (target, cell) in targets.iter().zip(row) {
                    wide[*target] = cell.clone();
                }
                rows.push(wide);
            }
        }
        for row in &mut rows {
            row.resize(columns.len(), Datum::Empty);
        }
        Self { columns, rows }
    }

    /// Every pair of a row here and a row of `other` that agree in the columns `on`; empty cells agree with nothing. A further
    /// column of `other` whose name is taken gets `_right` behind its name.
    pub fn join(&self, other: &Self, on: &[impl AsRef<str>]) -> Result<Self, TableError> {
        let (left, right) = (self.places(on)?, other.places(on)?);
        let further: Vec<_> = (0..other.n_columns()).filter(|place| !right.contains(place)).collect();
        let mut columns = self.columns.clone();
        columns.extend(further.iter().map(|place| {
            let name = &other.columns[*place];
            if self.columns.contains(name) { format!("{name}_right") } else { name.clone() }
        }));

        let mut partners: BTreeMap<Vec<&Datum>, Vec<&Vec<Datum>>> = BTreeMap::new();
        for row in &other.rows {
            partners.entry(key(row, &right)).or_default().push(row);
        }
        let partners_of = |row| {
            let key = key(row, &left);
            let known = !key.contains(&&Datum::Empty);
            partners.get(&key).filter(|_| known).map_or(&[][..], Vec::as_slice)
        };
        let n_rows = self.rows.iter().map(|row| partners_of(row).len()).fold(0, usize::saturating_add);
        if n_rows.saturating_mul(columns.len()) > MAX_CELLS {
            return Err(TableError::TooLarge { what: "the join", n_rows });
        }
        let mut rows = Vec::with_capacity(n_rows);
        for row in &self.rows {
            for partner in partners_of(row) {
                let added = further.iter().map(|place| partner[*place].clone());
                rows.push(row.iter().cloned().chain(added).collect());
            }
        }
        Self::new(columns, rows)
    }

    /// The same columns over other rows.
    fn with_rows(&self, rows: Vec<Vec<Datum>>) -> Self {
        Self { columns: self.columns.clone(), rows }
    }
}
