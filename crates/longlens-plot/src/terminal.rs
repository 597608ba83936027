//! What a terminal shows, as its environment says: how many colours, and which images.

use longlens_core::printable::printable_line;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::color::Rgb;

/// How many colours a terminal shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    /// 16 million.
    #[default]
    True,
    /// The 256 of xterm.
    Ansi256,
    /// The 16 of every terminal.
    Ansi16,
    /// None: `NO_COLOR`, or a terminal that has none.
    Mono,
}

impl Depth {
    /// What the environment says: `NO_COLOR`, `COLORTERM`, `TERM`.
    pub fn of_terminal() -> Self {
        Self::of(&variable("NO_COLOR"), &variable("COLORTERM"), &variable("TERM"))
    }

    fn of(no_color: &str, colorterm: &str, term: &str) -> Self {
        match () {
            () if !no_color.is_empty() || term == "dumb" => Self::Mono,
            () if matches!(colorterm, "truecolor" | "24bit") || term.contains("direct") => Self::True,
            () if term.contains("256color") => Self::Ansi256,
            () => Self::Ansi16,
        }
    }
}

/// How a terminal takes images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageProtocol {
    /// Kitty's graphics protocol.
    Kitty,
    /// Sixels.
    Sixel,
    /// iTerm2's inline images.
    Iterm2,
}

impl ImageProtocol {
    /// The protocol of a terminal that is known to have images; nothing in a multiplexer, which keeps them to itself.
    pub fn of_terminal() -> Option<Self> {
        Self::of(&variable)
    }

    /// Whether it is worth asking the terminal for images: some that have them only say so when they are asked.
    pub fn may_be_there() -> bool {
        let asked = ["contour", "wezterm"].iter().any(|name| variable("TERM").contains(name));
        asked
            || Self::of(&variable).is_some()
            || variable("TERM_PROGRAM") == "vscode"
            || ["KITTY_WINDOW_ID", "KONSOLE_VERSION", "WEZTERM_EXECUTABLE"]
                .iter()
                .any(|name| !variable(name).is_empty())
    }

