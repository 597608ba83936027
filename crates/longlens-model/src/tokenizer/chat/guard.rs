//! Where the engine writes out a value without asking: the operands of `~`, and what stands before `in`. The text of a list can be
//! far larger than the list, and the engine's budget counts it when it has been made. So each of these is put through a filter that
//! weighs it first: `a ~ b` becomes `(a)|weighed ~ (b)|weighed`.

use std::collections::BTreeSet;
use std::ops::Range;

/// The filter's name, which no template has by chance.
pub(super) const WEIGHED: &str = "longlens_weighed";

/// A template whose values are weighed where they become text.
pub(super) fn guarded(template: &str) -> String {
    let mut marks = Vec::new();
    for tag in tags(template) {
        for (start, end) in operands(&tokens(template, tag)) {
            marks.push((start, "(".to_owned()));
            marks.push((end, format!(")|{WEIGHED}")));
        }
    }
    // what ends in a place ends before another begins there
    marks.sort_by_key(|(at, mark)| (*at, mark.len() == 1));
    let (mut out, mut copied) = (String::with_capacity(template.len()), 0);
    for (at, mark) in marks {
        out.push_str(&template[copied..at]);
        out.push_str(&mark);
        copied = at;
    }
    out + &template[copied..]
}

/// What stands between the marks of expressions and statements; not comments, and not what is raw.
fn tags(template: &str) -> Vec<Range<usize>> {
    let (mut tags, mut at, mut raw) = (Vec::new(), 0, false);
    while let Some(found) =
        template[at..].find("{{").into_iter().chain(template[at..].find("{%")).chain(template[at..].find("{#")).min()
    {
        let start = at + found;
        let close = match template.as_bytes()[start + 1] {
            b'{' => "}}",
            b'%' => "%}",
            _ => "#}",
        };
        let inside = start + 2;
        let end = if close == "#}" {
            template[inside..].find(close).map(|len| inside + len)
        } else {
            end_of(template, inside, close)
        };
        let end = end.unwrap_or(template.len());
        let word = template[inside..end].trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
        if close == "%}" && (word == "raw" || word == "endraw") {
            raw = word == "raw";
        } else if !raw && close != "#}" {
            tags.push(inside..end);
        } else if raw {
            // nothing in it is a mark but its own end
            at = inside;
            continue;
        }
        at = (end + 2).min(template.len());
    }
    tags
}

/// Where a tag ends: its closing mark outside texts and brackets.
fn end_of(template: &str, start: usize, close: &str) -> Option<usize> {
    let bytes = template.as_bytes();
    let (mut at, mut depth) = (start, 0usize);
    while at < bytes.len() {
        match bytes[at] {
            quote @ (b'\'' | b'"') => at = text_end(bytes, at, quote),
            b'(' | b'[' | b'{' => depth += 1,
            _ if depth == 0 && bytes[at..].starts_with(close.as_bytes()) => return Some(at),
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => (),
        }
        at += 1;
    }
    None
}

/// The place of the quote that ends a text.
fn text_end(bytes: &[u8], start: usize, quote: u8) -> usize {
    let mut at = start + 1;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at.min(bytes.len() - 1)
}

/// A sign, word, number or text of a tag.
#[derive(Debug, Clone, Copy)]
struct Token<'a> {
    text: &'a str,
    at: usize,
    /// Brackets around it; a bracket counts as outside.
    depth: usize,
}

fn tokens(template: &str, tag: Range<usize>) -> Vec<Token<'_>> {
    let bytes = &template.as_bytes()[..tag.end];
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii();
    let (mut tokens, mut at, mut depth) = (Vec::new(), tag.start, 0usize);
    // a sign beside a mark is about blank lines
    if matches!(bytes.get(at), Some(b'-' | b'+')) {
        at += 1;
    }
    let end = if at < tag.end && matches!(bytes[tag.end - 1], b'-' | b'+') { tag.end - 1 } else { tag.end };
    while at < end {
        let start = at;
        match bytes[at] {
            byte if byte.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            quote @ (b'\'' | b'"') => at = text_end(bytes, at, quote) + 1,
            byte if is_word(byte) => at += bytes[at..end].iter().take_while(|byte| is_word(**byte)).count(),
            _ if ["==", "!=", "<=", ">=", "//", "**"]
                .iter()
                .any(|sign| bytes[at..end].starts_with(sign.as_bytes())) =>
            {
                at += 2;
            }
            _ => at += 1,
        }
        let text = &template[start..at];
        if matches!(text, ")" | "]" | "}") {
            depth = depth.saturating_sub(1);
        }
        tokens.push(Token { text, at: start, depth });
        if matches!(text, "(" | "[" | "{") {
            depth += 1;
        }
    }
    tokens
}

/// Words that begin or join expressions.
const WORDS: [&str; 17] = [
    "and",
    "or",
    "not",
    "in",
    "if",
    "elif",
    "else",
    "for",
    "set",
    "do",
    "filter",
    "call",
    "macro",
    "with",
    "include",
    "print",
    "recursive",
];
/// Signs that join expressions of operands of `in`, and those that join operands of `~` beside them.
const SIGNS: [&str; 9] = [",", ":", "=", "==", "!=", "<", "<=", ">", ">="];
const SUMS: [&str; 3] = ["+", "-", "~"];

