//! Chinese words as the package `jieba` 0.42 cuts them, in its accurate mode with the model for unknown words.

#[cfg(feature = "jieba")]
mod cut;

use super::error::{ScoreError, Stop};
use super::row::Row;
use super::words::is_blank;

/// The words of a text, blanks and punctuation included; `None` where this build has no dictionary.
#[cfg(feature = "jieba")]
pub fn segment(text: &str) -> Option<Vec<String>> {
    Some(cut::words(text))
}

/// The words of a text, blanks and punctuation included; `None` where this build has no dictionary.
#[cfg(not(feature = "jieba"))]
pub fn segment(text: &str) -> Option<Vec<String>> {
    let _ = text;
    None
}

/// The words of a row's prediction and references: those that the row brings along, else those of the dictionary.
pub(super) fn words(row: Row<'_>) -> Result<(Vec<String>, Vec<Vec<String>>), Stop> {
    let owned = |words: Vec<&str>| words.into_iter().map(str::to_owned).collect::<Vec<_>>();
    if row.maybe("jieba_prediction").is_some() && row.maybe("jieba_references").is_some() {
        let references = row.lists("jieba_references")?;
        return Ok((owned(row.texts("jieba_prediction")?), references.into_iter().map(owned).collect()));
    }
    let cut = |text: &str| segment_or_refuse(text, row.scorer());
    let references = row.references()?.into_iter().map(cut).collect::<Result<_, _>>()?;
    Ok((cut(row.prediction()?)?, references))
}

/// The words of a text for a scorer.
pub(super) fn segment_or_refuse(text: &str, scorer: &'static str) -> Result<Vec<String>, Stop> {
    // what is blank needs no dictionary
    let blank = || text.chars().all(is_blank).then(|| text.chars().map(String::from).collect());
    segment(text).or_else(blank).ok_or_else(|| ScoreError::NoDictionary { scorer }.into())
}
