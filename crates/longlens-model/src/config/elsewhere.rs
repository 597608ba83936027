//! Fields of `config.json` that mean something in other families than the config's own. A model is computed without them, so a
//! value that asks for something is refused where the numbers would be others than meant, and told where they are those of
//! transformers.
//!
//! Values that ask for nothing (`sliding_window: null`, `use_sliding_window: false`, `logits_scaling: 1.0`) are passed over.

use serde_json::Value;

use crate::error::OpenError;
use crate::families::Family;
use crate::fields::Fields;
use rules::{ROPE_FIELDS, Rule, is_off, is_one};

mod architectures;
mod rules;
mod unknown;

/// Refuses what would change the numbers; returns what a user should know.
pub(super) fn check(fields: Fields<'_>, family: &Family, head_dim: usize) -> Result<Vec<String>, OpenError> {
    refuse(fields, family, head_dim)?;
    let mut warnings = unknown::told(fields, family);
    // other families group such fields, as in `attn_config.alibi`
    for section in fields.names().filter(|name| SECTIONS.contains(name)) {
        if fields.get(section).is_some_and(Value::is_object)
            && let Some(section) = fields.object(section, &format!("{section}."))?
        {
            refuse(section, family, head_dim)?;
            warnings.extend(unknown::told(section, family));
        }
    }
    if let Some(Value::Array(layers)) = fields.get("layer_types")
        && let Some(n_layers) = fields.count("num_hidden_layers")?
        && layers.len() != n_layers
    {
        return Err(
            fields.unsupported("layer_types", &format!("it is to have one entry for each of {n_layers} layers"))
        );
    }
    other_spelling(fields, family, "rope_theta", ROPE_BASES)?;
    if let Some(ours) = NORM_EPS.iter().find(|name| family.reads(name)) {
        other_spelling(fields, family, ours, NORM_EPS)?;
    }
    warnings.extend(other_base(fields));
    architectures::check(fields, family, &mut warnings)?;
    if !family.reads("sliding_window") {
        window(fields, &mut warnings);
    }
    Ok(warnings)
}

/// Objects that other families keep such fields in.
const SECTIONS: &[&str] = &["attn_config", "attention_config", "ffn_config", "mlp_config", "block_config"];
/// What other families call `rope_theta`.
const ROPE_BASES: &[&str] = &["rotary_emb_base", "rope_base", "rotary_base", "rope_freq_base"];

/// What families call the number that a norm adds under its root.
const NORM_EPS: &[&str] = &["rms_norm_eps", "norm_eps", "norm_epsilon", "layer_norm_eps", "layer_norm_epsilon"];

/// Refuses fields of one object whose values ask for something.
fn refuse(fields: Fields<'_>, family: &Family, head_dim: usize) -> Result<(), OpenError> {
    for name in fields.names().filter(|name| fields.get(name).is_some() && !family.reads(name)) {
        let value = fields.get(name).unwrap_or(&Value::Null);
        if let Some(rule) = Rule::of(name).filter(|rule| rule.asks(value))
            && !is_usual_scale(name, value, head_dim)
        {
            return Err(fields.unsupported(name, &rule.help(family)));
        }
        if name == "query_pre_attn_scalar" && value.as_f64() != Some(head_dim as f64) {
            return Err(fields.unsupported(
                name,
                &format!("{} models divide scores by the root of `head_dim`, {head_dim}", family.title),
            ));
        }
        if name == "rotary_dim" && !is_off(value) && value.as_u64() != Some(head_dim as u64) {
            return Err(fields.unsupported(name, &format!("{} models rotate whole heads", family.title)));
        }
        if ROPE_FIELDS.contains(&name) && !is_off(value) && !is_one(value) && value.as_str() != Some("default") {
            return Err(fields.unsupported(name, "it has no effect there: put it inside `rope_scaling`, or remove it"));
        }
    }
    Ok(())
}

/// A base under another family's name beside another one under ours.
fn other_base(fields: Fields<'_>) -> Option<String> {
    let ours = fields.get("rope_theta")?;
    let differs = |name: &&&str| fields.get(name).is_some_and(|value| value.as_f64() != ours.as_f64());
    let name = ROPE_BASES.iter().find(differs)?;
    let shown = (fields.shown("rope_theta"), fields.shown(name));
    Some(format!(
        "{} has `rope_theta` {} and `{name}` {}: the first counts, as in transformers",
        fields.file, shown.0, shown.1
    ))
}

