//! What a pane draws with: the frame's cells, the theme, and notes of what a click would hit.

use longlens_plot::color::Rgb;
use longlens_plot::{Pixels, Screen};
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::{Block, Widget};

use crate::app::FigureSize;
use crate::theme::{Depth, Pixel, Theme, ThemeName};

/// What a pane draws with.
pub struct Pen<'a> {
    /// The frame.
    pub buffer: &'a mut Buffer,
    /// Colors.
    pub theme: Theme,
    /// What the frame shows where.
    pub seen: &'a mut Seen,
    /// Pixels of a cell, where the terminal shows real images.
    pub cell_pixels: Option<(u16, u16)>,
}

/// What a frame shows where: for the mouse, and for what is computed in the size in which it is shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// Later ones lie on top.
    pub hits: Vec<(Rect, Hit)>,
    /// Pixels of a side that the attention map could show.
    pub map_side: Option<usize>,
    /// Pictures that a terminal with real images shows in place of their cells.
    pub images: Vec<Picture>,
    /// Figures of views, by their place, and the cells that each fills.
    pub figures: Vec<(usize, FigureSize)>,
    /// Lines that output or log can be scrolled up.
    pub scroll_max: usize,
}

/// A picture of pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// The cells it covers.
    pub area: Rect,
    /// Pixels of a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Red, green and blue of every pixel, row by row.
    pub rgb: Vec<u8>,
}

/// What lies under the mouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hit {
    /// A control, by its place in the list.
    Field(usize),
    /// A tab, of the pane of this place.
    Tab(usize, usize),
    /// The view of a pane.
    View(usize),
    /// A token of the strip.
    Token(usize),
    /// A head's row or panel.
    Head(usize, usize),
    /// A run in the history.
    Run(usize),
    /// An entry of an open list.
    Entry(usize),
    /// The token strip.
    Tokens,
    /// Output and log.
    Output,
    /// The history.
    History,
    /// The controls.
    Controls,
    /// An attention map: the token under the pixel is found by the area.
    Map,
}

/// A picture before it is cells: `height` rows of `width` pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct Raster {
    /// Pixels of a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// The pixels, row by row.
    pub pixels: Vec<Pixel>,
}

impl Raster {
    /// A picture from what each pixel is, by column and row.
    pub fn new(width: usize, height: usize, pixel: impl Fn(usize, usize) -> Pixel) -> Self {
        let pixels = (0..width * height).map(|at| pixel(at % width, at / width)).collect();
        Self { width, height, pixels }
    }

    /// The pixel of a column and row; nothing outside.
    pub fn at(&self, x: usize, y: usize) -> Pixel {
        if x < self.width && y < self.height { self.pixels[y * self.width + x] } else { Pixel::Empty }
    }
}

