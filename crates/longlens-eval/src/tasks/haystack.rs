//! Haystacks: the text that samples hide things in.
//!
//! `haystack=FILE` or `haystack=FOLDER` names it; without a name it is an excerpt of Jane Austen's novels that comes with the program
//! (207 kB, about 48,000 tokens). Papers use Paul Graham's essays, which may not be handed on; whoever has them names their folder.

use std::io::Read;
use std::path::Path;
use std::sync::LazyLock;

use flate2::read::GzDecoder;
use longlens_core::lens::TextCodec;
use longlens_core::setting::{Fallback, Kind, Param};
use serde_json::Value;

use super::{Ask, Files};
use crate::document::Document;
use crate::error::{EvalError, expect, in_line};
use crate::text::text_of;

mod prose;

pub use prose::{Prose, Room};

/// The text that samples hide things in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Haystack {
    /// The whole text, never blank.
    pub text: String,
    /// What it is called in results: the file or folder as it was named, or [`BUILT_IN`].
    pub name: String,
    /// What a user should know of it, as sentences.
    pub notes: Vec<String>,
}

/// Name of the text that comes with the program.
pub const BUILT_IN: &str = "austen";

/// More tokens than these are no prompt, but would be made all the same.
const MAX_TOKENS: usize = 1 << 26;

/// The text that comes with the program: prose of six novels, a paragraph a line, blank lines between paragraphs, all of it ASCII.
pub fn built_in() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let mut text = String::new();
        let packed = include_bytes!("../../data/austen.txt.gz");
        GzDecoder::new(&packed[..]).read_to_string(&mut text).expect("the packed text is whole");
        text
    });
    &TEXT
}

/// The setting that names the text.
pub(crate) const HAYSTACK: Param = Param {
    name: "haystack",
    alias: "haystack_dir",
    kind: Kind::Text,
    default: Fallback::Word(""),
    help: "text around what is hidden: a file, or a folder of texts in the order of their names; an excerpt of six novels when not given",
};

/// Endings of files in a folder that hold text.
const ENDINGS: [&str; 10] = ["txt", "md", "markdown", "html", "htm", "xhtml", "pdf", "jsonl", "ndjson", "json"];

impl Haystack {
    /// The text that the settings name.
    pub fn of(ask: &Ask<'_>) -> Result<Self, EvalError> {
        match ask.text(HAYSTACK.name) {
            None => Ok(Self::default()),
            Some(name) => Self::read(&name, ask.files),
        }
    }

    /// The text of a file, or of the files in a folder, one behind the other by name. Plain texts stand as they are, as the scripts join
    /// them; behind other documents comes a blank line. Of a JSON file, as RULER keeps its essays, `text` is taken.
    ///
    /// Errors name the file: one that cannot be read, and a file or folder without any text.
    pub fn read(name: &str, files: &dyn Files) -> Result<Self, EvalError> {
        let mut haystack = Self { text: String::new(), name: name.to_owned(), notes: Vec::new() };
        match files.folder(name)? {
            None => haystack.push(name, files)?,
            Some(held) => {
                let (texts, others): (Vec<_>, Vec<_>) = held.iter().partition(|file| is_text(file));
                for file in &texts {
                    haystack.push(file, files)?;
                }
                let n_others = others.len();
                if n_others > 0 {
                    let n = texts.len();
                    haystack
                        .notes
                        .push(format!("of {name}, {n} files are read, and {n_others} hold no text by their names"));
                }
            }
        }
        if haystack.text.trim().is_empty() {
            return Err(EvalError::File {
                path: name.into(),
                problem: "it holds no text".into(),
                help: format!("name a file with text, or a folder with files that end in {}", ENDINGS.join(", ")),
            });
        }
        Ok(haystack)
    }

    /// The first byte of what a trial reads: the text's for the first trial, and for each of the others the first line's after its share of
    /// the text, so that trials read different passages.
    pub fn start(&self, trial: usize, n_trials: usize) -> usize {
        let mut share = self.text.len() / n_trials.max(1) * trial;
        if share == 0 {
            return 0;
        }
        while !self.text.is_char_boundary(share) {
            share += 1;
        }
        let rest = &self.text[share..];
        let line = rest.find('\n').map_or(rest, |end| &rest[end..]);
        let line = line.trim_start();
        if line.is_empty() { share } else { self.text.len() - line.len() }
    }

