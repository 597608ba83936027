//! What may stand at a place in a cell.

use std::ops::Range;

use longlens_core::methods;
use longlens_core::rope::SCALINGS;
use longlens_core::setting::Info;
use rhai::{Dynamic, Map};

use super::magics;
use crate::docs::Doc;
use crate::interpreter::{Candidate, Completions};
use crate::lexer::{self, KEYWORDS, Kind, Token};
use crate::session::Session;
use crate::types::plain_type;

/// Functions whose first text is the name of a file.
const OF_FILES: &[&str] = &["text", "load", "save", "perplexity", "files"];

/// The bytes of the name at or before a place; nothing where there is none.
pub fn name_at(cell: &str, cursor: usize) -> Option<Range<usize>> {
    let cursor = floor(cell, cursor);
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let start =
        cell[..cursor].rfind(|c| !is_word(c)).map_or(0, |at| at + cell[at..].chars().next().map_or(1, char::len_utf8));
    let end = cell[cursor..].find(|c| !is_word(c)).map_or(cell.len(), |at| cursor + at);
    if start < end {
        return Some(start..end);
    }
    // inside a call the function is meant: `passkey(|`
    let open = enclosing(cell, cursor)?;
    (!open.function.is_empty()).then_some(open.name)
}

/// Everything that may stand at byte `cursor`.
pub fn complete(session: &Session, cell: &str, cursor: usize) -> Completions {
    let cursor = floor(cell, cursor);
    let before = &cell[..cursor];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    if before[line_start..].starts_with(['%', '?']) {
        return magics::complete(session, before, line_start);
    }
    let inside = lexer::tokens(before)
        .pop()
        .filter(|token| token.kind == Kind::Open && before[token.bytes.clone()].starts_with(['"', '`']));
    if let Some(text) = inside {
        return in_text(session, before, &text);
    }
    let start = before
        .rfind(|c: char| !(c.is_alphanumeric() || c == '_'))
        .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
    let (word, ahead) = (&before[start..], before[..start].trim_end());
    let candidates = if ahead.ends_with('.') && !ahead.ends_with("..") {
        members(session, &ahead[..ahead.len() - 1])
    } else if ahead.ends_with("#{") || (ahead.ends_with(',') && in_map(before)) {
        parameters(session, before)
    } else {
        names(session)
    };
    Completions { replaces: start..cursor, candidates: fitting(candidates, word) }
}

/// Candidates that start with what was typed; then those that hold it.
pub fn fitting(candidates: Vec<Candidate>, word: &str) -> Vec<Candidate> {
    let lower = word.to_lowercase();
    let (starting, other): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|candidate| candidate.text.to_lowercase().starts_with(&lower));
    let holding =
        other.into_iter().filter(|candidate| word.len() > 2 && candidate.text.to_lowercase().contains(&lower));
    starting.into_iter().chain(holding).collect()
}

/// Variables, functions and words of the language.
pub fn names(session: &Session) -> Vec<Candidate> {
    let mut all: Vec<Candidate> = session
        .variables()
        .into_iter()
        .map(|(name, value)| Candidate { text: name, kind: "variable", help: plain_type(value.type_name()).into() })
        .collect();
    all.extend(session.functions().into_iter().map(|(name, params)| {
        let help = format!("{name}({})", params.join(", "));
        Candidate { text: name, kind: "function", help }
    }));
    let plain = |doc: &&Doc| !doc.is_property && doc.name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let (own, standard): (Vec<_>, Vec<_>) = session.docs().all().iter().filter(plain).partition(|doc| !doc.is_standard);
    all.extend(own.into_iter().chain(standard).map(candidate));
    all.extend(KEYWORDS.iter().map(|word| Candidate { text: (*word).into(), kind: "keyword", help: String::new() }));
    once(all)
}

fn candidate(doc: &Doc) -> Candidate {
    let kind = if doc.is_property { "property" } else { "function" };
    Candidate { text: doc.name.clone(), kind, help: doc.signature.clone() }
}

/// Each text once, the first of them.
fn once(all: Vec<Candidate>) -> Vec<Candidate> {
    let mut seen = std::collections::HashSet::new();
    all.into_iter().filter(|candidate| seen.insert(candidate.text.clone())).collect()
}

/// What follows a point: entries of a map, properties and functions of a value.
fn members(session: &Session, ahead: &str) -> Vec<Candidate> {
    let value = name_at(ahead, ahead.len())
        .filter(|name| name.end == ahead.len())
        .and_then(|name| value_of(session, &ahead[name]));
    let Some(value) = value else {
        // the value is not known before the cell runs: whatever has a point somewhere
        let of_handles = session.docs().own().filter(|doc| {
            !doc.params.is_empty() && doc.params[0].1.starts_with(char::is_uppercase) && !is_plumbing(doc)
        });
        return once(of_handles.map(candidate).collect());
    };
    let mut all = Vec::new();
    if let Some(map) = value.read_lock::<Map>() {
        let entry = |name: &str| Candidate { text: name.into(), kind: "property", help: String::new() };
        all.extend(map.keys().map(|name| entry(name)));
    }
    let kind = plain_type(value.type_name());
    let documented: Vec<&Doc> = session
        .docs()
        .members(kind)
        .filter(|doc| doc.name.starts_with(char::is_alphabetic) && !is_plumbing(doc))
        .collect();
    all.extend(documented.into_iter().map(candidate));
    once(all)
}

