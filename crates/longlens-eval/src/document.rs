//! Documents: the text of a file in any common format, and the page or line on which each part of it stands.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use longlens_core::lens::Control;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{EvalError, in_line};
use crate::text::text_of;

mod extract;
mod html;
mod isolated;
mod passages;
mod pdf;

pub use extract::{Extracted, Foreign};
pub use isolated::{extract_with, serve};
pub use passages::{Passage, locate};

/// A text with the places of its parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// The text.
    pub text: String,
    /// What kind of file said it.
    pub kind: Kind,
    /// What a user should know of it, as sentences.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// First byte of every page or line, with its number.
    places: Vec<(usize, usize)>,
}

/// Kinds of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Plain text, Markdown, and everything else that is text as it stands.
    Text,
    /// An HTML page, of which the text that a reader sees is taken; lines are counted in that text.
    Html,
    /// JSON lines, each with a `text`.
    JsonLines,
    /// A PDF, of which the text is taken, page by page.
    Pdf,
}

/// Where something stands in a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Whether pages are counted; else lines are.
    pub is_page: bool,
    /// The first page or line, counted from 1.
    pub first: usize,
    /// The last one.
    pub last: usize,
}

impl Document {
    /// Reads the bytes of a file. A PDF is known by its first bytes, HTML and JSON lines by the ending of the name; what has no ending,
    /// such as stdin, is HTML where it begins as such. Of JSON lines the texts follow each other, blank lines between them.
    ///
    /// Errors name the file: bytes that are no UTF-8, a line without a `text`, a PDF that is encrypted, damaged or has no text, and
    /// reading that `control` stopped.
    pub fn of(path: &Path, bytes: Vec<u8>, control: &dyn Control) -> Result<Self, EvalError> {
        let kind = Kind::of(path, &bytes);
        let foreign = match kind {
            Kind::Text => return Ok(Self::plain(text_of(path, bytes)?)),
            Kind::JsonLines => return Self::lines(path, &text_of(path, bytes)?),
            Kind::Html => Foreign::Html,
            Kind::Pdf => Foreign::Pdf,
        };
        let bytes = if kind == Kind::Html { text_of(path, bytes)?.into_bytes() } else { bytes };
        let read = isolated::extract(foreign, &bytes, control);
        let read = read.map_err(|(problem, help)| EvalError::File { path: path.to_owned(), problem, help })?;
        Ok(match foreign {
            Foreign::Html => Self { kind, warnings: read.warnings, ..Self::plain(read.pages.concat()) },
            Foreign::Pdf => {
                let pages = read.pages.iter().enumerate().map(|(at, text)| (at + 1, text.as_str()));
                Self { warnings: read.warnings, ..Self::joined(kind, pages) }
            }
        })
    }

    /// A text whose lines are counted.
    pub fn plain(text: String) -> Self {
        let starts = text.match_indices('\n').map(|(at, _)| at + 1);
        let places = [0].into_iter().chain(starts).enumerate().map(|(at, start)| (start, at + 1)).collect();
        Self { text, kind: Kind::Text, warnings: Vec::new(), places }
    }

    fn lines(path: &Path, json: &str) -> Result<Self, EvalError> {
        let mut texts = Vec::new();
        for (at, line) in json.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let bad = |reason: String| EvalError::Line {
                path: path.to_owned(),
                line: at + 1,
                reason,
                help: "write each line as {\"text\": \"…\"}".into(),
            };
            let value: Value = serde_json::from_str(line).map_err(|error| bad(in_line(&error)))?;
            let text = value.get("text").and_then(Value::as_str).ok_or_else(|| bad("it has no `text`".into()))?;
            texts.push((at + 1, text.to_owned()));
        }
        Ok(Self::joined(Kind::JsonLines, texts.iter().map(|(line, text)| (*line, text.as_str()))))
    }

    /// Numbered parts in one text, blank lines between them.
    fn joined<'a>(kind: Kind, parts: impl Iterator<Item = (usize, &'a str)>) -> Self {
        let (mut text, mut places) = (String::new(), Vec::new());
        for (number, part) in parts.filter(|(_, part)| !part.is_empty()) {
            if !text.is_empty() {
                text.push_str("\n\n");
            }
            places.push((text.len(), number));
            text.push_str(part);
        }
        Self { text, kind, warnings: Vec::new(), places }
    }

    /// Whether its parts lie in its text, which somebody else may have written.
    pub fn is_sound(&self) -> bool {
        let starts = || self.places.iter().map(|(start, _)| *start);
        // a last line that was left out of the text has a beginning all the same
        let may_be_beyond = matches!(self.kind, Kind::Text | Kind::Html);
        let is_inside = |start| self.text.is_char_boundary(start) || may_be_beyond && start > self.text.len();
        starts().all(is_inside) && starts().is_sorted()
    }

    /// The pages or lines of some bytes of the text.
    pub fn place(&self, bytes: &Range<usize>) -> Place {
        let number = |byte: usize| {
            let at = self.places.partition_point(|(start, _)| *start <= byte).saturating_sub(1);
            self.places.get(at).map_or(1, |(_, number)| *number)
        };
        let last = bytes.end.saturating_sub(1).max(bytes.start);
        Place { is_page: self.kind == Kind::Pdf, first: number(bytes.start), last: number(last) }
    }
}

