//! L-Eval: exams and open questions about long documents, as its own script and `ChunkLlama`'s copy of it ask them.
//!
//! An et al., 2023, "L-Eval: Instituting Standardized Evaluation for Long Context Language Models", arXiv:2307.11088; `ChunkLlama`'s zero-shot
//! tables (arXiv:2402.17463) come from the copy. What is asked is in `message.rs`.

use longlens_core::setting::{Fallback, Info, Kind, Param};

use self::message::{Asking, Script, Wrap};
use super::cut::by_words;
use super::{ALL, Ask, MODE, Mean, Samples, Task, file};
use crate::error::EvalError;
use crate::rows::{self, Row};
use crate::sample::{Answering, Rule, Sample};

mod format;
mod message;

/// New tokens of every answer.
const MAX_TOKENS: usize = 512;

const PARAMS: &[Param] = &[
    file("file", "rows with `input`, `instructions` and `outputs`, or the folder that they lie in"),
    Param {
        name: "script",
        alias: "",
        kind: Kind::Word(&["leval", "chunkllama"]),
        default: Fallback::Word("leval"),
        help: "whose wording, cuts and scores: the benchmark's or those of ChunkLlama's copy",
    },
    Param {
        name: "max_length",
        alias: "",
        kind: Kind::Count(1000),
        default: Fallback::Number(16_000.0),
        help: "tokens of prompt and answer, longer documents are cut word by word (the scripts' 16k is 16000)",
    },
    ALL,
    MODE,
    Param {
        name: "template",
        alias: "",
        kind: Kind::Word(&Wrap::NAMES),
        default: Fallback::Word("llama2"),
        help: "what prompts are wrapped in: the scripts' form of Llama 2, the model's chat template, or none for base models",
    },
];

/// How answers of a task are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kin {
    /// Letters of several options.
    Choice,
    /// A number.
    Maths,
    /// What a program prints.
    Code,
    /// Names of topics; every third question asks for the first, the second and the third one.
    Topics,
    /// Two truth values, which are asked one after the other.
    Story,
    F1,
    Rouge,
}

macro_rules! tasks {
    ($($name:literal, $kin:ident, $mean:ident, $summary:literal;)+) => {
        &[$(&Task {
            info: &Info {
                name: concat!("leval_", $name),
                title: concat!("L-Eval: ", $name),
                source: "OpenLMLab/LEval: Baselines/llama2-chat-test.py, and HKUNLP/ChunkLlama: zero-shot/test_zero_shot.py",
                summary: $summary,
                params: PARAMS,
            },
            version: 1,
            family: "leval",
            mean: Mean::$mean,
            make: |ask| samples(ask, $name, Kin::$kin),
        }),+]
    };
}

/// Exams, then open questions.
pub const TASKS: &[&Task] = tasks! {
    "coursera", Choice, Plain, "multiple choice about lectures, with one or several right letters";
    "quality", Choice, Plain, "multiple choice about stories";
    "tpo", Choice, Plain, "multiple choice about lectures for learners of English";
    "gsm100", Maths, Plain, "word problems after many examples";
    "codeU", Code, Plain, "what a program prints that calls functions of a long code base";
    "topic_retrieval_longchat", Topics, Plain, "the first, second and third topic of a long conversation";
    "sci_fi", Story, Plain, "whether something is true in a story, and whether it is true in fact";
    "financial_qa", F1, Plain, "questions about calls on earnings";
    "legal_contract_qa", F1, Plain, "questions about contracts";
    "multidoc_qa", F1, Plain, "questions about several documents";
    "narrative_qa", F1, Plain, "questions about novels";
    "natural_question", F1, Plain, "questions about pages of Wikipedia";
    "scientific_qa", F1, Plain, "questions about papers";
    "gov_report_summ", Rouge, RougeGeometric, "summaries of government reports";
    "meeting_summ", Rouge, RougeGeometric, "summaries of parts of a meeting";
    "news_summ", Rouge, RougeGeometric, "summaries of several articles of news";
    "paper_assistant", Rouge, RougeGeometric, "sections of a paper, written after the others";
    "patent_summ", Rouge, RougeGeometric, "summaries of patents";
    "review_summ", Rouge, RougeGeometric, "summaries of reviews";
    "tv_show_summ", Rouge, RougeGeometric, "summaries of episodes of a series";
};

