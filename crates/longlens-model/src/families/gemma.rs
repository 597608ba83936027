//! Gemma: a Llama with wide heads, a GELU gate, embeddings times the root of their width, and norms that multiply by one plus their
//! factor.
//!
//! Gemma Team, 2024, arXiv:2403.08295.

use longlens_kernel::gated::Activation;

use super::{Defaults, FamilyFile, Shape};
use crate::config::{self, Config};
use crate::error::OpenError;
use crate::fields::Fields;
use crate::layers::{Ends, Layer, Stack};
use crate::weights::Parameters;

/// What Gemma reads beside the fields that all families share.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// What the norms add under the root.
    pub rms_norm_eps: f64,
    /// Whether the four attention products add a bias.
    pub attention_bias: bool,
    /// Activation of the MLP's gate. The first released configs say "gelu" and mean the approximation with a hyperbolic tangent, as
    /// which transformers 5 reads it; 4.57 computed what they say.
    pub hidden_act: Activation,
}

impl FamilyFile for Architecture {
    const TITLE: &'static str = "Gemma";
    const FIELDS: &'static [&'static [&'static str]] = &[&["rms_norm_eps", "attention_bias", "hidden_activation"]];
    const DEFAULTS: Defaults = Defaults { context: 8192, head_dim: Some(256), is_tied: true, ..Defaults::LLAMA };
    const SHAPES: &'static [Shape] = SHAPES;

    fn read(fields: Fields<'_>, _: &mut Vec<String>) -> Result<Self, OpenError> {
        Ok(Self {
            rms_norm_eps: config::rms_norm_eps(fields, 1e-6)?,
            attention_bias: fields.flag("attention_bias")?.unwrap_or(false),
            hidden_act: tanh(activation(fields, "hidden_act", "hidden_activation")?),
        })
    }

    fn build<P: Parameters>(&self, config: &Config, from: &mut P) -> Stack<P::Matrix, P::Vector> {
        let (eps, width) = (self.rms_norm_eps, config.hidden_size);
        Stack::ask(
            from,
            config.sizes(),
            Ends { embedding: Some((width as f64).sqrt()), ..Ends::default() },
            |asker, _| {
                let before_attention = asker.rms_norm("input_layernorm", width, eps, 1.0);
                let attention = asker.projections("o_proj", [self.attention_bias; 2]);
                let before_mlp = asker.rms_norm("post_attention_layernorm", width, eps, 1.0);
                let mlp = asker.gated("mlp", config.intermediate_size, false, self.hidden_act);
                Layer::pre_norm(before_attention, attention, before_mlp, mlp)
            },
            |asker| asker.rms_norm("model.norm", width, eps, 1.0),
        )
    }
}

/// The activation of a gate. transformers looks at the field `read` alone; what `other` says is to be the same, or a config would
/// ask for one thing and get another.
pub(super) fn activation(fields: Fields<'_>, read: &str, other: &str) -> Result<Activation, OpenError> {
    let named = |name: &str| config::activation(fields, name, Activation::GeluTanh);
    let activation = named(read)?;
    if fields.get(other).is_some() && tanh(named(other)?) != tanh(activation) {
        return Err(fields.unsupported(other, &format!("the activation is that of `{read}`: make the two agree")));
    }
    Ok(activation)
}

/// What the first configs mean by an activation.
fn tanh(activation: Activation) -> Activation {
    if activation == Activation::Gelu { Activation::GeluTanh } else { activation }
}

/// The numbers of published configs that decide speed, the smallest first.
const SHAPES: &[Shape] = &[Shape {
    name: "gemma-2b",
    config: r#"{"model_type": "gemma", "num_hidden_layers": 18, "hidden_size": 2048, "num_attention_heads": 8,
        "num_key_value_heads": 1, "head_dim": 256, "intermediate_size": 16384, "vocab_size": 256000,
        "max_position_embeddings": 8192, "rope_theta": 10000.0, "rms_norm_eps": 1e-6}"#,
}];
