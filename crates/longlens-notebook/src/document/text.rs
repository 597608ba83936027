//! The text form: code with `// %%` between cells, good to edit and to compare.
//!
//! ```text
//! // ---
//! // title="Positions"
//! // ---
//!
//! // %% [markdown]
//! // # Positions
//!
//! // %% tags=["parameters"] id="window"
//! let window = 8;
//! ```
//!
//! - `// %%` begins code, `// %% [markdown]` prose, `// %% [raw]` a raw cell. Lines of prose and raw cells stand behind `// `.
//! - After it stand the cell's metadata, each `name=value` with the value in JSON, and `id="…"`. An id is left out if the
//!   cell's text gives the same one. Words before that become `title`.
//! - One empty line before the next `// %%` is no part of a cell; neither are empty lines that end prose.
//! - A line of a cell that looks like `// %%` gets a backslash, `// \%%`; one that has backslashes there gets one more.
//! - What the notebook says about itself stands in front between two lines `// ---`, without kernel and language: the text is
//!   Rhai.
//! - Text before the first `// %%` is a cell of code.
//! - A file whose first line ends in CRLF is read as if all its lines ended in LF.
//!
//! Results, attachments and fields that the format does not name stay behind.

use serde_json::{Map, Value};

use super::identity;
use super::{Cell, Kind, Notebook};

/// Metadata that belongs to a run, not to the cell's text.
pub const OF_RUNS: [&str; 3] = ["execution", "longlens", "papermill"];

/// Reads any text.
pub fn read(text: &str) -> Notebook {
    let first_ends_crlf = text.split_once('\n').is_some_and(|(first, _)| first.ends_with('\r'));
    let text = if first_ends_crlf { text.replace("\r\n", "\n") } else { text.to_owned() };
    let mut lines: Vec<&str> = text.split('\n').collect();
    if lines.last() == Some(&"") {
        lines.pop();
    }

    let mut notebook = Notebook::new();
    let mut lines = lines.as_slice();
    if let Some((metadata, after)) = read_header(lines) {
        let own = metadata.into_iter().filter(|(key, _)| !notebook.metadata.contains_key(key)).collect::<Vec<_>>();
        notebook.metadata.extend(own);
        lines = after;
    }
    let end = lines.iter().position(|line| marker(line).is_some()).unwrap_or(lines.len());
    if let Some(start) = lines[..end].iter().position(|line| !line.trim().is_empty()) {
        notebook.cells.push(read_cell("", &lines[start..end], end < lines.len()));
    }
    lines = &lines[end..];
    while let Some((first, after)) = lines.split_first() {
        let end = after.iter().position(|line| marker(line).is_some()).unwrap_or(after.len());
        notebook.cells.push(read_cell(marker(first).unwrap_or_default(), &after[..end], end < after.len()));
        lines = &after[end..];
    }
    forget_repeated_ids(&mut notebook.cells);
    identity::name_cells(&mut notebook.cells);
    notebook
}

/// The text of a notebook.
pub fn write(notebook: &Notebook) -> String {
    let mut text = write_header(&notebook.metadata);
    let wishes = identity::wishes(&notebook.cells);
    for (idx, (cell, wish)) in notebook.cells.iter().zip(wishes).enumerate() {
        if idx > 0 {
            text.push('\n');
        }
        text.push_str(&write_marker(cell, cell.id == wish));
        if !cell.source.is_empty() {
            for line in cell.source.split('\n') {
                let line = if cell.kind == Kind::Code { line.to_owned() } else { commented(line) };
                text.push_str(&escaped(&line));
                text.push('\n');
            }
        }
    }
    text
}

/// The cell of a marker's words and the lines under it.
fn read_cell(words: &str, mut lines: &[&str], more_follow: bool) -> Cell {
    let (kind, mut metadata) = read_words(words);
    if kind != Kind::Code {
        while let Some((_, before)) = lines.split_last().filter(|(last, _)| last.is_empty()) {
            lines = before;
        }
    } else if more_follow && let Some((_, before)) = lines.split_last().filter(|(last, _)| last.is_empty()) {
        lines = before;
    }
    let own = |line: &&str| {
        let line = unescaped(line);
        if kind == Kind::Code { line } else { uncommented(&line).to_owned() }
    };
    let mut cell = Cell::new(kind, lines.iter().map(own).collect::<Vec<_>>().join("\n"));
    if let Some(Value::String(id)) = metadata.remove("id") {
        cell.id = id;
    }
    cell.metadata = metadata;
    cell
}

fn write_marker(cell: &Cell, id_is_implied: bool) -> String {
    let mut words = vec!["// %%".to_owned()];
    if cell.kind != Kind::Code {
        words.push(format!("[{}]", cell.kind.name()));
    }
    let own = cell.metadata.iter().filter(|(key, _)| !OF_RUNS.contains(&key.as_str()) && *key != "id");
    words.extend(own.map(|(key, value)| format!("{}={value}", word(key))));
    if !id_is_implied {
        words.push(format!("id=\"{}\"", cell.id));
    }
    words.join(" ") + "\n"
}

/// What stands after `// %%`, if the line is a marker.
fn marker(line: &str) -> Option<&str> {
    let (n_backslashes, words) = percents(line)?;
    (n_backslashes == 0).then_some(words)
}

/// Backslashes before `%%` in a line like `// \%% …`, and what comes after.
fn percents(line: &str) -> Option<(usize, &str)> {
    let line = line.strip_prefix("//")?;
    let line = line.strip_prefix(' ').unwrap_or(line);
    let bare = line.trim_start_matches('\\');
    let words = bare.strip_prefix("%%")?;
    (words.is_empty() || words.starts_with(char::is_whitespace)).then_some((line.len() - bare.len(), words))
}

