//! Checkpoints that are not quite what their config says: the numbers are those that the files mean, or there are none.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use burn_flex::{Flex, FlexDevice};
use longlens_core::lens::{Rows, Setup};
use longlens_core::methods::Method;
use longlens_kernel::linear::Storage;
use longlens_model::source::{CacheDirs, Source};
use longlens_model::{Options, describe, open};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tempfile::TempDir;

/// Shape and numbers of a tensor.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

const CONFIG: &str = r#"{"model_type": "llama", "vocab_size": 8, "hidden_size": 4, "intermediate_size": 6,
    "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 16}"#;

/// Two layers and a head of its own.
fn good() -> Tensors {
    let mut shapes = vec![("model.embed_tokens.weight".into(), vec![8, 4]), ("model.norm.weight".into(), vec![4])];
    for layer in 0..2 {
        let shapes_of = [
            ("input_layernorm", vec![4]),
            ("self_attn.q_proj", vec![4, 4]),
            ("self_attn.k_proj", vec![2, 4]),
            ("self_attn.v_proj", vec![2, 4]),
            ("self_attn.o_proj", vec![4, 4]),
            ("post_attention_layernorm", vec![4]),
            ("mlp.gate_proj", vec![6, 4]),
            ("mlp.up_proj", vec![6, 4]),
            ("mlp.down_proj", vec![4, 6]),
        ];
        shapes.extend(shapes_of.map(|(name, shape)| (format!("model.layers.{layer}.{name}.weight"), shape)));
    }
    shapes.push(("lm_head.weight".into(), vec![8, 4]));
    let tensor = |(at, (name, shape)): (usize, (String, Vec<usize>))| {
        let n_numbers: usize = shape.iter().product();
        let number = |n: usize| ((n * 37 + at * 11) % 29) as f32 / 29.0 - 0.5;
        (name, (shape, (0..n_numbers).map(number).collect()))
    };
    shapes.into_iter().enumerate().map(tensor).collect()
}

fn save(path: &Path, tensors: &Tensors, dtype: Dtype) {
    let bytes = |numbers: &[f32]| -> Vec<u8> {
        match dtype {
            Dtype::F64 => numbers.iter().flat_map(|x| f64::from(*x).to_le_bytes()).collect(),
            _ => numbers.iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    };
    let tensors: Vec<_> = tensors.iter().map(|(name, (shape, numbers))| (name, shape, bytes(numbers))).collect();
    let views =
        tensors.iter().map(|(name, shape, bytes)| (name, TensorView::new(dtype, (*shape).clone(), bytes).unwrap()));
    safetensors::serialize_to_file(views, None, path).unwrap();
}

/// A folder with this config and these weights.
fn folder(config: &str, tensors: &Tensors) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.json"), config).unwrap();
    save(&folder.path().join("model.safetensors"), tensors, Dtype::F32);
    folder
}

/// Logits of a few tokens, and what was said.
fn computed(folder: &Path) -> (Vec<f32>, Vec<String>) {
    let source = Source::resolve_in(folder.to_str().unwrap(), &CacheDirs::default()).unwrap();
    let mut lens = open::<Flex>(&source, Storage::F32, FlexDevice, "test").unwrap();
    let setup = Setup::new(&Method::full(), &lens.model().spec, 5).unwrap();
    lens.begin(&setup).unwrap();
    let logits = lens.feed(&[1, 2, 3, 4, 5], Rows::All, &mut ()).unwrap();
    assert_eq!(describe(&source, Options::default()).unwrap().warnings, lens.model().warnings);
    (logits, lens.model().warnings.clone())
}

/// Why nothing was computed, and what to do about it.
fn refused(folder: &Path) -> (String, String) {
    let source = Source::resolve_in(folder.to_str().unwrap(), &CacheDirs::default()).unwrap();
    let error = open::<Flex>(&source, Storage::F32, FlexDevice, "test").map(drop).unwrap_err();
    assert_eq!(describe(&source, Options::default()).unwrap_err().to_string(), error.to_string());
    (error.to_string(), error.help().unwrap_or_default())
}

