//! What holds for the samples of the scripts' tasks.

use longlens_core::scripted::{BOS, ByteCodec};
use longlens_core::spec::ModelSpec;
use sha2::{Digest, Sha256};

use super::*;
use crate::tasks::Disk;

fn made(setting: &str) -> Result<Vec<Sample>, EvalError> {
    let setting = Task::parse(setting).unwrap();
    let ask = Ask { setting: &setting, spec: &ModelSpec::tiny(2048), codec: &ByteCodec, files: &Disk };
    let mut samples = ask.samples()?;
    (0..samples.n).map(|at| (samples.make)(at, &ByteCodec)).collect()
}

fn answering(sample: &Sample) -> &Answering {
    let Rule::Answer(answering) = &sample.rule else { panic!("an answer is generated") };
    answering
}

#[test]
fn ids_are_scored_as_the_scripts_do_and_text_where_faults_are_mended() {
    let faithful = &made("passkey_chunkllama:length=1024,samples=1").unwrap()[0];
    // a model that talks would begin with words of its own
    for (task, end) in
        [("passkey:length=600", "[/INST] The pass key is"), ("passkey_haystack:length=3000", "[/INST] The pass key is")]
    {
        let samples = made(&format!("{task},samples=1,depths=1,template=llama2")).unwrap();
        let text = samples[0].prompt.text().unwrap();
        assert!(
            text.starts_with("[INST] ") && text.contains("What is the pass key? [/INST]") && text.ends_with(end),
            "{text}"
        );
    }
    let n_digits = faithful.answers[0].len();
    // the first id of the answer is taken for the one that begins every text
    assert_eq!((answering(faithful).scorer, answering(faithful).max_tokens), ("passkey_token_exact", n_digits));
    assert_eq!(answering(faithful).fields["bos"], serde_json::json!([BOS]));
    let fixed = &made("passkey_chunkllama:length=1024,samples=1,mode=fixed").unwrap()[0];
    assert_eq!(answering(fixed).scorer, "passkey_text");
    assert_eq!(answering(fixed).max_tokens, fixed.answers[0].len() + 2);
}

#[test]
fn wrapping_counts_as_part_of_the_length() {
    for template in ["off", "model", "llama2", "llama3"] {
        for sample in made(&format!("passkey:length=900,samples=2,depths=3,template={template}")).unwrap() {
            let n_tokens = sample.prompt.tokens(Ok(&ByteCodec)).unwrap().len() + answering(&sample).max_tokens;
            assert!((810..=900).contains(&n_tokens), "{template}: {n_tokens}");
        }
        let error = made(&format!("passkey:length=150,samples=1,template={template}")).unwrap_err();
        let EvalError::TooShort { length: 150, shortest, .. } = error else { panic!("{template}: {error}") };
        assert!(
            made(&format!("passkey:length={shortest},samples=1,depths=1,template={template}")).is_ok(),
            "{shortest}"
        );
    }
}

#[test]
fn stored_prompts_without_a_depth_have_that_of_their_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prompts.jsonl");
    let filler = "Grass is green. ".repeat(30);
    let line = |before: &str, after: &str| {
        let input = format!("{before}The pass key is 4711. Remember it. 4711 is the pass key.{after}");
        serde_json::json!({ "input": input, "target": "4711" }).to_string()
    };
    std::fs::write(&path, [line(&filler, ""), line(&filler, &filler)].join("\n")).unwrap();
    let samples = made(&format!("passkey_file:file={}", path.display())).unwrap();
    let depths: Vec<f64> = samples.iter().map(|sample| sample.depth.unwrap()).collect();
    assert_eq!(depths, [1.0, 0.5]);
    assert_eq!(made(&format!("passkey_file:file={},samples=1", path.display())).unwrap().len(), 1);
}

#[test]
fn stored_prompts_of_self_extend_are_as_its_script_feeds_them() {
    use std::io::Read;
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/golden-eval/longlm_passkeys.jsonl.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(fixture).unwrap()).read_to_string(&mut text).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prompts.jsonl");
    std::fs::write(&path, text).unwrap();
    let samples = made(&format!("passkey_file:file={}", path.display())).unwrap();
    let golden = crate::tasks::golden::prompts();
    let golden: Vec<_> = golden.iter().filter(|row| row["kind"] == "passkey_stored_sample").collect();
    assert_eq!((samples.len(), golden.len()), (14, 14));
    for (sample, row) in samples.iter().zip(golden) {
        let prompt = sample.prompt.text().unwrap();
        let hash = format!("{:x}", Sha256::digest(prompt));
        assert_eq!((&*hash, &*sample.answers[0]), (row["sha256"].as_str().unwrap(), row["key"].as_str().unwrap()));
    }
}

#[test]
fn short_lengths_have_filler_where_faults_are_mended() {
    for task in ["passkey_chunkllama", "passkey_longlora", "needle_chunkllama", "passkey_longheads"] {
        let error = made(&format!("{task}:length=270,samples=1")).unwrap_err().to_string();
        let said = ["cannot be 270 tokens long", "length = 270 is not at least 1024"];
        assert!(said.iter().any(|said| error.contains(said)), "{error}");
        let samples = made(&format!("{task}:length=700,samples=2,mode=fixed")).unwrap();
        for sample in &samples {
            let n_tokens = sample.prompt.tokens(Ok(&ByteCodec)).unwrap().len() + answering(sample).max_tokens;
            assert!((680..=700).contains(&n_tokens), "{task}: {n_tokens}");
            assert_eq!(sample.length, Some(700), "not rounded down to whole 1024s");
        }
    }
}

#[test]
fn long_heads_samples_say_whether_their_key_is_split() {
    for mode in ["faithful", "fixed"] {
        let samples = made(&format!("passkey_longheads:length=4096,mode={mode}")).unwrap();
        let n_split = samples.iter().filter(|sample| sample.part.as_deref() == Some("split")).count();
        // of 56 bytes at random places, about a fifth lies over the end of a chunk of 256
        assert!((3..=25).contains(&n_split), "{mode}: {n_split}");
        for sample in &samples {
            let position = &answering(sample).fields["position"];
            let (start, end) = (position[0].as_u64().unwrap(), position[1].as_u64().unwrap());
            assert_eq!(answering(sample).fields["block"], start / 256);
            let is_split = start / 256 != end / 256 || mode == "faithful" && start % 256 == 0;
            assert_eq!(sample.part.as_deref(), Some(if is_split { "split" } else { "whole" }), "{position}");
        }
    }
    assert!(made("passkey_longlora:length=1024").unwrap().iter().all(|sample| sample.part.is_none()));
}

#[test]
fn lengths_that_end_in_an_assertion_are_refused() {
    let error = made("passkey_longlora:length=130k").unwrap_err().to_string();
    assert!(error.starts_with("length = 133120 is not one that the script has filler for"), "{error}");
    for task in ["passkey_longheads", "passkey_chunkllama", "needle_chunkllama"] {
        assert!(made(&format!("{task}:length=99999999999")).is_err());
    }
}
