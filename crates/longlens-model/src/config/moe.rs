//! Layers with experts among layers without, as some mixtures have them.

use longlens_core::spec::ModelSpec;
use longlens_kernel::gated::Activation;

use crate::config;
use crate::error::OpenError;
use crate::fields::Fields;
use crate::layers::{Asker, Experts, Mlp, SharedExpert};
use crate::weights::Parameters;

/// Which layers have experts, and of what size.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseLayers {
    /// Experts of a layer.
    pub num_experts: usize,
    /// Experts that a token uses.
    pub num_experts_per_tok: usize,
    /// Whether the weights of those are brought to the sum 1.
    pub norm_topk_prob: bool,
    /// Width of one expert.
    pub moe_intermediate_size: usize,
    /// Layers without experts.
    pub mlp_only_layers: Vec<u32>,
    /// Layer `l` has experts where this divides `l + 1`.
    pub decoder_sparse_step: usize,
}

impl SparseLayers {
    /// Fields that are read.
    pub(crate) const FIELDS: &[&str] = &[
        "num_experts",
        "num_local_experts",
        "num_experts_per_tok",
        "norm_topk_prob",
        "moe_intermediate_size",
        "mlp_only_layers",
        "decoder_sparse_step",
    ];

    /// `counts`: experts, and those that a token uses, where the config does not say; `width` likewise of one expert.
    pub(crate) fn read(fields: Fields<'_>, counts: [usize; 2], width: usize) -> Result<Self, OpenError> {
        let (num_experts, num_experts_per_tok) =
            config::experts(fields, &["num_experts", "num_local_experts"], counts)?;
        Ok(Self {
            num_experts,
            num_experts_per_tok,
            norm_topk_prob: fields.flag("norm_topk_prob")?.unwrap_or(false),
            moe_intermediate_size: fields.count("moe_intermediate_size")?.unwrap_or(width),
            mlp_only_layers: fields.wholes("mlp_only_layers")?,
            decoder_sparse_step: fields.count("decoder_sparse_step")?.unwrap_or(1),
        })
    }

    fn has(&self, layer: usize) -> bool {
        !self.mlp_only_layers.contains(&(layer as u32)) && (layer + 1).is_multiple_of(self.decoder_sparse_step)
    }

    /// The width of the MLP that a token meets at most.
    pub fn specify(&self, spec: &mut ModelSpec) {
        let of_experts = self.num_experts_per_tok * self.moe_intermediate_size;
        let (sparse, dense): (Vec<_>, Vec<_>) = (0..spec.n_layers).partition(|layer| self.has(*layer));
        let widths = [(!sparse.is_empty()).then_some(of_experts), (!dense.is_empty()).then_some(spec.d_mlp)];
        spec.d_mlp = widths.into_iter().flatten().max().unwrap_or(spec.d_mlp);
    }

    /// Asks for the MLP of a layer; `shared` is the width of an expert that all tokens use.
    pub(crate) fn ask<P: Parameters>(
        &self,
        asker: &mut Asker<'_, P>,
        layer: usize,
        activation: Activation,
        shared: Option<usize>,
    ) -> Mlp<P::Matrix> {
        const NAMES: [&str; 3] = ["gate_proj", "up_proj", "down_proj"];
        let d_model = asker.sizes.hidden_size;
        if !self.has(layer) {
            return asker.gated("mlp", asker.sizes.intermediate_size, false, activation);
        }
        let counts = [self.num_experts, self.num_experts_per_tok];
        let experts = asker.mixture("mlp", NAMES, self.moe_intermediate_size, counts, activation);
        let shared = shared.map(|width| {
            let score = asker.linear("mlp.shared_expert_gate", [1, d_model], false);
            let [gate, up, down] = asker.gate_up_down("mlp.shared_expert", NAMES, width, false);
            SharedExpert { score, gate, up, down }
        });
        Mlp::Experts(Experts { is_normalized: self.norm_topk_prob, shared, ..experts })
    }
}
