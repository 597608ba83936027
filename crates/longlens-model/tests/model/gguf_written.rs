//! Checkpoints saved as GGUF files, and what comes back from them.

use std::fs;
use std::path::{Path, PathBuf};

use burn_flex::{Flex, FlexDevice};
use longlens_core::lens::{Conversation, Lens, Message, Rows, Setup};
use longlens_core::methods::Method;
use longlens_kernel::blocks::BlockType;
use longlens_kernel::linear::Storage;
use longlens_model::gguf::{Gguf, Metadata, Value};
use longlens_model::source::{CacheDirs, Source};
use longlens_model::weights::Written;
use longlens_model::{convert, open};
use tempfile::TempDir;

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(path)
}

fn lens(model: &str) -> Box<dyn Lens> {
    let source = Source::resolve_in(model, &CacheDirs::default()).unwrap();
    open::<Flex>(&source, Storage::F32, FlexDevice, "test").unwrap()
}

fn logits(model: &str) -> Vec<f32> {
    let mut lens = lens(model);
    lens.begin(&Setup::new(&Method::full(), &lens.model().spec, 40).unwrap()).unwrap();
    let tokens: Vec<u32> = (0..40).map(|at| at * 7 % 50 + 3).collect();
    lens.feed(&tokens, Rows::All, &mut ()).unwrap()
}

/// The file that a checkpoint becomes, or why it becomes none.
fn written(model: &str, written: Written) -> Result<(TempDir, String), String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new.gguf");
    let source = Source::resolve_in(model, &CacheDirs::default()).unwrap();
    let done = convert(&source, None, written, &path, &mut ());
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    match done {
        Ok(done) => {
            assert_eq!((done.files, done.warnings), (vec![path.clone()], Vec::<String>::new()), "{model}");
            assert_eq!((left.len(), done.weight_bytes), (1, fs::metadata(&path).unwrap().len()), "{model}");
            Ok((folder, path.display().to_string()))
        }
        Err(error) => {
            assert!(left.is_empty(), "{model}: {left:?}");
            Err(format!("{error} | {}", error.help().unwrap_or_default()))
        }
    }
}

fn model(name: &str) -> String {
    fixture("golden/models").join(name).display().to_string()
}

#[test]
fn every_family_comes_back_with_the_same_logits() {
    for name in [
        "llama2-mha",
        "llama3-gqa",
        "llama31-scaled",
        "llama-bias",
        "llama-linear",
        "mistral-nemo",
        "mixtral",
        "qwen15-mha",
        "qwen2-gqa-tied",
        "qwen3",
        "qwen3-moe",
        "phi2",
        "phi3-longrope",
        "phi4-mini",
        "gemma1",
        "olmo2",
        "smollm3",
        "granite",
        "stablelm",
        "starcoder2",
    ] {
        let (_folder, file) = written(&model(name), Written::F32).unwrap();
        let (got, expected) = (logits(&file), logits(&model(name)));
        let most = expected.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        // Gemma's norms are stored plus one, and factors of frequencies as 32 bits
        let limit = if ["gemma1", "llama31-scaled"].contains(&name) { 2e-5 * most } else { 0.0 };
        let off = got.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off <= limit, "{name}: off by {off} of {most}");
    }
}

#[test]
fn what_a_gguf_file_cannot_say_is_refused_and_leaves_no_file() {
    for (name, expected) in [
        (
            "mistral-swa",
            "config.json: `sliding_window` = 24 is not supported | programs read a Mistral in a GGUF file without its window",
        ),
        ("qwen2-swa", "config.json: `sliding_window` = "),
        ("gemma2", "config.json: `query_pre_attn_scalar` = "),
        (
            "gemma3",
            "config.json: `query_pre_attn_scalar` = 20 is not supported | a GGUF file of the architecture `gemma3` says 16: write a folder",
        ),
        ("llama-dynamic", "config.json: `rope_scaling` = dynamic:factor="),
    ] {
        let said = written(&model(name), Written::F32).map(drop).unwrap_err();
        assert!(said.contains(expected), "{name}: {said}");
    }
}

/// Metadata and the bytes of every tensor of a file, by name.
fn contents(file: &str) -> (Metadata, Vec<(String, u32, Vec<u8>)>) {
    let bytes = fs::read(file).unwrap();
    let gguf = Gguf::parse(file, &bytes).unwrap();
    let mut tensors: Vec<_> =
        gguf.tensors().map(|(name, kind, range)| (name.to_owned(), kind, bytes[range].to_vec())).collect();
    tensors.sort();
    (gguf.metadata().clone(), tensors)
}

#[test]
fn a_gguf_file_becomes_another_with_the_same_blocks_and_metadata() {
    for name in ["llama-gguf-q4_1", "llama-gguf-kmix", "llama31-gguf-f16", "qwen2-gguf-f16", "phi3-gguf-f16"] {
        let old = fixture(&format!("formats/{name}/{name}.gguf")).display().to_string();
        let (_folder, new) = written(&old, Written::File).unwrap();
        let ((said, tensors), (metadata, copies)) = (contents(&old), contents(&new));
        assert_eq!(tensors.len(), copies.len(), "{name}");
        for (old, new) in tensors.iter().zip(&copies) {
            assert!(old == new, "{name}: {} of type {} became {} of type {}", old.0, old.1, new.0, new.1);
        }
        let changed = ["general.file_type", "general.quantization_version"];
        for key in said.keys().filter(|key| !changed.contains(key)) {
            assert_eq!(metadata.get(key), said.get(key), "{name}: {key}");
        }
    }
}

