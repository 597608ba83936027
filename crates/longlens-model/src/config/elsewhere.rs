//! Fields of `config.json` that mean something in other families. A Llama is computed without them, so a value that asks for
//! something is refused where the numbers would be others than meant, and told where they are those of transformers.
//!
//! Values that ask for nothing (`sliding_window: null`, `use_sliding_window: false`, `logits_scaling: 1.0`) are passed over.

use serde_json::Value;

use crate::error::{OpenError, cut};
use crate::fields::Fields;

/// Fields with what their value must be to ask for nothing.
struct Rule {
    /// Their names; one that begins or ends with `*` stands for all that end or begin so.
    names: &'static [&'static str],
    /// Whether a value asks for nothing.
    idle: fn(&Value) -> bool,
    help: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        names: &["hidden_act", "hidden_activation", "activation", "activation_function", "act_fn", "mlp_activation"],
        idle: |value| matches!(value.as_str(), Some("silu" | "swish" | "swiglu")),
        help: "Llama models use `silu`",
    },
    Rule {
        names: &["*softcapping", "*softcap", "*soft_cap", "*logit_cap", "clip_qkv", "qkv_clip"],
        idle: is_off,
        help: "Llama models do not cap scores or logits",
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
            "output_multiplier_scale",
            "mup_*",
            "scale_depth",
        ],
        idle: |value| is_off(value) || is_one(value),
        help: "Llama models scale neither embeddings nor scores nor logits",
    },
    Rule {
        names: &["use_sliding_window", "use_attention_sinks", "use_chunked_attention"],
        idle: is_off,
        help: "attention over the whole context is computed; `--method sliding_window` has a window",
    },
    Rule {
        names: &["attention_window*", "local_attention*", "attention_chunk_size", "window_size", "block_sparse*"],
        idle: is_off,
        help: "attention over the whole context is computed; `--method sliding_window` has a window",
    },
    Rule {
        names: &["layer_types", "attention_types", "attn_types"],
        idle: |value| {
            all(value, |layer| matches!(layer.as_str(), Some("full_attention" | "attention" | "full" | "global")))
        },
        help: "every layer of a Llama attends to the whole context",
    },
    Rule {
        names: &["no_rope_layers"],
        // one flag a layer: 1 with rotary embeddings
        idle: |value| all(value, is_one),
        help: "every layer of a Llama turns its queries and keys",
    },
    Rule {
        names: &["no_rope_layer_interval", "nope_layer_interval", "alibi", "use_alibi"],
        idle: is_off,
        help: "every layer of a Llama turns its queries and keys",
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
            "rope_percentage",
        ],
        idle: is_one,
        help: "Llama models rotate whole heads",
    },
    Rule {
        names: &["qk_norm", "use_qk_norm", "qk_layernorm", "use_qk_layernorm", "qk_layer_norm"],
        idle: is_off,
        help: "a Llama has no norm of queries and keys",
    },
    Rule {
        names: &["parallel_attn", "parallel_residual", "use_parallel_residual", "add_cross_attention"],
        idle: is_off,
        help: "the MLP of a Llama follows its attention",
    },
    Rule {
        names: &["use_bidirectional_attention", "bidirectional"],
        idle: is_off,
        help: "a query of a Llama sees what is before it",
    },
    Rule {
        names: &["num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "num_expert_layers"],
        idle: |value| is_off(value) || is_one(value),
        help: "Llama models have one MLP a layer",
    },
    Rule {
        names: &["kv_lora_rank", "q_lora_rank", "num_kv_shared_layers", "hidden_size_per_layer_input"],
        idle: is_off,
        help: "every layer of a Llama has projections of its own",
    },
    Rule {
        names: &["norm_type", "layernorm_type", "normalization_type"],
        idle: |value| {
            let name = value.as_str().unwrap_or_default().to_ascii_lowercase();
            matches!(name.replace('_', "").as_str(), "rmsnorm" | "rms" | "llamarmsnorm")
        },
        help: "the norms of a Llama are RMSNorm",
    },
    Rule {
        names: &["quantization_config", "compression_config", "quantization", "quant_config"],
        idle: |_| false,
        help: "use the checkpoint this one was quantized from",
    },
    Rule {
        names: &["rope_condense_ratio"],
        idle: is_one,
        help: "write it as `rope_scaling` with type `linear`, and give the length it was trained at as --trained-context",
    },
];

