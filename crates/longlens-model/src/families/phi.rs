//! Phi-1, Phi-1.5 and Phi-2: one layer norm feeds attention and a plain MLP, whose results are added to the stream together; biases
//! everywhere, and only a part of each head rotates.
//!
//! Li et al., 2023, arXiv:2309.05463.

use longlens_kernel::gated::Activation;

use super::{Defaults, FamilyFile, Shape};
use crate::config::{self, Config};
use crate::error::OpenError;
use crate::fields::Fields;
use crate::layers::{Ends, Layer, Mlp, Stack};
use crate::weights::Parameters;

/// What Phi reads beside the fields that all families share.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// What the norms add under the root.
    pub layer_norm_eps: f64,
    /// Activation of the MLP.
    pub hidden_act: Activation,
}

impl FamilyFile for Architecture {
    const TITLE: &'static str = "Phi";
    const FIELDS: &'static [&'static [&'static str]] = &[&["layer_norm_eps", "partial_rotary_factor"]];
    const DEFAULTS: Defaults = Defaults { partial_rotary_factor: Some(0.5), ..Defaults::LLAMA };
    const SHAPES: &'static [Shape] = SHAPES;

    fn read(fields: Fields<'_>, _: &mut Vec<String>) -> Result<Self, OpenError> {
        Ok(Self {
            layer_norm_eps: fields.positive("layer_norm_eps")?.unwrap_or(1e-5),
            hidden_act: config::activation(fields, "hidden_act", Activation::GeluTanh)?,
        })
    }

    fn build<P: Parameters>(&self, config: &Config, from: &mut P) -> Stack<P::Matrix, P::Vector> {
        let (width, d_mlp) = (config.hidden_size, config.intermediate_size);
        Stack::ask(
            from,
            config.sizes(),
            Ends { head_bias: true, ..Ends::default() },
            |asker, _| Layer {
                before_attention: Some(asker.layer_norm("input_layernorm", self.layer_norm_eps)),
                attention: asker.projections("dense", [true; 2]),
                after_attention: None,
                before_mlp: None,
                mlp: Mlp::Plain {
                    up: asker.linear("mlp.fc1", [d_mlp, width], true),
                    down: asker.linear("mlp.fc2", [width, d_mlp], true),
                    activation: self.hidden_act,
                },
                after_mlp: None,
                is_parallel: true,
                residual_scale: None,
            },
            |asker| asker.layer_norm("model.final_layernorm", self.layer_norm_eps),
        )
    }
}

/// The numbers of published configs that decide speed, the smallest first.
const SHAPES: &[Shape] = &[Shape {
    name: "phi-2",
    config: r#"{"model_type": "phi", "num_hidden_layers": 32, "hidden_size": 2560, "num_attention_heads": 32,
        "intermediate_size": 10240, "vocab_size": 51200, "partial_rotary_factor": 0.4,
        "max_position_embeddings": 2048, "rope_theta": 10000.0, "layer_norm_eps": 1e-5, "hidden_act": "gelu_new"}"#,
}];
