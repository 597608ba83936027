//! Mixtral: a Mistral with eight MLPs in each layer, two of which a router chooses for every token.
//!
//! Jiang et al., 2024, arXiv:2401.04088.

use longlens_core::spec::ModelSpec;
use longlens_kernel::gated::Activation;

use super::{Defaults, FamilyFile, Shape};
use crate::config::windows::{Kinds, Windows};
use crate::config::{self, Config};
use crate::error::OpenError;
use crate::fields::Fields;
use crate::layers::{Mlp, Stack};
use crate::weights::Parameters;

/// What Mixtral reads beside the fields that all families share.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// What the norms add under the root.
    pub rms_norm_eps: f64,
    /// Activation of the experts' gates.
    pub hidden_act: Activation,
    /// The window of all layers, if they have one.
    pub windows: Windows,
    /// Experts of a layer.
    pub num_local_experts: usize,
    /// Experts that a token uses.
    pub num_experts_per_tok: usize,
}

impl FamilyFile for Architecture {
    const TITLE: &'static str = "Mixtral";
    const FIELDS: &'static [&'static [&'static str]] = &[
        &["rms_norm_eps", "num_local_experts", "num_experts", "num_experts_per_tok"],
        Windows::FIELDS,
        &["router_jitter_noise"], // of training
    ];
    const DEFAULTS: Defaults = Defaults { context: 131_072, rope_theta: 1e6, ..Defaults::LLAMA };
    const SHAPES: &'static [Shape] = SHAPES;

    fn read(fields: Fields<'_>, _: &mut Vec<String>) -> Result<Self, OpenError> {
        let (num_local_experts, num_experts_per_tok) =
            config::experts(fields, &["num_local_experts", "num_experts"], [8, 2])?;
        Ok(Self {
            rms_norm_eps: config::rms_norm_eps(fields, 1e-5)?,
            hidden_act: config::activation(fields, "hidden_act", Activation::Silu)?,
            windows: Windows::read(fields, Kinds::All)?,
            num_local_experts,
            num_experts_per_tok,
        })
    }

    fn specify(&self, spec: &mut ModelSpec) {
        self.windows.specify(spec);
        spec.d_mlp *= self.num_experts_per_tok;
    }

    fn build<P: Parameters>(&self, config: &Config, from: &mut P) -> Stack<P::Matrix, P::Vector> {
        let eps = self.rms_norm_eps;
        let counts = [self.num_local_experts, self.num_experts_per_tok];
        Stack::pre_norm(
            from,
            config.sizes(),
            eps,
            |asker| asker.projections("o_proj", [false; 2]),
            |asker, _| {
                let (names, d_mlp) = (["w1", "w3", "w2"], config.intermediate_size);
                Mlp::Experts(asker.mixture("block_sparse_moe", names, d_mlp, counts, self.hidden_act))
            },
        )
    }
}

/// The numbers of published configs that decide speed, the smallest first.
const SHAPES: &[Shape] = &[Shape {
    name: "mixtral-8x7b",
    config: r#"{"model_type": "mixtral", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
        "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 32000, "num_local_experts": 8,
        "num_experts_per_tok": 2, "max_position_embeddings": 32768, "rope_theta": 1000000.0, "rms_norm_eps": 1e-5}"#,
}];
