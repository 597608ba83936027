//! Files of pairs: one JSON object a line.

use std::io::{BufRead, Read};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Mode, Scorer};
use crate::error::{EvalError, in_line};

/// A line beyond this is no pair.
const MAX_LINE: usize = 64 << 20;

/// Scores every line of `lines` and gives `tell` its `{"id": …, "score": …}`, until that says `false`. Blank lines are passed over. Errors call
/// the file `name` and end the reading; what was told before stands. Returns how many lines were scored.
pub fn score_lines(
    name: &Path,
    mut lines: impl BufRead,
    mode: Mode,
    mut tell: impl FnMut(&Value) -> bool,
) -> Result<usize, EvalError> {
    let (mut number, mut n_scored) = (0, 0);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        number += 1;
        let read = lines.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut bytes);
        if read.map_err(|source| EvalError::Io { path: name.to_owned(), source })? == 0 {
            return Ok(n_scored);
        }
        let wrong =
            |reason: String, help: String| EvalError::Line { path: name.to_owned(), line: number, reason, help };
        if bytes.len() > MAX_LINE {
            let help = "end every object with a line end".to_owned();
            return Err(wrong(format!("it is longer than {} MiB", MAX_LINE >> 20), help));
        }
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let at = error.valid_up_to();
            let reason = format!("byte {:#04x} at column {} is not UTF-8", bytes[at], at + 1);
            wrong(reason, "save the file as text in UTF-8, uncompressed".to_owned())
        })?;
        let text = if number == 1 { text.trim_start_matches('\u{feff}') } else { text };
        if text.trim().is_empty() {
            continue;
        }
        let row = serde_json::from_str(text).map_err(|error| {
            wrong(
                in_line(&error),
                "every line is a JSON object with `id`, `scorer`, `prediction` and `references`".to_owned(),
            )
        })?;
        let told = scored(&row, mode).map_err(|(reason, help)| wrong(reason, help))?;
        n_scored += 1;
        if !tell(&told) {
            return Ok(n_scored);
        }
    }
}

fn scored(row: &Map<String, Value>, mode: Mode) -> Result<Value, (String, String)> {
    let refused = |error: super::ScoreError| (error.to_string(), error.help());
    let missing = |field: &str| (format!("`{field}` is missing"), format!("give the row a field `{field}`"));
    let id = row.get("id").ok_or_else(|| missing("id"))?;
    let name = row.get("scorer").ok_or_else(|| missing("scorer"))?;
    let name = name.as_str().ok_or_else(|| ("`scorer` is not a text".to_owned(), "name a scorer".to_owned()))?;
    let score = Scorer::named(name).and_then(|scorer| scorer.score(row, mode)).map_err(refused)?;
    Ok(json!({ "id": id, "score": score }))
}
