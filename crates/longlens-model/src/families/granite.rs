//! Granite 3: a Llama with factors on embeddings, scores, what sublayers add, and logits.
//!
//! Granite Team, IBM, 2024, "Granite 3.0 Language Models"; the factors by Yang et al., 2022, arXiv:2203.03466.

use longlens_core::spec::ModelSpec;
use longlens_kernel::gated::Activation;

use super::{Defaults, FamilyFile, Shape};
use crate::config::{self, Config};
use crate::error::OpenError;
use crate::fields::Fields;
use crate::layers::{Ends, Layer, Stack};
use crate::weights::Parameters;

/// What Granite reads beside the fields that all families share.
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
    /// Factor on embeddings.
    pub embedding_multiplier: f64,
    /// Factor on scores, in place of one over the root of the head's width.
    pub attention_multiplier: f64,
    /// Factor on what each sublayer adds to the stream.
    pub residual_multiplier: f64,
    /// Logits are divided by this.
    pub logits_scaling: f64,
}

impl FamilyFile for Architecture {
    const TITLE: &'static str = "Granite";
    const FIELDS: &'static [&'static [&'static str]] = &[&[
        "rms_norm_eps",
        "attention_bias",
        "mlp_bias",
        "embedding_multiplier",
        "attention_multiplier",
        "residual_multiplier",
        "logits_scaling",
    ]];
    const DEFAULTS: Defaults = Defaults::LLAMA;
    const SHAPES: &'static [Shape] = SHAPES;

    fn read(fields: Fields<'_>, _: &mut Vec<String>) -> Result<Self, OpenError> {
        let factor = |name: &str| fields.positive(name).map(|factor| factor.unwrap_or(1.0));
        Ok(Self {
            rms_norm_eps: config::rms_norm_eps(fields, 1e-6)?,
            attention_bias: fields.flag("attention_bias")?.unwrap_or(false),
            mlp_bias: fields.flag("mlp_bias")?.unwrap_or(false),
            hidden_act: config::activation(fields, "hidden_act", Activation::Silu)?,
            embedding_multiplier: factor("embedding_multiplier")?,
            attention_multiplier: factor("attention_multiplier")?,
            residual_multiplier: factor("residual_multiplier")?,
            logits_scaling: factor("logits_scaling")?,
        })
    }

    fn specify(&self, spec: &mut ModelSpec) {
        spec.score_scale = Some(self.attention_multiplier);
    }

    fn build<P: Parameters>(&self, config: &Config, from: &mut P) -> Stack<P::Matrix, P::Vector> {
        let eps = self.rms_norm_eps;
        Stack::ask(
            from,
            config.sizes(),
            Ends {
                embedding: Some(self.embedding_multiplier),
                logits: Some(self.logits_scaling.recip()),
                ..Ends::default()
            },
            |asker, _| {
                let layer = asker.pre_norm(
                    eps,
                    |asker| asker.projections("o_proj", [self.attention_bias; 2]),
                    |asker| asker.gated("mlp", config.intermediate_size, self.mlp_bias, self.hidden_act),
                );
                Layer { residual_scale: Some(self.residual_multiplier), ..layer }
            },
            |asker| asker.rms_norm("model.norm", config.hidden_size, eps, 0.0),
        )
    }
}

/// The numbers of published configs that decide speed, the smallest first.
const SHAPES: &[Shape] = &[Shape {
    name: "granite-3.1-2b",
    config: r#"{"model_type": "granite", "num_hidden_layers": 40, "hidden_size": 2048, "num_attention_heads": 32,
        "num_key_value_heads": 8, "intermediate_size": 8192, "vocab_size": 49155, "embedding_multiplier": 12.0,
        "attention_multiplier": 0.015625, "residual_multiplier": 0.22, "logits_scaling": 8.0,
        "max_position_embeddings": 131072, "rope_theta": 5000000.0, "rms_norm_eps": 1e-5, "tie_word_embeddings": true}"#,
}];
