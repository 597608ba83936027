//! `StableLM`: a Llama with layer norms and partial rotation; some versions add attention and MLP to the stream together.
//!
//! Bellagente et al., 2024, arXiv:2402.17834.

use longlens_kernel::gated::Activation;

use super::{Defaults, FamilyFile, Shape};
use crate::config::{self, Config};
use crate::error::OpenError;
use crate::fields::Fields;
use crate::layers::{Ends, Layer, Stack};
use crate::weights::Parameters;

/// What `StableLM` reads beside the fields that all families share.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// What the norms add under the root.
    pub layer_norm_eps: f64,
    /// Whether queries, keys and values have biases.
    pub use_qkv_bias: bool,
    /// Whether one norm feeds attention and MLP.
    pub use_parallel_residual: bool,
    /// Activation of the MLP's gate.
    pub hidden_act: Activation,
}

impl FamilyFile for Architecture {
    const TITLE: &'static str = "StableLM";
    const FIELDS: &'static [&'static [&'static str]] =
        &[&["layer_norm_eps", "partial_rotary_factor", "use_qkv_bias", "use_parallel_residual"]];
    const DEFAULTS: Defaults = Defaults { context: 4096, partial_rotary_factor: Some(0.25), ..Defaults::LLAMA };
    const SHAPES: &'static [Shape] = SHAPES;

    fn read(fields: Fields<'_>, _: &mut Vec<String>) -> Result<Self, OpenError> {
        Ok(Self {
            layer_norm_eps: fields.positive("layer_norm_eps")?.unwrap_or(1e-5),
            use_qkv_bias: fields.flag("use_qkv_bias")?.unwrap_or(false),
            use_parallel_residual: fields.flag("use_parallel_residual")?.unwrap_or(false),
            hidden_act: config::activation(fields, "hidden_act", Activation::Silu)?,
        })
    }

    fn build<P: Parameters>(&self, config: &Config, from: &mut P) -> Stack<P::Matrix, P::Vector> {
        let (eps, is_parallel) = (self.layer_norm_eps, self.use_parallel_residual);
        Stack::ask(
            from,
            config.sizes(),
            Ends::default(),
            |asker, _| Layer {
                before_attention: Some(asker.layer_norm("input_layernorm", eps)),
                attention: asker.projections("o_proj", [self.use_qkv_bias, false]),
                after_attention: None,
                before_mlp: (!is_parallel).then(|| asker.layer_norm("post_attention_layernorm", eps)),
                mlp: asker.gated("mlp", config.intermediate_size, false, self.hidden_act),
                after_mlp: None,
                is_parallel,
                residual_scale: None,
            },
            |asker| asker.layer_norm("model.norm", eps),
        )
    }
}

/// The numbers of published configs that decide speed, the smallest first.
const SHAPES: &[Shape] = &[Shape {
    name: "stablelm-2-1.6b",
    config: r#"{"model_type": "stablelm", "num_hidden_layers": 24, "hidden_size": 2048, "num_attention_heads": 32,
        "num_key_value_heads": 32, "intermediate_size": 5632, "vocab_size": 100352, "partial_rotary_factor": 0.25,
        "use_qkv_bias": true, "max_position_embeddings": 4096, "rope_theta": 10000, "layer_norm_eps": 1e-5}"#,
}];
