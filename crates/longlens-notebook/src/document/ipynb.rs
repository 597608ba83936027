//! The JSON form: format 4.5, and what older ones become.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::identity;
use super::json::{entry, lines, write_with};
use super::{Cell, DocumentError, Kind, Notebook};

/// Fields of a notebook that only make sense while it is open.
const TRANSIENT: [&str; 3] = ["orig_nbformat", "orig_nbformat_minor", "signature"];

/// Reads a notebook; cells without ids get one each.
pub fn read(text: &str) -> Result<Notebook, DocumentError> {
    let value = super::json::read(text).map_err(|error| not_json(&error))?;
    let Value::Object(mut file) = value else {
        return Err(not_notebook("the file is no JSON object"));
    };
    let major = file.get("nbformat").and_then(Value::as_i64);
    let major = major.ok_or_else(|| not_notebook("it has no number `nbformat`"))?;
    let minor = file.get("nbformat_minor").and_then(Value::as_i64).unwrap_or(0);
    match (major, minor) {
        (4, 0..=5) => {}
        (3, _) => file = upgraded(Value::Object(file))?,
        _ => return Err(DocumentError::UnknownVersion { version: format!("{major}.{minor}") }),
    }

    let mut metadata = taken_metadata(&mut file).ok_or_else(|| not_notebook("its `metadata` is no JSON object"))?;
    metadata.retain(|key, _| !TRANSIENT.contains(&key.as_str()));
    check_languages(&metadata)?;
    let Some(Value::Array(cells)) = file.remove("cells") else {
        return Err(not_notebook("it has no list `cells`"));
    };
    let numbered = cells.into_iter().enumerate();
    let cells =
        numbered.map(|(idx, cell)| read_cell(cell).map_err(|what| not_notebook(&format!("cell {} {what}", idx + 1))));
    let mut cells = cells.collect::<Result<Vec<_>, _>>()?;
    ids_differ(&cells)?;
    identity::name_cells(&mut cells);
    file.remove("nbformat");
    file.remove("nbformat_minor");
    Ok(Notebook { cells, metadata, rest: file })
}

/// The file of a notebook.
pub fn write(notebook: &Notebook) -> String {
    write_known(notebook, &mut Vec::new())
}

/// The same where some cells are written already: `texts` has those of cells that are as they were, and all of them afterwards.
/// A run that writes its file after each of many cells would spend its time here.
pub fn write_known(notebook: &Notebook, texts: &mut Vec<String>) -> String {
    texts.resize(notebook.cells.len(), String::new());
    for (cell, text) in notebook.cells.iter().zip(texts.iter_mut()).filter(|(_, text)| text.is_empty()) {
        *text = entry(&write_cell(cell));
    }
    let (mut file, mut metadata) = (notebook.rest.clone(), notebook.metadata.clone());
    metadata.retain(|key, _| !TRANSIENT.contains(&key.as_str()));
    file.insert("metadata".into(), Value::Object(metadata));
    file.insert("nbformat".into(), json!(4));
    file.insert("nbformat_minor".into(), json!(5));
    write_with(&file, "cells", texts)
}

/// The map inside a value that is known to be an object.
pub fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("an object was expected, not {other}"),
    }
}

/// A cell, or what is wrong with it, to be said after "cell N".
fn read_cell(value: Value) -> Result<Cell, String> {
    let Value::Object(mut file) = value else {
        return Err("is no JSON object".into());
    };
    let kind = match file.remove("cell_type").as_ref().and_then(Value::as_str) {
        Some("code") => Kind::Code,
        Some("markdown") => Kind::Markdown,
        Some("raw") => Kind::Raw,
        Some(other) => return Err(format!("has the type `{other}`, which is none of code, markdown, raw")),
        None => return Err("has no `cell_type`".into()),
    };
    let source = file.remove("source").ok_or("has no `source`")?;
    let mut cell = Cell::new(kind, joined(&source).ok_or("has a `source` that is no text")?);
    cell.metadata = taken_metadata(&mut file).ok_or("has a `metadata` that is no JSON object")?;
    cell.metadata.remove("trusted");
    match file.remove("id") {
        None => {}
        Some(Value::String(id)) if identity::is_id(&id) => cell.id = id,
        Some(id) => return Err(format!("has the id {id}; an id is 1 to 64 letters, digits, `-` and `_`")),
    }
    if kind == Kind::Code {
        // editors that mix languages say it in the cell
        let said = ["/vscode/languageId", "/polyglot_notebook/kernelName", "/dotnet_interactive/language"];
        let mut languages = said.iter().filter_map(|at| pointer(&cell.metadata, at)?.as_str());
        if let Some(other) = languages.find(|language| is_rhai(language).is_err() && *language != "rust") {
            return Err(format!("is in the language `{other}`, not `rhai`"));
        }
        cell.outputs = match file.remove("outputs") {
            None => Vec::new(),
            Some(Value::Array(outputs)) => outputs.into_iter().map(read_output).collect::<Result<_, _>>()?,
            Some(_) => return Err("has `outputs` that are no list".into()),
        };
        cell.execution_count = match file.remove("execution_count") {
            None | Some(Value::Null) => None,
            Some(count) => Some(count.as_i64().ok_or("has an `execution_count` that is no whole number")?),
        };
    }
    if let Some(Value::Object(attachments)) = file.get_mut("attachments") {
        attachments.values_mut().for_each(|bundle| in_bundle(bundle, join));
    }
    cell.rest = file;
    Ok(cell)
}

