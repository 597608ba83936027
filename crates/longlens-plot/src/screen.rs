//! Cells of a terminal: a frame as a picture, for documentation, and a picture as cells (`blocks.rs`).
//!
//! Characters that must meet their neighbors (lines, blocks, braille) are drawn as shapes, everything else as text in the
//! monospaced face; neighbors of equal looks become one shape, so that files stay small.

mod blocks;
mod joined;

use crate::canvas::{Figure, MIN_SIZE, PlotError};
use crate::color::{self, Rgb};
use crate::scene::Face;
use crate::scene::{Anchor, Panel, Rect, Scene, Shape, Text};
use crate::text;

/// A frame of a terminal.
#[derive(Debug, Clone, PartialEq)]
pub struct Screen {
    /// Cells of a row.
    pub columns: usize,
    /// Rows of cells.
    pub rows: usize,
    /// Row-major `[rows, columns]`.
    pub cells: Vec<ScreenCell>,
    /// The color around the cells.
    pub background: Rgb,
    /// What the bar above the frame says; no bar when absent.
    pub title: Option<String>,
}

/// One cell of a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a terminal knows these four")]
pub struct ScreenCell {
    /// One grapheme; empty behind a wide one.
    pub symbol: String,
    /// Color of the symbol.
    pub ink: Rgb,
    /// Color behind it.
    pub ground: Rgb,
    /// Whether the symbol is drawn in the bold font.
    pub bold: bool,
    /// Whether the symbol leans to the right.
    pub italic: bool,
    /// With a line below.
    pub underlined: bool,
    /// The ink half as strong.
    pub dim: bool,
}

/// Logical pixels of a cell.
const CELL: (f64, f64) = (9.0, 18.0);
/// Height of the font's em square in a cell of this size.
const FONT: f64 = 15.0;
/// Background around the cells.
const PAD: f64 = 8.0;
/// Height of the title's bar.
const BAR: f64 = 26.0;

impl Figure for Screen {
    fn size(&self) -> (u32, u32) {
        let (width, height) = self.own_size();
        ((width as u32).max(MIN_SIZE.0), (height as u32).max(MIN_SIZE.1))
    }

    fn scene(&self, size: (u32, u32)) -> Result<Scene, PlotError> {
        if self.columns == 0 || self.rows == 0 {
            return Err(PlotError::NoData { missing: "the terminal has no cell" });
        }
        let expected = self.columns * self.rows;
        if self.cells.len() != expected {
            return Err(PlotError::Shape { what: "cells of a terminal", expected, found: self.cells.len() });
        }
        let mut scene = Scene::new(size);
        let (width, height) = (f64::from(size.0), f64::from(size.1));
        let (own_width, own_height) = self.own_size();
        let zoom = (width / own_width).min(height / own_height);
        // a page larger than the frame has it in the middle
        let zoom = if size == self.size() { zoom.min(1.0) } else { zoom };
        scene.rect(Rect { x0: 0.0, y0: 0.0, x1: width, y1: height }, self.background);
        let bar = self.bar() * zoom;
        if let Some(title) = &self.title {
            self.draw_bar(&mut scene, title, Rect { x0: 0.0, y0: 0.0, x1: width, y1: bar }, zoom);
        }
        let (columns, rows) = (self.columns as f64 * CELL.0 * zoom, self.rows as f64 * CELL.1 * zoom);
        let (x0, y0) = (((width - columns) / 2.0).floor(), (bar + (height - bar - rows) / 2.0).floor());
        let area = Rect { x0, y0, x1: x0 + columns, y1: y0 + rows };
        let panel = Panel { area, n_columns: self.columns, n_rows: self.rows };
        scene.panels.push(panel);
        self.draw_grounds(&mut scene, &panel);
        for row in 0..self.rows {
            self.draw_joined(&mut scene, &panel, row);
            self.draw_text(&mut scene, &panel, row);
        }
        Ok(scene)
    }
}

