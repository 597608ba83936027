//! Lines of files with pass key prompts: our own, and those of the papers' repositories and long-context benchmarks.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::depth::{depth as depth_in, depth_of};
use super::fixtures::Fixture;
use super::templates::needle;
use crate::error::{EvalError, in_line};
use crate::token_ids::keys;

/// What the script of Self-Extend puts behind the `input` of its files, the blank at the end included.
pub(super) const QUESTION: &str = "What is the pass key? The pass key is ";
/// The keys that make up a prompt, in the order in which their texts follow each other.
const PROMPTS: [&str; 6] = ["prompt", "instruction", "context", "input", "question", "query"];
/// The keys that may hold what to find.
const ANSWERS: [&str; 5] = ["answer", "target", "output", "answers", "outputs"];
/// Bytes of a token at most, over a whole prompt.
const BYTES_PER_TOKEN: usize = 64;
/// Lengths beyond this are no prompt that anybody runs.
const MAX_LENGTH: u64 = 1 << 30;

/// Reads the prompts in a text, one JSON object a line.
pub fn fixtures(path: &Path, text: &str) -> Result<Vec<Fixture>, EvalError> {
    if text.trim_start().starts_with('[') && serde_json::from_str::<Vec<Value>>(text).is_ok() {
        return Err(EvalError::File {
            path: path.to_owned(),
            problem: "it is one JSON list".into(),
            help: format!("write an object a line: `jq -c '.[]' {} > NEW.jsonl`", path.display()),
        });
    }
    if is_spread(text) {
        return Err(EvalError::File {
            path: path.to_owned(),
            problem: "its objects go over several lines".into(),
            help: format!("write an object a line: `jq -c . {} > NEW.jsonl`", path.display()),
        });
    }
    let mut read = Vec::new();
    let mut ids = HashMap::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let refuse =
            |reason: String| EvalError::Line { path: path.to_owned(), line: at + 1, reason, help: HELP.into() };
        let object: Map<String, Value> =
            serde_json::from_str(line).map_err(|error| refuse(format!("it is no JSON object: {}", in_line(&error))))?;
        let fixture = fixture(&object, at + 1).map_err(refuse)?;
        if let Some(earlier) = ids.insert(fixture.id.clone(), at + 1) {
            return Err(refuse(format!("its id is that of line {earlier}")));
        }
        read.push(fixture);
    }
    if read.is_empty() {
        return Err(EvalError::File {
            path: path.to_owned(),
            problem: "it holds no prompts".into(),
            help: HELP.into(),
        });
    }
    Ok(read)
}

/// Whether the objects of a text are written over several lines each, as `json.dump` indents them.
fn is_spread(text: &str) -> bool {
    let is_whole = |line: &str| serde_json::from_str::<Value>(line).is_ok();
    let first = text.lines().find(|line| !line.trim().is_empty());
    let mut objects = serde_json::Deserializer::from_str(text).into_iter::<Map<String, Value>>();
    first.is_some_and(|line| line.trim_start().starts_with('{') && !is_whole(line)) && objects.all(|o| o.is_ok())
}

/// What lines may say.
const HELP: &str = "each line is a JSON object with `prompt` and `answer`; or with `input` and `target` as in the files of \
                    Self-Extend, `input` and `output`, `instruction`, `input` and `output`, or `context`, `question` and \
                    `answer`. `id`, `length` and `depth` may follow; lengths are counted and keys looked for where they are \
                    missing";

/// A stored prompt from the JSON object of a line; an error says which field is missing or wrong.
fn fixture(object: &Map<String, Value>, line: usize) -> Result<Fixture, String> {
    let own = object.contains_key("prompt");
    let prompt = prompt(object)?;
    let answer = answer(object)?;
    // how long a prompt was to be is known of prompts alone that were made for a length; others count words, or other tokens
    let length = if own { count(object, "length")? } else { None };
    let most = 2 * (prompt.len() + answer.len()) + 64;
    if let Some(length) = length.filter(|length| *length > most) {
        return Err(format!(
            "its `length` of {length} tokens is impossible: prompt and answer have {} bytes",
            prompt.len() + answer.len()
        ));
    }
    // hardly a token of any text has more bytes
    if let Some(length) = length.filter(|length| length.saturating_mul(BYTES_PER_TOKEN) < prompt.len()) {
        return Err(format!(
            "its `length` of {length} tokens is impossible: its prompt alone has {} bytes",
            prompt.len()
        ));
    }
    let prompt_tokens = if own { count(object, "prompt_tokens")? } else { None };
    if let Some(n_tokens) = prompt_tokens.filter(|n_tokens| *n_tokens > most) {
        return Err(format!("its `prompt_tokens` of {n_tokens} are impossible: the prompt has {} bytes", prompt.len()));
    }
    let depth = match object.get("depth") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let read = match value {
                Value::String(text) => depth_in(text),
                value => depth_of(value.as_f64().ok_or_else(|| format!("its `depth` {} is no number", shown(value)))?),
            };
            Some(read.map_err(|error| format!("its `depth`: {error}; {}", error.help().unwrap_or_default()))?)
        }
    };
    if depth.is_none() && !prompt.contains(&answer) {
        return Err(
            "its answer does not stand in the prompt, so no depth can be counted: add a `depth` from 0 to 1".into()
        );
    }
    passkey_position(object, &prompt)?;
    if let Some((said, counted)) = depth.zip(told_at(&prompt, &answer)).filter(|(said, at)| (said - at).abs() > 0.6) {
        return Err(format!("its `depth` {said} is not where its prompt tells the key, which is at {counted:.2}"));
    }
    let id = match object.get("id") {
        None | Some(Value::Null) => format!("line {line}"),
        Some(Value::String(id)) => id.clone(),
        Some(Value::Number(id)) => id.to_string(),
        Some(other) => return Err(format!("its `id` {} is neither text nor number", shown(other))),
    };
    Ok(Fixture { id, length, depth, prompt, answer, prompt_tokens })
}