fn escaped(line: &str) -> String {
    if percents(line).is_some() { line.replacen("%%", "\\%%", 1) } else { line.to_owned() }
}

fn unescaped(line: &str) -> String {
    match percents(line) {
        Some((1.., _)) => line.replacen('\\', "", 1),
        _ => line.to_owned(),
    }
}

fn commented(line: &str) -> String {
    if line.is_empty() { "//".into() } else { format!("// {line}") }
}

fn uncommented(line: &str) -> &str {
    let Some(text) = line.strip_prefix("//") else { return line };
    text.strip_prefix(' ').unwrap_or(text)
}

/// A marker's words: kind and metadata. What cannot be read as such is a title, so that no word is lost.
fn read_words(words: &str) -> (Kind, Map<String, Value>) {
    let words = words.trim();
    let starts = std::iter::once(0).chain(words.match_indices(' ').map(|(at, _)| at + 1));
    let start = starts.into_iter().find(|start| begins_options(&words[*start..])).unwrap_or(words.len());
    let (title, options) = words.split_at(start);
    let (title, (kind, mut metadata)) = match read_options(options) {
        Some(read) if title.is_empty() || !read.1.contains_key("title") => (title.trim(), read),
        _ => {
            let (kind, title) = kind_of(words).unwrap_or((Kind::Code, words));
            (title, (kind, Map::new()))
        }
    };
    if !title.is_empty() {
        metadata.insert("title".into(), title.into());
    }
    (kind, metadata)
}

fn begins_options(words: &str) -> bool {
    kind_of(words).is_some() || read_option(words).is_some()
}

/// `[kind]` if the words begin with one, and the rest.
fn kind_of(words: &str) -> Option<(Kind, &str)> {
    let kinds =
        [("[markdown]", Kind::Markdown), ("[md]", Kind::Markdown), ("[raw]", Kind::Raw), ("[code]", Kind::Code)];
    kinds.into_iter().find_map(|(name, kind)| {
        let rest = words.strip_prefix(name)?;
        (rest.is_empty() || rest.starts_with(char::is_whitespace)).then(|| (kind, rest.trim_start()))
    })
}

fn read_options(words: &str) -> Option<(Kind, Map<String, Value>)> {
    let (kind, mut words) = kind_of(words).unwrap_or((Kind::Code, words));
    let mut metadata = Map::new();
    while !words.is_empty() {
        let (key, value, rest) = read_option(words)?;
        let fits = match key.as_str() {
            "id" => value.as_str().is_some_and(identity::is_id),
            "tags" => value.as_array().is_some_and(|tags| tags.iter().all(Value::is_string)),
            _ => true,
        };
        if !fits {
            return None;
        }
        metadata.insert(key, value);
        words = rest;
    }
    Some((kind, metadata))
}

/// One `name=value`, and the rest.
fn read_option(words: &str) -> Option<(String, Value, &str)> {
    let (key, words) = if words.starts_with('"') {
        let mut values = serde_json::Deserializer::from_str(words).into_iter::<String>();
        let key = values.next()?.ok()?;
        (key, &words[values.byte_offset()..])
    } else {
        let end = words.find(|char| !is_plain(char))?;
        (words[..end].to_owned(), &words[end..])
    };
    let words = words.strip_prefix('=').filter(|_| !key.is_empty())?;
    let mut values = serde_json::Deserializer::from_str(words).into_iter::<Value>();
    let value = values.next()?.ok()?;
    let rest = &words[values.byte_offset()..];
    (rest.is_empty() || rest.starts_with(char::is_whitespace)).then(|| (key, value, rest.trim_start()))
}

/// A key as it stands before `=`.
fn word(key: &str) -> String {
    if !key.is_empty() && key.chars().all(is_plain) { key.to_owned() } else { Value::from(key).to_string() }
}

fn is_plain(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '_' | '-' | '.')
}

/// What the lines between two `// ---` say, and the lines after them.
fn read_header<'a, 'b>(lines: &'b [&'a str]) -> Option<(Map<String, Value>, &'b [&'a str])> {
    let (_, body) = lines.split_first().filter(|(first, _)| first.trim_end() == "// ---")?;
    let end = body.iter().position(|line| line.trim_end() == "// ---")?;
    let entry = |line: &&str| {
        let (key, value, rest) = read_option(uncommented(line))?;
        rest.is_empty().then_some((key, value))
    };
    let metadata = body[..end].iter().map(entry).collect::<Option<_>>()?;
    Some((metadata, &body[end + 1..]))
}

fn write_header(metadata: &Map<String, Value>) -> String {
    let usual = Notebook::new().metadata;
    let own = metadata.iter().filter(|(key, _)| !OF_RUNS.contains(&key.as_str()) && !usual.contains_key(*key));
    let lines: Vec<String> = own.map(|(key, value)| format!("// {}={value}\n", word(key))).collect();
    if lines.is_empty() { String::new() } else { format!("// ---\n{}// ---\n\n", lines.concat()) }
}

/// Text is copied by hand, and its ids with it: the first keeps the name.
fn forget_repeated_ids(cells: &mut [Cell]) {
    let mut seen = std::collections::HashSet::new();
    for cell in cells {
        if !cell.id.is_empty() && !seen.insert(cell.id.clone()) {
            cell.id.clear();
        }
    }
}
