//! An answer becomes a score.

use serde_json::{Map, Value, json};

use super::record::{Answer, Outcome, Record, now};
use crate::error::EvalError;
use crate::generate::Generated;
use crate::sample::{Answering, Prediction, Sample};
use crate::scorers::{Mode, Scorer};

/// Takes a generated answer, with the answer to a second question where there is one.
pub(super) fn answered(
    record: &mut Record,
    sample: &Sample,
    answering: &Answering,
    prompt: &[u32],
    generated: &Generated,
    second: Option<String>,
) -> Result<(), EvalError> {
    let output = match second {
        Some(second) => format!("{} [fact: {second}]", generated.text),
        None => generated.text.clone(),
    };
    let prediction = answering.prediction.of(&output);
    let scorer = Scorer::named(answering.scorer).expect("tasks name scorers of the list");
    let mut row: Map<String, Value> = answering.fields.clone();
    if let Some(ids) = &answering.ids {
        // where the model stops early, the script compares ids of the prompt's end
        let last = &prompt[prompt.len().saturating_sub(ids.len() + 2)..];
        row.insert("prediction".into(), json!(generated.tokens));
        row.insert("references".into(), json!([ids]));
        row.insert("prompt_ids".into(), json!(last));
    } else {
        row.insert("prediction".into(), json!(prediction));
        row.entry("references").or_insert_with(|| json!(sample.answers));
    }
    let score = |mode| {
        scorer.score(&row, mode).map_err(|error| EvalError::Score {
            task: record.task.clone(),
            id: sample.id.clone(),
            problem: error.to_string(),
            help: error.help(),
        })
    };
    let (faithful, fixed) = (score(Mode::Faithful)?, score(Mode::Fixed)?);
    record.outcome = Outcome::Answered(Box::new(Answer {
        extracted: (answering.prediction != Prediction::Whole).then_some(prediction),
        output,
        n_generated: generated.tokens.len(),
        stop: generated.stop,
        scorer: scorer.name.to_owned(),
        scale: scorer.scale,
        faithful,
        fixed,
        seconds_to_first_token: generated.seconds_to_first_token.unwrap_or(generated.seconds),
    }));
    record.seconds = generated.seconds;
    record.finished = now();
    Ok(())
}
