//! A number for every pair of two things: colored cells.

use crate::canvas::{Figure, PlotError};
use crate::color::{self, GRAY, PALE, Palette, Rgb};
use crate::frame::{self, ColorBar, Heading, Tick};
use crate::legend::{Entry, Sample};
use crate::plots::categories::{Categories, cut};
use crate::scene::{Anchor, Panel, Rect, Scene};
use crate::{text, ticks};

/// Numbers by row and column.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HeatMap {
    /// What is shown.
    pub title: String,
    /// On what it was measured; may be empty.
    pub subtitle: String,
    /// What the columns are.
    pub x_name: String,
    /// What the rows are.
    pub y_name: String,
    /// One per column.
    pub x_labels: Vec<String>,
    /// One per row, from the top.
    pub y_labels: Vec<String>,
    /// Rows from the top, each with one value per column; NaN is an empty cell.
    pub values: Vec<Vec<f64>>,
    /// What the values are, with their unit.
    pub value_name: String,
    /// How values become colors.
    pub scale: HeatScale,
    /// Lowest and highest value that have a color of their own; those of the data when absent.
    pub range: Option<(f64, f64)>,
}

/// How values become colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeatScale {
    /// From the lowest to the highest.
    Sequential(Palette),
    /// Two colors on the two sides of 0, as strong as the value is far from it.
    Diverging,
}

impl Default for HeatScale {
    fn default() -> Self {
        Self::Sequential(Palette::default())
    }
}

/// Values between these two have colors of their own.
type Range = (f64, f64);

const MISSING: Rgb = PALE;
/// Numbers beyond this would leave no room for the arithmetic of a range.
const HUGE: f64 = 1e300;

impl Figure for HeatMap {
    fn size(&self) -> (u32, u32) {
        let (n_rows, n_columns) = (self.y_labels.len() as u32, self.x_labels.len() as u32);
        let width = n_columns.saturating_mul(14).saturating_add(260).clamp(1000, 1800);
        let height = n_rows.saturating_mul(44).saturating_add(230).clamp(340, 650);
        (width, height.max(n_rows.saturating_mul(15).saturating_add(230).min(1600)))
    }

    fn scene(&self, size: (u32, u32)) -> Result<Scene, PlotError> {
        self.check()?;
        let (range, beyond) = self.color_range();
        let mut scene = Scene::new(size);
        let heading = Heading { title: String::new(), subtitle: self.subtitle.clone() };
        let mut room = frame::frame(&mut scene, &self.title, &heading, &self.legend(beyond));

        let color = |share: f64| self.color(range.0 + (range.1 - range.0) * share, range);
        let values = ticks::linear(range.0, range.1, 5);
        let labels = ticks::labels(&values);
        let place = |value: f64| (value - range.0) / (range.1 - range.0);
        let marks = values.iter().zip(labels).map(|(value, label)| (place(*value), cut(&label, 12.0, 90.0)));
        let bar = ColorBar { color: &color, ticks: marks.collect(), title: &self.value_name };
        room.x1 -= bar.width();

        let n_columns = self.x_labels.len();
        let widest = f64::from(size.0) * 0.3;
        let y_labels: Vec<_> = self.y_labels.iter().map(|label| cut(label, frame::TICK_SIZE, widest)).collect();
        let x0 = room.x0 + frame::y_axis_width(&y_labels, &self.y_name);
        let x1 = room.x1.max(x0 + 16.0);
        let categories = Categories::new(&self.x_labels, (x1 - x0) / n_columns as f64, room.height());
        let y1 = (room.y1 - categories.height(&self.x_name)).max(room.y0 + 16.0);
        let area = Rect { x0, y0: room.y0, x1, y1 };
        let cells = Panel { area, n_columns, n_rows: self.y_labels.len() };
        scene.panels.push(cells);
        self.cells(&mut scene, &cells, range);

        scene.outline(area.inset(-1.0), 1.0, GRAY);
        let tick = |(row, label)| Tick::new(cells.cell(row, 0).center().1, label);
        let y_ticks: Vec<_> = y_labels.into_iter().enumerate().map(tick).collect();
        frame::y_axis(&mut scene, area, &y_ticks, &self.y_name);
        categories.draw(&mut scene, area, |column| cells.cell(0, column).center().0, &self.x_name);
        bar.draw(&mut scene, area);
        Ok(scene)
    }
}

impl HeatMap {
    fn check(&self) -> Result<(), PlotError> {
        let shape = |what, expected, found| Err(PlotError::Shape { what, expected, found });
        if self.values.len() != self.y_labels.len() {
            return shape("rows of a heat map (one per y label)", self.y_labels.len(), self.values.len());
        }
        if let Some(row) = self.values.iter().find(|row| row.len() != self.x_labels.len()) {
            return shape("values in a row of a heat map (one per x label)", self.x_labels.len(), row.len());
        }
        if self.all().all(f64::is_nan) {
            return Err(PlotError::NoData { missing: "no cell has a value" });
        }
        Ok(())
    }