impl Screen {
    /// The size of the frame at one logical pixel per pixel.
    fn own_size(&self) -> (f64, f64) {
        let (columns, rows) = (self.columns as f64, self.rows as f64);
        (columns * CELL.0 + 2.0 * PAD, rows * CELL.1 + 2.0 * PAD + self.bar())
    }

    fn bar(&self) -> f64 {
        if self.title.is_some() { BAR } else { 0.0 }
    }

    fn row(&self, row: usize) -> &[ScreenCell] {
        &self.cells[row * self.columns..(row + 1) * self.columns]
    }

    fn draw_bar(&self, scene: &mut Scene, title: &str, area: Rect, zoom: f64) {
        let ink = color::ink_on(self.background);
        scene.rect(area, color::mix(self.background, ink, 0.14));
        let (size, room) = (12.5 * zoom, area.width() - 24.0 * zoom);
        let lines = text::wrap(title, size, room);
        let title = match &lines[..] {
            [] => String::new(),
            [line] => line.clone(),
            [line, ..] => format!("{line}…"),
        };
        scene.text(title, area.center(), Anchor::Middle, size, color::mix(self.background, ink, 0.85));
    }

    fn draw_grounds(&self, scene: &mut Scene, panel: &Panel) {
        scene.cells(panel, |row, column| {
            let ground = self.row(row)[column].ground;
            (ground != self.background).then_some(ground)
        });
    }

    /// Lines, blocks, dots and underlines of a row.
    fn draw_joined(&self, scene: &mut Scene, panel: &Panel, row: usize) {
        for (column, cell) in self.row(row).iter().enumerate() {
            let area = panel.cell(row, column);
            if let Some(c) = cell.drawn() {
                for shape in joined::shapes(c, area, cell.shown_ink(), cell.ground) {
                    join(scene, shape);
                }
            }
            if cell.underlined {
                let y0 = area.y1 - area.height() / 9.0;
                let line = Rect { y0, y1: y0 + area.height() / 18.0, ..area };
                join(scene, Shape::Rect { area: line, fill: cell.shown_ink() });
            }
        }
    }

    /// Text of a row, in runs of equal looks.
    fn draw_text(&self, scene: &mut Scene, panel: &Panel, row: usize) {
        let cells = self.row(row);
        let mut column = 0;
        while column < cells.len() {
            let first = &cells[column];
            if !first.is_text() {
                column += 1;
                continue;
            }
            let mut end = column + 1;
            if first.is_narrow() {
                // blanks inside a run belong to it, blanks behind it do not
                let fits = |cell: &ScreenCell| cell.is_blank() || (cell.is_narrow() && cell.looks_like(first));
                let reach = cells[column..].iter().take_while(|cell| fits(cell)).count();
                let blanks = cells[column..column + reach].iter().rev().take_while(|cell| cell.is_blank()).count();
                end = column + reach - blanks;
            }
            let symbol = |cell: &ScreenCell| if cell.is_blank() { " ".to_owned() } else { cell.symbol.clone() };
            let text: String = cells[column..end].iter().map(symbol).collect();
            let area = panel.cell(row, column);
            let unit = area.height() / CELL.1;
            let at = (area.x0, area.center().1 - 0.5 * unit);
            scene.shapes.push(Shape::Text(Text {
                face: Face::Mono,
                bold: first.bold,
                italic: first.italic,
                pitch: first.is_narrow().then_some(area.width()),
                ..Text::new(text, at, Anchor::Start, FONT * unit, first.shown_ink())
            }));
            column = end;
        }
    }
}

impl ScreenCell {
    /// A character drawn as shapes.
    fn drawn(&self) -> Option<char> {
        self.only().filter(|c| joined::is_joined(*c))
    }

    fn is_text(&self) -> bool {
        !self.is_blank() && self.drawn().is_none()
    }

