//! Small files of a checkpoint as nobody would write them: whatever they hold, the answer is a value or an error, in bounded time
//! and memory, and never a panic.

use std::fs;
use std::sync::OnceLock;

use longlens_core::lens::TextCodec;
use longlens_model::config::Config;
use longlens_model::source::Source;
use longlens_model::tokenizer::HfTokenizer;
use longlens_model::weights::WeightFiles;
use proptest::prelude::*;
use serde_json::{Value, json};

/// A file of the embedded model, as JSON.
fn embedded(file: &str) -> Value {
    serde_json::from_slice(&Source::embedded().require(file).unwrap()).unwrap()
}

/// A value that a stranger might put anywhere.
fn odd() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(json!(u64::MAX)),
        Just(json!(-1)),
        Just(json!(0)),
        Just(json!(1e308)),
        any::<f64>().prop_map(|x| json!(x)),
        ".{0,12}".prop_map(Value::from),
        Just(json!("\u{1b}[2J")),
        Just(json!("(((((a*)*)*)*)*)b")),
        Just(json!("")),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let names =
            prop_oneof!["[a-z_]{1,8}", Just("type".to_owned()), Just("Regex".to_owned()), Just("factor".to_owned())];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names, inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

/// Puts `value` in the `at`-th place of a file, counted through all levels; large lists and maps are places themselves alone.
fn put(file: &mut Value, at: &mut usize, value: &Value) -> bool {
    if *at == 0 {
        file.clone_from(value);
        return true;
    }
    *at -= 1;
    match file {
        Value::Array(values) if values.len() < 64 => values.iter_mut().any(|inner| put(inner, at, value)),
        Value::Object(map) if map.len() < 64 => map.values_mut().any(|inner| put(inner, at, value)),
        _ => false,
    }
}

/// A tokenizer of few tokens with the structure of the embedded one.
fn small_tokenizer() -> &'static Value {
    static SMALL: OnceLock<Value> = OnceLock::new();
    SMALL.get_or_init(|| {
        let mut file = embedded("tokenizer.json");
        let vocab = file["model"]["vocab"].as_object().unwrap();
        let kept: serde_json::Map<_, _> = vocab
            .iter()
            .filter(|(_, id)| id.as_u64().unwrap() < 300)
            .map(|(token, id)| (token.clone(), id.clone()))
            .collect();
        file["model"]["vocab"] = kept.into();
        file["model"]["merges"] = json!([]);
        file
    })
}

/// Parses a tokenizer and uses what comes out.
fn try_tokenizer(bytes: &[u8]) {
    if let Ok(tokenizer) = HfTokenizer::parse("tokenizer.json", bytes) {
        for text in ["", "A bird.", "Ünïcödé \u{0}\u{fffd} 日本"] {
            let tokens = tokenizer.encode(text, true).unwrap_or_default();
            // whatever it answers, it answers
            let _ = tokenizer.decode(&tokens);
        }
        let _ = tokenizer.decode(&[0, 1, 299, u32::MAX]);
    }
}

/// Opens a file as part of a folder.
fn in_folder<T>(file: &str, bytes: &[u8], open: impl FnOnce(&Source) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(file), bytes).unwrap();
    open(&Source::folder(folder.path()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn tokenizers(at in 0..120usize, value in odd()) {
        let mut file = small_tokenizer().clone();
        put(&mut file, &mut { at }, &value);
        try_tokenizer(file.to_string().as_bytes());
    }

    #[test]
    fn parts_of_tokenizers(part in prop::sample::select(vec!["normalizer", "pre_tokenizer", "post_processor", "decoder"]),
        kind in prop::sample::select(vec!["Replace", "Precompiled", "Split", "TemplateProcessing", "Strip", "Prepend", "ByteLevel",
            "Metaspace", "FixedLength", "Sequence", "CTC", "WordPiece", "BPEDecoder", "Fuse", "StripAccents", "Punctuation"]),
        fields in prop::collection::btree_map(prop::sample::select(vec!["pattern", "content", "precompiled_charsmap", "behavior",
            "invert", "single", "pair", "special_tokens", "start", "stop", "prepend", "replacement", "length", "normalizers",
            "decoders", "prepend_scheme", "split", "prefix", "cleanup", "suffix", "pad_token", "word_delimiter_token"]), odd(), 0..6),
    ) {
        let mut file = small_tokenizer().clone();
        file[part] = json!(fields);
        file[part]["type"] = json!(kind);
        try_tokenizer(file.to_string().as_bytes());
    }

    #[test]
    fn damaged_tokenizers(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = small_tokenizer().to_string().into_bytes();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        try_tokenizer(&bytes);
    }

    #[test]
    fn configs(at in 0..40usize, value in odd(), extra in "[a-z_]{1,12}", more in odd()) {
        let mut file = embedded("config.json");
        put(&mut file, &mut { at }, &value);
        if let Some(map) = file.as_object_mut() {
            map.insert("rope_scaling".into(), json!({"rope_type": "yarn", "factor": 2, &extra: more.clone()}));
            map.insert(extra, more);
        }
        if let Err(error) = Config::parse("config.json", file.to_string().as_bytes()) {
            prop_assert!(error.to_string().len() < 2000, "{}", error);
        }
    }

    #[test]
    fn indices_and_small_configs(value in odd(), other in odd()) {
        let index = json!({"metadata": other.clone(), "weight_map": value.clone()}).to_string();
        prop_assert!(in_folder("model.safetensors.index.json", index.as_bytes(), WeightFiles::open).is_err());
        for file in ["generation_config.json", "tokenizer_config.json"] {
            let text = json!({"bos_token_id": value.clone(), "eos_token_id": other.clone(), "add_bos_token": value.clone(),
                "bos_token": other.clone(), "tokenizer_class": value.clone()});
            // either may be refused; neither may panic
            in_folder(file, text.to_string().as_bytes(), |source| {
                fs::write(source.place() + "/tokenizer.json", small_tokenizer().to_string()).unwrap();
                fs::write(source.place() + "/config.json", embedded("config.json").to_string()).unwrap();
                (Config::open(source).is_ok(), HfTokenizer::open(source, 1024).is_ok())
            });
        }
    }

    #[test]
    fn headers_of_weights(name in ".{0,20}", dtype in prop::sample::select(vec!["F32", "F64", "BF16", "I8", "F8_E4M3", "X"]),
        shape in prop::collection::vec(prop_oneof![0..4u64, Just(u64::MAX), Just(1 << 40)], 0..4),
        offsets in prop::collection::vec(prop_oneof![0..64u64, Just(u64::MAX)], 0..3), data in 0..64usize, claim in any::<Option<u64>>()) {
        let header = json!({name: {"dtype": dtype, "shape": shape, "data_offsets": offsets}}).to_string();
        let length = claim.unwrap_or(header.len() as u64).to_le_bytes();
        let bytes = [&length[..], header.as_bytes(), &vec![0; data]].concat();
        if let Ok(files) = in_folder("model.safetensors", &bytes, WeightFiles::open) {
            let n_names = files.names().count();
            let fits = |name: &str| files.numbers(name, usize::MAX).is_none_or(|numbers| numbers.len() <= 64);
            prop_assert!(n_names <= 1 && files.names().all(fits));
        }
    }
}
