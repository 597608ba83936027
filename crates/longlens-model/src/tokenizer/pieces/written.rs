//! A tokenizer as metadata of a GGUF file: the way back from [`super::gguf`]. What comes out is read again and tried on texts, so that
//! a file holds a tokenizer that gives the same ids, or none.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::{Kind, Scored, gguf, rules, sentencepiece};
use crate::error::OpenError;
use crate::gguf::{Entries, Metadata, Value};
use crate::source::Source;
use crate::tokenizer::{FILE, HfTokenizer, PIECES, chat, special};

/// Texts that both tokenizers must cut alike.
const TRIED: &[&str] = &[
    "a",
    "The quick brown fox jumps over the lazy dog.",
    " leading, trailing ",
    "Two  spaces,   three\tand tabs\t\t\n\nnew lines\r\n",
    "Numbers: 0 12 345 6789 3.14159 1,000,000",
    "fn main() { let x_1 = vec![0u8; 16]; } // code",
    "don't we'll I'VE it's",
    "Ünïcödé, 汉字かな, Привет, שלום, 🙂🚀",
    "https://example.org/a_b?c=d&e=%20#f",
];

/// Metadata of a checkpoint's tokenizer and chat template, for a model of `n_rows` tokens. The other sentence is why texts will not
/// be read, where the metadata cannot say what its tokenizer does.
pub(crate) fn entries(source: &Source, n_rows: usize) -> Result<(Entries, Option<String>), OpenError> {
    let mut entries = Entries::new();
    let mut add = |name: &str, value: Value| entries.push((format!("tokenizer.{name}"), value));
    if let Some(template) = chat::text(source)? {
        add("chat_template", Value::Text(template));
    }
    let Some(tokenizer) = HfTokenizer::open(source, usize::MAX)? else { return Ok((entries, None)) };
    let ggml = match vocabulary(source)? {
        Ok(vocabulary) => vocabulary.entries(source, &tokenizer, n_rows)?,
        Err(problem) => return Ok((entries, Some(problem))),
    };
    let problem = differs(&tokenizer, &ggml)?;
    if problem.is_none() {
        entries.extend(ggml);
    }
    Ok((entries, problem))
}

/// Pieces by id, and what is done with them.
struct Vocabulary {
    pieces: Vec<(String, Kind)>,
    /// Of tokenizers that merge by score.
    scores: Option<Vec<f32>>,
    /// Of tokenizers that merge bytes in a fixed order: the rule by which texts are cut before, and the merges.
    merges: Option<(&'static str, Vec<String>)>,
    unigram: bool,
    /// Whether a space is put before a text.
    prefix: bool,
}

/// The vocabulary of a checkpoint, or why metadata cannot say it.
fn vocabulary(source: &Source) -> Result<Result<Vocabulary, String>, OpenError> {
    if let Some(bytes) = source.read(FILE)? {
        let json: Json = serde_json::from_slice(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes))
            .map_err(|error| OpenError::Unreadable { file: source.shown(FILE), problem: error.to_string() })?;
        return Ok(of_json(&json));
    }
    let bytes = source.require(PIECES)?;
    let read = sentencepiece::read(&bytes);
    Ok(read.map(|Scored { pieces, scores, kinds, unigram, prefix, .. }| Vocabulary {
        pieces: pieces.into_iter().zip(kinds).collect(),
        scores: Some(scores),
        merges: None,
        unigram,
        prefix,
    }))
}

fn of_json(json: &Json) -> Result<Vocabulary, String> {
    let model = &json["model"];
    let has_bytes = model["byte_fallback"] == true;
    match model["type"].as_str().unwrap_or("BPE") {
        "BPE" if !has_bytes => {
            let rule = rules::named(json).ok_or("its tokenizer cuts words by a rule that GGUF has no name for")?;
            let vocabulary = listed(json, |_, _| Kind::Normal)?;
            Ok(Vocabulary { merges: Some((rule, merges(model))), ..vocabulary })
        }
        "BPE" => {
            let mut vocabulary = listed(json, spelled)?;
            let ranks: HashMap<String, usize> = merges(model)
                .iter()
                .enumerate()
                .rev()
                .map(|(rank, merge)| (merge.replacen(' ', "", 1), rank))
                .collect();
            let score = |(piece, _): &(String, Kind)| ranks.get(piece).map_or(0.0, |rank| -(*rank as f32));
            vocabulary.scores = Some(vocabulary.pieces.iter().map(score).collect());
            Ok(vocabulary)
        }
        "Unigram" => {
            let vocabulary = listed(json, spelled)?;
            let score = |entry: &Json| entry[1].as_f64().unwrap_or_default() as f32;
            let mut scores: Vec<f32> = model["vocab"].as_array().into_iter().flatten().map(score).collect();
            scores.resize(vocabulary.pieces.len(), 0.0);
            Ok(Vocabulary { scores: Some(scores), unigram: true, ..vocabulary })
        }
        other => Err(format!("its tokenizer is of the kind `{other}`, which GGUF does not have")),
    }
}

/// Kinds that the spelling of a piece tells.
fn spelled(piece: &str, json: &Json) -> Kind {
    let model = &json["model"];
    let is_byte = piece.len() == 6 && piece.starts_with("<0x") && piece.ends_with('>');
    match () {
        () if model["unk_token"] == piece => Kind::Unknown,
        () if is_byte => Kind::Byte,
        () => Kind::Normal,
    }
}

