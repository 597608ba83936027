//! LongBench and LongBench-E: prompts and cuts of `pred.py`, scores of `eval.py`.
//!
//! Bai et al., 2023, "LongBench: A Bilingual, Multitask Benchmark for Long Context Understanding", arXiv:2308.14508. Prompts are those of
//! `config/dataset2prompt.json` (`prompts.json`, under the MIT licence beside it), its slips included. A prompt that is too long loses its
//! middle, and is wrapped for a chat model only then, so that it ends up longer than `max_length`, and nothing is kept free for the
//! answer; `mode=fixed` keeps prompt, wrapping and answer within it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use longlens_core::lens::{LensError, TextCodec};
use longlens_core::setting::{Fallback, Info, Kind, Param};

use super::{ALL, Ask, MODE, Mean, Samples, Task, cut, file, template};
use crate::error::{EvalError, expect};
use crate::rows::{self, Row};
use crate::sample::{Answering, Prediction, Prompt, Rule, Sample, Wrapper};
use crate::scorers::Mode;

/// Tokens of a prompt.
const MAX_LENGTH: Param = Param {
    name: "max_length",
    alias: "",
    kind: Kind::Count(2),
    default: Fallback::Trained(1, 1),
    help: "tokens of a prompt before it is wrapped, longer ones lose their middle (Llama-2-7b-chat: 3500)",
};

const PARAMS: &[Param] =
    &[file("file", "rows of the data set, or the folder that they lie in"), MAX_LENGTH, ALL, MODE, template("off")];

macro_rules! tasks {
    ($family:literal, $title:literal, $make:expr, [$($name:literal: $summary:literal),+ $(,)?]) => {
        &[$(&Task {
            info: &Info {
                name: concat!($family, "_", $name),
                title: concat!($title, ": ", $name),
                source: "THUDM/LongBench: LongBench/pred.py, arXiv:2308.14508",
                summary: $summary,
                params: PARAMS,
            },
            version: 1,
            family: $family,
            mean: Mean::Plain,
            make: $make,
        }),+]
    };
}

/// The tasks of LongBench, in the order of its script.
pub const TASKS: &[&Task] = tasks!("longbench", "LongBench", |ask| samples(ask, "longbench_", false), [
    "narrativeqa": "questions about a novel or a film script",
    "qasper": "questions about a paper",
    "multifieldqa_en": "questions about a text of one of several fields",
    "multifieldqa_zh": "the same in Chinese",
    "hotpotqa": "questions that take two passages to answer",
    "2wikimqa": "questions that take several passages to answer",
    "musique": "questions that take up to four passages to answer",
    "dureader": "Chinese questions about pages of a search",
    "gov_report": "summaries of government reports",
    "qmsum": "summaries of parts of a meeting",
    "multi_news": "summaries of several articles of news",
    "vcsum": "summaries of Chinese meetings",
    "trec": "kinds of questions, told by examples",
    "triviaqa": "questions of trivia, told by examples",
    "samsum": "summaries of dialogues, told by examples",
    "lsht": "kinds of Chinese news, told by examples",
    "passage_count": "how many paragraphs differ",
    "passage_retrieval_en": "which paragraph an abstract is from",
    "passage_retrieval_zh": "the same in Chinese",
    "lcc": "the next line of a file of code",
    "repobench-p": "the next line of code, after other files of a repository",
]);

/// The tasks of LongBench-E, whose scores are averaged by length.
pub const TASKS_E: &[&Task] = tasks!("longbench_e", "LongBench-E", |ask| samples(ask, "longbench_e_", true), [
    "qasper": "questions about a paper, by length",
    "multifieldqa_en": "questions about a text of one of several fields, by length",
    "hotpotqa": "questions that take two passages to answer, by length",
    "2wikimqa": "questions that take several passages to answer, by length",
    "gov_report": "summaries of government reports, by length",
    "multi_news": "summaries of several articles of news, by length",
    "trec": "kinds of questions, told by examples, by length",
    "triviaqa": "questions of trivia, told by examples, by length",
    "samsum": "summaries of dialogues, told by examples, by length",
    "passage_count": "how many paragraphs differ, by length",
    "passage_retrieval_en": "which paragraph an abstract is from, by length",
    "lcc": "the next line of a file of code, by length",
    "repobench-p": "the next line of code, after other files of a repository, by length",
]);

/// Prompts by name, with `{context}` and `{input}` for fields of a row.
static PROMPTS: LazyLock<BTreeMap<String, String>> =
    LazyLock::new(|| serde_json::from_str(include_str!("longbench/prompts.json")).expect("the prompts are JSON"));

/// What a script does for a task.
struct Protocol {
    name: &'static str,
    max_tokens: usize,
    scorer: &'static str,
    /// Whether prompts hold examples or code, which are never wrapped.
    is_continued: bool,
}

impl Protocol {
    fn of(name: &'static str) -> Self {
        let (max_tokens, scorer, is_continued) = match name {
            "narrativeqa" | "qasper" => (128, "longbench_qa_f1", false),
            "multifieldqa_en" => (64, "longbench_qa_f1", false),
            "multifieldqa_zh" => (64, "longbench_qa_f1_zh", false),
            "hotpotqa" | "2wikimqa" | "musique" => (32, "longbench_qa_f1", false),
            "dureader" => (128, "longbench_rouge_zh", false),
            "gov_report" | "qmsum" | "multi_news" => (512, "longbench_rouge", false),
            "vcsum" => (512, "longbench_rouge_zh", false),
            "trec" | "lsht" => (64, "longbench_classification", true),
            "triviaqa" => (32, "longbench_qa_f1", true),
            "samsum" => (128, "longbench_rouge", true),
            "passage_count" => (32, "longbench_count", false),
            "passage_retrieval_en" => (32, "longbench_retrieval", false),
            "passage_retrieval_zh" => (32, "longbench_retrieval_zh", false),
            "lcc" | "repobench-p" => (64, "longbench_code_sim", true),
            other => unreachable!("LongBench has no task {other}"),
        };
        Self { name, max_tokens, scorer, is_continued }
    }

