//! Figures between lines of text: as an image where the terminal has them, else as half blocks.

mod blocks;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use longlens_plot::canvas::{Canvas, Figure, PlotError};

use super::colours::Colours;
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
pub enum Protocol {
    HalfBlocks,
    Kitty,
    Sixel,
    Iterm2,
    None,
}

/// A figure is not wider, in cells.
const MAX_COLUMNS: usize = 100;
/// A figure of half blocks is not higher, in cells.
const MAX_ROWS: usize = 30;

impl Images {
    /// What this means in the terminal that the environment names.
    pub(super) fn of_terminal(self, colours: Colours) -> Protocol {
        self.of(colours, |name| std::env::var(name).unwrap_or_default())
    }

    fn of(self, colours: Colours, var: impl Fn(&str) -> String) -> Protocol {
        match self {
            Self::Kitty => Protocol::Kitty,
            Self::Sixel => Protocol::Sixel,
            Self::Iterm2 => Protocol::Iterm2,
            Self::None => Protocol::None,
            _ if colours == Colours::None => Protocol::None,
            Self::HalfBlocks => Protocol::HalfBlocks,
            Self::Auto => {
                let (term, program) = (var("TERM"), var("TERM_PROGRAM"));
                let is_within = !var("TMUX").is_empty() || term.starts_with("screen") || term.starts_with("tmux");
                let is_kitty = !var("KITTY_WINDOW_ID").is_empty()
                    || ["kitty", "ghostty"].iter().any(|name| term.contains(name) || program.contains(name));
                let is_sixel = ["foot", "mlterm", "contour", "yaft"].iter().any(|name| term.starts_with(name));
                let is_iterm2 = ["iTerm.app", "WezTerm", "mintty", "rio"].contains(&program.as_str())
                    || var("LC_TERMINAL") == "iTerm2";
                match () {
                    // a multiplexer keeps images to itself
                    () if is_within => Protocol::HalfBlocks,
                    () if is_kitty => Protocol::Kitty,
                    () if is_sixel => Protocol::Sixel,
                    () if is_iterm2 => Protocol::Iterm2,
                    () => Protocol::HalfBlocks,
                }
            }
        }
    }
}

/// What draws the figure of `shown` in a terminal of `width` columns; empty when there is none to draw.
pub fn draw(shown: &Shown, protocol: Protocol, colours: Colours, width: usize) -> Result<String, PlotError> {
    let Some(figure) = &shown.figure else { return Ok(String::new()) };
    let columns = width.clamp(1, MAX_COLUMNS);
    let png = || match &shown.png {
        Some(png) => Ok(png.clone()),
        None => Canvas::default().to_png_bytes(figure.as_ref()),
    };
    match protocol {
        Protocol::None => Ok("(with a figure, which `save(value, \"figure.png\")` writes to a file)\n".into()),
        Protocol::HalfBlocks => blocks::draw(figure.as_ref(), columns, MAX_ROWS, colours),
        Protocol::Kitty => Ok(kitty(&png()?, columns)),
        Protocol::Sixel => sixel(figure.as_ref(), columns),
        Protocol::Iterm2 => Ok(iterm2(&png()?, columns)),
    }
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
    let (width, height) = (columns as u32 * CELL.0, MAX_ROWS as u32 * CELL.1);
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
    fn the_environment_names_the_protocol() {
        let of = |images: Images, colours: Colours, vars: &[(&str, &str)]| {
            let var = |name: &str| {
                vars.iter().find(|(known, _)| *known == name).map_or(String::new(), |(_, to)| (*to).into())
            };
            images.of(colours, var)
        };
        for (vars, expected) in [
            (&[("TERM", "xterm-kitty")][..], Protocol::Kitty),
            (&[("TERM", "xterm-256color"), ("KITTY_WINDOW_ID", "1")], Protocol::Kitty),
            (&[("TERM", "tmux-256color"), ("KITTY_WINDOW_ID", "1")], Protocol::HalfBlocks),
            (&[("TERM_PROGRAM", "iTerm.app")], Protocol::Iterm2),
            (&[("LC_TERMINAL", "iTerm2"), ("TERM", "xterm-256color")], Protocol::Iterm2),
            (&[("TERM", "foot")], Protocol::Sixel),
            (&[("TERM", "xterm-256color")], Protocol::HalfBlocks),
        ] {
            assert_eq!(of(Images::Auto, Colours::True, vars), expected, "{vars:?}");
        }
        let kitty = &[("TERM", "xterm-kitty")][..];
        assert_eq!(of(Images::Auto, Colours::None, kitty), Protocol::None);
        assert_eq!(of(Images::Kitty, Colours::None, &[]), Protocol::Kitty, "a choice wins");
        assert_eq!(of(Images::HalfBlocks, Colours::True, kitty), Protocol::HalfBlocks);
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