impl Kind {
    /// What a file is, by its first bytes and the ending of its name.
    pub(crate) fn of(path: &Path, bytes: &[u8]) -> Self {
        let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
        // some programs write a line of their own before the header; a text may speak of it
        let may_be_later = matches!(ending.as_deref(), None | Some("pdf"));
        let start = &bytes[..bytes.len().min(if may_be_later { 1024 } else { 5 })];
        if start.windows(5).any(|mark| mark == b"%PDF-") {
            return Self::Pdf;
        }
        match ending.as_deref() {
            Some("html" | "htm" | "xhtml") => Self::Html,
            Some("jsonl" | "ndjson") => Self::JsonLines,
            None if begins_as_html(bytes) => Self::Html,
            _ => Self::Text,
        }
    }
}

fn begins_as_html(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let begins = |mark: &[u8]| bytes.get(..mark.len()).is_some_and(|start| start.eq_ignore_ascii_case(mark));
    begins(b"<!doctype html") || begins(b"<html")
}

/// As `page 3`, `pages 3-4`, `line 12` or `lines 12-15`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_page { "page" } else { "line" };
        match self.last {
            last if last > self.first => write!(f, "{what}s {}-{last}", self.first),
            _ => write!(f, "{what} {}", self.first),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, bytes: &[u8]) -> Result<Document, EvalError> {
        Document::of(Path::new(name), bytes.to_vec(), &())
    }

    #[test]
    fn lines_are_counted_from_one() {
        let document = of("a.txt", b"one\ntwo\n\nfour").unwrap();
        let place = |part: &str| {
            let start = document.text.find(part).unwrap();
            document.place(&(start..start + part.len())).to_string()
        };
        assert_eq!(
            [place("one"), place("two\n"), place("four"), place("two\n\nfour")],
            ["line 1", "line 2", "line 4", "lines 2-4"]
        );
    }

    #[test]
    fn json_lines_are_their_texts_at_the_lines_of_the_file() {
        let document = of("a.jsonl", b"{\"text\": \"one\\nmore\"}\n\n{\"text\": \"two\", \"id\": 7}\n").unwrap();
        assert_eq!((document.text.as_str(), document.kind), ("one\nmore\n\ntwo", Kind::JsonLines));
        assert_eq!(document.place(&(4..8)).to_string(), "line 1");
        assert_eq!(document.place(&(10..13)).to_string(), "line 3");
        let error = of("a.jsonl", b"{\"text\": \"one\"}\n{\"body\": 1}\n").unwrap_err().to_string();
        assert_eq!(error, "line 2 of a.jsonl: it has no `text`");
    }

    #[test]
    fn a_text_that_speaks_of_pdf_is_none() {
        for name in ["notes.md", "notes.txt", "page.html"] {
            assert_ne!(of(name, b"A file that begins with %PDF-1.7 is one.").unwrap().kind, Kind::Pdf, "{name}");
        }
        for name in ["a.pdf", "stdin", "really.txt"] {
            let error = of(name, b"%PDF-1.7 and nothing more").unwrap_err().to_string();
            assert!(error.contains("no PDF that can be read"), "{name}: {error}");
        }
    }

    #[test]
    fn html_is_what_a_reader_sees() {
        let page = b"<!DOCTYPE html><title>t</title><style>p{}</style><script>var a;</script><h1>Birds</h1>\n<p>One <b>bold</b>\nline &amp; more.</p><ul><li>a<li>b</ul>";
        for name in ["page.html", "stdin"] {
            let document = of(name, page).unwrap();
            assert_eq!((document.kind, document.text.as_str()), (Kind::Html, "Birds\n\nOne bold line & more.\na\nb"));
        }
        // the source of a page is a text under any other name
        assert_eq!(of("page.txt", page).unwrap().kind, Kind::Text);
        assert_eq!(of("a.htm", b"<p>Some <del>gone</del> words").unwrap().text, "Some gone words");
        let error = of("a.html", b"<meta charset=iso-8859-1><p>Caf\xe9").unwrap_err().to_string();
        assert!(error.contains("UTF-8"), "{error}");
    }
}
