//! SCROLLS: questions and summaries, with examples as `ChunkLlama`'s script asks them, and without.
//!
//! Shaham et al., 2022, "SCROLLS: Standardized `CompaRison` Over Long Language Sequences", arXiv:2201.03533.

use std::collections::HashMap;

use longlens_core::lens::{LensError, TextCodec};
use longlens_core::setting::{Fallback, Info, Kind, Param};

use self::few_shot::few_shot;
use self::zero_shot::zero_shot;
use super::{ALL, MODE, Mean, Task, file};
use crate::error::EvalError;
use crate::rows::{self, Row};
use crate::sample::Answering;
use crate::scorers::scrolls::{Measure, TASKS as MEASURES};

mod few_shot;
mod zero_shot;

/// Tokens of prompt and answer; the scripts' 16k is 16000.
const MAX_LENGTH: Param = Param {
    name: "max_length",
    alias: "",
    kind: Kind::Count(512),
    default: Fallback::Number(16_000.0),
    help: "tokens of prompt and answer, longer documents are cut (the script's 16k is 16000)",
};

const FEW_SHOT: &[Param] = &[file("file", "rows with examples, or the folder that they lie in"), MAX_LENGTH, ALL, MODE];
const ZERO_SHOT: &[Param] =
    &[file("file", "rows of the data set, or the folder that they lie in"), MAX_LENGTH, ALL, MODE];

macro_rules! tasks {
    ($($name:literal, $mean:expr, $summary:literal;)+) => {
        &[
            $(&Task {
                info: &Info {
                    name: concat!("fewshot_", $name),
                    title: concat!("ChunkLlama's few-shot ", $name),
                    source: "HKUNLP/ChunkLlama: few-shot/test_few_shot.py, arXiv:2402.17463",
                    summary: concat!($summary, ", after the examples that a row holds"),
                    params: FEW_SHOT,
                },
                version: 1,
                family: "fewshot",
                mean: $mean,
                make: |ask| few_shot(ask, $name),
            },)+
            $(&Task {
                info: &Info {
                    name: concat!("scrolls_", $name),
                    title: concat!("SCROLLS: ", $name),
                    source: "tau-nlp/scrolls, asked as EleutherAI/lm-evaluation-harness does, arXiv:2201.03533",
                    summary: concat!($summary, ", asked without examples"),
                    params: ZERO_SHOT,
                },
                version: 1,
                family: "scrolls",
                mean: $mean,
                make: |ask| zero_shot(ask, $name),
            },)+
        ]
    };
}

/// The tasks with examples, then those without.
pub const TASKS: &[&Task] = tasks! {
    "narrative_qa", Mean::Plain, "questions about a novel or a film script";
    "qasper", Mean::Plain, "questions about a paper";
    "quality", Mean::Plain, "questions about a story, whose answer is one of four";
    "quality_hard", Mean::Plain, "those of them that take the whole story";
    "qmsum", Mean::RougeGeometric, "summaries of parts of a meeting";
    "gov_report", Mean::RougeGeometric, "summaries of government reports";
    "summ_screen_fd", Mean::RougeGeometric, "summaries of episodes of a series";
    "contract_nli", Mean::Plain, "whether a contract says something";
};

/// How an answer to a task is scored.
fn scored(name: &str, max_tokens: usize) -> Answering {
    let measure = MEASURES.iter().find(|(task, _)| *task == name).map(|(_, measure)| *measure);
    let scorer = match measure.expect("every task has a measure") {
        Measure::ExactMatch => "scrolls_exact_match",
        Measure::F1 => "scrolls_f1",
        Measure::Rouge => "scrolls_rouge",
    };
    Answering::new(max_tokens, scorer)
}

/// A question: the row that it is asked from, and all right answers.
#[derive(Debug)]
struct Question {
    id: String,
    row: Row,
    answers: Vec<String>,
}

/// The questions of rows, in the order of their documents. Rows of one id hold one right answer each of one question, which is asked once:
/// from the last of them, since the answer to it replaces those before.
fn questions(rows: Vec<Row>, document: impl Fn(&Row) -> Result<&str, EvalError>) -> Result<Vec<Question>, EvalError> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut questions: Vec<Question> = Vec::new();
    for row in rows::by_document(rows, document)? {
        let (id, answers) = (row.id("id")?, row.answers("output")?.into_iter().map(str::to_owned).collect());
        if let Some(place) = places.get(&id) {
            let known = &mut questions[*place];
            known.answers.extend::<Vec<String>>(answers);
            known.row = row;
        } else {
            places.insert(id.clone(), questions.len());
            questions.push(Question { id, row, answers });
        }
    }
    Ok(questions)
}

#[cfg(test)]
mod tests;
