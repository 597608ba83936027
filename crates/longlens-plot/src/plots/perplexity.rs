//! Perplexity against length: one line per method.

use crate::canvas::{Figure, PlotError};
use crate::color::{self, GRAY, RULE, Rgb, WHITE};
use crate::frame::{self, Heading, Tick};
use crate::legend::{self, Entry, Marker, Sample};
use crate::scene::{Anchor, Panel, Point, Rect, Scene};
use crate::{text, ticks};

/// Perplexity of several methods.
#[derive(Debug, Clone, PartialEq)]
pub struct Perplexity {
    /// Title and subtitle: what ran, and on which model.
    pub heading: Heading,
    /// Trained context of the model, in tokens.
    pub trained_context: usize,
    /// One per method.
    pub series: Vec<PerplexitySeries>,
    /// Values above this stand at the upper edge; 100 times the lowest value when absent.
    pub cap: Option<f64>,
}

/// The results of one method.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PerplexitySeries {
    /// The method's text form.
    pub name: String,
    /// Results, in any order.
    pub points: Vec<PerplexityPoint>,
}

/// Perplexity at one length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PerplexityPoint {
    /// Tokens of context.
    pub n_tokens: usize,
    /// Perplexity; infinite or NaN counts as above every cap.
    pub perplexity: f64,
    /// Scored tokens behind it.
    pub n_scored: usize,
}

/// With fewer scored tokens than this, a point is hollow.
pub const FEW_SCORED: usize = 1000;

/// The drawing area and how numbers become places in it.
struct Axes {
    area: Rect,
    /// log2 of the shortest and longest context shown.
    lengths: (f64, f64),
    values: (f64, f64),
    log: bool,
}

impl Figure for Perplexity {
    fn size(&self) -> (u32, u32) {
        let legend = legend::height(&self.legend(false, 0.0), 1000.0 - 2.0 * frame::MARGIN);
        (1000, 650.max(500 + legend as u32))
    }

    fn scene(&self, size: (u32, u32)) -> Result<Scene, PlotError> {
        let finite = || self.points().map(|point| point.perplexity).filter(|value| value.is_finite() && *value > 0.0);
        if self.points().next().is_none() {
            return Err(PlotError::NoData { missing: "no perplexity was measured" });
        }
        let lowest = finite().fold(f64::INFINITY, f64::min);
        let lowest = if lowest.is_finite() { lowest } else { 1.0 };
        let cap = self.cap.unwrap_or(lowest * 100.0).max(lowest * 1.01);
        let highest = finite().filter(|value| *value <= cap).fold(lowest, f64::max);
        let clipped = self.points().any(|point| is_above(point.perplexity, cap));

        let mut scene = Scene::new(size);
        let room = frame::frame(&mut scene, "Perplexity by context length", &self.heading, &self.legend(clipped, cap));
        let axes = self.axes(room, (lowest, if clipped { cap } else { highest }));
        self.grid(&mut scene, &axes);
        scene.panels.push(Panel { area: axes.area, n_columns: 1, n_rows: 1 });
        let trained = axes.x(self.trained_context);
        if (axes.area.x0..=axes.area.x1).contains(&trained) {
            frame::trained_line(&mut scene, axes.area, trained, self.trained_context);
        }
        for (idx, series) in self.series.iter().enumerate() {
            draw_series(&mut scene, &axes, series, idx, cap);
        }
        self.clipped_values(&mut scene, &axes, cap);
        Ok(scene)
    }
}

impl Perplexity {
    fn points(&self) -> impl Iterator<Item = &PerplexityPoint> {
        self.series.iter().flat_map(|series| &series.points)
    }

    fn legend(&self, clipped: bool, cap: f64) -> Vec<Entry> {
        let sample = |idx| Sample::Series(color::distinct(idx), Marker::distinct(idx));
        let mut entries: Vec<_> =
            self.series.iter().enumerate().map(|(idx, series)| Entry::new(sample(idx), &series.name)).collect();
        if self.points().any(|point| point.n_scored < FEW_SCORED) {
            entries.push(Entry::new(Sample::Note, format!("hollow: fewer than {FEW_SCORED} scored tokens")));
        }
        if clipped {
            entries.push(Entry::new(Sample::Note, format!("↑ above {}: stands at the edge", ticks::number(cap))));
        }
        entries
    }

