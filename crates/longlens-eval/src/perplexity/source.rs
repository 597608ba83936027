//! Where measured text comes from: one document a file, unless it is JSON lines or blank lines are to separate several.

use std::path::Path;

use longlens_core::lens::{Control, LensError, TextCodec};
use serde_json::Value;

use super::token_file::TokenFile;
use crate::document::{Document, Kind};
use crate::error::{EvalError, in_line};
use crate::text::text_of;
use crate::token_ids::keys;

/// Documents in tokens, and what was passed over to find them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Documents {
    /// Tokens of each, with the model's own first token.
    pub tokens: Vec<Vec<u32>>,
    /// Documents there are.
    pub n_found: usize,
    /// Documents passed over because they are shorter than `needed`.
    pub n_short: usize,
    /// Tokens that a document needs.
    pub needed: usize,
    /// How the ids of a token file were read: `u16`, `u32`, `i64`, `npy` or `JSON`.
    pub token_format: Option<&'static str>,
    /// Whether a text has line ends of two characters, as Windows writes them; models see few of those in training.
    pub has_crlf: bool,
}

impl Documents {
    /// The first `at_most` of `texts` that have `needed` tokens; an error where none has.
    pub fn encode(
        codec: &dyn TextCodec,
        texts: &[impl AsRef<str>],
        needed: usize,
        at_most: usize,
    ) -> Result<Self, EvalError> {
        if at_most == 0 {
            return Err(EvalError::Nothing { what: "documents" });
        }
        let encoded = texts.iter().map(|text| {
            let text = text.as_ref();
            Ok((codec.encode(text, true)?, text.contains("\r\n")))
        });
        Self::chosen(encoded, texts.len(), needed, at_most)
    }

    /// The first `at_most` that are long enough of `n_found` documents, each with whether it has line ends of two characters.
    fn chosen(
        documents: impl Iterator<Item = Result<(Vec<u32>, bool), EvalError>>,
        n_found: usize,
        needed: usize,
        at_most: usize,
    ) -> Result<Self, EvalError> {
        let (mut tokens, mut n_short, mut longest, mut has_crlf) = (Vec::new(), 0, 0, false);
        for document in documents {
            let (document, is_crlf) = document?;
            longest = longest.max(document.len());
            if document.len() < needed {
                n_short += 1;
                continue;
            }
            has_crlf |= is_crlf;
            tokens.push(document);
            if tokens.len() == at_most {
                break;
            }
        }
        if tokens.is_empty() {
            return Err(EvalError::ShortDocuments { needed, longest });
        }
        Ok(Self { tokens, n_found, n_short, needed, token_format: None, has_crlf })
    }

    /// One document of tokens that are there already.
    pub fn of_tokens(tokens: Vec<u32>, needed: usize) -> Result<Self, EvalError> {
        if tokens.len() < needed {
            return Err(EvalError::ShortDocuments { needed, longest: tokens.len() });
        }
        Ok(Self { tokens: vec![tokens], n_found: 1, n_short: 0, needed, token_format: None, has_crlf: false })
    }

    /// The first `at_most` documents of a token file that have `needed` tokens.
    pub fn of_file(file: TokenFile, needed: usize, at_most: usize) -> Result<Self, EvalError> {
        let (format, n_found) = (file.format, file.documents.len());
        let documents = file.documents.into_iter().map(|document| Ok((document, false)));
        Ok(Self { token_format: Some(format), ..Self::chosen(documents, n_found, needed, at_most)? })
    }

    /// What a result should say of them: how ids were read, and what was passed over. Nothing where texts were taken whole.
    pub fn note(&self) -> Option<String> {
        let format = self.token_format.map(|format| format!("token ids read as {format}"));
        let (n_used, n_found) = (self.tokens.len(), self.n_found);
        let short = match self.n_short {
            0 => String::new(),
            n => format!(", {n} passed over with fewer than {} tokens", self.needed),
        };
        let measured = (n_used < n_found).then(|| format!("{n_used} of {n_found} documents measured{short}"));
        let crlf = self.has_crlf.then(|| "lines end in CRLF and are measured so".to_owned());
        let notes: Vec<_> = format.into_iter().chain(measured).chain(crlf).collect();
        (!notes.is_empty()).then(|| notes.join("; "))
    }
}

/// The first `at_most` of `texts` as one row of tokens, for windows that slide over all of it: the model's own first token
/// stands at the start alone. Also how many texts that were.
pub fn encode_joined(
    codec: &dyn TextCodec,
    texts: &[impl AsRef<str>],
    at_most: usize,
) -> Result<(Vec<u32>, usize), LensError> {
    let (mut tokens, n_used) = (Vec::new(), texts.len().min(at_most));
    for (at, text) in texts.iter().take(n_used).enumerate() {
        tokens.extend(codec.encode(text.as_ref(), at == 0)?);
    }
    Ok((tokens, n_used))
}