impl Pen<'_> {
    /// Text at a place, cut at `width` cells; returns the cells it took.
    pub fn text(&mut self, x: u16, y: u16, text: &str, width: u16, style: Style) -> u16 {
        let area = self.buffer.area;
        if y >= area.bottom() || x >= area.right() || width == 0 {
            return 0;
        }
        let (end, _) = self.buffer.set_stringn(x, y, text, width as usize, style);
        end - x
    }

    /// A line of differently styled parts.
    pub fn line(&mut self, x: u16, y: u16, line: &Line, width: u16) {
        let area = self.buffer.area;
        if y < area.bottom() && x < area.right() {
            self.buffer.set_line(x, y, line, width.min(area.right() - x));
        }
    }

    /// A framed pane; returns the room inside.
    pub fn frame(&mut self, area: Rect, title: &str, focused: bool) -> Rect {
        let title = format!(" {title} ");
        let block = Block::bordered()
            .border_type(ratatui::widgets::BorderType::Rounded)
            .border_style(self.theme.edge(focused))
            .title(Line::styled(title, if focused { self.theme.accent() } else { self.theme.text() }));
        let inside = block.inner(area);
        block.render(area, self.buffer);
        inside
    }

    /// Remembers what a click here hits.
    pub fn hit(&mut self, area: Rect, hit: Hit) {
        if !area.is_empty() {
            self.seen.hits.push((area, hit));
        }
    }

    /// How many pixels a picture in this area can have: two a cell, or all of them.
    pub fn resolution(&self, area: Rect) -> (usize, usize) {
        let (width, height) = (usize::from(area.width), usize::from(area.height));
        match self.cell_pixels {
            Some((x, y)) => ((width * usize::from(x)).min(MAX_SIDE), (height * usize::from(y)).min(MAX_SIDE)),
            // without colors a cell is one sign
            None if self.theme.depth == Depth::Mono => (width, height),
            None => (width, 2 * height),
        }
    }

    /// Draws a picture into an area, each cell two pixels high, or as an image where the terminal has them.
    pub fn raster(&mut self, area: Rect, raster: &Raster) {
        if area.is_empty() || raster.width == 0 || raster.height == 0 {
            return;
        }
        let (columns, rows) = (usize::from(area.width), usize::from(area.height));
        let tall = if self.theme.depth == Depth::Mono { 1 } else { 2 };
        // pixel of a cell's half: the picture fills the area when it is an image, else it stands in its corner
        let scaled = self.cell_pixels.is_some();
        let pick = |x: usize, y: usize| {
            if scaled {
                raster.at(x * raster.width / columns, y * raster.height / (rows * tall))
            } else {
                raster.at(x, y)
            }
        };
        for y in 0..rows {
            for x in 0..columns {
                let at = Position::new(area.x + x as u16, area.y + y as u16);
                let Some(cell) = self.buffer.cell_mut(at) else { continue };
                if tall == 1 {
                    cell.set_char(Theme::shade(pick(x, y)));
                    continue;
                }
                let (top, bottom) = (pick(x, 2 * y), pick(x, 2 * y + 1));
                cell.set_char('▀').set_fg(self.theme.pixel(top)).set_bg(self.theme.pixel(bottom));
            }
        }
        if scaled {
            let rgb = raster.pixels.iter().flat_map(|pixel| {
                let Rgb(r, g, b) = self.theme.pixel_rgb(*pixel);
                [r, g, b]
            });
            let picture = Picture { area, width: raster.width, height: raster.height, rgb: rgb.collect() };
            self.seen.images.push(picture);
        }
    }

    /// Draws a figure that is cells already; as an image where the terminal has them.
    pub fn cells(&mut self, area: Rect, screen: &Screen, pixels: Option<&Pixels>) {
        for (y, row) in (area.y..area.bottom()).zip(screen.cells.chunks(screen.columns.max(1))) {
            for (x, drawn) in (area.x..area.right()).zip(row) {
                let Some(cell) = self.buffer.cell_mut(Position::new(x, y)) else { continue };
                if drawn.symbol.is_empty() {
                    continue; // behind a wide letter
                }
                if self.theme.depth == Depth::Mono {
                    let light = |Rgb(r, g, b)| (2.0 * f64::from(r) + 5.0 * f64::from(g) + f64::from(b)) / (8.0 * 255.0);
                    let ink = 1.0 - f64::midpoint(light(drawn.ink), light(drawn.ground));
                    let shade = if ink < PAPER { ' ' } else { Theme::shade(Pixel::Amount(ink)) };
                    let symbol = if drawn.symbol == "▀" { shade.to_string() } else { drawn.symbol.clone() };
                    cell.set_symbol(&symbol);
                } else {
                    let (ink, ground) = (self.theme.color(drawn.ink), self.theme.color(drawn.ground));
                    // both halves may be one color
                    let symbol = if drawn.symbol == "▀" && ink == ground { " " } else { &drawn.symbol };
                    cell.set_symbol(symbol).set_style(Style::new().fg(ink).bg(ground));
                }
            }
        }
        if let Some(Pixels { rgb, width, height }) = pixels.filter(|_| self.cell_pixels.is_some()) {
            let (width, height) = (*width as usize, *height as usize);
            self.seen.images.push(Picture { area, width, height, rgb: rgb.clone() });
        }
    }

    /// Draws what was drawn before in this area fainter: it is about to be replaced.
    pub fn dim(&mut self, area: Rect) {
        if self.theme.name == ThemeName::HighContrast {
            return; // nothing is dimmed there; titles say what is old
        }
        let style = match self.theme.depth {
            Depth::True => {
                for at in area.intersection(self.buffer.area).positions() {
                    if let Some(cell) = self.buffer.cell_mut(at) {
                        let (ink, ground) = (self.theme.faded(cell.fg), self.theme.faded(cell.bg));
                        cell.set_fg(ink).set_bg(ground);
                    }
                }
                return;
            }
            _ => Style::new().add_modifier(ratatui::style::Modifier::DIM),
        };
        self.buffer.set_style(area.intersection(self.buffer.area), style);
    }
}

impl Seen {
    /// What lies on top at a place, and its area.
    pub fn at(&self, column: u16, row: u16) -> Option<(Rect, Hit)> {
        let place = Position::new(column, row);
        self.hits.iter().rev().find(|(area, _)| area.contains(place)).copied()
    }
}

/// Ink below this is none, where there are no colors.
const PAPER: f64 = 0.04;
/// Most pixels of a side of an image.
const MAX_SIDE: usize = 640;