/// A field under another family's name would be passed over, and the default taken.
fn other_spelling(fields: Fields<'_>, family: &Family, ours: &str, theirs: &[&str]) -> Result<(), OpenError> {
    let in_section = |section: &str| fields.get(section).and_then(|section| section.get(ours)).is_some();
    if fields.get(ours).is_some() || in_section("rope_parameters") || in_section("rope_scaling") {
        return Ok(());
    }
    match theirs.iter().find(|name| fields.get(name).is_some()) {
        Some(name) => Err(fields.unsupported(name, &format!("{} configs call it `{ours}`", family.title))),
        None => Ok(()),
    }
}

/// transformers passes over a window that the family has not, so its numbers are those without one.
fn window(fields: Fields<'_>, warnings: &mut Vec<String>) {
    let Some(window) = fields.get("sliding_window").and_then(Value::as_u64).filter(|window| *window > 0) else {
        return;
    };
    let longest = fields.get("max_position_embeddings").and_then(Value::as_u64).unwrap_or(u64::MAX);
    if window < longest && fields.get("use_sliding_window") != Some(&Value::Bool(false)) {
        warnings.push(format!(
            "{} has `sliding_window` {window}: attention over the whole context is computed, as transformers does; \
             a method may have a window",
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{families, fields};

    /// What is said of a config with these fields, whose heads have 16 dimensions.
    fn said(inside: &str) -> Result<Vec<String>, String> {
        let map = fields::parse("config.json", format!("{{{inside}}}").as_bytes()).unwrap();
        check(Fields::new("config.json", &map), families::find("", "llama").unwrap(), 16)
            .map_err(|error| error.to_string())
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
            r#""architectures": ["OptimizedLlamaForCausalLM"], "model_type": "llama", "llama": 1"#,
            r#""ffn_dim_multiplier": 1.3, "multiple_of": 1024, "use_rms_norm": true, "use_rope": true"#,
            r#""position_embedding_type": "rope", "is_causal": true, "gated_mlp": true, "is_encoder_decoder": false"#,
            r#""attn_config": {"alibi": false, "attn_pdrop": 0, "clip_qkv": null}, "cross_attention_layers": []"#,
            r#""_attn_implementation_autoset": true, "attn_pdrop": 0.1, "fused_rms_norm": true, "attention_softmax_in_fp32": true"#,
            r#""num_hidden_layers": 2, "layer_types": ["full_attention", "full_attention"], "initializer_range": 0.02"#,
        ] {
            assert_eq!(said(inside), Ok(vec![]), "{inside}");
        }
    }

    #[test]
    fn what_would_change_the_numbers_is_refused_under_any_spelling() {
        for inside in [
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
            r#""position_embedding_type": "alibi""#,
            r#""position_embedding_type": "relative_key""#,
            r#""attn_config": {"alibi": true}"#,
            r#""is_causal": false"#,
            r#""is_encoder_decoder": true"#,
            r#""cross_attention_layers": [3, 8]"#,
            r#""attention_sink_size": 4"#,
            r#""attention_type": "block_sparse""#,
            r#""gated_mlp": false"#,
            r#""normalization": "layernorm""#,
            r#""rope_percent": 0.5"#,
            r#""query_scale": 0.5"#,
            r#""num_hidden_layers": 2, "layer_types": ["full_attention"]"#,
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
    fn a_field_that_nobody_knows_is_told_by_what_it_speaks_of() {
        for inside in [
            r#""attention_temperature": 2.0"#,
            r#""rope_style": "spiral""#,
            r#""post_norm": true"#,
            r#""qkv_bias": true"#,
            r#""value_scaling": [1.0, 2.0]"#,
        ] {
            let told = said(inside).unwrap();
            assert_eq!(told.len(), 1, "{inside}: {told:?}");
            assert!(told[0].contains(inside.split('"').nth(1).unwrap()), "{told:?}");
        }
    }

    #[test]
    fn what_transformers_passes_over_as_well_is_told() {
        let [window] = said(r#""sliding_window": 4096, "max_position_embeddings": 32768"#).unwrap().try_into().unwrap();
        assert!(window.contains("`sliding_window` 4096: attention over the whole context is computed"), "{window}");
        let [base] = said(r#""rope_theta": 1e4, "rotary_emb_base": 500000"#).unwrap().try_into().unwrap();
        assert!(base.contains("`rope_theta` 10000.0 and `rotary_emb_base` 500000: the first counts"), "{base}");
        let [class] = said(r#""architectures": ["OurModelForCausalLM"]"#).unwrap().try_into().unwrap();
        assert!(class.contains("`OurModelForCausalLM`; it is computed as `model_type` says, `llama`"), "{class}");
    }
}
