//! InfiniteBench: retrieval, a choice, and numbers to find or compute, in contexts of 100k tokens and more.
//!
//! Zhang et al., 2024, "∞Bench: Extending Long Context Evaluation Beyond 100K Tokens", arXiv:2402.13718. Prompts, answer lengths and scores are
//! those of `InfLLM`'s copy (arXiv:2402.04617), which always uses the model's chat template. It shortens nothing by default: what is too long
//! for a model is the run's to decide.

use longlens_core::setting::Info;
use serde_json::Value;

use super::{ALL, Ask, MODE, Mean, Samples, Task, file, template};
use crate::error::EvalError;
use crate::rows::{self, Row};
use crate::sample::{Answering, Rule, Sample};

macro_rules! tasks {
    ($($name:literal: $summary:literal),+ $(,)?) => {
        &[$(&Task {
            info: &Info {
                name: concat!("infinitebench_", $name),
                title: concat!("InfiniteBench: ", $name),
                source: "thunlp/InfLLM: benchmark/pred.py, data of OpenBMB/InfiniteBench, arXiv:2402.13718",
                summary: $summary,
                params: &[file("file", "rows of the data set, or the folder that they lie in"), ALL, MODE, template("model")],
            },
            version: 1,
            family: "infinitebench",
            mean: Mean::Plain,
            make: |ask| samples(ask, $name),
        }),+]
    };
}

/// The tasks that have scorers here.
pub const TASKS: &[&Task] = tasks! {
    "passkey": "a number of five digits in one repeated text",
    "number_string": "a number of ten digits with each repeated, in the same",
    "kv_retrieval": "the value of a key in a large JSON object",
    "longbook_choice_eng": "multiple choice about a novel whose names were changed",
    "math_find": "the largest, smallest or middle number of a long list",
    "code_run": "what a function returns that calls others of a long file",
};

const PASSKEY: &str = "There is an important info hidden inside a lot of irrelevant text. Find it and memorize them. I will quiz you about the \
                       important information there.";
const NUMBER: &str = "There is an important info hidden inside a lot of irrelevant text. Find it. I will quiz you about the important information there.";

fn samples(ask: &Ask<'_>, name: &'static str) -> Result<Samples, EvalError> {
    let help = format!("give the data set's {name}.jsonl, or the folder that it lies in, as `file=FOLDER`");
    let rows = rows::opened(ask.files, &ask.file("file", &help)?, &[name.to_owned()])?;
    let ids = rows::ids(&rows, "id")?;
    for row in &rows {
        said(row, name)?;
        references(row, name)?;
    }
    let (wrapper, n) = (ask.wrapper(), ask.n_of(rows.len()));
    let max_tokens = if name == "kv_retrieval" { 100 } else { 32 };
    Ok(Samples::making(n, move |at, codec| {
        let row = &rows[at];
        let references = references(row, name)?;
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let answers = references.iter().map(text).collect();
        Ok(Sample {
            id: ids[at].clone(),
            prompt: wrapper.wrap(codec, &said(row, name)?, "")?,
            answers,
            // numbers are compared as such
            rule: Rule::Answer(Answering::new(max_tokens, scorer(name)).with("references", references)),
            length: None,
            depth: None,
            part: None,
            evidence: Vec::new(),
            n_truncated: 0,
        })
    }))
}

fn scorer(name: &str) -> &'static str {
    match name {
        "passkey" => "infinitebench_passkey",
        "number_string" => "infinitebench_number_string",
        "kv_retrieval" => "infinitebench_kv_retrieval",
        "longbook_choice_eng" => "infinitebench_longbook_choice_eng",
        "math_find" => "infinitebench_math_find",
        "code_run" => "infinitebench_code_run",
        other => unreachable!("InfiniteBench has no task {other}"),
    }
}