fn write_cell(cell: &Cell) -> Value {
    let mut file = cell.rest.clone();
    if let Some(Value::Object(attachments)) = file.get_mut("attachments") {
        attachments.values_mut().for_each(|bundle| in_bundle(bundle, split));
    }
    file.insert("cell_type".into(), cell.kind.name().into());
    file.insert("id".into(), cell.id.as_str().into());
    let mut metadata = cell.metadata.clone();
    metadata.remove("trusted");
    file.insert("metadata".into(), Value::Object(metadata));
    file.insert("source".into(), lines(&cell.source));
    if cell.kind == Kind::Code {
        file.insert("execution_count".into(), json!(cell.execution_count));
        file.insert("outputs".into(), cell.outputs.iter().map(write_output).collect());
    }
    Value::Object(file)
}

/// An output with its lines joined; one of an unknown type stays as it is.
fn read_output(mut output: Value) -> Result<Value, String> {
    match output.get("output_type").and_then(Value::as_str) {
        None => return Err("has an output without `output_type`".into()),
        Some("display_data" | "execute_result") => {
            output.get_mut("data").into_iter().for_each(|data| in_bundle(data, join));
        }
        Some(_) => output.get_mut("text").into_iter().for_each(|text| join("text/plain", text)),
    }
    Ok(output)
}

fn write_output(output: &Value) -> Value {
    let mut output = output.clone();
    match output["output_type"].as_str() {
        Some("display_data" | "execute_result") => {
            output.get_mut("data").into_iter().for_each(|data| in_bundle(data, split));
        }
        Some("stream") => output.get_mut("text").into_iter().for_each(|text| split("text/plain", text)),
        _ => {}
    }
    output
}

/// Changes each form of a thing, by its media type.
fn in_bundle(bundle: &mut Value, change: fn(&str, &mut Value)) {
    if let Value::Object(forms) = bundle {
        forms.iter_mut().for_each(|(media_type, form)| change(media_type, form));
    }
}

fn join(media_type: &str, form: &mut Value) {
    let is_json =
        media_type.starts_with("application/") && (media_type.ends_with("/json") || media_type.ends_with("+json"));
    if !is_json && let Some(text) = joined(form) {
        *form = text.into();
    }
}

fn split(media_type: &str, form: &mut Value) {
    let is_text = media_type.starts_with("text/") || ["application/javascript", "image/svg+xml"].contains(&media_type);
    if is_text && let Value::String(text) = form {
        *form = lines(text);
    }
}

/// Text from a text or a list of texts.
fn joined(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(lines) => lines.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

/// Takes the metadata out of a file; none is as good as an empty one.
fn taken_metadata(file: &mut Map<String, Value>) -> Option<Map<String, Value>> {
    match file.remove("metadata") {
        None => Some(Map::new()),
        Some(Value::Object(map)) => Some(map),
        Some(_) => None,
    }
}

fn pointer<'a>(map: &'a Map<String, Value>, at: &str) -> Option<&'a Value> {
    let (key, rest) = at[1..].split_once('/')?;
    map.get(key)?.get(rest)
}

