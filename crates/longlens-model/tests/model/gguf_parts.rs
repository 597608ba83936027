//! A GGUF file in parts, written here from a checkpoint in Hugging Face's layout.

use std::fs;
use std::path::Path;

use burn_flex::{Flex, FlexDevice};
use longlens_core::lens::{Rows, Setup};
use longlens_core::methods::Method;
use longlens_kernel::linear::Storage;
use longlens_model::error::OpenError;
use longlens_model::open;
use longlens_model::source::{CacheDirs, Source};
use safetensors::SafeTensors;
use serde_json::Value;

/// Name, dimensions (the fastest first) and numbers of a tensor.
type Tensor = (String, Vec<u64>, Vec<u8>);

fn base() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/golden/models/llama3-gqa")
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// A file of these metadata (values with their types before them) and tensors.
fn gguf(entries: &[(String, Vec<u8>)], tensors: &[Tensor]) -> Vec<u8> {
    let counts = [tensors.len() as u64, entries.len() as u64].map(u64::to_le_bytes).concat();
    let mut bytes = [&b"GGUF\x03\0\0\0"[..], &counts].concat();
    for (key, value) in entries {
        bytes.extend([text(key), value.clone()].concat());
    }
    let mut numbers: Vec<u8> = Vec::new();
    for (name, dims, of) in tensors {
        bytes.extend([text(name), (dims.len() as u32).to_le_bytes().to_vec()].concat());
        bytes.extend(dims.iter().flat_map(|n| n.to_le_bytes()));
        bytes.extend(0u32.to_le_bytes());
        bytes.extend((numbers.len() as u64).to_le_bytes());
        numbers.extend(of);
        numbers.resize(numbers.len().next_multiple_of(32), 0);
    }
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    [bytes, numbers].concat()
}

fn whole(n: u64) -> Vec<u8> {
    [&4u32.to_le_bytes()[..], &(n as u32).to_le_bytes()].concat()
}

/// What the metadata of the model say.
fn entries(n_parts: u64) -> Vec<(String, Vec<u8>)> {
    let config: Value = serde_json::from_slice(&fs::read(base().join("config.json")).unwrap()).unwrap();
    let count = |name: &str| whole(config[name].as_u64().unwrap());
    let real = |name: &str| [&6u32.to_le_bytes()[..], &(config[name].as_f64().unwrap() as f32).to_le_bytes()].concat();
    let own = [
        ("context_length", count("max_position_embeddings")),
        ("embedding_length", count("hidden_size")),
        ("feed_forward_length", count("intermediate_size")),
        ("block_count", count("num_hidden_layers")),
        ("attention.head_count", count("num_attention_heads")),
        ("attention.head_count_kv", count("num_key_value_heads")),
        ("attention.layer_norm_rms_epsilon", real("rms_norm_eps")),
        ("rope.freq_base", real("rope_theta")),
    ];
    let own = own.map(|(field, value)| (format!("llama.{field}"), value));
    let arch = ("general.architecture".to_owned(), [8u32.to_le_bytes().to_vec(), text("llama")].concat());
    [arch, ("split.count".into(), whole(n_parts))].into_iter().chain(own).collect()
}

/// All tensors as GGUF has them.
fn tensors() -> Vec<Tensor> {
    const HEAD_DIM: usize = 16;
    let bytes = fs::read(base().join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let rename = |name: &str| {
        [
            ("model.embed_tokens", "token_embd"),
            ("model.norm", "output_norm"),
            ("lm_head", "output"),
            ("model.layers.", "blk."),
            ("input_layernorm", "attn_norm"),
            ("post_attention_layernorm", "ffn_norm"),
            ("self_attn.q_proj", "attn_q"),
            ("self_attn.k_proj", "attn_k"),
            ("self_attn.v_proj", "attn_v"),
            ("self_attn.o_proj", "attn_output"),
            ("mlp.gate_proj", "ffn_gate"),
            ("mlp.up_proj", "ffn_up"),
            ("mlp.down_proj", "ffn_down"),
        ]
        .iter()
        .fold(name.to_owned(), |name, (theirs, ours)| name.replace(theirs, ours))
    };
    let tensor = |(name, tensor): (String, safetensors::tensor::TensorView<'_>)| {
        let dims = tensor.shape().iter().rev().map(|n| *n as u64).collect();
        let rows: Vec<&[u8]> = tensor.data().chunks(tensor.data().len() / tensor.shape()[0]).collect();
        let is_turned = name.contains("q_proj") || name.contains("k_proj");
        // pairs that are rotated together stand side by side
        let from = |row: usize| row / HEAD_DIM * HEAD_DIM + row % 2 * (HEAD_DIM / 2) + row % HEAD_DIM / 2;
        let stored = (0..rows.len()).flat_map(|row| rows[if is_turned { from(row) } else { row }].to_vec());
        (rename(&name), dims, stored.collect())
    };
    file.tensors().into_iter().map(tensor).collect()
}

fn logits(path: &Path) -> Result<Vec<f32>, OpenError> {
    let source = Source::resolve_in(path.to_str().unwrap(), &CacheDirs::default())?;
    let mut lens = open::<Flex>(&source, Storage::F32, FlexDevice, "test")?;
    lens.begin(&Setup::new(&Method::full(), &lens.model().spec, 5).unwrap()).unwrap();
    Ok(lens.feed(&[1, 2, 3, 4, 5], Rows::All, &mut ()).unwrap())
}

#[test]
fn parts_are_one_model() {
    let folder = tempfile::tempdir().unwrap();
    let part = |number: usize| folder.path().join(format!("tiny-{number:05}-of-00003.gguf"));
    let tensors = tensors();
    let third = tensors.len() / 3;
    fs::write(part(1), gguf(&entries(3), &tensors[..third])).unwrap();
    fs::write(part(2), gguf(&[], &tensors[third..2 * third])).unwrap();
    fs::write(part(3), gguf(&[], &tensors[2 * third..])).unwrap();
    let expected = logits(&base()).unwrap();
    assert_eq!(logits(folder.path()).unwrap(), expected);
    assert_eq!(logits(&part(1)).unwrap(), expected);

    fs::write(part(3), gguf(&[], &tensors[third..])).unwrap();
    let twice = logits(folder.path()).unwrap_err().to_string();
    assert!(twice.contains("tiny-00003-of-00003.gguf holds `") && twice.ends_with("` twice"), "{twice}");
    fs::remove_file(part(3)).unwrap();
    let absent = logits(folder.path()).unwrap_err().to_string();
    assert!(absent.contains("tiny-00003-of-00003.gguf"), "{absent}");
}
