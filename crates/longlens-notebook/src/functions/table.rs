//! Tables: rows of results, and the questions one asks of them.

use rhai::plugin::*;
use rhai::{Dynamic, Engine};

pub use self::convert::{to_datum, with_names};
use crate::values::Table;

mod convert;

#[export_module]
#[allow(clippy::needless_pass_by_value)] // the macro hands values over
pub mod functions {
    use rhai::FnPtr;

    use super::convert::{aggregations, cells, names, row_map, rows_of, to_dynamic, with_names};
    use crate::functions::calls::count as whole;
    use crate::host::{Returned, raise, refuse};
    use crate::table::{Aggregation, Datum};
    use crate::values::{Table, TableValue, record_map};
    use rhai::{Array, Dynamic, Map};

    /// A table of a list of maps, or of a map of lists (one per column).
    ///
    /// ```rhai
    /// table([#{ method: "full", loss: 3.1 }, #{ method: "streaming", loss: 2.7 }])
    /// ```
    #[rhai_fn(name = "table", return_raw)]
    pub fn table(rows: Dynamic) -> Returned<Table> {
        rows_of(&rows).map(Table::plain)
    }

    /// Rows for which a function says `true`; it gets each row as a map.
    ///
    /// ```rhai
    /// table(#{ n: [1, 2, 3] }).filter(|row| row.n > 1)
    /// ```
    #[rhai_fn(name = "filter", return_raw)]
    pub fn filter(context: NativeCallContext, table: &mut Table, keep: FnPtr) -> Returned<Table> {
        let rows = &table.0.table;
        let mut kept = Vec::new();
        for row in 0..rows.n_rows() {
            let said = keep.call_within_context::<Dynamic>(&context, (row_map(rows, row),));
            let said = said.map_err(|error| with_names(error, "a row", rows.columns()))?;
            let said =
                said.as_bool().map_err(|_| crate::options::wrong("what a filter returns", "true or false", &said))?;
            kept.push(said);
        }
        Ok(table.with(rows.filter_rows(&kept).map_err(raise)?))
    }

    /// Rows by one or several columns, smallest first.
    ///
    /// ```rhai
    /// table(#{ n: [3, 1, 2] }).sort("n")
    /// ```
    #[rhai_fn(name = "sort", return_raw)]
    pub fn sort(table: &mut Table, columns: Dynamic) -> Returned<Table> {
        Ok(table.with(table.0.table.sort(&names(&columns)?, false).map_err(raise)?))
    }

    /// Rows by one or several columns, largest first.
    ///
    /// ```rhai
    /// table(#{ n: [3, 1, 2] }).sort_down("n")[0].n
    /// ```
    #[rhai_fn(name = "sort_down", return_raw)]
    pub fn sort_down(table: &mut Table, columns: Dynamic) -> Returned<Table> {
        Ok(table.with(table.0.table.sort(&names(&columns)?, true).map_err(raise)?))
    }

    /// One row per group of equal cells, with what a map asks for: `count`, `mean`, `sum`, `min`, `max`, `median`, `std`,
    /// `first`, `last`, one or a list per column.
    ///
    /// ```rhai
    /// table(#{ m: ["a", "a", "b"], loss: [1.0, 2.0, 4.0] }).group("m", #{ loss: ["mean", "max"] })
    /// ```
    #[rhai_fn(name = "group", return_raw)]
    pub fn group(table: &mut Table, by: Dynamic, what: Map) -> Returned<Table> {
        let grouped = table.0.table.group(&names(&by)?, &aggregations(&what)?);
        Ok(table.with(grouped.map_err(raise)?))
    }

    /// The mean of every column of numbers, per group of equal cells.
    ///
    /// ```rhai
    /// table(#{ m: ["a", "a", "b"], loss: [1.0, 2.0, 4.0] }).mean("m")
    /// ```
    #[rhai_fn(name = "mean", return_raw)]
    pub fn mean(table: &mut Table, by: Dynamic) -> Returned<Table> {
        Ok(table.with(table.0.table.mean(&names(&by)?).map_err(raise)?))
    }

