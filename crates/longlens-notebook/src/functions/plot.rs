//! Pictures of tables: lines, points, bars, heat maps.

use std::collections::HashMap;

use longlens_app::views::Plot;
use longlens_plot::plots::{
    Axis, HeatMap, HeatScale, Kind as LineKind, LinePlot, LinePoint, LineSeries, Reference, Scale,
};
use rhai::Map;
use rhai::plugin::*;

use crate::host::{Returned, raise, refuse};
use crate::options::Options;
use crate::table::{Aggregation, Datum, Table as Rows};
use crate::values::{Figure, Table, TableValue};

#[export_module]
#[allow(clippy::needless_pass_by_value)] // the macro hands values over
pub mod functions {
    use rhai::Map;

    use crate::host::Returned;
    use crate::values::{Figure, Table};

    /// Draws columns of a table: `x` and `y` (a column or a list of columns), `by` (a line per value of this column), `kind`
    /// (`line`, `scatter`, `bar`), `log_x`, `log_y` (2 or 10), `low` and `high` (columns of a band), `title`, `subtitle`,
    /// `x_name`, `y_name`, `mark_x`, `mark_y` (values to compare with). Rows with the same `x` are averaged.
    ///
    /// ```rhai
    /// let t = table(#{ length: [256, 512, 256, 512], loss: [2.0, 2.5, 2.1, 2.2], method: ["full", "full", "ours", "ours"] });
    /// plot(t, #{ x: "length", y: "loss", by: "method", log_x: 2 })
    /// ```
    #[rhai_fn(name = "plot", return_raw)]
    pub fn plot(table: &mut Table, options: Map) -> Returned<Figure> {
        super::plot(table, options)
    }

    /// Draws a table as coloured cells: `x`, `y` and `value` name columns; `title`, `subtitle`, `x_name`, `y_name`,
    /// `value_name`; `diverging: true` for two colours around 0; `low` and `high` fix the colours' range. Rows of one cell are
    /// averaged.
    ///
    /// ```rhai
    /// let t = table(#{ g: [4, 4, 8, 8], w: [32, 64, 32, 64], loss: [1.0, 2.0, 3.0, 4.0] });
    /// heatmap(t, #{ x: "w", y: "g", value: "loss" })
    /// ```
    #[rhai_fn(name = "heatmap", return_raw)]
    pub fn heatmap(table: &mut Table, options: Map) -> Returned<Figure> {
        super::heatmap(table, options)
    }
}

fn plot(table: &Table, options: Map) -> Returned<Figure> {
    let known = [
        "x", "y", "by", "kind", "log_x", "log_y", "low", "high", "title", "subtitle", "x_name", "y_name", "mark_x",
        "mark_y",
    ];
    let mut options = Options::new("plot", options, &known)?;
    let (Some(x), Some(ys)) = (options.text("x")?, options.texts("y")?) else {
        return refuse("a plot needs `x` and `y`", "name two columns, as in plot(t, #{ x: \"length\", y: \"loss\" })");
    };
    let by = options.text("by")?;
    let kind = match options.word("kind", &["line", "scatter", "bar"])? {
        Some("scatter") => LineKind::Scatter,
        Some("bar") => LineKind::Bar,
        _ => LineKind::Line,
    };
    let band = match (options.text("low")?, options.text("high")?) {
        (Some(low), Some(high)) => Some((low, high)),
        (None, None) => None,
        (low, _) => {
            let (given, missing) = if low.is_some() { ("low", "high") } else { ("high", "low") };
            return refuse(
                format!("a band needs `low` and `high`, and there is only `{given}`"),
                format!("name a column as `{missing}` too, or leave out `{given}`"),
            );
        }
    };
    let rows = &table.0.table;
    let places = Places::new(&rows.column(&x).map_err(raise)?);
    let groups = match &by {
        Some(column) => grouped(&rows.column(column).map_err(raise)?),
        None if rows.is_empty() => Vec::new(),
        None => vec![(String::new(), (0..rows.n_rows()).collect())],
    };
    let mut series = Vec::new();
    for y in &ys {
        let values = rows.numbers(y).map_err(raise)?;
        let band = match &band {
            Some((low, high)) => Some((rows.numbers(low).map_err(raise)?, rows.numbers(high).map_err(raise)?)),
            None => None,
        };
        for (name, mine) in &groups {
            // points of a scatter are shown each; everything else shows one per place
            let points = if kind == LineKind::Scatter {
                mine.iter().map(|row| LinePoint::new(places.at[*row], values[*row])).collect()
            } else {
                places.means(mine, &values, band.as_ref())
            };
            let name = match (ys.len() > 1, name.is_empty()) {
                (true, true) => y.clone(),
                (true, false) => format!("{name}, {y}"),
                (false, _) => name.clone(),
            };
            series.push(LineSeries { name, points });
        }
    }
    let scale = |options: &mut Options, name: &str| -> Returned<Scale> {
        match options.count(name)? {
            None => Ok(Scale::Linear),
            Some(2) => Ok(Scale::Log2),
            Some(10) => Ok(Scale::Log10),
            Some(other) => refuse(format!("`{name}` is {other}"), "give 2 or 10"),
        }
    };
    let (log_x, log_y) = (scale(&mut options, "log_x")?, scale(&mut options, "log_y")?);
    let y_name = options.text("y_name")?.unwrap_or_else(|| ys.join(", "));
    let x_name = options.text("x_name")?.unwrap_or(x);
    let title = options.text("title")?.unwrap_or_else(|| format!("{y_name} by {x_name}"));
    let mut references = Vec::new();
    for (name, is_vertical) in [("mark_x", true), ("mark_y", false)] {
        let marks = options.numbers(name)?.unwrap_or_default();
        references.extend(marks.into_iter().map(|at| Reference {
            is_vertical,
            at,
            label: crate::values::short_number(at),
        }));
    }
    let figure = LinePlot {
        subtitle: options.text("subtitle")?.unwrap_or_else(|| described(&table.0)),
        title: title.clone(),
        kind,
        x: Axis { name: x_name, scale: log_x },
        y: Axis { name: y_name, scale: log_y },
        categories: places.names,
        series,
        references,
    };
    drawn(figure, title)
}

