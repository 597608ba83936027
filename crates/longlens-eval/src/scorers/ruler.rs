//! RULER: which of the references stand in the answer.

use serde_json::{Value, json};

use super::error::Stop;
use super::numbers::round;
use super::row::Row;
use super::words::{contains_words, strip};
use super::{Mode, best};

/// An answer without blanks around it and with a line's end in place of control characters.
pub fn cleaned(prediction: &str) -> String {
    let replaced: String = strip(prediction).chars().map(|c| if c < ' ' { '\n' } else { c }).collect();
    strip(&replaced).to_owned()
}

/// Whether `reference` stands in `prediction`, whatever their case: anywhere, or, where faults are mended, as words.
pub(super) fn is_contained(prediction: &str, reference: &str, mode: Mode) -> bool {
    let (prediction, reference) = (prediction.to_lowercase(), reference.to_lowercase());
    if mode.is_fixed() { contains_words(&prediction, &reference) } else { prediction.contains(&reference) }
}

/// The share of `references` in a prediction.
pub(super) fn share(prediction: &str, references: &[&str], mode: Mode) -> Result<f64, Stop> {
    let n = references.iter().filter(|reference| is_contained(prediction, reference, mode)).count();
    if references.is_empty() { Err(Stop::Raised("ZeroDivisionError")) } else { Ok(n as f64 / references.len() as f64) }
}

/// Whether any of `references` stands in a prediction, as 1 or 0.
pub(super) fn any(prediction: &str, references: &[&str], mode: Mode) -> Result<f64, Stop> {
    best(references, |reference| f64::from(is_contained(prediction, reference, mode)))
}

pub(super) fn string_match_all(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    percent(&[row.prediction()?], &[row.references()?], |prediction, references| share(prediction, references, mode))
}

pub(super) fn string_match_part(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    percent(&[row.prediction()?], &[row.references()?], |prediction, references| any(prediction, references, mode))
}

pub(super) fn string_match_all_corpus(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    let (predictions, references) = data_set(row, mode)?;
    percent(&predictions, &references, |prediction, references| share(prediction, references, mode))
}

pub(super) fn string_match_part_corpus(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    let (predictions, references) = data_set(row, mode)?;
    percent(&predictions, &references, |prediction, references| any(prediction, references, mode))
}

/// Lists of predictions and references; in the fixed mode a question without a prediction has an empty one.
fn data_set(row: Row<'_>, mode: Mode) -> Result<(Vec<&str>, Vec<Vec<&str>>), Stop> {
    let (mut predictions, references) = (row.texts("prediction")?, row.lists("references")?);
    if mode.is_fixed() && predictions.len() < references.len() {
        predictions.resize(references.len(), "");
    }
    Ok((predictions, references))
}

fn percent(
    predictions: &[&str],
    references: &[Vec<&str>],
    score: impl Fn(&str, &[&str]) -> Result<f64, Stop>,
) -> Result<Value, Stop> {
    let mut sum = 0.0;
    for (prediction, references) in predictions.iter().zip(references) {
        sum += score(&cleaned(prediction), references)?;
    }
    if predictions.is_empty() {
        return Err(Stop::Raised("ZeroDivisionError"));
    }
    Ok(json!(round(sum / predictions.len() as f64 * 100.0, 2)))
}
