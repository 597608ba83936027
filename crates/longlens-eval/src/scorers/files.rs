//! Files of predictions as the repositories write them: one score a file, as their evaluation reports it.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Mode, Scorer};
use crate::error::{EvalError, in_line};
use crate::text::read_text;

/// A file of predictions, and what else is known of it.
#[derive(Debug, Clone, Copy)]
pub struct PredictionFile<'a> {
    /// The file.
    pub path: &'a Path,
    /// Name of the task; that of the file up to its first dot where it is not given.
    pub task: Option<&'a str>,
    /// Whose copy of a script is meant, where there are several.
    pub source: Option<&'a str>,
    /// Right answers, for files that hold none: JSON lines with `id` and `output`.
    pub references: Option<&'a Path>,
}

/// What the evaluation of a file reports.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FileScore {
    /// Name of the task.
    pub task: String,
    /// The scorer that its format asks for.
    pub scorer: &'static str,
    /// Predictions in the file.
    pub n_predictions: usize,
    /// The score, as [`Scorer::score`] gives it.
    pub score: Value,
}

/// Scores a file of LongBench (JSON lines with `pred` and `answers`), RULER (`pred` and `outputs`), L-Eval (`gt`, `evaluation` and a field
/// that ends in `_pred`), or SCROLLS (one object of texts by id).
pub fn score_file(file: PredictionFile<'_>, mode: Mode) -> Result<FileScore, EvalError> {
    let name = file.path.file_name().unwrap_or_default().to_string_lossy();
    let task = file.task.unwrap_or_else(|| name.split('.').next().unwrap_or_default());
    let text = read_text(file.path)?;
    if let Some(by_id) = texts_by_id(&text) {
        return scrolls(file, task, by_id, mode);
    }
    let rows = rows(file.path, &text)?;
    let has = |field: &str| rows[0].contains_key(field);
    let mut row = Map::new();
    row.insert("task".into(), json!(task));
    let (scorer, prediction, references) = if has("pred") && has("answers") {
        row.insert("all_classes".into(), rows[0].get("all_classes").cloned().unwrap_or_default());
        row.insert("lengths".into(), column(&rows, "length"));
        let scorer = if task.ends_with("_e") { "longbench_e_corpus" } else { "longbench_corpus" };
        (scorer, column(&rows, "pred"), column(&rows, "answers"))
    } else if has("pred") && has("outputs") {
        let is_any = task.starts_with("qa");
        let scorer = if is_any { "ruler_string_match_part_corpus" } else { "ruler_string_match_all_corpus" };
        (scorer, column(&rows, "pred"), column(&rows, "outputs"))
    } else if has("gt") && has("evaluation") {
        let known = |row: &&Map<String, Value>| ["exam", "f1", "rouge"].iter().any(|known| row["evaluation"] == *known);
        let rows: Vec<_> = rows.iter().filter(|row| row.contains_key("evaluation")).filter(known).cloned().collect();
        let field = rows.first().and_then(|row| row.keys().find(|key| key.contains("_pred")));
        let (Some(field), Some(last)) = (field, rows.last()) else {
            return Err(unknown(file.path, "no row of it has a prediction that can be scored"));
        };
        row.insert("evaluation".into(), last["evaluation"].clone());
        row.extend(file.source.map(|source| ("source".to_owned(), json!(source))));
        let gold = rows.iter().map(|row| json!([row.get("gt")])).collect::<Vec<_>>();
        ("leval_auto_eval_output", column(&rows, field), gold.into())
    } else {
        return Err(unknown(file.path, "its lines have the fields of no repository's predictions"));
    };
    row.insert("prediction".into(), prediction);
    row.insert("references".into(), references);
    finish(file.path, task, scorer, &row, mode)
}

fn scrolls(
    file: PredictionFile<'_>,
    task: &str,
    by_id: Map<String, Value>,
    mode: Mode,
) -> Result<FileScore, EvalError> {
    let Some(path) = file.references else {
        return Err(EvalError::File {
            path: file.path.to_owned(),
            problem: "it has predictions by id, and no right answers".into(),
            help: "give the file of right answers as references: JSON lines with `id` and `output`".into(),
        });
    };
    let references = rows(path, &read_text(path)?)?;
    let mut row = Map::new();
    row.insert("task".into(), json!(task));
    row.insert("prediction".into(), by_id.into());
    row.insert("references".into(), references.into_iter().map(Value::from).collect());
    finish(file.path, task, "scrolls_corpus", &row, mode)
}

fn finish(
    path: &Path,
    task: &str,
    scorer: &'static str,
    row: &Map<String, Value>,
    mode: Mode,
) -> Result<FileScore, EvalError> {
    let score = Scorer::named(scorer).and_then(|scorer| scorer.score(row, mode)).map_err(|error| EvalError::File {
        path: path.to_owned(),
        problem: error.to_string(),
        help: error.help(),
    })?;
    let n_predictions = match &row["prediction"] {
        Value::Array(predictions) => predictions.len(),
        Value::Object(predictions) => predictions.len(),
        _ => 0,
    };
    Ok(FileScore { task: task.to_owned(), scorer, n_predictions, score })
}

fn unknown(path: &Path, problem: &str) -> EvalError {
    EvalError::File {
        path: path.to_owned(),
        problem: problem.into(),
        help: "LongBench writes `pred` and `answers`, RULER `pred` and `outputs`, L-Eval `gt`, `evaluation` and `…_pred`, SCROLLS an object of texts by id".into(),
    }
}

/// The file as one object of texts; a line of predictions is none, whatever it holds.
fn texts_by_id(text: &str) -> Option<Map<String, Value>> {
    let by_id: Map<String, Value> = serde_json::from_str(text).ok()?;
    let is_line = ["pred", "gt"].iter().any(|field| by_id.contains_key(*field));
    (!is_line && by_id.values().all(Value::is_string)).then_some(by_id)
}

/// The objects of a file of JSON lines, of which there is at least one.
fn rows(path: &Path, text: &str) -> Result<Vec<Map<String, Value>>, EvalError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let rows: Vec<Map<String, Value>> = lines
        .map(|(at, line)| {
            serde_json::from_str(line).map_err(|error| EvalError::Line {
                path: path.to_owned(),
                line: at + 1,
                reason: in_line(&error),
                help: "every line is a JSON object".into(),
            })
        })
        .collect::<Result<_, _>>()?;
    if rows.is_empty() { Err(unknown(path, "it is empty")) } else { Ok(rows) }
}

fn column(rows: &[Map<String, Value>], field: &str) -> Value {
    rows.iter().map(|row| row.get(field).cloned().unwrap_or_default()).collect()
}
