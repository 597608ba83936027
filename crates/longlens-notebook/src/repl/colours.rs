//! Colours of the prompt: roles for words, and colours of pixels as deep as the terminal shows.

use std::borrow::Cow;

use longlens_plot::color::Rgb;

/// How many colours the terminal shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Colours {
    /// 16 million.
    #[default]
    True,
    /// The 256 of xterm.
    Ansi256,
    /// The 16 of every terminal.
    Ansi16,
    /// None at all.
    None,
}

/// What a piece of text is for. Roles use the 16 colours alone: those fit whatever ground the user chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The prompt's number.
    Prompt,
    /// Steps back.
    Faint,
    /// Errors and carets.
    Alarm,
    /// Advice.
    Help,
    /// A word of the language.
    Keyword,
    /// A string.
    Text,
    Number,
    /// A line for the session.
    Magic,
    /// A bracket and its partner.
    Pair,
}

impl Colours {
    /// What the environment says: `NO_COLOR`, `COLORTERM`, `TERM`.
    pub fn of_terminal() -> Self {
        let var = |name: &str| std::env::var(name).unwrap_or_default();
        Self::of(&var("NO_COLOR"), &var("COLORTERM"), &var("TERM"))
    }

    fn of(no_color: &str, colorterm: &str, term: &str) -> Self {
        match () {
            () if !no_color.is_empty() || term == "dumb" => Self::None,
            () if matches!(colorterm, "truecolor" | "24bit") || term.contains("direct") => Self::True,
            () if term.contains("256color") => Self::Ansi256,
            () => Self::Ansi16,
        }
    }

    /// Text in the colour of its role.
    pub fn paint(self, role: Role, text: &str) -> Cow<'_, str> {
        if self == Self::None || text.is_empty() {
            return Cow::Borrowed(text);
        }
        let code = match role {
            Role::Prompt => "36",
            Role::Faint => "2",
            Role::Alarm => "1;31",
            Role::Help | Role::Text => "32",
            Role::Keyword => "34",
            Role::Number => "33",
            Role::Magic => "35",
            Role::Pair => "1;4",
        };
        Cow::Owned(format!("\x1b[{code}m{text}\x1b[0m"))
    }

    /// The codes of a colour for text (`is_ground` false) or behind it; empty without colours.
    pub fn code(self, rgb: Rgb, is_ground: bool) -> String {
        let first = if is_ground { 48 } else { 38 };
        match self {
            Self::True => format!("{first};2;{};{};{}", rgb.0, rgb.1, rgb.2),
            Self::Ansi256 => format!("{first};5;{}", nearest_256(rgb)),
            Self::Ansi16 => {
                let at = nearest_16(rgb);
                let base = if at < 8 { 30 } else { 82 };
                (base + at + if is_ground { 10 } else { 0 }).to_string()
            }
            Self::None => String::new(),
        }
    }
}

fn distance(a: Rgb, b: Rgb) -> u32 {
    let off = |a: u8, b: u8| u32::from(a.abs_diff(b)).pow(2);
    off(a.0, b.0) + off(a.1, b.1) + off(a.2, b.2)
}

/// The nearest of xterm's cube of 6 × 6 × 6 and its 24 grays.
fn nearest_256(rgb: Rgb) -> usize {
    let step = |level: usize| if level == 0 { 0 } else { 55 + 40 * level as u8 };
    let level = |value: u8| (0..6).min_by_key(|level| step(*level).abs_diff(value)).unwrap_or(0);
    let [r, g, b] = [rgb.0, rgb.1, rgb.2].map(level);
    let mean = (u16::from(rgb.0) + u16::from(rgb.1) + u16::from(rgb.2)) / 3;
    let gray = (usize::from(mean.saturating_sub(3)) / 10).min(23);
    let gray_level = 8 + 10 * gray as u8;
    if distance(rgb, Rgb(gray_level, gray_level, gray_level)) < distance(rgb, Rgb(step(r), step(g), step(b))) {
        232 + gray
    } else {
        16 + 36 * r + 6 * g + b
    }
}

/// The nearest of the 16, as most terminals draw them.
fn nearest_16(rgb: Rgb) -> usize {
    let color = |at: usize| {
        let (low, high) = if at < 8 { (0, 170) } else { (85, 255) };
        let part = |bit: usize| if at >> bit & 1 == 1 { high } else { low };
        Rgb(part(0), part(1), part(2))
    };
    (0..16).min_by_key(|at| distance(rgb, color(*at))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_the_depth() {
        for (no_color, colorterm, term, expected) in [
            ("", "truecolor", "xterm", Colours::True),
            ("1", "truecolor", "xterm", Colours::None),
            ("", "", "tmux-256color", Colours::Ansi256),
            ("", "", "xterm", Colours::Ansi16),
            ("", "", "dumb", Colours::None),
        ] {
            assert_eq!(Colours::of(no_color, colorterm, term), expected, "{colorterm} {term}");
        }
    }

    #[test]
    fn colours_fall_back_to_the_nearest() {
        assert_eq!(Colours::True.code(Rgb(1, 2, 3), true), "48;2;1;2;3");
        assert_eq!(Colours::Ansi256.code(Rgb(255, 0, 0), false), "38;5;196");
        assert_eq!(Colours::Ansi256.code(Rgb(128, 128, 128), false), "38;5;244");
        assert_eq!(Colours::Ansi16.code(Rgb(250, 250, 250), true), "107");
        assert_eq!(Colours::Ansi16.code(Rgb(180, 10, 0), false), "31");
        assert_eq!(Colours::None.code(Rgb(0, 0, 0), false), "");
        assert_eq!(Colours::None.paint(Role::Alarm, "x"), "x");
    }
}
