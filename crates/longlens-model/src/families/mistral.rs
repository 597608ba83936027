//! Mistral: a Llama whose queries may see a window of the newest keys alone, and whose heads may be wider or narrower than their share
//! of the stream (Nemo).
//!
//! Jiang et al., 2023, arXiv:2310.06825.

use longlens_core::spec::ModelSpec;
use longlens_kernel::gated::Activation;

use super::{Defaults, FamilyFile, Shape};
use crate::config::windows::{Kinds, Windows};
use crate::config::{self, Config};
use crate::error::OpenError;
use crate::fields::Fields;
use crate::layers::Stack;
use crate::weights::Parameters;

/// What Mistral reads beside the fields that all families share.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// What the norms add under the root.
    pub rms_norm_eps: f64,
    /// Activation of the MLP's gate.
    pub hidden_act: Activation,
    /// The window of all layers, if they have one.
    pub windows: Windows,
}

impl FamilyFile for Architecture {
    const TITLE: &'static str = "Mistral";
    const FIELDS: &'static [&'static [&'static str]] = &[&["rms_norm_eps"], Windows::FIELDS];
    const DEFAULTS: Defaults = Defaults { context: 131_072, ..Defaults::LLAMA };
    const SHAPES: &'static [Shape] = SHAPES;

    fn read(fields: Fields<'_>, _: &mut Vec<String>) -> Result<Self, OpenError> {
        Ok(Self {
            rms_norm_eps: config::rms_norm_eps(fields, 1e-6)?,
            hidden_act: config::activation(fields, "hidden_act", Activation::Silu)?,
            // transformers gives one to a config that does not name the field
            windows: Windows::read_or(fields, Some(4096), Kinds::All)?,
        })
    }

    fn specify(&self, spec: &mut ModelSpec) {
        self.windows.specify(spec);
    }

    fn build<P: Parameters>(&self, config: &Config, from: &mut P) -> Stack<P::Matrix, P::Vector> {
        let eps = self.rms_norm_eps;
        Stack::pre_norm(
            from,
            config.sizes(),
            eps,
            |asker| asker.projections("o_proj", [false; 2]),
            |asker, _| asker.gated("mlp", config.intermediate_size, false, self.hidden_act),
        )
    }
}

/// The numbers of published configs that decide speed, the smallest first.
const SHAPES: &[Shape] = &[Shape {
    name: "mistral-7b",
    config: r#"{"model_type": "mistral", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
        "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 14336, "vocab_size": 32000,
        "max_position_embeddings": 32768, "sliding_window": 4096, "rope_theta": 10000.0, "rms_norm_eps": 1e-5}"#,
}];
