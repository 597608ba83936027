//! SCROLLS, in the copy that ChunkLlama ships for its few-shot experiments.

use serde_json::{Map, Value, json};

use super::error::{ScoreError, Stop};
use super::numbers::round;
use super::overlap::{normalized, word_f1};
use super::rouge_score::{Words, rouge};
use super::row::Row;
use super::{Mode, best, larger, mean};

/// The measure of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Equal after normalization.
    ExactMatch,
    /// F1 of normalized words.
    F1,
    /// Geometric mean of three ROUGE measures.
    Rouge,
}

/// Data sets, and how each is scored.
pub const TASKS: [(&str, Measure); 8] = [
    ("contract_nli", Measure::ExactMatch),
    ("gov_report", Measure::Rouge),
    ("narrative_qa", Measure::F1),
    ("qasper", Measure::F1),
    ("qmsum", Measure::Rouge),
    ("summ_screen_fd", Measure::Rouge),
    ("quality", Measure::ExactMatch),
    ("quality_hard", Measure::ExactMatch),
];

/// F1 of normalized words against the best reference, up to 100.
pub(super) fn f1(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    Ok(json!(of_f1(&[row.prediction()?], &[row.references()?], mode)?))
}

/// Whether normalized texts are equal, up to 100.
pub(super) fn exact_match(row: Row<'_>, _: Mode) -> Result<Value, Stop> {
    Ok(json!(of_exact_match(&[row.prediction()?], &[row.references()?])?))
}

/// ROUGE measures up to 100, each against the reference that is best for it, and their geometric mean.
pub(super) fn rouge_measures(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    Ok(named(of_rouge(&[row.prediction()?], &[row.references()?], mode)?))
}

/// The measures of a data set before they are rounded.
pub(super) fn corpus_unrounded(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    let (predictions, references) = data_set(row, mode)?;
    Ok(match measure(row)? {
        Measure::Rouge => named(of_rouge(&predictions, &references, mode)?),
        Measure::F1 => json!({ "f1": of_f1(&predictions, &references, mode)? }),
        Measure::ExactMatch => json!({ "exact_match": of_exact_match(&predictions, &references)? }),
    })
}

/// What the evaluation reports for a data set.
pub(super) fn corpus(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    let (predictions, references) = data_set(row, mode)?;
    let has_score = row.text("task")? != "quality_hard";
    Ok(report(measure(row)?, &predictions, &references, "scrolls_score", has_score, mode)?.into())
}

fn measure(row: Row<'_>) -> Result<Measure, Stop> {
    let task = row.text("task")?;
    let known = || TASKS.map(|(name, _)| name).join(", ");
    let found = TASKS.iter().find(|(name, _)| *name == task).map(|(_, measure)| *measure);
    Ok(found.ok_or_else(|| ScoreError::Task { scorer: row.scorer(), task: task.to_owned(), known: known() })?)
}

/// Predictions and references of a data set: two lists, or texts by id and rows with `id` and `output`.
///
/// Rows of one id are references of one question. Where predictions have ids, the script scores those alone that are there; the fixed mode
/// takes a question without a prediction for an empty answer.
fn data_set(row: Row<'_>, mode: Mode) -> Result<(Vec<&str>, Vec<Vec<&str>>), Stop> {
    let Some(by_id) = row.field("prediction")?.as_object() else {
        let (mut predictions, references) = (row.texts("prediction")?, row.lists("references")?);
        if mode.is_fixed() && predictions.len() < references.len() {
            predictions.resize(references.len(), "");
        }
        return Ok((predictions, references));
    };
    let expected = "a list of objects with `id` and `output`";
    let mut gold: Map<String, Value> = Map::new();
    let mut outputs: Vec<Vec<&str>> = Vec::new();
    for item in row.items("references", expected)? {
        let text =
            |name| item.get(name).and_then(Value::as_str).ok_or_else(|| row.refused("references", item, expected));
        let place =
            gold.entry(text("id")?).or_insert_with(|| json!(outputs.len())).as_u64().unwrap_or_default() as usize;
        if place == outputs.len() {
            outputs.push(Vec::new());
        }
        outputs[place].push(text("output")?);
    }
    let (mut predictions, mut references) = (Vec::new(), Vec::new());
    if mode.is_fixed() {
        for (id, place) in &gold {
            let given = by_id.get(id).unwrap_or(&Value::Null);
            predictions.push(given.as_str().unwrap_or_default());
            references.push(outputs[place.as_u64().unwrap_or_default() as usize].clone());
        }
        return Ok((predictions, references));
    }
    for (id, given) in by_id {
        predictions.push(given.as_str().ok_or_else(|| row.refused("prediction", given, "an object of texts by id"))?);
        let place = gold.get(id).and_then(Value::as_u64).ok_or(Stop::Raised("KeyError"))?;
        references.push(outputs[place as usize].clone());
    }
    Ok((predictions, references))
}

