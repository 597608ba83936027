//! SCROLLS' own rows, asked without examples.
//!
//! SCROLLS was made for models that are trained on it, and has no prompts. These are lm-evaluation-harness's, which asks behind the document
//! and ends an answer at a line end; the four answers of `QuALITY`, which it compares by their probabilities, stand behind the question here,
//! and the model writes one of them. A document that is too long keeps its first tokens.

use super::{EvalError, MAX_LENGTH, Question, Row, TextCodec, questions, scored};
use crate::rows;
use crate::sample::{Answering, Prompt, Rule, Sample};
use crate::tasks::{Ask, Samples, cut};

pub(super) fn zero_shot(ask: &Ask<'_>, name: &'static str) -> Result<Samples, EvalError> {
    let help = format!("give rows with `id`, `input` and `output`, as `scrolls_{name}:file={name}/validation.jsonl`");
    let stems = [format!("{name}/validation"), name.to_owned()];
    let rows = rows::opened(ask.files, &ask.file("file", &help)?, &stems)?;
    for row in &rows {
        Parts::of(name, row)?;
    }
    let questions = questions(rows, |row| Ok(Parts::of(name, row)?.document))?;
    let max_tokens = match name {
        "gov_report" => 1024,
        _ => 256,
    };
    let (limit, n) = (ask.count(MAX_LENGTH.name), ask.n_of(questions.len()));
    crate::error::expect(limit > max_tokens + 128, "max_length", limit, "enough for a document and its answer")?;
    Ok(Samples::making(n, move |at, codec| {
        let Question { id, row, answers } = &questions[at];
        let (prompt, n_truncated) = Parts::of(name, row)?.prompt(codec, limit - max_tokens)?;
        let rule = Answering { stop: vec!["\n".into()], ..scored(name, max_tokens) };
        Ok(Sample {
            id: id.clone(),
            prompt,
            answers: answers.clone(),
            rule: Rule::Answer(rule),
            length: None,
            depth: None,
            part: None,
            evidence: Vec::new(),
            n_truncated,
        })
    }))
}

/// A row's document, and what is asked behind it.
#[derive(Debug, PartialEq, Eq)]
struct Parts<'a> {
    document: &'a str,
    asked: String,
}

impl<'a> Parts<'a> {
    /// The question of a row stands before its document, with a blank line between.
    fn of(name: &str, row: &'a Row) -> Result<Self, EvalError> {
        let input = row.text("input")?;
        if ["gov_report", "summ_screen_fd"].contains(&name) {
            let asked = "\n\nQuestion: What is a summary of the preceding text?\nAnswer:".to_owned();
            return Ok(Self { document: input, asked });
        }
        let refused = |what: &str| row.refuse(what, "`input` is a question, a blank line, and the document");
        let (question, document) =
            input.split_once("\n\n").ok_or_else(|| refused("`input` has no blank line behind a question"))?;
        if name == "contract_nli" {
            return Ok(Self { document, asked: format!("\n\nHypothesis: {question}\nConclusion:") });
        }
        if !name.starts_with("quality") {
            return Ok(Self { document, asked: format!("\n\nQuestion: {question}\nAnswer:") });
        }
        let last = document.find("(D)").ok_or_else(|| refused("`input` has no answers (A) to (D)"))?;
        let (options, document) = document[last..]
            .split_once("\n\n")
            .map_or((document, ""), |(option, rest)| (&document[..last + option.len()], rest));
        Ok(Self { document: document.trim(), asked: format!("\n\nQuestion: {question}\n{options}\nAnswer:") })
    }

    /// The prompt of at most `limit` tokens, and how many tokens of the document were left out.
    fn prompt(&self, codec: &dyn TextCodec, limit: usize) -> Result<(Prompt, usize), EvalError> {
        let room = limit.saturating_sub(codec.encode(&self.asked, true)?.len());
        let (document, n_truncated) = cut::beginning(codec, self.document, room)?;
        Ok((Prompt::plain(document + &self.asked), n_truncated))
    }
}
