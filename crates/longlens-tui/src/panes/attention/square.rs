//! A square picture of queries (down) by keys (right) with its axes: what maps of attention and of positions share.

use std::ops::{Range, RangeInclusive};

use longlens_core::trace::MapWindow;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::Span;

use super::super::output::words::shortened;
use crate::pen::{Pen, Raster};
use crate::theme::{Depth, Pixel};

/// Where a picture lies, and which tokens it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Square {
    /// The cells of the picture.
    pub area: Rect,
    /// Pixels of a row, and rows. Without colors a cell is one pixel and twice as high as wide, so a row has twice as many.
    pub size: (usize, usize),
    /// First query, first key, and tokens of a side.
    pub window: MapWindow,
    /// Tokens that the pixels of a side stand for: those of the window, and what fills up the last cell.
    span: usize,
    /// Columns left of the picture, and rows below it.
    margin: (u16, u16),
    /// Where the room of the pane ends, which may be right of the picture.
    end: u16,
}

/// An axis of a square.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// Rows.
    Query,
    /// Columns.
    Key,
}

/// Cells of a side that a picture keeps beside words.
const LEAST: u16 = 16;
/// A picture's share of the room from which on it is better smaller and even than large and uneven.
const EVEN_FROM: f64 = 0.8;

impl Square {
    /// The largest one in the upper left of an area; nothing when there is no room.
    pub fn fit(pen: &Pen, area: Rect, window: MapWindow) -> Option<Self> {
        Self::beside(pen, area, window, margins(area, window))
    }

    /// The same with room for words of so many columns left of the picture, and of so many rows below it, where every token then
    /// has a row of its own; else nothing.
    pub fn with_words(pen: &Pen, area: Rect, window: MapWindow, (left, below): (u16, u16)) -> Option<Self> {
        // a mark stands between words and picture
        let margin = (left + 2, below + 1);
        if area.width < margin.0 + LEAST || area.height < margin.1 + LEAST / 2 {
            return None;
        }
        let square = Self::beside(pen, area, window, margin)?.even(pen, window.len, 1);
        (usize::from(square.area.height) >= window.len && square.span == window.len).then_some(square)
    }

    fn beside(pen: &Pen, area: Rect, window: MapWindow, (left, bottom): (u16, u16)) -> Option<Self> {
        let end = area.right();
        let room = Rect { x: area.x + left, width: area.width - left, height: area.height - bottom, ..area };
        let (columns, rows) = if let Some((x, y)) = pen.cell_pixels {
            let (x, y) = (usize::from(x.max(1)), usize::from(y.max(1)));
            let side = (usize::from(room.width) * x).min(usize::from(room.height) * y);
            ((side / x).max(1), (side / y).max(1))
        } else {
            // an odd width leaves half a row, which would be lost to the mouse
            let rows = usize::from(room.height).min(usize::from(room.width).div_ceil(2));
            ((2 * rows).min(usize::from(room.width)), rows)
        };
        let area = Rect { width: columns as u16, height: rows as u16, ..room }.intersection(room);
        let size = pen.resolution(area);
        let size = if pen.theme.depth == Depth::Mono { size } else { (size.0, size.1.min(size.0)) };
        let margin = (left, bottom);
        (!area.is_empty()).then_some(Self { area, size, window, span: window.len.max(1), margin, end })
    }

    /// The same for `n_cells` cells of `stride` tokens, smaller where that makes all cells equally large.
    #[must_use]
    pub fn even(mut self, pen: &Pen, n_cells: usize, stride: usize) -> Self {
        let side = self.size.0;
        if pen.cell_pixels.is_some() && n_cells > 0 && n_cells <= side {
            // an image is stretched over its cells anyway
            (self.size, self.span) = ((n_cells, n_cells), (n_cells * stride).max(self.window.len).max(1));
            return self;
        }
        let shrunk = side / n_cells.max(1) * n_cells;
        // half rows have no even cells
        let is_plain = pen.cell_pixels.is_none() && pen.theme.depth != Depth::Mono;
        if is_plain && self.size.1 == side && shrunk as f64 >= EVEN_FROM * side as f64 {
            self.size = (shrunk, shrunk);
            (self.area.width, self.area.height) = (shrunk as u16, shrunk.div_ceil(2) as u16);
            self.span = (n_cells * stride).max(self.window.len).max(1);
        }
        self
    }

