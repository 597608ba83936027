//! Scores of evaluated tasks, drawn by what varies among the samples: depths and lengths, lengths alone, or tasks.

use std::collections::{BTreeMap, BTreeSet};

use longlens_core::trace::{RunRecord, rope_text};
use longlens_eval::evaluate::{Record, Row, Summary, once_each, summarize};
use longlens_eval::tasks::TASKS;
use longlens_plot::color::Palette;
use longlens_plot::plots::{
    Axis, HeatMap, HeatScale, Kind, LinePlot, LinePoint, LineSeries, NeedleCell, NeedleGrid, NeedleMeasure,
    NeedlePanel, Reference, Scale,
};
use longlens_plot::scene::Scene;
use longlens_plot::{Figure, Heading, PlotError};
use serde_json::json;

use super::{Plot, Table};
use crate::distinct::distinct;
use crate::npz::Array;
use crate::report::{Subject, subjects};

/// Scores of one task under one subject: a row for every depth, or for every part of the task, a column for every length.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ScoreGrid {
    /// From the top: depths ascending, or parts; one for all samples where the task has neither.
    pub rows: Vec<GridRow>,
    /// Target tokens, ascending; one `None` where the task has no lengths.
    pub lengths: Vec<Option<usize>>,
    /// Row-major `[n_rows, n_lengths]`; nothing where no sample is finished.
    pub cells: Vec<Option<ScoreCell>>,
}

/// What a row of a grid is of.
#[derive(Debug, Clone, PartialEq)]
pub enum GridRow {
    /// Samples whose evidence stands at this depth, 0 to 1.
    Depth(f64),
    /// Samples of a part of the task.
    Part(String),
    /// All samples.
    All,
}

/// The score of some samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreCell {
    /// In per cent of perfect answers, or perplexity.
    pub score: f64,
    /// Samples that were scored.
    pub n: usize,
    /// Whether it is a perplexity.
    pub is_loss: bool,
}

/// Pictures of finished samples, which are all of one model or of several: heat maps by length and depth where one task has both, a line
/// for every method over several lengths, bars of one length, and a map of tasks by methods where there are several tasks. The table has
/// a row for each task, length, part and method, and below those of a task with a heat map by depth a row for each depth. `None` where
/// there are no samples.
///
/// Arrays: `score[row]`, `low[row]`, `high[row]`, `depth[row]` and `n[row]`, in the order of the table.
pub fn scores(records: &[Record], palette: Palette) -> Option<Plot> {
    let first = records.first()?;
    let subjects = subjects(records);
    let rows = rows(records, &subjects);
    let settings = distinct(rows.iter().map(|(_, row)| row.setting.clone()));
    let title = match &settings[..] {
        [one] => one.clone(),
        several => format!("{} tasks", several.len()),
    };
    let heading = Heading { title: title.clone(), subtitle: subtitle(&first.run, &subjects) };
    let drawn = Drawn { rows: &rows, subjects: &subjects, heading, trained_context: first.run.trained_context };
    let text = text(&title, &rows, &subjects);
    let mut listed: Vec<Listed> = rows.iter().map(|(_, row)| Listed { row: row.clone(), depth: None }).collect();
    let plot = match grids(records, &subjects).filter(|_| settings.len() == 1) {
        Some(grids) => {
            listed = with_depths(records, &subjects, &rows);
            Plot::new(text, drawn.depths(&grids, palette))
        }
        None if rows.iter().all(|(_, row)| row.n == 0) => Plot::new(text, Nothing),
        None if settings.len() > 1 && rows.iter().any(|(_, row)| !is_loss(row)) => {
            Plot::new(text, drawn.map(&settings))
        }
        None if drawn.lengths().len() > 1 => Plot::new(text, drawn.lines(&settings)),
        None => Plot::new(text, drawn.bars(&settings)),
    };
    let list =
        |name: &str, of: &dyn Fn(&Listed) -> f64| Array::list(name, listed.iter().map(|one| of(one) as f32).collect());
    let arrays = vec![
        list("score", &|one| one.row.score),
        list("low", &|one| one.row.interval.0),
        list("high", &|one| one.row.interval.1),
        list("depth", &|one| one.depth.unwrap_or(f64::NAN)),
        list("n", &|one| one.row.n as f64),
    ];
    let records = distinct(records.iter().map(|record| RunRecord { n_prompt: 0, ..record.run.clone() }));
    let about = json!({ "view": "scores", "tasks": settings, "runs": records });
    let about = about.as_object().cloned().unwrap_or_default();
    let n_rows = listed.len();
    let table = move || table(&listed);
    Some(Plot { about, records, ..plot }.with(arrays, n_rows, table))
}