fn truth() -> Vec<f32> {
    let (logits, warnings) = computed(folder(CONFIG, &good()).path());
    assert_eq!(warnings, Vec::<String>::new());
    logits
}

fn tied() -> String {
    CONFIG.replace("\"vocab_size\"", "\"tie_word_embeddings\": true, \"vocab_size\"")
}

#[test]
fn a_head_of_its_own_is_used_whatever_the_config_says() {
    let (logits, warnings) = computed(folder(&tied(), &good()).path());
    assert_eq!(logits, truth());
    let [warning] = warnings.try_into().unwrap();
    assert!(warning.contains("another `lm_head.weight`: that one is used, as in transformers 5"), "{warning}");

    // the same matrix twice is nothing to speak of, and either of the two is enough
    let mut twice = good();
    twice.insert("lm_head.weight".into(), twice["model.embed_tokens.weight"].clone());
    let (both, warnings) = computed(folder(&tied(), &twice).path());
    assert_eq!(warnings, Vec::<String>::new());
    assert_ne!(both, logits);
    for only in ["lm_head.weight", "model.embed_tokens.weight"] {
        let mut one = twice.clone();
        one.remove(if only == "lm_head.weight" { "model.embed_tokens.weight" } else { "lm_head.weight" });
        assert_eq!(computed(folder(&tied(), &one).path()), (both.clone(), vec![]), "{only}");
    }
}

#[test]
fn the_embedding_in_another_format_is_no_other_head() {
    let mut twice = good();
    twice.insert("lm_head.weight".into(), twice["model.embed_tokens.weight"].clone());
    let folder = folder(&tied(), &twice);
    let (logits, _) = computed(folder.path());
    for (dtype, changed, n_warnings) in [(Dtype::F64, 0.0, 0), (Dtype::F64, 1.0, 1)] {
        let bytes = |name: &str, numbers: &[f32]| -> (Dtype, Vec<u8>) {
            if name == "lm_head.weight" {
                (dtype, numbers.iter().flat_map(|x| (f64::from(*x) + changed).to_le_bytes()).collect())
            } else {
                (Dtype::F32, numbers.iter().flat_map(|x| x.to_le_bytes()).collect())
            }
        };
        let tensors: Vec<_> = twice.iter().map(|(name, (shape, x))| (name, shape, bytes(name, x))).collect();
        let views = tensors
            .iter()
            .map(|(name, shape, (dtype, bytes))| (name, TensorView::new(*dtype, (*shape).clone(), bytes).unwrap()));
        safetensors::serialize_to_file(views, None, &folder.path().join("model.safetensors")).unwrap();
        let (now, warnings) = computed(folder.path());
        assert_eq!((now == logits, warnings.len()), (n_warnings == 0, n_warnings), "{warnings:?}");
    }
}

#[test]
fn quantized_weights_are_called_so() {
    let mut tensors = good();
    for layer in 0..2 {
        for field in ["q_proj", "k_proj", "v_proj", "o_proj"] {
            let name = format!("model.layers.{layer}.self_attn.{field}");
            tensors.remove(&format!("{name}.weight"));
            for (part, n) in [("qweight", 2), ("qzeros", 1), ("scales", 4)] {
                tensors.insert(format!("{name}.{part}"), (vec![n], vec![1.0; n]));
            }
        }
    }
    let (error, advice) = refused(folder(CONFIG, &tensors).path());
    assert!(
        error.contains("`model.layers.0.self_attn.q_proj.qweight` holds quantized weights in the format of AWQ"),
        "{error}"
    );
    assert!(error.lines().count() == 2 && advice.contains("quantized from"), "{error}\n{advice}");
    for (beside, format) in
        [("weight.absmax", "bitsandbytes"), ("SCB", "bitsandbytes"), ("weight_packed", "compressed-tensors")]
    {
        let mut tensors = good();
        tensors.insert(format!("model.layers.1.mlp.up_proj.{beside}"), (vec![1], vec![1.0]));
        let (error, _) = refused(folder(CONFIG, &tensors).path());
        assert!(error.contains(&format!("holds quantized weights in the format of {format}")), "{error}");
    }
}

