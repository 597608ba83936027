//! A frame as a picture, for documentation.

use longlens_plot::color::Rgb;
use longlens_plot::{Screen, ScreenCell, terminal};
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};

use crate::theme::{FIRST, Theme, ThemeName};

/// The frame as cells with exact colors; what a terminal would draw in its own colors gets the theme's.
pub fn screen(buffer: &Buffer, theme: Theme, title: Option<String>) -> Screen {
    let ground = theme.ground_rgb();
    let ink = match theme.name {
        ThemeName::Light => Rgb(36, 38, 44),
        ThemeName::Dark | ThemeName::HighContrast => Rgb(230, 230, 230),
    };
    let mut cells = Vec::with_capacity(buffer.content.len());
    for cell in &buffer.content {
        let (mut fore, mut back) = (rgb(cell.fg, ink), rgb(cell.bg, ground));
        if cell.modifier.contains(Modifier::REVERSED) {
            std::mem::swap(&mut fore, &mut back);
        }
        cells.push(ScreenCell {
            symbol: cell.symbol().to_owned(),
            ink: fore,
            ground: back,
            bold: cell.modifier.contains(Modifier::BOLD),
            italic: cell.modifier.contains(Modifier::ITALIC),
            underlined: cell.modifier.contains(Modifier::UNDERLINED),
            dim: cell.modifier.contains(Modifier::DIM),
        });
    }
    let (columns, rows) = (usize::from(buffer.area.width), usize::from(buffer.area.height));
    Screen { columns, rows, cells, background: ground, title }
}

/// The color that most terminals draw.
fn rgb(color: Color, reset: Rgb) -> Rgb {
    match color {
        Color::Reset => reset,
        Color::Rgb(r, g, b) => Rgb(r, g, b),
        Color::Indexed(at) => terminal::color(at),
        named => FIRST.iter().position(|first| *first == named).map_or(reset, |at| terminal::color(at as u8)),
    }
}