/// The object that the evaluation of a data set prints, of which `score_key` is the headline.
pub(super) fn report(
    measure: Measure,
    predictions: &[&str],
    references: &[Vec<&str>],
    score_key: &str,
    has_score: bool,
    mode: Mode,
) -> Result<Map<String, Value>, Stop> {
    let mut report = Map::new();
    let (headline, display): (&str, &[&str]) = match measure {
        Measure::Rouge => {
            let measures = of_rouge(predictions, references, mode)?;
            for (name, value) in measures {
                report.insert(format!("rouge/{name}"), json!(round(value, 4)));
            }
            ("rouge/geometric_mean", &["rouge/rouge1", "rouge/rouge2", "rouge/rougeL"])
        }
        Measure::F1 => {
            report.insert("f1".into(), json!(round(of_f1(predictions, references, mode)?, 4)));
            ("f1", &["f1"])
        }
        Measure::ExactMatch => {
            report.insert("exact_match".into(), json!(round(of_exact_match(predictions, references)?, 4)));
            ("exact_match", &["exact_match"])
        }
    };
    finish(&mut report, headline, display, score_key, has_score, predictions);
    Ok(report)
}

/// What stands behind the measures in every report.
pub(super) fn finish(
    report: &mut Map<String, Value>,
    headline: &str,
    display: &[&str],
    score_key: &str,
    has_score: bool,
    predictions: &[&str],
) {
    let n_characters: usize = predictions.iter().map(|text| text.chars().count()).sum();
    report.insert("num_predicted".into(), json!(predictions.len()));
    let mean_length = n_characters as f64 / predictions.len() as f64;
    report.insert("mean_prediction_length_characters".into(), json!(round(mean_length, 4)));
    let score = if has_score { report[headline].clone() } else { Value::Null };
    report.insert(score_key.into(), score);
    let shown: Vec<Value> = display.iter().map(|key| report[*key].clone()).collect();
    report.insert("display_keys".into(), json!(display));
    report.insert("display".into(), shown.into());
}

pub(super) fn of_f1(predictions: &[&str], references: &[Vec<&str>], mode: Mode) -> Result<f64, Stop> {
    percent(predictions, references, |prediction, reference| word_f1(prediction, reference, mode.is_fixed()))
}

fn of_exact_match(predictions: &[&str], references: &[Vec<&str>]) -> Result<f64, Stop> {
    percent(predictions, references, |prediction, reference| f64::from(normalized(prediction) == normalized(reference)))
}

/// 100 times the sum of the best scores, by the number of predictions.
pub(super) fn percent(
    predictions: &[&str],
    references: &[Vec<&str>],
    score: impl Fn(&str, &str) -> f64,
) -> Result<f64, Stop> {
    let mut sum = 0.0;
    for (prediction, references) in predictions.iter().zip(references) {
        sum += best(references, |reference| score(prediction, reference))?;
    }
    if predictions.is_empty() {
        Err(Stop::Raised("ZeroDivisionError"))
    } else {
        Ok(100.0 * sum / predictions.len() as f64)
    }
}

/// Means over a data set of `rouge1`, `rouge2`, `rougeL` and `rougeLsum`, and the geometric mean of the first three means.
fn of_rouge(predictions: &[&str], references: &[Vec<&str>], mode: Mode) -> Result<[(&'static str, f64); 5], Stop> {
    let words = if mode.is_fixed() { Words::AnyScript } else { Words::Ascii };
    let mut scores: [Vec<f64>; 4] = Default::default();
    for (at, prediction) in predictions.iter().enumerate() {
        let references = references.get(at).ok_or(Stop::Raised("IndexError"))?;
        let measures = |reference: &&str| {
            let is_nothing = mode.is_fixed() && prediction.is_empty() && reference.is_empty();
            let rouge = rouge(prediction, reference, words).ok_or(ScoreError::TooLong)?;
            let all = [rouge.rouge1, rouge.rouge2, rouge.rouge_l, rouge.rouge_l_sum];
            Ok(if is_nothing { [100.0; 4] } else { all.map(|measure| measure * 100.0) })
        };
        let measures: Vec<[f64; 4]> = references.iter().map(measures).collect::<Result<_, Stop>>()?;
        // a question without references leaves no score behind
        if let Some(best) =
            measures.into_iter().reduce(|best, next| std::array::from_fn(|at| larger(best[at], next[at])))
        {
            scores.iter_mut().zip(best).for_each(|(scores, score)| scores.push(score));
        }
    }
    let means: Vec<f64> =
        scores.iter().map(|scores| mean(scores)).collect::<Result<_, _>>().map_err(|_| Stop::Raised("KeyError"))?;
    let geometric = (means[0] * means[1] * means[2]).powf(1.0 / 3.0);
    Ok([
        ("rouge1", means[0]),
        ("rouge2", means[1]),
        ("rougeL", means[2]),
        ("rougeLsum", means[3]),
        ("geometric_mean", geometric),
    ])
}

fn named(measures: [(&'static str, f64); 5]) -> Value {
    measures.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect::<Map<_, _>>().into()
}
