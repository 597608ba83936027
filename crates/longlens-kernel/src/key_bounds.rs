//! The least and the greatest rotated key of every dimension of a chunk, which bound what any of its keys can score (Tang et
//! al., 2024, arXiv:2406.10774, section 3.2).
//!
//! `sum_d max(q_d min_d, q_d max_d) = max(q, 0) · max + min(q, 0) · min`: one product of twice the width, so that the same
//! kernel chooses by bounds and by summaries.

use burn_tensor::Tensor;

use crate::rotary::Rotary;
use crate::{Kernels, in_f32};

#[cfg(feature = "flex")]
pub mod cpu;
#[cfg(feature = "cube")]
pub mod cube;

/// Keys of complete chunks.
#[derive(Debug, Clone)]
pub struct KeyBounds<B: Kernels> {
    /// `[n_kv_heads, n_chunks * chunk_len, head_dim]`, before rotation.
    pub key: Tensor<B, 3>,
    /// Where the keys stand, one row per token.
    pub rotary: Rotary<B>,
    /// Tokens of a chunk.
    pub chunk_len: usize,
}

/// Returns `[n_kv_heads, n_chunks, 2 * head_dim]`: the greatest number of every dimension, then the least.
pub fn reference<B: Kernels>(problem: &KeyBounds<B>) -> Tensor<B, 3> {
    let [n_kv_heads, n_tokens, head_dim] = problem.key.dims();
    let (w, n_chunks) = (problem.chunk_len, n_tokens / problem.chunk_len);
    assert_eq!(n_tokens, n_chunks * w, "only complete chunks have bounds");
    let key = B::rotate(&problem.rotary, in_f32(problem.key.clone())).reshape([n_kv_heads * n_chunks, w, head_dim]);
    let bounds = Tensor::cat(vec![key.clone().max_dim(1), key.min_dim(1)], 2); // [n_kv_heads * n_chunks, 1, 2 * head_dim]
    bounds.reshape([n_kv_heads, n_chunks, 2 * head_dim])
}

/// What rotated queries, `[n_heads, seq_q, head_dim]`, multiply bounds with: `[n_heads, seq_q, 2 * head_dim]`.
pub fn of_queries<B: Kernels>(query: Tensor<B, 3>) -> Tensor<B, 3> {
    Tensor::cat(vec![query.clone().clamp_min(0.0), query.clamp_max(0.0)], 2)
}
