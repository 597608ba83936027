//! The config of a GGUF file as Hugging Face's `config.json` would have it: from there on it is read like any other.

use std::borrow::Cow;

use serde_json::{Map, Value as Json, json};

use super::families::{self, Architecture};
use super::{Gguf, Metadata, Value, rope};
use crate::error::OpenError;

/// The text of a `config.json` that says what the metadata and tensors of a file do; errors call the file `shown`.
pub(crate) fn config(shown: &str, bytes: &[u8]) -> Result<Cow<'static, [u8]>, OpenError> {
    let gguf = Gguf::parse(shown, bytes)?;
    let map = Json::Object(of(&gguf, bytes)?);
    Ok(Cow::Owned(serde_json::to_vec_pretty(&map).expect("a map of plain values")))
}

/// Number and number of all parts that a file is one of, by its name: `stem-00001-of-00003.gguf`.
pub(crate) fn part_of(file: &str) -> Option<(usize, usize)> {
    let (rest, n_parts) = file.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (_, number) = rest.rsplit_once('-')?;
    let (number, n_parts): (usize, usize) = (number.parse().ok()?, n_parts.parse().ok()?);
    ((1..=n_parts).contains(&number) && n_parts <= MAX_PARTS).then_some((number, n_parts))
}

/// How many parts the model is in, as its first part tells.
pub(crate) fn n_parts(metadata: &Metadata) -> Result<usize, OpenError> {
    const KEY: &str = "split.count";
    match metadata.whole(KEY)?.unwrap_or(1) {
        n if n <= MAX_PARTS as u64 => Ok(n.max(1) as usize),
        _ => Err(metadata.error(KEY, &format!("at most {MAX_PARTS}"))),
    }
}

/// No model has more.
const MAX_PARTS: usize = 9999;

/// The metadata of one architecture, and where their translation is written.
pub(super) struct Draft<'a> {
    pub gguf: &'a Gguf,
    pub metadata: &'a Metadata,
    /// What all keys of the architecture begin with.
    pub arch: &'a str,
    pub map: Map<String, Json>,
}

impl Draft<'_> {
    /// The key of a field of the architecture.
    pub fn key(&self, field: &str) -> String {
        format!("{}.{field}", self.arch)
    }

    /// A whole number of the architecture. A list with one number for every layer is that number where all are equal.
    pub fn whole(&self, field: &str) -> Result<Option<u64>, OpenError> {
        let key = self.key(field);
        if let Some(Value::Wholes(list)) = self.metadata.get(&key) {
            return match list.split_first() {
                Some((first, rest)) if rest.iter().all(|other| other == first) && *first >= 0 => {
                    Ok(Some(*first as u64))
                }
                _ => Err(self.metadata.unsupported(&key, "layers of equal size are computed")),
            };
        }
        self.metadata.whole(&key)
    }

    /// A whole number that must be there.
    pub fn needed(&self, field: &str) -> Result<u64, OpenError> {
        self.whole(field)?.ok_or_else(|| self.metadata.error(&self.key(field), "a whole number"))
    }

    /// A number of the architecture.
    pub fn real(&self, field: &str) -> Result<Option<f64>, OpenError> {
        self.metadata.real(&self.key(field))
    }

    /// Sets a field of the config.
    pub fn set(&mut self, name: &str, value: impl Into<Json>) {
        self.map.insert(name.into(), value.into());
    }

    /// Sets a field of the config to a whole number of the metadata, where it is there.
    pub fn copy_whole(&mut self, name: &str, field: &str) -> Result<(), OpenError> {
        if let Some(value) = self.whole(field)? {
            self.set(name, value);
        }
        Ok(())
    }

    /// Sets a field of the config to a number of the metadata, where it is there.
    pub fn copy_real(&mut self, name: &str, field: &str) -> Result<(), OpenError> {
        if let Some(value) = self.real(field)? {
            self.set(name, value);
        }
        Ok(())
    }

    /// Whether the file holds a tensor.
    pub fn has(&self, tensor: &str) -> bool {
        self.gguf.tensor(tensor).is_some()
    }

    /// Dimensions of a head.
    pub fn head_dim(&self) -> Result<u64, OpenError> {
        let (width, n_heads) = (self.needed("embedding_length")?, self.needed("attention.head_count")?);
        Ok(self.whole("attention.key_length")?.unwrap_or(width / n_heads.max(1)))
    }
}

fn of(gguf: &Gguf, bytes: &[u8]) -> Result<Map<String, Json>, OpenError> {
    let metadata = gguf.metadata();
    let architecture = Architecture::of(gguf)?;
    let mut draft = Draft { gguf, metadata, arch: architecture.arch, map: Map::new() };
    draft.set("model_type", architecture.model_type);
    shapes(&mut draft)?;
    tokens(&mut draft)?;
    let tied = !draft.has("output.weight");
    draft.set("tie_word_embeddings", tied);
    draft.set("max_position_embeddings", draft.needed("context_length")?);
    rope::fields(&mut draft, bytes)?;
    (architecture.fields)(&mut draft)?;
    Ok(draft.map)
}

fn shapes(draft: &mut Draft<'_>) -> Result<(), OpenError> {
    for (name, field) in [
        ("hidden_size", "embedding_length"),
        ("intermediate_size", "feed_forward_length"),
        ("num_hidden_layers", "block_count"),
        ("num_attention_heads", "attention.head_count"),
    ] {
        draft.set(name, draft.needed(field)?);
    }
    let n_heads = draft.needed("attention.head_count")?;
    draft.set("num_key_value_heads", draft.whole("attention.head_count_kv")?.unwrap_or(n_heads));
    let head_dim = draft.head_dim()?;
    if let Some(other) = draft.whole("attention.value_length")?.filter(|value| *value != head_dim) {
        let help = format!("keys have {head_dim} dimensions, and values are to have as many (they have {other})");
        return Err(draft.metadata.unsupported(&draft.key("attention.value_length"), &help));
    }
    if draft.whole("attention.key_length")?.is_some() {
        draft.set("head_dim", head_dim);
    }
    // the embedding says how many tokens there are; the list of tokens may be shorter
    let rows = draft.gguf.tensor(families::EMBEDDING).and_then(|tensor| tensor.shape.first().copied());
    let listed = draft.metadata.texts("tokenizer.ggml.tokens")?.map(super::Texts::len);
    match rows.or(listed) {
        Some(n) => draft.set("vocab_size", n),
        None => draft.copy_whole("vocab_size", "vocab_size")?,
    }
    Ok(())
}

fn tokens(draft: &mut Draft<'_>) -> Result<(), OpenError> {
    let token = |name: &str| draft.metadata.whole(&format!("tokenizer.ggml.{name}_token_id"));
    let (bos, pad) = (token("bos")?, token("padding")?);
    // beside the end of a text: the end of a turn, and of a message, where generation is to stop as well
    let mut ends = Vec::new();
    for name in ["eos", "eot", "eom"] {
        ends.extend(token(name)?.filter(|id| !ends.contains(id)));
    }
    if let Some(bos) = bos {
        draft.set("bos_token_id", bos);
    }
    match ends.as_slice() {
        [] => {}
        [one] => draft.set("eos_token_id", *one),
        several => draft.set("eos_token_id", json!(several)),
    }
    if let Some(pad) = pad {
        draft.set("pad_token_id", pad);
    }
    Ok(())
}
