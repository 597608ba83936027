//! Gemma 3 for text: five layers with a window and a RoPE base of their own for each one that sees everything, and norms of every head
//! of queries and keys.
//!
//! Gemma Team, 2025, arXiv:2503.19786.

use longlens_core::spec::ModelSpec;
use longlens_kernel::gated::Activation;

use super::{Defaults, FamilyFile, Shape};
use crate::config::windows::{Kinds, Windows};
use crate::config::{self, Config};
use crate::error::OpenError;
use crate::families::gemma::activation;
use crate::families::gemma2::{GemmaScores, sandwich};
use crate::fields::Fields;
use crate::layers::{Asker, Ends, Projections, Stack};
use crate::weights::Parameters;

/// What Gemma 3 reads beside the fields that all families share.
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
    /// The window of all layers but every sixth, with the base that rotates them.
    pub windows: Windows,
}

impl FamilyFile for Architecture {
    const TITLE: &'static str = "Gemma 3";
    const FIELDS: &'static [&'static [&'static str]] = &[
        &["rms_norm_eps", "attention_bias", "hidden_activation", config::LOCAL_ROPE],
        GemmaScores::FIELDS,
        Windows::FIELDS,
        &["sliding_window_pattern", "_sliding_window_pattern"],
    ];
    const DEFAULTS: Defaults = Defaults {
        context: 131_072,
        head_dim: Some(256),
        rope_theta: 1e6,
        is_tied: true,
        context_is_scaled: true,
        ..Defaults::LLAMA
    };
    const SHAPES: &'static [Shape] = SHAPES;

    fn read(fields: Fields<'_>, _: &mut Vec<String>) -> Result<Self, OpenError> {
        let pattern = fields.count("sliding_window_pattern")?.or(fields.count("_sliding_window_pattern")?).unwrap_or(6);
        let local_theta = config::local_rope_theta(fields)?.unwrap_or(10_000.0);
        Ok(Self {
            rms_norm_eps: config::rms_norm_eps(fields, 1e-6)?,
            attention_bias: fields.flag("attention_bias")?.unwrap_or(false),
            hidden_activation: activation(fields, "hidden_activation", "hidden_act")?,
            scores: GemmaScores::read(fields, [None; 2])?,
            windows: Windows::read_or(fields, Some(4096), Kinds::AllButEvery(pattern))?.rotated_by(local_theta),
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
                let attention = |asker: &mut Asker<'_, P>| {
                    let projections = asker.projections("o_proj", [self.attention_bias; 2]);
                    Projections { qk_norm: Some(asker.qk_norm([config.head_dim; 2], eps, 1.0)), ..projections }
                };
                sandwich(asker, eps, attention, self.hidden_activation)
            },
            |asker| asker.rms_norm("model.norm", width, eps, 1.0),
        )
    }
}

/// The numbers of published configs that decide speed, the smallest first.
const SHAPES: &[Shape] = &[Shape {
    name: "gemma3-1b",
    config: r#"{"model_type": "gemma3_text", "num_hidden_layers": 26, "hidden_size": 1152, "num_attention_heads": 4,
        "num_key_value_heads": 1, "head_dim": 256, "intermediate_size": 6912, "vocab_size": 262144,
        "query_pre_attn_scalar": 256, "sliding_window": 512, "sliding_window_pattern": 6, "rope_local_base_freq": 10000.0,
        "max_position_embeddings": 32768, "rope_theta": 1000000.0, "rms_norm_eps": 1e-6}"#,
}];
