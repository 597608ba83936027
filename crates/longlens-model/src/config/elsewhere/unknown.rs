//! Fields that no rule knows, by what their names speak of. Nobody can list what all forks of a family add to their configs; one
//! about attention, positions, norms or scales may well change the numbers, so it is told.

use serde_json::Value;

use super::rules::{ROPE_FIELDS, Rule, is_off, is_one};
use super::{NORM_EPS, SECTIONS};
use crate::families::Family;
use crate::fields::Fields;

/// Words of names that may mean other numbers.
const WORDS: &[&str] = &[
    "attention",
    "attn",
    "rope",
    "rotary",
    "norm",
    "layernorm",
    "rmsnorm",
    "window",
    "scale",
    "scaling",
    "softcap",
    "cap",
    "bias",
    "mlp",
    "ffn",
    "glu",
    "alibi",
    "position",
    "positional",
    "causal",
    "experts",
    "moe",
    "logit",
    "logits",
    "qk",
    "residual",
];

/// Words of names that are about how something is computed, or about training.
const HARMLESS_WORDS: &[&str] = &[
    "dropout",
    "pdrop",
    "drop",
    "implementation",
    "impl",
    "flash",
    "fused",
    "fuse",
    "checkpointing",
    "fp32",
    "efficient",
    "output",
    "init",
    "initializer",
    "xformers",
    "sdpa",
    "kernel",
    "loss",
    "lora",
    "grad",
];

/// Fields that are read for every family, or that any may have.
const KNOWN: &[&str] = &[
    "num_attention_heads",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "rotary_emb_base",
    "rope_base",
    "rotary_base",
    "rope_freq_base",
    "rotary_dim",
    "max_position_embeddings",
    "original_max_position_embeddings",
    "max_window_layers",
    "sliding_window",
    "query_pre_attn_scalar",
    "scale_attn_weights",
    "use_rms_norm",
    "rms_norm",
    "use_rope",
    "is_causal_lm",
    "ffn_dim_multiplier",
    "use_norm_bias",
    "remove_invalid_values",
];

/// A sentence on each such field that asks for something.
pub(super) fn told(fields: Fields<'_>, family: &Family) -> Vec<String> {
    let is_unknown = |name: &&str| {
        let has = |words: &[&str]| name.split(['_', '.', '-']).any(|part| words.contains(&&*part.to_ascii_lowercase()));
        has(WORDS)
            && !has(HARMLESS_WORDS)
            && !KNOWN.contains(name)
            && !family.reads(name)
            && !NORM_EPS.contains(name)
            && !ROPE_FIELDS.contains(name)
            && Rule::of(name).is_none()
    };
    // of a section that is looked into, its own fields are told
    let is_section = |name: &str, value: &Value| value.is_object() && SECTIONS.contains(&name);
    let asks = |name: &&str| {
        let asks = |value: &Value| !is_off(value) && !is_one(value) && !is_section(name, value);
        fields.get(name).is_some_and(asks)
    };
    let told = fields.names().filter(is_unknown).filter(asks).map(|name| {
        format!(
            "{} has `{}` = {}, which {} models have not: it is not used, and if the weights were trained with it the numbers are \
             others than their author's",
            fields.file,
            crate::error::cut(&fields.path(name)),
            fields.shown(name),
            family.title
        )
    });
    told.collect()
}
