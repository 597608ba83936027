//! `SmolLM3`: a Llama that does not rotate queries and keys in every fourth layer.
//!
//! Bakouch et al., 2025, "`SmolLM3`: smol, multilingual, long-context reasoner"; layers without positions by Yang et al., 2025,
//! arXiv:2501.18795.

use longlens_core::spec::{ModelSpec, Rotation};
use longlens_kernel::gated::Activation;

use super::{Defaults, FamilyFile, Shape};
use crate::config::windows::{Kinds, Windows};
use crate::config::{self, Config};
use crate::error::OpenError;
use crate::fields::Fields;
use crate::layers::Stack;
use crate::weights::Parameters;

/// What `SmolLM3` reads beside the fields that all families share.
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
    /// Of each layer 1 where it rotates queries and keys, 0 where it does not; where the list is empty, `no_rope_layer_interval`
    /// says it.
    pub no_rope_layers: Vec<u32>,
    /// Every so many layers, one does not rotate.
    pub no_rope_layer_interval: usize,
    /// The window of the layers that `layer_types` names; of those that do not rotate, where the config has no list and switches
    /// windows on.
    pub windows: Windows,
}

impl FamilyFile for Architecture {
    const TITLE: &'static str = "SmolLM3";
    const FIELDS: &'static [&'static [&'static str]] = &[
        &["rms_norm_eps", "attention_bias", "mlp_bias", "no_rope_layers", "no_rope_layer_interval"],
        Windows::SWITCHED,
    ];
    const DEFAULTS: Defaults = Defaults { context: 32_768, rope_theta: 2e6, is_tied: true, ..Defaults::LLAMA };
    const SHAPES: &'static [Shape] = SHAPES;

    fn read(fields: Fields<'_>, warnings: &mut Vec<String>) -> Result<Self, OpenError> {
        let (no_rope_layers, n_layers) = (fields.wholes("no_rope_layers")?, fields.count("num_hidden_layers")?);
        let fits = n_layers.is_none_or(|n| n == no_rope_layers.len()) && no_rope_layers.iter().all(|flag| *flag < 2);
        if !no_rope_layers.is_empty() && !fits {
            return Err(fields.error("no_rope_layers", "a 0 or 1 for each layer"));
        }
        let no_rope_layer_interval = fields.count("no_rope_layer_interval")?.unwrap_or(4);
        let unrotated = match no_rope_layers.as_slice() {
            [] => Kinds::Every(no_rope_layer_interval),
            flags => Kinds::Listed(flags.iter().map(|rotates| *rotates == 0).collect()),
        };
        Ok(Self {
            rms_norm_eps: config::rms_norm_eps(fields, 1e-6)?,
            attention_bias: fields.flag("attention_bias")?.unwrap_or(false),
            mlp_bias: fields.flag("mlp_bias")?.unwrap_or(false),
            hidden_act: config::activation(fields, "hidden_act", Activation::Silu)?,
            no_rope_layers,
            no_rope_layer_interval,
            windows: Windows::listed_or_switched(fields, unrotated, warnings)?,
        })
    }

    fn specify(&self, spec: &mut ModelSpec) {
        self.windows.specify(spec);
        spec.layers.resize(spec.n_layers, longlens_core::spec::LayerSpec::default());
        for (at, layer) in spec.layers.iter_mut().enumerate() {
            let rotates = match self.no_rope_layers.get(at) {
                Some(flag) => *flag == 1,
                None => !(at + 1).is_multiple_of(self.no_rope_layer_interval),
            };
            layer.rotation = if rotates { Rotation::Model } else { Rotation::Off };
        }
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
const SHAPES: &[Shape] = &[Shape {
    name: "smollm3-3b",
    config: r#"{"model_type": "smollm3", "num_hidden_layers": 36, "hidden_size": 2048, "num_attention_heads": 16,
        "num_key_value_heads": 4, "intermediate_size": 11008, "vocab_size": 128256, "no_rope_layer_interval": 4,
        "max_position_embeddings": 65536, "rope_theta": 5000000.0, "rms_norm_eps": 1e-6}"#,
}];
