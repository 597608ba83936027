//! How a checkpoint's special tokens are written.

use serde_json::{Map, Value};

use crate::error::OpenError;
use crate::fields;
use crate::source::Source;

pub(super) const CONFIG: &str = "tokenizer_config.json";
const SPECIAL: &str = "special_tokens_map.json";

/// Fields such as `bos_token` with their texts, of `tokenizer_config.json` and, where it does not name them, of
/// `special_tokens_map.json`. Llama's own class knows its usual ones.
pub(super) fn names(source: &Source) -> Result<Map<String, Value>, OpenError> {
    let read = |file: &str| -> Result<Map<String, Value>, OpenError> {
        let bytes = source.read(file)?;
        Ok(bytes.map(|bytes| fields::parse(&source.shown(file), &bytes)).transpose()?.unwrap_or_default())
    };
    let (config, special) = (read(CONFIG)?, read(SPECIAL)?);
    let class = config.get("tokenizer_class").and_then(Value::as_str).unwrap_or_default();
    let mut names = Map::new();
    if class.starts_with("LlamaTokenizer") {
        let usual = [("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>")];
        names.extend(usual.map(|(name, token)| (name.into(), token.into())));
    }
    let extra = config.get("extra_special_tokens").and_then(Value::as_object);
    for map in [Some(&special), extra, Some(&config)].into_iter().flatten() {
        let tokens = map.iter().filter(|(name, _)| name.ends_with("_token"));
        for (name, token) in tokens {
            match token {
                // none is named on purpose
                Value::Null => names.remove(name),
                Value::Object(fields) => {
                    fields.get("content").and_then(|text| names.insert(name.clone(), text.clone()))
                }
                _ => names.insert(name.clone(), token.clone()),
            };
        }
    }
    names.retain(|_, token| token.is_string());
    Ok(names)
}
