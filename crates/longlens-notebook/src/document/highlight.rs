//! Colours for code: one pass over the characters, no grammar.

/// Words of the language.
const KEYWORDS: [&str; 33] = [
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
    "return",
    "throw",
    "try",
    "catch",
    "fn",
    "private",
    "import",
    "export",
    "as",
    "global",
    "this",
    "true",
    "false",
    "is_def_var",
    "is_def_fn",
    "is_shared",
    "Fn",
    "call",
    "curry",
    "type_of",
];

/// Code as HTML: escaped, with a `span` around each comment (`c`), text (`s`), number (`n`) and keyword (`k`).
pub fn html(code: &str) -> String {
    let mut html = String::with_capacity(code.len() * 2);
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let (class, len) = token(rest, first);
        let (text, after) = rest.split_at(len);
        match class {
            Some(class) => html.extend(["<span class=\"", class, "\">", &escaped(text), "</span>"]),
            None => html.push_str(&escaped(text)),
        }
        rest = after;
    }
    html
}

/// Text that means itself in HTML, inside attributes too.
pub fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            _ => html.push(char),
        }
    }
    html
}

/// Class and length in bytes of what stands at the start of the code.
fn token(code: &str, first: char) -> (Option<&'static str>, usize) {
    let run = |belongs: fn(char) -> bool| code.find(|char| !belongs(char)).unwrap_or(code.len());
    match first {
        '/' if code.starts_with("//") => (Some("c"), code.find('\n').unwrap_or(code.len())),
        '/' if code.starts_with("/*") => (Some("c"), block_comment(code)),
        '"' | '`' | '\'' => (Some("s"), quoted(code, first)),
        '0'..='9' => (Some("n"), number(code)),
        _ if is_word(first) => {
            let len = run(is_word);
            (KEYWORDS.contains(&&code[..len]).then_some("k"), len)
        }
        // everything up to what may begin a token
        _ => {
            let len = code.char_indices().skip(1).find(|(_, char)| is_word(*char) || "/\"`'".contains(*char));
            (None, len.map_or(code.len(), |(at, _)| at))
        }
    }
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

/// Comments may stand in each other.
fn block_comment(code: &str) -> usize {
    let bytes = code.as_bytes();
    let (mut at, mut depth) = (0, 0);
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    code.len()
}

/// Up to the quote that ends it, past those behind a backslash.
fn quoted(code: &str, quote: char) -> usize {
    let mut chars = code.char_indices().skip(1);
    while let Some((at, char)) = chars.next() {
        if char == '\\' && quote != '`' {
            chars.next();
        } else if char == quote {
            return at + 1;
        }
    }
    code.len()
}

/// Digits of any base, a point with digits behind it, and an exponent with its sign. A range like `0..8` is two numbers.
fn number(code: &str) -> usize {
    let bytes = code.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        let belongs = match byte {
            b'.' => is_digit(at + 1),
            b'+' | b'-' => matches!(bytes[at - 1], b'e' | b'E') && is_digit(at + 1) && !code.starts_with("0x"),
            _ => byte.is_ascii_alphanumeric() || *byte == b'_',
        };
        if !belongs {
            break;
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Tokens with a class, in brackets.
    fn marked(code: &str) -> String {
        html(code).replace("<span class=\"", "[").replace("\">", " ").replace("</span>", "]")
    }

    #[test]
    fn every_kind_of_token_has_its_colour() {
        let code = "let a = 0..8; // to \"8\"\nif a.b == 1.5e-3 { print(`x${a}`); } /* a /* b */ c */ '\\''";
        insta::assert_snapshot!(marked(code), @r#"
        [k let] a = [n 0]..[n 8]; [c // to &quot;8&quot;]
        [k if] a.b == [n 1.5e-3] { print([s `x${a}`]); } [c /* a /* b */ c */] [s &#39;\&#39;&#39;]
        "#);
    }

    proptest! {
        #[test]
        fn no_character_is_lost(code in "[\\PC\n\"'`/*\\\\0-9.e+-]{0,60}") {
            let html = html(&code);
            let bare: String = html.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text)).collect();
            prop_assert_eq!(bare, escaped(&code));
        }
    }
}
