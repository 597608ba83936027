//! A vocabulary with scores or merges becomes the `tokenizer.json` that stands for it, so that one reader reads all.
//!
//! `SentencePiece` merges whichever neighbours make the piece of the highest score. As a list of merges that is every way to cut a
//! piece in two others, sorted by the score of the whole; ties stand in the order of the vocabulary. That is how Hugging Face's
//! converters write these models, and what the goldens were made with.

pub(super) mod gguf;
mod rules;
pub(super) mod sentencepiece;
pub(super) mod written;

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::first_last;

/// What kind of piece an id stands for, as `SentencePiece` and GGUF number them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    #[default]
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

impl Kind {
    pub(super) fn of(number: i64) -> Self {
        match number {
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => Self::Normal,
        }
    }

    pub(super) fn number(self) -> i64 {
        match self {
            Self::Normal => 1,
            Self::Unknown => 2,
            Self::Control => 3,
            Self::UserDefined => 4,
            Self::Unused => 5,
            Self::Byte => 6,
        }
    }
}

/// A vocabulary whose pieces have scores.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of the formats that it is read from")]
pub(super) struct Scored {
    pub pieces: Vec<String>,
    pub scores: Vec<f32>,
    pub kinds: Vec<Kind>,
    pub unigram: bool,
    pub byte_fallback: bool,
    pub unknown: Option<u32>,
    /// Whether a space is put before a text.
    pub prefix: bool,
    /// A `SentencePiece` map of characters, in base 64.
    pub charsmap: Option<String>,
    /// Whether spaces in a row become one.
    pub fewer_spaces: bool,
    /// Whether special tokens take the space after them, as in Phi-3.
    pub strip_after: bool,
    pub first: Option<u32>,
    pub last: Option<u32>,
}

impl Scored {
    /// The `tokenizer.json` of the vocabulary.
    pub fn json(&self) -> Value {
        json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": self.added(), "normalizer": self.normalizer(), "pre_tokenizer": self.pre_tokenizer(),
            "post_processor": ends(&self.pieces, self.first, self.last), "decoder": self.decoder(), "model": self.model(),
        })
    }

    fn added(&self) -> Vec<Value> {
        let kinds = self.kinds.iter().enumerate().zip(&self.pieces);
        let added = kinds.filter_map(|((id, kind), piece)| match kind {
            Kind::Unknown => Some(added(id, piece, true, false)),
            Kind::Control => {
                // Phi-3 strips what follows its own tokens, and not what follows those that it has from Llama
                let usual = ["<unk>", "<s>", "<|endoftext|>"].contains(&piece.as_str());
                Some(added(id, piece, true, self.strip_after && !usual))
            }
            // a piece of spaces is met where spaces have become its sign
            Kind::UserDefined if piece.contains(SPACE) && self.prefix => None,
            Kind::UserDefined => {
                let mut token = added(id, piece, false, false);
                token["normalized"] = piece.contains(SPACE).into();
                Some(token)
            }
            Kind::Normal | Kind::Unused | Kind::Byte => None,
        });
        added.collect()
    }

    fn normalizer(&self) -> Value {
        let mut steps = Vec::new();
        if let Some(charsmap) = &self.charsmap {
            steps.push(json!({"type": "Precompiled", "precompiled_charsmap": charsmap}));
        }
        if self.fewer_spaces {
            steps.push(json!({"type": "Strip", "strip_left": false, "strip_right": true}));
            steps.push(json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}));
        }
        if !self.unigram {
            if self.prefix {
                steps.push(json!({"type": "Prepend", "prepend": SPACE}));
            }
            steps.push(json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE}));
        }
        json!({"type": "Sequence", "normalizers": steps})
    }

    fn pre_tokenizer(&self) -> Value {
        let scheme = if self.prefix { "always" } else { "never" };
        if self.unigram {
            json!({"type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": true})
        } else {
            Value::Null
        }
    }

    fn decoder(&self) -> Value {
        let mut steps = vec![
            json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        if self.prefix {
            steps.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        json!({"type": "Sequence", "decoders": steps})
    }

    fn model(&self) -> Value {
        let unknown = self.unknown.and_then(|id| self.pieces.get(id as usize));
        if self.unigram {
            let vocab: Vec<Value> =
                self.pieces.iter().zip(&self.scores).map(|(piece, score)| json!([piece, f64::from(*score)])).collect();
            return json!({"type": "Unigram", "unk_id": self.unknown, "vocab": vocab, "byte_fallback": self.byte_fallback});
        }
        json!({
            "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": true, "byte_fallback": self.byte_fallback, "ignore_merges": false,
            "vocab": vocab(&self.pieces), "merges": self.merges(),
        })
    }

    /// Every way to make a piece of two others, the best piece first.
    fn merges(&self) -> Vec<[&str; 2]> {
        let ids: HashMap<&str, usize> =
            self.pieces.iter().enumerate().map(|(id, piece)| (piece.as_str(), id)).collect();
        let is_text = |id: usize| matches!(self.kinds.get(id), None | Some(Kind::Normal | Kind::UserDefined));
        let mut merges: Vec<(f32, usize, usize, usize)> = Vec::new();
        for (whole, piece) in self.pieces.iter().enumerate().filter(|(id, _)| is_text(*id)) {
            // longer ones are no words, and have too many ways to be cut
            for (cut, _) in piece.char_indices().skip(1).take(MAX_PIECE) {
                let (left, right) = piece.split_at(cut);
                if let (Some(left), Some(right)) = (ids.get(left), ids.get(right)) {
                    merges.push((self.scores.get(whole).copied().unwrap_or_default(), whole, *left, *right));
                }
            }
        }
        merges.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2, a.3).cmp(&(b.1, b.2, b.3))));
        merges
            .into_iter()
            .map(|(_, _, left, right)| [self.pieces[left].as_str(), self.pieces[right].as_str()])
            .collect()
    }
}

/// The sign of a space in pieces.
const SPACE: &str = "\u{2581}";
/// Characters of a piece that are looked at.
const MAX_PIECE: usize = 256;

/// Ids by piece; of two equal ones the first counts.
fn vocab(pieces: &[String]) -> Map<String, Value> {
    let mut vocab = Map::with_capacity(pieces.len());
    for (id, piece) in pieces.iter().enumerate() {
        vocab.entry(piece.as_str()).or_insert(id.into());
    }
    vocab
}

fn added(id: usize, piece: &str, special: bool, strip_after: bool) -> Value {
    json!({"id": id, "content": piece, "single_word": false, "lstrip": false, "rstrip": strip_after, "normalized": false, "special": special})
}

/// The template of a text with a first and a last token.
fn ends(pieces: &[String], first: Option<u32>, last: Option<u32>) -> Value {
    let named = |id: Option<u32>| id.and_then(|id| Some((pieces.get(id as usize)?.as_str(), id)));
    first_last::template(named(first), named(last))
}
