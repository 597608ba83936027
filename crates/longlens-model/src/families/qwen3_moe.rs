//! Qwen3 with experts: attention of Qwen3, and in most layers many small MLPs, of which a router chooses some for every token.
//!
//! Yang et al., 2025, arXiv:2505.09388.

use longlens_core::spec::ModelSpec;
use longlens_kernel::gated::Activation;

use super::{Defaults, FamilyFile, Shape};
use crate::config::moe::SparseLayers;
use crate::config::windows::{Kinds, Windows};
use crate::config::{self, Config};
use crate::error::OpenError;
use crate::families::qwen3::normed_projections;
use crate::fields::Fields;
use crate::layers::Stack;
use crate::weights::Parameters;

/// What `qwen3_moe` reads beside the fields that all families share.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// What the norms add under the root.
    pub rms_norm_eps: f64,
    /// Whether the four attention products add a bias.
    pub attention_bias: bool,
    /// Activation of all gates.
    pub hidden_act: Activation,
    /// The window of all layers, where the config switches it on. Released configs have a `max_window_layers` as well, which
    /// transformers does not look at in this family.
    pub windows: Windows,
    /// Which layers have experts, and of what size.
    pub sparse: SparseLayers,
}

impl FamilyFile for Architecture {
    const TITLE: &'static str = "Qwen3 MoE";
    const FIELDS: &'static [&'static [&'static str]] =
        &[&["rms_norm_eps", "attention_bias"], Windows::SWITCHED, SparseLayers::FIELDS];
    const DEFAULTS: Defaults = Defaults { context: 32_768, ..Defaults::LLAMA };
    const SHAPES: &'static [Shape] = SHAPES;

    fn read(fields: Fields<'_>, warnings: &mut Vec<String>) -> Result<Self, OpenError> {
        Ok(Self {
            rms_norm_eps: config::rms_norm_eps(fields, 1e-6)?,
            attention_bias: fields.flag("attention_bias")?.unwrap_or(false),
            hidden_act: config::activation(fields, "hidden_act", Activation::Silu)?,
            windows: Windows::switched(fields, Some(4096), Kinds::All, warnings)?,
            sparse: SparseLayers::read(fields, [128, 8], 768)?,
        })
    }

    fn specify(&self, spec: &mut ModelSpec) {
        self.windows.specify(spec);
        self.sparse.specify(spec);
    }

    fn build<P: Parameters>(&self, config: &Config, from: &mut P) -> Stack<P::Matrix, P::Vector> {
        let eps = self.rms_norm_eps;
        Stack::pre_norm(
            from,
            config.sizes(),
            eps,
            |asker| normed_projections(asker, self.attention_bias, config.head_dim, eps),
            |asker, layer| self.sparse.ask(asker, layer, self.hidden_act, None),
        )
    }
}

/// The numbers of published configs that decide speed, the smallest first.
const SHAPES: &[Shape] = &[Shape {
    name: "qwen3-30b-a3b",
    config: r#"{"model_type": "qwen3_moe", "num_hidden_layers": 48, "hidden_size": 2048, "num_attention_heads": 32,
        "num_key_value_heads": 4, "head_dim": 128, "intermediate_size": 6144, "moe_intermediate_size": 768,
        "num_experts": 128, "num_experts_per_tok": 8, "norm_topk_prob": true, "decoder_sparse_step": 1,
        "mlp_only_layers": [], "vocab_size": 151936, "max_position_embeddings": 40960, "rope_theta": 1000000.0}"#,
}];