/// The parts of a text that blank lines separate.
pub fn split_at_blank_lines(text: &str) -> Vec<&str> {
    let mut documents = Vec::new();
    let (mut start, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        if line.trim().is_empty() {
            documents.push(&text[start..at]);
            start = at + line.len();
        }
        at += line.len();
    }
    documents.push(&text[start..]);
    documents.into_iter().map(|document| document.trim_end_matches(['\n', '\r'])).filter(|d| !d.is_empty()).collect()
}

/// The tokens of every part of a text that blank lines separate, each with the model's own first token.
pub fn encode_documents(codec: &dyn TextCodec, text: &str) -> Result<Vec<Vec<u32>>, LensError> {
    split_at_blank_lines(text).into_iter().map(|document| codec.encode(document, true)).collect()
}

/// The documents in the bytes of a file: all of its text as it is (of a PDF or an HTML page the text that a reader sees), its parts
/// between blank lines where `split` says so, or each line's `text` where it is JSON lines, by its name or by what it holds. Also what a
/// user should know of the file.
pub fn texts(path: &Path, bytes: Vec<u8>, split: bool, control: &dyn Control) -> Result<Texts, EvalError> {
    let (text, warnings) = match Kind::of(path, &bytes) {
        Kind::Pdf | Kind::Html => {
            let document = Document::of(path, bytes, control)?;
            (document.text, document.warnings)
        }
        Kind::Text | Kind::JsonLines => (text_of(path, bytes)?, Vec::new()),
    };
    let documents = documents(path, text, split)?;
    Ok(Texts { documents, warnings })
}

/// The documents of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    /// Their texts.
    pub documents: Vec<String>,
    /// What a user should know of the file, as sentences.
    pub warnings: Vec<String>,
}

fn documents(path: &Path, text: String, split: bool) -> Result<Vec<String>, EvalError> {
    let refuse = |problem: &str, help: &str| {
        Err(EvalError::File { path: path.to_owned(), problem: problem.into(), help: help.into() })
    };
    if text.trim().is_empty() {
        return refuse("it holds no text", "name a file with text");
    }
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
    let is_named_lines = matches!(ending.as_str(), "jsonl" | "ndjson");
    if is_named_lines || is_json_lines(&text) {
        if split {
            return refuse("its lines are documents already", "leave out `split_documents`");
        }
        return json_lines(path, &text);
    }
    if ending == "json" || (text.starts_with(['{', '[']) && serde_json::from_str::<Value>(&text).is_ok()) {
        return refuse(
            "it is JSON, whose signs are no text to measure",
            "give text, JSON lines with a `text` each (`jq -c '.[]' FILE` makes lines of a list), or token ids as `tokens`",
        );
    }
    if !split {
        return Ok(vec![text]);
    }
    Ok(split_at_blank_lines(&text).into_iter().map(str::to_owned).collect())
}

/// Whether every line of a file with another ending is an object: no text is like that.
fn is_json_lines(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let is_json = |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|json| json.is_object());
    let mut parsed = lines.by_ref().take(N_PARSED).peekable();
    parsed.peek().is_some() && parsed.all(is_json) && lines.all(|line| line.trim_start().starts_with('{'))
}

/// Lines that must be JSON before a text is taken for JSON lines.
const N_PARSED: usize = 4;

