//! What can be read of a session whose file is damaged: cut short, overwritten in places, or of another version.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::SavedSession;
use crate::runs::Runs;
use crate::settings::Settings;
use crate::steps::Start;

/// The session as far as it can be read, and what cannot be. Nothing where there is neither a prompt nor a setting.
pub fn session(bytes: &[u8]) -> Option<(SavedSession, Vec<&'static str>)> {
    let mut fields = fields(bytes);
    if !fields.contains_key("settings") && !fields.contains_key("source") {
        return None;
    }
    let mut lost = Vec::new();
    let settings = settings(fields.remove("settings").as_ref(), &mut lost);
    let source = match fields.remove("source") {
        Some(value) => read(value).unwrap_or_else(|| note_lost(&mut lost, "the prompt")),
        None => note_lost(&mut lost, "the prompt"),
    };
    let mut runs = Runs::default();
    let list = fields.remove("runs").and_then(|runs| Some(runs.as_object()?.get("list")?.as_array()?.clone()));
    let is_whole = list.is_some();
    let list = list.unwrap_or_default();
    let n_runs = list.len();
    list.into_iter().filter_map(read).for_each(|run| runs.push(run));
    if !is_whole || runs.list.len() < n_runs {
        lost.push("pinned runs");
    }
    let mut part = |name: &str| fields.remove(name);
    let grids = each(part("grids").as_ref(), "grids", &mut lost);
    let steps = each(part("steps").as_ref(), "steps", &mut lost);
    let session = SavedSession {
        clean: false,
        saved: part("saved").and_then(read).unwrap_or_default(),
        pid: part("pid").and_then(read).unwrap_or_default(),
        start: Start {
            model: part("model").and_then(read).unwrap_or_else(|| {
                lost.push("the model's name");
                "embedded".into()
            }),
            device: part("device").and_then(read).unwrap_or_default(),
            weights: part("weights").and_then(read).unwrap_or_default(),
            adapter: part("adapter").and_then(read).unwrap_or_default(),
            kv_offload: part("kv_offload").and_then(read).unwrap_or_default(),
        },
        settings,
        source,
        runs,
        steps,
        selected: part("selected").and_then(read).unwrap_or_default(),
        grids,
        chunk_len: part("chunk_len").and_then(read).unwrap_or_default(),
    };
    if lost.is_empty() {
        lost.push("its end");
    }
    Some((session, lost))
}

/// The fields of an object as far as its text goes.
pub fn fields(bytes: &[u8]) -> Map<String, Value> {
    let text = String::from_utf8_lossy(bytes);
    let mut readable = text.as_ref();
    let closed;
    if let Err(error) = serde_json::from_str::<Value>(readable) {
        closed = close(&text[..offset(&text, error.line(), error.column())]);
        readable = &closed;
    }
    match serde_json::from_str(readable) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

/// The byte where the parser stopped, whose line and column count from 1 and in bytes.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    text.floor_char_boundary(start + column)
}

/// The beginning of a JSON text, cut behind its last whole part and closed.
fn close(text: &str) -> String {
    let (mut open, mut in_string, mut escaped) = (Vec::new(), false, false);
    let mut whole = (0, Vec::new());
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => (),
            b'{' => open.push('}'),
            b'[' => open.push(']'),
            b'}' | b']' => {
                open.pop();
                whole = (at + 1, open.clone());
            }
            b',' => whole = (at, open.clone()),
            _ => (),
        }
    }
    text[..whole.0].chars().chain(whole.1.into_iter().rev()).collect()
}

/// Every setting that can be read, the others as they are by default.
fn settings(value: Option<&Value>, lost: &mut Vec<&'static str>) -> Settings {
    if let Some(settings) = value.cloned().and_then(read) {
        return settings;
    }
    lost.push("some settings");
    let mut settings = Settings::default();
    for (name, value) in value.and_then(Value::as_object).into_iter().flatten() {
        let Ok(mut changed) = serde_json::to_value(&settings) else { continue };
        changed[name] = value.clone();
        if let Some(changed) = read(changed) {
            settings = changed;
        }
    }
    settings
}

/// Every item of a list that can be read.
fn each<T: DeserializeOwned>(value: Option<&Value>, what: &'static str, lost: &mut Vec<&'static str>) -> Vec<T> {
    let Some(value) = value else { return Vec::new() };
    let list = value.as_array().cloned().unwrap_or_default();
    let n_items = list.len();
    let items: Vec<T> = list.into_iter().filter_map(read).collect();
    if items.len() < n_items || !value.is_array() {
        lost.push(what);
    }
    items
}

fn read<T: DeserializeOwned>(value: Value) -> Option<T> {
    T::deserialize(value).ok()
}

fn note_lost<T: Default>(lost: &mut Vec<&'static str>, what: &'static str) -> T {
    lost.push(what);
    T::default()
}
