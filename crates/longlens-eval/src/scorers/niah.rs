//! Offline scores for answers about a needle in a haystack: those of Long-Context-Data-Engineering, and one by facts.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Mode;
use super::error::Stop;
use super::rouge_score::{Words, rouge1};
use super::row::Row;
use super::ruler::share;
use super::words::{is_punctuation, split};

/// The share of the expected words that the answer has. The script divides by all words of the needle though it counts each once, and
/// takes punctuation for a part of words: with a word that stands twice no answer scores 1.
pub(super) fn keyword_recall(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    let (prediction, expected) = (row.prediction()?.to_lowercase(), row.reference_text()?.to_lowercase());
    let bare = |word| if mode.is_fixed() { str::trim_matches(word, is_punctuation) } else { word };
    let words = |text| split(text).map(bare).filter(|word| !word.is_empty()).collect::<Vec<_>>();
    let (answered, expected) = (words(&prediction), words(&expected));
    let (answered, different): (BTreeSet<&str>, BTreeSet<&str>) =
        (answered.into_iter().collect(), expected.iter().copied().collect());
    let n = if mode.is_fixed() { different.len() } else { expected.len() };
    if n == 0 {
        return Err(Stop::Raised("ZeroDivisionError"));
    }
    Ok(json!(answered.intersection(&different).count() as f64 / n as f64))
}

/// ROUGE-1 of the stems of needle and answer, times 10.
pub(super) fn rouge1_stemmed(row: Row<'_>, _: Mode) -> Result<Value, Stop> {
    Ok(json!(rouge1(row.prediction()?, row.reference_text()?, Words::AsciiStems) * 10.0))
}

/// The share of facts that the answer tells, whatever their case.
pub(super) fn facts(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    Ok(json!(share(row.prediction()?, &row.references()?, mode)?))
}
