//! Checkpoints with one thing wrong each: the error names all of it, and says what to do.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use burn_flex::{Flex, FlexDevice};
use longlens_kernel::linear::Storage;
use longlens_model::Options;
use longlens_model::config::Config;
use longlens_model::error::{OpenError, WeightProblem};
use longlens_model::source::{CacheDirs, Source};
use longlens_model::tokenizer::HfTokenizer;
use longlens_model::weights::{self, LoadReport, WeightFiles};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tempfile::TempDir;

/// Name, format, shape and bytes of a tensor.
type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

const CONFIG: &str = r#"{"model_type": "llama", "vocab_size": 8, "hidden_size": 4, "intermediate_size": 6,
    "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 16}"#;

/// A checkpoint of 12 tensors and 196 numbers that has nothing wrong.
fn good() -> Tensors {
    let layer = |name: &str| format!("model.layers.0.{name}.weight");
    let shapes = [
        ("model.embed_tokens.weight".into(), vec![8, 4]),
        (layer("input_layernorm"), vec![4]),
        (layer("self_attn.q_proj"), vec![4, 4]),
        (layer("self_attn.k_proj"), vec![2, 4]),
        (layer("self_attn.v_proj"), vec![2, 4]),
        (layer("self_attn.o_proj"), vec![4, 4]),
        (layer("post_attention_layernorm"), vec![4]),
        (layer("mlp.gate_proj"), vec![6, 4]),
        (layer("mlp.up_proj"), vec![6, 4]),
        (layer("mlp.down_proj"), vec![4, 6]),
        ("model.norm.weight".into(), vec![4]),
        ("lm_head.weight".into(), vec![8, 4]),
    ];
    shapes.into_iter().map(|(name, shape)| (name, numbers(&shape))).collect()
}

fn numbers(shape: &[usize]) -> (Dtype, Vec<usize>, Vec<u8>) {
    let bytes = (0..shape.iter().product()).flat_map(|n: usize| (n as f32 / 8.0).to_le_bytes()).collect();
    (Dtype::F32, shape.to_vec(), bytes)
}

