//! Sweeps: a function over a grid or a list of settings, one row each, resumed where it was interrupted.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use longlens_core::lens::{Control, LensError};
use rhai::plugin::*;
use rhai::{Array, Dynamic, FnPtr, Map, NativeCallContext};
use serde_json::{Value, json};

use crate::desk::{Desk, Returned, desk, raise, refuse};
use crate::functions::table::{to_datum, with_names};
use crate::options::Options;
use crate::table::{Datum, Table as Rows};
use crate::values::{Run, Table, TableValue};
use longlens_workbench::Trouble;

mod fingerprint;

#[export_module]
#[allow(clippy::needless_pass_by_value)] // the macro hands values over
pub mod functions {
    /// Runs a function for every combination of the lists in a map, or for every map of a list, and makes a table of what it
    /// returns: a number, a map, a run, or a table. Interrupted, it goes on where it was when the same sweep is run again.
    /// Every row starts on the model that is open now.
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
    /// sweep in progress lines; `fresh: true` computes every row again.
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
    let desk = desk(context);
    let mut options = Options::new("sweep", options, &["file", "label", "fresh"])?;
    let label = options.text("label")?.unwrap_or_else(|| "sweep".into());
    let fresh = options.flag("fresh")?.unwrap_or(false);
    let file = options.text("file")?.map(|name| desk.path(&name)).transpose()?;
    let points = points(grid)?;
    // every row starts on the model that was open, whichever one the row before it opened
    let model = desk.model().ok();
    let of_sweep =
        json!([model.as_ref().map(|model| fingerprint::model(&model.info)), fingerprint::function(context, each)]);
    let earlier = desk.take_records();
    let kept = Kept::open(&desk, file, fresh)?;
    let mut work = desk.work(label.as_str());
    let mut rows = Rows::empty();
    for (at, point) in points.iter().enumerate() {
        if work.cancelled() {
            return Err(raise(LensError::Cancelled));
        }
        work.progress(at, points.len());
        let of_point: Value =
            point.iter().map(|(name, value)| (name.to_string(), fingerprint::value(context, value))).collect();
        let key = json!([of_sweep, of_point, env!("CARGO_PKG_VERSION")]).to_string();
        let part = if let Some(part) = kept.find(&key) {
            part
        } else {
            let value = each.call_within_context::<Dynamic>(context, (point.clone(),));
            if let Some(model) = &model {
                desk.select(model);
            }
            let names: Vec<String> = point.keys().map(ToString::to_string).collect();
            let value = value.map_err(|error| with_names(error, "a setting", &names))?;
            let part = table_of(point, &value)?;
            kept.keep(&key, &part)?;
            part
        };
        rows = rows.concat(&part);
    }
    work.progress(points.len(), points.len());
    drop(work);
    let records = desk.take_records();
    for record in earlier.iter().chain(&records) {
        desk.ran(record);
    }
    Ok(Table(TableValue { table: rows, records, ..TableValue::default() }.into()))
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

/// Finished rows, in the session and, if asked for, in a file with one line each.
struct Kept<'a> {
    desk: &'a Desk,
    file: Option<PathBuf>,
    fresh: bool,
}

impl<'a> Kept<'a> {
    fn open(desk: &'a Desk, file: Option<PathBuf>, fresh: bool) -> Returned<Self> {
        if let Some(path) = file.as_ref().filter(|path| path.exists() && !fresh) {
            let text = std::fs::read(path).map_err(|error| unusable("read", path, &error))?;
            for line in String::from_utf8_lossy(&text).lines() {
                // a line that a kill cut short is computed again
                let Ok(line) = serde_json::from_str::<serde_json::Value>(line) else { continue };
                let rows = line.get("rows").and_then(|rows| Rows::from_json(rows.to_string().as_bytes()).ok());
                if let (Some(key), Some(rows)) = (line["key"].as_str(), rows) {
                    desk.rows.borrow_mut().insert(key.to_owned(), rows);
                }
            }
        }
        if let Some(path) = file.as_ref().filter(|path| fresh && path.exists()) {
            std::fs::remove_file(path).map_err(|error| unusable("start", path, &error))?;
        }
        Ok(Self { desk, file, fresh })
    }

    /// The rows of a point that was finished before.
    fn find(&self, key: &str) -> Option<Rows> {
        self.desk.rows.borrow().get(key).filter(|_| !self.fresh).cloned()
    }

    fn keep(&self, key: &str, part: &Rows) -> Returned<()> {
        self.desk.rows.borrow_mut().insert(key.to_owned(), part.clone());
        let Some(path) = &self.file else { return Ok(()) };
        let rows: serde_json::Value = serde_json::from_slice(&part.to_json()).unwrap_or_default();
        let line = json!({ "key": key, "rows": rows });
        let write = || -> std::io::Result<()> {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            let mut file = std::fs::OpenOptions::new().create(true).read(true).append(true).open(path)?;
            // below a line that a kill cut short
            let mut last = [b'\n'];
            if file.seek(SeekFrom::End(-1)).is_ok() {
                file.read_exact(&mut last)?;
            }
            let start = if last == *b"\n" { "" } else { "\n" };
            file.write_all(format!("{start}{line}\n").as_bytes())?;
            file.sync_data()
        };
        write().map_err(|error| unusable("write", path, &error))
    }
}

fn unusable(doing: &str, path: &Path, error: &std::io::Error) -> Box<rhai::EvalAltResult> {
    raise(Trouble::new(
        format!("cannot {doing} {}: {error}", path.display()),
        "choose a file that you may read and write; finished rows are kept in the session".to_owned(),
    ))
}
