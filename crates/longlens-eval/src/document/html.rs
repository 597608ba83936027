//! The text of an HTML page.

use html2text::config::with_decorator;
use html2text::render::TrivialDecorator;

use super::extract::{Extracted, Refused};

/// Columns of a line; paragraphs are not to be wrapped, and columns of tables share it.
const WIDTH: usize = 100_000;

/// What a reader sees of a page: no styles, scripts or marks, a paragraph a line, cells of tables side by side.
pub fn read(bytes: &[u8]) -> Result<Extracted, Refused> {
    let depth = depth(bytes);
    if depth > MAX_DEPTH {
        let problem = format!("its elements lie in each other {depth} deep, and up to {MAX_DEPTH} are read");
        return Err((problem, "save the page as text".to_owned()));
    }
    let rules = with_decorator(TrivialDecorator::new()).no_table_borders().allow_width_overflow().no_link_wrapping();
    let text = rules.string_from_read(bytes, WIDTH);
    let text =
        text.map_err(|error| (format!("it cannot be read as HTML: {error}"), "save the page as text".to_owned()))?;
    // the library strikes letters out by a mark behind each
    let text = text.replace('\u{336}', "");
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    Ok(Extracted { pages: vec![lines.join("\n").trim().to_owned()], warnings: Vec::new() })
}

/// Elements in each other: the time to read them grows with the square of their depth, 0.6 seconds here.
const MAX_DEPTH: usize = 8192;

/// Elements that end without a tag, or hold nothing.
const ENDLESS: &[&str] = &[
    "area", "base", "body", "br", "col", "colgroup", "dd", "dt", "embed", "head", "hr", "html", "img", "input", "li",
    "link", "meta", "optgroup", "option", "p", "param", "rp", "rt", "source", "tbody", "td", "tfoot", "th", "thead",
    "tr", "track", "wbr",
];

/// Elements whose contents are no elements.
const RAW: &[&str] = &["script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"];

/// How deep elements lie in each other, as far as tags tell: those that may end without a tag of their own are not counted.
fn depth(page: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let mut rest = page;
    while let Some(at) = rest.iter().position(|byte| *byte == b'<') {
        rest = &rest[at + 1..];
        if let Some(comment) = rest.strip_prefix(b"!--") {
            rest = after(comment, b"-->");
            continue;
        }
        let is_end = rest.first() == Some(&b'/');
        let name = &rest[usize::from(is_end)..];
        let len = name.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'-').unwrap_or(name.len());
        // names of elements are short, and no tag begins with anything but a letter
        let Some(name) = name.get(..len.min(MAX_NAME)).filter(|name| name.first().is_some_and(u8::is_ascii_alphabetic))
        else {
            continue;
        };
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        let end = rest.iter().position(|byte| *byte == b'>').unwrap_or(rest.len());
        let is_empty = rest[..end].ends_with(b"/");
        rest = &rest[end..];
        if is_empty || ENDLESS.contains(&name.as_str()) {
            continue;
        }
        if is_end {
            depth = depth.saturating_sub(1);
        } else if RAW.contains(&name.as_str()) {
            rest = after_end(rest, name.as_bytes());
        } else {
            depth += 1;
            deepest = deepest.max(depth);
        }
    }
    deepest
}

/// Bytes of a name that are looked at: no element of HTML has a longer one.
const MAX_NAME: usize = 32;

/// What comes after the first `mark`; nothing where there is none.
fn after<'a>(bytes: &'a [u8], mark: &[u8]) -> &'a [u8] {
    let found = bytes.windows(mark.len()).position(|window| window == mark);
    found.map_or(&[], |at| &bytes[at + mark.len()..])
}

/// What comes after the end of an element whose contents are no elements.
fn after_end<'a>(mut bytes: &'a [u8], name: &[u8]) -> &'a [u8] {
    while !bytes.is_empty() {
        bytes = after(bytes, b"</");
        if bytes.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)) {
            return bytes;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_that_of_elements_with_an_end() {
        for (page, expected) in [
            ("", 0),
            ("a < b <", 0),
            ("<p>one<p>two<br><img src=x><li>three<td>four", 0),
            ("<html><body><div><B>x</B> <i>y</i></div><div></div>", 2),
            ("<svg><path d='M0'/><path d='M1'/></svg>", 1),
            ("<div><!-- <div><div> --><script>'<div><div>'</SCRIPT><span>", 2),
            ("<div><script>'<div>", 1),
            ("<div><!-- <div>", 1),
        ] {
            assert_eq!(depth(page.as_bytes()), expected, "{page}");
        }
    }

    #[test]
    fn a_page_that_would_take_for_ever_is_refused_at_once_and_a_long_flat_one_is_read() {
        let deep = "<div>".repeat(200_000);
        let (problem, _) = read(deep.as_bytes()).unwrap_err();
        assert_eq!(problem, "its elements lie in each other 200000 deep, and up to 8192 are read");
        let flat = format!("<body>{}", "<p>A word.<li>Another.</li><div><b>x</b></div>".repeat(10_000));
        assert_eq!(read(flat.as_bytes()).unwrap().pages[0].matches("A word.").count(), 10_000);
    }
}