    /// The area left inside `room` and the ranges it shows.
    fn axes(&self, room: Rect, (lowest, highest): (f64, f64)) -> Axes {
        let log2 = |n_tokens: usize| (n_tokens.max(1) as f64).log2();
        let shortest = self.points().map(|point| log2(point.n_tokens)).fold(f64::INFINITY, f64::min);
        let longest = self.points().map(|point| log2(point.n_tokens)).fold(0.0, f64::max);
        let log = highest / lowest > 8.0;
        let values = if log {
            (lowest / 1.25, highest * 1.25)
        } else {
            let margin = (highest - lowest).max(lowest * 0.02) * 0.08;
            (lowest - margin, highest + margin)
        };
        let labels = ticks::labels(&value_ticks(values, log));
        let x0 = room.x0 + frame::y_axis_width(&labels, "perplexity");
        let y1 = room.y1 - frame::x_axis_height(&[], "length");
        let area = Rect { x0, y0: room.y0 + 18.0, x1: room.x1 - 12.0, y1 };
        Axes { area, lengths: (shortest - 0.35, longest + 0.35), values, log }
    }

    fn grid(&self, scene: &mut Scene, axes: &Axes) {
        let area = axes.area;
        let lengths = ticks::lengths(axes.lengths, self.points().map(|point| point.n_tokens));
        let x_ticks: Vec<_> = lengths.into_iter().map(|n| Tick::new(axes.x(n), n.to_string())).collect();
        let values = value_ticks(axes.values, axes.log);
        let labels = ticks::labels(&values);
        let y_ticks: Vec<_> =
            values.into_iter().zip(labels).map(|(value, label)| Tick::new(axes.y(value), label)).collect();
        for tick in &x_ticks {
            scene.rect(Rect { x0: tick.at - 0.5, x1: tick.at + 0.5, ..area }, RULE);
        }
        for tick in &y_ticks {
            scene.rect(Rect { y0: tick.at - 0.5, y1: tick.at + 0.5, ..area }, RULE);
        }
        scene.outline(area.inset(-1.0), 1.0, GRAY);
        frame::x_axis(scene, area, &x_ticks, "length (tokens, log₂ scale)");
        let title = if axes.log { "perplexity (log scale)" } else { "perplexity" };
        frame::y_axis(scene, area, &y_ticks, title);
    }

    /// Writes the values that the edge hides, one below the other where several methods share a length.
    fn clipped_values(&self, scene: &mut Scene, axes: &Axes, cap: f64) {
        let mut hidden: Vec<(usize, usize, f64)> = Vec::new();
        for (idx, series) in self.series.iter().enumerate() {
            let above = series.points.iter().filter(|point| is_above(point.perplexity, cap));
            hidden.extend(above.map(|point| (point.n_tokens, idx, point.perplexity)));
        }
        hidden.sort_by_key(|(n_tokens, idx, _)| (*n_tokens, *idx));
        let mut row = 0;
        for (at, (n_tokens, idx, value)) in hidden.iter().enumerate() {
            row = if at > 0 && hidden[at - 1].0 == *n_tokens { row + 1 } else { 0 };
            let label = format!("↑ {}", ticks::number(*value));
            let width = text::width(&label, 11.0);
            let middle = axes.x(*n_tokens).min(axes.area.x1 - width / 2.0 - 4.0);
            let y = axes.area.y0 + 20.0 + 15.0 * f64::from(row);
            let ground =
                Rect { x0: middle - width / 2.0 - 2.0, y0: y - 7.0, x1: middle + width / 2.0 + 2.0, y1: y + 7.0 };
            scene.rect(ground, WHITE);
            scene.text(label, (middle, y), Anchor::Middle, 11.0, darker(color::distinct(*idx)));
        }
    }
}

fn draw_series(scene: &mut Scene, axes: &Axes, series: &PerplexitySeries, idx: usize, cap: f64) {
    let (color, marker) = (color::distinct(idx), Marker::distinct(idx));
    let mut points = series.points.clone();
    points.sort_by_key(|point| point.n_tokens);
    let place = |point: &PerplexityPoint| {
        let y = if is_above(point.perplexity, cap) { axes.area.y0 } else { axes.y(point.perplexity) };
        (axes.x(point.n_tokens), y)
    };
    let places: Vec<Point> = points.iter().map(place).collect();
    if places.len() > 1 {
        scene.line(places.as_slice(), 2.0, color);
    }
    for (point, at) in points.iter().zip(places) {
        marker.draw(scene, at, color, point.n_scored >= FEW_SCORED);
    }
}

