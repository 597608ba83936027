//! Haystacks: the text that samples hide things in.
//!
//! `haystack=FILE` or `haystack=FOLDER` names it; without a name it is an excerpt of Jane Austen's novels that comes with the program
//! (207 kB, about 48,000 tokens). Papers use Paul Graham's essays, which may not be handed on; whoever has them names their folder.

use std::io::Read;
use std::path::Path;
use std::sync::LazyLock;

use flate2::read::GzDecoder;
use longlens_core::setting::{Fallback, Kind, Param};
use serde_json::Value;

use super::{Ask, Files};
use crate::document::Document;
use crate::error::{EvalError, in_line};
use crate::text::text_of;

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
                let (texts, others): (Vec<_>, Vec<_>) =
                    held.iter().partition(|file| ending(file).is_some_and(|ending| ENDINGS.contains(&&*ending)));
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
