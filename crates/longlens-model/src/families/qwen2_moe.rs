//! Qwen1.5-MoE and Qwen2-57B-A14B: attention of Qwen2, and in most layers many small MLPs, some of which a router chooses for every
//! token, beside one that all tokens use.
//!
//! Yang et al., 2024, arXiv:2407.10671, section 2.2.2.

use longlens_core::spec::ModelSpec;
use longlens_kernel::gated::Activation;

use super::{Defaults, FamilyFile, Shape};
use crate::config::moe::SparseLayers;
use crate::config::windows::Windows;
use crate::config::{self, Config};
use crate::error::OpenError;
use crate::fields::Fields;
use crate::layers::Stack;
use crate::weights::Parameters;

/// What `qwen2_moe` reads beside the fields that all families share.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// What the norms add under the root.
    pub rms_norm_eps: f64,
    /// Whether queries, keys and values have biases.
    pub qkv_bias: bool,
    /// Activation of all gates.
    pub hidden_act: Activation,
    /// Windows of the lower even layers, where the config switches them on.
    pub windows: Windows,
    /// Which layers have experts, and of what size.
    pub sparse: SparseLayers,
    /// Width of the expert that all tokens use.
    pub shared_expert_intermediate_size: usize,
}

impl FamilyFile for Architecture {
    const TITLE: &'static str = "Qwen2 MoE";
    const FIELDS: &'static [&'static [&'static str]] =
        &[&["rms_norm_eps", "qkv_bias", "shared_expert_intermediate_size"], Windows::SWITCHED, SparseLayers::FIELDS];
    const DEFAULTS: Defaults = Defaults { context: 32_768, ..Defaults::LLAMA };
    const SHAPES: &'static [Shape] = SHAPES;

    fn read(fields: Fields<'_>, warnings: &mut Vec<String>) -> Result<Self, OpenError> {
        Ok(Self {
            rms_norm_eps: config::rms_norm_eps(fields, 1e-6)?,
            qkv_bias: fields.flag("qkv_bias")?.unwrap_or(true),
            hidden_act: config::activation(fields, "hidden_act", Activation::Silu)?,
            windows: Windows::of_lower_even_layers(fields, warnings)?,
            sparse: SparseLayers::read(fields, [60, 4], 1408)?,
            shared_expert_intermediate_size: fields.count("shared_expert_intermediate_size")?.unwrap_or(5632),
        })
    }

    fn specify(&self, spec: &mut ModelSpec) {
        self.windows.specify(spec);
        self.sparse.specify(spec);
        spec.d_mlp += self.shared_expert_intermediate_size;
    }

    fn build<P: Parameters>(&self, config: &Config, from: &mut P) -> Stack<P::Matrix, P::Vector> {
        let (eps, shared) = (self.rms_norm_eps, Some(self.shared_expert_intermediate_size));
        Stack::pre_norm(
            from,
            config.sizes(),
            eps,
            |asker| asker.projections("o_proj", [self.qkv_bias, false]),
            |asker, layer| self.sparse.ask(asker, layer, self.hidden_act, shared),
        )
    }
}

/// The numbers of published configs that decide speed, the smallest first.
const SHAPES: &[Shape] = &[Shape {
    name: "qwen1.5-moe-a2.7b",
    config: r#"{"model_type": "qwen2_moe", "num_hidden_layers": 24, "hidden_size": 2048, "num_attention_heads": 16,
        "num_key_value_heads": 16, "intermediate_size": 5632, "moe_intermediate_size": 1408, "num_experts": 60,
        "shared_expert_intermediate_size": 5632, "num_experts_per_tok": 4, "norm_topk_prob": false,
        "decoder_sparse_step": 1, "vocab_size": 151936, "max_position_embeddings": 8192, "rope_theta": 1000000.0}"#,
}];
