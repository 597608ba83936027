//! What each architecture of GGUF files is in Hugging Face's layout: family, fields of its config, names of its tensors.
//!
//! Names, permutations and shifts are those that llama.cpp's `convert_hf_to_gguf.py` writes.

mod arrange;
mod dense;
mod experts;
mod fields;
mod plain_mlp;

use super::config::Draft;
use super::{Gguf, rope};
use crate::error::OpenError;
pub(crate) use arrange::{Form, GgufTensor};
pub(crate) use fields::{FIELDS, REALS, stand_in};

/// An architecture of GGUF files.
#[derive(Clone, Copy)]
pub(crate) struct Architecture {
    /// `general.architecture`, which all keys of it begin with.
    pub arch: &'static str,
    /// The family that computes it.
    pub model_type: &'static str,
    /// Sets the fields of the config that this architecture alone has, or names in its own way.
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
pub(crate) struct TensorMapping {
    /// Its name there.
    pub name: String,
    pub layout: Layout,
    /// What is to be added to its numbers.
    pub shift: f32,
}

/// How a tensor is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Layout {
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

const ARCHITECTURES: &[Architecture] = &[
    dense::LLAMA,
    experts::MIXTRAL,
    dense::QWEN2,
    experts::QWEN2_MOE,
    dense::QWEN3,
    experts::QWEN3_MOE,
    plain_mlp::PHI2,
    dense::PHI3,
    dense::GEMMA,
    dense::GEMMA2,
    dense::GEMMA3,
    dense::OLMO2,
    dense::SMOLLM3,
    dense::GRANITE,
    plain_mlp::STARCODER2,
    dense::STABLELM,
];

impl Architecture {
    /// The architecture of a file.
    pub(crate) fn of(gguf: &Gguf) -> Result<Self, OpenError> {
        const KEY: &str = "general.architecture";
        let metadata = gguf.metadata();
        let Some(arch) = metadata.text(KEY)? else { return Err(metadata.error(KEY, "the name of an architecture")) };
        let has_experts = metadata.whole(&format!("{arch}.expert_count"))?.is_some_and(|n| n > 0);
        let mut found: Vec<&Self> = ARCHITECTURES.iter().filter(|architecture| architecture.arch == arch).collect();
        // one name stands for both, with and without experts
        if found.len() > 1 {
            found.retain(|architecture| has_experts == experts::ALL.contains(&architecture.model_type));
        }
        found.first().map(|architecture| **architecture).ok_or_else(|| {
            let mut known: Vec<_> = ARCHITECTURES.iter().map(|architecture| architecture.arch).collect();
            known.dedup();
            metadata.unsupported(KEY, &format!("architectures read: {}", known.join(", ")))
        })
    }

    /// The architecture of the family with this `model_type`.
    pub(crate) fn named(model_type: &str) -> Option<Self> {
        ARCHITECTURES.iter().find(|architecture| architecture.model_type == model_type).copied()
    }

    /// The key of a field of its architecture.
    pub(crate) fn key(&self, field: &str) -> String {
        format!("{}.{field}", self.arch)
    }

    /// The tensors here that a stored one holds; none where the config stands for it. Tensors nobody knows keep their name in their layer.
    pub(crate) fn mappings(&self, gguf: &Gguf, name: &str) -> Result<Vec<TensorMapping>, OpenError> {
        if rope::TENSORS.contains(&name) || name.ends_with("attn_rot_embd.weight") {
            return Ok(Vec::new());
        }
        let whole = |name: String| vec![TensorMapping { name, layout: Layout::Whole, shift: 0.0 }];
        let Some((module, end)) = name.rsplit_once('.') else { return Ok(whole(name.into())) };
        let (layer, module) = match module.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
            Some((layer, module)) => (Some(layer), module),
            None => (None, module),
        };
        let prefix = layer.map_or_else(String::new, |layer| format!("model.layers.{layer}."));
        if let Some(mappings) = experts::mappings(self, gguf, &prefix, module, end)? {
            return Ok(mappings);
        }
        let known = self.names.iter().chain(USUAL).find(|(theirs, _)| *theirs == module);
        let Some((_, ours)) = known else {
            // judged like any tensor that the model has not
            return Ok(whole(format!("{prefix}{module}.{end}")));
        };
        let name = format!("{prefix}{ours}.{end}");
        if module == "attn_qkv" && *ours == plain_mlp::SPLIT {
            return plain_mlp::split_qkv(self.arch, gguf, &prefix, end);
        }
        let layout = match module {
            "attn_q" | "attn_k" if self.interleaved => {
                let head_dim = head_dim(self.arch, gguf)?;
                if head_dim == 0 { Layout::Whole } else { Layout::Interleaved { head_dim } }
            }
            _ => Layout::Whole,
        };
        let shift = if self.shifted && module.ends_with("norm") { -1.0 } else { 0.0 };
        Ok(vec![TensorMapping { name, layout, shift }])
    }
}

