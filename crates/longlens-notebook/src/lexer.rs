//! Words of a cell: for colours, for carets under errors, and to tell whether a cell is whole.
//!
//! It reads any text, also half a cell; what Rhai would refuse becomes some token all the same.

pub mod magic;

use std::ops::Range;

use crate::interpreter::Completeness;

/// A word of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    pub bytes: Range<usize>,
}

/// What a word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `// …` or `/* … */`.
    Comment,
    /// A string or a character.
    Text,
    Number,
    /// A word of the language.
    Keyword,
    /// Any other name.
    Name,
    /// Brackets, operators, separators.
    Sign,
    /// A line that starts with `%` or `?`: for the session, not for the language.
    Magic,
    /// A string, comment or template that does not end.
    Open,
}

/// Words of the language.
pub const KEYWORDS: &[&str] = &[
    "let",
    "const",
    "if",
    "else",
    "switch",
    "do",
    "while",
    "until",
    "loop",
    "for",
    "in",
    "continue",
    "break",
    "fn",
    "private",
    "return",
    "throw",
    "try",
    "catch",
    "true",
    "false",
    "this",
    "is_shared",
    "global",
];

/// The words of a cell, in order; blanks between them are left out.
pub fn tokens(cell: &str) -> Vec<Token> {
    let mut lexer = Lexer { text: cell, at: 0, starts_line: true, tokens: Vec::new() };
    while lexer.next() {}
    lexer.tokens
}

/// Whether every bracket, string and operator of a cell has its end.
pub fn completeness(cell: &str) -> Completeness {
    let tokens = tokens(cell);
    let mut open = Vec::new();
    for token in &tokens {
        match (&cell[token.bytes.clone()], token.kind) {
            (_, Kind::Open) => return Completeness::Open { indent: String::new() },
            (bracket @ ("(" | "[" | "{" | "#{"), Kind::Sign) => open.push(bracket),
            (bracket @ (")" | "]" | "}"), Kind::Sign) => {
                let opened = open.pop().map_or("", |open: &str| &open[open.len() - 1..]);
                if !matches!((opened, bracket), ("(", ")") | ("[", "]") | ("{", "}")) {
                    return Completeness::Wrong;
                }
            }
            _ => (),
        }
    }
    if !open.is_empty() {
        return Completeness::Open { indent: "    ".repeat(open.len()) };
    }
    // a closure such as `|query, key|` or a line that ends in an operator wants more
    let last = tokens.iter().rfind(|token| token.kind != Kind::Comment);
    let wants_more = last.is_some_and(|token| {
        let word = &cell[token.bytes.clone()];
        (token.kind == Kind::Sign && !matches!(word, ")" | "]" | "}" | ";" | "|" | "||" | "_"))
            || (token.kind == Kind::Keyword
                && !matches!(word, "true" | "false" | "this" | "break" | "continue" | "return" | "global"))
    });
    if wants_more { Completeness::Open { indent: "    ".into() } } else { Completeness::Whole }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    /// Whether nothing stands before this on its line.
    starts_line: bool,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn push(&mut self, kind: Kind, len: usize) {
        self.tokens.push(Token { kind, bytes: self.at..self.at + len });
        self.at += len;
    }

    /// Reads one token; false at the end.
    fn next(&mut self) -> bool {
        let blank = self.rest().len() - self.rest().trim_start().len();
        // a look back at the whole line would cost a long one its square
        self.starts_line |= self.rest()[..blank].contains('\n');
        self.at += blank;
        let starts_line = self.starts_line;
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return false };
        let line = || rest.find('\n').unwrap_or(rest.len());
        let (kind, len) = if rest.starts_with("//") {
            (Kind::Comment, line())
        } else if rest.starts_with("/*") {
            block_comment(rest).map_or((Kind::Open, rest.len()), |len| (Kind::Comment, len))
        } else if starts_line && first_is_magic(first) && is_magic(&rest[..line()]) {
            (Kind::Magic, line())
        } else {
            match first {
                '"' => quoted(rest, '"').map_or((Kind::Open, rest.len()), |len| (Kind::Text, len)),
                '`' => template(rest).map_or((Kind::Open, rest.len()), |len| (Kind::Text, len)),
                '\'' => quoted(rest, '\'').map_or((Kind::Sign, 1), |len| (Kind::Text, len)),
                '0'..='9' => (Kind::Number, number(rest)),
                c if is_name(c) => {
                    let len = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
                    (if KEYWORDS.contains(&&rest[..len]) { Kind::Keyword } else { Kind::Name }, len)
                }
                '#' => (Kind::Sign, raw_text(rest).unwrap_or(if rest.starts_with("#{") { 2 } else { 1 })),
                c => (Kind::Sign, sign(rest).unwrap_or(c.len_utf8())),
            }
        };
        let kind = if first == '#' && len > 2 { Kind::Text } else { kind };
        // a token of several lines ends on one that it starts
        self.starts_line = false;
        self.push(kind, len);
        true
    }
}

fn first_is_magic(first: char) -> bool {
    matches!(first, '%' | '?')
}

