//! Words as Punkt cuts them: full stops stay with their words, other signs stand apart.

use crate::words::{decimal, is_blank, is_word};

/// What every number is to Punkt.
pub const NUMBER: &str = "##number##";

/// A word or sign with what was found of it.
#[derive(Debug)]
pub struct Token<'a> {
    /// As it stands.
    pub text: &'a str,
    /// In small letters, or [`NUMBER`].
    kind: String,
    pub ends_sentence: bool,
    pub is_abbreviation: bool,
    pub is_ellipsis: bool,
}

impl<'a> Token<'a> {
    fn new(text: &'a str) -> Self {
        let kind = if is_number(text) { NUMBER.to_owned() } else { text.to_lowercase() };
        Self { text, kind, ends_sentence: false, is_abbreviation: false, is_ellipsis: false }
    }

    pub fn ends_in_stop(&self) -> bool {
        self.text.ends_with('.')
    }

    /// Its kind without a full stop at the end, unless it is one.
    pub fn kind_without_stop(&self) -> &str {
        self.kind.strip_suffix('.').filter(|kind| !kind.is_empty()).unwrap_or(&self.kind)
    }

    /// Its kind without the full stop that ends a sentence behind it.
    pub fn kind_as_word(&self) -> &str {
        if self.ends_sentence { self.kind_without_stop() } else { &self.kind }
    }

    /// One letter and a full stop.
    pub fn is_initial(&self) -> bool {
        let mut chars = self.text.chars();
        let (first, rest) = (chars.next(), chars.as_str());
        rest == "." && first.is_some_and(|c| is_word(c) && decimal(c).is_none())
    }

    pub fn starts_large(&self) -> bool {
        self.text.chars().next().is_some_and(char::is_uppercase)
    }

    pub fn starts_small(&self) -> bool {
        self.text.chars().next().is_some_and(char::is_lowercase)
    }
}

/// Digits with commas, full stops and dashes between and behind them, after a sign or a point at most.
fn is_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let text = text.strip_prefix(['.', ',']).unwrap_or(text);
    let is_digit = |c| decimal(c).is_some();
    text.starts_with(is_digit) && text.chars().all(|c| is_digit(c) || matches!(c, ',' | '.' | '-'))
}

/// Signs that stand in no word.
pub fn is_apart(c: char) -> bool {
    matches!(
        c,
        ')' | '"'
            | ';'
            | '}'
            | ']'
            | '*'
            | ':'
            | '@'
            | '\''
            | '('
            | '{'
            | '['
            | '‘'
            | '’'
            | '“'
            | '”'
            | '«'
            | '»'
            | '?'
            | '!'
    )
}

/// Whether a word may begin with `c`.
fn begins_word(c: char) -> bool {
    !matches!(c, '(' | '"' | '`' | '{' | '[' | ':' | ';' | '&' | '#' | '*' | '@' | ')' | '}' | ']' | '-' | ',')
}

/// The tokens of a text, line by line.
pub fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for line in text.split('\n') {
        let mut rest = line.trim_start_matches(is_blank);
        while let Some(first) = rest.chars().next() {
            let n =
                dashes_or_dots(rest).unwrap_or_else(|| if begins_word(first) { word(rest) } else { first.len_utf8() });
            tokens.push(Token::new(&rest[..n]));
            rest = rest[n..].trim_start_matches(is_blank);
        }
    }
    tokens
}

/// Bytes of the word that `text` begins with: at least a character.
fn word(text: &str) -> usize {
    let ends = |at: usize| {
        let mut rest = text[at..].chars();
        let next = rest.next();
        next.is_none_or(|c| is_blank(c) || is_apart(c))
            || dashes_or_dots(&text[at..]).is_some()
            || next == Some(',')
                && (rest.clone().next().is_none_or(|c| is_blank(c) || is_apart(c))
                    || dashes_or_dots(rest.as_str()).is_some())
    };
    text.char_indices().skip(1).map(|(at, _)| at).find(|at| ends(*at)).unwrap_or(text.len())
}

/// Bytes of several dashes, of several dots, or of three dots and more with a blank between each two.
fn dashes_or_dots(text: &str) -> Option<usize> {
    let run = |sign: char| text.len() - text.trim_start_matches(sign).len();
    if let Some(n) = [run('-'), run('.')].into_iter().find(|n| *n > 1) {
        return Some(n);
    }
    let (mut n_dots, mut end, mut rest) = (0, 0, text);
    while let Some(behind) = rest.strip_prefix('.') {
        n_dots += 1;
        end = text.len() - behind.len();
        let mut chars = behind.chars();
        if !chars.next().is_some_and(is_blank) {
            break;
        }
        rest = chars.as_str();
    }
    (n_dots > 2).then_some(end)
}
