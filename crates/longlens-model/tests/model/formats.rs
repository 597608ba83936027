//! Checkpoints in every file format (`fixtures/formats`): their configs and logits are those of the stored numbers.
//!
//! `LONGLENS_FORMATS=FOLDER cargo test --release --workspace --test model formats` runs every case of another folder.

use std::fs;
use std::path::{Path, PathBuf};

use burn_flex::{Flex, FlexDevice};
use longlens_core::lens::{Rows, Setup};
use longlens_core::methods::Method;
use longlens_kernel::linear::Storage;
use longlens_model::config::Config;
use longlens_model::source::{CacheDirs, Source};
use longlens_model::weights::Keep;
use longlens_model::{Options, describe, open};
use safetensors::SafeTensors;
use serde_json::Value;

fn folder() -> PathBuf {
    std::env::var_os("LONGLENS_FORMATS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/formats"), PathBuf::from)
}

/// Whether the cases are those of the repository, whose number is known.
fn is_usual() -> bool {
    std::env::var_os("LONGLENS_FORMATS").is_none()
}

/// Names of all cases, with what each says.
fn cases() -> Vec<(String, Value)> {
    let files = fs::read_dir(folder().join("cases")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|file| file.extension().is_some_and(|end| end == "json")).collect();
    files.sort();
    let read = |file: PathBuf| {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        (name, serde_json::from_slice(&fs::read(&file).unwrap()).unwrap())
    };
    files.into_iter().map(read).collect()
}

fn source(name: &str) -> Source {
    Source::resolve_in(folder().join(name).to_str().unwrap(), &CacheDirs::default()).unwrap()
}

fn off(name: &str, case: &Value, weights: Keep) -> f32 {
    let options = Options { weights, ..Options::default() };
    let mut lens =
        open::<Flex>(&source(name), options, FlexDevice, "test").unwrap_or_else(|error| panic!("{name}: {error}"));
    let tokens: Vec<u32> = case["tokens"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
    let n_prompt = case["prefill_len"].as_u64().unwrap() as usize;
    lens.begin(&Setup::new(&Method::full(), &lens.model().spec, n_prompt).unwrap()).unwrap();
    let mut logits = lens.feed(&tokens[..n_prompt], Rows::All, &mut ()).unwrap();
    for token in &tokens[n_prompt..] {
        logits.extend(lens.feed(&[*token], Rows::All, &mut ()).unwrap());
    }
    let arrays = fs::read(folder().join("cases").join(format!("{name}.safetensors"))).unwrap();
    let arrays = SafeTensors::deserialize(&arrays).unwrap();
    let expected = arrays.tensor("logits").unwrap();
    let expected = expected.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    assert_eq!(logits.len(), expected.len(), "{name}");
    let off = |(a, b): (&f32, f32)| if a.is_finite() { (a - b).abs() } else { f32::INFINITY };
    logits.iter().zip(expected).map(off).fold(0.0, f32::max)
}

#[test]
fn logits_are_those_of_the_stored_numbers() {
    let cases = cases();
    assert!(!is_usual() || cases.len() == 9, "{} cases", cases.len());
    for (name, case) in cases {
        let limit = case["tolerance"]["logits_max_abs"].as_f64().unwrap() as f32;
        for weights in [Keep::As(Storage::F32), Keep::File] {
            let off = off(&name, &case, weights);
            assert!(off <= limit, "{name} kept as {weights}: off by {off:e}");
        }
    }
}

#[test]
fn metadata_say_what_the_config_would() {
    let mut n_checked = 0;
    for (name, _) in cases() {
        let Ok(text) = fs::read(folder().join(&name).join("expected_config.json")) else { continue };
        let mut expected = Config::parse("expected_config.json", &text).unwrap();
        let config = Config::open(&source(&name)).unwrap();
        // what the weights are stored as, they say themselves
        expected.dtype = None;
        // a file whose texts begin with no token of their own may leave that one out
        expected.bos_token = expected.bos_token.and(config.bos_token);
        assert_eq!(config, expected, "{name}");
        n_checked += 1;
    }
    assert!(!is_usual() || n_checked == 6, "{n_checked} configs");
}

#[test]
fn results_say_what_matrices_are_kept_as() {
    for (name, weights, expected) in [
        ("llama-gguf-q4_1", Keep::File, "q4_1, q8_0"),
        ("llama-gguf-q4_1", Keep::As(Storage::F32), "f32 (stored as q4_1, q8_0)"),
        ("llama-gguf-kmix", Keep::File, "q4_k, q5_k, q6_k"),
        ("llama-pt", Keep::File, "f32"),
        ("llama-pt-legacy", Keep::File, "bf16"),
        ("llama-pt-sharded", Keep::As(Storage::Q8), "q8 (stored as f16)"),
        ("llama31-gguf-f16", Keep::File, "f16"),
    ] {
        let options = Options { weights, ..Options::default() };
        let described = describe(&source(name), options.clone()).unwrap();
        let lens = open::<Flex>(&source(name), options, FlexDevice, "test").unwrap();
        assert_eq!((described.dtype.as_str(), described.weight_bytes), (expected, lens.model().weight_bytes), "{name}");
        assert_eq!(lens.model().dtype, expected, "{name}");
    }
}
