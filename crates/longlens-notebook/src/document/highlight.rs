//! Colours for code on a page.

use crate::lexer::{Kind, tokens};

/// Code as HTML: escaped, with a `span` around each comment (`c`), text (`s`), number (`n`) and keyword (`k`).
pub fn html(code: &str) -> String {
    let mut html = String::with_capacity(code.len() * 2);
    let mut at = 0;
    for token in tokens(code) {
        html.push_str(&escaped(&code[at..token.bytes.start]));
        at = token.bytes.end;
        let text = escaped(&code[token.bytes]);
        match class(token.kind) {
            Some(class) => html.extend(["<span class=\"", class, "\">", &text, "</span>"]),
            None => html.push_str(&text),
        }
    }
    html.push_str(&escaped(&code[at..]));
    html
}

fn class(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Comment => Some("c"),
        Kind::Text | Kind::Open => Some("s"),
        Kind::Number => Some("n"),
        Kind::Keyword | Kind::Magic => Some("k"),
        Kind::Name | Kind::Sign => None,
    }
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