    /// The mean of one column, over all rows in which it is not empty: a number.
    ///
    /// ```rhai
    /// table(#{ loss: [1.0, 2.0] }).mean_of("loss")
    /// ```
    #[rhai_fn(name = "mean_of", return_raw)]
    pub fn mean_of(table: &mut Table, column: &str) -> Returned<f64> {
        let rows = &table.0.table;
        let numbers = rows.numbers(column).map_err(raise)?;
        let cells = rows.column(column).map_err(raise)?;
        let filled = numbers.iter().zip(&cells).filter(|(_, cell)| !matches!(cell, Datum::Empty));
        let (sum, n) = filled.fold((0.0, 0), |(sum, n), (number, _)| (sum + number, n + 1));
        Ok(sum / f64::from(n))
    }

    /// Rows per group of equal cells, in a column `n`.
    ///
    /// ```rhai
    /// table(#{ m: ["a", "a", "b"] }).count("m")
    /// ```
    #[rhai_fn(name = "count", return_raw)]
    pub fn count(table: &mut Table, by: Dynamic) -> Returned<Table> {
        Ok(table.with(table.0.table.count(&names(&by)?).map_err(raise)?))
    }

    /// One row per cell of `index`, one column per cell of `columns`, the mean of `values` in each place.
    ///
    /// ```rhai
    /// table(#{ g: [4, 4, 8, 8], w: [32, 64, 32, 64], loss: [1.0, 2.0, 3.0, 4.0] }).pivot("g", "w", "loss")
    /// ```
    #[rhai_fn(name = "pivot", return_raw)]
    pub fn pivot(table: &mut Table, index: Dynamic, columns: &str, values: &str) -> Returned<Table> {
        pivot_with(table, index, columns, values, "mean")
    }

    /// The same with another aggregation than the mean.
    ///
    /// ```rhai
    /// table(#{ g: [4, 4], w: [32, 32], loss: [1.0, 2.0] }).pivot("g", "w", "loss", "max")
    /// ```
    #[rhai_fn(name = "pivot", return_raw)]
    pub fn pivot_with(table: &mut Table, index: Dynamic, columns: &str, values: &str, how: &str) -> Returned<Table> {
        let how = Aggregation::parse(how).map_err(raise)?;
        Ok(table.with(table.0.table.pivot(&names(&index)?, columns, values, how).map_err(raise)?))
    }

    /// Only these columns, in this order.
    ///
    /// ```rhai
    /// table(#{ a: [1], b: [2], c: [3] }).select(["c", "a"])
    /// ```
    #[rhai_fn(name = "select", return_raw)]
    pub fn select(table: &mut Table, columns: Dynamic) -> Returned<Table> {
        Ok(table.with(table.0.table.select(&names(&columns)?).map_err(raise)?))
    }

    /// All but these columns.
    ///
    /// ```rhai
    /// table(#{ a: [1], b: [2] }).drop_columns("b")
    /// ```
    #[rhai_fn(name = "drop_columns", return_raw)]
    pub fn drop_columns(table: &mut Table, columns: Dynamic) -> Returned<Table> {
        Ok(table.with(table.0.table.drop(&names(&columns)?).map_err(raise)?))
    }

    /// Other names for columns: a map from old to new.
    ///
    /// ```rhai
    /// table(#{ a: [1] }).rename(#{ a: "tokens" })
    /// ```
    #[rhai_fn(name = "rename", return_raw)]
    pub fn rename(table: &mut Table, new: Map) -> Returned<Table> {
        let pairs: Vec<_> = new.iter().map(|(old, new)| (old.to_string(), new.to_string())).collect();
        Ok(table.with(table.0.table.rename(&pairs).map_err(raise)?))
    }

