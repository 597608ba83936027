//! What stands for the points: lines with bands, markers, bars.

use std::collections::HashSet;

use crate::color::{self, INK, Rgb, WHITE};
use crate::legend::Marker;
use crate::scene::{Anchor, Point, Rect, Scene};
use crate::{text, ticks};

use super::axes::Axes;
use super::{LinePlot, LinePoint, dashes, fill};

/// A line with more points has markers at some of them.
const MOST_MARKERS: usize = 24;
/// With more points, a series is a cloud of dots.
const MANY_POINTS: usize = 300;

/// Bands below all lines, then the lines.
pub fn lines(scene: &mut Scene, axes: &Axes, plot: &LinePlot) {
    let parts: Vec<Vec<Vec<LinePoint>>> = plot.series.iter().map(|series| unbroken(plot, &series.points)).collect();
    for (idx, parts) in parts.iter().enumerate() {
        for part in parts {
            band(scene, axes, part, color::distinct(idx));
        }
    }
    for (idx, parts) in parts.iter().enumerate() {
        let (color, marker) = (color::distinct(idx), Marker::distinct(idx));
        for part in parts {
            let places: Vec<Point> = part.iter().map(|point| (axes.x(point.x), axes.y(point.y))).collect();
            if places.len() > 1 {
                scene.dashed(&thinned(&places), 2.0, color, dashes(idx));
            }
        }
        let places: Vec<Point> = parts.iter().flatten().map(|point| (axes.x(point.x), axes.y(point.y))).collect();
        let step = places.len().div_ceil(MOST_MARKERS).max(1);
        // markers of different series stand at different points where not all have one
        let first = if step > 1 { idx * step / plot.series.len() } else { 0 };
        for at in places.iter().skip(first).step_by(step) {
            marker.draw(scene, *at, color, true);
        }
        if step > 1 {
            for part in parts.iter().filter(|part| part.len() == 1) {
                scene.circle((axes.x(part[0].x), axes.y(part[0].y)), 2.0, color);
            }
        }
    }
}

/// A marker per point; dots where there are many.
pub fn scatter(scene: &mut Scene, axes: &Axes, plot: &LinePlot) {
    for (idx, series) in plot.series.iter().enumerate() {
        let color = color::distinct(idx);
        let shown: Vec<&LinePoint> = series.points.iter().filter(|point| plot.is_shown(point)).collect();
        for point in &shown {
            whisker(scene, axes, axes.x(point.x), point.band, color);
        }
        let mut taken = HashSet::new();
        for point in &shown {
            let at = (axes.x(point.x), axes.y(point.y));
            if shown.len() <= MANY_POINTS {
                Marker::distinct(idx).draw(scene, at, color, true);
            } else if taken.insert((at.0.round() as i64, at.1.round() as i64)) {
                scene.circle(at, 2.0, color);
            }
        }
    }
}

/// Bars of one place side by side.
pub fn bars(scene: &mut Scene, axes: &Axes, plot: &LinePlot) {
    let (width, base) = (bar_width(axes, plot), axes.base());
    for (idx, series) in plot.series.iter().enumerate() {
        for point in series.points.iter().filter(|point| plot.is_shown(point)) {
            let middle = bar_middle(axes, plot, idx, point);
            let y = axes.y(point.y);
            let half = width / 2.0 - if width > 6.0 { 1.0 } else { 0.0 };
            let bar = Rect { x0: middle - half, y0: y.min(base), x1: middle + half, y1: y.max(base) };
            scene.rect(bar, fill(idx));
            whisker(scene, axes, middle, point.band, INK);
        }
    }
    scene.rect(Rect { y0: base - 0.5, y1: base + 0.5, ..axes.area }, INK);
}

/// The values of bars at their ends, where there is room; no line runs through one.
pub fn bar_values(scene: &mut Scene, axes: &Axes, plot: &LinePlot) {
    let (width, base) = (bar_width(axes, plot), axes.base());
    // all bars have room for their value, or none says it
    let room = |point: &LinePoint| text::width(&ticks::number(point.y), VALUE_SIZE);
    if !plot.points().filter(|point| plot.is_shown(point)).all(|point| room(point) <= width) {
        return;
    }
    for (idx, series) in plot.series.iter().enumerate() {
        for point in series.points.iter().filter(|point| plot.is_shown(point) && point.band.is_none()) {
            let (middle, y) = (bar_middle(axes, plot, idx, point), axes.y(point.y));
            let end = if y > base { y + 8.0 } else { y - 8.0 };
            if end < axes.area.y0 + 6.0 || end > axes.area.y1 - 6.0 {
                continue;
            }
            let half = room(point) / 2.0 + 1.0;
            let ground = Rect { x0: middle - half, x1: middle + half, y0: end - 6.0, y1: end + 6.0 };
            if axes.has_vertical((ground.x0, ground.x1)) {
                scene.rect(ground, WHITE);
            }
            scene.text(ticks::number(point.y), (middle, end), Anchor::Middle, VALUE_SIZE, INK);
        }
    }
}

