//! The report of finished samples: tables with intervals and differences between methods, curves, heat maps, attention to the evidence,
//! published numbers beside ours, and every sample, in one file that fetches nothing.
//!
//! Everything is counted here and once; the page's script shows numbers and chooses among them. Read [`tables()`] first, which is the
//! same summary for other faces.

use std::path::Path;

use longlens_eval::evaluate::Record;
use longlens_eval::tasks::needle::colours;
use longlens_plot::color::Palette;
use longlens_plot::page::{Document, SHARED, STYLE, TOOLS};
use serde_json::{Map, Value, json};

use crate::distinct::distinct;

mod beside;
mod families;
mod grids;
mod heads;
mod origin;
mod samples;
mod subjects;
mod tables;
#[cfg(test)]
mod tests;

pub use beside::{Beside, beside};
pub use grids::{Grid, GridCell, Positions, grids, positions};
pub use heads::{Attention, TopHead, attention};
pub use origin::{Origin, Totals, origins, sweep_file, totals};
pub use subjects::{Subject, subject, subjects, subjects_of_rows};
pub use tables::{Against, Column, Scores, Table, Tables, tables};

/// What a report is made of.
pub struct Report<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Finished samples.
    pub records: &'a [Record],
    /// `light` or `dark`; what the reader's system prefers without one.
    pub theme: Option<&'a str>,
}

const SCRIPTS: &[&str] = &[
    TOOLS,
    SHARED,
    include_str!("report/page/state.js"),
    include_str!("report/page/scores.js"),
    include_str!("report/page/charts.js"),
    include_str!("report/page/attention.js"),
    include_str!("report/page/samples.js"),
    include_str!("report/page/page.js"),
];
const STYLES: &[&str] = &[STYLE, include_str!("report/page/report.css")];

/// Colours of a palette that the script mixes between.
const STOPS: usize = 33;

impl Report<'_> {
    /// The text of the file; the same samples give the same bytes.
    pub fn html(&self) -> String {
        let title = format!("{} · longlens report", self.name);
        let without_script = "This report draws itself with a script. The samples that it shows are JSON lines in the folder that it \
                              was made from.";
        let data = self.data();
        Document { title: &title, without_script, styles: STYLES, scripts: SCRIPTS, data: &data }.html()
    }

    /// What the script reads.
    fn data(&self) -> Map<String, Value> {
        let records = self.records;
        let tables = tables(records);
        let palette = |palette: Palette| -> Vec<[u8; 3]> {
            let at = |step: usize| palette.at(step as f64 / (STOPS - 1) as f64);
            (0..STOPS).map(at).map(|color| [color.0, color.1, color.2]).collect()
        };
        let data = json!({
            "name": self.name,
            "theme": self.theme,
            "version": env!("CARGO_PKG_VERSION"),
            "totals": totals(records),
            "sweep": sweep_file(self.name, records),
            "subjects": tables.subjects,
            "tasks": tables.tasks,
            "families": tables.families,
            "grids": grids(records, &tables),
            "positions": positions(records, &tables),
            "heads": heads::packed(&attention(records, &tables)),
            "beside": beside(records, &tables),
            "origins": origins(records),
            "looks": {
                "viridis": { "stops": palette(Palette::Viridis), "most": 100 },
                "needle": { "stops": palette(Palette::RedYellowGreen), "most": 100.0 * colours::DATA_ENGINEERING },
                "chunk_llama": {
                    "stops": palette(Palette::RedYellowGreen), "most": 100.0 * colours::CHUNK_LLAMA,
                    "lengths": colours::columns(&distinct(records.iter().filter_map(|record| record.length))),
                },
            },
            "samples": samples::columns(records, &tables),
        });
        let Value::Object(data) = data else { unreachable!("an object was written") };
        data
    }
}

/// The name of the report of a folder: of the sweep that it belongs to, else of the folder.
pub fn name_of(folder: &Path) -> String {
    let sweep = crate::results::belongs_to(folder).ok().flatten();
    let own = || folder.canonicalize().ok()?.file_name().map(|name| name.to_string_lossy().into_owned());
    sweep.or_else(own).unwrap_or_else(|| "results".to_owned())
}
