//! BABILong: facts hidden in long text, and a question that takes some of them to answer.
//!
//! Kuratov et al., 2024, "BABILong: Testing the Limits of LLMs with Long Context Reasoning-in-a-Haystack", arXiv:2406.10149. Prompts and labels
//! are those of its repository (`prompts.json`). The examples of eight tasks end in a stray `<context>`, which opens the context twice;
//! `mode=fixed` leaves it out. Published rows are asked as they are; [`made`] hides facts itself.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use longlens_core::lens::{LensError, TextCodec};
use longlens_core::setting::{Fallback, Info, Kind, Param};
use serde::Deserialize;

use super::{ALL, Ask, MODE, Mean, Samples, Task, file, template};
use crate::error::EvalError;
use crate::rows::{self, Row};
use crate::sample::{Answering, Prompt, Rule, Sample, Wrapper};
use crate::scorers::Mode;
use crate::words::is_blank;

mod facts;
pub mod made;

/// New tokens of every answer.
const MAX_TOKENS: usize = 20;

const YES_NO: Kind = Kind::Word(&["yes", "no"]);

/// Whether a part of the prompt is there.
const fn part(name: &'static str, alias: &'static str, help: &'static str) -> Param {
    Param { name, alias, kind: YES_NO, default: Fallback::Word("yes"), help }
}

const INSTRUCTION: Param = part("instruction", "use_instruction", "whether the prompt says what is to be done");
const EXAMPLES: Param = part("examples", "use_examples", "whether examples stand before the context");
const POST_PROMPT: Param = part("post_prompt", "use_post_prompt", "whether the prompt says what the answer looks like");

const CONFIG: Param = Param {
    name: "config",
    alias: "lengths",
    kind: Kind::Word(&["0k", "1k", "2k", "4k", "8k", "16k", "32k", "64k", "128k", "256k", "512k", "1M", "10M"]),
    default: Fallback::Word(""),
    help: "length of the rows in thousands of tokens, as the data set calls it; a folder's file is found by it",
};

const PARAMS: &[Param] = &[
    file("file", "rows with `input`, `question` and `target`, or the folder that they lie in"),
    CONFIG,
    ALL,
    INSTRUCTION,
    EXAMPLES,
    POST_PROMPT,
    MODE,
    template("off"),
];

macro_rules! tasks {
    ($($name:literal: $summary:literal),+ $(,)?) => {
        &[$(&Task {
            info: &Info {
                name: concat!("babilong_", $name),
                title: concat!("BABILong: ", $name),
                source: "booydar/babilong: scripts/run_model_on_babilong.py, arXiv:2406.10149",
                summary: $summary,
                params: PARAMS,
            },
            version: 1,
            family: "babilong",
            mean: Mean::Plain,
            make: |ask| stored(ask, $name),
        },)+ &made::MADE]
    };
}

/// The tasks of published rows, then the one that makes its own.
pub const TASKS: &[&Task] = tasks! {
    "qa1": "where somebody is, by one fact",
    "qa2": "where something is, by two facts",
    "qa3": "where something was before, by three facts",
    "qa4": "what lies north, south, east or west of something",
    "qa5": "who gave what to whom",
    "qa6": "whether somebody is somewhere",
    "qa7": "how many things somebody carries",
    "qa8": "which things somebody carries",
    "qa9": "whether somebody is somewhere, where facts may deny it",
    "qa10": "whether somebody is somewhere, where facts may leave it open",
    "qa11": "where somebody is, called he or she",
    "qa12": "where somebody is, of two who moved together",
    "qa13": "where somebody is, of two called they",
    "qa14": "where somebody was before, by the times of a day",
    "qa15": "what somebody is afraid of, by its kind",
    "qa16": "what color somebody is, by others of its kind",
    "qa17": "whether something lies left, right, above or below",
    "qa18": "whether something fits into something",
    "qa19": "how to go from one place to another",
    "qa20": "why somebody went somewhere",
};

/// What a task says and which answers it has.
#[derive(Debug, Deserialize)]
struct Words {
    instruction: String,
    examples: String,
    post_prompt: String,
    labels: Vec<String>,
}

static WORDS: LazyLock<BTreeMap<String, Words>> = LazyLock::new(|| {
    #[derive(Deserialize)]
    struct File {
        tasks: BTreeMap<String, Words>,
    }
    let file: File = serde_json::from_str(include_str!("babilong/prompts.json")).expect("the prompts are JSON");
    file.tasks
});

