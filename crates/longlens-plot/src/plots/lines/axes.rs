//! Where numbers stand on a page: ranges, scales, marks.

use crate::color::{self, GRAY, RULE, WHITE};
use crate::frame::{self, Tick};
use crate::plots::categories::{Categories, cut};
use crate::scene::{Anchor, Rect, Scene};
use crate::{text, ticks};

use super::{Kind, LinePlot};

/// What an axis measures, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Axis {
    /// What is measured, with its unit.
    pub name: String,
    /// How far apart numbers stand.
    pub scale: Scale,
}

/// How far apart numbers stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scale {
    /// By their difference.
    #[default]
    Linear,
    /// By their ratio, with marks at powers of two; only what is above 0 can stand there.
    Log2,
    /// By their ratio, with marks at powers of ten; only what is above 0 can stand there.
    Log10,
}

/// The drawing area and how numbers become places in it.
pub struct Axes {
    /// Where the data goes.
    pub area: Rect,
    x: Range,
    y: Range,
    /// Names below the area, if it has any.
    categories: Option<Categories>,
    /// Vertical references: place, label and the row it stands in above the area.
    verticals: Vec<(f64, String, usize)>,
    /// Horizontal references: place and label.
    horizontals: Vec<(f64, String)>,
}

/// What an axis shows, on its scale.
#[derive(Debug, Clone, Copy)]
struct Range {
    scale: Scale,
    low: f64,
    high: f64,
}

const LABEL_SIZE: f64 = 11.0;
const LABEL_ROW: f64 = 16.0;
/// Numbers beyond this would leave no room for the arithmetic of an axis.
const HUGE: f64 = 1e300;

impl Axis {
    /// An axis on which equal differences are equally far apart; `name` says what it measures, with the unit.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), scale: Scale::Linear }
    }

    fn title(&self, scale: Scale) -> String {
        let note = match scale {
            Scale::Linear => return self.name.clone(),
            Scale::Log2 => "log₂ scale",
            Scale::Log10 => "log scale",
        };
        if self.name.is_empty() { note.to_owned() } else { format!("{} ({note})", self.name) }
    }
}

/// Whether an axis can show a number.
pub fn can_stand(value: f64, scale: Scale) -> bool {
    value.abs() <= HUGE && (scale == Scale::Linear || value > 0.0)
}

impl Axes {
    /// Ranges that hold every point, band and reference, inside `room`.
    pub fn new(plot: &LinePlot, room: Rect) -> Self {
        let references = |is_vertical| {
            let scale = if is_vertical { plot.x_scale() } else { plot.y.scale };
            let those = plot.references.iter().filter(move |reference| reference.is_vertical == is_vertical);
            those.filter(move |reference| can_stand(reference.at, scale))
        };
        let points = || plot.points().filter(|point| plot.is_shown(point));
        let x = if plot.categories.is_empty() {
            Range::of(plot.x.scale, points().map(|point| point.x).chain(references(true).map(|line| line.at)), 0.03)
        } else {
            Range { scale: Scale::Linear, low: -0.5, high: plot.categories.len() as f64 - 0.5 }
        };
        let edges = points().filter_map(|point| point.band).flat_map(|(low, high)| [low, high]);
        let values = points().map(|point| point.y).chain(references(false).map(|line| line.at)).chain(edges);
        let y = Range::of(plot.y.scale, values, 0.06);
        let y = if plot.kind == Kind::Bar { y.with_zero() } else { y };

        let (_, labels) = y.ticks();
        let x0 = room.x0 + frame::y_axis_width(&labels, &plot.y.name);
        let x1 = (room.x1 - 14.0).max(x0 + 16.0);
        let verticals =
            label_rows(references(true).map(|line| (x0 + (x1 - x0) * x.share(line.at), line.label.as_str())), (x0, x1));
        let n_rows = verticals.iter().map(|(_, _, row)| row + 1).max().unwrap_or(0);
        let categories = (!plot.categories.is_empty())
            .then(|| Categories::new(&plot.categories, (x1 - x0) / plot.categories.len() as f64, room.height()));
        let below = categories.as_ref().map_or_else(
            || frame::x_axis_height(&[], &plot.x.title(plot.x.scale)),
            |categories| categories.height(&plot.x.name),
        );
        let y0 = room.y0 + 4.0 + n_rows as f64 * LABEL_ROW;
        let y1 = (room.y1 - below).max(y0 + 16.0);
        let horizontals = references(false).map(|line| (line.at, line.label.clone())).collect();
        Self { area: Rect { x0, y0, x1, y1 }, x, y, categories, verticals, horizontals }
    }

    /// The place of an `x` that can stand.
    pub fn x(&self, value: f64) -> f64 {
        self.area.x0 + self.area.width() * self.x.share(value)
    }

    /// The place of a `y`; what the axis cannot show stands at its nearer edge.
    pub fn y(&self, value: f64) -> f64 {
        self.area.y1 - self.area.height() * self.y.share(value)
    }

