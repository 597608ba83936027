//! Phi-3, Phi-3.5 and Phi-4: a Llama with fused projections; long versions scale each frequency by factors of their own, and Phi-4-mini
//! rotates a part of each head.
//!
//! Abdin et al., 2024, arXiv:2404.14219; scaling by Ding et al., 2024, arXiv:2402.13753.

use longlens_core::spec::ModelSpec;
use longlens_kernel::gated::Activation;

use super::{Defaults, FamilyFile, Shape};
use crate::config::windows::{Kinds, Windows};
use crate::config::{self, Config};
use crate::error::OpenError;
use crate::fields::Fields;
use crate::layers::{Mlp, Projections, Stack};
use crate::weights::Parameters;

/// What Phi-3 reads beside the fields that all families share.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// What the norms add under the root.
    pub rms_norm_eps: f64,
    /// Activation of the MLP's gate.
    pub hidden_act: Activation,
    /// The window of all layers, if they have one.
    pub windows: Windows,
}

impl FamilyFile for Architecture {
    const TITLE: &'static str = "Phi-3";
    const FIELDS: &'static [&'static [&'static str]] = &[&["rms_norm_eps", "partial_rotary_factor"], Windows::FIELDS];
    const DEFAULTS: Defaults = Defaults { context: 4096, partial_rotary_factor: Some(1.0), ..Defaults::LLAMA };
    const SHAPES: &'static [Shape] = SHAPES;

    fn read(fields: Fields<'_>, _: &mut Vec<String>) -> Result<Self, OpenError> {
        Ok(Self {
            rms_norm_eps: config::rms_norm_eps(fields, 1e-5)?,
            hidden_act: config::activation(fields, "hidden_act", Activation::Silu)?,
            windows: Windows::read(fields, Kinds::All)?,
        })
    }

    fn specify(&self, spec: &mut ModelSpec) {
        self.windows.specify(spec);
    }

    fn build<P: Parameters>(&self, config: &Config, from: &mut P) -> Stack<P::Matrix, P::Vector> {
        let (eps, width, d_mlp) = (self.rms_norm_eps, config.hidden_size, config.intermediate_size);
        let [query, key] = config.head_widths();
        Stack::pre_norm(
            from,
            config.sizes(),
            eps,
            |asker| {
                let mut qkv = |rows, first| asker.part("self_attn.qkv_proj", [rows, width], query + 2 * key, first);
                let qkv = [qkv(query, 0), qkv(key, query), qkv(key, query + key)];
                Projections { qkv, out: asker.linear("self_attn.o_proj", [width, query], false), qk_norm: None }
            },
            |asker, _| {
                let mut half = |first| asker.part("mlp.gate_up_proj", [d_mlp, width], 2 * d_mlp, first);
                let [gate, up] = [half(0), half(d_mlp)];
                let down = asker.linear("mlp.down_proj", [width, d_mlp], false);
                Mlp::Gated { gate, up, down, activation: self.hidden_act }
            },
        )
    }
}

/// The numbers of published configs that decide speed, the smallest first.
const SHAPES: &[Shape] = &[
    Shape {
        name: "phi-3-mini",
        config: r#"{"model_type": "phi3", "num_hidden_layers": 32, "hidden_size": 3072, "num_attention_heads": 32,
            "num_key_value_heads": 32, "intermediate_size": 8192, "vocab_size": 32064, "sliding_window": 2047,
            "max_position_embeddings": 4096, "rope_theta": 10000.0, "rms_norm_eps": 1e-5}"#,
    },
    Shape {
        name: "phi-4-mini",
        config: r#"{"model_type": "phi3", "num_hidden_layers": 32, "hidden_size": 3072, "num_attention_heads": 24,
            "num_key_value_heads": 8, "intermediate_size": 8192, "vocab_size": 200064, "partial_rotary_factor": 0.75,
            "max_position_embeddings": 4096, "rope_theta": 10000.0, "rms_norm_eps": 1e-5, "tie_word_embeddings": true}"#,
    },
];
