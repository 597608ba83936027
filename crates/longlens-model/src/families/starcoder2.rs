//! `StarCoder2`: layer norms, a plain MLP, biases in every product, and a window in every layer.
//!
//! Lozhkov et al., 2024, arXiv:2402.19173.

use longlens_core::spec::ModelSpec;
use longlens_kernel::gated::Activation;

use super::{Defaults, FamilyFile, Shape};
use crate::config::windows::{Kinds, Windows};
use crate::config::{self, Config};
use crate::error::OpenError;
use crate::fields::Fields;
use crate::layers::{Ends, Layer, Mlp, Stack};
use crate::weights::Parameters;

/// What `StarCoder2` reads beside the fields that all families share.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// What the norms add under the root.
    pub norm_epsilon: f64,
    /// Whether all products add a bias.
    pub use_bias: bool,
    /// Activation of the MLP.
    pub hidden_act: Activation,
    /// The window of all layers, if they have one.
    pub windows: Windows,
}

impl FamilyFile for Architecture {
    const TITLE: &'static str = "StarCoder2";
    const FIELDS: &'static [&'static [&'static str]] =
        &[&["norm_epsilon", "use_bias", "norm_type", "mlp_type", "activation_function"], Windows::FIELDS];
    const DEFAULTS: Defaults = Defaults { context: 4096, is_tied: true, ..Defaults::LLAMA };
    const SHAPES: &'static [Shape] = SHAPES;

    fn read(fields: Fields<'_>, _: &mut Vec<String>) -> Result<Self, OpenError> {
        for (name, only) in [("norm_type", "layer_norm"), ("mlp_type", "default")] {
            if fields.text(name)?.is_some_and(|text| text != only) {
                return Err(fields.unsupported(name, &format!("StarCoder2 models have \"{only}\"")));
            }
        }
        Ok(Self {
            norm_epsilon: fields.positive("norm_epsilon")?.unwrap_or(1e-5),
            use_bias: fields.flag("use_bias")?.unwrap_or(true),
            hidden_act: config::activation(fields, "hidden_act", Activation::GeluTanh)?,
            windows: Windows::read(fields, Kinds::All)?,
        })
    }

    fn specify(&self, spec: &mut ModelSpec) {
        self.windows.specify(spec);
    }

    fn build<P: Parameters>(&self, config: &Config, from: &mut P) -> Stack<P::Matrix, P::Vector> {
        let (eps, width, d_mlp) = (self.norm_epsilon, config.hidden_size, config.intermediate_size);
        Stack::ask(
            from,
            config.sizes(),
            Ends::default(),
            |asker, _| {
                let before_attention = asker.layer_norm("input_layernorm", eps);
                let attention = asker.projections("o_proj", [self.use_bias; 2]);
                let before_mlp = asker.layer_norm("post_attention_layernorm", eps);
                let mlp = Mlp::Plain {
                    up: asker.linear("mlp.c_fc", [d_mlp, width], self.use_bias),
                    down: asker.linear("mlp.c_proj", [width, d_mlp], self.use_bias),
                    activation: self.hidden_act,
                };
                Layer::pre_norm(before_attention, attention, before_mlp, mlp)
            },
            |asker| asker.layer_norm("model.norm", eps),
        )
    }
}

/// The numbers of published configs that decide speed, the smallest first.
const SHAPES: &[Shape] = &[Shape {
    name: "starcoder2-3b",
    config: r#"{"model_type": "starcoder2", "num_hidden_layers": 30, "hidden_size": 3072, "num_attention_heads": 24,
        "num_key_value_heads": 2, "intermediate_size": 12288, "vocab_size": 49152, "sliding_window": 4096,
        "max_position_embeddings": 16384, "rope_theta": 999999.4420358813, "norm_epsilon": 1e-5}"#,
}];