/// Where rows stand along an axis.
struct Places {
    /// The place of every row; NaN where it has none.
    at: Vec<f64>,
    /// Names of the places, where not all cells are numbers.
    names: Vec<String>,
}

impl Places {
    fn new(cells: &[Datum]) -> Self {
        if cells.iter().all(|cell| !matches!(cell, Datum::Text(_) | Datum::Bool(_))) {
            let at = cells.iter().map(|cell| cell.number().unwrap_or(f64::NAN)).collect();
            return Self { at, names: Vec::new() };
        }
        let groups = grouped(cells);
        let mut at = vec![f64::NAN; cells.len()];
        for (place, (_, rows)) in groups.iter().enumerate() {
            for row in rows {
                at[*row] = place as f64;
            }
        }
        Self { at, names: groups.into_iter().map(|(name, _)| name).collect() }
    }

    /// One point per place of these rows: the mean of what stands there, and of its band.
    fn means(&self, rows: &[usize], values: &[f64], band: Option<&(Vec<f64>, Vec<f64>)>) -> Vec<LinePoint> {
        let mut known: Vec<usize> = rows.iter().copied().filter(|row| self.at[*row].is_finite()).collect();
        known.sort_by(|a, b| self.at[*a].total_cmp(&self.at[*b]));
        let point = |here: &[usize]| {
            let mean = |numbers: &[f64]| {
                let here: Vec<f64> = here.iter().map(|row| numbers[*row]).filter(|number| !number.is_nan()).collect();
                here.iter().sum::<f64>() / here.len() as f64
            };
            let band = band.map(|(low, high)| (mean(low), mean(high)));
            let band = band.filter(|(low, high)| !low.is_nan() && !high.is_nan());
            LinePoint { x: self.at[here[0]], y: mean(values), band }
        };
        // 0 and -0 are one place
        #[allow(clippy::float_cmp)] // equal cells, not close ones
        known.chunk_by(|a, b| self.at[*a] == self.at[*b]).map(point).collect()
    }
}

