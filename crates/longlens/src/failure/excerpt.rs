//! What an error shows of texts that others wrote: as a terminal may show it, and with an end.

use std::ops::Range;
use std::path::Path;

use longlens_core::printable::{excerpt, printable, printable_line};
use miette::{LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

/// Columns of a line of a file.
const COLUMNS: usize = 120;
/// Lines of a file from the first to the last that is pointed at.
const LINES: usize = 8;
/// Characters of a line of a message.
const MESSAGE_CHARS: usize = 600;
/// Lines of a message, as a terminal breaks them.
const MESSAGE_LINES: usize = 40;
/// Columns at which messages are broken.
const BROKEN_AT: usize = 76;

/// The lines of a file round a place, and what they are in the whole.
#[derive(Debug)]
pub struct Excerpt {
    name: String,
    lines: String,
    /// The place in `lines`.
    span: Range<usize>,
    /// Lines of the file before `lines`.
    n_before: usize,
    /// Characters before the place in its line of the file.
    column: usize,
}

impl Excerpt {
    /// The lines round bytes `span` of a file with this text.
    pub fn new(file: &Path, text: &str, span: Range<usize>) -> Self {
        let start = text.floor_char_boundary(span.start);
        let end = text.ceil_char_boundary(span.end).max(start);
        let (before, column) = place(text, start);
        // what ends with a line ends in that line
        let (last, last_column) = match text[start..end].strip_suffix('\n') {
            Some(inside) => place(text, start + inside.len()),
            None => place(text, end),
        };
        let is_cut = last >= before + LINES;
        let last = if is_cut { before + LINES - 1 } else { last };
        let n_before = before.saturating_sub(1);
        let mut shown = Self { name: name(file), lines: String::new(), span: 0..0, n_before, column };
        // behind the last line end stands no line
        let has_line = |(idx, line): &(usize, &str)| *idx <= last || !line.is_empty();
        for (idx, line) in text.split('\n').enumerate().take(last + 2).skip(n_before).filter(has_line) {
            let line = line.strip_suffix('\r').unwrap_or(line).replace('\t', " ");
            let line = printable_line(&line);
            let (part, at) = excerpt(&line, if idx == before { column } else { 0 }, COLUMNS);
            let byte_of = |column: usize| {
                let byte = part.char_indices().nth(column).map_or(part.len(), |(byte, _)| byte);
                shown.lines.len() + byte
            };
            let span = (
                byte_of(at),
                byte_of(if idx == before { at + last_column.saturating_sub(column) } else { last_column }),
            );
            if idx == before {
                shown.span.start = span.0;
            }
            if idx == last {
                shown.span.end = if is_cut { shown.lines.len() + part.len() } else { span.1 };
            }
            shown.lines.push_str(&part);
            shown.lines.push('\n');
        }
        shown.span.end = shown.span.end.max(shown.span.start);
        shown
    }

    /// What is pointed at.
    pub fn label(&self) -> LabeledSpan {
        LabeledSpan::underline(self.span.clone())
    }
}

impl SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        n_before: usize,
        n_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let found = self.lines.read_span(span, n_before, n_after)?;
        // without lines before, the place itself is asked for
        let column = if n_before == 0 { self.column } else { found.column() };
        let line = self.n_before + found.line();
        let found = (found.data(), *found.span(), found.line_count());
        Ok(Box::new(MietteSpanContents::new_named(self.name.clone(), found.0, found.1, line, column, found.2)))
    }
}

/// Line and character of a byte, from 0.
fn place(text: &str, byte: usize) -> (usize, usize) {
    let start = text[..byte].rfind('\n').map_or(0, |end| end + 1);
    (text[..start].matches('\n').count(), text[start..byte].chars().count())
}

fn name(file: &Path) -> String {
    let name = file.display().to_string();
    middle(&printable_line(&name), COLUMNS)
}

/// A message as a terminal may show it, with an end: long lines lose their middle, long lists their end.
pub fn shortened(text: &str) -> String {
    let text = printable(text);
    let mut left = MESSAGE_LINES;
    let mut lines: Vec<String> = Vec::new();
    let mut rest = text.lines();
    for line in rest.by_ref() {
        let line = middle(line, MESSAGE_CHARS);
        let taken = line.chars().count().div_ceil(BROKEN_AT).max(1);
        if taken > left && !lines.is_empty() {
            let n_more = 1 + rest.count();
            lines.push(format!("… {n_more} more {}", if n_more == 1 { "line" } else { "lines" }));
            break;
        }
        left = left.saturating_sub(taken);
        lines.push(line);
    }
    lines.join("\n")
}

