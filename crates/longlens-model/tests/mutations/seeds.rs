//! Files that are right, to be changed.

use std::path::{Path, PathBuf};

use longlens_model::source::Source;
use serde_json::{Value, json};

/// A file that is right, and what stands beside it.
#[derive(Debug, Clone)]
pub struct Seed {
    /// What it is called.
    pub file: &'static str,
    pub bytes: Vec<u8>,
    /// Other names that an error may blame in its place.
    pub others: &'static [&'static str],
    /// The other files of its folder.
    pub beside: Vec<(&'static str, Vec<u8>)>,
}

impl Seed {
    pub fn new(file: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        Self { file, bytes: bytes.into(), others: &[], beside: Vec::new() }
    }

    /// The same where an error may name one of these in its place.
    pub fn or_named(self, others: &'static [&'static str]) -> Self {
        Self { others, ..self }
    }

    /// Whether an error says which file it is about.
    pub fn is_named(&self, error: &str) -> bool {
        error.contains(self.file) || self.others.iter().any(|other| error.contains(other))
    }

    pub fn with(mut self, file: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        self.beside.push((file, bytes.into()));
        self
    }

    /// Its folder, with `bytes` in its place.
    pub fn saved(&self, bytes: &[u8]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, bytes: &[u8]| std::fs::write(folder.path().join(file), bytes).unwrap();
        self.beside.iter().for_each(|(file, bytes)| write(file, bytes));
        write(self.file, bytes);
        folder
    }
}

pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

pub fn fixture(path: &str) -> Vec<u8> {
    std::fs::read(fixtures().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The embedded model's tokenizer with the tokens below `n_tokens`, and no merges.
pub fn tokenizer(n_tokens: u64) -> Value {
    let mut file: Value = serde_json::from_slice(&Source::embedded().require("tokenizer.json").unwrap()).unwrap();
    let kept: serde_json::Map<_, _> = (file["model"]["vocab"].as_object().unwrap().iter())
        .filter(|(_, id)| id.as_u64().unwrap() < n_tokens)
        .map(|(token, id)| (token.clone(), id.clone()))
        .collect();
    file["model"]["vocab"] = kept.into();
    file["model"]["merges"] = json!([]);
    file
}

/// A field of a protocol buffer that holds bytes.
fn message(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    let mut len = bytes.len();
    while len >= 0x80 {
        field.push(len as u8 | 0x80);
        len >>= 7;
    }
    field.push(len as u8);
    field.extend(bytes);
    field
}

/// A small `tokenizer.model`, as `SentencePiece` writes it: pieces with scores and kinds, then the rules.
pub fn sentencepiece(unigram: bool) -> Vec<u8> {
    let mut file = Vec::new();
    let mut piece = |text: &str, score: f32, kind: u8| {
        let fields = [
            message(1, text.as_bytes()),
            [vec![2 << 3 | 5], score.to_le_bytes().to_vec()].concat(),
            vec![3 << 3, kind],
        ];
        file.extend(message(1, &fields.concat()));
    };
    piece("<unk>", 0.0, 2);
    piece("<s>", 0.0, 3);
    piece("</s>", 0.0, 3);
    (0..=255u8).for_each(|byte| piece(&format!("<0x{byte:02X}>"), 0.0, 6));
    let words = ["\u{2581}", "a", "b", "i", "r", "d", "ab", "\u{2581}a", "bi", "rd", "bird", "\u{2581}bird", "é", "日"];
    words.iter().enumerate().for_each(|(at, word)| piece(word, -(at as f32), 1));
    let kind = if unigram { 1 } else { 2 };
    // flags beyond 15 have keys of two bytes
    file.extend(message(2, &[3 << 3, kind, 0x98, 0x02, 1, 0xc0, 0x02, 0, 0xc8, 0x02, 1, 0xd0, 0x02, 2]));
    file.extend(message(3, &[3 << 3, 1, 4 << 3, 0, 5 << 3, 1]));
    file
}
