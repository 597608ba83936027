//! Checkpoints saved in Hugging Face's layout, and files of weights given as models.

use std::fs;
use std::path::{Path, PathBuf};

use burn_flex::{Flex, FlexDevice};
use longlens_core::lens::{Rows, Setup};
use longlens_core::methods::Method;
use longlens_kernel::linear::Storage;
use longlens_model::source::{CacheDirs, Source};
use longlens_model::weights::Written;
use longlens_model::{convert, open};
use safetensors::SafeTensors;

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(path)
}

fn resolve(path: &Path) -> Source {
    Source::resolve_in(path.to_str().unwrap(), &CacheDirs::default()).unwrap()
}

fn logits(path: &Path) -> Vec<f32> {
    let mut lens = open::<Flex>(&resolve(path), Storage::F32, FlexDevice, "test").unwrap();
    lens.begin(&Setup::new(&Method::full(), &lens.model().spec, 9).unwrap()).unwrap();
    lens.feed(&[1, 2, 3, 4, 5, 6, 7, 8, 9], Rows::All, &mut ()).unwrap()
}

fn converted(path: &Path, written: Written) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let done = convert(&resolve(path), None, written, &folder.path().join("new"), &mut ()).unwrap();
    assert!(done.files.iter().all(|file| file.is_file()), "{done:?}");
    assert_eq!(done.weight_bytes, fs::metadata(folder.path().join("new/model.safetensors")).unwrap().len());
    folder
}

#[test]
fn nothing_is_lost_where_nothing_is_converted() {
    let model = fixture("golden/models/llama3-gqa");
    let folder = converted(&model, Written::File);
    let [old, new] =
        [&model, &folder.path().join("new")].map(|folder| fs::read(folder.join("model.safetensors")).unwrap());
    let [old, new] = [&old, &new].map(|bytes| SafeTensors::deserialize(bytes).unwrap());
    assert_eq!(old.len(), new.len());
    for (name, tensor) in old.tensors() {
        let same = new.tensor(&name).unwrap();
        assert_eq!((tensor.dtype(), tensor.shape()), (same.dtype(), same.shape()), "{name}");
        assert!(tensor.data() == same.data(), "{name}");
    }
}

#[test]
fn every_format_becomes_a_folder_with_the_same_logits() {
    for name in
        ["llama-gguf-q4_1", "llama-gguf-kmix", "llama31-gguf-f16", "qwen2-gguf-f16", "llama-pt", "llama-pt-legacy"]
    {
        let model = fixture(&format!("formats/{name}"));
        let folder = converted(&model, Written::File);
        assert_eq!(logits(&folder.path().join("new")), logits(&model), "{name}");
    }
}

#[test]
fn numbers_are_rounded_as_asked_and_the_config_says_so() {
    let model = fixture("formats/llama-gguf-q4_1");
    let exact = logits(&model);
    for (written, dtype, limit) in
        [(Written::F32, "float32", 0.0), (Written::F16, "float16", 0.02), (Written::Bf16, "bfloat16", 0.2)]
    {
        let folder = converted(&model, written);
        let new = folder.path().join("new");
        let config: serde_json::Value = serde_json::from_slice(&fs::read(new.join("config.json")).unwrap()).unwrap();
        assert_eq!(config["torch_dtype"], dtype);
        let off = logits(&new).iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off <= limit, "{dtype}: off by {off}");
    }
}

/// A copy of a model of the fixtures, its config changed.
fn copied(config: impl FnOnce(&mut serde_json::Value)) -> tempfile::TempDir {
    let (model, folder) = (fixture("golden/models/llama3-gqa"), tempfile::tempdir().unwrap());
    fs::copy(model.join("model.safetensors"), folder.path().join("model.safetensors")).unwrap();
    let mut map = serde_json::from_slice(&fs::read(model.join("config.json")).unwrap()).unwrap();
    config(&mut map);
    fs::write(folder.path().join("config.json"), map.to_string()).unwrap();
    folder
}