    /// Where bars begin: at nothing, or at the edge of an axis that has no zero.
    pub fn base(&self) -> f64 {
        if self.y.scale == Scale::Linear { self.y(0.0) } else { self.area.y1 }
    }

    /// Rules, marks, labels and titles.
    pub fn draw(&self, scene: &mut Scene, plot: &LinePlot) {
        let area = self.area;
        let (values, labels) = self.y.ticks();
        let y_ticks: Vec<_> =
            values.into_iter().zip(labels).map(|(value, label)| Tick::new(self.y(value), label)).collect();
        for tick in &y_ticks {
            scene.rect(Rect { y0: tick.at - 0.5, y1: tick.at + 0.5, ..area }, RULE);
        }
        if let Some(categories) = &self.categories {
            scene.outline(area.inset(-1.0), 1.0, GRAY);
            categories.draw(scene, area, |idx| self.x(idx as f64), &plot.x.name);
        } else {
            let (values, labels) = self.x.ticks();
            let x_ticks: Vec<_> =
                values.into_iter().zip(labels).map(|(value, label)| Tick::new(self.x(value), label)).collect();
            for tick in &x_ticks {
                scene.rect(Rect { x0: tick.at - 0.5, x1: tick.at + 0.5, ..area }, RULE);
            }
            scene.outline(area.inset(-1.0), 1.0, GRAY);
            frame::x_axis(scene, area, &x_ticks, &plot.x.title(plot.x.scale));
        }
        frame::y_axis(scene, area, &y_ticks, &plot.y.title(plot.y.scale));
    }

    /// Whether a vertical reference runs between two places.
    pub fn has_vertical(&self, (x0, x1): (f64, f64)) -> bool {
        self.verticals.iter().any(|(x, ..)| (x0 - 1.0..=x1 + 1.0).contains(x))
    }

    /// References stand above the data, with their labels on a white ground.
    pub fn draw_references(&self, scene: &mut Scene) {
        let area = self.area;
        // labels cover the lines of their neighbors
        for (x, _, row) in &self.verticals {
            scene.dashes(*x, area.y0 - *row as f64 * LABEL_ROW, area.y1, color::ALARM);
        }
        for (x, label, row) in &self.verticals {
            let half = text::width(label, LABEL_SIZE) / 2.0 + 4.0;
            let middle = middle_of_label(*x, half, (area.x0, area.x1));
            label_on_ground(scene, label, (middle, area.y0 - 10.0 - *row as f64 * LABEL_ROW), half);
        }
        for (value, label) in &self.horizontals {
            let y = self.y(*value);
            scene.dashed(&[(area.x0, y), (area.x1, y)], 2.0, color::ALARM, &[6.0, 4.0]);
            let label = cut(label, LABEL_SIZE, area.width() - 12.0);
            let half = text::width(&label, LABEL_SIZE) / 2.0 + 4.0;
            let above = y - 10.0;
            let y = if above - 8.0 < area.y0 { y + 10.0 } else { above };
            label_on_ground(scene, &label, (area.x1 - half - 2.0, y), half);
        }
    }
}

impl Range {
    /// What holds all values that can stand, with a margin of this share on both sides.
    fn of(scale: Scale, values: impl Iterator<Item = f64>, margin: f64) -> Self {
        let turned = values.filter(|value| can_stand(*value, scale)).map(|value| turn(value, scale));
        let (low, high) = turned.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
        if low > high {
            return Self { scale, low: 0.0, high: 1.0 };
        }
        // a single value stands in the middle of a range that suits its size
        let size = low.abs().max(high.abs());
        let least = match scale {
            Scale::Linear if size == 0.0 => 1.0,
            Scale::Linear if low.total_cmp(&high).is_eq() => (size * 0.2).max(1e-300),
            Scale::Linear => (size * 1e-3).max(1e-300),
            Scale::Log2 | Scale::Log10 => 0.5,
        };
        let missing = (least - (high - low)).max(0.0) / 2.0;
        let (low, high) = (low - missing, high + missing);
        let margin = (high - low) * margin;
        Self { scale, low: low - margin, high: high + margin }
    }

    /// With the zero that bars begin at, and no margin beyond it.
    fn with_zero(self) -> Self {
        if self.scale != Scale::Linear {
            return self;
        }
        let margin = (self.high - self.low) * 0.05;
        let low = if self.low + margin >= 0.0 { 0.0 } else { self.low };
        let high = if self.high - margin <= 0.0 { 0.0 } else { self.high };
        // all bars are nothing
        Self { low, high: if high > low { high } else { low + 1.0 }, ..self }
    }

