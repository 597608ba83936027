//! The tokenizer in the metadata of a GGUF file (`tokenizer.ggml.*`).

use serde_json::{Map, Value, json};

use super::{Kind, Scored, added, ends, rules, vocab};
use crate::error::OpenError;
use crate::gguf::Metadata;

/// The `tokenizer.json` that the metadata stand for; a sentence where its kind or its rule is not known, so that the model still
/// takes token ids; nothing where the file has no tokenizer.
pub(crate) fn json(metadata: &Metadata) -> Result<Option<Result<Value, String>>, OpenError> {
    let Some(pieces) = metadata.texts(TOKENS)? else { return Ok(None) };
    let model = metadata.text(MODEL)?.unwrap_or("gpt2");
    let pieces: Vec<String> = pieces.iter().map(str::to_owned).collect();
    let mut kinds: Vec<Kind> =
        metadata.wholes(TYPES)?.unwrap_or_default().iter().map(|number| Kind::of(*number)).collect();
    kinds.resize(pieces.len(), Kind::Normal);
    let pre = metadata.text(PRE)?.unwrap_or("default");
    let id = |name: &str| token(metadata, name, pieces.len());
    let flag = |name: &str| metadata.flag(&format!("tokenizer.ggml.{name}"));
    let (bos, eos) = (id("bos_token_id")?, id("eos_token_id")?);
    let ends_with_eos = flag("add_eos_token")?.unwrap_or(model == "t5");
    match model {
        "llama" | "t5" => {
            let scores = metadata.reals(SCORES)?.unwrap_or_default().to_vec();
            let has_bytes = kinds.contains(&Kind::Byte);
            Ok(Some(Ok(Scored {
                scores,
                unigram: model == "t5",
                byte_fallback: has_bytes,
                unknown: id("unknown_token_id")?
                    .or_else(|| kinds.iter().position(|kind| *kind == Kind::Unknown).map(|id| id as u32)),
                prefix: flag("add_space_prefix")?.unwrap_or(true),
                charsmap: None,
                fewer_spaces: flag("remove_extra_whitespaces")?.unwrap_or(model == "t5"),
                strip_after: metadata.text("general.architecture")? == Some("phi3"),
                first: bos.filter(|_| flag("add_bos_token").ok().flatten().unwrap_or(model == "llama")),
                last: eos.filter(|_| ends_with_eos),
                pieces,
                kinds,
            }
            .json())))
        }
        "gpt2" => {
            let Some(rule) = rules::rule(pre) else {
                return Ok(Some(Err(format!(
                    "its tokenizer cuts words by the rule `{}`, which is not known ({} are): texts cannot be read, token ids can",
                    crate::error::cut(pre),
                    rules::KNOWN
                ))));
            };
            let first = bos.filter(|_| flag("add_bos_token").ok().flatten().unwrap_or(rule.first));
            let merges = metadata.texts(MERGES)?.ok_or_else(|| metadata.error(MERGES, "a list of texts"))?;
            // the space between two pieces is never their first byte
            let cut = |merge: &str| merge.char_indices().skip(1).find(|(_, c)| *c == ' ').map(|(at, _)| at);
            let merges: Option<Vec<[&str; 2]>> =
                merges.iter().map(|merge| cut(merge).map(|at| [&merge[..at], &merge[at + 1..]])).collect();
            let merges = merges.ok_or_else(|| metadata.error(MERGES, "a list of pairs with a space between"))?;
            let is_added = |kind: Kind| matches!(kind, Kind::Control | Kind::UserDefined | Kind::Unknown);
            let added: Vec<Value> = (pieces.iter().zip(&kinds).enumerate())
                .filter(|(_, (_, kind))| is_added(**kind))
                .map(|(id, (piece, kind))| added(id, piece, *kind != Kind::UserDefined, false))
                .collect();
            let normalizer = rule.composes.then(|| json!({"type": "NFC"}));
            Ok(Some(Ok(json!({
                "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
                "normalizer": normalizer, "pre_tokenizer": rule.pre_tokenizer,
                "post_processor": ends(&pieces, first, eos.filter(|_| ends_with_eos)),
                "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
                "model": {
                    "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
                    "fuse_unk": false, "byte_fallback": false, "ignore_merges": rule.ignore_merges,
                    "vocab": vocab(&pieces), "merges": merges,
                },
            }))))
        }
        other => Ok(Some(Err(format!(
            "its tokenizer is of the kind `{}`, which is not read (llama, gpt2 and t5 are): texts cannot be read, token ids can",
            crate::error::cut(other)
        )))),
    }
}

/// The chat template in the metadata.
pub(crate) fn template(metadata: &Metadata) -> Result<Option<&str>, OpenError> {
    metadata.text("tokenizer.chat_template")
}

/// How special tokens are written, for the template.
pub(crate) fn special(metadata: &Metadata) -> Result<Map<String, Value>, OpenError> {
    let mut names = Map::new();
    let Some(pieces) = metadata.texts(TOKENS)? else { return Ok(names) };
    for (name, key) in [("bos_token", "bos"), ("eos_token", "eos"), ("unk_token", "unknown"), ("pad_token", "padding")]
    {
        if let Some(id) = token(metadata, &format!("{key}_token_id"), pieces.len())? {
            names.insert(name.into(), pieces.get(id as usize).unwrap_or_default().into());
        }
    }
    Ok(names)
}

/// A token id of the metadata, inside the vocabulary.
fn token(metadata: &Metadata, name: &str, n_pieces: usize) -> Result<Option<u32>, OpenError> {
    let key = format!("tokenizer.ggml.{name}");
    match metadata.whole(&key) {
        Ok(Some(id)) if id < n_pieces as u64 => Ok(Some(id as u32)),
        Ok(None) => Ok(None),
        // some writers put -1 or its bits where there is none
        Ok(Some(id)) if id == u64::from(u32::MAX) => Ok(None),
        Ok(Some(_)) => Err(metadata.error(&key, &format!("a token id below {n_pieces}"))),
        Err(error) => Err(error),
    }
}

const TOKENS: &str = "tokenizer.ggml.tokens";
const SCORES: &str = "tokenizer.ggml.scores";
const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";
const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
