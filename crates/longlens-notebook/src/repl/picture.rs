//! Figures between lines of text: as an image where the terminal has them, else as half blocks.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use longlens_plot::canvas::{Canvas, Figure, PlotError};
use longlens_plot::screen::Screen;
use longlens_plot::terminal::{Depth, ImageProtocol};

use super::colours::Paint;
use crate::shown::Shown;

/// How figures are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Images {
    /// As the environment suggests: an image in terminals that are known to have them, else half blocks.
    #[default]
    Auto,
    /// Two pixels in each cell: any terminal with colours.
    HalfBlocks,
    /// By kitty's graphics protocol.
    Kitty,
    /// By sixels.
    Sixel,
    /// By iTerm2's inline images.
    Iterm2,
    /// Not at all: their text stands for them.
    None,
}

/// How figures reach this terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// As an image.
    Image(ImageProtocol),
    /// As coloured cells.
    HalfBlocks,
    /// Not at all.
    None,
}

/// A figure is not wider, in cells.
const MAX_COLUMNS: usize = 100;
/// A figure of half blocks is not higher, in cells.
const MAX_ROWS: usize = 30;
/// The same of one that is higher than wide, as all heads of a model with many layers.
const TALL_ROWS: usize = 60;

impl Images {
    /// What this means in the terminal that the environment names.
    pub(super) fn of_terminal(self, colours: Depth) -> Way {
        self.of(colours, ImageProtocol::of_terminal())
    }

    fn of(self, colours: Depth, known: Option<ImageProtocol>) -> Way {
        match self {
            Self::Kitty => Way::Image(ImageProtocol::Kitty),
            Self::Sixel => Way::Image(ImageProtocol::Sixel),
            Self::Iterm2 => Way::Image(ImageProtocol::Iterm2),
            Self::None => Way::None,
            _ if colours == Depth::Mono => Way::None,
            Self::HalfBlocks => Way::HalfBlocks,
            Self::Auto => known.map_or(Way::HalfBlocks, Way::Image),
        }
    }
}

/// What draws the figure of `shown` in a terminal of `width` columns; empty when there is none to draw.
pub fn draw(shown: &Shown, way: Way, colours: Depth, width: usize) -> Result<String, PlotError> {
    let Some(figure) = &shown.figure else { return Ok(String::new()) };
    let columns = width.clamp(1, MAX_COLUMNS);
    let png = || match &shown.png {
        Some(png) => Ok(png.clone()),
        None => Canvas::default().to_png_bytes(figure.as_ref()),
    };
    match way {
        Way::None => Ok("(with a figure, which `save(value, \"figure.png\")` writes to a file)\n".into()),
        Way::HalfBlocks => half_blocks(figure.as_ref(), columns, colours),
        Way::Image(ImageProtocol::Kitty) => Ok(kitty(&png()?, columns)),
        Way::Image(ImageProtocol::Sixel) => sixel(figure.as_ref(), columns),
        Way::Image(ImageProtocol::Iterm2) => Ok(iterm2(&png()?, columns)),
    }
}

/// Cells that a figure may be high.
fn most_rows(figure: &dyn Figure) -> usize {
    let (width, height) = figure.size();
    if height > width { TALL_ROWS } else { MAX_ROWS }
}

/// The figure in at most `columns` cells a row, every row with its line end.
pub fn half_blocks(figure: &dyn Figure, columns: usize, colours: Depth) -> Result<String, PlotError> {
    let (columns, rows) = Screen::fitting(figure, columns, most_rows(figure));
    let screen = Screen::of_figure(figure, columns, rows)?;
    let mut text = String::new();
    for row in screen.cells.chunks(columns) {
        let mut last = (String::new(), String::new());
        for cell in row {
            let (ink, ground) = (colours.code(cell.ink, true), colours.code(cell.ground, true));
            // in the colours that there are, both halves may be one
            let symbol = if cell.symbol == "▀" && ink == ground { " " } else { &cell.symbol };
            // a blank shows no ink
            let ink = if symbol == " " { last.0.clone() } else { colours.code(cell.ink, false) };
            let codes = (ink, ground);
            if codes != last && !symbol.is_empty() {
                let changed = [(&codes.0, &last.0), (&codes.1, &last.1)].map(|(new, old)| (new != old).then_some(new));
                let parts: Vec<&str> = changed.into_iter().flatten().map(String::as_str).collect();
                text.extend(["\x1b[", &parts.join(";"), "m"]);
                last = codes;
            }
            text += symbol;
        }
        text += "\x1b[0m\n";
    }
    Ok(text)
}

/// Bytes of one command of kitty's protocol.
const CHUNK: usize = 4096;