impl Axes {
    fn x(&self, n_tokens: usize) -> f64 {
        let (low, high) = self.lengths;
        self.area.x0 + self.area.width() * ((n_tokens.max(1) as f64).log2() - low) / (high - low)
    }

    fn y(&self, value: f64) -> f64 {
        let turn = |value: f64| if self.log { value.log10() } else { value };
        let (low, high) = (turn(self.values.0), turn(self.values.1));
        let y = self.area.y1 - self.area.height() * (turn(value) - low) / (high - low);
        y.clamp(self.area.y0, self.area.y1)
    }
}

fn is_above(value: f64, cap: f64) -> bool {
    value.is_nan() || value > cap
}

fn value_ticks((low, high): (f64, f64), log: bool) -> Vec<f64> {
    if log { ticks::log10(low, high) } else { ticks::linear(low, high, 6) }
}

/// Text needs more contrast than a line.
fn darker(color: Rgb) -> Rgb {
    let part = |c: u8| (f64::from(c) * 0.75) as u8;
    Rgb(part(color.0), part(color.1), part(color.2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canvas::{Canvas, Pixels};

    fn figure(values: &[f64]) -> Perplexity {
        let point = |(k, perplexity): (usize, &f64)| PerplexityPoint {
            n_tokens: 256 << k,
            perplexity: *perplexity,
            n_scored: if k == 0 { 10 } else { 5000 },
        };
        let points = values.iter().enumerate().map(point).collect();
        let series = vec![PerplexitySeries { name: "full".to_owned(), points }];
        Perplexity { heading: Heading::default(), trained_context: 512, series, cap: None }
    }

    /// Rows of the drawing area, from its top, that hold `color` within two pixels of `x`.
    fn rows_with(pixels: &Pixels, area: Rect, x: f64, color: Rgb) -> Vec<usize> {
        let has = |y: u32| (x as u32 - 2..=x as u32 + 2).any(|x| pixels.at(x, y) == color);
        (area.y0 as u32..area.y1 as u32).filter(|y| has(*y)).map(|y| (y - area.y0 as u32) as usize).collect()
    }

    #[test]
    fn higher_perplexity_stands_higher_and_the_trained_line_between() {
        let figure = figure(&[8.0, 7.0, 9.0]);
        let area = figure.scene(figure.size()).unwrap().panels[0].area;
        let pixels = Canvas::default().to_rgb(&figure).unwrap();
        let x = |k: f64| area.x0 + area.width() * (k + 0.35) / 2.7;
        let top = |k: f64| rows_with(&pixels, area, x(k), color::distinct(0))[0];
        assert!(top(2.0) < top(0.0) && top(0.0) < top(1.0), "{} {} {}", top(0.0), top(1.0), top(2.0));
        assert!(rows_with(&pixels, area, x(1.0), color::ALARM).len() > 100);
        // the first point has few scored tokens
        let center = |k: f64| pixels.at(x(k) as u32, area.y0 as u32 + top(k) as u32 + 5);
        assert_eq!((center(0.0), center(2.0)), (WHITE, color::distinct(0)));
    }

    #[test]
    fn exploding_values_stand_at_the_edge_and_say_so() {
        let svg = Canvas::default().to_svg_string(&figure(&[8.0, 9.0, 12345.0, f64::INFINITY])).unwrap();
        for text in ["↑ 12345", "↑ ∞", "above 800", "log scale", "full"] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(!Canvas::default().to_svg_string(&figure(&[8.0, 9.0])).unwrap().contains('↑'));
    }

    #[test]
    fn any_data_has_a_picture() {
        for values in [&[f64::NAN][..], &[5.0], &[1.0, 1.0], &[1.0, 1e9], &[0.0, f64::INFINITY]] {
            Canvas::default().to_rgb(&figure(values)).unwrap();
        }
        let error = Canvas::default().to_rgb(&figure(&[])).unwrap_err();
        assert!(matches!(error, PlotError::NoData { .. }) && error.help().is_some());
    }
}
