//! Token ids as JSON: a list, or an object as tokenizers write it.

use longlens_core::printable::printable_line;
use serde_json::Value;

/// Names under which programs keep token ids.
const NAMES: [&str; 4] = ["tokens", "input_ids", "ids", "token_ids"];

/// What to do about a file that holds none.
pub const HELP: &str = "give a JSON array of ids such as [1, 2, 3], or an object with `tokens` or `input_ids`";

/// The ids of one sequence, from `[1, 2]`, `[[1, 2]]`, or an object with one of these under `tokens`, `input_ids`, `ids` or
/// `token_ids`; what else such an object holds is passed over. Errors say what stands where.
pub fn from_json(text: &str) -> Result<Vec<u32>, String> {
    let text = text.trim_start_matches('\u{feff}');
    let json: Value = serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
    let (name, list) = list(&json)?;
    row(name, list)
}

/// The ids of every sequence: rows of a list or of an object's list, and JSON lines with one of these each.
pub fn rows_from_json(text: &str) -> Result<Vec<Vec<u32>>, String> {
    let text = text.trim_start_matches('\u{feff}');
    let mut rows = Vec::new();
    for (at, json) in serde_json::Deserializer::from_str(text).into_iter::<Value>().enumerate() {
        let json = json.map_err(|error| format!("it is not JSON: {error}"))?;
        let read = || -> Result<Vec<Vec<u32>>, String> {
            match list(&json)? {
                (name, Value::Array(held)) if !held.is_empty() && held.iter().all(Value::is_array) => {
                    held.iter().map(|held| row(name, held)).collect()
                }
                (name, one) => Ok(vec![row(name, one)?]),
            }
        };
        rows.extend(read().map_err(|problem| if at == 0 { problem } else { format!("value {}: {problem}", at + 1) })?);
    }
    Ok(rows)
}

/// The list of ids in a value, and the name that it has there.
fn list(json: &Value) -> Result<(&'static str, &Value), String> {
    let Value::Object(object) = json else { return Ok(("", json)) };
    let held: Vec<_> = NAMES.iter().filter_map(|name| Some((*name, object.get(*name)?))).collect();
    match held[..] {
        [(name, ids)] => Ok((name, ids)),
        [] => Err(format!("the object has none of {}{}", quoted(NAMES), keys(object))),
        [..] => Err(format!("the object has several lists: {}", quoted(held.iter().map(|(name, _)| *name)))),
    }
}

fn row(name: &str, json: &Value) -> Result<Vec<u32>, String> {
    let what = if name.is_empty() { String::new() } else { format!("`{name}`: ") };
    let Value::Array(list) = json else { return Err(format!("{what}{} is no list of token ids", kind(json))) };
    if list.iter().all(Value::is_array) && !list.is_empty() {
        return match &list[..] {
            [inner] => row(name, inner),
            rows => Err(format!("{what}there are {} rows, and one sequence is run at a time", rows.len())),
        };
    }
    let id = |(at, value): (usize, &Value)| {
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| format!("{what}{} at position {at} is no token id", kind(value)))
    };
    list.iter().enumerate().map(id).collect()
}

/// A value in a few words.
fn kind(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
        Value::String(text) => format!("the text {:?}", printable_line(&shortened(text))),
        plain => plain.to_string(),
    }
}

fn shortened(text: &str) -> String {
    let start: String = text.chars().take(24).collect();
    if start.len() < text.len() { format!("{start}…") } else { start }
}

fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// What an object holds, for errors.
pub(crate) fn keys(object: &serde_json::Map<String, Value>) -> String {
    const SHOWN: usize = 8;
    if object.is_empty() {
        return "; it is empty".into();
    }
    let names: Vec<_> = object.keys().take(SHOWN).map(|name| shortened(name)).collect();
    let more = if object.len() > SHOWN { ", …" } else { "" };
    format!("; it has {}{more}", printable_line(&quoted(names.iter().map(String::as_str))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_are_read_as_tokenizers_write_them() {
        for text in [
            "[1, 2, 300]",
            "[[1, 2, 300]]",
            r#"{"tokens": [1, 2, 300], "text": "x"}"#,
            r#"{"input_ids": [[1, 2, 300]], "attention_mask": [[1, 1, 1]]}"#,
        ] {
            assert_eq!(from_json(text).unwrap(), [1, 2, 300], "{text}");
        }
        assert!(from_json("[]").unwrap().is_empty());
    }

    #[test]
    fn what_is_none_is_named() {
        let say = |text: &str| from_json(text).unwrap_err();
        insta::assert_snapshot!(say("[[1], [2, 3]]"), @"there are 2 rows, and one sequence is run at a time");
        insta::assert_snapshot!(say(r#"{"input_ids": [1, -2]}"#), @"`input_ids`: -2 at position 1 is no token id");
        insta::assert_snapshot!(say("[1, 2.5]"), @"2.5 at position 1 is no token id");
        insta::assert_snapshot!(say("[1, [2]]"), @"a list at position 1 is no token id");
        insta::assert_snapshot!(say(r#"["a\u001bb"]"#), @r#"the text "a␛b" at position 0 is no token id"#);
        insta::assert_snapshot!(say(r#"{"labels": [1]}"#), @"the object has none of `tokens`, `input_ids`, `ids`, `token_ids`; it has `labels`");
        insta::assert_snapshot!(say(r#"{"tokens": [1], "input_ids": [2]}"#), @"the object has several lists: `tokens`, `input_ids`");
        insta::assert_snapshot!(say("7"), @"7 is no list of token ids");
        assert!(say("[1, 2").starts_with("it is not JSON"));
    }

    proptest! {
        #[test]
        fn any_text_is_ids_or_refused(text in r#"(\[|\]|\{|\}|"tokens":|,|-?[0-9]{1,12}|[a-z"]){0,24}"#) {
            let _ = from_json(&text);
        }
    }
}