fn save(folder: &Path, file: &str, tensors: &Tensors) {
    let views = tensors
        .iter()
        .map(|(name, (dtype, shape, bytes))| (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    safetensors::serialize_to_file(views, None, &folder.join(file)).unwrap();
}

/// A folder with `config.json` and these weights.
fn folder(tensors: &Tensors) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.json"), CONFIG).unwrap();
    save(folder.path(), "model.safetensors", tensors);
    folder
}

/// The same weights in two parts, `lm_head.weight` alone in the second.
fn parted() -> TempDir {
    let folder = folder(&good());
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    let (second, first): (Tensors, Tensors) = good().into_iter().partition(|(name, _)| name == "lm_head.weight");
    save(folder.path(), "model-1.safetensors", &first);
    save(folder.path(), "model-2.safetensors", &second);
    let part = |name: &String| if name == "lm_head.weight" { "model-2.safetensors" } else { "model-1.safetensors" };
    let map: BTreeMap<_, _> = good().keys().map(|name| (name.clone(), part(name))).collect();
    let index = serde_json::json!({ "metadata": {}, "weight_map": map }).to_string();
    fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
    folder
}

fn load(folder: &Path) -> Result<LoadReport, OpenError> {
    let source = Source::resolve_in(folder.to_str().unwrap(), &CacheDirs::default())?;
    let config = Config::open(&source)?;
    weights::load::<Flex, _>(&config, &WeightFiles::open(&source)?, Storage::F32, &FlexDevice).map(|(_, report)| report)
}

/// What is wrong with the weights in `folder`, in words.
fn problems(folder: &Path) -> Vec<String> {
    match load(folder) {
        Err(OpenError::Weights { problems, .. }) => problems.iter().map(WeightProblem::to_string).collect(),
        other => panic!("expected an error about weights, got {other:?}"),
    }
}

#[test]
fn a_good_checkpoint_loads_in_one_file_and_in_parts() {
    let mut tensors = good();
    tensors.insert("model.layers.0.self_attn.rotary_emb.inv_freq".into(), numbers(&[1]));
    let report = load(folder(&tensors).path()).unwrap();
    assert_eq!((report.n_tensors, report.n_parameters, report.n_bytes), (12, 196, 4 * 196));
    assert_eq!((report.dtypes, report.kept.dtype.as_str()), (vec!["f32".into()], "f32"));
    assert_eq!(report.kept.n_bytes, 4 * 196);
    assert_eq!(report.unused, ["model.layers.0.self_attn.rotary_emb.inv_freq"]);

    let parts = load(parted().path()).unwrap();
    assert_eq!((parts.n_tensors, parts.n_parameters, parts.unused), (12, 196, vec![]));
}

#[test]
fn a_tied_model_needs_no_output_matrix() {
    let mut tensors = good();
    tensors.remove("lm_head.weight");
    let folder = folder(&tensors);
    let untied = load(folder.path()).unwrap_err();
    assert_eq!(
        untied.help().unwrap(),
        "if the model shares its embedding, set `tie_word_embeddings` to true in config.json"
    );
    let config = CONFIG.replace("\"vocab_size\"", "\"tie_word_embeddings\": true, \"vocab_size\"");
    fs::write(folder.path().join("config.json"), config).unwrap();
    assert_eq!(load(folder.path()).unwrap().n_parameters, 196 - 32);
}

#[test]
fn every_missing_misshapen_and_unreadable_tensor_is_named_at_once() {
    let mut tensors = good();
    tensors.remove("model.norm.weight");
    tensors.remove("model.layers.0.mlp.up_proj.weight");
    tensors.insert("model.layers.0.self_attn.k_proj.weight".into(), numbers(&[4, 4]));
    tensors.insert("model.layers.0.self_attn.q_proj.weight".into(), (Dtype::I32, vec![4, 4], vec![0; 64]));
    // the transposed shape is as wrong as any other
    tensors.insert("model.layers.0.mlp.down_proj.weight".into(), numbers(&[6, 4]));
    let folder = folder(&tensors);
    assert_eq!(
        problems(folder.path()),
        [
            "`model.layers.0.self_attn.q_proj.weight` is stored as I32, which is not read",
            "`model.layers.0.self_attn.k_proj.weight` has shape [4, 4], but the config needs [2, 4]",
            "`model.layers.0.mlp.up_proj.weight` is missing",
            "`model.layers.0.mlp.down_proj.weight` has shape [6, 4], but the config needs [4, 6]",
            "`model.norm.weight` is missing",
        ]
    );
    let text = load(folder.path()).unwrap_err().to_string();
    assert!(text.contains("model.safetensors cannot be loaded:\n  `model.layers.0.self_attn.q_proj"), "{text}");
}

#[test]
fn nan_and_infinite_weights_are_named_with_their_place() {
    let mut tensors = good();
    let mut set = |name: &str, at: usize, value: f32| {
        tensors.get_mut(name).unwrap().2[4 * at..4 * at + 4].copy_from_slice(&value.to_le_bytes());
    };
    set("model.embed_tokens.weight", 13, f32::NAN);
    set("model.layers.0.mlp.down_proj.weight", 8, f32::INFINITY);
    set("model.layers.0.mlp.down_proj.weight", 20, f32::INFINITY);
    assert_eq!(
        problems(folder(&tensors).path()),
        [
            "`model.embed_tokens.weight` holds NaN at [3, 1]; unusable numbers in it: 1",
            "`model.layers.0.mlp.down_proj.weight` holds inf at [1, 2]; unusable numbers in it: 2",
        ]
    );
}

#[test]
fn damaged_files_say_how() {
    let folder = folder(&good());
    let path = folder.path().join("model.safetensors");
    let whole = fs::read(&path).unwrap();
    let n_header = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let garbage_header = [&whole[..8], &vec![b'x'; n_header], &whole[8 + n_header..]].concat();
    for (bytes, expected) in [
        (
            whole[..whole.len() - 10].to_vec(),
            format!("is cut short: it has {} of {} bytes", whole.len() - 10, whole.len()),
        ),
        (whole[..100].to_vec(), format!("is cut short: its header takes {n_header} bytes, and the file has 100")),
        (whole[..5].to_vec(), "is cut short: it has 5 bytes".into()),
        (Vec::new(), "is cut short: it has 0 bytes".into()),
        ([&whole[..], &[0; 3]].concat(), "has 3 bytes that belong to no tensor".into()),
        (garbage_header, "has a damaged header: expected value at line 1 column 1".into()),
        (b"PK\x03\x04\xff\xff\xff\xff and so on".to_vec(), "is no safetensors file: its header would take".into()),
        (b"version https://git-lfs.github.com/spec/v1\noid".to_vec(), "is a Git LFS pointer, not the weights".into()),
    ] {
        fs::write(&path, bytes).unwrap();
        let [problem] = problems(folder.path()).try_into().unwrap();
        assert!(problem.starts_with(&format!("model.safetensors {expected}")), "{problem}");
    }
}

#[test]
fn every_absent_part_of_an_index_is_named() {
    let folder = parted();
    fs::remove_file(folder.path().join("model-1.safetensors")).unwrap();
    save(folder.path(), "model-2.safetensors", &Tensors::from([("other".into(), numbers(&[1]))]));
    assert_eq!(
        problems(folder.path()),
        [
            "model-1.safetensors is named by the index, but is not there",
            "model-2.safetensors does not hold `lm_head.weight`, which the index says it does",
        ]
    );
    for (index, expected) in [
        ("{}", "`weight_map` must be an object, but is missing"),
        (r#"{"weight_map": {"a": 3}}"#, "`weight_map.a` must be a text, but is 3"),
        (r#"{"weight_map": {"a": "../b"}}"#, "`weight_map.a` must be the name of a file beside the index"),
        (r#"{"weight_map": {"a": ""}}"#, "`weight_map.a` must be the name of a file beside the index"),
        (r#"{"weight_map": {"a": "b\u0000c"}}"#, "`weight_map.a` must be the name of a file beside the index"),
        ("[]", "must hold an object, but holds []"),
    ] {
        fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
        let error = load(folder.path()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_tensor_in_two_parts_has_one_value() {
    let folder = parted();
    let mut second = Tensors::from([("lm_head.weight".into(), numbers(&[8, 4]))]);
    second.insert("model.norm.weight".into(), good()["model.norm.weight"].clone());
    save(folder.path(), "model-2.safetensors", &second);
    assert_eq!(load(folder.path()).unwrap().n_tensors, 12, "the same numbers twice are one tensor");
    second.get_mut("model.norm.weight").unwrap().2[0] ^= 1;
    save(folder.path(), "model-2.safetensors", &second);
    assert_eq!(
        problems(folder.path()),
        ["model-2.safetensors holds `model.norm.weight`, and another part holds it with other numbers"]
    );
}

#[test]
fn a_folder_without_readable_weights_says_what_it_has() {
    let folder = folder(&good());
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    fs::write(folder.path().join("weights.bin"), "").unwrap();
    let error = load(folder.path()).unwrap_err();
    assert_eq!(error.to_string(), format!("{} has no model.safetensors", folder.path().display()));
    assert!(error.help().unwrap().contains("if weights.bin holds the model, give that file"));

    fs::remove_file(folder.path().join("config.json")).unwrap();
    assert!(matches!(load(folder.path()), Err(OpenError::MissingFile { file, .. }) if file == "config.json"));
}

#[test]
fn an_unknown_family_gets_the_nearest_name() {
    let folder = folder(&good());
    fs::write(folder.path().join("config.json"), CONFIG.replace("\"llama\"", "\"llamma\"")).unwrap();
    let error = load(folder.path()).unwrap_err();
    assert!(error.to_string().ends_with("config.json: unknown `model_type` `llamma`"), "{error}");
    assert_eq!(error.help().unwrap(), "did you mean `llama`?");
}

#[test]
fn a_tokenizer_with_more_tokens_opens_with_a_warning() {
    let folder = folder(&good());
    let tokenizer = Source::embedded().require("tokenizer.json").unwrap();
    fs::write(folder.path().join("tokenizer.json"), tokenizer).unwrap();
    let source = Source::folder(folder.path());
    let [warning] = longlens_model::describe(&source, Options::default()).unwrap().warnings.try_into().unwrap();
    assert!(warning.contains("tokens without an embedding (`vocab_size` is 8)"), "{warning}");
    let lens = longlens_model::open::<Flex>(&source, Storage::F32, FlexDevice, "test").unwrap();
    assert_eq!(lens.model().warnings, [warning]);
    let refused = lens.text().unwrap().encode("A bird.", false).unwrap_err().to_string();
    assert!(refused.starts_with("the text has the token `") && refused.ends_with("its ids end at 7"), "{refused}");
    fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    assert!(HfTokenizer::open(&source, 8).unwrap().is_none());
}

#[test]
fn both_spellings_of_every_golden_config_mean_the_same() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/golden/models");
    let mut n_models = 0;
    for model in fs::read_dir(models).unwrap() {
        let folder = model.unwrap().path();
        let read = |file: &str| Config::parse(file, &fs::read(folder.join(file)).unwrap()).unwrap();
        assert_eq!(read("config.json"), read("config.v5.json"), "{}", folder.display());
        assert!(load(&folder).unwrap().unused.is_empty());
        n_models += 1;
    }
    assert_eq!(n_models, 27);
}

#[test]
fn the_embedded_model_loads() {
    let source = Source::embedded();
    let config = Config::open(&source).unwrap();
    let files = WeightFiles::open(&source).unwrap();
    let (_, report) = weights::load::<Flex, _>(&config, &files, Storage::F32, &FlexDevice).unwrap();
    assert_eq!((report.n_parameters, report.dtypes, report.unused), (787_584, vec!["f16".into()], vec![]));
    assert_eq!((config.bos_token, config.eos_tokens), (Some(1), vec![2]));
}
