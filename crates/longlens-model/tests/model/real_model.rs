//! A real model, SmolLM2-135M-Instruct in four bits, against what transformers computes on the same weights (`fixtures/smollm2`).
//!
//! `scripts/fetch-smollm2 FOLDER` fetches it; `LONGLENS_SMOLLM2` names the file. Without it these tests pass over, unless
//! `LONGLENS_REQUIRE_SMOLLM2` is set. `LONGLENS_SMOLLM2_LONG` adds prompts past the trained context, which take minutes.

use std::fs;
use std::path::Path;

use burn_flex::{Flex, FlexDevice};
use longlens_core::lens::{Lens, Rows, Setup};
use longlens_core::methods::Method;
use longlens_core::trace::Watch;
use longlens_model::source::{CacheDirs, Source};
use longlens_model::{Options, open};
use serde_json::Value;

/// Logits reach 44, and f32 programs differ by up to 3e-4 of them.
const TOLERANCE: f64 = 5e-4;

fn model() -> Option<Box<dyn Lens>> {
    let Some(path) = std::env::var_os("LONGLENS_SMOLLM2") else {
        assert!(std::env::var_os("LONGLENS_REQUIRE_SMOLLM2").is_none(), "LONGLENS_SMOLLM2 names no file");
        return None;
    };
    let source = Source::resolve_in(path.to_str().unwrap(), &CacheDirs::default()).unwrap();
    Some(open::<Flex>(&source, Options::default(), FlexDevice, "test").unwrap())
}

fn fixture(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/smollm2");
    let text = fs::read_to_string(folder.join(name)).unwrap();
    if Path::new(name).extension().is_some_and(|end| end == "json") {
        return serde_json::from_str(&text).unwrap();
    }
    Value::Array(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn begin(lens: &mut dyn Lens, method: &str, n_prompt: usize) {
    let setup = Setup::new(&Method::parse(method).unwrap(), &lens.model().spec, n_prompt).unwrap();
    lens.begin(&Setup { watch: Watch { nll: true, ..Watch::default() }, ..setup }).unwrap();
}

fn best(logits: &[f32]) -> u32 {
    (0..logits.len() as u32).max_by(|a, b| logits[*a as usize].total_cmp(&logits[*b as usize])).unwrap()
}

/// `n` tokens, each the likeliest, behind a prompt whose last logits are these.
fn greedy(lens: &mut dyn Lens, mut logits: Vec<f32>, n: usize) -> Vec<u32> {
    let mut out = Vec::new();
    for _ in 0..n {
        let token = best(&logits);
        out.push(token);
        logits = lens.feed(&[token], Rows::Last, &mut ()).unwrap();
    }
    out
}

#[test]
fn prompts_are_tokenized_continued_and_weighed_as_by_transformers() {
    let Some(mut lens) = model() else { return };
    let (top, greedy_texts) = (fixture("top10.json"), fixture("greedy.json"));
    let vocab_size = lens.model().spec.vocab_size;
    for prompt in fixture("prompts.jsonl").as_array().unwrap() {
        let (name, tokens) = (prompt["name"].as_str().unwrap(), ids(&prompt["ids"]));
        assert_eq!(lens.text().unwrap().encode(prompt["text"].as_str().unwrap(), true).unwrap(), tokens, "{name}");
        begin(&mut *lens, "full", tokens.len());
        let logits = lens.feed(&tokens, Rows::All, &mut ()).unwrap();
        for place in top["prompts"][name].as_array().unwrap() {
            let row = &logits[place["position"].as_u64().unwrap() as usize * vocab_size..][..vocab_size];
            for (id, expected) in ids(&place["ids"]).into_iter().zip(place["logits"].as_array().unwrap()) {
                let off = (f64::from(row[id as usize]) - expected.as_f64().unwrap()).abs();
                assert!(off <= TOLERANCE, "{name}: token {id} at {}: off by {off}", place["position"]);
            }
            let sum = row.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln();
            assert!((sum - place["logsumexp"].as_f64().unwrap()).abs() <= TOLERANCE, "{name}: {sum}");
        }
        let last = logits[logits.len() - vocab_size..].to_vec();
        let expected = &greedy_texts["prompts"][name];
        let said = greedy(&mut *lens, last, 20);
        assert_eq!(said, ids(&expected["ids"]), "{name}: {}", expected["text"]);
    }
}

#[test]
fn losses_of_a_real_text_are_those_of_transformers() {
    let Some(mut lens) = model() else { return };
    let nll = fixture("nll.json");
    let tokens = ids(&nll["ids"]);
    begin(&mut *lens, "full", tokens.len());
    lens.feed(&tokens, Rows::None, &mut ()).unwrap();
    let got = lens.trace().nll.clone();
    let expected: Vec<f64> = nll["nll"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    let got: Vec<f64> = got.iter().map(|x| f64::from(*x)).skip(got.len() - expected.len()).collect();
    let worst = got.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst <= 2.0 * TOLERANCE, "off by {worst}");
    let mean = got.iter().sum::<f64>() / got.len() as f64;
    assert!((mean - nll["mean_nll"].as_f64().unwrap()).abs() < 1e-5, "{mean}");
}

#[test]
fn past_its_trained_context_plain_attention_loses_a_key_that_methods_find() {
    let Some(mut lens) = model() else { return };
    if std::env::var_os("LONGLENS_SMOLLM2_LONG").is_none() {
        return;
    }
    let long = fixture("long.json");
    let (text, question, answer) = (ids(&long["ids"]), ids(&long["question"]), ids(&long["answer"]));
    for (method, expected) in long["methods"].as_object().unwrap() {
        for length in [4096, 10_240] {
            let probes = expected["probes"].as_array().unwrap();
            let probe = probes.iter().find(|probe| probe["length"] == length).unwrap();
            let prompt = [&text[..length], &question].concat();
            begin(&mut *lens, method, prompt.len());
            let last = lens.feed(&prompt, Rows::Last, &mut ()).unwrap();
            let losses = lens.trace().nll.clone();
            let said = greedy(&mut *lens, last, answer.len());
            assert_eq!(said == answer, probe["correct"].as_bool().unwrap(), "{method} at {length}: {said:?}");
            if length == 10_240 {
                for bucket in expected["buckets"].as_array().unwrap() {
                    let [from, to] = ["from_token", "to_token"].map(|end| bucket[end].as_u64().unwrap() as usize);
                    if to <= length {
                        let shift = prompt.len() - losses.len();
                        let part = &losses[from - shift..to - shift];
                        let mean = part.iter().map(|x| f64::from(*x)).sum::<f64>() / part.len() as f64;
                        let off = (mean - bucket["mean_nll"].as_f64().unwrap()).abs();
                        assert!(off < 2e-3, "{method}, tokens {from} to {to}: {mean}, off by {off}");
                    }
                }
            }
        }
    }
}
