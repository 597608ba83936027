//! Mixtures of experts: one tensor holds a matrix of all of them.

use super::dense::{biased, silu};
use super::{Architecture, Layout, TensorMapping};
use crate::error::OpenError;
use crate::gguf::Gguf;
use crate::gguf::config::Draft;

type Outcome = Result<(), OpenError>;

pub(super) const MIXTRAL: Architecture = Architecture {
    arch: "llama",
    model_type: "mixtral",
    fields: mixtral,
    names: &[("ffn_gate_inp", "block_sparse_moe.gate")],
    interleaved: true,
    shifted: false,
};
pub(super) const QWEN2_MOE: Architecture = Architecture {
    arch: "qwen2moe",
    model_type: "qwen2_moe",
    fields: qwen2_moe,
    names: SHARED,
    interleaved: false,
    shifted: false,
};
pub(super) const QWEN3_MOE: Architecture = Architecture {
    arch: "qwen3moe",
    model_type: "qwen3_moe",
    fields: qwen3_moe,
    names: SHARED,
    interleaved: false,
    shifted: false,
};

/// Model types of the families here.
pub(super) const ALL: &[&str] = &["mixtral", "qwen2_moe", "qwen3_moe"];

const SHARED: &[(&str, &str)] = &[
    ("ffn_gate_inp", "mlp.gate"),
    ("ffn_gate_shexp", "mlp.shared_expert.gate_proj"),
    ("ffn_up_shexp", "mlp.shared_expert.up_proj"),
    ("ffn_down_shexp", "mlp.shared_expert.down_proj"),
    ("ffn_gate_inp_shexp", "mlp.shared_expert_gate"),
];

/// Modules of an expert in GGUF, in Mixtral, and in Qwen.
const MATRICES: [(&str, &str, &str); 3] =
    [("ffn_gate", "w1", "gate_proj"), ("ffn_down", "w2", "down_proj"), ("ffn_up", "w3", "up_proj")];

fn mixtral(draft: &mut Draft<'_>) -> Outcome {
    draft.copy_whole("num_local_experts", "expert_count")?;
    draft.copy_whole("num_experts_per_tok", "expert_used_count")?;
    silu(draft)
}

fn qwen2_moe(draft: &mut Draft<'_>) -> Outcome {
    draft.copy_whole("shared_expert_intermediate_size", "expert_shared_feed_forward_length")?;
    draft.set("norm_topk_prob", false);
    qwen(draft)?;
    silu(draft)
}

fn qwen3_moe(draft: &mut Draft<'_>) -> Outcome {
    draft.set("norm_topk_prob", true);
    qwen(draft)?;
    biased(draft)
}

fn qwen(draft: &mut Draft<'_>) -> Outcome {
    draft.copy_whole("num_experts", "expert_count")?;
    draft.copy_whole("num_experts_per_tok", "expert_used_count")?;
    draft.copy_whole("moe_intermediate_size", "expert_feed_forward_length")?;
    // layers without a router are dense
    let n_layers = draft.needed("block_count")?.min(4096);
    let dense: Vec<u64> =
        (0..n_layers).filter(|layer| !draft.has(&format!("blk.{layer}.ffn_gate_inp.weight"))).collect();
    draft.set("mlp_only_layers", dense);
    draft.set("decoder_sparse_step", 1);
    Ok(())
}

/// The module of a file that holds an expert's matrix, and which expert's it is.
pub(super) fn place(architecture: &Architecture, module: &str) -> Option<(String, usize)> {
    let is_mixtral = architecture.model_type == "mixtral";
    let stem = if is_mixtral { "block_sparse_moe.experts." } else { "mlp.experts." };
    let (expert, matrix) = module.strip_prefix(stem)?.split_once('.')?;
    let is_one = |(_, mixtral, qwen): &&(&str, &str, &str)| matrix == if is_mixtral { *mixtral } else { *qwen };
    let (theirs, ..) = MATRICES.iter().find(is_one).filter(|_| ALL.contains(&architecture.model_type))?;
    Some((format!("{theirs}_exps"), expert.parse().ok()?))
}

/// What scores the expert of all tokens, stored without a dimension for its only row.
pub(super) const SHARED_SCORE: &str = "mlp.shared_expert_gate";

/// The experts of a tensor, if it holds some.
pub(super) fn mappings(
    architecture: &Architecture,
    gguf: &Gguf,
    prefix: &str,
    module: &str,
    end: &str,
) -> Result<Option<Vec<TensorMapping>>, OpenError> {
    if !ALL.contains(&architecture.model_type) {
        return Ok(None);
    }
    let name = |expert: &str, matrix: &(&str, &str, &str)| match architecture.model_type {
        "mixtral" => format!("{prefix}block_sparse_moe.experts.{expert}.{}.{end}", matrix.1),
        _ => format!("{prefix}mlp.experts.{expert}.{}.{end}", matrix.2),
    };
    if module == "ffn_gate_inp_shexp" {
        let name = format!("{prefix}mlp.shared_expert_gate.{end}");
        return Ok(Some(vec![TensorMapping { name, layout: Layout::Row, shift: 0.0 }]));
    }
    // before 2024 every expert had a tensor of its own, `ffn_gate.3`
    if let Some((module, expert)) = module.split_once('.')
        && let Some(matrix) = MATRICES.iter().find(|(theirs, ..)| *theirs == module)
    {
        return Ok(Some(vec![TensorMapping { name: name(expert, matrix), layout: Layout::Whole, shift: 0.0 }]));
    }
    let Some(stem) = module.strip_suffix("_exps") else { return Ok(None) };
    let Some(matrix) = MATRICES.iter().find(|(theirs, ..)| *theirs == stem) else { return Ok(None) };
    let key = format!("{}.expert_count", architecture.arch);
    let n =
        gguf.metadata().whole(&key)?.and_then(|n| usize::try_from(n).ok()).filter(|n| (1..=MAX_EXPERTS).contains(n));
    let n = n.ok_or_else(|| gguf.metadata().error(&key, &format!("a whole number from 1 to {MAX_EXPERTS}")))?;
    let part = |index: usize| TensorMapping {
        name: name(&index.to_string(), matrix),
        layout: Layout::Part { index, n },
        shift: 0.0,
    };
    Ok(Some((0..n).map(part).collect()))
}

/// No model has more.
const MAX_EXPERTS: usize = 4096;