#[test]
fn blocks_come_back_from_the_numbers_that_they_stand_for() {
    // the file that llama.cpp's rounding made, as numbers in a folder, rounded again
    let old = fixture("formats/llama-gguf-q4_1/llama-gguf-q4_1.gguf").display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let numbers = folder.path().join("numbers");
    let source = Source::resolve_in(&old, &CacheDirs::default()).unwrap();
    convert(&source, None, Written::File, &numbers, &mut ()).unwrap();
    let (_folder, new) = written(numbers.to_str().unwrap(), Written::Blocks(BlockType::Q4_1)).unwrap();
    let ((_, tensors), (metadata, copies)) = (contents(&old), contents(&new));
    assert_eq!(metadata.get("general.file_type"), Some(&Value::Whole(3)));
    let mut n_blocks = 0;
    for (old, new) in tensors.iter().zip(&copies).filter(|(old, _)| old.1 == BlockType::Q4_1.gguf()) {
        assert_eq!((&old.0, old.1), (&new.0, new.1));
        assert!(old.2 == new.2, "{}", old.0);
        n_blocks += old.2.len() / BlockType::Q4_1.bytes();
    }
    assert!(n_blocks > 800, "{n_blocks}");
}

#[test]
fn numbers_are_rounded_as_asked_but_for_vectors() {
    let exact = logits(&model("llama2-mha"));
    let most = exact.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    for (kind, limit) in [
        (Written::F16, 5e-3),
        (Written::Bf16, 4e-2),
        (Written::Blocks(BlockType::Q8_0), 0.06),
        (Written::Blocks(BlockType::Q5_1), 0.5),
        (Written::Blocks(BlockType::Q4_0), 1.0),
    ] {
        let (_folder, file) = written(&model("llama2-mha"), kind).unwrap();
        for (name, stored, _) in contents(&file).1 {
            let expected = if name.ends_with("norm.weight") { BlockType::F32 } else { kind.kind().unwrap() };
            assert_eq!(stored, expected.gguf(), "{name}");
        }
        let off = logits(&file).iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off > 0.0 && off <= limit * most, "{kind:?}: off by {off} of {most}");
    }
}

const TEXTS: [&str; 4] = ["The pass key is 8 1 5.", "  Ünïcödé,\n\n\ttoo: 12345", "don't 🙂 <s> </s>", ""];

/// Ids of texts, with first and last tokens.
fn ids(model: &str) -> Vec<Vec<u32>> {
    let lens = lens(model);
    let text = lens.text().unwrap();
    TEXTS.iter().flat_map(|one| [false, true].map(|special| text.encode(one, special).unwrap())).collect()
}

#[test]
fn tokenizers_go_along_to_files_and_to_folders() {
    let folder = tempfile::tempdir().unwrap();
    let pieces = fixture("formats/llama-pt").display().to_string();
    for (at, model) in ["embedded", pieces.as_str()].into_iter().enumerate() {
        let (_folder, file) = written(model, Written::F16).unwrap();
        assert_eq!(ids(&file), ids(model), "{model}");
        // and back into a folder
        let back = folder.path().join(at.to_string());
        let source = Source::resolve_in(&file, &CacheDirs::default()).unwrap();
        let done = convert(&source, None, Written::F32, &back, &mut ()).unwrap();
        assert!(back.join("tokenizer_config.json").is_file() && done.warnings.is_empty(), "{:?}", done.warnings);
        assert_eq!(ids(back.to_str().unwrap()), ids(model), "{model}");
        let [ours, theirs] = [model, back.to_str().unwrap()].map(|model| lens(model).model().clone());
        assert_eq!((ours.bos_token, ours.eos_tokens), (theirs.bos_token, theirs.eos_tokens), "{model}");
    }
}

#[test]
fn a_chat_template_goes_along() {
    let folder = tempfile::tempdir().unwrap();
    let source = Source::embedded();
    let model = folder.path().join("model");
    convert(&source, None, Written::File, &model, &mut ()).unwrap();
    fs::write(model.join("chat_template.jinja"), "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}")
        .unwrap();
    let conversation = Conversation::new([Message::user("Hello")]);
    let (_folder, file) = written(model.to_str().unwrap(), Written::F32).unwrap();
    let back = folder.path().join("back");
    convert(&Source::resolve_in(&file, &CacheDirs::default()).unwrap(), None, Written::F32, &back, &mut ()).unwrap();
    for model in [file.as_str(), back.to_str().unwrap()] {
        assert_eq!(lens(model).text().unwrap().chat(&conversation).unwrap(), "<s>Hello", "{model}");
    }
}
