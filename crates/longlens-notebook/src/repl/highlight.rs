//! Colours of a cell while it is typed.

use longlens_core::printable::printable;

use longlens_plot::terminal::Depth;

use super::colours::{Paint, Role};
use crate::lexer::{Kind, Token, tokens};

/// The cell with colours, and signs for what a terminal would obey: names of files may hold such. The bracket next to byte `cursor` and its partner stand out. Nothing stands out without a cursor.
pub fn highlight(cell: &str, cursor: Option<usize>, colours: Depth) -> String {
    let tokens = tokens(cell);
    let pair = cursor.and_then(|cursor| pair(cell, &tokens, cursor));
    let mut painted = String::with_capacity(cell.len() * 2);
    let mut at = 0;
    for (idx, token) in tokens.iter().enumerate() {
        painted.push_str(&printable(&cell[at..token.bytes.start]));
        let word = &printable(&cell[token.bytes.clone()]);
        let role = match token.kind {
            _ if pair.is_some_and(|pair| pair.0 == idx || pair.1 == idx) => Some(Role::Pair),
            Kind::Comment => Some(Role::Faint),
            Kind::Text => Some(Role::Text),
            Kind::Open => Some(if word.starts_with("/*") { Role::Faint } else { Role::Text }),
            Kind::Number => Some(Role::Number),
            Kind::Keyword => Some(Role::Keyword),
            Kind::Magic => Some(Role::Magic),
            Kind::Name | Kind::Sign => None,
        };
        match role {
            Some(role) => painted.push_str(&colours.paint(role, word)),
            None => painted.push_str(word),
        }
        at = token.bytes.end;
    }
    painted.push_str(&printable(&cell[at..]));
    painted
}

/// Whether a bracket stands next to byte `cursor`.
pub fn is_at_bracket(cell: &str, cursor: usize) -> bool {
    let is_bracket = |at: usize| cell.as_bytes().get(at).is_some_and(|byte| b"()[]{}".contains(byte));
    is_bracket(cursor) || cursor.checked_sub(1).is_some_and(is_bracket)
}

/// The bracket before or under the cursor and its partner, as places in the list of tokens.
fn pair(cell: &str, tokens: &[Token], cursor: usize) -> Option<(usize, usize)> {
    let bracket = |token: &Token| {
        let word = &cell[token.bytes.clone()];
        (token.kind == Kind::Sign).then(|| word.chars().last()).flatten().filter(|last| "()[]{}".contains(*last))
    };
    let near = |token: &&Token| bracket(token).is_some() && (token.bytes.end == cursor || token.bytes.start == cursor);
    let idx = tokens.iter().position(|token| near(&token))?;
    let forward = "([{".contains(bracket(&tokens[idx])?);
    let mut depth = 0;
    let mut step = |at: usize| {
        let open = "([{".contains(bracket(&tokens[at])?);
        depth += if open == forward { 1 } else { -1 };
        (depth == 0).then_some(at)
    };
    let partner = if forward { (idx..tokens.len()).find_map(&mut step) } else { (0..=idx).rev().find_map(&mut step) };
    let partner = partner?;
    let ends = [idx.min(partner), idx.max(partner)].map(|at| bracket(&tokens[at]));
    matches!(ends, [Some('('), Some(')')] | [Some('['), Some(']')] | [Some('{'), Some('}')]).then_some((idx, partner))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn marked(cell: &str, cursor: Option<usize>) -> String {
        let painted = highlight(cell, cursor, Depth::Ansi16);
        let named =
            [("\x1b[0m", ">"), ("\x1b[34m", "<k "), ("\x1b[32m", "<t "), ("\x1b[33m", "<n "), ("\x1b[2m", "<c ")];
        let named = named.into_iter().chain([("\x1b[35m", "<m "), ("\x1b[1;4m", "<p ")]);
        named.fold(painted, |text, (code, name)| text.replace(code, name))
    }

    #[test]
    fn words_have_colours() {
        assert_eq!(marked("let x = 1; // one", None), "<k let> x = <n 1>; <c // one>");
        assert_eq!(marked("%time x", None), "<m %time x>");
        assert_eq!(marked("f(\"a(", None), "f(<t \"a(>");
    }

    #[test]
    fn brackets_next_to_the_cursor_are_a_pair() {
        assert_eq!(marked("f(a, \")\")", Some(9)), "f<p (>a, <t \")\"><p )>");
        assert_eq!(marked("f(a)", Some(1)), "f<p (>a<p )>");
        assert_eq!(marked("x(#{a: [1]})", Some(2)), "x<p (>#{a: [<n 1>]}<p )>");
        assert_eq!(marked("x #{}", Some(5)), "x <p #{><p }>");
        assert_eq!(marked("(]", Some(2)), "(]");
        assert_eq!(marked("ab", Some(1)), "ab");
        assert!(is_at_bracket("f(", 1) && is_at_bracket("f(", 2) && !is_at_bracket("f(", 0) && !is_at_bracket("", 0));
    }

    proptest! {
        #[test]
        fn colours_change_no_character(cell in "[a(){}\\[\\]#\"'`$ é%\n/*1]{0,24}", cursor in 0..30usize) {
            let mut plain = highlight(&cell, Some(cursor), Depth::Ansi16);
            for code in ["0", "34", "32", "33", "2", "35", "1;4"] {
                plain = plain.replace(&format!("\x1b[{code}m"), "");
            }
            prop_assert_eq!(plain, cell);
        }
    }
}
