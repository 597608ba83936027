//! A plot before anything is drawn: shapes in logical pixels, and where the data went.

use crate::color::Rgb;

/// Shapes in drawing order on a page.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// Width and height in logical pixels.
    pub size: (u32, u32),
    /// Color of the page.
    pub page: Rgb,
    /// Areas that hold data, so that a view can tell what a pixel stands for.
    pub panels: Vec<Panel>,
    /// Later shapes cover earlier ones.
    pub shapes: Vec<Shape>,
}

/// An area divided into equal cells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Panel {
    /// Where it is.
    pub area: Rect,
    /// Cells from left to right.
    pub n_columns: usize,
    /// Cells from top to bottom.
    pub n_rows: usize,
}

/// A rectangle; `x1` and `y1` are outside.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rect {
    /// Left edge, in logical pixels from the page's left.
    pub x0: f64,
    /// Upper edge, in logical pixels from the page's top.
    pub y0: f64,
    /// Right edge, measured as `x0`.
    pub x1: f64,
    /// Lower edge, measured as `y0`.
    pub y1: f64,
}

/// One thing to draw.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// A filled rectangle.
    Rect {
        /// Its area, at least one pixel in each direction when drawn.
        area: Rect,
        /// Color of the inside; there is no outline.
        fill: Rgb,
    },
    /// Connected line segments.
    Line {
        /// From point to point.
        points: Vec<Point>,
        /// Width of the stroke in logical pixels.
        width: f64,
        /// Color of the stroke.
        color: Rgb,
    },
    /// A filled polygon.
    Polygon {
        /// Corners in order around it; the last is joined to the first.
        points: Vec<Point>,
        /// Color of the inside; there is no outline.
        fill: Rgb,
    },
    /// A filled circle.
    Circle {
        /// Center, in logical pixels of the page.
        center: Point,
        /// Radius in logical pixels.
        radius: f64,
        /// Color of the inside; there is no outline.
        fill: Rgb,
    },
    /// One line of text.
    Text(Text),
}

/// Which of the embedded fonts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Face {
    /// The proportional one, `DejaVu Sans`, for plots.
    #[default]
    Sans,
    /// The monospaced one, `DejaVu Sans Mono`, for terminals and what a model wrote.
    Mono,
}

/// One line of text.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    /// What it says.
    pub text: String,
    /// The middle of the line's height, and the point that `anchor` names.
    pub at: Point,
    /// Which end of the text stands at `at`.
    pub anchor: Anchor,
    /// Height of the font's em square.
    pub size: f64,
    /// Color of the letters.
    pub color: Rgb,
    /// Whether it runs upwards.
    pub turned: bool,
    /// Which of the embedded fonts.
    pub face: Face,
    /// Whether its strokes are thicker.
    pub bold: bool,
    /// Whether it leans.
    pub italic: bool,
    /// From one character to the next, where columns must stay aligned; the font's own advances when absent.
    pub pitch: Option<f64>,
}

/// `(x, y)` in logical pixels, `y` downwards.
pub type Point = (f64, f64);

/// The part of a text that stands at its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// The text begins there.
    Start,
    /// The text is centered there.
    Middle,
    /// The text ends there.
    End,
}

impl Text {
    /// Plain text in the proportional face.
    pub fn new(text: impl Into<String>, at: Point, anchor: Anchor, size: f64, color: Rgb) -> Self {
        let (text, face) = (text.into(), Face::Sans);
        Self { text, at, anchor, size, color, turned: false, face, bold: false, italic: false, pitch: None }
    }
}

impl Panel {
    /// The area of one cell.
    pub fn cell(&self, row: usize, column: usize) -> Rect {
        self.block(row..row + 1, column..column + 1)
    }

    /// The area of a block of cells.
    pub fn block(&self, rows: std::ops::Range<usize>, columns: std::ops::Range<usize>) -> Rect {
        let x = |column: usize| self.area.x0 + self.area.width() * column as f64 / self.n_columns as f64;
        let y = |row: usize| self.area.y0 + self.area.height() * row as f64 / self.n_rows as f64;
        Rect { x0: x(columns.start), y0: y(rows.start), x1: x(columns.end), y1: y(rows.end) }
    }
}

impl Rect {
    /// From left to right.
    pub fn width(&self) -> f64 {
        self.x1 - self.x0
    }

    /// From top to bottom.
    pub fn height(&self) -> f64 {
        self.y1 - self.y0
    }

    /// The point in the middle of both sides.
    pub fn center(&self) -> Point {
        (f64::midpoint(self.x0, self.x1), f64::midpoint(self.y0, self.y1))
    }

    /// Smaller by `by` on every side.
    #[must_use]
    pub fn inset(&self, by: f64) -> Self {
        Self { x0: self.x0 + by, y0: self.y0 + by, x1: self.x1 - by, y1: self.y1 - by }
    }
}

impl Scene {
    /// An empty page.
    pub fn new(size: (u32, u32)) -> Self {
        Self { size, page: crate::color::WHITE, panels: Vec::new(), shapes: Vec::new() }
    }

