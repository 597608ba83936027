//! Files of predictions as the repositories write them: one score a file, as their evaluation reports it.
//!
//! [`score_file`] tells the repository by the fields of the rows. Data sets that a script scores as a whole go to its own sum
//! ([`crate::scorers::Scorer::is_aggregate`]); of the others, and of any file with a scorer named, rows are scored one by one (`each.rs`).

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::error::EvalError;
use crate::rows::{self, Row, kind};
use crate::scorers::{Mode, Scorer};
use crate::text::read_bytes;

mod each;

/// A file of predictions, and what else is known of it.
#[derive(Debug, Clone, Copy)]
pub struct PredictionFile<'a> {
    /// The file: JSON lines, a list of JSON objects, one object, a Parquet table, CSV with a header, or a folder of files with an object each.
    pub path: &'a Path,
    /// Name of the task, as the repository has it or `longlens tasks` lists it; what the file's name says of it up to the first dot, without
    /// what evaluations put around a task's name, where it is not given.
    pub task: Option<&'a str>,
    /// Whose copy of a script is meant, where there are several.
    pub source: Option<&'a str>,
    /// Right answers, for files that hold none: JSON lines with `id` and `output`.
    pub references: Option<&'a Path>,
    /// A scorer for every row, whatever the file is.
    pub scorer: Option<&'a str>,
    /// The field that holds predictions, where `scorer` is given and the field has no usual name.
    pub prediction_field: Option<&'a str>,
    /// The same of right answers.
    pub answer_field: Option<&'a str>,
}

/// What the evaluation of a file reports.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FileScore {
    /// Name of the task.
    pub task: String,
    /// The scorer that its format asks for, or that was named.
    pub scorer: &'static str,
    /// The field that holds the predictions; `None` of predictions by id.
    pub field: Option<String>,
    /// Predictions in the file.
    pub n_predictions: usize,
    /// The score: as [`Scorer::score`] gives it for a data set, and in percent with two digits where rows are scored one by one.
    pub score: Value,
    /// Scores of the rows, where they are scored one by one; one for which the script raises an exception counts 0.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub each: Vec<Value>,
}

/// Scores a file of LongBench (`pred` and `answers`), RULER (`pred` and `outputs`), L-Eval (`gt`, `evaluation` and a field that ends in
/// `_pred`), SCROLLS (one object of texts by id), BABILong (`output`, `target` and `question`), `InfiniteBench` (`prediction` and
/// `ground_truth`, or as LongBench's from `InfLLM`), a needle in a haystack (`needle` and `model_response`), or samples of
/// lm-evaluation-harness of these tasks (`doc` and `filtered_resps`).
///
/// Errors name the line and the field of a row that is not as the repository writes it.
pub fn score_file(file: PredictionFile<'_>, mode: Mode) -> Result<FileScore, EvalError> {
    let name = file.path.file_name().unwrap_or_default().to_string_lossy();
    let (task, is_by_length) = data_set(file.task.unwrap_or_else(|| stem(&name)));
    let rows = if file.path.is_dir() {
        rows::objects_in(file.path)?
    } else {
        let bytes = read_bytes(file.path)?;
        if let Some(by_id) = texts_by_id(&bytes).filter(|_| file.scorer.is_none()) {
            return scrolls(file, task, by_id, mode);
        }
        if is_object_of_lines(&bytes) {
            vec![rows::object(file.path, bytes)?]
        } else {
            rows::of_bytes(&file.path.into(), bytes)?
        }
    };
    let rows: Vec<Row> = rows.into_iter().map(unwrapped).collect::<Result<_, _>>()?;
    // one that is null is there, and wrong
    let has = |field: &str| rows[0].get(field).is_some();
    if file.references.is_some() {
        return Err(EvalError::File {
            path: file.path.to_owned(),
            problem: "it is no object of predictions by id, so its rows hold right answers of their own".into(),
            help: "leave the references out: they are for files of SCROLLS".into(),
        });
    }
    if let Some(asked) = each::of_request(&file, &rows[0])? {
        return asked.score(task, &rows, mode);
    }
    if let Some(known) = each::of_fields(file.path, task, &rows[0])? {
        return known.score(task, &rows, mode);
    }
    let mut row = Map::new();
    row.insert("task".into(), json!(task));
    let (scorer, field, gold) = if has("pred") && has("answers") {
        row.insert("all_classes".into(), rows[0].maybe("all_classes").cloned().unwrap_or_default());
        if is_by_length {
            row.insert("lengths".into(), column(&rows, "length", Value::is_u64, "a whole number")?);
        }
        let scorer = if is_by_length { "longbench_e_corpus" } else { "longbench_corpus" };
        (scorer, "pred", column(&rows, "answers", is_texts, "a list of texts")?)
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
        (scorer, "pred", column(&rows, "outputs", is_texts, "a list of texts")?)
    } else if has("gt") && has("evaluation") {
        return leval(file, task, &rows, row, mode);
    } else {
        return Err(unknown(file.path, "its rows have the fields of no repository's predictions"));
    };
    row.insert("prediction".into(), column(&rows, field, Value::is_string, "a text")?);
    row.insert("references".into(), gold);
    finish(file.path, task, (scorer, Some(field)), &row, mode)
}

