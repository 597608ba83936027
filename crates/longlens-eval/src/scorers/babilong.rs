//! BABILong: which labels of the task an answer names.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Mode;
use super::error::Stop;
use super::row::Row;
use super::words::contains_words;

/// Whether the answer names the target and no other label; labels of the question do not count.
pub(super) fn compare_answers(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    let labels = row.texts("labels")?;
    Ok(json!(is_right(row.prediction()?, row.reference_text()?, row.text("question")?, &labels, mode)))
}

/// Whether `prediction` answers `question` with `target` alone, of the `labels` of its task.
///
/// The script looks for labels as parts of words, so `know` names "no", and "none" cannot be right since it names "one".
pub fn is_right(prediction: &str, target: &str, question: &str, labels: &[&str], mode: Mode) -> bool {
    let (answer, target, question) = (answer(prediction, mode), target.to_lowercase(), question.to_lowercase());
    let labels: BTreeSet<String> = labels.iter().map(|label| label.to_lowercase()).collect();
    let names = |text: &str, label: &str| if mode.is_fixed() { mentions(text, label) } else { text.contains(label) };
    let named: BTreeSet<&str> =
        labels.iter().map(String::as_str).filter(|label| names(&answer, label) && !names(&question, label)).collect();
    if target.contains(',') && target.chars().count() > 3 {
        let parts: Vec<&str> = if mode.is_fixed() { parts(&target) } else { target.split(',').collect() };
        return parts.iter().all(|part| named.contains(part)) && named.len() == parts.len();
    }
    named.len() == 1 && named.contains(target.as_str())
}

/// The part of an answer that counts, in small letters: its first sentence, up to where a model goes on with another example.
pub fn answer(prediction: &str, mode: Mode) -> String {
    let lower = prediction.to_lowercase();
    let mut answer = lower.as_str();
    // small letters never hold the last mark as the script spells it
    let last = if mode.is_fixed() { "question" } else { "Question" };
    for mark in [".", "<context>", "<example>", last] {
        answer = answer.split(mark).next().unwrap_or_default();
    }
    answer.to_owned()
}

/// Parts of a target that lists several labels.
pub(super) fn parts(target: &str) -> Vec<&str> {
    if target.chars().count() > 3 { target.split(',').map(str::trim).collect() } else { vec![target] }
}

/// Whether a label stands in `text` as a word; a label that lists directions also with spaces behind its commas.
pub(super) fn mentions(text: &str, label: &str) -> bool {
    contains_words(text, label) || label.contains(',') && contains_words(&text.replace(", ", ","), label)
}