/// What a user says.
fn said(row: &Row, name: &str) -> Result<String, EvalError> {
    let context = row.text(if row.maybe("content").is_some() { "content" } else { "context" })?;
    let input = row.text("input")?;
    let refused = |what: &str| row.refuse(format!("`input` has no {what}"), "is this the task's file?");
    Ok(match name {
        "passkey" => format!("{PASSKEY}\n\n{context}\n\n{input}"),
        "number_string" => format!("{NUMBER}\n\n{context}\n\n{input}"),
        "kv_retrieval" => {
            let key = key(input).ok_or_else(|| refused("key as `Key: \"…\"` of 36 characters"))?;
            format!(
                "Extract the value corresponding to the specified key {key} in the JSON object below.\n\n{context}\n\n{input}"
            )
        }
        "longbook_choice_eng" => {
            let options = options(row)?;
            let listed: Vec<String> = ["A", "B", "C", "D"]
                .iter()
                .zip(&options)
                .map(|(letter, option)| format!("{letter}. {option}"))
                .collect();
            format!(
                "Read the book and answer the question.\n\n{context}\n\nQuestion: {input}\n\nOnly one of the following options is correct, \
                 tell me the answer using one single letter (A, B, C, or D). Don't say anything else.\n{}",
                listed.join("\n")
            )
        }
        "math_find" => {
            let number = number(input).ok_or_else(|| refused("words as `The … of`"))?.to_lowercase();
            format!("What is {number} in the following list?\n\n{context}\n\n{input}")
        }
        "code_run" => {
            let call = call(input).ok_or_else(|| refused("call as `func_1(2)`"))?;
            let function = call.split('(').next().unwrap_or_default();
            format!(
                "Following is a set of Python functions. There is a function called named {function}.\n\n{context}\n\nPlease give me the exact \
                 number of the return value of {call}. Be concise. Your response must end with the final returned value."
            )
        }
        other => unreachable!("InfiniteBench has no task {other}"),
    })
}

/// What answers are compared with, as the scorer of the task reads them: of a choice the option and its letter.
fn references(row: &Row, name: &str) -> Result<Vec<Value>, EvalError> {
    let answer = row.field("answer")?;
    let answers = answer.as_array().cloned().unwrap_or_else(|| vec![answer.clone()]);
    let fits = |answer: &Value| match name {
        "math_find" | "code_run" => answer.is_number(),
        _ => answer.as_str().is_some_and(|text| !text.trim().is_empty()),
    };
    if answers.is_empty() || !answers.iter().all(fits) {
        let kind = if name.starts_with("math") || name.starts_with("code") { "numbers" } else { "texts" };
        return Err(row.refuse(format!("`answer` does not hold {kind}"), "is this the task's file?"));
    }
    if name != "longbook_choice_eng" || answers.len() == 2 && answers[1].as_str().is_some_and(is_letter) {
        return Ok(answers);
    }
    let options = options(row)?;
    let place = options.iter().position(|option| answers[0].as_str() == Some(option));
    let place = place.ok_or_else(|| row.refuse("`answer` is none of the `options`", "give one of them"))?;
    Ok(vec![answers[0].clone(), ["A", "B", "C", "D"][place].into()])
}

fn is_letter(text: &str) -> bool {
    ["A", "B", "C", "D"].contains(&text)
}

fn options(row: &Row) -> Result<[&str; 4], EvalError> {
    let options = row.texts("options")?;
    let n = options.len();
    options.try_into().map_err(|_| row.refuse(format!("there are {n} `options`"), "give four"))
}

/// The key with its quotes, which the script takes by its place behind a line end and `Key: `.
fn key(input: &str) -> Option<String> {
    let key: String = input.chars().skip(6).take(38).collect();
    let is_whole = key.chars().count() == 38 && key.starts_with('"') && key.ends_with('"');
    is_whole.then_some(key)
}

/// The words from "The" to the last "of" of the first line that has both, without the "of".
fn number(input: &str) -> Option<&str> {
    let behind = |(at, _): (usize, &str)| {
        let line = input[at..].lines().next()?;
        // at least a character stands between
        let end = line.rfind(" of").filter(|end| *end > "The ".len())?;
        Some(&line[..end])
    };
    input.match_indices("The ").find_map(behind)
}

/// The first call of a numbered function with a number.
fn call(input: &str) -> Option<&str> {
    let end_of_digits = |from: usize| {
        let rest = input.get(from..)?;
        let n_digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        (n_digits > 0).then_some(from + n_digits)
    };
    let call = |(at, name): (usize, &str)| {
        let end = end_of_digits(at + name.len())?;
        let inside = input[end..].strip_prefix('(')?;
        let end = end_of_digits(end + 1 + usize::from(inside.starts_with('-')))?;
        input[end..].starts_with(')').then(|| &input[at..=end])
    };
    input.match_indices("func_").find_map(call)
}

#[cfg(test)]
mod tests;