/// What printing calls, and nobody writes.
fn is_plumbing(doc: &Doc) -> bool {
    matches!(doc.name.as_str(), "to_debug" | "to_string" | "print") && doc.text.is_empty()
}

/// The value of a variable, `_` and `_3` among them.
fn value_of(session: &Session, name: &str) -> Option<Dynamic> {
    session.variable(name).map(Dynamic::flatten_clone)
}

/// Where a cell stands inside a call.
struct Call {
    function: String,
    /// Bytes of the function's name.
    name: Range<usize>,
}

/// The call whose brackets are open at a place.
fn enclosing(cell: &str, cursor: usize) -> Option<Call> {
    let before = &cell[..cursor];
    let mut tokens = lexer::tokens(before);
    tokens.retain(|token| token.kind != Kind::Comment);
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().rev() {
        match &before[token.bytes.clone()] {
            ")" | "]" | "}" if token.kind == Kind::Sign => depth += 1,
            "(" if token.kind == Kind::Sign && depth == 0 => {
                let name = at.checked_sub(1).map(|at| &tokens[at]).filter(|token| token.kind == Kind::Name);
                let name = name.map_or(cursor..cursor, |token| token.bytes.clone());
                return Some(Call { function: before[name.clone()].into(), name });
            }
            "(" | "[" | "{" | "#{" if token.kind == Kind::Sign => depth = (depth - 1).max(0),
            _ => (),
        }
    }
    None
}

/// Whether the innermost open bracket is that of a map.
fn in_map(before: &str) -> bool {
    let mut open: Vec<&str> = Vec::new();
    for token in lexer::tokens(before) {
        match (&before[token.bytes], token.kind) {
            (bracket @ ("(" | "[" | "{" | "#{"), Kind::Sign) => open.push(bracket),
            (")" | "]" | "}", Kind::Sign) => drop(open.pop()),
            _ => (),
        }
    }
    open.last() == Some(&"#{")
}

/// Names that a map given to a function may hold.
fn parameters(session: &Session, before: &str) -> Vec<Candidate> {
    let Some(call) = enclosing(before, before.len()) else { return Vec::new() };
    if let Some(info) = methods::INFOS.iter().find(|info| info.name == call.function) {
        return of_info(info, ": ");
    }
    // options stand in doc comments between backticks
    let mut all = Vec::new();
    for doc in session.docs().find(&call.function) {
        let words = doc.text.split('`').skip(1).step_by(2);
        let is_name = |word: &&str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        all.extend(words.filter(is_name).filter(|word| *word != call.function).map(|word| Candidate {
            text: format!("{word}: "),
            kind: "parameter",
            help: String::new(),
        }));
    }
    once(all)
}

fn of_info(info: &Info, after: &str) -> Vec<Candidate> {
    let param = |param: &longlens_core::setting::Param| Candidate {
        text: format!("{}{after}", param.name),
        kind: "parameter",
        help: format!("{} ({}, default {})", param.help, param.kind, param.default),
    };
    info.params.iter().map(param).collect()
}

/// Inside quotes: names of files, or a method's text form.
fn in_text(session: &Session, before: &str, text: &Token) -> Completions {
    let written = &before[text.bytes.start + 1..];
    let call = enclosing(before, text.bytes.start);
    if call.is_some_and(|call| OF_FILES.contains(&call.function.as_str())) {
        return files(session, before, written);
    }
    let (start, candidates) = match written.split_once(':') {
        None => {
            let infos = methods::INFOS.iter().chain(SCALINGS.iter());
            let name = |info: &&Info| Candidate {
                text: if info.params.is_empty() { info.name.into() } else { format!("{}:", info.name) },
                kind: "method",
                help: info.summary.into(),
            };
            (before.len() - written.len(), infos.map(name).collect())
        }
        Some((name, rest)) => {
            let start = rest.rfind(',').map_or(rest.len(), |at| rest.len() - at - 1);
            let info = methods::INFOS.iter().chain(SCALINGS.iter()).find(|info| info.name == name.trim());
            (before.len() - start, info.map_or(Vec::new(), |info| of_info(info, "=")))
        }
    };
    Completions { replaces: start..before.len(), candidates: fitting(candidates, &before[start..]) }
}

/// Files and folders that start with what was typed.
pub fn files(session: &Session, before: &str, written: &str) -> Completions {
    let (folder, name) = written.rsplit_once('/').map_or(("", written), |(folder, name)| (folder, name));
    let there = session.host().files().list(if folder.is_empty() { "." } else { folder }).unwrap_or_default();
    let candidates = there.into_iter().map(|(text, is_folder)| {
        let text = text + if is_folder { "/" } else { "" };
        Candidate { text, kind: "file", help: String::new() }
    });
    let mut candidates: Vec<Candidate> = candidates
        .filter(|candidate| {
            candidate.text.starts_with(name) && (!candidate.text.starts_with('.') || name.starts_with('.'))
        })
        .collect();
    candidates.sort_by(|a, b| a.text.cmp(&b.text));
    Completions { replaces: before.len() - name.len()..before.len(), candidates }
}

/// The nearest place before `at` that is between two characters.
fn floor(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}
