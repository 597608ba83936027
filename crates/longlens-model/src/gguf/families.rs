//! What each architecture of GGUF files is in Hugging Face's layout: family, fields of its config, names of its tensors.
//!
//! Names, permutations and shifts are those that llama.cpp's `convert_hf_to_gguf.py` writes.

mod dense;
mod experts;
mod other;

use super::config::Draft;
use super::{Gguf, rope};
use crate::error::OpenError;

/// An architecture.
#[derive(Clone, Copy)]
pub(crate) struct Family {
    /// `general.architecture`, which all keys of it begin with.
    pub arch: &'static str,
    /// The family that computes it.
    pub model_type: &'static str,
    /// Sets the fields of the config that other families have not, or call otherwise.
    pub(super) fields: fn(&mut Draft<'_>) -> Result<(), OpenError>,
    /// Names that differ from [`USUAL`]: of a module in GGUF, and here.
    names: &'static [(&'static str, &'static str)],
    /// Whether the rows of queries and keys are stored with the halves of each head interleaved.
    interleaved: bool,
    /// Whether norms are stored plus one.
    shifted: bool,
}

/// Modules of most families.
const USUAL: &[(&str, &str)] = &[
    ("token_embd", "model.embed_tokens"),
    ("output_norm", "model.norm"),
    ("output", "lm_head"),
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_qkv", "self_attn.qkv_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("post_attention_norm", "post_attention_layernorm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
    ("post_ffw_norm", "post_feedforward_layernorm"),
];

/// The tensor whose rows say how many tokens there are.
pub(super) const EMBEDDING: &str = "token_embd.weight";

/// A tensor in Hugging Face's layout, as part of a stored one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Meant {
    /// Its name there.
    pub name: String,
    pub is: Is,
    /// What is to be added to its numbers.
    pub shift: f32,
}

/// How it is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Is {
    /// As it is.
    Whole,
    /// With the halves of every head of so many rows interleaved.
    Interleaved { head_dim: usize },
    /// One of `n` equal parts.
    Part { index: usize, n: usize },
    /// Rows `first ..`, so many.
    Rows { first: usize, n: usize },
    /// With another dimension of one before all others.
    Row,
}

const FAMILIES: &[Family] = &[
    dense::LLAMA,
    experts::MIXTRAL,
    dense::QWEN2,
    experts::QWEN2_MOE,
    dense::QWEN3,
    experts::QWEN3_MOE,
    other::PHI2,
    other::PHI3,
    dense::GEMMA,
    dense::GEMMA2,
    dense::GEMMA3,
    dense::OLMO2,
    dense::SMOLLM3,
    dense::GRANITE,
    other::STARCODER2,
    other::STABLELM,
];

impl Family {
    /// The family of a file.
    pub(crate) fn of(gguf: &Gguf) -> Result<Self, OpenError> {
        const KEY: &str = "general.architecture";
        let metadata = gguf.metadata();
        let Some(arch) = metadata.text(KEY)? else { return Err(metadata.error(KEY, "the name of an architecture")) };
        let has_experts = metadata.whole(&format!("{arch}.expert_count"))?.is_some_and(|n| n > 0);
        let mut found: Vec<&Self> = FAMILIES.iter().filter(|family| family.arch == arch).collect();
        // one name stands for both, with and without experts
        if found.len() > 1 {
            found.retain(|family| has_experts == experts::ALL.contains(&family.model_type));
        }
        found.first().map(|family| **family).ok_or_else(|| {
            let mut known: Vec<_> = FAMILIES.iter().map(|family| family.arch).collect();
            known.dedup();
            metadata.unsupported(KEY, &format!("architectures read: {}", known.join(", ")))
        })
    }

    /// What a stored tensor is here; nothing where the config stands for it. Tensors nobody knows keep their name in their layer.
    pub(crate) fn meant(&self, gguf: &Gguf, name: &str) -> Result<Vec<Meant>, OpenError> {
        if rope::TENSORS.contains(&name) || name.ends_with("attn_rot_embd.weight") {
            return Ok(Vec::new());
        }
        let whole = |name: String| vec![Meant { name, is: Is::Whole, shift: 0.0 }];
        let Some((module, end)) = name.rsplit_once('.') else { return Ok(whole(name.into())) };
        let (layer, module) = match module.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
            Some((layer, module)) => (Some(layer), module),
            None => (None, module),
        };
        let prefix = layer.map_or_else(String::new, |layer| format!("model.layers.{layer}."));
        if let Some(meant) = experts::meant(self, gguf, &prefix, module, end)? {
            return Ok(meant);
        }
        let known = self.names.iter().chain(USUAL).find(|(theirs, _)| *theirs == module);
        let Some((_, ours)) = known else {
            // judged like any tensor that the model has not
            return Ok(whole(format!("{prefix}{module}.{end}")));
        };
        let name = format!("{prefix}{ours}.{end}");
        if module == "attn_qkv" && *ours == other::SPLIT {
            return other::split_qkv(self.arch, gguf, &prefix, end);
        }
        let is = match module {
            "attn_q" | "attn_k" if self.interleaved => {
                let head_dim = head_dim(self.arch, gguf)?;
                if head_dim == 0 { Is::Whole } else { Is::Interleaved { head_dim } }
            }
            _ => Is::Whole,
        };
        let shift = if self.shifted && module.ends_with("norm") { -1.0 } else { 0.0 };
        Ok(vec![Meant { name, is, shift }])
    }
}

fn head_dim(arch: &str, gguf: &Gguf) -> Result<usize, OpenError> {
    let draft = Draft { gguf, metadata: gguf.metadata(), arch, map: serde_json::Map::new() };
    Ok(usize::try_from(draft.head_dim()?).unwrap_or(0))
}