/// The scores of one task under one subject, as far as they are finished. Depths that are drawn anew for every sample are no rows.
pub fn grid(records: &[&Record]) -> ScoreGrid {
    if records.is_empty() {
        return ScoreGrid::default();
    }
    let mut lengths = distinct(records.iter().map(|record| record.length));
    lengths.sort_unstable();
    let rows = grid_rows(records);
    let cell = |row: &GridRow, length: &Option<usize>| {
        let here: Vec<&Record> =
            records.iter().copied().filter(|record| record.length == *length && row.holds(record)).collect();
        let row = whole(summarize(here))?;
        (row.n > 0).then_some(ScoreCell { score: row.score, n: row.n, is_loss: is_loss(&row) })
    };
    let cells = rows.iter().flat_map(|row| lengths.iter().map(move |length| cell(row, length))).collect();
    ScoreGrid { rows, lengths, cells }
}

impl GridRow {
    fn holds(&self, record: &Record) -> bool {
        match self {
            Self::Depth(depth) => record.depth.is_some_and(|own| fine(own) == fine(*depth)),
            Self::Part(part) => record.part.as_ref() == Some(part),
            Self::All => true,
        }
    }
}

/// Depths are told apart to a thousandth.
fn fine(depth: f64) -> i64 {
    (1000.0 * depth).round() as i64
}

fn grid_rows(records: &[&Record]) -> Vec<GridRow> {
    if let Some(depths) = depths(records) {
        return depths.into_iter().map(GridRow::Depth).collect();
    }
    let mut parts = distinct(records.iter().filter_map(|record| record.part.clone()));
    parts.sort();
    if parts.is_empty() { vec![GridRow::All] } else { parts.into_iter().map(GridRow::Part).collect() }
}

/// Depths of samples, ascending, where these make a grid: every sample is answered and has one, and one length has samples at all of them.
/// Depths that are drawn anew for every sample make none; of a single length they are told by standing at uneven distances, once each.
fn depths(records: &[&Record]) -> Option<Vec<f64>> {
    let places: Option<Vec<(usize, f64)>> = records
        .iter()
        .map(|record| Some((record.length?, record.depth?)).filter(|_| record.answer().is_some()))
        .collect();
    let places = places?;
    let mut depths: Vec<f64> = places.iter().map(|(_, depth)| *depth).collect();
    depths.sort_by(f64::total_cmp);
    depths.dedup_by_key(|depth| fine(*depth));
    let mut by_length: BTreeMap<usize, BTreeSet<i64>> = BTreeMap::new();
    for (length, depth) in &places {
        by_length.entry(*length).or_default().insert(fine(*depth));
    }
    let is_whole = by_length.values().any(|here| here.len() == depths.len());
    let steps = || depths.windows(2).map(|pair| pair[1] - pair[0]);
    let first = steps().next()?;
    let is_even = steps().all(|step| (step - first).abs() < 0.002);
    let are_drawn = by_length.len() == 1 && places.len() < 2 * depths.len() && !is_even;
    (is_whole && !are_drawn).then_some(depths)
}

/// A grid for each subject, where all have depths.
fn grids(records: &[Record], subjects: &[Subject]) -> Option<Vec<ScoreGrid>> {
    let records = once_each(records);
    depths(&records)?;
    let of = |subject: &Subject| {
        grid(&records.iter().copied().filter(|record| subject.answered(record)).collect::<Vec<_>>())
    };
    Some(subjects.iter().map(of).collect())
}

/// The rows of all subjects, by task, length, part and subject; before the parts of a task stands one for all of them.
fn rows(records: &[Record], subjects: &[Subject]) -> Vec<(usize, Row)> {
    let records = once_each(records);
    let mut rows: Vec<(usize, Row)> = Vec::new();
    for (at, subject) in subjects.iter().enumerate() {
        let own = records.iter().copied().filter(|record| subject.answered(record));
        rows.extend(summarize(own).rows.into_iter().map(|row| (at, row)));
    }
    let place = |task: &str| TASKS.iter().position(|known| known.info.name == task).unwrap_or(TASKS.len());
    rows.sort_by_cached_key(|(at, row)| {
        (place(&row.task), row.setting.clone(), row.task_version, row.length, row.part.clone(), *at)
    });
    rows
}

