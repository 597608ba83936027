//! Names of tensors as the family has them, whatever a trainer wrapped round the model.
//!
//! | written by | name |
//! |---|---|
//! | the base model alone | `layers.0.self_attn.q_proj.weight` |
//! | `torch.compile` | `_orig_mod.model.layers.0.…` |
//! | PEFT, adapters beside | `base_model.model.model.layers.0.self_attn.q_proj.base_layer.weight` |
//! | data parallel | `module.model.layers.0.…` |
//! | a model of several parts | `language_model.model.layers.0.…`, `model.language_model.layers.0.…` |

use std::collections::BTreeSet;

use super::stored::Tensors;
use crate::error::{WeightProblem, cut};

/// Parts of names that say how the model was run, not what the tensor is.
const WRAPPERS: &[&str] = &["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "base_layer"];

/// Tensors of which every checkpoint has one; what stands before it is the prefix.
const ANCHORS: [&str; 2] = ["layers.0.self_attn.q_proj.weight", "layers.0.self_attn.qkv_proj.weight"];

/// Modules of the base model.
const MODULES: &[&str] = &["layers", "embed_tokens", "norm", "final_layernorm", "rotary_emb"];

/// The tensors under the family's names, and a sentence on what was left out of names.
pub(super) fn canonical(tensors: Tensors) -> Result<(Tensors, Option<String>), WeightProblem> {
    if !tensors.is_empty() && tensors.keys().all(|name| name.contains("lora_")) {
        return Err(adapter());
    }
    let mut dropped = BTreeSet::new();
    let tensors = renamed(tensors, |name| unwrapped(name, &mut dropped))?;
    let prefixes: Vec<&str> = tensors.keys().filter_map(|name| prefix(name)).collect();
    let prefix = match prefixes.as_slice() {
        // where one model is called as it should be, others beside it are none of this
        found if found.contains(&"model.") => "model.",
        [one] => *one,
        _ => return Ok((tensors, None)),
    };
    let prefix = prefix.to_owned();
    if prefix != "model." {
        // the base model alone is what transformers itself writes; anything longer is worth a word
        Some(prefix.trim_end_matches('.').to_owned()).filter(|prefix| !prefix.is_empty()).map(|it| dropped.insert(it));
    }
    let above = prefix.strip_suffix("model.").unwrap_or(&prefix).to_owned();
    let tensors = renamed(tensors, |name| {
        let head = |above: &str| name.strip_prefix(above).filter(|rest| rest.starts_with("lm_head."));
        if let Some(head) = head(&above).or_else(|| head(&prefix)) {
            return head.to_owned();
        }
        let is_module = |rest: &&str| MODULES.iter().any(|module| rest.split('.').next() == Some(module));
        name.strip_prefix(&*prefix).filter(is_module).map_or_else(|| name.to_owned(), |rest| format!("model.{rest}"))
    })?;
    let said = (!dropped.is_empty()).then(|| {
        let parts: Vec<_> = dropped.iter().map(|part| format!("`{}`", cut(part))).collect();
        format!("names of tensors carry {}, which was left out to find the model", parts.join(" and "))
    });
    Ok((tensors, said))
}

/// A module of a model that is called as its trainer had it.
pub(super) fn of_module(name: &str) -> String {
    let name = unwrapped(name, &mut BTreeSet::new());
    let is_base = MODULES.iter().any(|module| name.split('.').next() == Some(module));
    if is_base { format!("model.{name}") } else { name }
}

/// What stands before the first layer of a model.
fn prefix(name: &str) -> Option<&str> {
    let prefix = ANCHORS.iter().find_map(|anchor| name.strip_suffix(anchor));
    prefix.filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))
}

fn unwrapped(name: &str, dropped: &mut BTreeSet<String>) -> String {
    let is_wrapper = |part: &&str| WRAPPERS.contains(part);
    if !name.split('.').any(|part| is_wrapper(&part)) {
        return name.to_owned();
    }
    dropped.extend(name.split('.').filter(is_wrapper).map(str::to_owned));
    name.split('.').filter(|part| !is_wrapper(part)).collect::<Vec<_>>().join(".")
}

/// The same tensors under other names; two of one name are refused.
fn renamed(tensors: Tensors, mut rename: impl FnMut(&str) -> String) -> Result<Tensors, WeightProblem> {
    let mut out = Tensors::new();
    for (name, stored) in tensors {
        let new = rename(&name);
        if out.insert(new.clone(), stored).is_some() {
            return Err(WeightProblem::OtherNames {
                held: format!("two tensors that are both `{}`", cut(&new)),
                help: "keep one of the models that the file holds".into(),
            });
        }
    }
    Ok(out)
}

fn adapter() -> WeightProblem {
    WeightProblem::OtherNames {
        held: "a LoRA adapter alone".into(),
        help: "open the model that it was trained on, and give this one as `adapter`".into(),
    }
}

/// What is said of weights in which nothing of the model is found.
pub(super) fn other_names<'a>(names: &(impl Iterator<Item = &'a str> + Clone)) -> WeightProblem {
    let n_names = names.clone().count();
    let shown: Vec<_> = names.clone().take(3).map(|name| format!("`{}`", cut(name))).collect();
    let more = if n_names > 3 { format!(" and {} more", n_names - 3) } else { String::new() };
    let has = |part: &str| names.clone().any(|name| name.contains(part));
    let help = if has("attention.wq.") {
        "these are the names of Meta's own code: convert it with transformers' `convert_llama_weights_to_hf.py`"
    } else if has("transformer.h.") || has("gpt_neox.") {
        "these are the names of another family: config.json and the weights belong to different models"
    } else {
        "names are to end as in `model.layers.0.self_attn.q_proj.weight`"
    };
    WeightProblem::OtherNames { held: format!("{}{more}", shown.join(", ")), help: help.into() }
}
