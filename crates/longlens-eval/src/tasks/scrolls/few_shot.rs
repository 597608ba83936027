//! `ChunkLlama`'s few-shot script: the document, then examples and the question, for base models.
//!
//! A document that is too long keeps its last words, and 200 tokens stay free for all that follows it, examples and answer included, so
//! that a prompt with long examples is longer than asked for.

use super::{EvalError, LensError, MAX_LENGTH, Question, Row, TextCodec, questions, scored};
use crate::rows;
use crate::sample::{Answering, Prediction, Prompt, Rule, Sample};
use crate::tasks::cut::{Keep, by_words};
use crate::tasks::{Ask, Samples};

/// Tokens that the script keeps free of the document, beside those of the answer.
const ROOM: usize = 200;

pub(super) fn few_shot(ask: &Ask<'_>, name: &'static str) -> Result<Samples, EvalError> {
    let help = format!("give rows with `query_examples` and `output_examples`, as `fewshot_{name}:file={name}.jsonl`");
    // the names that the papers' tables and the data sets' hubs have
    let stems = [name.to_owned(), name.replace('_', "")];
    let rows = rows::opened(ask.files, &ask.file("file", &help)?, &stems)?;
    for row in &rows {
        asked(row)?;
        row.text("input")?;
    }
    let questions = questions(rows, |row| row.text("input"))?;
    let max_tokens = if name == "qmsum" { 128 } else { 64 };
    let limit = ask.count(MAX_LENGTH.name) - max_tokens;
    let n = ask.n_of(questions.len());
    Ok(Samples::making(n, move |at, codec| {
        let Question { id, row, answers } = &questions[at];
        let (document, n_truncated) = document(codec, row.text("input")?, limit)?;
        Ok(Sample {
            id: id.clone(),
            prompt: Prompt::plain(document + &asked(row)?),
            answers: answers.clone(),
            rule: Rule::Answer(Answering { prediction: Prediction::FirstQuestion, ..scored(name, max_tokens) }),
            length: None,
            depth: None,
            part: None,
            evidence: Vec::new(),
            n_truncated,
        })
    }))
}

/// The document's last words, and how many were left out.
fn document(codec: &dyn TextCodec, text: &str, limit: usize) -> Result<(String, usize), LensError> {
    by_words(codec, text, limit.saturating_sub(ROOM), (limit, 100), Keep::Last)
}

/// What follows the document.
fn asked(row: &Row) -> Result<String, EvalError> {
    let (queries, outputs) = (row.texts("query_examples")?, row.texts("output_examples")?);
    if queries.len() != outputs.len() {
        let counts = format!("{} `query_examples` have {} `output_examples`", queries.len(), outputs.len());
        return Err(row.refuse(counts, "give every example its answer"));
    }
    let example = |(query, output)| format!("\n\nQuestion: {query} \nAnswer:{output}");
    let examples = queries.iter().zip(&outputs).map(example);
    Ok(examples.chain([format!("\n\nQuestion: {} \nAnswer:", row.text("query")?)]).collect())
}