/// The rows of a task, each followed by one for every depth of the samples that it is of.
fn with_depths(records: &[Record], subjects: &[Subject], rows: &[(usize, Row)]) -> Vec<Listed> {
    let records = once_each(records);
    let depths = depths(&records).unwrap_or_default();
    let of = |(at, row): &(usize, Row)| {
        let own = records.iter().copied().filter(|record| {
            subjects[*at].answered(record)
                && record.task_version == row.task_version
                && record.length == row.length
                && (row.part.is_none() || record.part == row.part)
        });
        let own: Vec<&Record> = own.collect();
        let at_depth = |depth: f64| {
            let here = own.iter().copied().filter(|record| GridRow::Depth(depth).holds(record));
            let mut found = summarize(here).rows.into_iter().filter(|found| found.part == row.part);
            found.next().map(|row| Listed { row, depth: Some(depth) })
        };
        let depths: Vec<Listed> = depths.iter().filter_map(|depth| at_depth(*depth)).collect();
        [Listed { row: row.clone(), depth: None }].into_iter().chain(depths).collect::<Vec<_>>()
    };
    rows.iter().flat_map(of).collect()
}

/// The row for all samples of a summary of one task and length.
fn whole(summary: Summary) -> Option<Row> {
    summary.rows.into_iter().find(|row| row.part.is_none())
}

fn is_loss(row: &Row) -> bool {
    row.scorer == "perplexity"
}

/// A row of the table.
struct Listed {
    row: Row,
    /// Where it is of one depth alone.
    depth: Option<f64>,
}

/// In place of a picture where no sample was scored.
#[derive(Debug)]
struct Nothing;

impl Figure for Nothing {
    fn size(&self) -> (u32, u32) {
        LinePlot::default().size()
    }

    fn scene(&self, _: (u32, u32)) -> Result<Scene, PlotError> {
        Err(PlotError::NoData { missing: "every sample was passed over as too long" })
    }
}

/// What a picture is made of.
struct Drawn<'a> {
    rows: &'a [(usize, Row)],
    subjects: &'a [Subject],
    heading: Heading,
    trained_context: usize,
}

