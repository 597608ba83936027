//! Sweeps: a function over a grid or a list of settings, one row each, resumed where it was interrupted.

use std::rc::Rc;
use std::time::Instant;

use longlens_core::lens::{Control, LensError};
use longlens_core::trace::RunRecord;
use rhai::plugin::*;
use rhai::{Array, Dynamic, FnPtr, Map, NativeCallContext};
use serde_json::{Value, json};

use self::journal::Journal;
use crate::functions::table::{to_datum, with_names};
use crate::host::{Host, Part, Returned, host, raise, refuse};
use crate::options::Options;
use crate::table::{Datum, Table as Rows};
use crate::values::{Run, Table, TableValue};
use crate::values::{fingerprint, size};

mod journal;

#[export_module]
#[allow(clippy::needless_pass_by_value)] // the macro hands values over
pub mod functions {
    /// Runs a function for every combination of the lists in a map, or for every map of a list, and makes a table of what it
    /// returns: a number, a map, a run, or a table. Interrupted, it goes on where it was when the same sweep is run again.
    /// Every row starts on the model that is open now. Files that the function reads do not count: after they change, say
    /// `fresh: true`.
    ///
    /// ```rhai
    /// sweep(#{ group_size: [4, 8], neighbor_window: [32, 64] }, |p| {
    ///     run(needle(400, 0.5), self_extend(p)).loss
    /// })
    /// ```
    #[rhai_fn(name = "sweep", return_raw)]
    pub fn sweep(context: NativeCallContext, grid: Dynamic, each: FnPtr) -> Returned<Table> {
        super::sweep(&context, grid, &each, Map::new())
    }

    /// The same with options: `file` keeps finished rows in a file, so that another session goes on too; `label` names the
    /// sweep in progress lines; `fresh: true` computes every row again, and the first new one takes the place of all old ones.
    ///
    /// ```rhai
    /// sweep([#{ depth: 0.0 }, #{ depth: 1.0 }], |p| #{ loss: run(needle(300, p.depth), full()).loss }, #{ file: "sweep.jsonl" })
    /// ```
    #[rhai_fn(name = "sweep", return_raw)]
    pub fn sweep_with(context: NativeCallContext, grid: Dynamic, each: FnPtr, options: Map) -> Returned<Table> {
        super::sweep(&context, grid, &each, options)
    }

    /// Every combination of the lists in a map, as a list of maps: what `sweep` goes through.
    ///
    /// ```rhai
    /// grid(#{ a: [1, 2], b: ["x", "y"] }).len()
    /// ```
    #[rhai_fn(name = "grid", return_raw)]
    pub fn grid(map: Map) -> Returned<Array> {
        Ok(super::combinations(&map)?.into_iter().map(Dynamic::from_map).collect())
    }
}

/// A sweep refuses to be longer.
const MAX_ROWS: usize = 100_000;

fn sweep(context: &NativeCallContext, grid: Dynamic, each: &FnPtr, options: Map) -> Returned<Table> {
    let host = host(context);
    let mut options = Options::new("sweep", options, &["file", "label", "fresh"])?;
    let label = options.text("label")?.unwrap_or_else(|| "sweep".into());
    let fresh = options.flag("fresh")?.unwrap_or(false);
    let file = options.text("file")?;
    let points = points(grid)?;
    // keys, rows and lines of the file each have the values in words
    let n_bytes = points.iter().flat_map(Map::values).map(size::in_words).sum::<u64>();
    host.room_for(6 * n_bytes)?;
    let keys = keys(context, &host, each, &points);
    let mut journal = Journal::open(&host, file.as_deref(), &keys, fresh)?;
    let earlier = host.take_records();
    let mut records = Vec::new();
    let parts = go_through(context, each, &label, points.iter().zip(&keys).collect(), &mut journal, &mut records);
    // also after an error: what ran before and what ran here is not forgotten
    for record in earlier.iter().chain(&records) {
        host.ran(record);
    }
    let table = Rows::concat_all(parts?.iter().map(|part| &part.rows));
    Ok(Table(TableValue { table, records, ..TableValue::default() }.into()))
}

/// What tells the rows of each point from all others.
fn keys(context: &NativeCallContext, host: &Host, each: &FnPtr, points: &[Map]) -> Vec<String> {
    let model = host.model().ok().map(|model| fingerprint::model(&model));
    let of_sweep = json!([model, fingerprint::function(context, each)]);
    let key = |point: &Map| {
        let of_point: Value =
            point.iter().map(|(name, value)| (name.to_string(), fingerprint::value(context, value))).collect();
        json!([of_sweep, of_point, env!("CARGO_PKG_VERSION")]).to_string()
    };
    points.iter().map(key).collect()
}

