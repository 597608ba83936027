//! Any numbers against any others: lines, points or bars.

mod axes;
mod marks;

use crate::canvas::{Figure, PlotError};
use crate::color::{self, Rgb};
use crate::frame::{self, Heading};
use crate::legend::{self, Entry, Marker, Sample};
use crate::scene::{Panel, Scene};

use axes::{Axes, can_stand};
pub use axes::{Axis, Scale};

/// One or more series of numbers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LinePlot {
    /// What is shown.
    pub title: String,
    /// On what it was measured; may be empty.
    pub subtitle: String,
    /// What stands for a point.
    pub kind: Kind,
    /// The axis to the right.
    pub x: Axis,
    /// The axis upwards, of what was measured.
    pub y: Axis,
    /// Names along the x axis instead of numbers: the `x` of a point is then an index into them, and the scale of `x` does
    /// not matter. Bars without names stand at the distinct values of `x`.
    pub categories: Vec<String>,
    /// What was measured.
    pub series: Vec<LineSeries>,
    /// Values to compare with.
    pub references: Vec<Reference>,
}

/// What stands for a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// A line through the points of a series, in the order of their `x`.
    #[default]
    Line,
    /// A marker, joined to no other.
    Scatter,
    /// A bar, side by side with those of the other series.
    Bar,
}

/// Numbers that belong together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LineSeries {
    /// The name in the legend; an empty one has no entry there.
    pub name: String,
    /// Its points, in any order.
    pub points: Vec<LinePoint>,
}

/// A value, and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinePoint {
    /// Place along the x axis, or the index of a category.
    pub x: f64,
    /// Place along the y axis; NaN leaves a gap.
    pub y: f64,
    /// Lowest and highest value that it may as well be.
    pub band: Option<(f64, f64)>,
}

/// A dashed line across the plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// Whether it runs upwards, at a value of `x`.
    pub is_vertical: bool,
    /// The value it stands at; one that no axis can show is left out.
    pub at: f64,
    /// What it is.
    pub label: String,
}

/// Dashes and gaps of the first eight series, the second eight, …, in pixels.
const DASHES: [&[f64]; 4] = [&[], &[9.0, 5.0], &[3.0, 4.0], &[12.0, 4.0, 3.0, 4.0]];

impl LinePoint {
    /// A point without a band.
    pub fn new(x: f64, y: f64) -> Self {
        Self { x, y, band: None }
    }
}

impl Figure for LinePlot {
    fn size(&self) -> (u32, u32) {
        let legend = legend::height(&self.legend(), 1000.0 - 2.0 * frame::MARGIN);
        (1000, 650.max(520 + legend as u32))
    }

    fn scene(&self, size: (u32, u32)) -> Result<Scene, PlotError> {
        let plot = self.with_places()?;
        let mut scene = Scene::new(size);
        let heading = Heading { title: String::new(), subtitle: self.subtitle.clone() };
        let room = frame::frame(&mut scene, &self.title, &heading, &plot.legend());
        let axes = Axes::new(&plot, room);
        axes.draw(&mut scene, &plot);
        scene.panels.push(Panel { area: axes.area, n_columns: 1, n_rows: 1 });
        match self.kind {
            Kind::Line => marks::lines(&mut scene, &axes, &plot),
            Kind::Scatter => marks::scatter(&mut scene, &axes, &plot),
            Kind::Bar => marks::bars(&mut scene, &axes, &plot),
        }
        axes.draw_references(&mut scene);
        if self.kind == Kind::Bar {
            marks::bar_values(&mut scene, &axes, &plot);
        }
        Ok(scene)
    }
}

impl LinePlot {
    /// Checked, and with names for the places of bars.
    fn with_places(&self) -> Result<Self, PlotError> {
        let mut plot = self.clone();
        if self.kind == Kind::Bar && self.categories.is_empty() {
            let mut places: Vec<f64> = self.points().map(|point| point.x).filter(|x| x.is_finite()).collect();
            places.sort_by(f64::total_cmp);
            places.dedup();
            plot.categories = crate::ticks::labels(&places);
            for point in plot.series.iter_mut().flat_map(|series| &mut series.points) {
                let place = places.iter().position(|place| place.total_cmp(&point.x).is_eq());
                point.x = place.map_or(f64::NAN, |place| place as f64);
            }
        }
        let n_places = plot.categories.len();
        let is_place = |x: f64| x.is_nan() || (x >= 0.0 && x < n_places as f64 && x.fract() == 0.0);
        if n_places > 0
            && let Some(point) = plot.points().find(|point| !is_place(point.x))
        {
            return Err(PlotError::Shape {
                what: "index of a category (whole numbers below the number of categories)",
                expected: n_places,
                found: point.x.max(0.0) as usize,
            });
        }
        if !plot.points().any(|point| plot.is_shown(point)) {
            return Err(PlotError::NoData { missing: "no point has two numbers that the axes can show" });
        }
        Ok(plot)
    }

    fn points(&self) -> impl Iterator<Item = &LinePoint> {
        self.series.iter().flat_map(|series| &series.points)
    }

    /// The scale of the x axis; names stand at equal distances.
    fn x_scale(&self) -> Scale {
        if self.categories.is_empty() { self.x.scale } else { Scale::Linear }
    }

    fn is_shown(&self, point: &LinePoint) -> bool {
        can_stand(point.x, self.x_scale()) && can_stand(point.y, self.y.scale)
    }

    fn legend(&self) -> Vec<Entry> {
        let named = self.series.iter().enumerate().filter(|(_, series)| !series.name.is_empty());
        let sample = |idx: usize| match (self.kind, dashes(idx)) {
            (Kind::Bar, _) => Sample::Cell(fill(idx)),
            (Kind::Scatter, _) => Sample::Point(color::distinct(idx), Marker::distinct(idx)),
            (Kind::Line, []) => Sample::Series(color::distinct(idx), Marker::distinct(idx)),
            (Kind::Line, dashes) => Sample::Dashed(color::distinct(idx), Marker::distinct(idx), dashes),
        };
        let mut entries: Vec<_> = named.map(|(idx, series)| Entry::new(sample(idx), &series.name)).collect();
        if self.points().any(|point| point.band.is_some()) {
            let what = if self.kind == Kind::Line { "shaded" } else { "whiskers" };
            entries.push(Entry::new(Sample::Note, format!("{what}: from low to high")));
        }
        let is_lost = |point: &&LinePoint| !point.x.is_nan() && !point.y.is_nan() && !self.is_shown(point);
        let n_lost = self.points().filter(is_lost).count();
        if n_lost > 0 {
            let is_log = [self.x_scale(), self.y.scale].iter().any(|scale| *scale != Scale::Linear);
            let why = if is_log { "infinite, or not above 0 on a log axis" } else { "infinite" };
            let points = if n_lost == 1 { "point" } else { "points" };
            entries.push(Entry::new(Sample::Note, format!("{n_lost} {points} not shown: {why}")));
        }
        entries
    }
}

fn dashes(idx: usize) -> &'static [f64] {
    DASHES[idx / 8 % DASHES.len()]
}

/// The color of a bar; paler for each further eight.
fn fill(idx: usize) -> Rgb {
    let color = color::distinct(idx);
    match idx / 8 % 3 {
        0 => color,
        1 => color::tint(color, 0.7),
        _ => color::tint(color, 0.4),
    }
}

#[cfg(test)]
mod tests;
