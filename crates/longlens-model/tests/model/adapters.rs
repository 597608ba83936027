//! Low-rank adapters in PEFT's layout: the weights with them are those that PEFT would merge.

use std::fs;
use std::path::Path;

use burn_flex::{Flex, FlexDevice};
use longlens_core::lens::{Rows, Setup};
use longlens_core::methods::Method;
use longlens_kernel::linear::Storage;
use longlens_model::source::{CacheDirs, Source};
use longlens_model::{Options, describe, open};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use tempfile::TempDir;

const RANK: usize = 3;
const MODULE: &str = "model.layers.1.self_attn.k_proj";

fn base() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/golden/models/llama3-gqa")
}

fn number(at: usize) -> f32 {
    ((at * 31 + 7) % 23) as f32 / 23.0 - 0.5
}

/// A matrix of the base model with its shape.
fn matrix() -> (Vec<usize>, Vec<f32>) {
    let bytes = fs::read(base().join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor(&format!("{MODULE}.weight")).unwrap();
    let numbers = tensor.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    (tensor.shape().to_vec(), numbers)
}

fn config() -> Value {
    json!({
        "peft_type": "LORA", "r": RANK, "lora_alpha": 6, "bias": "none", "fan_in_fan_out": false, "use_rslora": false,
        "target_modules": ["k_proj"], "base_model_name_or_path": "somewhere"
    })
}

/// An adapter of one matrix, with tensors under these names.
fn adapter(config: &Value, names: [&str; 2]) -> TempDir {
    let ([d_out, d_in], numbers) = (<[usize; 2]>::try_from(matrix().0).unwrap(), |n: usize, from: usize| {
        (0..n).flat_map(|at| number(at + from).to_le_bytes()).collect::<Vec<u8>>()
    });
    let (a, b) = (numbers(RANK * d_in, 0), numbers(d_out * RANK, 5));
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("adapter_config.json"), config.to_string()).unwrap();
    let views = [
        (names[0], TensorView::new(Dtype::F32, vec![RANK, d_in], &a).unwrap()),
        (names[1], TensorView::new(Dtype::F32, vec![d_out, RANK], &b).unwrap()),
    ];
    safetensors::serialize_to_file(views, None, &folder.path().join("adapter_model.safetensors")).unwrap();
    folder
}

fn names(end: &str) -> [String; 2] {
    ["A", "B"].map(|which| format!("base_model.model.{MODULE}.lora_{which}.{end}"))
}

/// The base model with the product written into its matrix.
fn merged(scale: f32) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        fs::copy(base().join(file), folder.path().join(file)).unwrap();
    }
    let (shape, mut numbers) = matrix();
    let (d_out, d_in) = (shape[0], shape[1]);
    for row in 0..d_out {
        for column in 0..d_in {
            let sum: f32 = (0..RANK).map(|k| number(row * RANK + k + 5) * number(k * d_in + column)).sum();
            numbers[row * d_in + column] += scale * sum;
        }
    }
    let path = folder.path().join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let at: Value = serde_json::from_slice(&bytes[8..header]).unwrap();
    let start = header + at[format!("{MODULE}.weight")]["data_offsets"][0].as_u64().unwrap() as usize;
    for (at, number) in numbers.iter().enumerate() {
        bytes[start + 4 * at..][..4].copy_from_slice(&number.to_le_bytes());
    }
    fs::write(path, bytes).unwrap();
    folder
}

fn logits(folder: &Path, adapter: Option<&Path>) -> Vec<f32> {
    let source = Source::resolve_in(folder.to_str().unwrap(), &CacheDirs::default()).unwrap();
    let adapter = adapter.map(|adapter| adapter.to_str().unwrap().to_owned());
    let options = Options { weights: Storage::F32.into(), adapter, ..Options::default() };
    let mut lens = open::<Flex>(&source, options, FlexDevice, "test").unwrap();
    lens.begin(&Setup::new(&Method::full(), &lens.model().spec, 5).unwrap()).unwrap();
    lens.feed(&[1, 2, 3, 4, 5], Rows::All, &mut ()).unwrap()
}

