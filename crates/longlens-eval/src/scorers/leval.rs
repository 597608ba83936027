//! L-Eval: the answer is taken out of a prediction by rules of the task, then compared.
//!
//! The repository and ChunkLlama's copy of it differ where a multiple choice question has no letter for an answer; a row says by its `source`
//! which of them is meant, the repository where it does not.

mod choices;
mod extract;
mod output;

pub use choices::{Source, choice, choice_gold, choice_output};
pub use extract::{code_gold, code_output, has_output, judge_gold, judge_output, math, number};
pub(super) use output::auto_eval_output;

use serde_json::{Value, json};

use super::error::Stop;
use super::numbers::float;
use super::overlap::without_articles;
use super::row::Row;
use super::words::{contains_words, is_blank, is_punctuation, split};
use super::{Mode, best};

/// Whether a task's name or file asks for letters: whatever contains one of these does.
pub(super) fn is_multiple_choice(task: &str) -> bool {
    ["quality", "tpo", "coursera"].iter().any(|part| task.contains(part))
}

/// Exam questions as they are.
pub(super) fn exam_em(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    let prediction = row.prediction()?;
    percent(&row.references()?, |reference| Ok(equals(prediction, reference, mode)))
}

/// Multiple choice.
pub(super) fn multiple_choice(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    let (prediction, task, source) = (row.prediction()?, row.text("task")?, Source::of(row)?);
    let chosen = choice_output(prediction, task, source, mode);
    percent(&row.references()?, |reference| Ok(equals(&chosen, &choice_gold(reference)?, mode)))
}

/// Numbers of word problems.
pub(super) fn math_problem(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    let prediction = row.prediction()?;
    percent(&row.references()?, |reference| Ok(math_equals(prediction, reference, mode)))
}

fn math_equals(prediction: &str, reference: &str, mode: Mode) -> f64 {
    if mode.is_fixed() {
        let is_near = |(found, right): (f64, f64)| (found - right).abs() <= 1e-9 * right.abs();
        return f64::from(number(prediction).zip(number(reference)).is_some_and(is_near));
    }
    equals(&math(prediction), &math(reference), mode)
}

/// Outputs of programs.
pub(super) fn code(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    let prediction = row.prediction()?;
    percent(&row.references()?, |reference| Ok(code_equals(prediction, reference, mode)))
}

fn code_equals(prediction: &str, reference: &str, mode: Mode) -> f64 {
    let (found, right) = (code_output(prediction, reference, mode), code_gold(reference, mode));
    if mode.is_fixed() { f64::from(has_output(&found, &right) || found == right) } else { equals(&found, &right, mode) }
}

/// Two truth values: after the story, and in fact.
pub(super) fn judge(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    let gold = judge_gold(row.reference_text()?).ok_or(Stop::Raised("extraction"))?;
    let [loyalty, fact] = judge_output(row.prediction()?, mode).ok_or(Stop::Raised("extraction"))?;
    let score = |found: &str, right: &str| 100.0 * equals(found, right, mode);
    Ok(json!({ "loyalty": score(loyalty, &gold[0]), "fact": score(fact, &gold[1]) }))
}

fn percent(references: &[&str], score: impl Fn(&str) -> Result<f64, Stop>) -> Result<Value, Stop> {
    let scores: Vec<f64> = references.iter().map(|reference| score(reference)).collect::<Result<_, _>>()?;
    let mut scores = scores.into_iter();
    Ok(json!(100.0 * best(references, |_| scores.next().unwrap_or_default())?))
}

/// How far an answer agrees, from 0 to 1.
///
/// If the right answer holds letters A to D alone (or none), the same letters are 1 and some of them, or nothing, a quarter. Else, if both are
/// numbers, their equality decides, so that nan is wrong; else whether the right answer stands in the other, whatever case and spaces.
/// Where faults are mended, nothing is worth nothing, numbers may have commas, and the right answer has to stand there as words.
pub(super) fn equals(prediction: &str, reference: &str, mode: Mode) -> f64 {
    let (given, right) = (bare(prediction), bare(reference));
    let is_marks = mode.is_fixed() && right.is_empty() && !reference.chars().all(is_blank);
    if right.chars().all(|c| ('A'..='D').contains(&c)) && !is_marks {
        let is_part = given.chars().all(|c| right.contains(c)) && !(mode.is_fixed() && given.is_empty());
        return if given == right { 1.0 } else { 0.25 * f64::from(is_part) };
    }
    let is_fixed = mode.is_fixed();
    let number = |text: &str| if is_fixed { float(&text.replace(',', "")) } else { float(text) };
    if let Some((given, right)) = number(prediction).zip(number(reference)) {
        let is_same = given.partial_cmp(&right).is_some_and(std::cmp::Ordering::is_eq);
        return f64::from(is_same || is_fixed && given.is_nan() && right.is_nan());
    }
    f64::from(if is_fixed {
        let spaced = |text: &str| split(&text.to_lowercase()).collect::<Vec<_>>().join(" ");
        contains_words(&spaced(prediction), &spaced(reference))
    } else {
        let joined = |text: &str| text.replace(' ', "").to_lowercase();
        joined(prediction).contains(&joined(reference))
    })
}

/// Without ASCII's punctuation and articles in small letters, one space between words; the case stays.
fn bare(text: &str) -> String {
    let text: String = text.chars().filter(|c| !is_punctuation(*c)).collect();
    split(&without_articles(&text)).collect::<Vec<_>>().join(" ")
}
