//! What `auto_eval.py` prints for a file of predictions.

use serde_json::{Map, Value, json};

use super::{Source, choice_gold, choice_output, code_equals, code_output, equals, math_equals};
use super::{is_multiple_choice, judge_gold, judge_output, math};
use crate::scorers::error::Stop;
use crate::scorers::numbers::{repr, round};
use crate::scorers::row::Row;
use crate::scorers::scrolls::{self, Measure};
use crate::scorers::{Mode, best};

/// Extracted answers of a file, the right ones, and how each pair scores from 0 to 1.
struct Answers {
    predictions: Vec<String>,
    scores: Vec<f64>,
}

/// The lines, as Python prints its objects.
pub(in crate::scorers) fn auto_eval_output(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    let (task, predictions, references) = (row.text("task")?, row.texts("prediction")?, row.lists("references")?);
    let measure = match row.text("evaluation")? {
        "exam" => None,
        "f1" => Some(Measure::F1),
        "rouge" => Some(Measure::Rouge),
        _ => return Err(row.refused("evaluation", row.field("evaluation")?, "`exam`, `f1` or `rouge`")),
    };
    if let Some(measure) = measure {
        let report = scrolls::report(measure, &predictions, &references, "LEval_score", true, mode)?;
        let title = (measure == Measure::Rouge).then(|| "begin evaluating: rouge".to_owned());
        return Ok(json!(title.into_iter().chain([python(&report.into())]).collect::<Vec<_>>()));
    }
    let pairs = || predictions.iter().zip(&references);
    if task.contains("sci_fi") {
        return story(pairs(), mode);
    }
    let (source, mut answers) = (Source::of(row)?, Answers { predictions: Vec::new(), scores: Vec::new() });
    for (prediction, references) in pairs() {
        let of = |score: &dyn Fn(&str) -> Result<f64, Stop>| -> Result<f64, Stop> {
            let scores: Vec<f64> = references.iter().map(|right| score(right)).collect::<Result<_, _>>()?;
            let mut scores = scores.into_iter();
            best(references, |_| scores.next().unwrap_or_default())
        };
        let (answer, score) = if is_multiple_choice(task) {
            let chosen = choice_output(prediction, task, source, mode);
            let score = of(&|right| Ok(equals(&chosen, &choice_gold(right)?, mode)))?;
            (chosen, score)
        } else if task.contains("gsm") {
            (math(prediction), of(&|right| Ok(math_equals(prediction, right, mode)))?)
        } else if task.contains("codeU") {
            let gold = references.first().copied().unwrap_or_default();
            (code_output(prediction, gold, mode), of(&|right| Ok(code_equals(prediction, right, mode)))?)
        } else {
            ((*prediction).to_owned(), of(&|right| Ok(equals(prediction, right, mode)))?)
        };
        answers.scores.push(score);
        answers.predictions.push(answer);
    }
    if task.contains("topic_retrieval") { topics(&answers) } else { Ok(json!([python(&report(&answers)?.into())])) }
}

/// Two truth values a question, and the mean of their scores.
fn story<'a>(pairs: impl Iterator<Item = (&'a &'a str, &'a Vec<&'a str>)>, mode: Mode) -> Result<Value, Stop> {
    let mut parts = [(); 2].map(|()| Answers { predictions: Vec::new(), scores: Vec::new() });
    for (prediction, references) in pairs {
        let found = judge_output(prediction, mode).ok_or(Stop::Raised("IndexError"))?;
        let right = references.first().and_then(|right| judge_gold(right)).ok_or(Stop::Raised("IndexError"))?;
        for ((answers, found), right) in parts.iter_mut().zip(found).zip(right) {
            answers.scores.push(equals(found, &right, mode));
            answers.predictions.push(found.to_owned());
        }
    }
    let [loyalty, fact] = [report(&parts[0])?, report(&parts[1])?];
    let mean = f64::midpoint(score(&loyalty), score(&fact));
    Ok(json!([
        format!("loyalty score: {}", python(&loyalty.into())),
        format!("fact score: {}", python(&fact.into())),
        format!("average score of fact and loyalty: {}", repr(mean)),
    ]))
}

/// Every third question asks for the first, the second and the third topic.
fn topics(answers: &Answers) -> Result<Value, Stop> {
    let (mut lines, mut sum) = (Vec::new(), 0.0);
    for first in 0..3 {
        let every_third = |at: &usize| at % 3 == first;
        let places: Vec<usize> = (0..answers.scores.len()).filter(every_third).collect();
        let report = report(&Answers {
            predictions: places.iter().map(|at| answers.predictions[*at].clone()).collect(),
            scores: places.iter().map(|at| answers.scores[*at]).collect(),
        })?;
        sum += score(&report);
        lines.push(format!("first {} sentence retrieval score: {}", first + 1, python(&report.into())));
    }
    lines.push(format!("average score of the 1st/2nd/3rd sentence retrieval: {}", repr(sum / 3.0)));
    Ok(json!(lines))
}

fn score(report: &Map<String, Value>) -> f64 {
    report["LEval_score"].as_f64().unwrap_or_default()
}

fn report(answers: &Answers) -> Result<Map<String, Value>, Stop> {
    if answers.scores.is_empty() {
        return Err(Stop::Raised("ZeroDivisionError"));
    }
    let percent = 100.0 * answers.scores.iter().sum::<f64>() / answers.scores.len() as f64;
    let mut report = Map::new();
    report.insert("exact_match".into(), json!(round(percent, 4)));
    let predictions: Vec<&str> = answers.predictions.iter().map(String::as_str).collect();
    scrolls::finish(&mut report, "exact_match", &["exact_match"], "LEval_score", true, &predictions);
    Ok(report)
}

/// `str(value)` of Python; texts here hold no quotes.
fn python(value: &Value) -> String {
    let list = |items: Vec<String>| items.join(", ");
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(value) => if *value { "True" } else { "False" }.to_owned(),
        Value::Number(number) if number.is_f64() => repr(number.as_f64().unwrap_or_default()),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("'{text}'"),
        Value::Array(items) => format!("[{}]", list(items.iter().map(python).collect())),
        Value::Object(fields) => {
            format!("{{{}}}", list(fields.iter().map(|(key, value)| format!("'{key}': {}", python(value))).collect()))
        }
    }
}
