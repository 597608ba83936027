//! Prompts against those of RULER's scripts, and what is mended.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;

use flate2::read::GzDecoder;
use longlens_core::lens::{Conversation, LensError, TextCodec};
use longlens_core::spec::ModelSpec;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::cwe::CommonWords;
use super::fit::{Drawn, Purpose, Script};
use super::fwe::FrequentWords;
use super::niah::Needles;
use super::qa::{Documents, Questions, Source};
use super::vt::Variables;
use super::*;
use crate::error::EvalError;
use crate::sample::{Prompt, Rule, Sample, Wrapper};
use crate::scorers::Mode;
use crate::tasks::{Ask, Files, golden};

mod faults;

/// Words between blanks as tokens, as the recorded prompts are counted.
pub struct Words;

impl TextCodec for Words {
    fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, LensError> {
        Ok(vec![1; text.split_whitespace().count() + usize::from(special)])
    }

    fn decode(&self, _: &[u32]) -> Result<String, LensError> {
        Ok(String::new())
    }

    fn chat(&self, conversation: &Conversation) -> Result<String, LensError> {
        let said: Vec<_> = conversation.messages.iter().map(|message| format!("<s>{}</s>", message.content)).collect();
        Ok(said.concat())
    }
}

/// Files that are not on disk.
#[derive(Default)]
struct Given(HashMap<&'static str, String>);

impl Files for Given {
    fn read(&self, name: &str) -> Result<Vec<u8>, EvalError> {
        let missing = || std::io::Error::from(std::io::ErrorKind::NotFound);
        let text = self.0.get(name).ok_or_else(|| EvalError::Io { path: name.into(), source: missing() })?;
        Ok(text.clone().into_bytes())
    }

    fn folder(&self, _: &str) -> Result<Option<Vec<String>>, EvalError> {
        Ok(None)
    }
}

/// The texts that the recorded prompts were made of, as the fixtures' notes describe them.
fn given() -> Given {
    let essay = (0..400).map(|i| {
        let (name, place) = (["Berg", "Lund", "Holm"][i % 3], ["ferry", "mill", "quay", "loft"][i % 4]);
        let (weather, end) = (["wet", "dry"][i % 2], if i % 5 == 0 { "!" } else { "." });
        format!("Sentence {i} tells of Mr. {name} and the {place}, seen at {} p.m. on a {weather} day{end}", i % 12)
    });
    let articles = (0..10).map(|article| {
        let paragraphs = (3 * article..3 * article + 3).map(|i| {
            let what = ["ferry", "mill", "quay"][i % 3];
            json!({
                "context": format!("Document text {i}: the {what} of town {i}."),
                "qas": [{
                    "question": format!("What is in town {i}?"), "is_impossible": false,
                    "answers": [{ "text": what, "answer_start": 0 }, { "text": format!("the {what}"), "answer_start": 0 }],
                }],
            })
        });
        json!({ "title": "", "paragraphs": paragraphs.collect::<Vec<_>>() })
    });
    let hotpot = (0..8).map(|i| {
        let context = (0..3)
            .map(|j| json!([format!("Title {i}-{j}"), [format!("First of {i}-{j}."), format!(" Second of {i}-{j}.")]]));
        json!({
            "question": format!("Which town has {i}?"), "answer": format!("town {i}"),
            "context": context.collect::<Vec<_>>(),
        })
    });
    Given(HashMap::from([
        ("essay.txt", essay.collect::<Vec<_>>().join(" ")),
        ("squad.json", json!({ "data": articles.collect::<Vec<_>>() }).to_string()),
        ("hotpot.json", json!(hotpot.collect::<Vec<_>>()).to_string()),
        ("words.txt", (0..20_000).map(|i| format!("word{i}")).collect::<Vec<_>>().join("\n")),
    ]))
}

fn samples(text: &str, codec: &dyn TextCodec, files: &dyn Files) -> Result<Vec<Sample>, EvalError> {
    let (setting, spec) = (Task::parse(text)?, ModelSpec::tiny(4096));
    let mut samples = Ask { setting: &setting, spec: &spec, codec, files }.samples()?;
    (0..samples.n).map(|at| (samples.make)(at, codec)).collect()
}

fn sha256(text: &str) -> String {
    format!("{:x}", Sha256::digest(text))
}

fn text(prompt: &Prompt) -> &str {
    prompt.text().unwrap()
}

/// A prompt of a recorded row, drawn as the script draws it.
fn drawn(row: &Value, files: &Given) -> Drawn {
    let arguments = &row["arguments"];
    let number = |name: &str| arguments[name].as_u64().unwrap() as usize;
    let (seed, kind) = (number("random_seed") as u64, row["kind"].as_str().unwrap());
    let (mode, wrapper) = (Mode::Faithful, Wrapper::Off);
    let (mut script, n_pieces): (Box<dyn Script>, _) = match kind {
        "ruler_cwe" => {
            (Box::new(CommonWords::seeded(seed, number("max_seq_length"), mode, wrapper)), number("num_words"))
        }
        "ruler_fwe" => {
            let mut script = FrequentWords::seeded(seed, mode, wrapper);
            let vocabulary = script.vocabulary(number("vocab_size"));
            return script.text(&Words, &vocabulary, number("num_words")).unwrap();
        }
        "ruler_vt" => {
            let is_example = arguments["is_icl"].as_bool().unwrap();
            let mut variables = Variables::seeded(seed, mode, wrapper);
            let question = variables.question(number("num_noises"), is_example).unwrap();
            let prompt = wrapper.wrap(&Words, &question.said, &question.begun).unwrap();
            return Drawn { prompt, answers: question.names, told: Vec::new(), depth: None };
        }
        "ruler_qa_1" | "ruler_qa_2" => {
            let (source, name) =
                if kind == "ruler_qa_1" { (Source::Squad, "squad.json") } else { (Source::Hotpot, "hotpot.json") };
            let questions = Questions::read(source, name, files).unwrap();
            let mut script = Documents::seeded(questions, seed, wrapper);
            let purpose = Purpose::Sample(number("question"));
            return script.draw(&Words, number("num_docs"), purpose).unwrap().unwrap();
        }
        _ => {
            let said = |name: &str| match arguments[name].as_str().unwrap() {
                "words" => Said::Words,
                "numbers" => Said::Numbers,
                "uuids" => Said::Uuids,
                other => panic!("another type: {other}"),
            };
            let hay = match arguments["type_haystack"].as_str().unwrap() {
                "noise" => Hay::Noise,
                "essay" => Hay::Essay,
                "needle" => Hay::Needles,
                other => panic!("another haystack: {other}"),
            };
            let task = Niah {
                hay,
                key: said("type_needle_k"),
                value: said("type_needle_v"),
                n_keys: number("num_needle_k").max(number("num_needle_q")),
                n_values: number("num_needle_v"),
                n_queries: number("num_needle_q"),
            };
            let essay = (hay == Hay::Essay).then(|| &*files.0["essay.txt"]);
            (Box::new(Needles::seeded(task, seed, mode, wrapper, essay)), number("num_haystack"))
        }
    };
    script.draw(&Words, n_pieces, Purpose::Search).unwrap().unwrap()
}

#[test]
fn prompts_are_those_of_the_scripts() {
    let (files, mut n_seen) = (given(), 0);
    for row in golden::prompts().iter().filter(|row| row["source"] == "NVIDIA/RULER") {
        if row["kind"] == "ruler_vt_icl_example" {
            continue; // looked at where examples are made
        }
        n_seen += 1;
        let drawn = drawn(row, &files);
        assert_eq!(json!(drawn.answers), row["answers"], "{row}");
        let text = text(&drawn.prompt);
        let ends = |name: &str| row[name].as_str().unwrap();
        assert!(text.starts_with(ends("first80")) && text.ends_with(ends("last80")), "{row}\n{text}");
        assert_eq!(sha256(text), row["sha256"].as_str().unwrap(), "{row}\n{text}");
    }
    assert_eq!(n_seen, 62);
}

#[test]
fn files_are_those_of_the_scripts() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/golden-eval/ruler_files.jsonl.gz");
    let mut rows = String::new();
    GzDecoder::new(File::open(path).unwrap()).read_to_string(&mut rows).unwrap();
    let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 16);
    let files = given();
    for pair in rows.chunks(2) {
        let (task, length) = (pair[0]["task"].as_str().unwrap(), &pair[0]["max_seq_length"]);
        let name = match task {
            "vt" | "cwe" | "fwe" => format!("ruler_{task}:"),
            "qa_1" => "ruler_qa_squad:file=squad.json,".into(),
            "niah_single_2" | "niah_multiquery" => format!("{task}:haystack=essay.txt,"),
            _ => format!("{task}:"),
        };
        let made = samples(&format!("{name}length={length},samples=2"), &Words, &files).unwrap();
        for (row, made) in pair.iter().zip(made) {
            let row = &row["sample"];
            assert_eq!(json!(made.answers), row["outputs"], "{task}");
            let prefix = row["answer_prefix"].as_str().unwrap();
            let input = text(&made.prompt).strip_suffix(prefix).unwrap_or_else(|| panic!("{task}: {prefix}"));
            assert_eq!(sha256(input), row["input_sha256"].as_str().unwrap(), "{task}");
            let Rule::Answer(answering) = &made.rule else { panic!("RULER asks questions") };
            let n_tokens = Words.encode(text(&made.prompt), false).unwrap().len() + answering.max_tokens;
            assert_eq!(n_tokens as u64, row["length"].as_u64().unwrap(), "{task}");
            if task.starts_with("niah") {
                let at = input.find(&*made.answers[0]).unwrap();
                assert_eq!(at as u64, row["index"].as_u64().unwrap(), "the script takes a place for a number");
                let n_before = Words.encode(&input[..at], false).unwrap().len();
                assert_eq!(n_before as u64, row["token_position_answer"].as_u64().unwrap());
            }
        }
    }
}