    fn all(&self) -> impl Iterator<Item = f64> {
        self.values.iter().flatten().copied()
    }

    /// The values with colors of their own, and whether there are others.
    fn color_range(&self) -> (Range, bool) {
        let usable = |value: &f64| value.abs() <= HUGE;
        let values = || self.all().filter(usable);
        let (low, high) = values().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
        let own = if low <= high { (low, high) } else { (0.0, 1.0) };
        let fixed = self.range.filter(|(a, b)| usable(a) && usable(b)).map(|(a, b)| (a.min(b), a.max(b)));
        let (mut low, mut high) = fixed.unwrap_or(own);
        if self.scale == HeatScale::Diverging {
            high = low.abs().max(high.abs());
            low = -high;
        }
        // one value alone has the color of the middle
        let least = (low.abs().max(high.abs()) * 1e-6).max(1e-12);
        if high - low < least {
            let widen = if high.abs() > 1e-12 { high.abs() * 0.1 } else { 1.0 };
            (low, high) = (low - widen, high + widen);
        }
        let beyond = self.all().any(|value| value < low || value > high);
        ((low, high), beyond)
    }

    fn color(&self, value: f64, (low, high): Range) -> Rgb {
        match self.scale {
            HeatScale::Sequential(palette) => palette.at((value.clamp(low, high) - low) / (high - low)),
            HeatScale::Diverging => color::diverging(value.clamp(low, high) / high),
        }
    }

    fn legend(&self, beyond: bool) -> Vec<Entry> {
        let mut entries = Vec::new();
        if self.all().any(f64::is_nan) {
            entries.push(Entry::new(Sample::Hatched(MISSING, GRAY), "no value"));
        }
        if beyond {
            entries.push(Entry::new(Sample::Note, "values beyond the color bar have the color of its end"));
        }
        entries
    }

    fn cells(&self, scene: &mut Scene, cells: &Panel, range: Range) {
        let value = |row: usize, column: usize| self.values[row][column];
        let fill = |row, column| {
            let value = value(row, column);
            if value.is_nan() { MISSING } else { self.color(value, range) }
        };
        scene.cells(cells, |row, column| Some(fill(row, column)));
        let cell = cells.cell(0, 0);
        let has_room = cell.width() >= 6.0 && cell.height() >= 6.0;
        let words = Words::of(self);
        // one size for all cells, none when the widest number has no room
        let fits = |size: &f64| words.width(*size) + 6.0 <= cell.width() && size + 3.0 <= cell.height();
        let size = [13.0, 12.0, 11.0, 10.0, 9.0].into_iter().find(fits);
        for row in 0..cells.n_rows {
            for column in 0..cells.n_columns {
                let (place, value) = (cells.cell(row, column), value(row, column));
                if value.is_nan() {
                    if has_room {
                        scene.hatch(place, 8.0, color::FILLS[2]);
                    }
                } else if let Some(size) = size {
                    let ink = color::ink_on(fill(row, column));
                    scene.text(words.write(value), place.center(), Anchor::Middle, size, ink);
                }
            }
        }
    }
}

/// How the numbers of all cells are written.
struct Words {
    /// Decimals of every number; short numbers of any size where sizes differ too much.
    decimals: Option<usize>,
    longest: String,
}

impl Words {
    /// Three significant digits of the largest number, and no decimals that every cell lacks.
    fn of(map: &HeatMap) -> Self {
        let finite = || map.all().filter(|value| value.is_finite());
        let largest = finite().map(f64::abs).fold(0.0, f64::max);
        let is_common = largest == 0.0 || (1e-2..1e5).contains(&largest);
        let most = if largest > 0.0 { (2 - largest.log10().floor() as i32).clamp(0, 4) as usize } else { 0 };
        let is_whole = |decimals: &usize| {
            let power = 10f64.powi(*decimals as i32);
            finite().all(|value| ((value * power).round() - value * power).abs() < 1e-6)
        };
        let decimals = is_common.then(|| (0..most).find(is_whole).unwrap_or(most));
        let words = Self { decimals, longest: String::new() };
        let written = map.all().filter(|value| !value.is_nan()).map(|value| words.write(value));
        let width = |word: &String| text::width(word, 10.0);
        let longest = written.max_by(|a, b| width(a).total_cmp(&width(b))).unwrap_or_default();
        Self { longest, ..words }
    }

    fn write(&self, value: f64) -> String {
        match self.decimals {
            // rounding must not leave a minus before nothing
            Some(decimals) if value.is_finite() => {
                let text = format!("{value:.decimals$}");
                if text.trim_start_matches(['-', '0', '.']).is_empty() { text.replace('-', "") } else { text }
            }
            _ if value == f64::NEG_INFINITY => "-∞".to_owned(),
            _ => ticks::number(value),
        }
    }

    fn width(&self, size: f64) -> f64 {
        text::width(&self.longest, size)
    }
}

#[cfg(test)]
mod tests;