/// A PNG `columns` cells wide, by kitty's protocol. Kitty is asked not to answer: the answer would be read as keys.
fn kitty(png: &[u8], columns: usize) -> String {
    let data = STANDARD.encode(png);
    let n_chunks = data.len().div_ceil(CHUNK);
    let chunk = |idx: usize| {
        let keys = if idx == 0 { format!("a=T,f=100,q=2,c={columns},") } else { String::new() };
        let part = &data[idx * CHUNK..data.len().min((idx + 1) * CHUNK)];
        format!("\x1b_G{keys}m={};{part}\x1b\\", u8::from(idx + 1 < n_chunks))
    };
    (0..n_chunks).map(chunk).chain(["\n".into()]).collect()
}

/// Pixels of a cell that sixels are drawn for: the terminal is not asked, and most cells are at least as large.
const CELL: (u32, u32) = (8, 16);

/// A figure about `columns` cells wide, in sixels.
fn sixel(figure: &dyn Figure, columns: usize) -> Result<String, PlotError> {
    let (width, height) = (columns as u32 * CELL.0, most_rows(figure) as u32 * CELL.1);
    let pixels = Canvas::fitting(figure, width, height).to_rgb(figure)?;
    let rgba: Vec<u8> = pixels.rgb.chunks_exact(3).flat_map(|rgb| [rgb[0], rgb[1], rgb[2], u8::MAX]).collect();
    let size = (pixels.width as usize, pixels.height as usize);
    // texts and flat areas look worse with dithering
    let options = icy_sixel::EncodeOptions { diffusion: 0.0, ..icy_sixel::EncodeOptions::default() };
    // an image that cannot be encoded is no reason to lose the cell's result
    Ok(icy_sixel::sixel_encode(&rgba, size.0, size.1, &options)
        .map_or_else(|error| format!("({error})\n"), |text| text + "\n"))
}

/// A PNG `columns` cells wide, as iTerm2 takes files.
fn iterm2(png: &[u8], columns: usize) -> String {
    let (size, data) = (png.len(), STANDARD.encode(png));
    format!("\x1b]1337;File=inline=1;size={size};width={columns};preserveAspectRatio=1:{data}\x07\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_wins_over_what_is_known_of_the_terminal() {
        let kitty = Some(ImageProtocol::Kitty);
        for (images, colours, known, expected) in [
            (Images::Auto, Depth::True, kitty, Way::Image(ImageProtocol::Kitty)),
            (Images::Auto, Depth::True, None, Way::HalfBlocks),
            (Images::Auto, Depth::Mono, kitty, Way::None),
            (Images::Kitty, Depth::Mono, None, Way::Image(ImageProtocol::Kitty)),
            (Images::HalfBlocks, Depth::True, kitty, Way::HalfBlocks),
        ] {
            assert_eq!(images.of(colours, known), expected, "{images:?} in {colours:?}, {known:?}");
        }
    }

    #[test]
    fn half_blocks_fit_any_terminal() {
        use unicode_width::UnicodeWidthStr;
        let figure = longlens_plot::plots::HeatMap {
            title: "title 漢".into(),
            x_labels: vec!["a".into()],
            y_labels: vec!["b".into()],
            values: vec![vec![1.0]],
            ..longlens_plot::plots::HeatMap::default()
        };
        // without its codes
        let plain =
            |line: &str| line.split('\x1b').map(|part| part.split_once('m').map_or(part, |(_, text)| text)).collect();
        for columns in [1, 7, 40, 100] {
            for colours in [Depth::True, Depth::Ansi256, Depth::Ansi16] {
                let drawn = half_blocks(&figure, columns, colours).unwrap();
                let lines: Vec<String> = drawn.lines().map(plain).collect();
                assert!(lines.len() <= MAX_ROWS && lines.iter().all(|line| line.width() <= columns), "{lines:?}");
            }
        }
    }

    #[test]
    fn images_are_cut_into_commands() {
        let png = vec![7; 7000];
        let text = kitty(&png, 90);
        let parts: Vec<_> = text.trim_end().split_terminator("\x1b\\").collect();
        assert_eq!(parts.len(), 3);
        assert!(parts[0].starts_with("\x1b_Ga=T,f=100,q=2,c=90,m=1;") && parts[1].starts_with("\x1b_Gm=1;"));
        let data: String = parts.iter().map(|part| part.split_once(';').unwrap().1).collect();
        assert!(
            parts[2].starts_with("\x1b_Gm=0;")
                && parts.iter().all(|part| part.split_once(';').unwrap().1.len() <= CHUNK)
        );
        assert_eq!(STANDARD.decode(data).unwrap(), png);
        assert!(iterm2(&png, 90).starts_with("\x1b]1337;File=inline=1;size=7000;width=90;"));
    }
}