    fn prompt(&self, row: &Row) -> Result<String, EvalError> {
        filled(&PROMPTS[self.name], row)
    }

    /// How an answer to a row is had and scored.
    fn rule(&self, row: &Row) -> Result<Answering, EvalError> {
        let mut answering = Answering::new(self.max_tokens, self.scorer);
        match self.name {
            // the script makes a line end an end token, which the least length bars as the other one
            "samsum" => {
                answering = Answering {
                    stop: vec!["\n".into()],
                    min_tokens: 1,
                    prediction: Prediction::FirstLine,
                    ..answering
                };
            }
            "triviaqa" => answering.prediction = Prediction::FirstLine,
            "trec" | "lsht" => answering = answering.with("all_classes", row.texts("all_classes")?),
            _ => {}
        }
        Ok(answering)
    }
}

/// A format of Python's, each field once: what stands in a field is no format.
fn filled(format: &str, row: &Row) -> Result<String, EvalError> {
    let mut text = String::new();
    let mut rest = format;
    while let Some((before, behind)) = rest.split_once('{') {
        let (field, behind) = behind.split_once('}').expect("fields of prompts end");
        text.push_str(before);
        text.push_str(row.text(field)?);
        rest = behind;
    }
    Ok(text + rest)
}

fn samples(ask: &Ask<'_>, prefix: &str, is_e: bool) -> Result<Samples, EvalError> {
    let name = ask.setting.info().name.strip_prefix(prefix).expect("a task is named by its family");
    let protocol = Protocol::of(name);
    let stem = if is_e { format!("{name}_e") } else { name.to_owned() };
    let help = format!("give the data set's {stem}.jsonl, or the folder that it lies in, as `file=FOLDER`");
    let rows = rows::opened(ask.files, &ask.file("file", &help)?, &[stem])?;
    let ids = rows::ids(&rows, "_id")?;
    for row in &rows {
        check(row, &protocol, is_e)?;
    }
    let (max_length, mode, wrapper) = (ask.count(MAX_LENGTH.name), ask.mode(), ask.wrapper());
    let limit = match mode {
        Mode::Faithful => max_length,
        Mode::Fixed => max_length.saturating_sub(protocol.max_tokens),
    };
    expect(limit >= 2, "max_length", max_length, "enough for a prompt and its answer")?;
    let n = ask.n_of(rows.len());
    Ok(Samples::making(n, move |at, codec| {
        let row = &rows[at];
        let wrapper = if protocol.is_continued { Wrapper::Off } else { wrapper };
        let (prompt, n_truncated) = fitted(codec, &protocol.prompt(row)?, limit, wrapper, mode)?;
        Ok(Sample {
            id: ids[at].clone(),
            prompt,
            answers: row.texts("answers")?.into_iter().map(str::to_owned).collect(),
            rule: Rule::Answer(protocol.rule(row)?),
            length: None,
            depth: None,
            part: is_e.then(|| row.count("length").map(bucket)).transpose()?.map(str::to_owned),
            evidence: Vec::new(),
            n_truncated,
        })
    }))
}

/// Whether a row can become a sample, so that what is wrong is said before the first one runs.
fn check(row: &Row, protocol: &Protocol, is_e: bool) -> Result<(), EvalError> {
    if let Some(set) = row.maybe_text("dataset")?
        && set.strip_suffix("_e").unwrap_or(set) != protocol.name
    {
        let help = format!("name the file of `{}`", protocol.name);
        return Err(row.refuse(format!("the row is of `{set}`, not of `{}`", protocol.name), help));
    }
    protocol.prompt(row)?;
    protocol.rule(row)?;
    row.answers("answers")?;
    row.texts("answers")?;
    if is_e {
        row.count("length")?;
    }
    Ok(())
}

/// The prompt without its middle where it is too long, wrapped; and how many tokens were left out.
fn fitted(
    codec: &dyn TextCodec,
    text: &str,
    limit: usize,
    wrapper: Wrapper,
    mode: Mode,
) -> Result<(Prompt, usize), LensError> {
    let mut allowed = limit;
    loop {
        let (cut, n_truncated) = cut::middle(codec, text, allowed)?;
        let prompt = wrap(codec, wrapper, &cut)?;
        if mode == Mode::Faithful || allowed <= 2 {
            return Ok((prompt, n_truncated));
        }
        // two halves make other tokens where they meet, so what is too much is taken away until it fits
        let n_tokens = prompt.tokens(Ok(codec))?.len();
        if n_tokens <= limit {
            return Ok((prompt, n_truncated));
        }
        allowed = allowed.saturating_sub(n_tokens - limit).max(2);
    }
}

/// As the script wraps prompts for Llama 2: without the spaces that others put there.
fn wrap(codec: &dyn TextCodec, wrapper: Wrapper, text: &str) -> Result<Prompt, LensError> {
    match wrapper {
        Wrapper::Llama2 => Ok(Prompt::plain(format!("[INST]{text}[/INST]"))),
        other => other.wrap(codec, text, ""),
    }
}

/// The lengths that LongBench-E averages apart, in words.
fn bucket(length: usize) -> &'static str {
    match length {
        0..4000 => "0-4k",
        4000..8000 => "4-8k",
        _ => "8k+",
    }
}

#[cfg(test)]
mod tests;