/// The answers that a task (`qa1`) has.
pub(crate) fn labels(task: &str) -> Option<&'static [String]> {
    WORDS.get(task).map(|words| &*words.labels)
}

/// How questions of a task are put.
struct Asking {
    words: &'static Words,
    /// The parts of the prompt that are there, in its order; the others are empty.
    parts: [String; 3],
    wrapper: Wrapper,
}

impl Asking {
    fn of(ask: &Ask<'_>, name: &str) -> Self {
        let words = &WORDS[name];
        let examples = match ask.mode() {
            Mode::Faithful => &words.examples,
            Mode::Fixed => words.examples.strip_suffix("<context>\n").unwrap_or(&words.examples),
        };
        let part = |param: &Param, text: &str| if ask.is(param.name, "yes") { text.to_owned() } else { String::new() };
        let parts =
            [part(&INSTRUCTION, &words.instruction), part(&EXAMPLES, examples), part(&POST_PROMPT, &words.post_prompt)];
        Self { words, parts, wrapper: ask.wrapper() }
    }

    fn prompt(&self, codec: &dyn TextCodec, context: &str, question: &str) -> Result<Prompt, LensError> {
        let [instruction, examples, post_prompt] = &self.parts;
        let context = context.trim_matches(is_blank);
        let said = format!(
            "{instruction}\n\n{examples}\n\n{post_prompt}\n\n<context>\n{context}\n</context>\n\nQuestion: {question}"
        );
        self.wrapper.wrap(codec, said.trim_matches(is_blank), "")
    }

    /// How an answer is had, and scored by the labels that it names.
    fn rule(&self, question: &str) -> Rule {
        let answering = Answering::new(MAX_TOKENS, "babilong_compare_answers");
        Rule::Answer(answering.with("question", question).with("labels", self.words.labels.clone()))
    }

    /// What is wrong with a target that no answer can name.
    fn refusal(&self, target: &str) -> Option<String> {
        let lower = target.to_lowercase();
        let is_label = |part: &str| self.words.labels.iter().any(|label| label.to_lowercase() == part);
        let is_known = is_label(&lower) || lower.split(',').all(is_label);
        (!is_known).then(|| format!("`{target}` is none of the task's answers: {}", self.words.labels.join(", ")))
    }
}

/// Rows of a file, asked as they are.
fn stored(ask: &Ask<'_>, name: &'static str) -> Result<Samples, EvalError> {
    let help = format!("give rows of {name}, as `babilong_{name}:file=FOLDER,config=4k`");
    let file = ask.file("file", &help)?;
    let config = ask.text(CONFIG.name);
    if config.is_none() && ask.files.folder(&file)?.is_some() {
        return Err(EvalError::File {
            path: file.into(),
            problem: "a folder holds rows of several lengths".into(),
            help: "say which with `config`, as `config=4k`".into(),
        });
    }
    let length = config.as_deref().and_then(tokens);
    let config = config.unwrap_or_default();
    let stems = [format!("{name}/{config}"), format!("{config}/{name}"), format!("{name}_{config}")];
    let rows = rows::opened(ask.files, &file, &stems)?;
    let asking = Asking::of(ask, name);
    for row in &rows {
        check(row, &asking)?;
    }
    let n = ask.n_of(rows.len());
    Ok(Samples::making(n, move |at, codec| {
        let (row, question) = (&rows[at], rows[at].text("question")?);
        Ok(Sample {
            id: at.to_string(),
            prompt: asking.prompt(codec, row.text("input")?, question)?,
            answers: vec![row.text("target")?.to_owned()],
            rule: asking.rule(question),
            length,
            depth: None,
            part: None,
            evidence: Vec::new(),
            n_truncated: 0,
        })
    }))
}

fn check(row: &Row, asking: &Asking) -> Result<(), EvalError> {
    row.text("input")?;
    row.text("question")?;
    let wrong = asking.refusal(row.text("target")?);
    wrong.map_or(Ok(()), |problem| Err(row.refuse(format!("`target` {problem}"), "is it a file of another task?")))
}

/// Tokens of a length's name; the shortest has no text around its facts, and no length.
fn tokens(config: &str) -> Option<usize> {
    let thousands = config.strip_suffix('k').map(|digits| (digits, 1000));
    let (digits, unit) = thousands.or_else(|| Some((config.strip_suffix('M')?, 1_000_000)))?;
    digits.parse().ok().map(|n: usize| n * unit).filter(|n| *n > 0)
}

#[cfg(test)]
mod tests;
