//! Text that a terminal shows and does not obey.
//!
//! Names, configs, model output and files of other people may hold escape sequences: they recolour, retitle or rewrite a
//! terminal, and bidirectional controls make a text read as another. Everything that reaches a terminal passes through here.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `text` without what commands a terminal: C0 controls and DEL become their pictures (`␛`), C1 controls and
/// bidirectional controls `�`. Line ends and tabs stay; a carriage return stays before a line feed alone.
pub fn printable(text: &str) -> Cow<'_, str> {
    replace(text, |c| is_command(c) && !matches!(c, '\n' | '\t'))
}

/// As [`printable`], on one line: line ends and tabs become their pictures too.
pub fn printable_line(text: &str) -> Cow<'_, str> {
    replace(text, is_command)
}

/// JSON text with the same meaning in which nothing commands a terminal: JSON itself escapes C0 controls alone. Its own line
/// ends stay.
pub fn printable_json(text: &str) -> Cow<'_, str> {
    if !text.contains(|c| is_command(c) && c != '\n') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_command(c) && c != '\n' {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// A part of a line of `columns` characters at most, with what stands at `place` (characters from 0) in it; `…` where
/// something was left out. Also where that place is in the part.
pub fn excerpt(line: &str, place: usize, columns: usize) -> (Cow<'_, str>, usize) {
    let n_chars = line.chars().count();
    if n_chars <= columns {
        return (Cow::Borrowed(line), place);
    }
    let room = columns.saturating_sub(2).max(1);
    let first = place.saturating_sub(room / 3).min(n_chars - room.min(n_chars));
    let (before, after) = (if first > 0 { "…" } else { "" }, if first + room < n_chars { "…" } else { "" });
    let part: String = line.chars().skip(first).take(room).collect();
    let at = place.saturating_sub(first) + before.chars().count();
    (Cow::Owned(format!("{before}{part}{after}")), at.min(columns))
}

/// Whether a terminal may obey a character rather than show it; line ends and tabs are among them.
pub fn is_command(c: char) -> bool {
    c.is_control() || is_bidi(c) || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Embeddings, overrides and isolates (Unicode Technical Standard 55); the plain marks of right-to-left text are none.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn replace(text: &str, is_unwanted: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_unwanted) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let ends_line = c == '\r' && chars.peek() == Some(&'\n') && !is_unwanted('\n');
        out.push(if is_unwanted(c) && !ends_line { picture(c) } else { c });
    }
    Cow::Owned(out)
}

fn picture(c: char) -> char {
    match u32::from(c) {
        code @ 0..0x20 => char::from_u32(0x2400 + code).unwrap_or('\u{fffd}'),
        0x7f => '\u{2421}',
        0x2028 | 0x2029 => '\u{2424}',
        _ => '\u{fffd}',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_commands_a_terminal_is_shown_instead() {
        for (text, shown, line) in [
            (
                "plain, ünïcödé, 中文, עברית\u{200f}",
                "plain, ünïcödé, 中文, עברית\u{200f}",
                "plain, ünïcödé, 中文, עברית\u{200f}",
            ),
            ("a\u{1b}[2Jb\u{9b}c\td\u{7f}\n", "a␛[2Jb\u{fffd}c\td␡\n", "a␛[2Jb\u{fffd}c␉d␡␊"),
            ("\u{1b}]0;title\u{7}", "␛]0;title␇", "␛]0;title␇"),
            ("kept\r\nrewritten\rhidden", "kept\r\nrewritten␍hidden", "kept␍␊rewritten␍hidden"),
            ("user\u{202e}nimda\u{2066}x", "user\u{fffd}nimda\u{fffd}x", "user\u{fffd}nimda\u{fffd}x"),
            ("one\u{2028}two", "one\u{2424}two", "one\u{2424}two"),
        ] {
            assert_eq!(printable(text), shown, "{text:?}");
            assert_eq!(printable_line(text), line, "{text:?}");
        }
    }
    #[test]
    fn json_means_what_it_meant() {
        for text in ["plain\n\"ünï\"", "\"a\\u001b[2J\u{9b}2J\u{202e}b\u{7f}\u{2028}\"\n"] {
            let shown = printable_json(text);
            assert_eq!(printable(&shown), shown, "{text:?}");
            if let Ok(value) = serde_json::from_str::<serde_json::Value>(text) {
                assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
            }
        }
    }

    #[test]
    fn an_excerpt_holds_its_place() {
        assert_eq!(excerpt("short", 2, 10), ("short".into(), 2));
        let line: String = (0..1000).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
        for place in [0, 1, 17, 500, 998, 999, 1000] {
            let (part, at) = excerpt(&line, place, 40);
            assert!(part.chars().count() <= 40, "{part}");
            assert_eq!(part.chars().nth(at).filter(|c| *c != '…'), line.chars().nth(place), "{place}: {part}");
        }
    }
}