/// Whether a line is for the session: `%time …`, `?name`.
pub fn is_magic(line: &str) -> bool {
    let mut rest = line.chars().skip_while(|c| *c == '%' || *c == '?');
    (line.starts_with('%') || line.starts_with('?')) && rest.next().is_some_and(is_name)
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Bytes of a block comment; they nest.
fn block_comment(text: &str) -> Option<usize> {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    None
}

/// Bytes up to the closing quote; a backslash takes the next character with it, lines end the string.
fn quoted(text: &str, quote: char) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '\n' => return None,
            c if c == quote => return Some(at + 1),
            _ => (),
        }
    }
    None
}

/// Bytes of `` `text ${expression} text` ``; an expression may hold templates again.
fn template(text: &str) -> Option<usize> {
    let mut at = 1;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with('`') {
            return Some(at + 1);
        }
        if rest.starts_with("${") {
            at += 2;
            let mut depth = 1;
            while depth > 0 {
                let rest = text.get(at..).filter(|rest| !rest.is_empty())?;
                let c = rest.chars().next()?;
                at += match c {
                    '`' => template(rest)?,
                    '"' => quoted(rest, '"')?,
                    c => {
                        depth += i32::from(c == '{') - i32::from(c == '}');
                        c.len_utf8()
                    }
                };
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    None
}

/// Bytes of a raw string such as `#"text"#`.
fn raw_text(text: &str) -> Option<usize> {
    let n_hashes = text.len() - text.trim_start_matches('#').len();
    let body = text[n_hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(n_hashes));
    body.find(&end).map(|at| n_hashes + 1 + at + end.len())
}

/// Bytes of a number; `0..4` is a number, a range and a number.
fn number(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let mut at = 1;
    while digit(at)
        || (bytes.get(at) == Some(&b'.') && bytes.get(at + 1).is_some_and(u8::is_ascii_digit))
        || (matches!(bytes.get(at), Some(b'-' | b'+'))
            && matches!(bytes[at - 1], b'e' | b'E')
            && !text.starts_with("0x")
            && bytes.get(at + 1).is_some_and(u8::is_ascii_digit))
    {
        at += 1;
    }
    at
}

/// Bytes of an operator of several characters.
fn sign(text: &str) -> Option<usize> {
    const LONG: &[&str] = &[
        "..=", "**=", "<<=", ">>=", "==", "!=", "<=", ">=", "&&", "||", "??", "=>", "->", "::", "..", "**", "<<", ">>",
        "+=", "-=", "*=", "/=", "%=", "|=", "&=", "^=", "?.", "?[",
    ];
    LONG.iter().find(|sign| text.starts_with(**sign)).map(|sign| sign.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(cell: &str) -> Vec<(Kind, &str)> {
        tokens(cell).into_iter().map(|token| (token.kind, &cell[token.bytes])).collect()
    }

    #[test]
    fn words_have_their_kinds() {
        use Kind::{Comment, Keyword, Magic, Name, Number, Sign, Text};
        assert_eq!(
            words("let x_1 = 0..4; // four"),
            [
                (Keyword, "let"),
                (Name, "x_1"),
                (Sign, "="),
                (Number, "0"),
                (Sign, ".."),
                (Number, "4"),
                (Sign, ";"),
                (Comment, "// four"),
            ]
        );
        assert_eq!(
            words("1.5e-3 - `a ${ #{b: `c`}.b } d`"),
            [(Number, "1.5e-3"), (Sign, "-"), (Text, "`a ${ #{b: `c`}.b } d`")]
        );
        assert_eq!(words("%time x\n4 %a"), [(Magic, "%time x"), (Number, "4"), (Sign, "%"), (Name, "a")]);
        assert_eq!(words(r##"#"a"b"# "q\"" #{"##), [(Text, r##"#"a"b"#"##), (Text, r#""q\"""#), (Sign, "#{")]);
    }

    #[test]
    fn a_cell_is_whole_when_everything_has_its_end() {
        let open = |indent: &str| Completeness::Open { indent: indent.into() };
        for (cell, expected) in [
            ("1 + 1", Completeness::Whole),
            ("", Completeness::Whole),
            ("%time x {", Completeness::Whole),
            ("let f = |q, k| q - k", Completeness::Whole),
            ("fn a() {", open("    ")),
            ("a(#{b: [", open("            ")),
            ("let x =", open("    ")),
            ("`a ${", open("")),
            ("/* a", open("")),
            ("\"a", open("")),
            ("// {", Completeness::Whole),
            ("a)", Completeness::Wrong),
            ("[1)", Completeness::Wrong),
        ] {
            assert_eq!(completeness(cell), expected, "{cell}");
        }
    }

    proptest! {
        #[test]
        fn any_text_has_words(text in "\\PC*|[\"'`${}()#/*%\\\\\na1.e -]*") {
            let tokens = tokens(&text);
            prop_assert!(tokens.windows(2).all(|pair| pair[0].bytes.end <= pair[1].bytes.start));
            for token in tokens {
                prop_assert!(!token.bytes.is_empty());
                prop_assert!(text.get(token.bytes).is_some());
            }
            completeness(&text);
        }
    }
}