/// Fields of `rope_scaling` that stand beside it have no effect, in transformers neither.
const ROPE_FIELDS: &[&str] = &[
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

/// Refuses what would change the numbers; returns what a user should know.
pub(super) fn check(fields: Fields<'_>, head_dim: usize) -> Result<Vec<String>, OpenError> {
    for name in fields.names().filter(|name| fields.get(name).is_some()) {
        let value = fields.get(name).unwrap_or(&Value::Null);
        let asks = |rule: &&Rule| rule.names.iter().any(|pattern| fits(pattern, name)) && !(rule.idle)(value);
        if let Some(rule) = RULES.iter().find(asks)
            && !is_usual_scale(name, value, head_dim)
        {
            return Err(fields.unsupported(name, rule.help));
        }
        if name == "query_pre_attn_scalar" && value.as_f64() != Some(head_dim as f64) {
            return Err(
                fields.unsupported(name, &format!("Llama models divide scores by the root of `head_dim`, {head_dim}"))
            );
        }
        if name == "rotary_dim" && !is_off(value) && value.as_u64() != Some(head_dim as u64) {
            return Err(fields.unsupported(name, "Llama models rotate whole heads"));
        }
        if ROPE_FIELDS.contains(&name) && !is_off(value) && !is_one(value) && value.as_str() != Some("default") {
            return Err(fields.unsupported(name, "it has no effect there: put it inside `rope_scaling`, or remove it"));
        }
    }
    other_spelling(fields, "rope_theta", &["rotary_emb_base", "rope_base", "rotary_base", "rope_freq_base"])?;
    other_spelling(fields, "rms_norm_eps", &["norm_eps", "norm_epsilon", "layer_norm_eps", "layer_norm_epsilon"])?;
    let mut warnings = Vec::new();
    architectures(fields, &mut warnings)?;
    window(fields, &mut warnings);
    Ok(warnings)
}

/// A field under another family's name would be passed over, and the default taken.
fn other_spelling(fields: Fields<'_>, ours: &str, theirs: &[&str]) -> Result<(), OpenError> {
    let in_section = |section: &str| fields.get(section).and_then(|section| section.get(ours)).is_some();
    if fields.get(ours).is_some() || in_section("rope_parameters") || in_section("rope_scaling") {
        return Ok(());
    }
    match theirs.iter().find(|name| fields.get(name).is_some()) {
        Some(name) => Err(fields.unsupported(name, &format!("a Llama's config calls it `{ours}`"))),
        None => Ok(()),
    }
}

/// Beginnings of class names whose models are computed in another way.
const OTHER_FAMILIES: &[&str] = &[
    "llama4",
    "mllama",
    "llava",
    "mistral",
    "mixtral",
    "ministral",
    "qwen",
    "gemma",
    "phi",
    "gpt",
    "bloom",
    "falcon",
    "opt",
    "cohere",
    "granite",
    "olmo",
    "stablelm",
    "starcoder",
    "deepseek",
    "baichuan",
    "chatglm",
    "glm",
    "internlm",
    "mpt",
    "minicpm",
    "exaone",
    "smollm3",
    "nemotron",
    "arctic",
    "dbrx",
    "jamba",
    "mamba",
    "apertus",
    "ernie",
    "helium",
    "persimmon",
    "seedoss",
    "cwm",
    "bitnet",
    "diffllama",
    "doge",
    "hunyuan",
    "longcat",
    "lfm",
    "zamba",
    "recurrentgemma",
    "rwkv",
    "t5",
    "bert",
    "roberta",
    "xlm",
    "xglm",
    "bart",
    "aquila",
    "orion",
    "xverse",
    "decilm",
    "youtu",
];

fn architectures(fields: Fields<'_>, warnings: &mut Vec<String>) -> Result<(), OpenError> {
    let Some(value) = fields.get("architectures") else { return Ok(()) };
    let names: Vec<&str> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let folded = |name: &str| name.to_ascii_lowercase();
    let is_other = |name: &&str| OTHER_FAMILIES.iter().any(|family| folded(name).starts_with(family));
    if names.iter().any(is_other) {
        let help = "its `model_type` says `llama`; make the two agree if it is one";
        return Err(fields.unsupported("architectures", help));
    }
    let strangers = names.iter().filter(|name| !folded(name).contains("llama"));
    warnings.extend(strangers.take(1).map(|name| {
        format!(
            "{} names the architecture `{}`; it is computed as a Llama, as its `model_type` says",
            fields.file,
            cut(name)
        )
    }));
    Ok(())
}

/// transformers passes over the window of a Llama, so its numbers are those without one.
fn window(fields: Fields<'_>, warnings: &mut Vec<String>) {
    let Some(window) = fields.get("sliding_window").and_then(Value::as_u64).filter(|window| *window > 0) else {
        return;
    };
    let longest = fields.get("max_position_embeddings").and_then(Value::as_u64).unwrap_or(u64::MAX);
    if window < longest && fields.get("use_sliding_window") != Some(&Value::Bool(false)) {
        warnings.push(format!(
            "{} has `sliding_window` {window}: attention over the whole context is computed, as transformers does for a Llama; \
             `--method sliding_window` has a window",
            fields.file
        ));
    }
}

/// A multiplier that asks for what is done anyway.
fn is_usual_scale(name: &str, value: &Value, head_dim: usize) -> bool {
    let usual = (head_dim as f64).sqrt().recip();
    matches!(name, "attention_multiplier" | "attention_scale" | "attn_scale" | "softmax_scale" | "attention_scaling")
        && value.as_f64().is_some_and(|scale| (scale / usual - 1.0).abs() < 1e-6)
}

fn fits(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(end), _) => name.ends_with(end),
        (None, Some(start)) => name.starts_with(start),
        (None, None) => name == pattern,
    }
}