/// Letters of the values of bars.
const VALUE_SIZE: f64 = 10.0;

fn bar_width(axes: &Axes, plot: &LinePlot) -> f64 {
    let slot = axes.area.width() / plot.categories.len() as f64;
    (slot * 0.8 / plot.series.len() as f64).min(90.0)
}

/// Where the bar of a point of the series at `idx` has its middle.
fn bar_middle(axes: &Axes, plot: &LinePlot, idx: usize, point: &LinePoint) -> f64 {
    let n = plot.series.len() as f64;
    axes.x(point.x) + (idx as f64 - n / 2.0 + 0.5) * bar_width(axes, plot)
}

/// Points by their `x`, cut where a value is missing.
fn unbroken(plot: &LinePlot, points: &[LinePoint]) -> Vec<Vec<LinePoint>> {
    let mut points: Vec<LinePoint> = points.iter().filter(|point| !point.x.is_nan()).copied().collect();
    points.sort_by(|a, b| a.x.total_cmp(&b.x));
    let parts = points.split(|point| !plot.is_shown(point));
    parts.filter(|part| !part.is_empty()).map(<[LinePoint]>::to_vec).collect()
}

/// The shaded range of neighbors, edged so that bands over each other stay apart; a whisker where a point has no neighbor.
fn band(scene: &mut Scene, axes: &Axes, part: &[LinePoint], color: Rgb) {
    let edges: Vec<Option<(f64, f64, f64)>> = part
        .iter()
        .map(|point| {
            let (low, high) = point.band.filter(|(low, high)| !low.is_nan() && !high.is_nan())?;
            Some((axes.x(point.x), axes.y(low), axes.y(high)))
        })
        .collect();
    for run in edges.split(Option::is_none).filter(|run| !run.is_empty()) {
        let run: Vec<_> = run.iter().flatten().copied().collect();
        if let [(x, low, high)] = run[..] {
            draw_whisker(scene, x, low, high, color);
            continue;
        }
        let low: Vec<Point> = run.iter().map(|(x, low, _)| (*x, *low)).collect();
        let high: Vec<Point> = run.iter().map(|(x, _, high)| (*x, *high)).collect();
        scene.polygon(
            low.iter().copied().chain(high.iter().rev().copied()).collect::<Vec<_>>(),
            color::tint(color, 0.16),
        );
        for edge in [low, high] {
            scene.line(thinned(&edge), 1.0, color::tint(color, 0.45));
        }
    }
}

fn whisker(scene: &mut Scene, axes: &Axes, x: f64, band: Option<(f64, f64)>, color: Rgb) {
    if let Some((low, high)) = band.filter(|(low, high)| !low.is_nan() && !high.is_nan()) {
        draw_whisker(scene, x, axes.y(low), axes.y(high), color);
    }
}

fn draw_whisker(scene: &mut Scene, x: f64, low: f64, high: f64, color: Rgb) {
    scene.line([(x, low), (x, high)], 1.5, color);
    for y in [low, high] {
        scene.line([(x - 4.0, y), (x + 4.0, y)], 1.5, color);
    }
}

/// Of points in one column of pixels, the first, the lowest, the highest and the last: the same picture from less.
fn thinned(places: &[Point]) -> Vec<Point> {
    let mut kept = Vec::new();
    for column in places.chunk_by(|a, b| a.0.floor().total_cmp(&b.0.floor()).is_eq()) {
        let by_height = |a: &&Point, b: &&Point| a.1.total_cmp(&b.1);
        if column.len() <= 4 {
            kept.extend_from_slice(column);
            continue;
        }
        let ends = [column.first(), column.iter().min_by(by_height), column.iter().max_by(by_height), column.last()];
        kept.extend(ends.into_iter().flatten());
    }
    kept
}