    /// What the axes and the picture cover.
    pub fn outside(&self) -> Rect {
        let (left, bottom) = self.margin;
        let (width, height) = (self.area.width + left, self.area.height + bottom);
        Rect { x: self.area.x - left, y: self.area.y, width, height }
    }

    /// The queries of a row of pixels.
    pub fn queries(&self, row: usize) -> Range<usize> {
        tokens(row, self.size.1, self.window.query, self.span)
    }

    /// The keys of a column of pixels.
    pub fn keys(&self, column: usize) -> Range<usize> {
        tokens(column, self.size.0, self.window.key, self.span)
    }

    /// How many pixels of a row hold a pair of a query with itself or an earlier key: the first ones.
    pub fn n_past(&self, row: usize) -> usize {
        let end = self.queries(row).end;
        // the keys of a pixel never begin before those of the pixel on its left
        let (mut past, mut future) = (0, self.size.0);
        while past < future {
            let middle = usize::midpoint(past, future);
            if self.keys(middle).start < end { past = middle + 1 } else { future = middle }
        }
        past
    }

    /// The picture of a map whose cells of `stride` tokens begin at a query and a key: each pixel by what `pixel` makes of
    /// its cells, given as rows and columns; what it has none for, and the future, stays empty.
    pub fn picture(
        &self,
        (held, stride, side): (MapWindow, usize, usize),
        pixel: impl Fn(Range<usize>, Range<usize>) -> Pixel,
    ) -> Raster {
        let (width, height) = self.size;
        let columns: Vec<_> = (0..width).map(|x| cells_of(&self.keys(x), held.key, stride, side)).collect();
        let mut pixels = vec![Pixel::Empty; width * height];
        for (y, row) in pixels.chunks_mut(width.max(1)).enumerate() {
            let cells = cells_of(&self.queries(y), held.query, stride, side);
            for (shown, columns) in row.iter_mut().zip(&columns).take(self.n_past(y)) {
                *shown = pixel(cells.clone(), columns.clone());
            }
        }
        Raster { width, height, pixels }
    }

    /// Numbers of tokens on both axes; where they have one row, none where `marked` keys get their marks.
    pub fn axes(&self, pen: &mut Pen, marked: &Range<usize>) {
        let (style, (left, bottom)) = (pen.theme.faint(), self.margin);
        if left > 1 {
            for token in self.ticks(self.window.query, 2, self.area.height) {
                let Some(y) = self.row_of(token) else { continue };
                pen.text(self.area.x - left, y, &format!("{token:>0$}", usize::from(left) - 1), left - 1, style);
            }
        }
        let last = self.window.key + self.window.len;
        let room = digits(last) + 2;
        let row = self.area.y + self.area.height;
        let marked = self.columns_of(marked).filter(|_| bottom == 1);
        let ticks: Vec<_> = self.ticks(self.window.key, room, self.area.width).collect();
        for token in ticks.into_iter().filter(|_| bottom > 0) {
            let Some(x) = self.column_of(token) else { continue };
            if bottom > 1 {
                pen.text(x, row, "╵", 1, style);
            }
            let end = x + digits(token);
            // a number that would reach into what stands beside is left out
            let fits = end <= self.end.min(self.area.right() + 1);
            if fits && marked.as_ref().is_none_or(|marked| end <= *marked.start() || x > *marked.end()) {
                pen.text(x, row + bottom - 1, &token.to_string(), room - 2, style);
            }
        }
    }

    /// Words in place of numbers: those of queries in their rows, those of keys downwards in their columns. `word` gives a token's
    /// text and its style.
    pub fn words(&self, pen: &mut Pen, word: impl Fn(usize, Axis) -> (String, Style)) {
        let (left, bottom) = self.margin;
        for at in 0..self.window.len {
            if let Some(y) = self.row_of(self.window.query + at) {
                let (text, style) = word(self.window.query + at, Axis::Query);
                let room = left.saturating_sub(2);
                let text = shortened(&text, room);
                let width = Span::raw(&text).width() as u16;
                pen.text(self.area.x - 2 - width.min(room), y, &text, room, style);
            }
            let Some(x) = self.column_of(self.window.key + at) else { continue };
            let (text, style) = word(self.window.key + at, Axis::Key);
            let room = usize::from(bottom.saturating_sub(1));
            let all = text.chars().count();
            for (row, c) in text.chars().take(room).enumerate() {
                let c = if row + 1 == room && all > room { '…' } else { c };
                pen.text(x, self.area.bottom() + 1 + row as u16, &c.to_string(), 2, style);
            }
        }
    }

