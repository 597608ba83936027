//! Qwen3: a Llama that normalizes every head of queries and keys before it rotates them.
//!
//! Yang et al., 2025, arXiv:2505.09388; the norm by Henry et al., 2020, arXiv:2010.04245.

use longlens_core::spec::ModelSpec;
use longlens_kernel::gated::Activation;

use super::{Defaults, FamilyFile, Shape};
use crate::config::windows::Windows;
use crate::config::{self, Config};
use crate::error::OpenError;
use crate::fields::Fields;
use crate::layers::{Asker, Projections, Stack};
use crate::weights::Parameters;

/// What Qwen3 reads beside the fields that all families share.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// What the norms add under the root.
    pub rms_norm_eps: f64,
    /// Whether the four attention products add a bias.
    pub attention_bias: bool,
    /// Activation of the MLP's gate.
    pub hidden_act: Activation,
    /// Windows of the upper layers, where the config switches them on.
    pub windows: Windows,
}

impl FamilyFile for Architecture {
    const TITLE: &'static str = "Qwen3";
    const FIELDS: &'static [&'static [&'static str]] = &[&["rms_norm_eps", "attention_bias"], Windows::SWITCHED];
    const DEFAULTS: Defaults = Defaults { context: 32_768, head_dim: Some(128), ..Defaults::LLAMA };
    const SHAPES: &'static [Shape] = SHAPES;

    fn read(fields: Fields<'_>, warnings: &mut Vec<String>) -> Result<Self, OpenError> {
        Ok(Self {
            rms_norm_eps: config::rms_norm_eps(fields, 1e-6)?,
            attention_bias: fields.flag("attention_bias")?.unwrap_or(false),
            hidden_act: config::activation(fields, "hidden_act", Activation::Silu)?,
            windows: Windows::of_upper_layers(fields, warnings)?,
        })
    }

    fn specify(&self, spec: &mut ModelSpec) {
        self.windows.specify(spec);
    }

    fn build<P: Parameters>(&self, config: &Config, from: &mut P) -> Stack<P::Matrix, P::Vector> {
        let eps = self.rms_norm_eps;
        Stack::pre_norm(
            from,
            config.sizes(),
            eps,
            |asker| normed_projections(asker, self.attention_bias, config.head_dim, eps),
            |asker, _| asker.gated("mlp", config.intermediate_size, false, self.hidden_act),
        )
    }
}

/// Projections with a norm of every head of queries and keys.
pub(super) fn normed_projections<P: Parameters>(
    asker: &mut Asker<'_, P>,
    bias: bool,
    head_dim: usize,
    eps: f64,
) -> Projections<P::Matrix, P::Vector> {
    let projections = asker.projections("o_proj", [bias; 2]);
    let qk_norm = asker.qk_norm([head_dim; 2], eps, 0.0);
    Projections { qk_norm: Some(qk_norm), ..projections }
}

/// The numbers of published configs that decide speed, the smallest first.
const SHAPES: &[Shape] = &[
    Shape {
        name: "qwen3-0.6b",
        config: r#"{"model_type": "qwen3", "num_hidden_layers": 28, "hidden_size": 1024, "num_attention_heads": 16,
            "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 3072, "vocab_size": 151936,
            "max_position_embeddings": 40960, "rope_theta": 1000000.0, "tie_word_embeddings": true}"#,
    },
    Shape {
        name: "qwen3-8b",
        config: r#"{"model_type": "qwen3", "num_hidden_layers": 36, "hidden_size": 4096, "num_attention_heads": 32,
            "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 12288, "vocab_size": 151936,
            "max_position_embeddings": 40960, "rope_theta": 1000000.0}"#,
    },
];
