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
    /// A cross of two lines.
    Cross(Rgb),
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

/// What a cross at a head means.
pub fn switched_off() -> Entry {
    Entry::new(Sample::Cross(INK), "switched off: the head's output is zeros, whatever it attends to")
}

const SIZE: f64 = 12.0;
const ROW: f64 = 19.0;
const GAP: f64 = 24.0;

/// Sizes that a legend may have: smaller ones where it would leave the plot no room.
const ZOOMS: [f64; 5] = [1.0, 0.9, 0.8, 0.7, 0.6];

/// Height of a legend of the usual size.
pub fn height(entries: &[Entry], width: f64) -> f64 {
    Legend { entries, width, zoom: 1.0 }.height()
}

/// A legend of all its entries in as many rows as they take, at most as wide as it may be.
pub struct Legend<'a> {
    entries: &'a [Entry],
    width: f64,
    /// Letters and samples, as a share of their usual size.
    zoom: f64,
}

impl<'a> Legend<'a> {
    /// As large as is usual where it is no higher than `most` then, else smaller.
    pub fn fit(entries: &'a [Entry], width: f64, most: f64) -> Self {
        let of = |zoom| Self { entries, width, zoom };
        ZOOMS.into_iter().map(of).find(|legend| legend.height() <= most).unwrap_or(of(ZOOMS[ZOOMS.len() - 1]))
    }

    /// Height of the whole legend.
    pub fn height(&self) -> f64 {
        self.layout().last().map_or(0.0, |(_, (_, y), lines)| y + lines.len() as f64 * ROW * self.zoom)
    }

    /// Draws it with its upper left corner at `at`.
    pub fn draw(&self, scene: &mut Scene, at: Point) {
        let zoom = self.zoom;
        for (entry, (x, y), lines) in self.layout() {
            let (x, y) = (at.0 + x, at.1 + y + ROW * zoom / 2.0);
            entry.sample.draw(scene, (x, y), zoom);
            for (row, line) in lines.iter().enumerate() {
                let color = if entry.sample == Sample::Note { GRAY } else { INK };
                let place = (x + entry.sample.width() * zoom, y + row as f64 * ROW * zoom);
                scene.text(line, place, Anchor::Start, SIZE * zoom, color);
            }
        }
    }

    /// Every entry with its place and its lines.
    fn layout(&self) -> Vec<(&'a Entry, Point, Vec<String>)> {
        let (size, row) = (SIZE * self.zoom, ROW * self.zoom);
        let mut placed = Vec::new();
        let (mut x, mut y, mut row_lines) = (0.0, 0.0, 1);
        for entry in self.entries {
            let before = entry.sample.width() * self.zoom;
            let lines = text::wrap(&entry.name, size, self.width - before);
            let needed = before + lines.iter().map(|line| text::width(line, size)).fold(0.0, f64::max);
            if x > 0.0 && x + needed > self.width {
                (x, y, row_lines) = (0.0, y + row_lines as f64 * row, 1);
            }
            row_lines = row_lines.max(lines.len());
            placed.push((entry, (x, y), lines));
            x += needed + GAP * self.zoom;
        }
        placed
    }
}

impl Sample {
    /// Draws it with the middle of its left end at a point.
    fn draw(self, scene: &mut Scene, (x, y): Point, zoom: f64) {
        let cell = Rect { x0: x, y0: y - 6.0 * zoom, x1: x + 16.0 * zoom, y1: y + 6.0 * zoom };
        match self {
            Self::Cell(fill) => scene.rect(cell, fill),
            Self::Hatched(fill, lines) => {
                scene.rect(cell, fill);
                scene.hatch(cell, 5.0, lines);
            }
            Self::Outline(color) => scene.outline(cell, 2.0, color),
            Self::Series(color, marker) => {
                scene.line([(x, y), (x + 28.0 * zoom, y)], 2.0, color);
                marker.draw(scene, (x + 14.0 * zoom, y), color, true);
            }
            Self::Dashed(color, marker, pattern) => {
                scene.dashed(&[(x, y), (x + 40.0 * zoom, y)], 2.0, color, pattern);
                marker.draw(scene, (x + 20.0 * zoom, y), color, true);
            }
            Self::Point(color, marker) => marker.draw(scene, (x + 8.0 * zoom, y), color, true),
            Self::Cross(color) => scene.cross((x + 8.0 * zoom, y), 5.0 * zoom, color),
            Self::Note => {}
        }
        if matches!(self, Self::Cell(_) | Self::Hatched(..)) {
            scene.outline(cell, 1.0, GRAY);
        }
    }

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