    /// Marks a query at the left edge.
    pub fn mark_query(&self, pen: &mut Pen, query: usize, style: Style) {
        if let Some(y) = self.row_of(query).filter(|_| self.margin.0 > 0) {
            pen.text(self.area.x - 1, y, "▶", 1, style);
        }
    }

    /// Marks queries at the left edge that are no selected ones.
    pub fn mark_queries(&self, pen: &mut Pen, queries: &Range<usize>, style: Style) {
        let (first, end) = (self.window.query, self.window.query + self.window.len);
        if self.margin.0 == 0 || queries.start >= end || queries.end <= first {
            return;
        }
        let rows = queries.start.max(first)..queries.end.min(end);
        let rows = (self.row_of(rows.start), self.row_of(rows.end - 1));
        let (Some(top), Some(bottom)) = rows else { return };
        for y in top..=bottom {
            pen.text(self.area.x - 1, y, "▐", 1, style);
        }
    }

    /// Marks keys at the lower edge.
    pub fn mark_keys(&self, pen: &mut Pen, keys: &Range<usize>, style: Style) {
        let Some(columns) = self.columns_of(keys).filter(|_| self.margin.1 > 0) else { return };
        // a tick below would dim it
        let style = style.remove_modifier(Modifier::DIM);
        for x in columns {
            pen.text(x, self.area.y + self.area.height, "▲", 1, style);
        }
    }

    /// The columns of cells that show any of these keys.
    fn columns_of(&self, keys: &Range<usize>) -> Option<RangeInclusive<u16>> {
        let first = keys.start.max(self.window.key);
        let last = keys.end.min(self.window.key + self.window.len);
        if first >= last {
            return None;
        }
        Some(self.column_of(first)?..=self.column_of(last - 1)?)
    }

    /// Tokens that get a number, a power of two apart: each has `room` of `length` cells.
    fn ticks(&self, first: usize, room: u16, length: u16) -> impl Iterator<Item = usize> + use<> {
        let least = (self.span * usize::from(room)).div_ceil(usize::from(length.max(1)));
        let step = least.max(1).next_power_of_two();
        (first.div_ceil(step) * step..first + self.window.len).step_by(step)
    }

    fn row_of(&self, query: usize) -> Option<u16> {
        self.place(query, self.window.query, self.area.height).map(|at| self.area.y + at)
    }

    fn column_of(&self, key: usize) -> Option<u16> {
        self.place(key, self.window.key, self.area.width).map(|at| self.area.x + at)
    }

    /// The cell of `length` ones that shows a token.
    fn place(&self, token: usize, first: usize, length: u16) -> Option<u16> {
        let from = token.checked_sub(first).filter(|from| *from < self.window.len)?;
        Some((from * usize::from(length) / self.span) as u16)
    }
}

/// Columns left of a picture and rows below it for numbers of tokens.
fn margins(area: Rect, window: MapWindow) -> (u16, u16) {
    let digits = digits((window.query.max(window.key) + window.len).saturating_sub(1));
    let left = match area.width {
        0..4 => 0,
        width if width < digits + 9 => 1,
        _ => digits + 1,
    };
    let bottom = match area.height {
        0..4 => 0,
        4..12 => 1,
        _ => 2,
    };
    (left, bottom)
}

/// The tokens of pixel `at` of `n`, one at least.
fn tokens(at: usize, n: usize, first: usize, span: usize) -> Range<usize> {
    let (start, end) = (at * span / n.max(1), (at + 1) * span / n.max(1));
    first + start..first + end.max(start + 1)
}