#[test]
fn wrapped_names_are_the_model_inside() {
    let renamed = |rename: &dyn Fn(&str) -> String| -> Tensors {
        good().into_iter().map(|(name, tensor)| (rename(&name), tensor)).collect()
    };
    let bare = renamed(&|name| name.strip_prefix("model.").unwrap_or(name).into());
    assert_eq!(computed(folder(CONFIG, &bare).path()), (truth(), vec![]));
    for (said, tensors) in [
        ("`_orig_mod`", renamed(&|name| format!("_orig_mod.{name}"))),
        ("`_orig_mod`", renamed(&|name| name.replace("self_attn.", "self_attn._orig_mod."))),
        ("`module.model`", renamed(&|name| format!("module.{name}"))),
        ("`base_layer` and `base_model.model.model`", {
            renamed(&|name| format!("base_model.model.{}", name.replace("_proj.", "_proj.base_layer.")))
        }),
        ("`transformer`", renamed(&|name| name.replace("model.", "transformer."))),
        ("`language_model.model`", renamed(&|name| format!("language_model.{name}"))),
        ("`model.language_model`", renamed(&|name| name.replace("model.", "model.language_model."))),
    ] {
        let (logits, warnings) = computed(folder(CONFIG, &tensors).path());
        assert_eq!(logits, truth(), "{said}");
        assert_eq!(warnings, [format!("names of tensors carry {said}, which was left out to find the model")]);
    }
}

#[test]
fn names_of_something_else_are_one_line() {
    let renamed = |from: &str, to: &str| -> Tensors {
        good().into_iter().map(|(name, tensor)| (name.replace(from, to), tensor)).collect()
    };
    for (tensors, said, help) in [
        (renamed("self_attn.q_proj", "attention.wq"), "`", "Meta's own code"),
        (renamed("model.layers", "transformer.h"), "`lm_head.weight`, `model.embed_tokens.weight`", "another family"),
        (renamed("weight", "lora_A.weight"), "it holds a LoRA adapter alone", "give this one as `adapter`"),
    ] {
        let tensors = if help == "Meta's own code" {
            tensors.into_iter().map(|(name, tensor)| (name.replace("model.layers", "layers"), tensor)).collect()
        } else {
            tensors
        };
        let (error, advice) = refused(folder(CONFIG, &tensors).path());
        assert!(
            error.contains("none of its tensors has a name of the model that config.json describes; it holds ")
                && error.contains(said),
            "{error}"
        );
        assert!(error.lines().count() == 2 && advice.contains(help), "{error}\n{advice}");
    }
}

#[test]
fn tensors_that_would_change_the_numbers_are_refused() {
    let layer = |name: &str| format!("model.layers.1.{name}");
    for (name, shape, reason, help) in [
        (layer("self_attn.q_proj.bias"), vec![4], "the config announces no such bias", "`attention_bias`"),
        (layer("mlp.up_proj.bias"), vec![6], "the config announces no such bias", "`mlp_bias`"),
        ("lm_head.bias".into(), vec![8], "the config announces no such bias", "another family"),
        (layer("self_attn.q_norm.weight"), vec![2], "no norm of queries and keys", "another family"),
        (layer("pre_feedforward_layernorm.weight"), vec![4], "has no such tensor", "different models"),
        ("model.layers.2.input_layernorm.weight".into(), vec![4], "has no such tensor", "`num_hidden_layers`"),
        (layer("self_attn.q_proj.weight_scale_inv"), vec![1, 1], "scales of quantized weights", "quantized from"),
        (layer("self_attn.q_proj.lora_A.weight"), vec![2, 4], "an adapter is not added", "merge"),
        (layer("self_attn.q_proj.lora_A.default.weight"), vec![2, 4], "an adapter is not added", "merge"),
        ("model.embed_positions.weight".into(), vec![16, 4], "has no such tensor", "different models"),
    ] {
        let mut tensors = good();
        let n_numbers = shape.iter().product();
        tensors.insert(name.clone(), (shape, vec![0.5; n_numbers]));
        let (error, advice) = refused(folder(CONFIG, &tensors).path());
        assert!(error.contains(&format!("`{name}` is in the file, and ")) && error.contains(reason), "{error}");
        assert!(advice.contains(help), "{name}: {advice}");
    }
}