    /// From 0 (low) to 1 (high).
    fn share(&self, value: f64) -> f64 {
        if !can_stand(value, self.scale) {
            return if value > 0.0 { 1.0 } else { 0.0 };
        }
        ((turn(value, self.scale) - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// Marks and what they say.
    fn ticks(&self) -> (Vec<f64>, Vec<String>) {
        let inside = |values: Vec<f64>| -> Vec<f64> {
            let holds = |value: &f64| (self.low..=self.high).contains(&turn(*value, self.scale));
            values.into_iter().filter(holds).collect()
        };
        let marks = match self.scale {
            Scale::Linear => return labelled(ticks::linear(self.low, self.high, 8)),
            Scale::Log2 => powers(self.low, self.high, 14).into_iter().map(f64::exp2).collect(),
            Scale::Log10 if self.high - self.low > 4.0 => {
                let exponents = powers(self.low, self.high, 10);
                let values: Vec<f64> = exponents.into_iter().map(|exponent| 10f64.powf(exponent)).collect();
                let label = |value: &f64| {
                    if (1e-3..1e6).contains(value) { ticks::number(*value) } else { ticks::power_of_ten(*value) }
                };
                let labels = values.iter().map(label).collect();
                return (values, labels);
            }
            Scale::Log10 => ticks::log10(10f64.powf(self.low), 10f64.powf(self.high)),
        };
        let marks = inside(marks);
        if self.scale == Scale::Log2 && marks.len() > 1 {
            // powers of two are known by all their digits
            let is_short = |value: &f64| (1.0 / 1024.0..1e10).contains(value);
            let label = |value: &f64| if is_short(value) { value.to_string() } else { ticks::number(*value) };
            let labels = marks.iter().map(label).collect();
            return (marks, labels);
        }
        if marks.len() > 1 {
            return labelled(marks);
        }
        // too narrow for round powers
        let back = |turned: f64| if self.scale == Scale::Log2 { turned.exp2() } else { 10f64.powf(turned) };
        labelled(inside(ticks::linear(back(self.low), back(self.high), 5)))
    }
}

/// Whole exponents between two, every second, third… where there are more than `n`.
fn powers(low: f64, high: f64, n: usize) -> Vec<f64> {
    let (first, last) = (low.ceil() as i64, high.floor() as i64);
    let step = ((last - first + 1).max(1) as usize).div_ceil(n) as i64;
    let multiples = (first..=last).filter(|exponent| exponent.rem_euclid(step) == 0);
    multiples.map(|exponent| exponent as f64).collect()
}

fn turn(value: f64, scale: Scale) -> f64 {
    match scale {
        Scale::Linear => value,
        Scale::Log2 => value.log2(),
        Scale::Log10 => value.log10(),
    }
}

/// Marks with labels that tell them apart; long numbers become digits and a power.
fn labelled(values: Vec<f64>) -> (Vec<f64>, Vec<String>) {
    let told_apart = |labels: &Vec<String>| labels.windows(2).all(|pair| pair[0] != pair[1]);
    let short: Vec<_> = values.iter().copied().map(ticks::number).collect();
    // neighbors among large whole numbers differ in digits that a short number has not
    let whole = || values.iter().map(|value| format!("{value:.0}")).collect();
    let is_whole = values.iter().all(|value| value.fract() == 0.0);
    let plain = if is_whole && !told_apart(&short) { whole() } else { ticks::labels(&values) };
    if plain.iter().all(|label| label.chars().count() <= 11) {
        return (values, plain);
    }
    let with = |digits: usize| values.iter().map(|value| format!("{value:.digits$e}")).collect::<Vec<_>>();
    let labels = (0..8).map(with).find(told_apart).unwrap_or_else(|| with(8));
    (values, labels)
}

/// Labels centered on their places inside `room`, each in the lowest row where none stands already.
fn label_rows<'a>(places: impl Iterator<Item = (f64, &'a str)>, room: (f64, f64)) -> Vec<(f64, String, usize)> {
    let mut taken: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut placed = Vec::new();
    for (x, label) in places {
        let label = cut(label, LABEL_SIZE, room.1 - room.0 - 8.0);
        let half = text::width(&label, LABEL_SIZE) / 2.0 + 4.0;
        let middle = middle_of_label(x, half, room);
        let is_free = |row: &Vec<(f64, f64)>| row.iter().all(|(from, to)| middle + half < *from || middle - half > *to);
        let row = taken.iter().position(is_free).unwrap_or(taken.len());
        if row == taken.len() {
            taken.push(Vec::new());
        }
        taken[row].push((middle - half, middle + half));
        placed.push((x, label, row));
    }
    placed
}

fn middle_of_label(x: f64, half: f64, room: (f64, f64)) -> f64 {
    x.min(room.1 - half).max(room.0 + half)
}

fn label_on_ground(scene: &mut Scene, label: &str, (x, y): (f64, f64), half: f64) {
    if label.is_empty() {
        return;
    }
    scene.rect(Rect { x0: x - half, y0: y - 7.5, x1: x + half, y1: y + 7.5 }, WHITE);
    scene.text(label, (x, y), Anchor::Middle, LABEL_SIZE, color::ALARM);
}
