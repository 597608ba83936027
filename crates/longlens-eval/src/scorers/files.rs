//! Files of predictions as the repositories write them: one score a file, as their evaluation reports it.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Mode, Scorer};
use crate::error::{EvalError, in_line};
use crate::rows::kind;
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
    /// The field that holds the predictions; `None` of predictions by id.
    pub field: Option<String>,
    /// Predictions in the file.
    pub n_predictions: usize,
    /// The score, as [`Scorer::score`] gives it.
    pub score: Value,
}

/// Scores a file of LongBench (JSON lines with `pred` and `answers`), RULER (`pred` and `outputs`), L-Eval (`gt`, `evaluation` and a field
/// that ends in `_pred`), or SCROLLS (one object of texts by id).
///
/// Errors name the line and the field of a row that is not as the repository writes it.
pub fn score_file(file: PredictionFile<'_>, mode: Mode) -> Result<FileScore, EvalError> {
    let name = file.path.file_name().unwrap_or_default().to_string_lossy();
    let task = file.task.unwrap_or_else(|| name.split('.').next().unwrap_or_default());
    let (task, is_by_length) = data_set(task);
    let text = read_text(file.path)?;
    if let Some(by_id) = texts_by_id(&text) {
        return scrolls(file, task, by_id, mode);
    }
    let rows = rows(file.path, &text)?;
    let has = |field: &str| rows[0].fields.contains_key(field);
    if file.references.is_some() && ["answers", "outputs", "gt"].into_iter().any(has) {
        return Err(EvalError::File {
            path: file.path.to_owned(),
            problem: "its lines hold right answers of their own".into(),
            help: "leave the references out: they are for files of SCROLLS, which hold predictions by id".into(),
        });
    }
    let mut row = Map::new();
    row.insert("task".into(), json!(task));
    let (scorer, field, gold) = if has("pred") && has("answers") {
        row.insert("all_classes".into(), rows[0].fields.get("all_classes").cloned().unwrap_or_default());
        if is_by_length {
            row.insert("lengths".into(), column(file.path, &rows, "length", Value::is_u64, "a whole number")?);
        }
        let scorer = if is_by_length { "longbench_e_corpus" } else { "longbench_corpus" };
        (scorer, "pred", column(file.path, &rows, "answers", is_texts, "a list of texts")?)
    } else if has("pred") && has("outputs") {
        if !RULER.iter().any(|begin| task.starts_with(begin)) && task != "qa" && task != "niah" {
            return Err(EvalError::File {
                path: file.path.to_owned(),
                problem: format!("no task of RULER is called `{task}`"),
                help: "say which it is of: niah_single_1, niah_multikey_2, …, vt, cwe, fwe, qa_1, qa_2".into(),
            });
        }
        let is_any = task.starts_with("qa");
        let scorer = if is_any { "ruler_string_match_part_corpus" } else { "ruler_string_match_all_corpus" };
        (scorer, "pred", column(file.path, &rows, "outputs", is_texts, "a list of texts")?)
    } else if has("gt") && has("evaluation") {
        return leval(file, task, &rows, row, mode);
    } else {
        return Err(unknown(file.path, "its lines have the fields of no repository's predictions"));
    };
    row.insert("prediction".into(), column(file.path, &rows, field, Value::is_string, "a text")?);
    row.insert("references".into(), gold);
    finish(file.path, task, (scorer, Some(field)), &row, mode)
}

/// The name that a repository has for a task, which may be called as `longlens tasks` lists it, and whether it is one of LongBench-E.
fn data_set(task: &str) -> (&str, bool) {
    const FAMILIES: [&str; 6] = ["longbench_e_", "longbench_", "leval_", "scrolls_", "fewshot_", "ruler_"];
    let family = FAMILIES.into_iter().find(|family| task.starts_with(family));
    (task.strip_prefix(family.unwrap_or_default()).unwrap_or(task), family == Some(FAMILIES[0]) || task.ends_with("_e"))
}

/// How names of RULER's tasks begin.
const RULER: [&str; 5] = ["niah_", "vt", "cwe", "fwe", "qa_"];

/// Rows that nobody has to judge; the first field of predictions counts, as in the script.
fn leval(
    file: PredictionFile<'_>,
    task: &str,
    rows: &[Row],
    mut row: Map<String, Value>,
    mode: Mode,
) -> Result<FileScore, EvalError> {
    let known =
        |row: &&Row| ["exam", "f1", "rouge"].iter().any(|known| row.fields.get("evaluation") == Some(&json!(known)));
    let rows: Vec<Row> = rows.iter().filter(known).cloned().collect();
    let field = rows.first().and_then(|row| row.fields.keys().find(|key| key.contains("_pred")));
    let (Some(field), Some(last)) = (field, rows.last()) else {
        return Err(unknown(file.path, "no row of it has a prediction that can be scored"));
    };
    row.insert("evaluation".into(), last.fields["evaluation"].clone());
    row.extend(file.source.map(|source| ("source".to_owned(), json!(source))));
    let gold = column(file.path, &rows, "gt", |gold| !gold.is_null(), "the right answer")?;
    let gold: Vec<Value> = gold.as_array().into_iter().flatten().map(|gold| json!([gold])).collect();
    row.insert("prediction".into(), column(file.path, &rows, field, Value::is_string, "a text")?);
    row.insert("references".into(), gold.into());
    finish(file.path, task, ("leval_auto_eval_output", Some(field)), &row, mode)
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
    row.insert("references".into(), references.into_iter().map(|row| Value::from(row.fields)).collect());
    finish(file.path, task, ("scrolls_corpus", None), &row, mode)
}

fn finish(
    path: &Path,
    task: &str,
    (scorer, field): (&'static str, Option<&str>),
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
    Ok(FileScore { task: task.to_owned(), scorer, field: field.map(str::to_owned), n_predictions, score })
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

/// An object of a file of JSON lines.
#[derive(Clone)]
struct Row {
    /// The line, from 1.
    line: usize,
    fields: Map<String, Value>,
}

/// The objects of a file of JSON lines, of which there is at least one.
fn rows(path: &Path, text: &str) -> Result<Vec<Row>, EvalError> {
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
    let row = |(text, line): (&str, usize)| {
        let fields = serde_json::from_str(text).map_err(|error| EvalError::Line {
            path: path.to_owned(),
            line,
            reason: in_line(&error),
            help: "every line is a JSON object".into(),
        })?;
        Ok(Row { line, fields })
    };
    let rows: Vec<Row> = lines.map(row).collect::<Result<_, EvalError>>()?;
    if rows.is_empty() { Err(unknown(path, "it is empty")) } else { Ok(rows) }
}

fn is_texts(value: &Value) -> bool {
    value.as_array().is_some_and(|texts| texts.iter().all(Value::is_string))
}

/// The values of a field; one that `is` not what is expected is refused with its line.
fn column(path: &Path, rows: &[Row], field: &str, is: fn(&Value) -> bool, expected: &str) -> Result<Value, EvalError> {
    let value = |row: &Row| match row.fields.get(field) {
        Some(value) if is(value) => Ok(value.clone()),
        found => Err(EvalError::Line {
            path: path.to_owned(),
            line: row.line,
            reason: match found {
                Some(found) => format!("`{field}` is {}, not {expected}", kind(found)),
                None => format!("`{field}` is missing"),
            },
            help: format!("make `{field}` {expected}, or leave the line out"),
        }),
    };
    rows.iter().map(value).collect()
}