#[test]
fn tensors_that_change_nothing_are_passed_over() {
    let mut tensors = good();
    for (name, numbers) in [
        ("model.layers.0.self_attn.rotary_emb.inv_freq", vec![1.0]),
        ("model.rotary_emb.inv_freq", vec![1.0]),
        ("model.layers.0.self_attn.q_proj.bias", vec![0.0; 4]),
        ("model.layers.0.input_layernorm.bias", vec![0.0; 4]),
    ] {
        tensors.insert(name.into(), (vec![numbers.len()], numbers));
    }
    assert_eq!(computed(folder(CONFIG, &tensors).path()), (truth(), vec![]));
    tensors.insert("v_head.summary.weight".into(), (vec![1, 4], vec![1.0; 4]));
    let (logits, warnings) = computed(folder(CONFIG, &tensors).path());
    assert_eq!(
        (logits, warnings),
        (truth(), vec!["tensors beside the model are not used: `v_head.summary.weight`".into()])
    );
}

#[test]
fn what_lies_beside_the_weights_and_is_not_used_is_told() {
    let mut tensors = good();
    let frequencies = |x: f32| (vec![1], vec![x]);
    tensors.insert("model.layers.0.self_attn.rotary_emb.inv_freq".into(), frequencies(1.002));
    assert_eq!(computed(folder(CONFIG, &tensors).path()), (truth(), vec![]), "rounding is no difference");
    tensors.insert("model.layers.0.self_attn.rotary_emb.inv_freq".into(), frequencies(0.25));
    let (logits, warnings) = computed(folder(CONFIG, &tensors).path());
    let [warning] = warnings.try_into().unwrap();
    assert!(logits == truth() && warning.contains("inv_freq`) that are not those of `rope_theta` 10000"), "{warning}");

    let folder = folder(CONFIG, &good());
    fs::write(folder.path().join("adapter_config.json"), "{}").unwrap();
    let (logits, warnings) = computed(folder.path());
    let [warning] = warnings.try_into().unwrap();
    assert!(
        logits == truth() && warning.contains("adapter belongs to these weights, and it is not added"),
        "{warning}"
    );
}