/// The cells of a map that show `tokens`: those that begin there, else the one that they lie in.
fn cells_of(tokens: &Range<usize>, first: usize, stride: usize, n_cells: usize) -> Range<usize> {
    let stride = stride.max(1);
    let begins = |token: usize| token.saturating_sub(first).div_ceil(stride).min(n_cells);
    let (start, end) = (begins(tokens.start), begins(tokens.end));
    if start < end {
        return start..end;
    }
    match tokens.start.checked_sub(first).map(|from| from / stride) {
        Some(cell) if cell < n_cells && !tokens.is_empty() => cell..cell + 1,
        _ => 0..0,
    }
}

/// Cells of a number.
fn digits(number: usize) -> u16 {
    number.checked_ilog10().unwrap_or(0) as u16 + 1
}

#[cfg(test)]
mod tests {
    use ratatui::buffer::Buffer;

    use super::*;
    use crate::pen::Seen;
    use crate::theme::{Theme, ThemeName};

    fn with_pen<T>(depth: Depth, width: u16, height: u16, test: impl FnOnce(&mut Pen, Rect) -> T) -> T {
        let area = Rect::new(0, 0, width, height);
        let (mut buffer, mut seen) = (Buffer::empty(area), Seen::default());
        let theme = Theme { name: ThemeName::Dark, depth };
        test(&mut Pen { buffer: &mut buffer, theme, seen: &mut seen, cell_pixels: None }, area)
    }

    const ALL: MapWindow = MapWindow { query: 0, key: 0, len: 512 };

    #[test]
    fn every_token_has_one_pixel() {
        for depth in [Depth::True, Depth::Mono] {
            with_pen(depth, 60, 23, |pen, area| {
                let square = Square::fit(pen, area, ALL).unwrap();
                let all: Vec<usize> = (0..square.size.0).flat_map(|x| square.keys(x)).collect();
                assert_eq!(all, (0..512).collect::<Vec<_>>());
                assert_eq!(square.size, if depth == Depth::Mono { (42, 21) } else { (42, 42) });
                assert_eq!(square.area, Rect::new(4, 0, 42, 21));
            });
        }
    }

    #[test]
    fn even_cells_cost_little_room() {
        with_pen(Depth::True, 60, 23, |pen, area| {
            let square = Square::fit(pen, area, ALL).unwrap();
            assert_eq!(square.even(pen, 40, 13).size, (40, 40));
            assert_eq!(square.even(pen, 8, 64).size, (40, 40));
            assert_eq!(square.even(pen, 26, 20).size, (42, 42)); // the half would be lost
            assert_eq!(square.even(pen, 40, 13).keys(39), 507..520);
        });
    }

    #[test]
    fn cells_fall_into_pixels_whole() {
        // four pixels of 8 tokens over cells of 4, then of 32
        let pixels: Vec<_> = (0..4).map(|at| cells_of(&(at * 8..at * 8 + 8), 0, 4, 8)).collect();
        assert_eq!(pixels, [0..2, 2..4, 4..6, 6..8]);
        assert_eq!(cells_of(&(8..16), 0, 32, 4), 0..1);
        // a map of another window: what it does not hold stays empty
        assert_eq!([cells_of(&(0..8), 16, 4, 4), cells_of(&(16..24), 16, 4, 4)], [0..0, 0..2]);
        assert_eq!([cells_of(&(32..40), 16, 4, 4), cells_of(&(28..40), 16, 4, 4)], [0..0, 3..4]);
        assert_eq!(cells_of(&(3..3), 0, 1, 9), 0..0);
    }

    #[test]
    fn nothing_is_too_small_or_too_long() {
        for (width, height) in [(1, 1), (2, 1), (1, 9), (5, 3), (7, 4), (40, 2), (300, 5)] {
            for depth in [Depth::True, Depth::Ansi16, Depth::Mono] {
                for window in [ALL, MapWindow { len: 1, ..ALL }, MapWindow { query: 4_000_000, key: 9, len: 70 }] {
                    with_pen(depth, width, height, |pen, area| {
                        let square = Square::fit(pen, area, window).unwrap().even(pen, 3, 20);
                        assert_eq!(square.outside().intersection(area), square.outside());
                        square.axes(pen, &(0..999));
                        square.mark_query(pen, 4_000_003, Style::new());
                        square.mark_keys(pen, &(0..999), Style::new());
                    });
                }
            }
        }
    }
}
