//! Values of the language as rows, cells and names of columns, and back.

use longlens_core::nearest::nearest;
use rhai::{Array, Dynamic, EvalAltResult, Map};

use crate::host::{Returned, raise, refuse};
use crate::options::{each, wrong};
use crate::running::room_for;
use crate::table::{Datum, Table as Rows, TableError};
use crate::values::{self, Table, size};
use longlens_app::Problem;

/// Rows from a list of maps, a map of lists, or a table.
pub fn rows_of(value: &Dynamic) -> Returned<Rows> {
    let value = value.flatten_clone();
    if let Some(table) = value.clone().try_cast::<Table>() {
        return Ok(table.0.table.clone());
    }
    // cells have texts of their own, where values share them
    room_for(2 * size::written(&value)).map_err(|stopped| raise(TableError::from(stopped)))?;
    if let Some(map) = value.clone().try_cast::<Map>() {
        return columns_of(&map);
    }
    let Some(list) = value.clone().try_cast::<Array>() else {
        return Err(wrong("what a table is made of", "a list of maps, or a map of lists", &value));
    };
    let records = list.iter().map(|row| {
        let row = row.flatten_clone();
        let map = row.clone().try_cast::<Map>().ok_or_else(|| wrong("every row of a table", "a map", &row))?;
        Ok(map.iter().map(|(name, cell)| (name.to_string(), to_datum(cell))).collect::<Vec<_>>())
    });
    Rows::from_foreign(records.collect::<Returned<Vec<_>>>()?).map_err(raise)
}

/// Rows from a list of cells per column.
fn columns_of(map: &Map) -> Returned<Rows> {
    let list = |(name, list): (&rhai::Identifier, &Dynamic)| {
        let list = list.flatten_clone();
        list.clone().try_cast::<Array>().ok_or_else(|| wrong(&format!("column `{name}`"), "a list of cells", &list))
    };
    let lists = map.iter().map(list).collect::<Returned<Vec<Array>>>()?;
    let n_rows = lists.first().map_or(0, Vec::len);
    if lists.iter().any(|list| list.len() != n_rows) {
        let lengths = map.keys().zip(&lists).map(|(name, list)| format!("`{name}` has {}", list.len()));
        let lengths = lengths.collect::<Vec<_>>().join(", ");
        return refuse(format!("the columns are not equally long: {lengths}"), "give every column a cell per row");
    }
    let rows = (0..n_rows).map(|row| lists.iter().map(|list| to_datum(&list[row])).collect());
    Rows::new(map.keys().map(ToString::to_string).collect(), rows.collect()).map_err(raise)
}

/// An error of a function that was given a map: where it asks for a name that is not there, it says which ones are.
pub fn with_names(mut error: Box<EvalAltResult>, what: &str, names: &[String]) -> Box<EvalAltResult> {
    let mut inner = &mut *error;
    while let EvalAltResult::ErrorInFunctionCall(_, _, next, _) = inner {
        inner = next;
    }
    if let EvalAltResult::ErrorPropertyNotFound(name, position) = inner
        && !names.contains(name)
    {
        let help = match nearest(name, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("{what} has: {}", names.join(", ")),
        };
        let problem = Problem::new(format!("there is no `{name}` in this map"), help);
        *inner = EvalAltResult::ErrorRuntime(Dynamic::from(problem), *position);
    }
    error
}

/// A value as a cell.
pub fn to_datum(value: &Dynamic) -> Datum {
    let value = value.flatten_clone();
    if value.is_unit() {
        return Datum::Empty;
    }
    if let Ok(flag) = value.as_bool() {
        return Datum::Bool(flag);
    }
    if let Ok(whole) = value.as_int() {
        return Datum::Int(whole);
    }
    if let Ok(real) = value.as_float() {
        return Datum::Real(real);
    }
    Datum::Text(values::whole_text(&value))
}

/// A cell as a value.
pub fn to_dynamic(cell: &Datum) -> Dynamic {
    match cell {
        Datum::Empty => Dynamic::UNIT,
        Datum::Bool(flag) => (*flag).into(),
        Datum::Int(whole) => (*whole).into(),
        Datum::Real(real) => (*real).into(),
        Datum::Text(text) => text.clone().into(),
    }
}

/// A list as cells.
pub fn cells(list: &Array) -> Vec<Datum> {
    list.iter().map(to_datum).collect()
}

/// A row as a map.
pub fn row_map(table: &Rows, row: usize) -> Map {
    let cells = table.rows()[row].iter().map(to_dynamic);
    table.columns().iter().map(|name| name.as_str().into()).zip(cells).collect()
}

/// One name or a list of names.
pub fn names(value: &Dynamic) -> Returned<Vec<String>> {
    let names = each(&value.flatten_clone(), |name| name.clone().into_string().ok());
    names.ok_or_else(|| wrong("the columns", "a name or a list of names", value))
}

/// What `group` computes, from a map of column to aggregation.
pub fn aggregations(what: &Map) -> Returned<Vec<crate::table::Summary>> {
    let mut summaries = Vec::new();
    for (column, how) in what {
        let list = each(&how.flatten_clone(), |name| name.clone().into_string().ok());
        let list =
            list.ok_or_else(|| wrong(&format!("what is asked of `{column}`"), "a text or a list of them", how))?;
        for name in list {
            let aggregation = crate::table::Aggregation::parse(&name).map_err(raise)?;
            summaries.push(crate::table::Summary::new(column.as_str(), aggregation));
        }
    }
    Ok(summaries)
}
