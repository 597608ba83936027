//! `OLMo` 2: norms after each sublayer in place of before it, and norms of all queries and of all keys of a token together.
//!
//! `OLMo` Team, 2025, arXiv:2501.00656.

use longlens_kernel::gated::Activation;

use super::{Defaults, FamilyFile, Shape};
use crate::config::{self, Config};
use crate::error::OpenError;
use crate::fields::Fields;
use crate::layers::{Ends, Layer, Projections, Stack};
use crate::weights::Parameters;

/// What `OLMo` 2 reads beside the fields that all families share.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// What the norms add under the root.
    pub rms_norm_eps: f64,
    /// Whether the four attention products add a bias.
    pub attention_bias: bool,
    /// Activation of the MLP's gate.
    pub hidden_act: Activation,
}

impl FamilyFile for Architecture {
    const TITLE: &'static str = "OLMo 2";
    const FIELDS: &'static [&'static [&'static str]] = &[&["rms_norm_eps", "attention_bias"]];
    const DEFAULTS: Defaults = Defaults::LLAMA;
    const SHAPES: &'static [Shape] = SHAPES;

    fn read(fields: Fields<'_>, _: &mut Vec<String>) -> Result<Self, OpenError> {
        Ok(Self {
            rms_norm_eps: config::rms_norm_eps(fields, 1e-5)?,
            attention_bias: fields.flag("attention_bias")?.unwrap_or(false),
            hidden_act: config::activation(fields, "hidden_act", Activation::Silu)?,
        })
    }

    fn build<P: Parameters>(&self, config: &Config, from: &mut P) -> Stack<P::Matrix, P::Vector> {
        let (eps, width) = (self.rms_norm_eps, config.hidden_size);
        Stack::ask(
            from,
            config.sizes(),
            Ends::default(),
            |asker, _| {
                let projections = asker.projections("o_proj", [self.attention_bias; 2]);
                let qk_norm = Some(asker.qk_norm(config.head_widths(), eps, 0.0));
                Layer {
                    before_attention: None,
                    attention: Projections { qk_norm, ..projections },
                    after_attention: Some(asker.rms_norm("post_attention_layernorm", width, eps, 0.0)),
                    before_mlp: None,
                    mlp: asker.gated("mlp", config.intermediate_size, false, self.hidden_act),
                    after_mlp: Some(asker.rms_norm("post_feedforward_layernorm", width, eps, 0.0)),
                    is_parallel: false,
                    residual_scale: None,
                }
            },
            |asker| asker.rms_norm("model.norm", width, eps, 0.0),
        )
    }
}

/// The numbers of published configs that decide speed, the smallest first.
const SHAPES: &[Shape] = &[Shape {
    name: "olmo2-7b",
    config: r#"{"model_type": "olmo2", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
        "num_key_value_heads": 32, "intermediate_size": 11008, "vocab_size": 100352,
        "max_position_embeddings": 4096, "rope_theta": 500000.0, "rms_norm_eps": 1e-6}"#,
}];
