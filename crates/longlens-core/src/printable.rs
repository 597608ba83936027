//! Text that a terminal shows and does not obey.
//!
//! Names, configs, model output and files of other people may hold escape sequences: they recolour, retitle or rewrite a
//! terminal, and bidirectional controls make a text read as another. Everything that reaches a terminal passes through here.

use std::borrow::Cow;

/// `text` without what commands a terminal: C0 controls and DEL become their pictures (`␛`), C1 controls and
/// bidirectional controls `�`. Line ends and tabs stay; a carriage return stays before a line feed alone.
pub fn printable(text: &str) -> Cow<'_, str> {
    replace(text, |c| is_command(c) && !matches!(c, '\n' | '\t'))
}

/// As [`printable`], on one line: line ends and tabs become their pictures too.
pub fn printable_line(text: &str) -> Cow<'_, str> {
    replace(text, is_command)
}

fn is_command(c: char) -> bool {
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
}
