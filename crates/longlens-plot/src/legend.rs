//! The legend below a plot: a sample and a name per entry, in as many rows as it takes.

use crate::color::{GRAY, INK, Rgb};
use crate::scene::{Anchor, Point, Rect, Scene};
use crate::text;

/// A sample with its name.
pub struct Entry {
    /// What it looks like in the plot.
    pub sample: Sample,
    /// What it is.
    pub name: String,
}

/// What an entry looks like in the plot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sample {
    /// A cell of a map, filled with this color.
    Cell(Rgb),
    /// A filled cell with diagonal lines.
    Hatched(Rgb, Rgb),
    /// A cell of a map with this color around it.
    Outline(Rgb),
    /// A line with a marker.
    Series(Rgb, Marker),
    /// A line of dashes with a marker.
    Dashed(Rgb, Marker, &'static [f64]),
    /// A marker without a line, for points that are not joined.
    Point(Rgb, Marker),
    /// Nothing: the entry is a remark.
    Note,
}

/// The points of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker {
    /// ●
    Circle,
    /// ■
    Square,
    /// ▲
    Up,
    /// ◆
    Diamond,
    /// ▼
    Down,
    /// ＋
    Plus,
    /// ★
    Star,
    /// ▶
    Right,
}

impl Entry {
    pub fn new(sample: Sample, name: impl Into<String>) -> Self {
        Self { sample, name: name.into() }
    }
}

const SIZE: f64 = 12.0;
const ROW: f64 = 19.0;
const GAP: f64 = 24.0;

/// Height of the whole legend.
pub fn height(entries: &[Entry], width: f64) -> f64 {
    layout(entries, width).last().map_or(0.0, |(_, (_, y), lines)| y + lines.len() as f64 * ROW)
}

/// Draws the legend with its upper left corner at `at`.
pub fn draw(scene: &mut Scene, at: Point, width: f64, entries: &[Entry]) {
    for (entry, (x, y), lines) in layout(entries, width) {
        let (x, y) = (at.0 + x, at.1 + y + ROW / 2.0);
        let cell = Rect { x0: x, y0: y - 6.0, x1: x + 16.0, y1: y + 6.0 };
        match entry.sample {
            Sample::Cell(fill) => scene.rect(cell, fill),
            Sample::Hatched(fill, lines) => {
                scene.rect(cell, fill);
                scene.hatch(cell, 5.0, lines);
            }
            Sample::Outline(color) => scene.outline(cell, 2.0, color),
            Sample::Series(color, marker) => {
                scene.line([(x, y), (x + 28.0, y)], 2.0, color);
                marker.draw(scene, (x + 14.0, y), color, true);
            }
            Sample::Dashed(color, marker, pattern) => {
                scene.dashed(&[(x, y), (x + 40.0, y)], 2.0, color, pattern);
                marker.draw(scene, (x + 20.0, y), color, true);
            }
            Sample::Point(color, marker) => marker.draw(scene, (x + 8.0, y), color, true),
            Sample::Note => {}
        }
        if matches!(entry.sample, Sample::Cell(_) | Sample::Hatched(..)) {
            scene.outline(cell, 1.0, GRAY);
        }
        for (row, line) in lines.iter().enumerate() {
            let color = if entry.sample == Sample::Note { GRAY } else { INK };
            let place = (x + entry.sample.width(), y + row as f64 * ROW);
            scene.text(line, place, Anchor::Start, SIZE, color);
        }
    }
}

/// Every entry with its place and its lines.
fn layout(entries: &[Entry], width: f64) -> Vec<(&Entry, Point, Vec<String>)> {
    let mut placed = Vec::new();
    let (mut x, mut y, mut row_lines) = (0.0, 0.0, 1);
    for entry in entries {
        let before = entry.sample.width();
        let lines = text::wrap(&entry.name, SIZE, width - before);
        let needed = before + lines.iter().map(|line| text::width(line, SIZE)).fold(0.0, f64::max);
        if x > 0.0 && x + needed > width {
            (x, y, row_lines) = (0.0, y + row_lines as f64 * ROW, 1);
        }
        row_lines = row_lines.max(lines.len());
        placed.push((entry, (x, y), lines));
        x += needed + GAP;
    }
    placed
}

impl Sample {
    /// Room before the name.
    fn width(self) -> f64 {
        match self {
            Self::Note => 0.0,
            Self::Series(..) => 34.0,
            Self::Dashed(..) => 46.0,
            _ => 22.0,
        }
    }
}

impl Marker {
    const ALL: [Self; 8] =
        [Self::Circle, Self::Square, Self::Up, Self::Diamond, Self::Down, Self::Plus, Self::Star, Self::Right];

    /// The marker of the method at `idx`; the shift after eight keeps color and marker pairs distinct.
    pub fn distinct(idx: usize) -> Self {
        Self::ALL[(idx + idx / 8) % 8]
    }

    /// Draws it, filled or hollow.
    pub fn draw(self, scene: &mut Scene, at: Point, color: Rgb, filled: bool) {
        let mut part = |radius: f64, color| match self {
            Self::Circle => scene.circle(at, radius - 1.0, color),
            _ => scene.polygon(self.corners(at, radius), color),
        };
        part(7.5, crate::color::WHITE);
        part(6.0, color);
        if !filled {
            part(3.5, crate::color::WHITE);
        }
    }

    fn corners(self, (x, y): Point, r: f64) -> Vec<Point> {
        let turned = |n: usize, start: f64, radius: &dyn Fn(usize) -> f64| {
            let corner = |k: usize| {
                let angle = (start + 360.0 * k as f64 / n as f64).to_radians();
                (x + radius(k) * angle.cos(), y + radius(k) * angle.sin())
            };
            (0..n).map(corner).collect()
        };
        match self {
            Self::Circle => turned(24, 0.0, &|_| r),
            Self::Square => turned(4, 45.0, &|_| r * 1.15),
            Self::Up => turned(3, -90.0, &|_| r * 1.2),
            Self::Diamond => turned(4, 0.0, &|_| r * 1.15),
            Self::Down => turned(3, 90.0, &|_| r * 1.2),
            Self::Right => turned(3, 0.0, &|_| r * 1.2),
            Self::Star => turned(10, -90.0, &|k| if k % 2 == 0 { r * 1.3 } else { r * 0.55 }),
            Self::Plus => {
                let (a, b) = (r * 1.05, r * 0.38);
                let half = [(-b, -a), (b, -a), (b, -b), (a, -b), (a, b), (b, b)];
                let other = half.map(|(dx, dy)| (-dx, -dy));
                half.into_iter().chain(other).map(|(dx, dy)| (x + dx, y + dy)).collect()
            }
        }
    }
}