/// All pieces by id; ids that no piece has get a name of their own.
fn listed(json: &Json, kind: impl Fn(&str, &Json) -> Kind) -> Result<Vocabulary, String> {
    let vocab = &json["model"]["vocab"];
    let id = |value: &Json| value.as_u64().and_then(|id| usize::try_from(id).ok()).filter(|id| *id < MAX_PIECES);
    let by_name = vocab.as_object().into_iter().flatten().map(|(piece, at)| (piece.as_str(), id(at)));
    let in_order = vocab
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(at, entry)| (entry[0].as_str().unwrap_or_default(), Some(at)));
    let mut pieces: Vec<Option<(String, Kind)>> = Vec::new();
    let mut put = |at: usize, piece: &str, kind: Kind| {
        pieces.resize(pieces.len().max(at + 1), None);
        pieces[at] = Some((piece.to_owned(), kind));
    };
    for (piece, at) in by_name.chain(in_order) {
        put(at.ok_or("its tokenizer has an id that no vocabulary reaches")?, piece, kind(piece, json));
    }
    for token in json["added_tokens"].as_array().into_iter().flatten() {
        let (Some(at), Some(piece)) = (id(&token["id"]), token["content"].as_str()) else {
            return Err("its tokenizer has an added token without id or text".into());
        };
        let spelled = kind(piece, json);
        let added = if token["special"] == true { Kind::Control } else { Kind::UserDefined };
        put(at, piece, if spelled == Kind::Unknown { spelled } else { added });
    }
    let named = |(at, piece): (usize, Option<_>)| piece.unwrap_or_else(|| unused(at));
    let pieces = pieces.into_iter().enumerate().map(named).collect();
    let prefix = json["normalizer"].to_string().contains("Prepend")
        || ["always", "first"].iter().any(|scheme| json["pre_tokenizer"]["prepend_scheme"] == **scheme);
    Ok(Vocabulary { pieces, scores: None, merges: None, unigram: false, prefix })
}

/// No vocabulary is larger.
const MAX_PIECES: usize = 1 << 24;

/// What stands for an id without a piece, as llama.cpp's converter writes it.
fn unused(id: usize) -> (String, Kind) {
    (format!("[PAD{id}]"), Kind::Unused)
}

/// Merges as `left right`; files have them so or as pairs.
fn merges(model: &Json) -> Vec<String> {
    let text = |merge: &Json| match merge.as_array() {
        Some(pair) => pair.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(" "),
        None => merge.as_str().unwrap_or_default().to_owned(),
    };
    model["merges"].as_array().into_iter().flatten().map(text).collect()
}

impl Vocabulary {
    /// The metadata for a model with `n_rows` embeddings.
    fn entries(mut self, source: &Source, tokenizer: &HfTokenizer, n_rows: usize) -> Result<Entries, OpenError> {
        let n_named = self.pieces.len();
        self.pieces.extend((n_named..n_rows).map(unused));
        let mut entries = Entries::new();
        let mut add = |name: &str, value: Value| entries.push((format!("tokenizer.ggml.{name}"), value));
        let model = match (&self.merges, self.unigram) {
            (Some(_), _) => "gpt2",
            (None, false) => "llama",
            (None, true) => "t5",
        };
        add("model", Value::Text(model.into()));
        add("pre", Value::Text(self.merges.as_ref().map_or("default", |(rule, _)| rule).into()));
        add("tokens", Value::Texts(self.pieces.iter().map(|(piece, _)| piece.as_str()).collect()));
        add("token_type", Value::Wholes(self.pieces.iter().map(|(_, kind)| kind.number()).collect()));
        if let Some(mut scores) = self.scores {
            scores.resize(self.pieces.len(), 0.0);
            add("scores", Value::Reals(scores));
            add("add_space_prefix", Value::Flag(self.prefix));
        }
        if let Some((_, merges)) = &self.merges {
            add("merges", Value::Texts(merges.iter().map(String::as_str).collect()));
        }
        let names = special::names(source)?;
        let id = |name: &str| names.get(name).and_then(Json::as_str).and_then(|token| tokenizer.id(token));
        for (name, key) in [("unk_token", "unknown"), ("pad_token", "padding")] {
            if let Some(id) = id(name) {
                add(&format!("{key}_token_id"), Value::Whole(id.into()));
            }
        }
        let [first, last] = tokenizer.ends();
        for (name, key, end) in [("bos_token", "bos", first), ("eos_token", "eos", last)] {
            add(&format!("add_{key}_token"), Value::Flag(end.is_some()));
            if let Some(id) = end.or(id(name)) {
                add(&format!("{key}_token_id"), Value::Whole(id.into()));
            }
        }
        Ok(entries)
    }
}

/// Whether a tokenizer that is read from metadata cuts some text otherwise.
fn differs(tokenizer: &HfTokenizer, entries: &Entries) -> Result<Option<String>, OpenError> {
    let metadata = Metadata::new("metadata".into(), entries.iter().cloned().collect());
    let Some(Ok(json)) = gguf::json(&metadata)? else {
        return Ok(Some("its tokenizer is of a kind that GGUF does not have".into()));
    };
    let other = HfTokenizer::parse("metadata", json.to_string().as_bytes())?;
    let ids = |tokenizer: &HfTokenizer, text: &str| [false, true].map(|special| tokenizer.ids(text, special));
    let names = tokenizer.added().join(" ");
    let differing =
        TRIED.iter().copied().chain([names.as_str()]).find(|text| ids(tokenizer, text) != ids(&other, text));
    Ok(differing.map(|text| {
        format!("its tokenizer cuts {:?} otherwise than metadata of a GGUF file can say", crate::error::cut(text))
    }))
}
