//! What methods and views need to know of a model: counts and positions, no tensors.

use serde::{Deserialize, Serialize};

use crate::rope::RopeScaling;

/// The numbers of a checkpoint that decide positions, shapes and memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelSpec {
    /// Longest context the model was trained for (`max_position_embeddings`).
    pub trained_context: usize,
    /// Decoder layers.
    pub n_layers: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads.
    pub n_kv_heads: usize,
    /// Dimensions of one head.
    pub head_dim: usize,
    /// Dimensions of a head that rotate.
    pub rotary_dim: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Width of the MLP.
    pub d_mlp: usize,
    /// Tokens in the vocabulary.
    pub vocab_size: usize,
    /// Numbers in the matrices that a token meets in all layers: of experts, those it uses.
    pub layer_weights: usize,
    /// Numbers in the matrix that gives logits.
    pub output_weights: usize,
    /// RoPE base.
    pub rope_theta: f64,
    /// The RoPE scaling of the checkpoint itself.
    pub rope: RopeScaling,
    /// Trained context before the checkpoint's own scaling (`original_max_position_embeddings`), else the same.
    pub original_context: usize,
}

impl ModelSpec {
    /// Query heads that share one key head.
    pub fn n_rep(&self) -> usize {
        self.n_heads / self.n_kv_heads
    }

    /// Bytes of a key and value cache of `n_tokens`, for all layers.
    pub fn cache_bytes(&self, n_tokens: usize, bytes_per_number: usize) -> usize {
        2 * self.n_layers * self.n_kv_heads * self.head_dim * n_tokens * bytes_per_number
    }

    /// A small model for tests and pictures: 2 layers of 4 heads, trained on `trained_context` tokens.
    pub fn tiny(trained_context: usize) -> Self {
        Self {
            trained_context,
            n_layers: 2,
            n_heads: 4,
            n_kv_heads: 4,
            head_dim: 16,
            rotary_dim: 16,
            d_model: 64,
            d_mlp: 128,
            vocab_size: 256,
            layer_weights: 2 * 64 * (4 * 64 + 3 * 128),
            output_weights: 256 * 64,
            rope_theta: 10_000.0,
            rope: RopeScaling::none(),
            original_context: trained_context,
        }
    }
}