    /// The first `n_tokens` tokens of the text from this byte on, which begins anew at its end as often as it takes; with the model's own
    /// first token where `special` says so.
    pub fn tokens(
        &self,
        codec: &dyn TextCodec,
        start: usize,
        n_tokens: usize,
        special: bool,
    ) -> Result<Vec<u32>, EvalError> {
        expect(n_tokens <= MAX_TOKENS, "length", n_tokens, "at most 67,108,864 tokens")?;
        let mut n_bytes = 8 * n_tokens + 256;
        loop {
            let mut text = self.text[start..].to_owned();
            while text.len() < n_bytes {
                text.push_str(&self.text);
            }
            while !text.is_char_boundary(n_bytes) {
                n_bytes += 1;
            }
            text.truncate(n_bytes);
            let mut tokens = codec.encode(&text, special)?;
            // tokens near the cut may be others than those of the text that goes on
            if tokens.len() >= n_tokens + 16 {
                tokens.truncate(n_tokens);
                return Ok(tokens);
            }
            if n_bytes > 1024 * n_tokens + 4096 {
                return Err(EvalError::NoFiller {
                    template: "haystack",
                    length: n_tokens,
                    n_pieces: n_bytes / self.text.len() + 1,
                    n_tokens: tokens.len(),
                });
            }
            n_bytes *= 2;
        }
    }

    fn push(&mut self, name: &str, files: &dyn Files) -> Result<(), EvalError> {
        let (path, bytes) = (Path::new(name), files.read(name)?);
        if ending(name).as_deref() == Some("json") {
            self.text.push_str(&text_of_json(path, bytes)?);
            self.text.push_str("\n\n");
            return Ok(());
        }
        let document = Document::of(path, bytes, &())?;
        self.text.push_str(&document.text);
        self.notes.extend(document.warnings.into_iter().map(|warning| format!("{name}: {warning}")));
        if document.kind != crate::document::Kind::Text {
            self.text.push_str("\n\n");
        }
        Ok(())
    }
}

/// The text that comes with the program.
impl Default for Haystack {
    fn default() -> Self {
        Self { text: built_in().to_owned(), name: BUILT_IN.into(), notes: Vec::new() }
    }
}

/// Whether a file in a folder holds text, by its name.
pub(crate) fn is_text(name: &str) -> bool {
    ending(name).is_some_and(|ending| ENDINGS.contains(&&*ending))
}

fn ending(name: &str) -> Option<String> {
    Some(Path::new(name).extension()?.to_str()?.to_ascii_lowercase())
}