/// Share of a prompt before the usual words that tell the key, where they stand there once and the prompt is long enough for
/// a share to mean something.
fn told_at(prompt: &str, answer: &str) -> Option<f64> {
    const LONG: usize = 1000;
    let told = needle(answer);
    let mut places = prompt.match_indices(&told).map(|(at, _)| at);
    let at = places.next().filter(|_| prompt.len() > LONG)?;
    places.next().is_none().then(|| at as f64 / (prompt.len() - told.len()) as f64)
}

/// Where Self-Extend's files say that the key stands, in tokens or characters. It is not used, but a place outside the prompt
/// says that the line is not what its author wrote.
fn passkey_position(object: &Map<String, Value>, prompt: &str) -> Result<(), String> {
    match object.get("passkey_position") {
        None | Some(Value::Null) => Ok(()),
        Some(value) if value.as_f64().is_some_and(|at| (0.0..=prompt.len() as f64).contains(&at)) => Ok(()),
        Some(value) => Err(format!(
            "its `passkey_position` {} is no place in the prompt, which has {} bytes",
            shown(value),
            prompt.len()
        )),
    }
}

/// The texts of a prompt, one below the other, and what the files' scripts put behind them.
fn prompt(object: &Map<String, Value>) -> Result<String, String> {
    let (mut parts, mut names) = (Vec::new(), Vec::new());
    for name in PROMPTS {
        match object.get(name) {
            Some(Value::String(text)) if !text.is_empty() => {
                parts.push(text.as_str());
                names.push(name);
            }
            Some(Value::String(_) | Value::Null) | None => (),
            Some(other) => return Err(format!("its `{name}` {} is no text", shown(other))),
        }
    }
    if let ["prompt", other, ..] = names[..] {
        return Err(format!("it has `prompt` and `{other}`, and one of them is the prompt: remove the other"));
    }
    if names == ["context"] && !object.contains_key("answer_prefix") {
        return Err("it has a `context` and no `question`, so nothing is asked".into());
    }
    let held = PROMPTS.iter().find(|name| object.contains_key(**name));
    let Some(name) = held else { return Err(format!("it has no `prompt`, `input` or `context`{}", keys(object))) };
    if parts.iter().all(|part| part.trim().is_empty()) {
        return Err(format!("its `{name}` is empty"));
    }
    let mut prompt = parts.join("\n");
    let asks = object.contains_key("target") && parts.len() == 1 && object.contains_key("input");
    if asks && !prompt.contains(QUESTION.trim_end()) {
        prompt.push_str(QUESTION);
    }
    if let Some(Value::String(prefix)) = object.get("answer_prefix") {
        prompt.push_str(prefix);
    }
    Ok(prompt)
}

/// What is to be found: a text or a number, or a list of one.
fn answer(object: &Map<String, Value>) -> Result<String, String> {
    let held = ANSWERS.iter().filter_map(|name| Some((*name, object.get(*name)?)));
    let held: Vec<_> = held.filter(|(_, value)| !value.is_null()).collect();
    let Some((name, value)) = held.first() else {
        if let Some(name) = ANSWERS.iter().find(|name| object.contains_key(**name)) {
            return Err(format!("its `{name}` is null, not an answer"));
        }
        return Err(format!("it has no `answer`, `target` or `output`{}", keys(object)));
    };
    let found = answer_in(name, value)?;
    for (other, value) in &held[1..] {
        if answer_in(other, value).as_ref() != Ok(&found) {
            return Err(format!("its `{name}` and its `{other}` differ: remove the one that is not the answer"));
        }
    }
    Ok(found)
}

fn answer_in(name: &str, value: &Value) -> Result<String, String> {
    let value = match value {
        Value::Array(list) => match &list[..] {
            [one] => one,
            list => return Err(format!("its `{name}` has {} answers, and a prompt is asked for one", list.len())),
        },
        one => one,
    };
    match value {
        Value::String(text) if text.trim().is_empty() => Err(format!("its `{name}` is empty")),
        // the blank before is the prompt's matter
        Value::String(text) => Ok(text.trim().to_owned()),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(format!("its `{name}` {} is no text", shown(other))),
    }
}

fn count(object: &Map<String, Value>, name: &str) -> Result<Option<usize>, String> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64() {
            Some(count @ 1..MAX_LENGTH) => Ok(Some(count as usize)),
            _ => Err(format!("its `{name}` {} is not a number of tokens", shown(value))),
        },
    }
}

/// A value, in few signs.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    let short: String = text.chars().take(40).collect();
    let short = longlens_core::printable::printable_line(&short).into_owned();
    if short.len() < text.len() { format!("{short}…") } else { short }
}