impl Drawn<'_> {
    /// Rows of whole tasks.
    fn of_tasks(&self) -> impl Iterator<Item = &(usize, Row)> {
        self.rows.iter().filter(|(_, row)| row.part.is_none() && row.n > 0)
    }

    /// Lengths of the rows, ascending.
    fn lengths(&self) -> Vec<usize> {
        let mut lengths = distinct(self.of_tasks().filter_map(|(_, row)| row.length));
        lengths.sort_unstable();
        lengths
    }

    fn depths(&self, grids: &[ScoreGrid], palette: Palette) -> NeedleGrid {
        let mut lengths = distinct(grids.iter().flat_map(|grid| grid.lengths.iter().copied().flatten()));
        lengths.sort_unstable();
        let depth = |row: &GridRow| if let GridRow::Depth(depth) = row { Some(*depth) } else { None };
        let mut depths: Vec<f64> = grids.iter().flat_map(|grid| grid.rows.iter().filter_map(depth)).collect();
        depths.sort_by(f64::total_cmp);
        depths.dedup_by_key(|depth| fine(*depth));
        let cell = |grid: &ScoreGrid, at: f64, length: usize| {
            let row = grid.rows.iter().position(|row| depth(row).is_some_and(|own| fine(own) == fine(at)))?;
            let column = grid.lengths.iter().position(|own| *own == Some(length))?;
            let cell = grid.cells[row * grid.lengths.len() + column]?;
            Some(NeedleCell { accuracy: (cell.score / 100.0).clamp(0.0, 1.0), n_trials: cell.n })
        };
        let panel = |(subject, grid): (&Subject, &ScoreGrid)| {
            let places = depths.iter().flat_map(|at| lengths.iter().map(move |length| cell(grid, *at, *length)));
            NeedlePanel { name: subject.name.clone(), cells: places.collect() }
        };
        let panels = self.subjects.iter().zip(grids).map(panel).collect();
        let heading = self.heading.clone();
        let measure = NeedleMeasure::Score;
        NeedleGrid { heading, trained_context: self.trained_context, lengths, depths, panels, palette, measure }
    }

    /// A line for every subject, and for every task where there are several.
    fn lines(&self, settings: &[String]) -> LinePlot {
        let point = |row: &Row| LinePoint {
            band: Some(row.interval).filter(|(low, high)| low < high),
            ..LinePoint::new(row.length.map_or(f64::NAN, |length| length as f64), row.score)
        };
        let series = settings.iter().flat_map(|setting| {
            self.subjects.iter().enumerate().map(move |(at, subject)| {
                let own = self.of_tasks().filter(|(of, row)| *of == at && row.setting == *setting);
                let name =
                    if settings.len() > 1 { format!("{setting} · {}", subject.name) } else { subject.name.clone() };
                LineSeries { name, points: own.map(|(_, row)| point(row)).collect() }
            })
        });
        let reference = Reference { is_vertical: true, at: self.trained_context as f64, label: "trained".to_owned() };
        let within = self.lengths().iter().any(|length| *length <= self.trained_context);
        LinePlot {
            title: self.heading.title.clone(),
            subtitle: self.heading.subtitle.clone(),
            kind: Kind::Line,
            x: Axis { name: "length (tokens)".to_owned(), scale: Scale::Log2 },
            y: self.y(),
            series: alike_as_one(series.filter(|series| !series.points.is_empty())),
            references: within.then_some(reference).into_iter().collect(),
            ..LinePlot::default()
        }
    }

    /// Bars for one length: of the parts of a task beside all of it, or of tasks, a colour for every subject.
    fn bars(&self, settings: &[String]) -> LinePlot {
        let has_parts = settings.len() == 1;
        let name = |row: &Row| match &row.part {
            Some(part) => part.clone(),
            None if has_parts => "all".to_owned(),
            None => row.setting.clone(),
        };
        let rows = || self.rows.iter().filter(|(_, row)| row.n > 0 && (has_parts || row.part.is_none()));
        let categories = distinct(rows().map(|(_, row)| name(row)));
        let series = self.subjects.iter().enumerate().map(|(at, subject)| {
            let own = rows().filter(|(of, _)| *of == at);
            let point = |row: &Row| LinePoint {
                band: Some(row.interval).filter(|(low, high)| low < high),
                ..LinePoint::new(categories.iter().position(|own| *own == name(row)).unwrap_or(0) as f64, row.score)
            };
            LineSeries { name: subject.name.clone(), points: own.map(|(_, row)| point(row)).collect() }
        });
        let series = series.collect();
        LinePlot {
            title: self.heading.title.clone(),
            subtitle: self.heading.subtitle.clone(),
            kind: Kind::Bar,
            x: Axis { name: if has_parts { "part" } else { "task" }.to_owned(), ..Axis::default() },
            y: self.y(),
            categories,
            series,
            ..LinePlot::default()
        }
    }

    /// Tasks by methods, and by lengths where there are several. Perplexities have no place on its scale.
    fn map(&self, settings: &[String]) -> HeatMap {
        let is_drawn = |setting: &&String| self.of_tasks().any(|(_, row)| row.setting == **setting && !is_loss(row));
        let settings: Vec<&String> = settings.iter().filter(is_drawn).collect();
        let lengths = distinct(self.of_tasks().filter(|(_, row)| !is_loss(row)).map(|(_, row)| row.length));
        let mut columns: Vec<(Option<usize>, usize)> =
            lengths.iter().flat_map(|length| (0..self.subjects.len()).map(move |at| (*length, at))).collect();
        columns.retain(|(length, at)| self.of_tasks().any(|(of, row)| of == at && row.length == *length));
        let label = |(length, at): &(Option<usize>, usize)| match length {
            Some(length) if lengths.len() > 1 => format!("{} {length}", self.subjects[*at].name),
            _ => self.subjects[*at].name.clone(),
        };
        let value = |setting: &String, (length, at): &(Option<usize>, usize)| {
            let own = |(of, row): &&(usize, Row)| {
                of == at && row.setting == *setting && row.length == *length && !is_loss(row)
            };
            self.of_tasks().find(own).map_or(f64::NAN, |(_, row)| row.score)
        };
        HeatMap {
            title: self.heading.title.clone(),
            subtitle: self.heading.subtitle.clone(),
            x_name: if lengths.len() > 1 { "method, length" } else { "method" }.to_owned(),
            y_name: "task".to_owned(),
            x_labels: columns.iter().map(label).collect(),
            y_labels: settings.iter().map(ToString::to_string).collect(),
            values: settings
                .iter()
                .map(|setting| columns.iter().map(|column| value(setting, column)).collect())
                .collect(),
            value_name: "% of a perfect answer".to_owned(),
            scale: HeatScale::default(),
            range: Some((0.0, 100.0)),
        }
    }

    fn y(&self) -> Axis {
        let name = if self.of_tasks().all(|(_, row)| is_loss(row)) { "perplexity" } else { "% of a perfect answer" };
        let has_interval = self.of_tasks().any(|(_, row)| row.interval.0 < row.interval.1);
        let name = if has_interval { format!("{name}, with 95 % intervals") } else { name.to_owned() };
        Axis { name, ..Axis::default() }
    }
}

