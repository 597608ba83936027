//! Llama: RMSNorm, rotary attention with grouped keys, SwiGLU.
//!
//! Touvron et al., 2023, arXiv:2302.13971 and arXiv:2307.09288; grouped keys by Ainslie et al., 2023, arXiv:2305.13245.

use longlens_kernel::gated::Activation;

use super::{Defaults, FamilyFile, Shape};
use crate::config::{self, Config};
use crate::error::OpenError;
use crate::fields::Fields;
use crate::layers::Stack;
use crate::weights::Parameters;

/// What Llama reads beside the fields that all families share.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// What the norms add under the root.
    pub rms_norm_eps: f64,
    /// Whether the four attention products add a bias.
    pub attention_bias: bool,
    /// Whether the three MLP products add a bias.
    pub mlp_bias: bool,
    /// Activation of the MLP's gate.
    pub hidden_act: Activation,
}

impl FamilyFile for Architecture {
    const TITLE: &'static str = "Llama";
    const FIELDS: &'static [&'static [&'static str]] = &[&["rms_norm_eps", "attention_bias", "mlp_bias"]];
    const DEFAULTS: Defaults = Defaults::LLAMA;
    const SHAPES: &'static [Shape] = SHAPES;

    fn read(fields: Fields<'_>, _: &mut Vec<String>) -> Result<Self, OpenError> {
        Ok(Self {
            rms_norm_eps: config::rms_norm_eps(fields, 1e-6)?,
            attention_bias: fields.flag("attention_bias")?.unwrap_or(false),
            mlp_bias: fields.flag("mlp_bias")?.unwrap_or(false),
            hidden_act: config::activation(fields, "hidden_act", Activation::Silu)?,
        })
    }

    fn build<P: Parameters>(&self, config: &Config, from: &mut P) -> Stack<P::Matrix, P::Vector> {
        let eps = self.rms_norm_eps;
        Stack::pre_norm(
            from,
            config.sizes(),
            eps,
            |asker| asker.projections("o_proj", [self.attention_bias; 2]),
            |asker, _| asker.gated("mlp", config.intermediate_size, self.mlp_bias, self.hidden_act),
        )
    }
}

/// The numbers of published configs that decide speed, the smallest first.
const SHAPES: &[Shape] = &[
    Shape {
        name: "tiny",
        config: r#"{"model_type": "llama", "num_hidden_layers": 4, "hidden_size": 128, "num_attention_heads": 4,
            "num_key_value_heads": 4, "head_dim": 32, "intermediate_size": 256, "vocab_size": 1024,
            "max_position_embeddings": 256, "rope_theta": 3000.0, "tie_word_embeddings": true, "rms_norm_eps": 1e-5}"#,
    },
    Shape {
        name: "1b-like",
        config: r#"{"model_type": "llama", "num_hidden_layers": 16, "hidden_size": 2048, "num_attention_heads": 32,
            "num_key_value_heads": 8, "head_dim": 64, "intermediate_size": 8192, "vocab_size": 32000,
            "max_position_embeddings": 8192, "rope_theta": 500000.0, "rms_norm_eps": 1e-5}"#,
    },
    Shape {
        name: "llama2-7b",
        config: r#"{"model_type": "llama", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
            "num_key_value_heads": 32, "head_dim": 128, "intermediate_size": 11008, "vocab_size": 32000,
            "max_position_embeddings": 4096, "rope_theta": 10000.0, "rms_norm_eps": 1e-5}"#,
    },
    Shape {
        name: "llama3-8b",
        config: r#"{"model_type": "llama", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
            "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 14336, "vocab_size": 128256,
            "max_position_embeddings": 8192, "rope_theta": 500000.0, "rms_norm_eps": 1e-5}"#,
    },
];
