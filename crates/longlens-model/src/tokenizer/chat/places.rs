//! Where a checkpoint keeps its chat template.

use serde_json::Value;

use super::ChatTemplate;
use crate::error::OpenError;
use crate::fields;
use crate::source::Source;
use crate::tokenizer::special;

const FILE: &str = "chat_template.jinja";
const JSON: &str = "chat_template.json";

/// The template of a folder.
pub(crate) fn find(source: &Source) -> Result<Option<ChatTemplate>, OpenError> {
    let special = special::names(source)?;
    Ok(place(source)?.map(|(shown, text)| ChatTemplate::new(&shown, &text, special)))
}

/// Its text.
pub(crate) fn text(source: &Source) -> Result<Option<String>, OpenError> {
    Ok(place(source)?.map(|(_, text)| text))
}

/// What errors call the file that holds it, and its text: `chat_template.jinja` comes first, as in transformers, then
/// `chat_template.json`, then `chat_template` in `tokenizer_config.json`.
fn place(source: &Source) -> Result<Option<(String, String)>, OpenError> {
    if let Some(bytes) = source.read(FILE)? {
        let shown = source.shown(FILE);
        return match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(Some((shown, text.to_owned()))),
            Err(error) => {
                let problem = format!("byte {} is not UTF-8", error.valid_up_to());
                Err(OpenError::Unreadable { file: shown, problem })
            }
        };
    }
    for file in [JSON, special::CONFIG] {
        let Some(bytes) = source.read(file)? else { continue };
        let shown = source.shown(file);
        let map = fields::parse(&shown, &bytes)?;
        if let Some(text) = map.get("chat_template").and_then(of) {
            return Ok(Some((shown, text.to_owned())));
        }
    }
    Ok(None)
}

/// A text, or the one called `default` of several with names, else the first.
fn of(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        Value::Array(list) => {
            let named = |name: &str| list.iter().find(|entry| entry.get("name").and_then(Value::as_str) == Some(name));
            named("default").or(list.first())?.get("template")?.as_str()
        }
        Value::Object(named) => named.get("default").or_else(|| named.values().next())?.as_str(),
        _ => None,
    }
}
