//! Predictions that are scored row by row: the score of the file is their mean.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{FileScore, PredictionFile};
use crate::error::EvalError;
use crate::evaluate::{Measure, mean_score, number};
use crate::rows::Row;
use crate::scorers::{Mode, Scorer};
use crate::tasks::{Mean, babilong};

/// Usual names of fields with predictions, the likeliest first.
const PREDICTIONS: [&str; 7] =
    ["prediction", "pred", "output", "response", "model_response", "predicted_answer", "model_output"];
/// The same of right answers.
const ANSWERS: [&str; 8] =
    ["references", "answers", "outputs", "answer", "target", "ground_truth", "expected_answer", "gt"];

/// How every row of a file is scored.
#[derive(Debug)]
pub(super) struct Each {
    scorer: &'static Scorer,
    prediction: String,
    answer: String,
    /// What the scorer reads beside them and the rows do not hold.
    fields: Map<String, Value>,
}

/// What was asked for, where a scorer is named.
pub(super) fn of_request(file: &PredictionFile<'_>, row: &Row) -> Result<Option<Each>, EvalError> {
    let Some(name) = file.scorer else { return Ok(None) };
    let refused = |problem: String, help: String| EvalError::File { path: file.path.to_owned(), problem, help };
    let scorer = Scorer::named(name).map_err(|error| refused(error.to_string(), error.help()))?;
    if scorer.is_aggregate {
        let problem = format!("`{name}` does not score predictions one by one");
        return Err(refused(problem, "name the scorer of one prediction, or leave it out".into()));
    }
    let field = |given: Option<&str>, usual: &[&str], what: &str, flag: &str| {
        let found = given.map(|given| row.field(given).map(|_| given)).transpose()?;
        let found = found.or_else(|| usual.iter().copied().find(|name| row.maybe(name).is_some()));
        found.map(str::to_owned).ok_or_else(|| {
            let names: Vec<&str> = row.names().collect();
            row.refuse(
                format!("none of its fields is a usual one of {what}: {}", names.join(", ")),
                format!("name the field with `{flag}`"),
            )
        })
    };
    let prediction = field(file.prediction_field, &PREDICTIONS, "predictions", "prediction-field")?;
    let answer = field(file.answer_field, &ANSWERS, "right answers", "answer-field")?;
    let mut fields = Map::new();
    for (name, value) in [("task", file.task), ("source", file.source)] {
        let is_read = scorer.extras.iter().any(|extra| extra.trim_end_matches('?') == name);
        fields.extend(value.filter(|_| is_read).map(|value| (name.to_owned(), json!(value))));
    }
    Ok(Some(Each { scorer, prediction, answer, fields }))
}

/// What the fields of a repository's row ask for; `None` where they are of none that scores row by row.
pub(super) fn of_fields(path: &Path, task: &str, row: &Row) -> Result<Option<Each>, EvalError> {
    let has = |field: &str| row.get(field).is_some();
    let each = |scorer: &'static Scorer, prediction: &str, answer: &str| Each {
        scorer,
        prediction: prediction.to_owned(),
        answer: answer.to_owned(),
        fields: Map::new(),
    };
    let named = |name: &str| Scorer::named(name).expect("a scorer of the list");
    let prediction = ["output", "pred"].into_iter().find(|field| has(field));
    if let Some(prediction) = prediction.filter(|_| has("target") && has("question")) {
        // names go on with the length and what stood in the prompt
        let name = task.split('_').next().unwrap_or_default();
        let labels = babilong::labels(name).ok_or_else(|| EvalError::File {
            path: path.to_owned(),
            problem: format!("no task of BABILong is called `{name}`"),
            help: "say which it is of: qa1, …, qa20".into(),
        })?;
        let mut each = each(named("babilong_compare_answers"), prediction, "target");
        each.fields.insert("labels".into(), json!(labels));
        return Ok(Some(each));
    }
    if has("needle") && has("model_response") {
        return Ok(Some(each(named("niah_keyword_recall"), "model_response", "needle")));
    }
    let fields = [("prediction", "ground_truth"), ("pred", "answers")];
    let Some((prediction, answer)) = fields.into_iter().find(|(prediction, answer)| has(prediction) && has(answer))
    else {
        return Ok(None);
    };
    match Scorer::named(&format!("infinitebench_{task}")) {
        Ok(scorer) => Ok(Some(each(scorer, prediction, answer))),
        Err(_) if prediction == "pred" => Ok(None),
        Err(_) => Err(EvalError::File {
            path: path.to_owned(),
            problem: format!("no task of InfiniteBench with a scorer is called `{task}`"),
            help: "say which it is of: passkey, number_string, kv_retrieval, longbook_choice_eng, math_find, code_run"
                .into(),
        }),
    }
}

impl Each {
    /// The scores of rows and their mean, in percent with two digits.
    pub(super) fn score(&self, task: &str, rows: &[Row], mode: Mode) -> Result<FileScore, EvalError> {
        let each: Vec<Value> = rows.iter().map(|row| self.of_row(row, mode)).collect::<Result<_, _>>()?;
        let is_rouge = each.iter().any(|score| score.get("geometric_mean").is_some());
        let mean = if is_rouge { Mean::RougeGeometric } else { Mean::Plain };
        let measure = |value: &Value| match mean {
            Mean::RougeGeometric => Measure::of_rouge(value),
            _ => Measure::Share(number(value).unwrap_or(0.0) / self.scorer.scale),
        };
        let percent = mean_score(&each.iter().map(measure).collect::<Vec<_>>(), mean, mode);
        Ok(FileScore {
            task: task.to_owned(),
            scorer: self.scorer.name,
            field: Some(self.prediction.clone()),
            n_predictions: rows.len(),
            score: json!((percent * 100.0).round() / 100.0),
            each,
        })
    }

    fn of_row(&self, row: &Row, mode: Mode) -> Result<Value, EvalError> {
        let mut fields = self.fields.clone();
        for name in self.scorer.extras.iter().map(|name| name.trim_end_matches('?')) {
            if let Some(value) = row.maybe(name) {
                fields.insert(name.to_owned(), value.clone());
            }
        }
        let answers = match row.field(&self.answer)? {
            list @ Value::Array(_) => list.clone(),
            Value::String(text) if ["['", "[\""].iter().any(|begin| text.starts_with(begin)) => {
                let help = "give JSON lines, in which a list is a list";
                return Err(row.refuse(format!("`{}` is a list written as a text", self.answer), help));
            }
            answer => json!([answer]),
        };
        fields.insert("references".into(), answers);
        // an empty field of a table is an answer of no words
        let prediction = row.get(&self.prediction).filter(|value| !value.is_null());
        let missing = || row.refuse(format!("`{}` is missing", self.prediction), "leave the row out, or answer \"\"");
        fields.insert("prediction".into(), prediction.ok_or_else(missing)?.clone());
        self.scorer.score(&fields, mode).map_err(|error| {
            let own = |text: String| {
                text.replace("`prediction`", &format!("`{}`", self.prediction))
                    .replace("`references`", &format!("`{}`", self.answer))
            };
            row.refuse(own(error.to_string()), own(error.help()))
        })
    }
}
