//! Cuts PTX text into words, numbers, strings and punctuation.

use crate::Error;

/// A piece of the text and where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token<'a> {
    pub text: &'a str,
    pub start: usize,
    pub line: u32,
}

impl Token<'_> {
    pub(crate) fn end(&self) -> usize {
        self.start + self.text.len()
    }
}

/// All tokens of a text, without comments.
pub(crate) fn tokens(source: &str) -> Result<Vec<Token<'_>>, Error> {
    let bytes = source.as_bytes();
    let (mut found, mut at, mut line) = (Vec::new(), 0, 1);
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => find(source, at, "\n").unwrap_or(bytes.len()),
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                find(source, at, "*/").ok_or_else(|| unfinished(line, "comment"))? + 2
            }
            b'"' => find(source, at + 1, "\"").ok_or_else(|| unfinished(line, "string"))? + 1,
            byte if is_word(byte) => word_end(bytes, at),
            _ => at + 1,
        };
        let text = &source[at..end];
        if !text.starts_with("//") && !text.starts_with("/*") && !bytes[at].is_ascii_whitespace() {
            found.push(Token { text, start: at, line });
        }
        line += text.bytes().filter(|byte| *byte == b'\n').count() as u32;
        at = end;
    }
    Ok(found)
}

fn find(source: &str, from: usize, what: &str) -> Option<usize> {
    source[from..].find(what).map(|at| from + at)
}

fn unfinished(line: u32, what: &str) -> Error {
    Error::Syntax { line, reason: format!("the {what} does not end") }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'%' | b'.') || byte >= 0x80
}

/// The end of a word; `::` belongs to it (`shared::cta`), a single colon does not (`label:`).
fn word_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    loop {
        if bytes.get(at).copied().is_some_and(is_word) {
            at += 1;
        } else if bytes.get(at) == Some(&b':') && bytes.get(at + 1) == Some(&b':') {
            at += 2;
        } else {
            return at;
        }
    }
}
