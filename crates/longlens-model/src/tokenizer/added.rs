//! Added tokens that `tokenizer_config.json` and `tokenizer.json` call by different texts.

use serde_json::Value;
use tokenizers::Tokenizer;

use super::special::CONFIG;
use crate::error::{OpenError, cut};
use crate::fields;
use crate::source::Source;

/// A sentence on the first such token. `tokenizer.json` decides, from which ids are made.
pub(super) fn differing(source: &Source, tokenizer: &Tokenizer) -> Result<Option<String>, OpenError> {
    let Some(bytes) = source.read(CONFIG)? else { return Ok(None) };
    let file = source.shown(CONFIG);
    let map = fields::parse(&file, &bytes)?;
    let Some(Value::Object(added)) = map.get("added_tokens_decoder") else { return Ok(None) };
    let mut differing: Vec<(u32, String, String)> = Vec::new();
    for (id, token) in added {
        let theirs = token.get("content").and_then(Value::as_str);
        let ours = id.parse().ok().and_then(|id| Some((id, tokenizer.id_to_token(id)?)));
        if let (Some(theirs), Some((id, ours))) = (theirs, ours)
            && theirs != ours
        {
            differing.push((id, theirs.to_owned(), ours));
        }
    }
    let first = differing.into_iter().min_by_key(|(id, ..)| *id);
    Ok(first.map(|(id, theirs, ours)| {
        format!("{file} calls token {id} `{}`, tokenizer.json `{}`: the second counts", cut(&theirs), cut(&ours))
    }))
}
