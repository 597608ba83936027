//! A checkpoint becomes one GGUF file: config, tokenizer and chat template in its metadata.

use std::fs;
use std::path::Path;

use longlens_core::lens::Control;
use longlens_core::spec::ModelSpec;
use longlens_kernel::blocks::BlockType;
use serde_json::{Map, Value as Json};

use super::describe::Description;
use super::{CONFIG, Converted, failed};
use crate::config::Config;
use crate::config::windows::Windows;
use crate::error::OpenError;
use crate::fields;
use crate::gguf::families::{Architecture, GgufTensor, stand_in};
use crate::gguf::write::{TensorHeader, header};
use crate::gguf::{Entries, Metadata, Value};
use crate::source::Source;
use crate::tokenizer;
use crate::weights::{self, Counts, GgufParts, WeightFiles, Written};

/// Writes `source` with an adapter merged into it to the file `to`, which is not there yet. What a reader would not find in it as it is
/// in the checkpoint is an error, and no file is left then.
pub(super) fn write(
    source: &Source,
    adapter: Option<&Source>,
    written: Written,
    to: &Path,
    control: &mut dyn Control,
) -> Result<Converted, OpenError> {
    if to.exists() {
        return Err(failed(to, std::io::ErrorKind::AlreadyExists.into()));
    }
    let (mut config, map) = sayable(source)?;
    let mut files = WeightFiles::open(source)?;
    config.follow(&mut files);
    if let Some(adapter) = adapter {
        files.adapt(adapter)?;
    }
    let mut warnings = weights::check(&config, &files)?;
    warnings.extend(files.renamed().map(str::to_owned));
    let architecture = Architecture::named(config.family.model_type).expect("every family has a place in GGUF files");
    let no_place = |name: String| unsupported(source, &name, "a tensor", &architecture, "has no tensor of that name");
    let tensors = architecture.tensors(&weights::names(&config)).map_err(no_place)?;
    let tensors: Vec<(TensorHeader, GgufTensor)> =
        tensors.into_iter().map(|tensor| (files.tensor_header(&tensor, written), tensor)).collect();

    let Description { entries, factors } = Description::new(&architecture, &config, &map, source.name());
    let mut entries = if let Some(gguf) = source.gguf()? {
        copied(gguf.metadata())
    } else {
        let (of_tokenizer, problem) = tokenizer::entries(source, config.vocab_size)?;
        warnings.extend(problem.map(|problem| format!("the file has no tokenizer: {problem}")));
        let is_new = |(key, _): &(String, Value)| entries.iter().all(|(known, _)| known != key);
        let of_tokenizer: Entries = of_tokenizer.into_iter().filter(is_new).collect();
        [entries, of_tokenizer].concat()
    };
    entries.extend(of_types(&tensors));
    let of_factors = factors.iter().map(|(name, numbers)| TensorHeader {
        name: (*name).into(),
        shape: vec![numbers.len()],
        kind: BlockType::F32,
    });
    let headers: Vec<TensorHeader> = of_factors.chain(tensors.iter().map(|(header, _)| header.clone())).collect();
    let header = header(&entries, &headers);

    // under another name until it is whole and was read again
    let part = to.with_extension("part.gguf");
    let parts = GgufParts { header: &header, factors: &factors, tensors: &tensors, head_dim: config.head_dim };
    let saved = files.save_gguf(&part, &parts, control).and_then(|n_bytes| {
        read_again(source, &architecture, &part, &config)?;
        fs::rename(&part, to).map_err(|error| failed(to, error))?;
        Ok(n_bytes)
    });
    let weight_bytes = saved.inspect_err(|_| drop(fs::remove_file(&part)))?;
    Ok(Converted { files: vec![to.into()], weight_bytes, warnings })
}

/// Config of a checkpoint and its fields, as a family that GGUF files have a name for.
fn sayable(source: &Source) -> Result<(Config, Map<String, Json>), OpenError> {
    let config = Config::open(source)?;
    let file = source.shown(CONFIG);
    let mut map = fields::parse(&file, &source.require(CONFIG)?)?;
    let Some(other) = stand_in(config.family.model_type) else { return Ok((config, map)) };
    if config.spec().has_windows() {
        let (field, value) = (other.window.to_owned(), map.get(other.window).unwrap_or(&Json::Null).to_string());
        let help = format!(
            "programs read a {} in a GGUF file without its window: set it to null, or write a folder",
            config.family.title
        );
        return Err(OpenError::Unsupported { file, field, value, help });
    }
    map.insert("model_type".into(), other.model_type.into());
    map.remove(other.window);
    map.remove("architectures");
    let text = Json::Object(map.clone()).to_string();
    let same = Config::parse(&file, text.as_bytes())?;
    Ok((Config { bos_token: config.bos_token, eos_tokens: config.eos_tokens, ..same }, map))
}

/// Metadata of a file that go along, without those of its numbers.
fn copied(metadata: &Metadata) -> Entries {
    let is_of_numbers = |key: &str| {
        ["general.alignment", "general.file_type", "general.quantization_version"].contains(&key)
            || key.starts_with("split.")
    };
    let keys = metadata.keys().filter(|key| !is_of_numbers(key));
    keys.filter_map(|key| Some((key.to_owned(), metadata.get(key)?.clone()))).collect()
}