impl Kin {
    /// What the data call the measure of a row.
    fn evaluation(self) -> &'static str {
        match self {
            Self::F1 => "f1",
            Self::Rouge => "rouge",
            _ => "exam",
        }
    }

    fn rule(self, name: &str, script: Script) -> Answering {
        let scorer = match self {
            Self::Choice => {
                let answering = Answering::new(MAX_TOKENS, "leval_multiple_choice");
                return answering.with("task", name).with("source", script.source());
            }
            Self::Maths => "leval_math",
            Self::Code => "leval_code_output",
            Self::Topics => "leval_exam_em",
            Self::Story => "leval_judge",
            Self::F1 => "scrolls_f1",
            Self::Rouge => "scrolls_rouge",
        };
        Answering::new(MAX_TOKENS, scorer)
    }
}

/// One question of one document.
#[derive(Debug)]
struct Question {
    row: usize,
    at: usize,
    instruction: String,
    output: String,
}

fn samples(ask: &Ask<'_>, name: &'static str, kin: Kin) -> Result<Samples, EvalError> {
    let help = format!("give the data set's {name}.jsonl, or the folder that it lies in, as `file=FOLDER`");
    let rows = rows::opened(ask.files, &ask.file("file", &help)?, &[name.to_owned()])?;
    let Scored { rows, questions, notes } = scored(rows, kin)?;
    let asking = Asking { name, kin, script: Script::of(ask), wrap: Wrap::of(ask), mode: ask.mode() };
    let max_length = ask.count("max_length") - MAX_TOKENS;
    let n = ask.n_of(questions.len());
    // a document is cut once for all of its questions, which stand behind each other
    let mut cut: Option<(usize, String, usize)> = None;
    let made = Samples::making(n, move |at, codec| {
        let question = &questions[at];
        let (_, document, n_truncated) = if let Some(known) = cut.take().filter(|(row, ..)| *row == question.row) {
            cut.insert(known)
        } else {
            let (limit, step, keep) = asking.cuts(max_length);
            let document = rows[question.row].text("input")?;
            let (document, n_cut) = by_words(codec, document, limit, (max_length, step), keep)?;
            cut.insert((question.row, document, n_cut))
        };
        let prompt = asking.prompt(codec, document, &question.instruction, &question.output)?;
        let rule = Answering { second: asking.second(codec, &question.instruction)?, ..kin.rule(name, asking.script) };
        Ok(Sample {
            id: format!("{}.{}", question.row, question.at),
            prompt,
            answers: vec![question.output.clone()],
            rule: Rule::Answer(rule),
            length: None,
            depth: None,
            part: (kin == Kin::Topics).then(|| ["first", "second", "third"][at % 3].to_owned()),
            evidence: Vec::new(),
            n_truncated: *n_truncated,
        })
    });
    Ok(Samples { notes, ..made })
}

/// Rows whose answers are scored without a judge, their questions, and what a user should know of the others.
struct Scored {
    rows: Vec<Row>,
    questions: Vec<Question>,
    notes: Vec<String>,
}

fn scored(rows: Vec<Row>, kin: Kin) -> Result<Scored, EvalError> {
    let (mut kept, mut questions, mut n_judged) = (Vec::new(), Vec::new(), 0);
    for row in rows {
        let (instructions, outputs) = (row.texts("instructions")?, row.texts("outputs")?);
        if instructions.len() != outputs.len() {
            let counts = format!("{} `instructions` have {} `outputs`", instructions.len(), outputs.len());
            return Err(row.refuse(counts, "give every instruction its answer"));
        }
        row.text("input")?;
        match row.maybe_text("evaluation")? {
            Some("LLM" | "human") => {
                n_judged += instructions.len();
                continue;
            }
            Some(other) if other != kin.evaluation() => {
                let reason =
                    format!("`evaluation` is `{other}`, and this task's answers are scored by `{}`", kin.evaluation());
                return Err(row.refuse(reason, "is this the task's file?"));
            }
            _ => {}
        }
        for (at, (instruction, output)) in instructions.iter().zip(&outputs).enumerate() {
            if output.trim().is_empty() {
                return Err(row.refuse(format!("answer {} of `outputs` is empty", at + 1), "leave its question out"));
            }
            let (instruction, output) = ((*instruction).to_owned(), (*output).to_owned());
            questions.push(Question { row: kept.len(), at, instruction, output });
        }
        kept.push(row);
    }
    let note = format!("{n_judged} questions are left out whose answers a person or a model has to judge");
    if questions.is_empty() {
        return Err(EvalError::Nothing { what: "questions that are scored without a judge" });
    }
    Ok(Scored { rows: kept, questions, notes: (n_judged > 0).then_some(note).into_iter().collect() })
}

#[cfg(test)]
mod tests;
