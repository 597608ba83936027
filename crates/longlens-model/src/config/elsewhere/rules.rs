//! The fields of other families, one rule each.

use serde_json::Value;

use crate::families::Family;

/// Fields with what their value must be to ask for nothing.
pub(super) struct Rule {
    /// Their names; one that begins or ends with `*` stands for all that end or begin so, one with both for all that hold it.
    names: &'static [&'static str],
    /// Whether a value asks for nothing.
    idle: fn(&Value) -> bool,
    /// What to do, or why it is refused; `{}` stands for the family.
    help: &'static str,
}

impl Rule {
    /// The rule of a field, if it has one.
    pub(super) fn of(name: &str) -> Option<&'static Self> {
        // it says how `intermediate_size` was chosen
        let asks = |name: &str| name != "ffn_dim_multiplier";
        RULES.iter().find(|rule| asks(name) && rule.names.iter().any(|pattern| fits(pattern, name)))
    }

    /// What to do, or why it is refused in this family.
    pub(super) fn help(&self, family: &Family) -> String {
        self.help.replace("{}", family.title)
    }

    /// Whether a value asks for something that is not computed.
    pub(super) fn asks(&self, value: &Value) -> bool {
        !(self.idle)(value)
    }
}

const RULES: &[Rule] = &[
    Rule {
        names: &["hidden_activation", "activation", "activation_function", "act_fn", "mlp_activation"],
        idle: |value| matches!(value.as_str(), Some("silu" | "swish" | "swiglu")),
        help: "{} configs call it `hidden_act`",
    },
    Rule {
        names: &["*softcapping", "*softcap", "*soft_cap", "*logit_cap", "clip_qkv", "qkv_clip"],
        idle: is_off,
        help: "{} models do not cap scores or logits",
    },
    Rule {
        names: &[
            "*_multiplier",
            "*_multipliers",
            "logits_scaling",
            "logit_scale",
            "embedding_scale",
            "embed_scale",
            "scale_emb",
            "residual_scale",
            "attn_scale",
            "attention_scale",
            "attention_scaling",
            "softmax_scale",
            "query_scale",
            "q_scale",
            "qk_scale",
            "output_multiplier_scale",
            "mup_*",
            "scale_depth",
        ],
        idle: |value| is_off(value) || is_one(value),
        help: "{} models scale neither embeddings nor scores nor logits",
    },
    Rule {
        names: &["gated_mlp", "use_gated_mlp", "glu", "use_glu", "glu_mlp", "mlp_gated"],
        idle: |value| matches!(value, Value::Bool(true) | Value::Null),
        help: "the MLP of {} models has a gate",
    },
    Rule {
        names: &["is_causal", "causal"],
        idle: |value| matches!(value, Value::Bool(true) | Value::Null),
        help: "a query sees what is before it in {} models",
    },
    Rule {
        names: &["is_encoder_decoder", "cross_attention_layers"],
        idle: is_off,
        help: "{} models are decoders alone, without attention to another text or to images",
    },
    Rule {
        names: &["*sink*"],
        idle: is_off,
        help: "{} models have no attention sinks; a method may keep the first tokens",
    },
    Rule {
        names: &["attention_type", "attn_type", "attention_mode"],
        idle: |value| {
            matches!(
                value.as_str(),
                Some(
                    "full"
                        | "full_attention"
                        | "original_full"
                        | "global"
                        | "causal"
                        | "gqa"
                        | "mha"
                        | "GQA"
                        | "MHA"
                        | "sdpa"
                        | "eager"
                        | "flash_attention_2"
                )
            )
        },
        help: "attention over the whole context is computed, unless a method says otherwise",
    },
    Rule {
        names: &["position_embedding_type", "pos_emb_type", "position_encoding_type", "position_embedding", "pos_emb"],
        idle: |value| {
            is_off(value) || matches!(value.as_str(), Some("rope" | "rotary" | "RoPE" | "ROPE" | "rotary_emb"))
        },
        help: "positions are rotary embeddings in {} models",
    },
    Rule {
        names: &["use_sliding_window", "use_chunked_attention"],
        idle: is_off,
        help: "attention over the whole context is computed; a method may have a window",
    },
    Rule {
        names: &["attention_window*", "local_attention*", "attention_chunk_size", "window_size", "block_sparse*"],
        idle: is_off,
        help: "attention over the whole context is computed; a method may have a window",
    },
    Rule {
        names: &["layer_types", "attention_types", "attn_types"],
        idle: |value| {
            all(value, |layer| matches!(layer.as_str(), Some("full_attention" | "attention" | "full" | "global")))
        },
        help: "every layer of {} models attends to the whole context",
    },
    Rule {
        names: &["no_rope_layers"],
        // one flag a layer: 1 with rotary embeddings
        idle: |value| all(value, is_one),
        help: "every layer of {} models rotates its queries and keys",
    },
    Rule {
        names: &["no_rope_layer_interval", "nope_layer_interval", "*alibi*"],
        idle: is_off,
        help: "every layer of {} models rotates its queries and keys",
    },
    Rule {
        names: &["rope_interleave*", "rotary_interleave*", "interleaved_rope"],
        idle: is_off,
        help: "dimensions are paired as in Hugging Face's layout, the first half with the second",
    },
    Rule {
        names: &[
            "partial_rotary_factor",
            "rotary_pct",
            "rotary_percent",
            "rope_pct",
            "rotary_emb_fraction",
            "rope_percent",
            "rope_percentage",
        ],
        idle: is_one,
        help: "{} models rotate whole heads",
    },
    Rule {
        names: &["qk_norm", "use_qk_norm", "qk_layernorm", "use_qk_layernorm", "qk_layer_norm"],
        idle: is_off,
        help: "{} models have no norm of queries and keys",
    },
    Rule {
        names: &["parallel_attn", "parallel_residual", "use_parallel_residual", "add_cross_attention"],
        idle: is_off,
        help: "the MLP of {} models follows its attention",
    },
    Rule {
        names: &["use_bidirectional_attention", "bidirectional"],
        idle: is_off,
        help: "a query sees what is before it in {} models",
    },
    Rule {
        names: &["num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "num_expert_layers"],
        idle: |value| is_off(value) || is_one(value),
        help: "{} models have one MLP a layer",
    },
    Rule {
        names: &["kv_lora_rank", "q_lora_rank", "num_kv_shared_layers", "hidden_size_per_layer_input"],
        idle: is_off,
        help: "every layer of {} models has projections of its own",
    },
    Rule {
        names: &[
            "norm_type",
            "layernorm_type",
            "normalization_type",
            "normalization",
            "norm_class",
            "norm_cls",
            "norm_fn",
        ],
        idle: |value| {
            let name = value.as_str().unwrap_or_default().to_ascii_lowercase();
            name == "rms" || name.replace('_', "").ends_with("rmsnorm")
        },
        help: "the norms of {} models are RMSNorm",
    },
];

/// Fields of `rope_scaling` that stand beside it have no effect, in transformers neither.
pub(super) const ROPE_FIELDS: &[&str] = &[
    "rope_type",
    "rope_scaling_type",
    "rope_scaling_factor",
    "rope_factor",
    "rope_ratio",
    "rope_alpha",
    "rope_local_base_freq",
    "factor",
    "scaling_factor",
    "low_freq_factor",
    "high_freq_factor",
    "beta_fast",
    "beta_slow",
    "attention_factor",
    "attn_factor",
    "mscale",
    "mscale_all_dim",
];

fn fits(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(part), Some(_)) => name.contains(part.trim_end_matches('*')),
        (Some(end), None) => name.ends_with(end),
        (None, Some(start)) => name.starts_with(start),
        (None, None) => name == pattern,
    }
}

/// Null, false, nothing, zero.
pub(super) fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Array(values) => values.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => matches!(text.as_str(), "" | "none" | "None"),
        Value::Bool(true) => false,
    }
}

pub(super) fn is_one(value: &Value) -> bool {
    match value {
        Value::Array(values) => values.iter().all(is_one),
        value => value.as_f64() == Some(1.0),
    }
}

fn all(value: &Value, fits: fn(&Value) -> bool) -> bool {
    value.as_array().is_some_and(|values| values.iter().all(fits))
}
