//! Variants of the lm-evaluation-harness, whose numbers differ from those of the repositories it took the tasks from.

use serde_json::{Value, json};

use super::error::Stop;
use super::longbench::{code_line, code_similarity};
use super::row::Row;
use super::ruler::{any, cleaned, is_contained, share};
use super::words::{is_blank, strip};
use super::{Mode, babilong};

/// Whether the target stands anywhere in the answer, other labels beside it or not.
pub(super) fn babilong(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    let prediction = cleaned(row.prediction()?);
    let target = strip(row.reference_text()?);
    let is_right = if mode.is_fixed() {
        babilong::parts(&target.to_lowercase()).iter().all(|part| babilong::mentions(&prediction.to_lowercase(), part))
    } else {
        is_contained(&prediction, target, mode)
    };
    Ok(json!(f64::from(is_right)))
}

/// LongBench's likeness of code, by the first line that is not blank.
pub(super) fn longbench_code_sim(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    let line = code_line(row.prediction()?, |line| !line.chars().all(is_blank));
    code_similarity(row, line, mode)
}

/// RULER's share of references.
pub(super) fn ruler_string_match_all(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    Ok(json!(share(&cleaned(row.prediction()?), &row.references()?, mode)?))
}

/// RULER's score of questions, for which any reference would do: the harness takes the share of them here, too.
pub(super) fn ruler_string_match_part(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    let (prediction, references) = (cleaned(row.prediction()?), row.references()?);
    let score = if mode.is_fixed() { any } else { share };
    Ok(json!(score(&prediction, &references, mode)?))
}