    pub(crate) fn rect(&mut self, area: Rect, fill: Rgb) {
        self.shapes.push(Shape::Rect { area, fill });
    }

    pub(crate) fn line(&mut self, points: impl Into<Vec<Point>>, width: f64, color: Rgb) {
        self.shapes.push(Shape::Line { points: points.into(), width, color });
    }

    pub(crate) fn polygon(&mut self, points: impl Into<Vec<Point>>, fill: Rgb) {
        self.shapes.push(Shape::Polygon { points: points.into(), fill });
    }

    pub(crate) fn circle(&mut self, center: Point, radius: f64, fill: Rgb) {
        self.shapes.push(Shape::Circle { center, radius, fill });
    }

    /// A cross that reaches `radius` to each side of a point: a letter, which cells of a terminal show as well.
    pub(crate) fn cross(&mut self, at: Point, radius: f64, color: Rgb) {
        let sign = Text { bold: true, ..Text::new("×", at, Anchor::Middle, 3.4 * radius, color) };
        self.shapes.push(Shape::Text(sign));
    }

    pub(crate) fn text(&mut self, text: impl Into<String>, at: Point, anchor: Anchor, size: f64, color: Rgb) {
        self.shapes.push(Shape::Text(Text::new(text, at, anchor, size, color)));
    }

    pub(crate) fn turned_text(&mut self, text: impl Into<String>, at: Point, size: f64, color: Rgb) {
        let text = Text::new(text, at, Anchor::Middle, size, color);
        self.shapes.push(Shape::Text(Text { turned: true, ..text }));
    }

    /// The edge of a rectangle, drawn inside it.
    pub(crate) fn outline(&mut self, area: Rect, width: f64, color: Rgb) {
        let Rect { x0, y0, x1, y1 } = area;
        self.rect(Rect { y1: y0 + width, ..area }, color);
        self.rect(Rect { y0: y1 - width, ..area }, color);
        self.rect(Rect { x1: x0 + width, ..area }, color);
        self.rect(Rect { x0: x1 - width, ..area }, color);
    }

    /// Diagonal lines across a rectangle.
    pub(crate) fn hatch(&mut self, area: Rect, gap: f64, color: Rgb) {
        let (Rect { x0, y0, .. }, x1, y1) = (area, area.x1 - 1.0, area.y1 - 1.0);
        // lines x + y = const; the phase is the page's, so that neighbors join
        let mut sum = ((x0 + y0) / gap).ceil() * gap;
        while sum < x1 + y1 {
            let from = ((sum - y1).max(x0), (sum - x0).min(y1));
            let to = ((sum - y0).min(x1), (sum - x1).max(y0));
            self.line([from, to], 1.0, color);
            sum += gap;
        }
    }

    /// A line of dashes and gaps, whose lengths take turns; no lengths give one line without gaps.
    pub(crate) fn dashed(&mut self, points: &[Point], width: f64, color: Rgb, pattern: &[f64]) {
        if pattern.is_empty() {
            self.line(points, width, color);
            return;
        }
        let (mut part, mut left) = (0, pattern[0]);
        let mut dash: Vec<Point> = points.first().copied().into_iter().collect();
        for ends in points.windows(2) {
            let ((x0, y0), (x1, y1)) = (ends[0], ends[1]);
            let length = (x1 - x0).hypot(y1 - y0);
            let mut done = 0.0;
            while length - done > left {
                done += left;
                let at = (x0 + (x1 - x0) * done / length, y0 + (y1 - y0) * done / length);
                dash.push(at);
                if part % 2 == 0 {
                    self.line(std::mem::take(&mut dash), width, color);
                }
                dash = vec![at];
                part = (part + 1) % pattern.len();
                left = pattern[part];
            }
            left -= length - done;
            dash.push((x1, y1));
        }
        if part % 2 == 0 && dash.len() > 1 {
            self.line(dash, width, color);
        }
    }

    /// A vertical dashed line.
    pub(crate) fn dashes(&mut self, x: f64, from: f64, to: f64, color: Rgb) {
        let mut y = from;
        while y < to {
            self.rect(Rect { x0: x - 1.0, y0: y, x1: x + 1.0, y1: (y + 6.0).min(to) }, color);
            y += 10.0;
        }
    }

    /// Fills a panel; cells without a color stay as they are, and equal neighbors in a row become one rectangle.
    pub(crate) fn cells(&mut self, panel: &Panel, color: impl Fn(usize, usize) -> Option<Rgb>) {
        for row in 0..panel.n_rows {
            let mut start = 0;
            while start < panel.n_columns {
                let fill = color(row, start);
                let end = (start + 1..panel.n_columns).find(|column| color(row, *column) != fill);
                let end = end.unwrap_or(panel.n_columns);
                if let Some(fill) = fill {
                    self.rect(panel.block(row..row + 1, start..end), fill);
                }
                start = end;
            }
        }
    }
}
