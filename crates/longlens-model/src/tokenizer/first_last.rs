//! First and last tokens of a text, where `tokenizer_config.json` says other than `tokenizer.json`.
//!
//! transformers 5 makes the template of a text anew as soon as one of `add_bos_token` and `add_eos_token` is in
//! `tokenizer_config.json`; the one that is missing counts as false. Without both, `tokenizer.json` decides alone.

use serde_json::{Map, Value, json};
use tokenizers::{PostProcessorWrapper, Tokenizer};

use crate::error::{OpenError, cut};
use crate::fields::{self, Fields};
use crate::source::Source;

use super::special::{self, CONFIG};

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
    let names = special::names(source)?;
    let wanted = |given: Option<bool>, name: &str| {
        let token = given.unwrap_or(false).then(|| names.get(name)?.as_str()).flatten()?;
        tokenizer.token_to_id(token).map(|id| (token.to_owned(), id))
    };
    let (first, last) = (wanted(bos, "bos_token"), wanted(eos, "eos_token"));
    let ends =
        |tokenizer: &Tokenizer| tokenizer.encode_fast("a", true).map(|encoding| encoding.get_ids().to_vec()).ok();
    let before = ends(tokenizer);
    let unreadable = |problem: String| OpenError::Unreadable { file: file.clone(), problem };
    let [start, end] = [&first, &last].map(|end| end.as_ref().map(|(token, id)| (token.as_str(), *id)));
    let template = template(start, end);
    let template: PostProcessorWrapper =
        serde_json::from_value(template).map_err(|error| unreadable(error.to_string()))?;
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

/// The template of a text between a first and a last token, as `tokenizer.json` has it.
pub(super) fn template(first: Option<(&str, u32)>, last: Option<(&str, u32)>) -> Value {
    let piece = |end: Option<(&str, u32)>| end.map(|(token, _)| json!({"SpecialToken": {"id": token, "type_id": 0}}));
    let text = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
    let special: Map<String, Value> = (first.into_iter().chain(last))
        .map(|(token, id)| (token.to_owned(), json!({"id": token, "ids": [id], "tokens": [token]})))
        .collect();
    let single: Vec<Value> = piece(first).into_iter().chain([text("A")]).chain(piece(last)).collect();
    json!({"type": "TemplateProcessing", "single": single, "pair": [text("A"), text("B")], "special_tokens": special})
}
