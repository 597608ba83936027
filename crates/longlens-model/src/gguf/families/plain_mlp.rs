//! Families whose MLP has no gate.

use super::{Architecture, Layout, TensorMapping, head_dim};
use crate::error::OpenError;
use crate::gguf::Gguf;
use crate::gguf::config::Draft;

type Outcome = Result<(), OpenError>;

pub(super) const PHI2: Architecture = Architecture {
    arch: "phi2",
    model_type: "phi",
    fields: phi2,
    names: &[
        ("output_norm", "model.final_layernorm"),
        ("attn_qkv", SPLIT),
        ("attn_output", "self_attn.dense"),
        ("ffn_up", "mlp.fc1"),
        ("ffn_down", "mlp.fc2"),
    ],
    interleaved: false,
    shifted: false,
};
pub(super) const STARCODER2: Architecture = Architecture {
    arch: "starcoder2",
    model_type: "starcoder2",
    fields: starcoder2,
    names: &[("ffn_up", "mlp.c_fc"), ("ffn_down", "mlp.c_proj")],
    interleaved: false,
    shifted: false,
};
/// A fused tensor that is three here.
pub(super) const SPLIT: &str = "self_attn";

fn phi2(draft: &mut Draft<'_>) -> Outcome {
    draft.set("hidden_act", "gelu_new");
    draft.copy_real("layer_norm_eps", "attention.layer_norm_epsilon")
}

fn starcoder2(draft: &mut Draft<'_>) -> Outcome {
    draft.set("hidden_act", "gelu_pytorch_tanh");
    let biased = draft.has("blk.0.attn_q.bias");
    draft.set("use_bias", biased);
    if let Some(window) = draft.whole("attention.sliding_window")?.filter(|window| *window > 0) {
        draft.set("sliding_window", window);
    }
    draft.copy_real("norm_epsilon", "attention.layer_norm_epsilon")
}

/// Queries, keys and values of one tensor, one behind the other.
pub(super) fn split_qkv(arch: &str, gguf: &Gguf, prefix: &str, end: &str) -> Result<Vec<TensorMapping>, OpenError> {
    let count = |field: &str| gguf.metadata().whole(&format!("{arch}.attention.{field}"));
    let n_heads = count("head_count")?.unwrap_or(0);
    let n_kv_heads = count("head_count_kv")?.unwrap_or(n_heads);
    let rows = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).saturating_mul(head_dim(arch, gguf).unwrap_or(0));
    let (query, key) = (rows(n_heads), rows(n_kv_heads));
    let mut first = 0usize;
    let mut part = |name: &str, n: usize| {
        let layout = Layout::Rows { first, n };
        first = first.saturating_add(n);
        TensorMapping { name: format!("{prefix}self_attn.{name}.{end}"), layout, shift: 0.0 }
    };
    Ok(vec![part("q_proj", query), part("k_proj", key), part("v_proj", key)])
}
