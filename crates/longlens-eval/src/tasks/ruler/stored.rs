//! Files that RULER's scripts wrote: a prompt a line, in the chat template that they were told.
//!
//! Lines are counted for ids: `index` is the answer's place in the text where the task has needles, and several lines may share it.

use std::path::Path;

use longlens_core::lens::TextCodec;
use serde::Deserialize;

use super::{Answers, CWE, FWE, NIAH, QA, VT};
use crate::error::{EvalError, in_line};
use crate::sample::{Answering, Rule, Sample};
use crate::tasks::{Ask, Samples};
use crate::text::text_of;

/// Words of the setting `kind`.
pub const KINDS: [&str; 6] = ["auto", "niah", "vt", "cwe", "fwe", "qa"];

/// A line of a file.
#[derive(Deserialize)]
struct Row {
    input: String,
    outputs: Vec<String>,
    /// Tokens of prompt and answer.
    length: Option<usize>,
    /// Older files have it at the end of `input`.
    #[serde(default)]
    answer_prefix: String,
}

/// The prompts of a file, in its order.
pub fn samples(ask: &Ask<'_>) -> Result<Samples, EvalError> {
    let name = ask.file("file", "give a file of RULER's, as `ruler_file:file=niah_single_1/validation.jsonl`")?;
    let path = Path::new(&name);
    let rows = read(path, &text_of(path, ask.files.read(&name)?)?)?;
    let kind = ask.text("kind").unwrap_or_default();
    let answers = [&NIAH, &VT, &CWE, &FWE, &QA].into_iter().find(|answers| answers.kind == kind);
    let answers = answers.or_else(|| guess(&rows[0])).ok_or_else(|| EvalError::File {
        path: path.to_owned(),
        problem: "its first prompt ends in none of RULER's questions".into(),
        help: format!("say what it is of with `kind`: {}", KINDS[1..].join(", ")),
    })?;
    // rows say how long they are, and not how long they were to be
    let length = rows.iter().filter_map(|row| row.length).max();
    let wrapper = ask.wrapper();
    let n_rows = rows.len();
    Ok(Samples::making(n_rows, move |at, codec: &dyn TextCodec| {
        let row = &rows[at];
        let prompt = wrapper.wrap(codec, &row.input, &row.answer_prefix)?;
        let text = prompt.text().unwrap_or_default();
        let is_needle = *answers == NIAH;
        let place = |answer: &String| text.find(&**answer).map(|start| start..start + answer.len());
        let evidence: Vec<_> = row.outputs.iter().filter(|_| is_needle).filter_map(place).collect();
        let depth = match &*evidence {
            [place] => Some(place.start as f64 / text.len() as f64),
            _ => None,
        };
        Ok(Sample {
            id: at.to_string(),
            evidence,
            answers: row.outputs.clone(),
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
fn guess(row: &Row) -> Option<&'static Answers> {
    let prompt = format!("{}{}", row.input, row.answer_prefix);
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

fn read(path: &Path, text: &str) -> Result<Vec<Row>, EvalError> {
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
    let rows = lines.map(|(line, number)| {
        let refuse = |reason: String, help: &str| EvalError::Line {
            path: path.to_owned(),
            line: number,
            reason,
            help: help.into(),
        };
        let form =
            "a line is {\"input\": …, \"outputs\": [answer, …], \"answer_prefix\": …}, as RULER's scripts write it";
        let row: Row = serde_json::from_str(line).map_err(|error| refuse(in_line(&error), form))?;
        if row.outputs.iter().all(String::is_empty) {
            return Err(refuse("`outputs` has no answer".into(), "give at least one, or leave the line out"));
        }
        Ok(row)
    });
    let rows: Vec<_> = rows.collect::<Result<_, _>>()?;
    if rows.is_empty() {
        let help = "name a file that RULER's scripts wrote, such as niah_single_1/validation.jsonl".into();
        return Err(EvalError::File { path: path.to_owned(), problem: "it has no lines".into(), help });
    }
    Ok(rows)
}