/// The bytes of all values that become text, each once.
fn operands(tokens: &[Token<'_>]) -> BTreeSet<(usize, usize)> {
    let mut found = BTreeSet::new();
    let mut is_header = tokens.first().is_some_and(|token| token.text == "for");
    for (at, token) in tokens.iter().enumerate() {
        let text = |at: usize| tokens[at].text;
        match token.text {
            "~" => {
                let (first, last) = (begin(tokens, at, true), end(tokens, at));
                found.extend([(first, at), (at + 1, last)]);
            }
            "in" if token.depth == 0 && std::mem::take(&mut is_header) => (),
            "in" if joins(tokens, at, false) => {
                let last = if at > 0 && text(at - 1) == "not" { at - 1 } else { at };
                found.insert((begin(tokens, last, false), last));
            }
            _ => (),
        }
    }
    let bytes = |(first, last): (usize, usize)| (tokens[first].at, tokens[last - 1].at + tokens[last - 1].text.len());
    found.into_iter().filter(|(first, last)| first < last).map(bytes).collect()
}

/// The first token of the operand before a place.
fn begin(tokens: &[Token<'_>], place: usize, is_sum: bool) -> usize {
    let depth = tokens[place].depth;
    let stops = |at: &usize| tokens[*at].depth < depth || tokens[*at].depth == depth && joins(tokens, *at, is_sum);
    (0..place).rev().find(stops).map_or(0, |at| at + 1)
}

/// The token after the operand that follows a `~`.
fn end(tokens: &[Token<'_>], place: usize) -> usize {
    let depth = tokens[place].depth;
    let stops = |at: &usize| tokens[*at].depth < depth || tokens[*at].depth == depth && joins(tokens, *at, true);
    (place + 1..tokens.len()).find(stops).unwrap_or(tokens.len())
}

/// Whether a token stands between two operands: of `~`, or of what binds less.
fn joins(tokens: &[Token<'_>], at: usize, is_sum: bool) -> bool {
    let before = |n: usize| at.checked_sub(n).map_or("", |at| tokens[at].text);
    let text = tokens[at].text;
    if WORDS.contains(&text) {
        // names of attributes, filters and tests are none of the language's words
        let is_name = matches!(before(1), "." | "|" | "is") || before(1) == "not" && before(2) == "is";
        return !is_name;
    }
    // a sign after a sign is that of a number
    let is_number =
        || at == 0 || before(1).chars().all(|c| "+-*/%~=<>!([{,:".contains(c)) || WORDS.contains(&before(1));
    SIGNS.contains(&text) || is_sum && (text == "~" || SUMS.contains(&text) && !is_number())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(template: &str) -> String {
        guarded(template).replace(&format!("|{WEIGHED}"), "§")
    }

    #[test]
    fn what_becomes_text_is_weighed() {
        for (template, expected) in [
            ("a ~ b {{ c }} {# x ~ y #}", "a ~ b {{ c }} {# x ~ y #}"),
            ("{{ a ~ b }}", "{{ (a)§ ~ (b)§ }}"),
            ("{{- a ~ b ~ '~' -}}", "{{- (a)§ ~ (b)§ ~ ('~')§ -}}"),
            ("{{ [s] * 9 ~ x.y|f(1 ~ 2) + c }}", "{{ ([s] * 9)§ ~ (x.y|f((1)§ ~ (2)§))§ + c }}"),
            ("{{ -a ~ -b * -2 - c }}", "{{ (-a)§ ~ (-b * -2)§ - c }}"),
            ("{% set x = a ~ (b ~ c) if d else e %}", "{% set x = (a)§ ~ (((b)§ ~ (c)§))§ if d else e %}"),
            ("{% for x in y if x in z and w not in v %}", "{% for x in y if (x)§ in z and (w)§ not in v %}"),
            ("{{ f(k=a ~ b, c)[d ~ e:2] }}", "{{ f(k=(a)§ ~ (b)§, c)[(d)§ ~ (e)§:2] }}"),
            ("{{ x is defined * [s] ~ y }}", "{{ (x is defined * [s])§ ~ (y)§ }}"),
            ("{{ a is not in(b) }}{{ m.in ~ n|in }}", "{{ a is not in(b) }}{{ (m.in)§ ~ (n|in)§ }}"),
            ("{{ {'a': {'}}': 1}} ~ b }}", "{{ ({'a': {'}}': 1}})§ ~ (b)§ }}"),
            ("{% raw %}{{ a ~ b }}{% endraw %}{{ 'é' ~ b", "{% raw %}{{ a ~ b }}{% endraw %}{{ ('é')§ ~ (b)§"),
            ("{% if a + b in c ~ d %}", "{% if (a + b)§ in (c)§ ~ (d)§ %}"),
            ("{{ ~ }}{{ in }}{{ 'a", "{{ ~ }}{{ in }}{{ 'a"),
        ] {
            assert_eq!(marked(template), expected);
        }
    }
}
