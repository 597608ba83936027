//! First and last tokens of a text, where `tokenizer_config.json` says other than `tokenizer.json`.
//!
//! transformers 5 makes the template of a text anew as soon as one of `add_bos_token` and `add_eos_token` is in
//! `tokenizer_config.json`; the one that is missing counts as false. Without both, `tokenizer.json` decides alone.

use serde_json::{Map, Value, json};
use tokenizers::{PostProcessorWrapper, Tokenizer};

use crate::error::{OpenError, cut};
use crate::fields::{self, Fields};
use crate::source::Source;

pub(super) const CONFIG: &str = "tokenizer_config.json";
const SPECIAL: &str = "special_tokens_map.json";

/// The template that the config asks for, and a sentence where it is another than `tokenizer.json` has.
pub(super) fn apply(source: &Source, tokenizer: &mut Tokenizer) -> Result<Option<String>, OpenError> {
    let Some(bytes) = source.read(CONFIG)? else { return Ok(None) };
    let file = source.shown(CONFIG);
    let map = fields::parse(&file, &bytes)?;
    let fields = Fields::new(&file, &map);
    let (bos, eos) = (fields.flag("add_bos_token")?, fields.flag("add_eos_token")?);
    if bos.is_none() && eos.is_none() {
        return Ok(None);
    }
    let special = source.read(SPECIAL)?.map(|bytes| fields::parse(&source.shown(SPECIAL), &bytes)).transpose()?;
    let wanted = |given: Option<bool>, name: &str, usual: &str| {
        let token = given.unwrap_or(false).then(|| token(&map, special.as_ref(), name, usual)).flatten()?;
        tokenizer.token_to_id(&token).map(|id| (token, id))
    };
    let (first, last) = (wanted(bos, "bos_token", "<s>"), wanted(eos, "eos_token", "</s>"));
    let ends =
        |tokenizer: &Tokenizer| tokenizer.encode_fast("a", true).map(|encoding| encoding.get_ids().to_vec()).ok();
    let before = ends(tokenizer);
    let unreadable = |problem: String| OpenError::Unreadable { file: file.clone(), problem };
    let template = template(first.as_ref(), last.as_ref()).map_err(|error| unreadable(error.to_string()))?;
    tokenizer.with_post_processor(Some(template));
    let shown = |end: &Option<(String, u32)>| {
        end.as_ref().map_or_else(|| "none".into(), |(token, _)| format!("`{}`", cut(token)))
    };
    Ok((before != ends(tokenizer)).then(|| {
        format!(
            "first and last tokens of a text follow {file} ({} and {}), as in transformers 5; tokenizer.json has others",
            shown(&first),
            shown(&last)
        )
    }))
}

/// How a special token is written; Llama's own class knows its usual form.
fn token(config: &Map<String, Value>, special: Option<&Map<String, Value>>, name: &str, usual: &str) -> Option<String> {
    let written = |map: &Map<String, Value>| match map.get(name)? {
        Value::String(token) => Some(token.clone()),
        Value::Object(token) => token.get("content")?.as_str().map(str::to_owned),
        _ => None,
    };
    let class = config.get("tokenizer_class").and_then(Value::as_str).unwrap_or_default();
    let default = || class.starts_with("LlamaTokenizer").then(|| usual.to_owned());
    written(config).or_else(|| special.and_then(written)).or_else(default)
}

fn template(
    first: Option<&(String, u32)>,
    last: Option<&(String, u32)>,
) -> Result<PostProcessorWrapper, serde_json::Error> {
    let piece =
        |end: Option<&(String, u32)>| end.map(|(token, _)| json!({"SpecialToken": {"id": token, "type_id": 0}}));
    let text = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
    let special: Map<String, Value> = (first.into_iter().chain(last))
        .map(|(token, id)| (token.clone(), json!({"id": token, "ids": [id], "tokens": [token]})))
        .collect();
    let single: Vec<Value> = piece(first).into_iter().chain([text("A")]).chain(piece(last)).collect();
    serde_json::from_value(json!({
        "type": "TemplateProcessing", "single": single, "pair": [text("A"), text("B")], "special_tokens": special,
    }))
}
