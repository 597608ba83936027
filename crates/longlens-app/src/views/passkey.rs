//! Pass key grids: how many of the hidden keys each method finds, by length and depth.

use longlens_core::brief;
use longlens_core::spec::ModelSpec;
use longlens_core::trace::RunRecord;
use longlens_eval::passkey::{Cell as Measured, PasskeyReport};
use longlens_plot::Heading;
use longlens_plot::color::Palette;
use longlens_plot::plots::{NeedleCell, NeedleGrid, NeedleMeasure, NeedlePanel};
use serde_json::json;

use super::{Plot, Table};
use crate::npz::Array;

/// The grids of some methods, at least one cell in all. A grid that was interrupted says so.
pub fn passkey(reports: &[PasskeyReport], spec: &ModelSpec, palette: Palette) -> Plot {
    let title = match reports {
        [report] => brief::name(&report.run.method, spec.trained_context),
        _ => format!("{} methods", reports.len()),
    };
    let Some(first) = reports.first() else { return grids(&[], Heading::default(), spec, palette) };
    let interrupted = if reports.iter().all(|report| report.complete) { "" } else { " · interrupted" };
    let (run, protocol) = (&first.run, &first.protocol);
    let subtitle = format!("{} · {} · {} · {protocol}{interrupted}", run.model, run.rope_text(), run.dtype);
    let panels: Vec<_> = reports.iter().map(|report| (report.run.method.clone(), &report.cells[..])).collect();
    Plot { text: protocol.clone(), ..grids(&panels, Heading { title, subtitle }, spec, palette) }
}

/// The same of cells under the names of their methods. Arrays: `accuracy[method, depth, length]` (NaN where nothing was
/// measured), `n_trials` of the same shape, `lengths`, `depths`.
pub fn grids(panels: &[(String, &[Measured])], heading: Heading, spec: &ModelSpec, palette: Palette) -> Plot {
    let cells = || panels.iter().flat_map(|(_, cells)| cells.iter());
    let mut lengths: Vec<_> = cells().map(|cell| cell.length).collect();
    let mut depths: Vec<_> = cells().map(|cell| cell.depth).collect();
    lengths.sort_unstable();
    lengths.dedup();
    depths.sort_by(f64::total_cmp);
    depths.dedup();
    let place = |cells: &[Measured], depth: f64, length: usize| {
        let found = cells.iter().find(|cell| cell.length == length && cell.depth.total_cmp(&depth).is_eq())?;
        Some(NeedleCell { accuracy: found.accuracy(), n_trials: found.n_trials })
    };
    let names: Vec<_> = panels.iter().map(|(name, _)| name).collect();
    let short = brief::names(&names, spec.trained_context);
    let panel = |(name, (_, cells)): (String, &(String, &[Measured]))| {
        let places = depths.iter().flat_map(|depth| lengths.iter().map(|length| place(cells, *depth, *length)));
        NeedlePanel { name, cells: places.collect() }
    };
    let drawn: Vec<NeedlePanel> = short.into_iter().zip(panels).map(panel).collect();
    let all = || drawn.iter().flat_map(|panel| &panel.cells);
    let shape = [drawn.len(), depths.len(), lengths.len()];
    let accuracy = all().map(|cell| cell.map_or(f32::NAN, |cell| cell.accuracy as f32)).collect();
    let arrays = vec![
        Array::new("accuracy", &shape, accuracy),
        Array::new("n_trials", &shape, all().map(|cell| cell.map_or(0.0, |cell| cell.n_trials as f32)).collect()),
        Array::list("lengths", lengths.iter().map(|length| *length as f32).collect()),
        Array::list("depths", depths.iter().map(|depth| *depth as f32).collect()),
    ];
    let about = json!({ "view": "passkey", "methods": names, "run": cells().next().map(|cell| &cell.run) });
    let rows: Vec<_> = panels.iter().map(|(name, cells)| (name.clone(), cells.to_vec())).collect();
    let mut records: Vec<RunRecord> = Vec::new();
    for cell in cells() {
        if !records.contains(&cell.run) {
            records.push(cell.run.clone());
        }
    }
    let n_rows = cells().count();
    let table = move || {
        let mut table = Table::new(&[
            ("method", ""),
            ("length", "tokens"),
            ("depth", "share"),
            ("trials", ""),
            ("found", ""),
            ("accuracy", "share"),
            ("low", "share"),
            ("high", "share"),
        ]);
        for (name, cell) in rows.iter().flat_map(|(name, cells)| cells.iter().map(move |cell| (name, cell))) {
            let (low, high) = cell.wilson95;
            table.push(vec![
                name.as_str().into(),
                cell.length.into(),
                cell.depth.into(),
                cell.n_trials.into(),
                cell.hits_tokens.into(),
                cell.accuracy().into(),
                low.into(),
                high.into(),
            ]);
        }
        table
    };
    let text = heading.title.clone();
    let figure = NeedleGrid {
        heading,
        trained_context: spec.trained_context,
        lengths,
        depths,
        panels: drawn,
        palette,
        measure: NeedleMeasure::Found,
    };
    let about = about.as_object().cloned().unwrap_or_default();
    Plot { about, records, ..Plot::new(text, figure).with(arrays, n_rows, table) }
}