    fn of(var: &dyn Fn(&str) -> String) -> Option<Self> {
        let (term, program) = (var("TERM"), var("TERM_PROGRAM"));
        let is_within = !var("TMUX").is_empty() || term.starts_with("screen") || term.starts_with("tmux");
        let is_kitty = !var("KITTY_WINDOW_ID").is_empty()
            || ["kitty", "ghostty"].iter().any(|name| term.contains(name) || program.contains(name));
        let is_sixel = ["foot", "mlterm", "contour", "yaft"].iter().any(|name| term.starts_with(name));
        let is_iterm2 =
            ["iTerm.app", "WezTerm", "mintty", "rio"].contains(&program.as_str()) || var("LC_TERMINAL") == "iTerm2";
        match () {
            () if is_within => None,
            () if is_kitty => Some(Self::Kitty),
            () if is_sixel => Some(Self::Sixel),
            () if is_iterm2 => Some(Self::Iterm2),
            () => None,
        }
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// The 16 colours of every terminal, as most draw them.
const FIRST: [Rgb; 16] = [
    Rgb(0, 0, 0),
    Rgb(170, 0, 0),
    Rgb(0, 170, 0),
    Rgb(170, 110, 0),
    Rgb(0, 0, 170),
    Rgb(170, 0, 170),
    Rgb(0, 170, 170),
    Rgb(170, 170, 170),
    Rgb(85, 85, 85),
    Rgb(255, 85, 85),
    Rgb(85, 255, 85),
    Rgb(255, 255, 85),
    Rgb(85, 85, 255),
    Rgb(255, 85, 255),
    Rgb(85, 255, 255),
    Rgb(255, 255, 255),
];
/// Steps of a side of xterm's cube of colours.
const STEPS: [u8; 6] = [0, 95, 135, 175, 215, 255];

/// One of xterm's 256 colours: the 16 of every terminal, a cube of 6 × 6 × 6, and 24 grays.
pub fn color(at: u8) -> Rgb {
    match at {
        0..16 => FIRST[usize::from(at)],
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

/// The nearest of xterm's cube and its grays.
pub fn nearest_256(rgb: Rgb) -> u8 {
    let level = |value: u8| (0..6u8).min_by_key(|level| STEPS[usize::from(*level)].abs_diff(value)).unwrap_or(0);
    let cube = 16 + 36 * level(rgb.0) + 6 * level(rgb.1) + level(rgb.2);
    let mean = (u16::from(rgb.0) + u16::from(rgb.1) + u16::from(rgb.2)) / 3;
    let gray = 232 + (mean.saturating_sub(3) / 10).min(23) as u8;
    if distance(rgb, color(gray)) < distance(rgb, color(cube)) { gray } else { cube }
}

/// The nearest of the 16.
pub fn nearest_16(rgb: Rgb) -> u8 {
    (0..16).min_by_key(|at| distance(rgb, color(*at))).unwrap_or(0)
}

fn distance(a: Rgb, b: Rgb) -> u32 {
    let off = |a: u8, b: u8| u32::from(a.abs_diff(b)).pow(2);
    off(a.0, b.0) + off(a.1, b.1) + off(a.2, b.2)
}

/// Text of at most `width` columns, as a terminal may show it; what is cut ends in `…`.
pub fn cut(text: &str, width: usize) -> String {
    let text = &*printable_line(text);
    if text.width() <= width {
        return text.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let fits = |c: &char| {
        let columns = c.width().unwrap_or(0);
        let fits = columns <= left;
        left = left.saturating_sub(columns);
        fits
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_the_depth() {
        for (no_color, colorterm, term, expected) in [
            ("", "truecolor", "xterm", Depth::True),
            ("1", "truecolor", "xterm", Depth::Mono),
            ("", "", "tmux-256color", Depth::Ansi256),
            ("", "", "xterm", Depth::Ansi16),
            ("", "truecolor", "dumb", Depth::Mono),
        ] {
            assert_eq!(Depth::of(no_color, colorterm, term), expected, "{colorterm} {term}");
        }
    }

    #[test]
    fn the_environment_names_the_images() {
        for (vars, expected) in [
            (&[("TERM", "xterm-kitty")][..], Some(ImageProtocol::Kitty)),
            (&[("TERM", "xterm-256color"), ("KITTY_WINDOW_ID", "1")], Some(ImageProtocol::Kitty)),
            (&[("TERM", "tmux-256color"), ("KITTY_WINDOW_ID", "1")], None),
            (&[("TERM_PROGRAM", "iTerm.app")], Some(ImageProtocol::Iterm2)),
            (&[("LC_TERMINAL", "iTerm2"), ("TERM", "xterm-256color")], Some(ImageProtocol::Iterm2)),
            (&[("TERM", "foot")], Some(ImageProtocol::Sixel)),
            (&[("TERM", "xterm-256color")], None),
        ] {
            let var = |name: &str| {
                vars.iter().find(|(known, _)| *known == name).map_or(String::new(), |(_, to)| (*to).into())
            };
            assert_eq!(ImageProtocol::of(&var), expected, "{vars:?}");
        }
    }

    #[test]
    fn colors_fall_back_to_the_nearest() {
        assert_eq!((nearest_256(Rgb(255, 0, 0)), nearest_256(Rgb(128, 128, 128))), (196, 244));
        assert_eq!((nearest_16(Rgb(250, 250, 250)), nearest_16(Rgb(180, 10, 0))), (15, 1));
        for at in 16..=255 {
            // black and white are in both; the cube comes first
            assert_eq!(color(nearest_256(color(at))), color(at), "{at}");
        }
    }

    #[test]
    fn what_is_cut_ends_in_dots() {
        assert_eq!(["abc", "abcd", "漢字漢字"].map(|text| cut(text, 3)), ["abc", "ab…", "漢…"]);
        assert_eq!(cut("x", 0), "…");
    }
}