/// What llama.cpp calls the type of most numbers, and the version of blocks.
fn of_types(tensors: &[(TensorHeader, GgufTensor)]) -> Entries {
    const FILE_TYPES: &[(BlockType, i128)] = &[
        (BlockType::F32, 0),
        (BlockType::F16, 1),
        (BlockType::Q4_0, 2),
        (BlockType::Q4_1, 3),
        (BlockType::Q8_0, 7),
        (BlockType::Q5_0, 8),
        (BlockType::Q5_1, 9),
        (BlockType::Q2K, 10),
        (BlockType::Q3K, 12),
        (BlockType::Q4K, 15),
        (BlockType::Q5K, 17),
        (BlockType::Q6K, 18),
        (BlockType::Iq4Nl, 25),
        (BlockType::Iq4Xs, 30),
        (BlockType::Bf16, 32),
    ];
    let n_numbers = |kind: BlockType| {
        let of_kind = tensors.iter().filter(|(header, _)| header.kind == kind);
        of_kind.map(|(header, _)| header.shape.iter().product::<usize>()).sum::<usize>()
    };
    let most = FILE_TYPES.iter().max_by_key(|(kind, _)| n_numbers(*kind));
    let mut entries: Entries =
        most.map(|(_, number)| ("general.file_type".into(), Value::Whole(*number))).into_iter().collect();
    if tensors.iter().any(|(header, _)| header.kind.weights() > 1) {
        entries.push(("general.quantization_version".into(), Value::Whole(2)));
    }
    entries
}

/// Refuses a file that says something else than the checkpoint.
fn read_again(source: &Source, architecture: &Architecture, path: &Path, ours: &Config) -> Result<(), OpenError> {
    let written = Source::file(path).expect("its name ends in .gguf");
    let mut files = WeightFiles::open(&written)?;
    let mut theirs = Config::open(&written)?;
    theirs.follow(&mut files);
    weights::check(&theirs, &files)?;
    let factors = |config: &Config| {
        let short = |list: &[f64]| list.iter().map(|x| *x as f32).collect::<Vec<_>>();
        config.rope_factors.as_ref().map(|factors| [short(&factors.short), short(&factors.long)])
    };
    let shown = |it: &dyn std::fmt::Debug| format!("{it:?}");
    // a family may say the same in several ways: what counts is what is computed
    let (spec, their_spec) = (ours.spec(), theirs.spec());
    if spec.layers != their_spec.layers {
        let window = spec.layers.iter().find_map(|layer| layer.window);
        let value = window.map_or("null".to_owned(), |window| window.to_string());
        return Err(unsupported(source, Windows::FIELD, &value, architecture, "cannot say which layers have it"));
    }
    let factor = |spec: &ModelSpec| spec.score_scale.map_or(spec.head_dim as f64, |scale| scale.powi(-2)).round();
    if spec.score_scale != their_spec.score_scale {
        let says = format!("says {}", factor(&their_spec));
        return Err(unsupported(source, "query_pre_attn_scalar", &factor(&spec).to_string(), architecture, &says));
    }
    let computed = |config: &Config, spec: &ModelSpec| {
        let (_, stack) = Counts::with_model(config);
        shown(&(stack, spec.soft_cap, spec.d_mlp))
    };
    if computed(ours, &spec) != computed(&theirs, &their_spec) {
        let says = "cannot say all that this config asks for";
        return Err(unsupported(source, "model_type", ours.family.model_type, architecture, says));
    }
    let scaling = |config: &Config| config.rope_scaling.resolved(&config.spec()).to_string();
    for (field, ours, theirs) in [
        ("num_hidden_layers", shown(&ours.sizes()), shown(&theirs.sizes())),
        ("head_dim", shown(&ours.head_widths()), shown(&theirs.head_widths())),
        ("partial_rotary_factor", shown(&ours.rotary_dim), shown(&theirs.rotary_dim)),
        ("max_position_embeddings", shown(&ours.max_position_embeddings), shown(&theirs.max_position_embeddings)),
        ("rope_theta", shown(&(ours.rope_theta as f32)), shown(&(theirs.rope_theta as f32))),
        ("rope_scaling", scaling(ours), scaling(&theirs)),
        ("rope_scaling", shown(&factors(ours)), shown(&factors(&theirs))),
        ("max_position_embeddings", shown(&ours.trained_context), shown(&theirs.trained_context)),
        ("eos_token_id", shown(&ours.eos_tokens), shown(&theirs.eos_tokens)),
    ] {
        if ours != theirs {
            return Err(unsupported(source, field, &ours, architecture, &format!("says {theirs}")));
        }
    }
    Ok(())
}

/// Something that a GGUF file cannot say.
fn unsupported(source: &Source, field: &str, value: &str, architecture: &Architecture, says: &str) -> OpenError {
    OpenError::Unsupported {
        file: source.shown(CONFIG),
        field: field.into(),
        value: value.into(),
        help: format!("a GGUF file of the architecture `{}` {says}: write a folder instead", architecture.arch),
    }
}
