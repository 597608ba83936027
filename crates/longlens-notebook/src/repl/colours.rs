//! Colours of the prompt: roles for words, and colours of pixels as deep as the terminal shows.

use std::borrow::Cow;

use longlens_core::printable::printable;
use longlens_plot::color::Rgb;
use longlens_plot::terminal::{Depth, nearest_16, nearest_256};

use crate::interpreter::{CellError, Part};

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

/// What colours are as codes of a terminal.
pub trait Paint {
    /// Text in the colour of its role.
    fn paint(self, role: Role, text: &str) -> Cow<'_, str>;

    /// The codes of a colour for text (`is_ground` false) or behind it; empty without colours.
    fn code(self, rgb: Rgb, is_ground: bool) -> String;
}

/// The lines of an error, safe for a terminal: its name and caret red, advice green, line numbers and calls faint.
pub fn painted(error: &CellError, colours: Depth) -> Vec<String> {
    let part = |(part, text): (Part, String)| {
        let text = printable(&text);
        match part {
            Part::Plain => text.into_owned(),
            Part::Alarm => colours.paint(Role::Alarm, &text).into_owned(),
            Part::Faint => colours.paint(Role::Faint, &text).into_owned(),
            Part::Help => colours.paint(Role::Help, &text).into_owned(),
        }
    };
    error.parts().into_iter().map(|line| line.into_iter().map(part).collect()).collect()
}

impl Paint for Depth {
    fn paint(self, role: Role, text: &str) -> Cow<'_, str> {
        if self == Self::Mono || text.is_empty() {
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

    fn code(self, rgb: Rgb, is_ground: bool) -> String {
        let first = if is_ground { 48 } else { 38 };
        match self {
            Self::True => format!("{first};2;{};{};{}", rgb.0, rgb.1, rgb.2),
            Self::Ansi256 => format!("{first};5;{}", nearest_256(rgb)),
            Self::Ansi16 => {
                let at = nearest_16(rgb);
                let base = if at < 8 { 30 } else { 82 };
                (base + at + if is_ground { 10 } else { 0 }).to_string()
            }
            Self::Mono => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_fall_back_to_the_nearest() {
        assert_eq!(Depth::True.code(Rgb(1, 2, 3), true), "48;2;1;2;3");
        assert_eq!(Depth::Ansi256.code(Rgb(255, 0, 0), false), "38;5;196");
        assert_eq!(Depth::Ansi256.code(Rgb(128, 128, 128), false), "38;5;244");
        assert_eq!(Depth::Ansi16.code(Rgb(250, 250, 250), true), "107");
        assert_eq!(Depth::Ansi16.code(Rgb(180, 10, 0), false), "31");
        assert_eq!(Depth::Mono.code(Rgb(0, 0, 0), false), "");
        assert_eq!(Depth::Mono.paint(Role::Alarm, "x"), "x");
    }
}