fn text_of_json(path: &Path, bytes: Vec<u8>) -> Result<String, EvalError> {
    let refuse = |problem: String| EvalError::File {
        path: path.to_owned(),
        problem,
        help: "write it as {\"text\": \"…\"}, or give the text itself".into(),
    };
    let json: Value = serde_json::from_str(&text_of(path, bytes)?)
        .map_err(|error| refuse(format!("it is not JSON: {} in line {}", in_line(&error), error.line())))?;
    let text = json.get("text").and_then(Value::as_str);
    text.map(str::to_owned).ok_or_else(|| refuse("it has no `text`".into()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use longlens_core::lens::LensError;
    use longlens_core::scripted::ByteCodec;

    use super::*;
    use crate::tasks::Disk;

    #[test]
    fn the_built_in_text_is_prose() {
        let Haystack { text, name, notes } = Haystack::default();
        assert_eq!((text.len(), name.as_str(), notes.len()), (206_921, "austen", 0));
        assert!(text.is_ascii() && text.ends_with(".\n"));
        let paragraphs: Vec<_> = text.trim_end().split("\n\n").collect();
        assert!(paragraphs.len() > 400 && paragraphs.iter().all(|paragraph| !paragraph.contains('\n')));
        assert!(text.contains("Elizabeth") && text.contains("Mr. Woodhouse") && !text.contains("CHAPTER"));
    }

    #[test]
    fn a_folder_is_read_by_names() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        for (name, text) in [
            ("b.txt", "Two.\n"),
            ("a.txt", "One."),
            ("c.MD", "Three.\n"),
            ("d.jsonl", "{\"text\": \"Four.\"}\n{\"text\": \"Five.\"}\n"),
            ("e.json", "{\"text\": \"Six.\"}"),
            ("f.html", "<p>Seven &amp; more.</p>"),
            ("g.bin", "\u{0}"),
            (".hidden.txt", "no"),
        ] {
            fs::write(at(name), text).unwrap();
        }
        let read = Haystack::read(&at(""), &Disk).unwrap();
        assert_eq!(read.text, "One.Two.\nThree.\nFour.\n\nFive.\n\nSix.\n\nSeven & more.\n\n");
        assert_eq!(read.notes, [format!("of {}, 6 files are read, and 1 hold no text by their names", at(""))]);
        let read = Haystack::read(&at("b.txt"), &Disk).unwrap();
        assert_eq!((read.text, read.name, read.notes.len()), ("Two.\n".into(), at("b.txt"), 0));
    }

    #[test]
    fn a_text_begins_anew_at_its_end() {
        let haystack = Haystack { text: "One.\nTwö.\n".into(), ..Haystack::default() };
        let read = |start, n| ByteCodec.decode(&haystack.tokens(&ByteCodec, start, n, false).unwrap()).unwrap();
        assert_eq!(read(0, 20), "One.\nTwö.\nOne.\nTwö"[..20]);
        assert_eq!(read(5, 12), "Twö.\nOne.\n"[..11].to_owned() + "T");
        assert_eq!(haystack.tokens(&ByteCodec, 0, 3, true).unwrap(), ByteCodec.encode("On", true).unwrap());
        let starts = |n: usize| (0..n).map(|trial| haystack.start(trial, n)).collect::<Vec<_>>();
        assert_eq!((starts(1), starts(3)), (vec![0], vec![0, 5, 6]), "no line begins after the last share");
        let starts: Vec<_> = (0..10).map(|trial| Haystack::default().start(trial, 10)).collect();
        assert!(starts.iter().all(|start| *start == 0 || built_in()[..*start].ends_with("\n\n")), "{starts:?}");
        assert!(starts.windows(2).all(|pair| pair[0] < pair[1]), "{starts:?}");
    }

    #[test]
    fn a_tokenizer_without_the_words_of_a_text_is_refused() {
        struct Nothing;
        impl TextCodec for Nothing {
            fn encode(&self, _: &str, _: bool) -> Result<Vec<u32>, LensError> {
                Ok(vec![7])
            }
            fn decode(&self, _: &[u32]) -> Result<String, LensError> {
                Ok(String::new())
            }
        }
        let error = Haystack::default().tokens(&Nothing, 0, 100, false).unwrap_err().to_string();
        assert!(error.starts_with("a `haystack` prompt cannot be made 100 tokens long"), "{error}");
    }

    #[test]
    fn what_holds_no_text_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let say = |name: &str, bytes: &[u8]| {
            fs::write(folder.path().join(name), bytes).unwrap();
            let error = Haystack::read(&folder.path().join(name).to_string_lossy(), &Disk).unwrap_err();
            let said = format!("{error} | {}", error.help().unwrap_or_default());
            said.replace(&*folder.path().to_string_lossy(), "F")
        };
        let error = Haystack::read(&folder.path().to_string_lossy(), &Disk).unwrap_err();
        assert!(error.to_string().ends_with(": it holds no text"), "{error}");
        insta::assert_snapshot!(say("a.txt", b" \n"), @"F/a.txt: it holds no text | name a file with text, or a folder with files that end in txt, md, markdown, html, htm, xhtml, pdf, jsonl, ndjson, json");
        insta::assert_snapshot!(say("a.json", b"[1]"), @r#"F/a.json: it has no `text` | write it as {"text": "…"}, or give the text itself"#);
        insta::assert_snapshot!(say("b.json", b"{\n\"text\": \"a\"\n,}"), @r#"F/b.json: it is not JSON: trailing comma at column 2 in line 3 | write it as {"text": "…"}, or give the text itself"#);
        insta::assert_snapshot!(say("b.txt", b"caf\xe9"), @"F/b.txt: byte 0xe9 in line 1, column 4 (offset 3) is not UTF-8 | text is read as UTF-8; from Latin-1, `iconv -f ISO-8859-1 -t UTF-8 F/b.txt > NEW` converts it");
        assert!(Haystack::read("/nowhere.txt", &Disk).is_err());
    }
}