/// What a file's name says of its task: `InfiniteBench` puts `preds_` before it, lm-evaluation-harness `samples_` before and the time behind.
fn stem(name: &str) -> &str {
    let name = name.split('.').next().unwrap_or_default();
    if let Some(name) = name.strip_prefix("samples_") {
        let is_time = |text: &str| text.len() >= 10 && text.as_bytes()[4] == b'-' && text.as_bytes()[7] == b'-';
        return name.rsplit_once('_').filter(|(_, behind)| is_time(behind)).map_or(name, |(name, _)| name);
    }
    name.strip_prefix("preds_").unwrap_or(name)
}

/// The name that a repository has for a task, which may be called as `longlens tasks` lists it, and whether it is one of LongBench-E.
fn data_set(task: &str) -> (&str, bool) {
    const FAMILIES: [&str; 8] =
        ["longbench_e_", "longbench_", "leval_", "scrolls_", "fewshot_", "ruler_", "babilong_", "infinitebench_"];
    let family = FAMILIES.into_iter().find(|family| task.starts_with(family));
    (task.strip_prefix(family.unwrap_or_default()).unwrap_or(task), family == Some(FAMILIES[0]) || task.ends_with("_e"))
}

/// How names of RULER's tasks begin.
const RULER: [&str; 5] = ["niah_", "vt", "cwe", "fwe", "qa_"];

/// A row as its task's own script has it: lm-evaluation-harness keeps the data set's row as `doc`, and the answer beside it.
fn unwrapped(row: Row) -> Result<Row, EvalError> {
    let answers = ["filtered_resps", "resps"].into_iter().find_map(|field| row.maybe(field));
    let (Some(Value::Object(doc)), Some(answers)) = (row.maybe("doc"), answers) else { return Ok(row) };
    if answers.as_array().is_some_and(|answers| answers.iter().any(is_choice)) {
        let help = "give samples of a task whose answers are generated";
        return Err(row.refuse("its answers are likelihoods of choices, not texts", help));
    }
    let answer = first_text(answers).map(|answer| ("pred".to_owned(), json!(answer)));
    // of a name that both have, the data set's field counts
    let mut fields = row.clone().into_fields();
    fields.extend(doc.clone());
    fields.extend(answer);
    Ok(row.with_fields(fields))
}

/// Whether an answer is a pair of a likelihood and whether the model would choose it.
fn is_choice(answer: &Value) -> bool {
    match answer.as_array().map(Vec::as_slice) {
        Some([_, Value::Bool(_)]) => true,
        Some([_, Value::String(chosen)]) => chosen == "True" || chosen == "False",
        Some([answer]) => is_choice(answer),
        _ => false,
    }
}