#[test]
fn another_number_of_layers_is_one_line_and_long_lists_end() {
    let deep = folder(&CONFIG.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 4000"), &good());
    let (error, _) = refused(deep.path());
    assert!(error.lines().count() == 2 && error.contains("layers 2 to 3999 are missing"), "{error}");

    let mut holes: Tensors = (0..40).flat_map(|_| good()).collect();
    holes.retain(|name, _| name.contains("q_proj"));
    let (error, _) = refused(folder(CONFIG, &holes).path());
    assert_eq!(error.lines().count(), 14, "{error}");
    assert!(error.ends_with("\n  and 7 more"), "{error}");

    let mut long = good();
    long.insert(format!("model.{}", "x".repeat(1 << 20)), (vec![1], vec![1.0]));
    let (error, _) = refused(folder(CONFIG, &long).path());
    assert!(error.len() < 1000, "{} bytes", error.len());
}

#[test]
fn parts_without_an_index_are_one_model() {
    let whole = folder(CONFIG, &good());
    fs::remove_file(whole.path().join("model.safetensors")).unwrap();
    let (first, second): (Tensors, Tensors) = good().into_iter().partition(|(name, _)| name.contains("layers.0"));
    let part = |n: usize| whole.path().join(format!("model-0000{n}-of-00002.safetensors"));
    save(&part(1), &first, Dtype::F32);
    save(&part(2), &second, Dtype::F32);
    assert_eq!(computed(whole.path()), (truth(), vec![]));
    fs::remove_file(part(2)).unwrap();
    let (error, _) = refused(whole.path());
    assert!(error.contains("model-00002-of-00002.safetensors is not there; of 2 parts the folder has 1"), "{error}");
}

#[test]
fn weights_in_64_bits_are_the_same_numbers() {
    let folder = folder(CONFIG, &good());
    save(&folder.path().join("model.safetensors"), &good(), Dtype::F64);
    assert_eq!(computed(folder.path()), (truth(), vec![]));
}

#[test]
fn other_files_in_place_of_weights_are_named() {
    for (file, help) in [
        ("consolidated.00.pth", "layout of its authors' own code"),
        ("adapter_model.safetensors", "give this folder as `adapter`"),
        ("weights.safetensors", "give that file as the model"),
        ("weights.bin", "give that file as the model"),
    ] {
        let folder = folder(CONFIG, &good());
        fs::rename(folder.path().join("model.safetensors"), folder.path().join(file)).unwrap();
        let (error, advice) = refused(folder.path());
        assert!(error.ends_with(" has no model.safetensors") && advice.contains(help), "{error}\n{advice}");
    }
    for (file, said) in
        [("pytorch_model.bin", "pytorch_model.bin is no file of torch"), ("model.gguf", "model.gguf is no GGUF file")]
    {
        let folder = folder(CONFIG, &good());
        fs::rename(folder.path().join("model.safetensors"), folder.path().join(file)).unwrap();
        let (error, _) = refused(folder.path());
        assert!(error.contains(said), "{error}");
    }
    // one that has the usual names, though not the usual name
    let folder = folder(CONFIG, &good());
    fs::rename(folder.path().join("model.safetensors"), folder.path().join("consolidated.safetensors")).unwrap();
    assert_eq!(computed(folder.path()).0, truth());
}

#[test]
fn pointers_of_git_lfs_are_named_whatever_they_stand_for() {
    const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
    for file in ["config.json", "tokenizer.json", "generation_config.json", "model.safetensors"] {
        let folder = folder(CONFIG, &good());
        fs::write(folder.path().join(file), POINTER).unwrap();
        let (error, _) = refused(folder.path());
        assert!(error.contains(file) && error.contains("is a Git LFS pointer"), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn files_that_are_none_are_refused_without_waiting() {
    for file in
        ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "model.safetensors"]
    {
        for (target, said) in [
            ("/dev/zero", "it is a device, not a file"),
            ("pipe", "it is a pipe, not a file"),
            ("../../blobs/ab12", "it is a link to ../../blobs/ab12, which is not there"),
            (".", "it is a folder, not a file"),
        ] {
            let folder = folder(CONFIG, &good());
            let at = |name: &str| folder.path().join(name);
            assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
            if file == "tokenizer_config.json" {
                fs::write(at("tokenizer.json"), Source::embedded().require("tokenizer.json").unwrap()).unwrap();
            }
            if at(file).exists() {
                fs::remove_file(at(file)).unwrap();
            }
            std::os::unix::fs::symlink(target, at(file)).unwrap();
            let (error, _) = refused(folder.path());
            assert!(error.contains(file) && error.ends_with(said), "{file} -> {target}: {error}");
        }
    }
}

#[test]
fn a_trained_context_that_is_given_is_used() {
    let linear = CONFIG.replace("\"vocab_size\"", r#""rope_scaling": {"type": "linear", "factor": 4}, "vocab_size""#);
    let folder = folder(&linear, &good());
    let source = Source::folder(folder.path());
    let by_config = describe(&source, Options::default()).unwrap();
    assert_eq!((by_config.spec.trained_context, by_config.spec.original_context), (64, 16));
    assert_eq!((by_config.max_position_embeddings, by_config.warnings.len()), (16, 1));
    let given = describe(&source, Options { trained_context: Some(32), ..Options::default() }).unwrap();
    assert_eq!((given.spec.trained_context, given.spec.original_context, given.warnings.len()), (32, 16, 0));
}