#[test]
fn weights_with_an_adapter_are_those_that_were_merged() {
    let plain = logits(&base(), None);
    let mut scaled = config();
    scaled["alpha_pattern"] = json!({ "k_proj": 12, "q_proj": 1 });
    let mut rslora = config();
    rslora["use_rslora"] = json!(true);
    let mut ranked = config();
    (ranked["r"], ranked["rank_pattern"]) = (json!(64), json!({ "self_attn.k_proj": RANK }));
    for (config, end, scale) in [
        (config(), "weight", 6.0 / 3.0),
        (config(), "default.weight", 6.0 / 3.0),
        (scaled, "weight", 12.0 / 3.0),
        (rslora, "weight", 6.0 / 3.0f32.sqrt()),
        (ranked, "weight", 6.0 / 3.0),
    ] {
        let names = names(end);
        let adapter = adapter(&config, [&names[0], &names[1]]);
        let (got, expected) = (logits(&base(), Some(adapter.path())), logits(merged(scale).path(), None));
        let off = got.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let moved = got.iter().zip(&plain).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 1e-4 && moved > 0.01, "scale {scale}: off by {off}, moved by {moved}");
    }
}

#[test]
fn results_name_the_adapter() {
    let names = names("weight");
    let adapter = adapter(&config(), [&names[0], &names[1]]);
    let text = adapter.path().to_str().unwrap().to_owned();
    let source = Source::folder(&base());
    let info = describe(&source, Options { adapter: Some(text.clone()), ..Options::default() }).unwrap();
    assert!(info.name.starts_with("llama3-gqa + ") && info.source.ends_with(&format!(" + {text}")), "{info:?}");
}

#[test]
fn what_cannot_be_added_is_said() {
    let refused = |config: &Value, names: [&str; 2]| {
        let adapter = adapter(config, names);
        let options = Options { adapter: Some(adapter.path().to_str().unwrap().into()), ..Options::default() };
        describe(&Source::folder(&base()), options).unwrap_err().to_string()
    };
    let good = names("weight");
    for (field, value, said) in [
        ("use_dora", json!(true), "`use_dora` = true is not supported"),
        ("fan_in_fan_out", json!(true), "`fan_in_fan_out` = true is not supported"),
        ("bias", json!("all"), "`bias` = \"all\" is not supported"),
        ("peft_type", json!("IA3"), "`peft_type` = \"IA3\" is not supported"),
        ("lora_alpha", json!(null), "`lora_alpha` must be a number above 0"),
        ("alpha_pattern", json!({ "layers.[01]": 3 }), "is not supported"),
        ("rank_pattern", json!({ "layers.[01]": 3 }), "is not supported"),
        ("layer_replication", json!([[0, 1], [0, 2]]), "`layer_replication` = [[0,1],[0,2]] is not supported"),
        ("lora_bias", json!(true), "`lora_bias` = true is not supported"),
        ("use_qalora", json!(true), "`use_qalora` = true is not supported"),
        ("r", json!(8), "lora_A.weight` has rank 3, but `r` in adapter_config.json says 8"),
        ("rank_pattern", json!({ "k_proj": 5 }), "has rank 3, but `rank_pattern` in adapter_config.json says 5"),
    ] {
        let mut config = config();
        config[field] = value;
        let error = refused(&config, [&good[0], &good[1]]);
        assert!(error.contains(said), "{error}");
    }
    let stranger = "base_model.model.model.layers.7.self_attn.k_proj.lora_A.weight";
    for (names, said) in [
        ([stranger, &good[1]], "lora_B.weight` is missing"),
        ([&good[0], "base_model.model.lm_head.weight"], "only low-rank matrices are added"),
        ([&good[1], &good[0]], "has shape"),
    ] {
        let error = refused(&config(), names);
        assert!(error.contains(said), "{error}");
    }
}