#[test]
fn numbers_that_a_format_cannot_hold_are_refused_and_nothing_is_left() {
    let model = copied(|_| ());
    let path = model.path().join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len();
    // the last number of the file
    bytes[end - 4..].copy_from_slice(&1e5f32.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let new = model.path().join("new");
    let error = convert(&resolve(model.path()), None, Written::F16, &new, &mut ()).unwrap_err().to_string();
    assert!(error.contains("holds 100000 at [") && error.contains("unusable numbers in it: 1"), "{error}");
    assert_eq!(fs::read_dir(&new).unwrap().count(), 0);
    convert(&resolve(model.path()), None, Written::Bf16, &new, &mut ()).unwrap();
}

#[test]
fn what_cannot_be_opened_is_written_with_a_warning() {
    let warnings = |config: fn(&mut serde_json::Value)| {
        let model = copied(config);
        convert(&resolve(model.path()), None, Written::File, &model.path().join("new"), &mut ()).unwrap().warnings
    };
    assert_eq!(warnings(|_| ()), Vec::<String>::new());
    for (config, expected) in [
        ((|map| map["num_hidden_layers"] = 7.into()) as fn(&mut serde_json::Value), "layers 2 to 6"),
        (|map| map["intermediate_size"] = 99.into(), "but the config needs [99, "),
        (|map| map["model_type"] = "nonsense".into(), "unknown `model_type` `nonsense`"),
    ] {
        let [warning] = warnings(config).try_into().unwrap();
        assert!(warning.starts_with("what is written cannot be opened") && warning.contains(expected), "{warning}");
    }
}

#[test]
fn no_file_is_replaced() {
    let model = fixture("golden/models/llama3-gqa");
    let folder = converted(&model, Written::File);
    let error = convert(&resolve(&model), None, Written::File, &folder.path().join("new"), &mut ()).unwrap_err();
    assert!(error.to_string().contains("config.json") && error.help().unwrap().contains("another folder"), "{error}");
}

#[test]
fn a_file_of_weights_is_a_model() {
    for (file, name, folder) in [
        ("formats/llama-gguf-q4_1/llama-gguf-q4_1.gguf", "llama-gguf-q4_1", "formats/llama-gguf-q4_1"),
        ("golden/models/llama3-gqa/model.safetensors", "llama3-gqa", "golden/models/llama3-gqa"),
        ("formats/llama-pt/pytorch_model.bin", "llama-pt", "formats/llama-pt"),
        ("formats/llama-pt-sharded/pytorch_model-00002-of-00002.bin", "llama-pt-sharded", "formats/llama-pt-sharded"),
    ] {
        let path = fixture(file);
        assert_eq!(resolve(&path).name(), name);
        assert!(resolve(&path).place().ends_with(file), "{}", resolve(&path).place());
        assert_eq!(logits(&path), logits(&fixture(folder)), "{file}");
    }
}

#[test]
fn a_gguf_file_is_found_in_a_folder_alone_and_in_the_cache() {
    let hub = tempfile::tempdir().unwrap();
    let snapshot = hub.path().join("models--org--tiny-GGUF/snapshots/01ab");
    fs::create_dir_all(&snapshot).unwrap();
    fs::copy(fixture("formats/llama-gguf-q4_1/llama-gguf-q4_1.gguf"), snapshot.join("tiny.gguf")).unwrap();
    let dirs = CacheDirs { hf_hub_cache: Some(hub.path().into()), ..CacheDirs::default() };
    for text in [
        "org/tiny-GGUF".to_owned(),
        snapshot.display().to_string(),
        hub.path().join("models--org--tiny-GGUF").display().to_string(),
    ] {
        let source = Source::resolve_in(&text, &dirs).unwrap();
        assert!(source.place().ends_with("tiny.gguf"), "{}", source.place());
        let lens = open::<Flex>(&source, Storage::F32, FlexDevice, "test").unwrap();
        assert_eq!((lens.model().name.as_str(), lens.model().family.as_str()), ("org/tiny-GGUF", "llama"));
    }
    // of two nobody knows which is meant
    fs::write(snapshot.join("other.gguf"), "GGUF").unwrap();
    let error = open::<Flex>(&Source::folder(&snapshot), Storage::F32, FlexDevice, "test").map(drop).unwrap_err();
    assert!(error.to_string().ends_with(" has no config.json"), "{error}");
    assert!(error.help().unwrap().contains("several files may be meant: other.gguf, tiny.gguf"), "{:?}", error.help());
}