fn head_dim(arch: &str, gguf: &Gguf) -> Result<usize, OpenError> {
    let draft = Draft { gguf, metadata: gguf.metadata(), arch, map: serde_json::Map::new() };
    Ok(usize::try_from(draft.head_dim()?).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header of a file of one architecture with these whole numbers and tensors.
    fn header(arch: &str, wholes: &[(&str, u32)], tensors: &[(&str, &[u64])]) -> Gguf {
        let text = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
        let mut bytes = [&b"GGUF\x03\0\0\0"[..], &(tensors.len() as u64).to_le_bytes()].concat();
        bytes.extend((1 + wholes.len() as u64).to_le_bytes());
        bytes.extend([text("general.architecture"), 8u32.to_le_bytes().to_vec(), text(arch)].concat());
        for (field, value) in wholes {
            let value = [4u32.to_le_bytes(), value.to_le_bytes()].concat();
            bytes.extend([text(&format!("{arch}.{field}")), value].concat());
        }
        for (name, dims) in tensors {
            bytes.extend([text(name), (dims.len() as u32).to_le_bytes().to_vec()].concat());
            bytes.extend(dims.iter().flat_map(|n| n.to_le_bytes()));
            bytes.extend([0; 4 + 8]);
        }
        bytes.extend([0; 64]);
        Gguf::parse("test.gguf", &bytes).unwrap()
    }

    fn mappings(gguf: &Gguf, name: &str) -> Vec<TensorMapping> {
        Architecture::of(gguf).unwrap().mappings(gguf, name).unwrap()
    }

    fn whole(name: &str, shift: f32) -> Vec<TensorMapping> {
        vec![TensorMapping { name: name.into(), layout: Layout::Whole, shift }]
    }

    const SHAPE: &[(&str, u32)] =
        &[("embedding_length", 32), ("attention.head_count", 4), ("attention.head_count_kv", 2)];

    #[test]
    fn experts_of_one_tensor_are_parts_of_it() {
        let gguf = header("llama", &[SHAPE, &[("expert_count", 3)]].concat(), &[]);
        assert_eq!(Architecture::of(&gguf).unwrap().model_type, "mixtral");
        let names: Vec<_> =
            mappings(&gguf, "blk.7.ffn_down_exps.weight").into_iter().map(|one| (one.name, one.layout)).collect();
        let name = |expert: usize| format!("model.layers.7.block_sparse_moe.experts.{expert}.w2.weight");
        assert_eq!(names, [0, 1, 2].map(|index| (name(index), Layout::Part { index, n: 3 })));
        assert_eq!(
            mappings(&gguf, "blk.0.ffn_up.2.weight"),
            whole("model.layers.0.block_sparse_moe.experts.2.w3.weight", 0.0)
        );
        assert_eq!(
            mappings(&gguf, "blk.0.ffn_gate_inp.weight"),
            whole("model.layers.0.block_sparse_moe.gate.weight", 0.0)
        );

        let gguf = header("qwen2moe", &[SHAPE, &[("expert_count", 2)]].concat(), &[]);
        assert_eq!(
            mappings(&gguf, "blk.0.ffn_gate_exps.weight")[1].name,
            "model.layers.0.mlp.experts.1.gate_proj.weight"
        );
        let shared = mappings(&gguf, "blk.0.ffn_gate_inp_shexp.weight");
        assert_eq!(
            (shared[0].name.as_str(), shared[0].layout),
            ("model.layers.0.mlp.shared_expert_gate.weight", Layout::Row)
        );
        // one that says nothing of experts, and holds some
        let gguf = header("qwen3moe", SHAPE, &[]);
        let error = Architecture::of(&gguf).unwrap().mappings(&gguf, "blk.0.ffn_up_exps.weight").unwrap_err();
        assert!(error.to_string().starts_with("test.gguf: `qwen3moe.expert_count` must be a whole number"), "{error}");
    }

    #[test]
    fn heads_norms_and_fused_products_are_undone() {
        let llama = header("llama", SHAPE, &[]);
        assert_eq!(Architecture::of(&llama).unwrap().model_type, "llama");
        assert_eq!(mappings(&llama, "blk.1.attn_k.bias")[0].layout, Layout::Interleaved { head_dim: 8 });
        assert_eq!(mappings(&llama, "blk.1.attn_v.weight"), whole("model.layers.1.self_attn.v_proj.weight", 0.0));
        assert!(mappings(&llama, "rope_freqs.weight").is_empty());
        // judged as what the model has not
        assert_eq!(mappings(&llama, "blk.1.attn_sub_norm.weight"), whole("model.layers.1.attn_sub_norm.weight", 0.0));
        assert_eq!(mappings(&header("qwen2", SHAPE, &[]), "blk.1.attn_k.weight")[0].layout, Layout::Whole);

        let gemma = header("gemma2", SHAPE, &[]);
        assert_eq!(mappings(&gemma, "output_norm.weight"), whole("model.norm.weight", -1.0));
        let between = "model.layers.0.pre_feedforward_layernorm.weight";
        assert_eq!(mappings(&gemma, "blk.0.ffn_norm.weight"), whole(between, -1.0));

        let phi = header("phi2", SHAPE, &[]);
        let parts: Vec<_> =
            mappings(&phi, "blk.0.attn_qkv.bias").into_iter().map(|one| (one.name, one.layout)).collect();
        let part = |name: &str, first, n| (format!("model.layers.0.self_attn.{name}.bias"), Layout::Rows { first, n });
        assert_eq!(parts, [part("q_proj", 0, 32), part("k_proj", 32, 16), part("v_proj", 48, 16)]);
        assert_eq!(mappings(&phi, "output.bias"), whole("lm_head.bias", 0.0));
        let phi3 = header("phi3", SHAPE, &[]);
        assert_eq!(mappings(&phi3, "blk.0.attn_qkv.weight"), whole("model.layers.0.self_attn.qkv_proj.weight", 0.0));
        assert_eq!(mappings(&phi3, "blk.0.ffn_up.weight"), whole("model.layers.0.mlp.gate_up_proj.weight", 0.0));
    }

    #[test]
    fn an_unknown_architecture_names_the_known_ones() {
        let error = Architecture::of(&header("mamba", &[], &[])).map(drop).unwrap_err();
        assert_eq!(error.to_string(), "test.gguf: `general.architecture` = \"mamba\" is not supported");
        assert!(error.help().unwrap().starts_with("architectures read: llama, qwen2, qwen2moe"), "{:?}", error.help());
    }
}
