//! Gemma 2: norms before and after each sublayer, bounded scores and logits, a score scale of its own, and a window in every other layer.
//!
//! Gemma Team, 2024, arXiv:2408.00118.

use longlens_core::spec::ModelSpec;
use longlens_kernel::gated::Activation;

use super::{Defaults, FamilyFile, Shape};
use crate::config::windows::{Kinds, Windows};
use crate::config::{self, Config};
use crate::error::OpenError;
use crate::families::gemma::activation;
use crate::fields::Fields;
use crate::layers::{Asker, Ends, Layer, Projections, Stack};
use crate::weights::Parameters;

/// What Gemma 2 reads beside the fields that all families share.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// What the norms add under the root.
    pub rms_norm_eps: f64,
    /// Whether the four attention products add a bias.
    pub attention_bias: bool,
    /// Activation of the MLP's gate.
    pub hidden_activation: Activation,
    /// Factor and bounds of scores and logits.
    pub scores: GemmaScores,
    /// The window of every other layer, from the first on.
    pub windows: Windows,
}

/// What Gemma 2 and 3 do to scores and logits.
#[derive(Debug, Clone, PartialEq)]
pub struct GemmaScores {
    /// Scores are divided by the root of this.
    pub query_pre_attn_scalar: f64,
    /// Bound of scores.
    pub attn_logit_softcapping: Option<f64>,
    /// Bound of logits.
    pub final_logit_softcapping: Option<f64>,
}

impl GemmaScores {
    /// Fields that are read.
    pub(super) const FIELDS: &[&str] = &["query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping"];

    /// `bounds`: of scores and of logits, where the config does not name them; null is none.
    pub(super) fn read(fields: Fields<'_>, bounds: [Option<f64>; 2]) -> Result<Self, OpenError> {
        let bound = |name: &str, default| if fields.has(name) { fields.positive(name) } else { Ok(default) };
        Ok(Self {
            query_pre_attn_scalar: fields.positive("query_pre_attn_scalar")?.unwrap_or(256.0),
            attn_logit_softcapping: bound("attn_logit_softcapping", bounds[0])?,
            final_logit_softcapping: bound("final_logit_softcapping", bounds[1])?,
        })
    }

    /// Puts what is done to scores into the spec.
    pub(super) fn specify(&self, spec: &mut ModelSpec) {
        spec.score_scale = Some(self.query_pre_attn_scalar.sqrt().recip());
        spec.soft_cap = self.attn_logit_softcapping;
    }
}

impl FamilyFile for Architecture {
    const TITLE: &'static str = "Gemma 2";
    const FIELDS: &'static [&'static [&'static str]] = &[
        &["rms_norm_eps", "attention_bias", "hidden_activation"],
        GemmaScores::FIELDS,
        Windows::FIELDS,
        &["sliding_window_size"], // an older name, beside the newer one
    ];
    const DEFAULTS: Defaults = Defaults { context: 8192, head_dim: Some(256), is_tied: true, ..Defaults::LLAMA };
    const SHAPES: &'static [Shape] = SHAPES;

    fn read(fields: Fields<'_>, _: &mut Vec<String>) -> Result<Self, OpenError> {
        Ok(Self {
            rms_norm_eps: config::rms_norm_eps(fields, 1e-6)?,
            attention_bias: fields.flag("attention_bias")?.unwrap_or(false),
            hidden_activation: activation(fields, "hidden_activation", "hidden_act")?,
            scores: GemmaScores::read(fields, [Some(50.0), Some(30.0)])?,
            windows: Windows::read_or(fields, Some(4096), Kinds::AllButEvery(2))?,
        })
    }

    fn specify(&self, spec: &mut ModelSpec) {
        self.windows.specify(spec);
        self.scores.specify(spec);
    }

    fn build<P: Parameters>(&self, config: &Config, from: &mut P) -> Stack<P::Matrix, P::Vector> {
        let (eps, width) = (self.rms_norm_eps, config.hidden_size);
        let ends = Ends {
            embedding: Some((width as f64).sqrt()),
            logits_cap: self.scores.final_logit_softcapping,
            ..Ends::default()
        };
        Stack::ask(
            from,
            config.sizes(),
            ends,
            |asker, _| {
                let attention = |asker: &mut Asker<'_, P>| asker.projections("o_proj", [self.attention_bias; 2]);
                sandwich(asker, eps, attention, self.hidden_activation)
            },
            |asker| asker.rms_norm("model.norm", width, eps, 1.0),
        )
    }
}

/// A layer with norms before and after each sublayer.
pub(super) fn sandwich<P: Parameters>(
    asker: &mut Asker<'_, P>,
    eps: f64,
    attention: impl FnOnce(&mut Asker<'_, P>) -> Projections<P::Matrix, P::Vector>,
    activation: Activation,
) -> Layer<P::Matrix, P::Vector> {
    let (width, d_mlp) = (asker.sizes.hidden_size, asker.sizes.intermediate_size);
    Layer {
        before_attention: Some(asker.rms_norm("input_layernorm", width, eps, 1.0)),
        attention: attention(asker),
        after_attention: Some(asker.rms_norm("post_attention_layernorm", width, eps, 1.0)),
        before_mlp: Some(asker.rms_norm("pre_feedforward_layernorm", width, eps, 1.0)),
        mlp: asker.gated("mlp", d_mlp, false, activation),
        after_mlp: Some(asker.rms_norm("post_feedforward_layernorm", width, eps, 1.0)),
        is_parallel: false,
        residual_scale: None,
    }
}

/// The numbers of published configs that decide speed, the smallest first.
const SHAPES: &[Shape] = &[Shape {
    name: "gemma2-2b",
    config: r#"{"model_type": "gemma2", "num_hidden_layers": 26, "hidden_size": 2304, "num_attention_heads": 8,
        "num_key_value_heads": 4, "head_dim": 256, "intermediate_size": 9216, "vocab_size": 256000,
        "query_pre_attn_scalar": 256, "sliding_window": 4096, "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0, "max_position_embeddings": 8192, "rms_norm_eps": 1e-6}"#,
}];