    /// A new column, or another one in the place of an old: a list with a cell per row, or a function of the row.
    ///
    /// ```rhai
    /// table(#{ loss: [1.0, 2.0] }).with_column("perplexity", |row| exp(row.loss))
    /// ```
    #[rhai_fn(name = "with_column", return_raw)]
    pub fn with_column(context: NativeCallContext, table: &mut Table, name: &str, what: Dynamic) -> Returned<Table> {
        let rows = &table.0.table;
        let list = if let Some(function) = what.clone().try_cast::<FnPtr>() {
            let call = |row| {
                let cell = function.call_within_context::<Dynamic>(&context, (row_map(rows, row),));
                cell.map_err(|error| with_names(error, "a row", rows.columns()))
            };
            (0..rows.n_rows()).map(call).collect::<Returned<Array>>()?
        } else if let Some(list) = what.clone().try_cast::<Array>() {
            list
        } else {
            return Err(crate::options::wrong("the new column", "a list of cells or a function of the row", &what));
        };
        Ok(table.with(rows.with_column(name, cells(&list)).map_err(raise)?))
    }

    /// The first `n` rows.
    ///
    /// ```rhai
    /// table(#{ n: [1, 2, 3] }).head(2)
    /// ```
    #[rhai_fn(name = "head", return_raw)]
    pub fn head(table: &mut Table, n: i64) -> Returned<Table> {
        Ok(table.with(table.0.table.head(whole("rows", n, 0)?)))
    }

    /// The last `n` rows.
    ///
    /// ```rhai
    /// table(#{ n: [1, 2, 3] }).tail(1)[0].n
    /// ```
    #[rhai_fn(name = "tail", return_raw)]
    pub fn tail(table: &mut Table, n: i64) -> Returned<Table> {
        Ok(table.with(table.0.table.tail(whole("rows", n, 0)?)))
    }

    /// The first row of every combination of cells in these columns.
    ///
    /// ```rhai
    /// table(#{ m: ["a", "a", "b"] }).unique("m").len()
    /// ```
    #[rhai_fn(name = "unique", return_raw)]
    pub fn unique(table: &mut Table, columns: Dynamic) -> Returned<Table> {
        Ok(table.with(table.0.table.unique(&names(&columns)?).map_err(raise)?))
    }

    /// Two tables joined where these columns have the same cells.
    ///
    /// ```rhai
    /// table(#{ m: ["a", "b"], x: [1, 2] }).join(table(#{ m: ["b", "a"], y: [3, 4] }), "m")
    /// ```
    #[rhai_fn(name = "join", return_raw)]
    pub fn join(table: &mut Table, other: Table, on: Dynamic) -> Returned<Table> {
        Ok(table.with(table.0.table.join(&other.0.table, &names(&on)?).map_err(raise)?))
    }

    /// One table below another. How they were measured stays known where it is the same for both.
    ///
    /// ```rhai
    /// table(#{ n: [1] }) + table(#{ n: [2] })
    /// ```
    #[rhai_fn(name = "+", pure)]
    pub fn add(table: &mut Table, below: Table) -> Table {
        let (above, below) = (&table.0, &below.0);
        let mut records = Vec::new();
        for record in above.records.iter().chain(&below.records) {
            if !records.contains(record) {
                records.push(record.clone());
            }
        }
        let protocol = if above.protocol == below.protocol { above.protocol.clone() } else { String::new() };
        Table(TableValue { table: above.table.concat(&below.table), figure: None, records, protocol }.into())
    }

    /// Count, mean, spread and quartiles of every column of numbers.
    ///
    /// ```rhai
    /// table(#{ n: [1, 2, 3, 4] }).describe()
    /// ```
    #[rhai_fn(name = "describe", pure)]
    pub fn describe(table: &mut Table) -> Table {
        table.with(table.0.table.describe())
    }

    /// The cells of a column, as a list.
    ///
    /// ```rhai
    /// table(#{ n: [1, 2, 3] }).column("n")
    /// ```
    #[rhai_fn(name = "column", return_raw)]
    pub fn column(table: &mut Table, name: &str) -> Returned<Array> {
        Ok(table.0.table.column(name).map_err(raise)?.iter().map(to_dynamic).collect())
    }