fn json_lines(path: &Path, text: &str) -> Result<Vec<String>, EvalError> {
    let line = |(at, line): (usize, &str)| {
        let refuse = |reason: String| EvalError::Line {
            path: path.to_owned(),
            line: at + 1,
            reason,
            help: "every line of a JSONL file is an object with the text of one document, as {\"text\": \"…\"}".into(),
        };
        let json: Value =
            serde_json::from_str(line).map_err(|error| refuse(format!("it is not JSON: {}", in_line(&error))))?;
        let Value::Object(mut object) = json else { return Err(refuse("it is no object".into())) };
        match object.remove("text") {
            Some(Value::String(text)) if text.is_empty() => Err(refuse("its `text` is empty".into())),
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(refuse("its `text` is no text".into())),
            None => Err(refuse(format!("it has no `text`{}", keys(&object)))),
        }
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(line).collect()
}

#[cfg(test)]
mod tests {
    use longlens_core::scripted::ByteCodec;
    use proptest::prelude::*;

    use super::*;

    fn read(name: &str, text: &str, split: bool) -> Result<Vec<String>, String> {
        texts(Path::new(name), text.into(), split, &())
            .map(|texts| texts.documents)
            .map_err(|error| format!("{error} | {}", error.help().unwrap_or_default()))
    }

    #[test]
    fn a_file_is_one_document_as_it_is() {
        let book = "Title\n\nBy a writer\r\n\r\n  One.\n\n\nTwo.\n";
        assert_eq!(read("book.txt", book, false).unwrap(), [book]);
        assert_eq!(read("book.txt", &format!("\u{feff}{book}"), false).unwrap(), [book]);
        assert_eq!(read("book.txt", "[1] a note\n\ntext", false).unwrap(), ["[1] a note\n\ntext"]);
        assert_eq!(read("book.txt", book, true).unwrap(), ["Title", "By a writer", "  One.", "Two."]);
    }

    #[test]
    fn json_lines_are_a_document_each() {
        let lines = "{\"text\": \"a\\n\\nb\", \"meta\": 1}\n\n{\"text\": \"c\"}\n";
        for name in ["pg19.jsonl", "PG19.NDJSON", "pg19.txt", "pg19"] {
            assert_eq!(read(name, lines, false).unwrap(), ["a\n\nb", "c"], "{name}");
        }
        assert_eq!(read("one.json", "{\"text\": \"a\"}", false).unwrap(), ["a"]);
    }

    #[test]
    fn what_holds_no_text_is_refused() {
        let say = |name: &str, text: &str, split| read(name, text, split).unwrap_err();
        insta::assert_snapshot!(say("x.jsonl", "{\"text\": \"a\"}\n{\"input\": \"a\", \"id\": 1}", false), @r#"line 2 of x.jsonl: it has no `text`; it has `input`, `id` | every line of a JSONL file is an object with the text of one document, as {"text": "…"}"#);
        insta::assert_snapshot!(say("x.jsonl", "plain", false).split(" | ").next().unwrap(), @"line 1 of x.jsonl: it is not JSON: expected value at column 1");
        insta::assert_snapshot!(say("x.txt", "{\"text\": \"\"}", false).split(" | ").next().unwrap(), @"line 1 of x.txt: its `text` is empty");
        insta::assert_snapshot!(say("x.txt", "{\"text\": \"a\"}\n{\"text\": 7}", false).split(" | ").next().unwrap(), @"line 2 of x.txt: its `text` is no text");
        insta::assert_snapshot!(say("x.jsonl", "{\"text\": \"a\"}", true), @"x.jsonl: its lines are documents already | leave out `split_documents`");
        insta::assert_snapshot!(say("x.json", "[{\"text\": \"a\"}]", false), @"x.json: it is JSON, whose signs are no text to measure | give text, JSON lines with a `text` each (`jq -c '.[]' FILE` makes lines of a list), or token ids as `tokens`");
        insta::assert_snapshot!(say("x.txt", " \n", false), @"x.txt: it holds no text | name a file with text");
    }

    #[test]
    fn short_documents_are_counted() {
        let texts = ["ab", "abcdefgh", "abc", "abcdefghi", "abcdefghij"];
        let of = |needed, at_most| Documents::encode(&ByteCodec, &texts, needed, at_most);
        let lengths = |documents: &Documents| documents.tokens.iter().map(Vec::len).collect::<Vec<_>>();
        let found = of(8, 2).unwrap();
        assert_eq!(lengths(&found), [9, 10]);
        insta::assert_snapshot!(found.note().unwrap(), @"2 of 5 documents measured, 2 passed over with fewer than 8 tokens");
        insta::assert_snapshot!(of(2, 2).unwrap().note().unwrap(), @"2 of 5 documents measured");
        assert_eq!(of(2, 9).unwrap().note(), None);
        let windows = Documents::encode(&ByteCodec, &["a\r\nb", "ab"], 2, 9).unwrap();
        insta::assert_snapshot!(windows.note().unwrap(), @"lines end in CRLF and are measured so");
        insta::assert_snapshot!(of(12, 9).unwrap_err(), @"no document has 12 tokens: the longest has 11");
        insta::assert_snapshot!(of(12, 0).unwrap_err(), @"there are no documents");
        assert!(Documents::of_tokens(vec![1; 4], 5).is_err() && Documents::of_tokens(vec![1; 5], 5).is_ok());
    }

    #[test]
    fn joined_texts_begin_once() {
        assert_eq!(encode_joined(&ByteCodec, &["a", "b", "c"], 2).unwrap(), (vec![0, 99, 100], 2));
        assert_eq!(encode_documents(&ByteCodec, "a\n\nb").unwrap(), [[0, 99], [0, 100]]);
    }

    #[test]
    fn blank_lines_separate_documents_when_asked() {
        assert_eq!(
            split_at_blank_lines("one\nstill one\n\n \r\n two\r\n\nthree\n"),
            ["one\nstill one", " two", "three"]
        );
        assert!(split_at_blank_lines("\n\n").is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_documents_or_refused(bytes: Vec<u8>, named: bool, split: bool) {
            let name = Path::new(if named { "a.jsonl" } else { "a" });
            if let Ok(Texts { documents: texts, .. }) = texts(name, bytes, split, &()) {
                prop_assert!(!texts.is_empty() && texts.iter().all(|text| !text.is_empty()));
            }
        }

        #[test]
        fn near_json_lines_do_not_panic(text in r#"(\{|\}|"text"|:|,|"a"|7|null|\[|\]|
    | ){0,24}"#, split: bool) {
            let _ = texts(Path::new("a"), text.into_bytes(), split, &());
        }
    }
}
