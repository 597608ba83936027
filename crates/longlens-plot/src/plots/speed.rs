//! Speed against length: one line per method and phase.

use crate::canvas::{Figure, PlotError};
use crate::color::{self, GRAY, RULE};
use crate::frame::{self, Heading, Tick};
use crate::legend::{self, Entry, Marker, Sample};
use crate::scene::{Panel, Point, Rect, Scene};
use crate::ticks;

/// Tokens per second of several methods.
#[derive(Debug, Clone, PartialEq)]
pub struct Speed {
    /// Title and subtitle: what ran, and on which model.
    pub heading: Heading,
    /// One per method and phase; both lines of a method share its color and marker.
    pub series: Vec<SpeedSeries>,
}

/// The results of one method in one phase.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SpeedSeries {
    /// The method's text form.
    pub name: String,
    /// Whether tokens came one by one; such points are hollow.
    pub is_decode: bool,
    /// Results, in any order.
    pub points: Vec<SpeedPoint>,
}

/// Speed at one length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpeedPoint {
    /// Tokens of the prompt.
    pub n_tokens: usize,
    /// Tokens per second.
    pub tokens_per_s: f64,
}

/// The drawing area and how numbers become places in it.
struct Axes {
    area: Rect,
    /// log2 of the shortest and longest prompt shown.
    lengths: (f64, f64),
    /// log10 of the lowest and highest speed shown.
    speeds: (f64, f64),
}

impl Figure for Speed {
    fn size(&self) -> (u32, u32) {
        let legend = legend::height(&self.legend(), 1000.0 - 2.0 * frame::MARGIN);
        (1000, 650.max(500 + legend as u32))
    }

    fn scene(&self, size: (u32, u32)) -> Result<Scene, PlotError> {
        if self.points().next().is_none() {
            return Err(PlotError::NoData { missing: "no speed was measured" });
        }
        let mut scene = Scene::new(size);
        let room = frame::frame(&mut scene, "Speed by prompt length", &self.heading, &self.legend());
        let axes = self.axes(room);
        self.grid(&mut scene, &axes);
        scene.panels.push(Panel { area: axes.area, n_columns: 1, n_rows: 1 });
        let names = self.names();
        for series in &self.series {
            let idx = names.iter().position(|name| *name == series.name).unwrap_or_default();
            draw_series(&mut scene, &axes, series, idx);
        }
        Ok(scene)
    }
}

impl Speed {
    /// Points that a logarithmic axis can show.
    fn points(&self) -> impl Iterator<Item = &SpeedPoint> {
        self.series.iter().flat_map(|series| &series.points).filter(|point| is_shown(point))
    }

    /// The methods, in order.
    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for series in &self.series {
            if !names.contains(&series.name.as_str()) {
                names.push(&series.name);
            }
        }
        names
    }

    fn legend(&self) -> Vec<Entry> {
        let sample = |idx| Sample::Series(color::distinct(idx), Marker::distinct(idx));
        let mut entries: Vec<_> =
            self.names().into_iter().enumerate().map(|(idx, name)| Entry::new(sample(idx), name)).collect();
        let [decode, prefill] = [true, false].map(|kind| self.series.iter().any(|series| series.is_decode == kind));
        let note = match (prefill, decode) {
            (true, true) => "filled: prefill; hollow: decode, one token at a time",
            (false, true) => "decode, one token at a time",
            (_, false) => "prefill",
        };
        entries.push(Entry::new(Sample::Note, note));
        entries
    }

    /// The area left inside `room` and the ranges it shows.
    fn axes(&self, room: Rect) -> Axes {
        let log2 = |point: &SpeedPoint| (point.n_tokens.max(1) as f64).log2();
        let log10 = |point: &SpeedPoint| point.tokens_per_s.log10();
        let range = |values: &dyn Fn(&SpeedPoint) -> f64| {
            let (low, high) = (f64::INFINITY, f64::NEG_INFINITY);
            self.points().map(values).fold((low, high), |(low, high), value| (low.min(value), high.max(value)))
        };
        let ((shortest, longest), (lowest, highest)) = (range(&log2), range(&log10));
        let speeds = (lowest - 0.15, highest + 0.15);
        let labels = ticks::labels(&speed_ticks(speeds));
        let x0 = room.x0 + frame::y_axis_width(&labels, "speed");
        let y1 = room.y1 - frame::x_axis_height(&[], "length");
        let area = Rect { x0, y0: room.y0 + 6.0, x1: room.x1 - 12.0, y1 };
        Axes { area, lengths: (shortest - 0.35, longest + 0.35), speeds }
    }

    fn grid(&self, scene: &mut Scene, axes: &Axes) {
        let area = axes.area;
        let lengths = ticks::lengths(axes.lengths, self.points().map(|point| point.n_tokens));
        let x_ticks: Vec<_> = lengths.into_iter().map(|n| Tick::new(axes.x(n), n.to_string())).collect();
        let speeds = speed_ticks(axes.speeds);
        let labels = ticks::labels(&speeds);
        let y_ticks: Vec<_> =
            speeds.into_iter().zip(labels).map(|(speed, label)| Tick::new(axes.y(speed), label)).collect();
        for tick in &x_ticks {
            scene.rect(Rect { x0: tick.at - 0.5, x1: tick.at + 0.5, ..area }, RULE);
        }
        for tick in &y_ticks {
            scene.rect(Rect { y0: tick.at - 0.5, y1: tick.at + 0.5, ..area }, RULE);
        }
        scene.outline(area.inset(-1.0), 1.0, GRAY);
        frame::x_axis(scene, area, &x_ticks, "length (tokens, log₂ scale)");
        frame::y_axis(scene, area, &y_ticks, "tokens per second (log scale)");
    }
}