    fn is_blank(&self) -> bool {
        self.symbol.chars().all(char::is_whitespace)
    }

    /// Whether it is text that fills exactly one cell.
    fn is_narrow(&self) -> bool {
        self.is_text() && self.only().is_some_and(|c| c < '\u{1100}' || Face::Mono.has(c))
    }

    /// The symbol, if it is one character.
    fn only(&self) -> Option<char> {
        let mut chars = self.symbol.chars();
        chars.next().filter(|_| chars.next().is_none())
    }

    fn looks_like(&self, other: &Self) -> bool {
        (self.shown_ink(), self.bold, self.italic) == (other.shown_ink(), other.bold, other.italic)
    }

    fn shown_ink(&self) -> Rgb {
        if self.dim { color::mix(self.ink, self.ground, 0.5) } else { self.ink }
    }
}

/// Adds a shape; a rectangle that continues the last one makes it longer.
fn join(scene: &mut Scene, shape: Shape) {
    if let (Shape::Rect { area, fill }, Some(Shape::Rect { area: last, fill: last_fill })) =
        (&shape, scene.shapes.last_mut())
    {
        let same = |a: f64, b: f64| (a - b).abs() < 1e-6;
        let touches = area.x0 <= last.x1 + 1e-6 && last.x0 <= area.x1 + 1e-6;
        if fill == last_fill && same(area.y0, last.y0) && same(area.y1, last.y1) && touches {
            (last.x0, last.x1) = (last.x0.min(area.x0), last.x1.max(area.x1));
            return;
        }
    }
    scene.shapes.push(shape);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canvas::{Canvas, Pixels};

    const INK: Rgb = Rgb(220, 220, 220);
    const GROUND: Rgb = Rgb(20, 24, 30);

    fn screen(rows: &[&str]) -> Screen {
        let cell = |c: char| ScreenCell {
            symbol: c.to_string(),
            ink: INK,
            ground: GROUND,
            bold: false,
            italic: false,
            underlined: false,
            dim: false,
        };
        let columns = rows.iter().map(|row| row.chars().count()).max().unwrap_or(0);
        let padded = |row: &&str| row.chars().chain(std::iter::repeat(' ')).take(columns).map(cell).collect::<Vec<_>>();
        let cells = rows.iter().flat_map(padded).collect();
        Screen { columns, rows: rows.len(), cells, background: GROUND, title: None }
    }

    fn drawn(screen: &Screen, scale: f64) -> (Pixels, Panel) {
        (Canvas::scaled(scale).to_rgb(screen).unwrap(), screen.scene(screen.size()).unwrap().panels[0])
    }

    #[test]
    fn a_frame_of_lines_has_no_gap() {
        for (lines, scale) in
            [(["┌──┐", "│  │", "└──┘"], 1.0), (["╭──╮", "│  │", "╰──╯"], 2.0), (["┏━━┓", "┃  ┃", "┗━━┛"], 1.5)]
        {
            let (pixels, panel) = drawn(&screen(&lines), scale);
            let inked = |x: u32, y: u32| pixels.at(x, y).0 > 150;
            let at = |value: f64| (value * scale).round() as u32;
            let (left, right) = (panel.cell(0, 0).center().0, panel.cell(0, 3).center().0);
            let (top, bottom) = (panel.cell(0, 0), panel.cell(2, 0));
            // every column between the corners crosses a line in the upper row, every row between them one at the left
            for x in at(left + 5.0)..at(right - 5.0) {
                assert!((at(top.y0)..at(top.y1)).any(|y| inked(x, y)), "{lines:?} column {x}");
            }
            for y in at(top.center().1 + 5.0)..at(bottom.center().1 - 5.0) {
                assert!((at(top.x0)..at(top.x1)).any(|x| inked(x, y)), "{lines:?} row {y}");
            }
        }
    }

    #[test]
    fn half_blocks_fill_exactly_their_half() {
        let (pixels, panel) = drawn(&screen(&["▀▄█"]), 1.0);
        let colors = |column: usize| {
            let cell = panel.cell(0, column);
            let at = |y: f64| pixels.at(cell.x0 as u32, y as u32);
            [at(cell.y0), at(cell.y0 + 8.0), at(cell.y0 + 9.0), at(cell.y0 + 17.0)]
        };
        assert_eq!(colors(0), [INK, INK, GROUND, GROUND]);
        assert_eq!(colors(1), [GROUND, GROUND, INK, INK]);
        assert_eq!(colors(2), [INK; 4]);
    }

    #[test]
    fn runs_become_one_text_and_one_rectangle() {
        let mut screen = screen(&["loss  curve ", "━━━━━━━━━━━━"]);
        for cell in &mut screen.cells[..5] {
            cell.ground = Rgb(90, 0, 0);
        }
        let svg = Canvas::default().to_svg_string(&screen).unwrap();
        assert_eq!(svg.matches("<text").count(), 1, "{svg}");
        assert!(svg.contains(r#"textLength="99""#) && svg.contains(">loss  curve</text>"), "{svg}");
        assert_eq!(svg.matches("<rect").count(), 4, "page, background, ground, line: {svg}");
    }

    #[test]
    fn columns_stay_aligned_however_long_the_line() {
        let line = "i".repeat(150) + "M";
        let (pixels, panel) = drawn(&screen(&[&line, &(" ".repeat(150) + "█")]), 1.0);
        let cell = panel.cell(0, 150);
        let columns: Vec<u32> = (cell.x0 as u32 - 4..cell.x1 as u32 + 4)
            .filter(|x| (cell.y0 as u32..cell.y1 as u32).filter(|y| pixels.at(*x, *y).0 > 150).count() > 7)
            .collect();
        let inside = |x: &u32| (cell.x0 as u32..cell.x1 as u32).contains(x);
        assert!(columns.len() >= 2 && columns.iter().all(inside), "{columns:?} in {cell:?}");
    }

    #[test]
    fn looks_change_the_pixels() {
        let plain = screen(&["wwww"]);
        let bright = |change: &dyn Fn(&mut ScreenCell)| {
            let mut changed = plain.clone();
            changed.cells.iter_mut().for_each(change);
            let (pixels, _) = drawn(&changed, 1.0);
            pixels.rgb.iter().map(|part| u64::from(*part)).sum::<u64>()
        };
        let normal = bright(&|_| {});
        assert!(bright(&|cell| cell.bold = true) > normal && bright(&|cell| cell.underlined = true) > normal);
        assert!(bright(&|cell| cell.dim = true) < normal && bright(&|cell| cell.italic = true) != normal);
        let titled = Screen { title: Some("longlens".to_owned()), ..plain.clone() };
        assert!(Canvas::default().to_svg_string(&titled).unwrap().contains(">longlens</text>"));
    }

    #[test]
    fn a_large_frame_of_text_is_a_small_file() {
        let line: String = ('!'..='~').cycle().take(200).collect();
        let svg = Canvas::default().to_svg_string(&screen(&[line.as_str(); 60])).unwrap();
        assert!(svg.len() < 40_000, "{}", svg.len());
    }

    #[test]
    fn every_character_is_drawn_and_no_cell_or_a_missing_one_is_an_error() {
        let all: String =
            ('\u{2500}'..='\u{259F}').chain('\u{2800}'..='\u{28FF}').chain("漢é😀\u{301}".chars()).collect();
        drawn(&screen(&[&all]), 0.7);
        let error = |screen: &Screen| screen.scene((320, 240)).unwrap_err();
        assert!(matches!(error(&screen(&[])), PlotError::NoData { .. }));
        let short = Screen { rows: 2, ..screen(&["ab"]) };
        assert!(matches!(error(&short), PlotError::Shape { expected: 4, found: 2, .. }));
    }
}