/// A line without its middle, where it is longer than so many characters: both ends say what matters.
fn middle(line: &str, chars: usize) -> String {
    let n_chars = line.chars().count();
    if n_chars <= chars {
        return line.to_owned();
    }
    let (head, tail) = (chars * 2 / 3, chars / 3 - 3);
    let (head, tail): (String, String) =
        (line.chars().take(head).collect(), line.chars().skip(n_chars - tail).collect());
    format!("{head} … {tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is pointed at, the lines round it, and where they say they are.
    fn shown(text: &str, span: Range<usize>) -> (String, String, (usize, usize)) {
        let excerpt = Excerpt::new(Path::new("a.toml"), text, span);
        let span: SourceSpan = excerpt.span.clone().into();
        let found = excerpt.read_span(&span, 0, 0).unwrap();
        let place = (found.line() + 1, found.column() + 1);
        (excerpt.lines[excerpt.span.clone()].to_owned(), excerpt.lines.clone(), place)
    }

    #[test]
    fn a_place_is_pointed_at_wherever_it_stands() {
        let text = "one = 1\ntwo = 2\nthree = 3\nfour = 4\n";
        assert_eq!(shown(text, 16..21), ("three".into(), "two = 2\nthree = 3\nfour = 4\n".into(), (3, 1)));
        assert_eq!(shown(text, 22..25), ("= 3".into(), "two = 2\nthree = 3\nfour = 4\n".into(), (3, 7)));
        assert_eq!(shown(text, 0..8).0, "one = 1");
        assert_eq!(shown(text, 0..11).0, "one = 1\ntwo");
        assert_eq!(shown(text, text.len()..text.len()).2, (5, 1));
        assert_eq!(shown("", 0..0).2, (1, 1));
        assert_eq!(shown("ü\u{1b}[2J\tx = 'ü'\r\n", 7..8), ("x".into(), "ü␛[2J x = 'ü'\n".into(), (1, 7)));
    }

    #[test]
    fn long_lines_and_long_spans_have_an_end() {
        let text = format!("a = '{}'\nb = x{}\n", "y".repeat(1 << 20), "z".repeat(1 << 20));
        let at = text.find("b = x").unwrap() + 4;
        let (pointed, lines, place) = shown(&text, at..at + 1);
        assert_eq!((pointed.as_str(), place), ("x", (2, 5)));
        assert!(lines.lines().all(|line| line.chars().count() <= COLUMNS), "{lines}");
        let far = at + 500_000;
        let (pointed, lines, place) = shown(&text, far..far + 9);
        assert_eq!((pointed.as_str(), place), ("z".repeat(9).as_str(), (2, 500_005)));
        assert!(lines.lines().nth(1).unwrap().starts_with('…'), "{lines}");
        let (pointed, lines, _) = shown(&text, 0..text.len());
        assert!(pointed.len() < 500 && lines.len() < 500, "{pointed}");
        let many = format!("k = [\n{}", "1,\n".repeat(100_000));
        let (pointed, lines, _) = shown(&many, 4..many.len());
        assert!(pointed.starts_with("[\n1,") && lines.lines().count() <= LINES + 2, "{lines}");
    }

    #[test]
    fn messages_have_an_end() {
        assert_eq!(shortened("plain\n  and more"), "plain\n  and more");
        assert_eq!(shortened("a\u{1b}]0;x\u{7}\u{202e}"), "a␛]0;x␇\u{fffd}");
        let long = shortened(&format!("cannot read {}: no such file", "x".repeat(1 << 22)));
        assert!(long.starts_with("cannot read xx") && long.ends_with("x: no such file"), "{long}");
        assert!(long.chars().count() <= MESSAGE_CHARS);
        let many = shortened(&"missing\n".repeat(36_000));
        assert!(many.ends_with("missing\n… 35960 more lines") && many.lines().count() == MESSAGE_LINES + 1, "{many}");
    }
}
