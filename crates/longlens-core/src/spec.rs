//! What methods and views need to know of a model: counts and positions, no tensors.

use std::ops::Range;

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
    /// What layers have of their own, one by one; empty where all are alike.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerSpec>,
    /// Factor on scores; `1 / sqrt(head_dim)` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score_scale: Option<f64>,
    /// Scores become `cap * tanh(score / cap)` (Gemma 2, arXiv:2408.00118, section 2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft_cap: Option<f64>,
}

/// What a layer has of its own.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LayerSpec {
    /// Newest keys that its queries see, their own included; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<usize>,
    /// Which frequencies rotate its queries and keys.
    #[serde(default)]
    pub rotation: Rotation,
}

/// The frequencies that rotate queries and keys.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rotation {
    /// The model's, under the RoPE scaling of the run.
    #[default]
    Model,
    /// Plain ones of this base, whatever the scaling: layers that the scaling leaves alone.
    Base(f64),
    /// None: the layer does not know positions.
    Off,
}

impl ModelSpec {
    /// Query heads that share one key head.
    pub fn n_rep(&self) -> usize {
        self.n_heads / self.n_kv_heads
    }

    /// The key heads that serve these query heads.
    pub fn kv_heads_of(&self, heads: &Range<usize>) -> Range<usize> {
        heads.start / self.n_rep()..heads.end.div_ceil(self.n_rep())
    }

    /// Numbers in a key and value cache of `n_tokens`, for all layers.
    pub fn cache_numbers(&self, n_tokens: usize) -> usize {
        2 * self.n_layers * self.n_kv_heads * self.head_dim * n_tokens
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
            layers: Vec::new(),
            score_scale: None,
            soft_cap: None,
        }
    }
}
