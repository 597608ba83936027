//! What the way back into a GGUF file needs to know of families: where fields of configs stand, and who stands in for whom.

/// Fields that some families have: in the config, in the metadata.
pub(crate) const FIELDS: &[(&str, &str)] = &[
    ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
    ("layer_norm_eps", "attention.layer_norm_epsilon"),
    ("norm_epsilon", "attention.layer_norm_epsilon"),
    ("attention_multiplier", "attention.scale"),
    ("embedding_multiplier", "embedding_scale"),
    ("residual_multiplier", "residual_scale"),
    ("logits_scaling", "logit_scale"),
    ("attn_logit_softcapping", "attn_logit_softcapping"),
    ("final_logit_softcapping", "final_logit_softcapping"),
    ("rope_local_base_freq", "rope.freq_base_swa"),
    ("sliding_window", "attention.sliding_window"),
    ("use_parallel_residual", "use_parallel_residual"),
    ("num_local_experts", "expert_count"),
    ("num_experts", "expert_count"),
    ("num_experts_per_tok", "expert_used_count"),
    ("moe_intermediate_size", "expert_feed_forward_length"),
    ("shared_expert_intermediate_size", "expert_shared_feed_forward_length"),
];

/// Those of the metadata that are never whole numbers, although configs may write them without a point.
pub(crate) const REALS: &[&str] = &[
    "attention.scale",
    "embedding_scale",
    "residual_scale",
    "logit_scale",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "rope.freq_base_swa",
];

/// A family that files have under the name of another one, which is the same but for a window.
pub(crate) struct StandIn {
    /// The other's `model_type`.
    pub model_type: &'static str,
    /// The field of the config that must be empty.
    pub window: &'static str,
}

/// Who stands in for a family, if files have no name for it.
pub(crate) fn stand_in(model_type: &str) -> Option<StandIn> {
    (model_type == "mistral").then_some(StandIn { model_type: "llama", window: "sliding_window" })
}