/// Refuses a notebook that says another language: by name, by its kernel where it names one alone, or by where it was made.
fn check_languages(metadata: &Map<String, Value>) -> Result<(), DocumentError> {
    let languages = languages(metadata)?;
    for language in languages.into_iter().flatten() {
        is_rhai(language)?;
    }
    if languages != [None, None] {
        return Ok(());
    }
    let elsewhere = || {
        // Jupytext's own field, then an old one of IPython; Colab runs Python where nothing else is said
        let jupytext = metadata_text(metadata, "jupytext", "main_language").ok().flatten();
        let old = metadata.get("language").and_then(Value::as_str);
        jupytext.or(old).or_else(|| metadata.contains_key("colab").then_some("python"))
    };
    match metadata_text(metadata, "kernelspec", "name")? {
        Some(kernel) if !kernel.to_lowercase().contains("longlens") => is_rhai(kernel),
        Some(_) => Ok(()),
        None => elsewhere().map_or(Ok(()), is_rhai),
    }
}

/// Whether a notebook that was read says that it is of this language.
pub fn says_language(metadata: &Map<String, Value>) -> bool {
    let kernel = metadata_text(metadata, "kernelspec", "name");
    languages(metadata).is_ok_and(|languages| languages != [None, None]) || kernel.is_ok_and(|kernel| kernel.is_some())
}

fn languages(metadata: &Map<String, Value>) -> Result<[Option<&str>; 2], DocumentError> {
    Ok([metadata_text(metadata, "kernelspec", "language")?, metadata_text(metadata, "language_info", "name")?])
}

/// A text in an object of the metadata, unless it is empty. What is `null` says nothing.
fn metadata_text<'a>(metadata: &'a Map<String, Value>, of: &str, key: &str) -> Result<Option<&'a str>, DocumentError> {
    let map = match metadata.get(of) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(map)) => map,
        Some(_) => return Err(not_notebook(&format!("the `{of}` in its metadata is no JSON object"))),
    };
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(said)) => Ok(Some(said.trim()).filter(|said| !said.is_empty())),
        Some(_) => Err(not_notebook(&format!("the `{key}` of the `{of}` in its metadata is no text"))),
    }
}

fn is_rhai(language: &str) -> Result<(), DocumentError> {
    if language.eq_ignore_ascii_case("rhai") {
        return Ok(());
    }
    Err(DocumentError::OtherLanguage { language: language.into() })
}

fn ids_differ(cells: &[Cell]) -> Result<(), DocumentError> {
    let mut seen = HashMap::new();
    for (idx, cell) in cells.iter().enumerate().filter(|(_, cell)| !cell.id.is_empty()) {
        if let Some(first) = seen.insert(&cell.id, idx + 1) {
            return Err(DocumentError::SameId { id: cell.id.clone(), first, second: idx + 1 });
        }
    }
    Ok(())
}

/// A notebook of version 3 as one of 4.5. The new ids are dropped again: the crate's are random.
fn upgraded(file: Value) -> Result<Map<String, Value>, DocumentError> {
    let sheets = file.get("worksheets").and_then(Value::as_array);
    for cell in sheets.into_iter().flatten().filter_map(|sheet| sheet.get("cells")?.as_array()).flatten() {
        cell.get("language").and_then(Value::as_str).map_or(Ok(()), is_rhai)?;
        // the crate repeats `#` as often as it is told
        if cell.get("level").is_some_and(|level| !level.as_i64().is_some_and(|level| (1..=6).contains(&level))) {
            return Err(not_notebook("a heading has a level outside 1 to 6"));
        }
    }
    let old: nbformat::v3::Notebook = serde_json::from_value(file).map_err(|error| not_notebook(&error.to_string()))?;
    let new = nbformat::upgrade_v3_notebook(old).map_err(|error| not_notebook(&error.to_string()))?;
    let mut new = object(serde_json::to_value(new).map_err(|error| not_notebook(&error.to_string()))?);
    for cell in new.get_mut("cells").and_then(Value::as_array_mut).into_iter().flatten() {
        cell.as_object_mut().and_then(|cell| cell.remove("id"));
    }
    Ok(new)
}

fn not_json(error: &serde_json::Error) -> DocumentError {
    let (line, column) = (error.line(), error.column());
    let what = error.to_string();
    let what = what.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&what);
    DocumentError::NotJson { what: what.into(), line, column }
}

fn not_notebook(what: &str) -> DocumentError {
    DocumentError::NotNotebook { what: what.into() }
}
