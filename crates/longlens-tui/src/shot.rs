//! A frame as a picture, for documentation.

use longlens_plot::color::Rgb;
use longlens_plot::{Screen, ScreenCell};
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};

use crate::theme::{Theme, ThemeName};

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
        Color::Black => Rgb(0, 0, 0),
        Color::Red => Rgb(170, 0, 0),
        Color::Green => Rgb(0, 170, 0),
        Color::Yellow => Rgb(170, 110, 0),
        Color::Blue => Rgb(0, 0, 170),
        Color::Magenta => Rgb(170, 0, 170),
        Color::Cyan => Rgb(0, 170, 170),
        Color::Gray => Rgb(170, 170, 170),
        Color::DarkGray => Rgb(85, 85, 85),
        Color::LightRed => Rgb(255, 85, 85),
        Color::LightGreen => Rgb(85, 255, 85),
        Color::LightYellow => Rgb(255, 255, 85),
        Color::LightBlue => Rgb(85, 85, 255),
        Color::LightMagenta => Rgb(255, 85, 255),
        Color::LightCyan => Rgb(85, 255, 255),
        Color::White => Rgb(255, 255, 255),
        Color::Indexed(at) => indexed(at),
    }
}

/// xterm's 256 colors.
fn indexed(at: u8) -> Rgb {
    const STEPS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    const FIRST: [Color; 16] = [
        Color::Black,
        Color::Red,
        Color::Green,
        Color::Yellow,
        Color::Blue,
        Color::Magenta,
        Color::Cyan,
        Color::Gray,
        Color::DarkGray,
        Color::LightRed,
        Color::LightGreen,
        Color::LightYellow,
        Color::LightBlue,
        Color::LightMagenta,
        Color::LightCyan,
        Color::White,
    ];
    match at {
        0..16 => rgb(FIRST[usize::from(at)], Rgb(0, 0, 0)),
        16..232 => {
            let cube = usize::from(at - 16);
            Rgb(STEPS[cube / 36], STEPS[cube / 6 % 6], STEPS[cube % 6])
        }
        232.. => {
            let gray = 8 + 10 * (at - 232);
            Rgb(gray, gray, gray)
        }
    }
}