    /// The names of the columns.
    #[rhai_fn(get = "columns", pure)]
    pub fn columns(table: &mut Table) -> Array {
        table.0.table.columns().iter().map(|name| name.clone().into()).collect()
    }

    /// How many rows a table has.
    ///
    /// ```rhai
    /// table(#{ n: [1, 2, 3] }).len()
    /// ```
    #[rhai_fn(name = "len", pure)]
    pub fn len(table: &mut Table) -> i64 {
        table.0.table.n_rows() as i64
    }

    /// All rows, as a list of maps.
    ///
    /// ```rhai
    /// table(#{ n: [1, 2] }).rows()
    /// ```
    #[rhai_fn(name = "rows", pure)]
    pub fn rows(table: &mut Table) -> Array {
        (0..table.0.table.n_rows()).map(|row| row_map(&table.0.table, row).into()).collect()
    }

    /// A row by its number, as a map; negative numbers count from the end.
    #[rhai_fn(index_get, return_raw)]
    pub fn row(table: &mut Table, row: i64) -> Returned<Map> {
        let n_rows = table.0.table.n_rows();
        if n_rows == 0 {
            return refuse("the table has no rows", "check what was filtered out");
        }
        let at = if row < 0 { row.saturating_add(n_rows as i64) } else { row };
        match usize::try_from(at).ok().filter(|at| *at < n_rows) {
            Some(at) => Ok(row_map(&table.0.table, at)),
            None => refuse(
                format!("row {row} does not exist"),
                format!("they go from {} to {}", -(n_rows as i64), n_rows - 1),
            ),
        }
    }

    /// A column by its name, as a list.
    #[rhai_fn(index_get, return_raw)]
    pub fn cells_of(table: &mut Table, name: &str) -> Returned<Array> {
        column(table, name)
    }

    /// The same table without its picture.
    ///
    /// ```rhai
    /// passkey(#{ lengths: [200], depths: [0.5] }).plain()
    /// ```
    #[rhai_fn(name = "plain", pure)]
    pub fn plain(table: &mut Table) -> Table {
        table.with(table.0.table.clone())
    }

    /// What ran to fill a table: one map per run, with model, method, RoPE scaling, number format, kernel path, mode, version.
    #[rhai_fn(get = "records", pure)]
    pub fn records(table: &mut Table) -> Array {
        table.0.records.iter().map(|record| record_map(record).into()).collect()
    }

    /// How a table was measured.
    #[rhai_fn(get = "protocol", pure)]
    pub fn protocol(table: &mut Table) -> String {
        table.0.protocol.clone()
    }

    /// A table as CSV text.
    ///
    /// ```rhai
    /// table(#{ n: [1, 2] }).to_csv()
    /// ```
    #[rhai_fn(name = "to_csv", return_raw)]
    pub fn to_csv(table: &mut Table) -> Returned<String> {
        Ok(String::from_utf8_lossy(&table.0.table.to_csv().map_err(raise)?).into_owned())
    }

    /// A table as JSON text: a list of objects.
    ///
    /// ```rhai
    /// table(#{ n: [1, 2] }).to_json()
    /// ```
    #[rhai_fn(name = "to_json", pure)]
    pub fn to_json(table: &mut Table) -> String {
        String::from_utf8_lossy(&table.0.table.to_json()).into_owned()
    }
}

/// Lets `for row in table` go through the rows.
pub fn iterate(engine: &mut Engine) {
    engine.register_iterator::<Table>();
}

impl IntoIterator for Table {
    type Item = Dynamic;
    type IntoIter = std::vec::IntoIter<Dynamic>;

    fn into_iter(self) -> Self::IntoIter {
        let rows: Vec<Dynamic> =
            (0..self.0.table.n_rows()).map(|row| Dynamic::from_map(convert::row_map(&self.0.table, row))).collect();
        rows.into_iter()
    }
}