/// The first text of a list, or of its first list.
fn first_text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        Value::Array(items) => first_text(items.first()?),
        _ => None,
    }
}

/// Rows that nobody has to judge; the first field of predictions counts, as in the script.
fn leval(
    file: PredictionFile<'_>,
    task: &str,
    rows: &[Row],
    mut row: Map<String, Value>,
    mode: Mode,
) -> Result<FileScore, EvalError> {
    let known = |row: &&Row| ["exam", "f1", "rouge"].iter().any(|known| row.maybe("evaluation") == Some(&json!(known)));
    let rows: Vec<Row> = rows.iter().filter(known).cloned().collect();
    let field = rows.first().and_then(|row| row.names().find(|name| name.contains("_pred")));
    let (Some(field), Some(last)) = (field, rows.last()) else {
        return Err(unknown(file.path, "no row of it has a prediction that can be scored"));
    };
    row.insert("evaluation".into(), last.field("evaluation")?.clone());
    row.extend(file.source.map(|source| ("source".to_owned(), json!(source))));
    let gold = column(&rows, "gt", |gold| !gold.is_null(), "the right answer")?;
    let gold: Vec<Value> = gold.as_array().into_iter().flatten().map(|gold| json!([gold])).collect();
    row.insert("prediction".into(), column(&rows, field, Value::is_string, "a text")?);
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
    let references = rows::of_bytes(&path.into(), read_bytes(path)?)?;
    let mut row = Map::new();
    row.insert("task".into(), json!(task));
    row.insert("prediction".into(), by_id.into());
    row.insert("references".into(), references.into_iter().map(|row| Value::from(row.into_fields())).collect());
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
    let field = field.map(str::to_owned);
    Ok(FileScore { task: task.to_owned(), scorer, field, n_predictions, score, each: Vec::new() })
}

fn unknown(path: &Path, problem: &str) -> EvalError {
    EvalError::File {
        path: path.to_owned(),
        problem: problem.into(),
        help: "LongBench writes `pred` and `answers`, RULER `pred` and `outputs`, L-Eval `gt`, `evaluation` and `…_pred`, SCROLLS an object of texts by id, \
               BABILong `output`, `target` and `question`, InfiniteBench `prediction` and `ground_truth`, needles `needle` and `model_response`; for any other \
               file name a scorer, and the fields where they are called otherwise"
            .into(),
    }
}

/// The file as one object of texts; a row of predictions is none, whatever it holds.
fn texts_by_id(bytes: &[u8]) -> Option<Map<String, Value>> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let by_id: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
    let is_row = ["pred", "gt", "output", "prediction", "needle"].iter().any(|field| by_id.contains_key(*field));
    (!is_row && by_id.values().all(Value::is_string)).then_some(by_id)
}

/// Whether the file is one object that goes over several lines, as a result of a needle in a haystack is.
fn is_object_of_lines(bytes: &[u8]) -> bool {
    bytes.trim_ascii().contains(&b'\n') && serde_json::from_slice::<Map<String, Value>>(bytes).is_ok()
}

fn is_texts(value: &Value) -> bool {
    value.as_array().is_some_and(|texts| texts.iter().all(Value::is_string))
}

/// The values of a field; one that `is` not what is expected is refused with its line.
fn column(rows: &[Row], field: &str, is: fn(&Value) -> bool, expected: &str) -> Result<Value, EvalError> {
    let value = |row: &Row| match row.get(field) {
        Some(value) if is(value) => Ok(value.clone()),
        found => {
            let reason = match found {
                Some(found) => format!("`{field}` is {}, not {expected}", kind(found)),
                None => format!("`{field}` is missing"),
            };
            Err(row.refuse(reason, format!("make `{field}` {expected}, or leave the row out")))
        }
    };
    rows.iter().map(value).collect()
}

#[cfg(test)]
mod tests;