/// Lines that run through the same points are one, named after all of them: only the last of them could be seen.
fn alike_as_one(series: impl Iterator<Item = LineSeries>) -> Vec<LineSeries> {
    let mut lines: Vec<LineSeries> = Vec::new();
    for one in series {
        match lines.iter_mut().find(|line| line.points == one.points) {
            Some(line) => line.name = format!("{} = {}", line.name, one.name),
            None => lines.push(one),
        }
    }
    lines
}

/// Model, scaling and number format, where all samples have them in common.
fn subtitle(run: &RunRecord, subjects: &[Subject]) -> String {
    let same = |of: fn(&Subject) -> &String| subjects.iter().all(|subject| of(subject) == of(&subjects[0]));
    let mut parts = Vec::new();
    if same(|subject| &subject.model) {
        parts.push(run.model.clone());
    }
    if same(|subject| &subject.rope) {
        parts.push(rope_text(&run.rope, run.trained_context));
    }
    if same(|subject| &subject.dtype) {
        parts.push(run.dtype.clone());
    }
    if let [one] = subjects {
        parts.push(one.name.clone());
    }
    parts.join(" · ")
}

/// What is shown, in a sentence, with what else a reader should know of the numbers.
fn text(title: &str, rows: &[(usize, Row)], subjects: &[Subject]) -> String {
    let whole = || rows.iter().filter(|(_, row)| row.part.is_none());
    let sum = |of: fn(&Row) -> usize| whole().map(|(_, row)| of(row)).sum::<usize>();
    let who = if let [one] = subjects { one.name.clone() } else { format!("{} methods", subjects.len()) };
    let mut parts = vec![format!("{title} under {who}: {} samples", sum(|row| row.n))];
    let counted = [
        (sum(|row| row.n_skipped), "passed over as too long"),
        (sum(|row| row.n_truncated), "truncated"),
        (sum(|row| row.n_empty), "empty answers"),
        (sum(|row| row.n_errors), "answers on which the script fails"),
    ];
    parts.extend(counted.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")));
    if whole().any(|(_, row)| is_loss(row)) && whole().any(|(_, row)| !is_loss(row)) {
        parts.push("perplexities are in the table alone".to_owned());
    }
    parts.join(", ")
}

fn table(rows: &[Listed]) -> Table {
    let mut table = Table::new(&[
        ("model", ""),
        ("task", ""),
        ("length", "tokens"),
        ("part", ""),
        ("depth", ""),
        ("method", ""),
        ("rope", ""),
        ("samples", ""),
        ("score", "% or perplexity"),
        ("low", "% or perplexity"),
        ("high", "% or perplexity"),
        ("scorer", ""),
        ("skipped", ""),
        ("truncated", ""),
        ("empty", ""),
        ("errors", ""),
        ("prompt_tokens", "tokens"),
        ("seconds", "s"),
    ]);
    for Listed { row, depth } in rows {
        table.push(vec![
            row.model.as_str().into(),
            row.setting.as_str().into(),
            row.length.into(),
            row.part.clone().into(),
            (*depth).into(),
            row.method.as_str().into(),
            row.rope.as_str().into(),
            row.n.into(),
            row.score.into(),
            row.interval.0.into(),
            row.interval.1.into(),
            row.scorer.as_str().into(),
            row.n_skipped.into(),
            row.n_truncated.into(),
            row.n_empty.into(),
            row.n_errors.into(),
            row.mean_prompt.into(),
            row.seconds.into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests;