/// Null, false, nothing, zero.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Array(values) => values.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => matches!(text.as_str(), "" | "none" | "None"),
        Value::Bool(true) => false,
    }
}

fn is_one(value: &Value) -> bool {
    match value {
        Value::Array(values) => values.iter().all(is_one),
        value => value.as_f64() == Some(1.0),
    }
}

fn all(value: &Value, fits: fn(&Value) -> bool) -> bool {
    value.as_array().is_some_and(|values| values.iter().all(fits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields;

    /// What is said of a config with these fields, whose heads have 16 dimensions.
    fn said(inside: &str) -> Result<Vec<String>, String> {
        let map = fields::parse("config.json", format!("{{{inside}}}").as_bytes()).unwrap();
        check(Fields::new("config.json", &map), 16).map_err(|error| error.to_string())
    }

    #[test]
    fn what_real_configs_carry_and_what_asks_for_nothing_is_passed_over() {
        for inside in [
            r#""architectures": ["LlamaForCausalLM"], "attention_dropout": 0.1, "pretraining_tp": 2, "use_cache": true"#,
            r#""sliding_window": null, "use_sliding_window": false, "max_window_layers": 28, "attn_logit_softcapping": null"#,
            r#""sliding_window": 4096, "use_sliding_window": false"#,
            r#""sliding_window": 4096, "max_position_embeddings": 4096"#,
            r#""layer_types": ["full_attention", "full_attention"], "no_rope_layers": [1, 1]"#,
            r#""hidden_act": "silu", "hidden_activation": null, "partial_rotary_factor": 1.0, "rotary_dim": 16"#,
            r#""logits_scaling": 1.0, "embedding_multiplier": 1, "attention_multiplier": 0.25, "query_pre_attn_scalar": 16"#,
            r#""quantization_config": null, "num_local_experts": 0, "rope_type": "default", "factor": 1.0"#,
            r#""rms_norm_eps": 1e-5, "layer_norm_eps": 1e-12, "rope_theta": 1e4, "rotary_emb_base": 10000"#,
            r#""architectures": ["LLaMAForCausalLM"], "norm_type": "rms_norm", "clip_qkv": null, "qk_norm": false"#,
        ] {
            assert_eq!(said(inside), Ok(vec![]), "{inside}");
        }
    }

    #[test]
    fn what_would_change_the_numbers_is_refused_under_any_spelling() {
        for inside in [
            r#""hidden_act": "gelu""#,
            r#""hidden_activation": "gelu_pytorch_tanh""#,
            r#""attn_logit_softcapping": 50.0"#,
            r#""final_logit_softcapping": 30.0"#,
            r#""logits_soft_cap": 30.0"#,
            r#""embedding_multiplier": 12.0"#,
            r#""attention_multiplier": 0.01"#,
            r#""residual_multiplier": 0.2"#,
            r#""mlp_multipliers": [1.0, 2.0]"#,
            r#""logits_scaling": 8"#,
            r#""scale_emb": 12"#,
            r#""use_sliding_window": true"#,
            r#""layer_types": ["full_attention", "sliding_attention"]"#,
            r#""no_rope_layers": [1, 0]"#,
            r#""no_rope_layer_interval": 4"#,
            r#""rotary_pct": 0.5"#,
            r#""partial_rotary_factor": 0.5"#,
            r#""rotary_dim": 8"#,
            r#""query_pre_attn_scalar": 64"#,
            r#""rope_interleaved": true"#,
            r#""use_qk_norm": true"#,
            r#""quantization_config": {"bits": 4}"#,
            r#""num_local_experts": 8"#,
            r#""norm_type": "layernorm""#,
            r#""norm_eps": 1e-5"#,
            r#""rotary_emb_base": 500000"#,
            r#""architectures": ["MistralForCausalLM"]"#,
            r#""architectures": ["Llama4ForCausalLM"]"#,
            r#""rope_type": "linear""#,
            r#""factor": 4.0"#,
            r#""rope_scaling_factor": 4.0"#,
        ] {
            let error = said(inside).unwrap_err();
            assert!(error.starts_with("config.json: `") && error.ends_with(" is not supported"), "{inside}: {error}");
        }
    }

    #[test]
    fn what_transformers_passes_over_as_well_is_told() {
        let [window] = said(r#""sliding_window": 4096, "max_position_embeddings": 32768"#).unwrap().try_into().unwrap();
        assert!(window.contains("`sliding_window` 4096: attention over the whole context is computed"), "{window}");
        let [class] = said(r#""architectures": ["OurModelForCausalLM"]"#).unwrap().try_into().unwrap();
        assert!(class.contains("`OurModelForCausalLM`; it is computed as a Llama"), "{class}");
    }
}
