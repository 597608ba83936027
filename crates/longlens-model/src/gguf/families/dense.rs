//! Families whose layers are attention and a gated MLP.

use super::Architecture;
use crate::error::OpenError;
use crate::gguf::config::Draft;

type Outcome = Result<(), OpenError>;

const BASE: Architecture =
    Architecture { arch: "", model_type: "", fields: |_| Ok(()), names: &[], interleaved: false, shifted: false };

/// Mistral as well, which files call so.
pub(super) const LLAMA: Architecture =
    Architecture { arch: "llama", model_type: "llama", fields: llama, interleaved: true, ..BASE };
pub(super) const QWEN2: Architecture = Architecture { arch: "qwen2", model_type: "qwen2", fields: silu, ..BASE };
pub(super) const QWEN3: Architecture = Architecture { arch: "qwen3", model_type: "qwen3", fields: biased, ..BASE };
pub(super) const OLMO2: Architecture = Architecture { arch: "olmo2", model_type: "olmo2", fields: biased, ..BASE };
pub(super) const SMOLLM3: Architecture =
    Architecture { arch: "smollm3", model_type: "smollm3", fields: llama, interleaved: true, ..BASE };
pub(super) const GRANITE: Architecture =
    Architecture { arch: "granite", model_type: "granite", fields: granite, interleaved: true, ..BASE };
pub(super) const GEMMA: Architecture =
    Architecture { arch: "gemma", model_type: "gemma", fields: gelu, shifted: true, ..BASE };
pub(super) const GEMMA2: Architecture =
    Architecture { arch: "gemma2", model_type: "gemma2", fields: gemma2, names: BETWEEN, shifted: true, ..BASE };
pub(super) const GEMMA3: Architecture =
    Architecture { arch: "gemma3", model_type: "gemma3_text", fields: gemma3, names: BETWEEN, shifted: true, ..BASE };
pub(super) const PHI3: Architecture = Architecture {
    arch: "phi3",
    model_type: "phi3",
    fields: phi3,
    // the gate, then the other
    names: &[("ffn_up", "mlp.gate_up_proj")],
    ..BASE
};
pub(super) const STABLELM: Architecture =
    Architecture { arch: "stablelm", model_type: "stablelm", fields: stablelm, ..BASE };

/// Norms before and after the MLP.
const BETWEEN: &[(&str, &str)] = &[("ffn_norm", "pre_feedforward_layernorm")];

pub(super) fn silu(draft: &mut Draft<'_>) -> Outcome {
    draft.set("hidden_act", "silu");
    draft.copy_real("rms_norm_eps", "attention.layer_norm_rms_epsilon")
}

/// Biases are announced where all products have one; others are judged as tensors that nobody asked for.
pub(super) fn biased(draft: &mut Draft<'_>) -> Outcome {
    let all = |names: &[&str]| names.iter().all(|name| draft.has(&format!("blk.0.{name}.bias")));
    let attention = all(&["attn_q", "attn_k", "attn_v", "attn_output"]);
    draft.set("attention_bias", attention);
    silu(draft)
}

fn llama(draft: &mut Draft<'_>) -> Outcome {
    let all = |names: &[&str]| names.iter().all(|name| draft.has(&format!("blk.0.{name}.bias")));
    let mlp = all(&["ffn_gate", "ffn_up", "ffn_down"]);
    draft.set("mlp_bias", mlp);
    biased(draft)
}

fn granite(draft: &mut Draft<'_>) -> Outcome {
    draft.copy_real("attention_multiplier", "attention.scale")?;
    draft.copy_real("embedding_multiplier", "embedding_scale")?;
    draft.copy_real("residual_multiplier", "residual_scale")?;
    draft.copy_real("logits_scaling", "logit_scale")?;
    llama(draft)
}

fn gelu(draft: &mut Draft<'_>) -> Outcome {
    draft.set("hidden_act", "gelu_pytorch_tanh");
    draft.set("hidden_activation", "gelu_pytorch_tanh");
    draft.copy_real("rms_norm_eps", "attention.layer_norm_rms_epsilon")
}

/// The scale of scores is not stored: that of the head's width, and of `hidden_size / num_attention_heads` in the model of so many
/// layers, as llama.cpp has it.
fn score_scale(draft: &mut Draft<'_>, exception: u64) -> Outcome {
    let by_width = draft.needed("embedding_length")? / draft.needed("attention.head_count")?.max(1);
    let scale = if draft.needed("block_count")? == exception { by_width } else { draft.head_dim()? };
    draft.set("query_pre_attn_scalar", scale);
    draft.copy_whole("sliding_window", "attention.sliding_window")
}

fn gemma2(draft: &mut Draft<'_>) -> Outcome {
    draft.copy_real("attn_logit_softcapping", "attn_logit_softcapping")?;
    draft.copy_real("final_logit_softcapping", "final_logit_softcapping")?;
    score_scale(draft, 46)?;
    gelu(draft)
}

fn gemma3(draft: &mut Draft<'_>) -> Outcome {
    draft.set("sliding_window_pattern", 6);
    let local = draft.real("rope.freq_base_swa")?.unwrap_or(10_000.0);
    draft.set("rope_local_base_freq", local);
    if draft.real("rope.freq_base")?.is_none() {
        // what llama.cpp takes for this architecture
        draft.set("rope_theta", 1e6);
    }
    score_scale(draft, 62)?;
    gelu(draft)
}

fn phi3(draft: &mut Draft<'_>) -> Outcome {
    draft.set("hidden_act", "silu");
    if let Some(window) = draft.whole("attention.sliding_window")?.filter(|window| *window > 0) {
        draft.set("sliding_window", window);
    }
    draft.copy_real("rms_norm_eps", "attention.layer_norm_rms_epsilon")
}

fn stablelm(draft: &mut Draft<'_>) -> Outcome {
    draft.set("hidden_act", "silu");
    let biased = draft.has("blk.0.attn_q.bias");
    draft.set("use_qkv_bias", biased);
    let qk_norm = draft.has("blk.0.attn_q_norm.weight");
    draft.set("qk_layernorm", qk_norm);
    let key = draft.key("use_parallel_residual");
    let parallel = draft.metadata.flag(&key)?.unwrap_or(false);
    draft.set("use_parallel_residual", parallel);
    draft.copy_real("layer_norm_eps", "attention.layer_norm_epsilon")
}