fn draw_series(scene: &mut Scene, axes: &Axes, series: &SpeedSeries, idx: usize) {
    let (color, marker) = (color::distinct(idx), Marker::distinct(idx));
    let mut points: Vec<&SpeedPoint> = series.points.iter().filter(|point| is_shown(point)).collect();
    points.sort_by_key(|point| point.n_tokens);
    let places: Vec<Point> =
        points.into_iter().map(|point| (axes.x(point.n_tokens), axes.y(point.tokens_per_s))).collect();
    if places.len() > 1 {
        scene.line(places.as_slice(), 2.0, color);
    }
    for at in places {
        marker.draw(scene, at, color, !series.is_decode);
    }
}

impl Axes {
    fn x(&self, n_tokens: usize) -> f64 {
        let (low, high) = self.lengths;
        self.area.x0 + self.area.width() * ((n_tokens.max(1) as f64).log2() - low) / (high - low)
    }

    fn y(&self, speed: f64) -> f64 {
        let (low, high) = self.speeds;
        self.area.y1 - self.area.height() * (speed.log10() - low) / (high - low)
    }
}

fn is_shown(point: &SpeedPoint) -> bool {
    point.tokens_per_s.is_finite() && point.tokens_per_s > 0.0
}

/// 1, 2 and 5 times powers of ten between two logarithms; powers of ten alone where there are many.
fn speed_ticks((low, high): (f64, f64)) -> Vec<f64> {
    let (low, high) = (10f64.powf(low), 10f64.powf(high));
    if high / low > 1e4 { ticks::decades(low, high) } else { ticks::log10(low, high) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canvas::Canvas;
    use crate::color::WHITE;

    fn figure(speeds: &[f64]) -> Speed {
        let line = |is_decode: bool, divide: f64| SpeedSeries {
            name: "full".to_owned(),
            is_decode,
            points: speeds
                .iter()
                .enumerate()
                .map(|(k, speed)| SpeedPoint { n_tokens: 1024 << k, tokens_per_s: speed / divide })
                .collect(),
        };
        Speed { heading: Heading::default(), series: vec![line(false, 1.0), line(true, 30.0)] }
    }

    #[test]
    fn faster_stands_higher_and_decode_is_hollow() {
        let figure = figure(&[20_000.0, 5_000.0]);
        let scene = figure.scene(figure.size()).unwrap();
        let axes = figure.axes(scene.panels[0].area);
        assert!(axes.y(20_000.0) < axes.y(5_000.0));
        let pixels = Canvas::default().to_rgb(&figure).unwrap();
        let area = scene.panels[0].area;
        let (low, high) = (f64::log10(5_000.0 / 30.0) - 0.15, f64::log10(20_000.0) + 0.15);
        let y = |speed: f64| area.y1 - area.height() * (speed.log10() - low) / (high - low);
        let x = area.x0 + area.width() * 0.35 / 1.7;
        let color = |speed: f64| pixels.at(x.round() as u32, y(speed).round() as u32);
        assert_eq!((color(20_000.0), color(20_000.0 / 30.0)), (color::distinct(0), WHITE));
    }

    #[test]
    fn both_phases_share_one_entry_of_the_legend() {
        let svg = Canvas::default().to_svg_string(&figure(&[20_000.0, 5_000.0])).unwrap();
        assert_eq!(svg.matches("full").count(), 1);
        for text in ["hollow: decode", "tokens per second", "log₂", "10000"] {
            assert!(svg.contains(text), "{text}");
        }
    }

    #[test]
    fn any_data_has_a_picture() {
        for speeds in [&[1.0][..], &[0.0, 5.0], &[f64::INFINITY, 1e-3, 1e9], &[3.0, f64::NAN]] {
            Canvas::default().to_rgb(&figure(speeds)).unwrap();
        }
        let error = Canvas::default().to_rgb(&figure(&[0.0])).unwrap_err();
        assert!(matches!(error, PlotError::NoData { .. }) && error.help().is_some());
    }
}
