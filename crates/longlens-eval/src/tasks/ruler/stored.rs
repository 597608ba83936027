//! Files that RULER's scripts wrote: a prompt a line, in the chat template that they were told.
//!
//! Lines are counted for ids: `index` is the answer's place in the text where the task has needles, and several lines may share it.

use longlens_core::lens::TextCodec;

use super::{Answers, CWE, FWE, NIAH, QA, VT};
use crate::error::EvalError;
use crate::rows::{Row, read};
use crate::sample::{Answering, Rule, Sample};
use crate::tasks::{Ask, Samples};

/// Words of the setting `kind`.
pub const KINDS: [&str; 6] = ["auto", "niah", "vt", "cwe", "fwe", "qa"];

/// A line of a file.
struct Line {
    input: String,
    outputs: Vec<String>,
    /// Tokens of prompt and answer.
    length: Option<usize>,
    /// Older files have it at the end of `input`.
    answer_prefix: String,
}

impl Line {
    fn of(row: &Row) -> Result<Self, EvalError> {
        Ok(Self {
            input: row.text("input")?.to_owned(),
            outputs: row.answers("outputs")?.into_iter().map(str::to_owned).collect(),
            length: row.maybe("length").map(|_| row.count("length")).transpose()?,
            answer_prefix: row.maybe_text("answer_prefix")?.unwrap_or_default().to_owned(),
        })
    }
}

/// The prompts of a file, in its order.
pub fn samples(ask: &Ask<'_>) -> Result<Samples, EvalError> {
    let name = ask.file("file", "give a file of RULER's, as `ruler_file:file=niah_single_1/validation.jsonl`")?;
    let lines: Vec<Line> = read(ask.files, &name)?.iter().map(Line::of).collect::<Result<_, _>>()?;
    let kind = ask.text("kind").unwrap_or_default();
    let answers = [&NIAH, &VT, &CWE, &FWE, &QA].into_iter().find(|answers| answers.kind == kind);
    let answers = answers.or_else(|| guess(&lines[0])).ok_or_else(|| EvalError::File {
        path: name.clone().into(),
        problem: "its first prompt ends in none of RULER's questions".into(),
        help: format!("say what it is of with `kind`: {}", KINDS[1..].join(", ")),
    })?;
    // lines say how long they are, and not how long they were to be
    let length = lines.iter().filter_map(|line| line.length).max();
    let wrapper = ask.wrapper();
    let n_lines = ask.n_of(lines.len());
    Ok(Samples::making(n_lines, move |at, codec: &dyn TextCodec| {
        let line = &lines[at];
        let prompt = wrapper.wrap(codec, &line.input, &line.answer_prefix)?;
        let text = prompt.text().unwrap_or_default();
        let is_needle = *answers == NIAH;
        let place = |answer: &String| text.find(&**answer).map(|start| start..start + answer.len());
        let evidence: Vec<_> = line.outputs.iter().filter(|_| is_needle).filter_map(place).collect();
        let depth = match &*evidence {
            [place] => Some(place.start as f64 / text.len() as f64),
            _ => None,
        };
        Ok(Sample {
            id: at.to_string(),
            evidence,
            answers: line.outputs.clone(),
            rule: Rule::Answer(Answering::new(answers.n_tokens, answers.scorer)),
            length,
            depth,
            part: None,
            n_truncated: 0,
            prompt,
        })
    }))
}

/// What a file is of, by the words that begin an answer.
fn guess(line: &Line) -> Option<&'static Answers> {
    let prompt = format!("{}{}", line.input, line.answer_prefix);
    let end = &prompt[prompt.rfind('\n').map_or(0, |at| at + 1)..];
    let kinds = [
        (&NIAH, "special magic"),
        (&VT, "variables are assigned the value"),
        (&CWE, "words that appear most often in the list are"),
        (&FWE, "most frequently appeared words are"),
        (&QA, "Answer:"),
    ];
    kinds.into_iter().find(|(_, words)| end.contains(words)).map(|(answers, _)| answers)
}