/// The parts of all points, each with its key; what ran to fill them goes to `records`, as far as it came.
fn go_through(
    context: &NativeCallContext,
    each: &FnPtr,
    label: &str,
    points: Vec<(&Map, &String)>,
    journal: &mut Journal,
    records: &mut Vec<RunRecord>,
) -> Returned<Vec<Rc<Part>>> {
    let host = host(context);
    // every row starts on the model that was open, whichever one the row before it opened
    let model = host.model().ok();
    let (mut work, started) = (host.work(label), Instant::now());
    let (n_points, mut n_before) = (points.len(), 0);
    let mut parts = Vec::with_capacity(n_points);
    for (at, (point, key)) in points.into_iter().enumerate() {
        if work.cancelled() {
            host.advise(format!("{at} of {n_points} points are kept: run the same sweep again to go on"));
            return Err(raise(LensError::Cancelled));
        }
        work.progress(at, n_points);
        if let Some(part) = journal.find(key)? {
            add_new(records, &part.records);
            parts.push(part);
            n_before += 1;
            continue;
        }
        let part = host.part(label, (at, n_points, n_before), started);
        let value = each.call_within_context::<Dynamic>(context, (point.clone(),));
        drop(part);
        if let Some(model) = &model {
            host.select(model);
        }
        let ran = host.take_records();
        add_new(records, &ran);
        let names: Vec<String> = point.keys().map(ToString::to_string).collect();
        let value = value.map_err(|error| {
            let settings = crate::values::text(&Dynamic::from_map(point.clone()));
            host.advise(format!("at point {} of {n_points}, {settings}; finished points are kept", at + 1));
            with_names(error, "a setting", &names)
        })?;
        let part = Rc::new(Part { rows: table_of(point, &value)?, records: ran });
        journal.keep(key, &part)?;
        parts.push(part);
    }
    work.progress(n_points, n_points);
    Ok(parts)
}

fn add_new(records: &mut Vec<RunRecord>, more: &[RunRecord]) {
    for record in more {
        if !records.contains(record) {
            records.push(record.clone());
        }
    }
}

/// The settings to go through.
fn points(grid: Dynamic) -> Returned<Vec<Map>> {
    let came = grid.clone();
    if let Some(map) = grid.clone().try_cast::<Map>() {
        return combinations(&map);
    }
    let Some(list) = grid.try_cast::<Array>() else {
        return Err(crate::options::wrong("what `sweep` goes through", "a map of lists, or a list of maps", &came));
    };
    let point = |value: &Dynamic| {
        let map = value.flatten_clone().try_cast::<Map>();
        map.ok_or_else(|| crate::options::wrong("every entry of the list", "a map of settings", value))
    };
    list.iter().map(point).collect()
}

/// Every combination of the lists in a map; the last name changes fastest.
fn combinations(map: &Map) -> Returned<Vec<Map>> {
    let mut points = vec![Map::new()];
    for (name, values) in map {
        let values = values.flatten_clone();
        let values = values.clone().try_cast::<Array>().unwrap_or_else(|| vec![values]);
        if values.is_empty() {
            return refuse(format!("`{name}` has no values to go through"), "give at least one");
        }
        if points.len().saturating_mul(values.len()) > MAX_ROWS {
            return refuse(format!("this grid has more than {MAX_ROWS} points"), "go through parts of it");
        }
        points = points
            .iter()
            .flat_map(|point| {
                values.iter().map(move |value| {
                    let mut point = point.clone();
                    point.insert(name.clone(), value.flatten_clone());
                    point
                })
            })
            .collect();
    }
    Ok(points)
}

/// The rows of one point: its settings, then what the function returned.
fn table_of(point: &Map, value: &Dynamic) -> Returned<Rows> {
    let settings: Vec<(String, Datum)> =
        point.iter().map(|(name, value)| (name.to_string(), to_datum(value))).collect();
    let with = |more: Vec<(String, Datum)>| {
        let mut row = settings.clone();
        row.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
        row.extend(more);
        row
    };
    let value = value.flatten_clone();
    if let Some(table) = value.clone().try_cast::<Table>() {
        let table = &table.0.table;
        let named = |row: &Vec<Datum>| with(table.columns().iter().cloned().zip(row.iter().cloned()).collect());
        return Ok(Rows::from_records(table.rows().iter().map(named)));
    }
    if let Some(run) = value.clone().try_cast::<Run>() {
        let kept = &run.0.kept;
        let real = |value: Option<f64>| value.map_or(Datum::Empty, Datum::Real);
        let mut row = vec![
            ("method".to_owned(), Datum::Text(kept.record.method.clone())),
            ("loss".to_owned(), real(kept.mean_nll)),
            ("perplexity".to_owned(), real(run.perplexity())),
        ];
        if kept.nll_from > 1 {
            // beside runs that computed every token, nobody takes it for a loss of the same
            row.push(("loss_tokens".to_owned(), Datum::Int(kept.mean_from(0).1 as i64)));
        }
        if let Some(found) = kept.found {
            row.push(("found".to_owned(), Datum::Bool(found)));
        }
        return Ok(Rows::from_records([with(row)]));
    }
    if let Some(map) = value.clone().try_cast::<Map>() {
        let row = map.iter().map(|(name, value)| (name.to_string(), to_datum(value))).collect();
        return Ok(Rows::from_records([with(row)]));
    }
    if value.is_array() {
        return refuse("the function of a sweep returned a list", "return a number, a map, a run or a table");
    }
    Ok(Rows::from_records([with(vec![("value".to_owned(), to_datum(&value))])]))
}