/// The rows of every cell, in the order in which the cells first appear.
fn grouped(cells: &[Datum]) -> Vec<(String, Vec<usize>)> {
    let mut places = HashMap::new();
    let mut groups: Vec<(String, Vec<usize>)> = Vec::new();
    for (row, cell) in cells.iter().enumerate() {
        let place = *places.entry(cell.to_string()).or_insert_with_key(|name: &String| {
            groups.push((name.clone(), Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(row);
    }
    groups
}

/// Cells of a heat map at most; more than pictures have pixels.
const MAX_CELLS: usize = 4_000_000;

fn heatmap(table: &Table, options: Map) -> Returned<Figure> {
    let known = ["x", "y", "value", "title", "subtitle", "x_name", "y_name", "value_name", "diverging", "low", "high"];
    let mut options = Options::new("heatmap", options, &known)?;
    let (Some(x), Some(y), Some(value)) = (options.text("x")?, options.text("y")?, options.text("value")?) else {
        return refuse(
            "a heat map needs `x`, `y` and `value`",
            "name three columns, as in heatmap(t, #{ x: \"window\", y: \"group\", value: \"loss\" })",
        );
    };
    let rows = table.0.table.sort(&[y.as_str(), x.as_str()], false).map_err(raise)?;
    let across = rows
        .select(&[x.as_str()])
        .and_then(|t| t.unique(&[x.as_str()]))
        .and_then(|t| t.sort(&[x.as_str()], false))
        .map_err(raise)?;
    let n_cells = across.n_rows().saturating_mul(rows.unique(&[y.as_str()]).map_err(raise)?.n_rows());
    if n_cells > MAX_CELLS {
        return refuse(
            format!("a heat map of {n_cells} cells cannot be drawn"),
            format!("group its rows first: it may have {MAX_CELLS} cells, one for each value of `{x}` and of `{y}`"),
        );
    }
    let wide = rows.pivot(&[y.as_str()], &x, &value, Aggregation::Mean).map_err(raise)?;
    let x_labels: Vec<String> = across.rows().iter().map(|row| row[0].to_string()).collect();
    let y_labels = wide.rows().iter().map(|row| row[0].to_string()).collect();
    let values = grid(&wide, &x_labels);
    let range = match (options.number("low")?, options.number("high")?) {
        (Some(low), Some(high)) if low < high => Some((low, high)),
        (None, None) => None,
        _ => return refuse("`low` and `high` are no range", "give both, the lower one as `low`"),
    };
    let is_diverging = options.flag("diverging")?.unwrap_or(false);
    let value_name = options.text("value_name")?.unwrap_or(value);
    let title = options.text("title")?.unwrap_or_else(|| format!("{value_name} by {y} and {x}"));
    let figure = HeatMap {
        subtitle: options.text("subtitle")?.unwrap_or_else(|| described(&table.0)),
        title: title.clone(),
        x_name: options.text("x_name")?.unwrap_or(x),
        y_name: options.text("y_name")?.unwrap_or(y),
        x_labels,
        y_labels,
        values,
        value_name,
        scale: if is_diverging { HeatScale::Diverging } else { HeatScale::default() },
        range,
    };
    drawn(figure, title)
}

/// The numbers of a pivoted table, with a column for every label.
fn grid(wide: &Rows, labels: &[String]) -> Vec<Vec<f64>> {
    let place = |label: &String| wide.columns().iter().skip(1).position(|column| column == label).map(|at| at + 1);
    let places: Vec<_> = labels.iter().map(place).collect();
    let cell = |row: &[Datum], place: &Option<usize>| place.and_then(|at| row[at].number()).unwrap_or(f64::NAN);
    wide.rows().iter().map(|row| places.iter().map(|place| cell(row, place)).collect()).collect()
}

/// What ran to fill a table, in one line.
fn described(value: &TableValue) -> String {
    let Some(first) = value.records.first() else { return String::new() };
    let mut parts = vec![first.model.clone()];
    let same =
        |of: fn(&longlens_core::trace::RunRecord) -> &String| value.records.iter().all(|run| of(run) == of(first));
    if same(|run| &run.method) {
        parts.push(first.method.clone());
    }
    if same(|run| &run.rope) {
        parts.push(first.rope_text());
    }
    parts.push(first.dtype.clone());
    parts.join(" · ")
}

/// A picture, once it is known that it can be drawn.
fn drawn(figure: impl longlens_plot::Figure + 'static, text: String) -> Returned<Figure> {
    if let Err(error) = figure.scene(figure.size()) {
        let help = error.help();
        return Err(crate::host::raise(longlens_app::Problem::new(error.to_string(), help)));
    }
    Ok(Figure::new(Plot::new(text, figure)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_the_mean_of_its_rows() {
        let places = Places::new(&[1.0, -0.0, 2.0, 0.0, f64::NAN, 1.0].map(Datum::Real));
        let (low, high) = (vec![0.0; 6], vec![f64::NAN, 5.0, f64::NAN, 7.0, 0.0, f64::NAN]);
        let points = places.means(&[0, 1, 3, 4, 5], &[1.0, 2.0, 9.0, 4.0, 9.0, f64::NAN], Some(&(low, high)));
        let told: Vec<_> = points.iter().map(|point| (point.x, point.y, point.band)).collect();
        assert_eq!(told, [(0.0, 3.0, Some((0.0, 6.0))), (1.0, 1.0, None)]);
    }

    #[test]
    fn words_stand_in_the_order_of_their_first_row() {
        let places = Places::new(&["b", "a", "b"].map(|word| Datum::Text(word.into())));
        assert_eq!((places.at, places.names), (vec![0.0, 1.0, 0.0], vec!["b".to_owned(), "a".to_owned()]));
    }
}
