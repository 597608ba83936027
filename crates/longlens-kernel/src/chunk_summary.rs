//! Chunk summaries: the vector by which queries find a chunk (LongHeads, arXiv:2402.10685, section 3.2).
//!
//! Inside a complete chunk, with queries `a` and keys `b` rotated to their offset in the chunk:
//! `O_r = sum_s softmax_s(a_r · b_s / sqrt(d)) v_s` without a causal mask, `m = mean_r O_r`, and
//! `summary = sum_s softmax_s(m · b_s / sqrt(d)) b_s`. One summary per query head, from its key head's keys.

use burn_tensor::Tensor;
use burn_tensor::activation::softmax;

use crate::rotary::Rotary;
use crate::{Kernels, in_f32};

#[cfg(feature = "flex")]
pub mod cpu;
#[cfg(feature = "cube")]
pub mod cube;

/// Complete chunks to summarise.
#[derive(Debug, Clone)]
pub struct ChunkSummary<B: Kernels> {
    /// `[n_heads, n_chunks * chunk_len, head_dim]`, before rotation, unscaled.
    pub query: Tensor<B, 3>,
    /// `[n_kv_heads, n_chunks * chunk_len, head_dim]`, before rotation.
    pub key: Tensor<B, 3>,
    /// `[n_kv_heads, n_chunks * chunk_len, head_dim]`.
    pub value: Tensor<B, 3>,
    /// Offsets inside the chunks, one row per token.
    pub rotary: Rotary<B>,
    /// Tokens of a chunk.
    pub chunk_len: usize,
}

/// Scores held at once, in numbers; more chunks, and more queries of a long chunk, come in turns.
const BLOCK: usize = 1 << 22;

/// Returns `[n_heads, n_chunks, head_dim]`.
pub fn reference<B: Kernels>(problem: &ChunkSummary<B>) -> Tensor<B, 3> {
    let [n_heads, n_tokens, head_dim] = problem.query.dims();
    let w = problem.chunk_len;
    let n_chunks = n_tokens / w;
    assert_eq!(n_tokens, n_chunks * w, "only complete chunks have a summary");
    let step = (BLOCK / (n_heads * w * w.max(head_dim))).clamp(1, n_chunks.max(1));
    let parts = (0..n_chunks).step_by(step).map(|start| summarise(problem, start, (start + step).min(n_chunks)));
    Tensor::cat(parts.collect(), 1)
}

fn summarise<B: Kernels>(problem: &ChunkSummary<B>, from: usize, to: usize) -> Tensor<B, 3> {
    let [n_heads, _, head_dim] = problem.query.dims();
    let n_kv_heads = problem.key.dims()[0];
    let (w, n_chunks, n_rep) = (problem.chunk_len, to - from, n_heads / n_kv_heads);
    let rotary = problem.rotary.rows(from * w, to * w);
    let tokens = |t: &Tensor<B, 3>| {
        let heads = t.dims()[0];
        in_f32(t.clone().slice([0..heads, from * w..to * w, 0..head_dim]))
    };
    // every query head gets its key head's chunks: [n_heads * n_chunks, w, head_dim]
    let chunks = |t: Tensor<B, 3>| {
        let t = t.reshape([n_kv_heads, 1, n_chunks * w * head_dim]).repeat_dim(1, n_rep);
        t.reshape([n_heads * n_chunks, w, head_dim])
    };
    let scale = (head_dim as f32).sqrt().recip();
    let query = (B::rotate(&rotary, tokens(&problem.query)) * scale).reshape([n_heads * n_chunks, w, head_dim]);
    let key = chunks(B::rotate(&rotary, tokens(&problem.key)));
    let value = chunks(tokens(&problem.value));
    let key_columns = key.clone().swap_dims(1, 2);

    let step = (BLOCK / (n_heads * n_chunks * w)).clamp(1, w);
    let sums = (0..w).step_by(step).map(|start| {
        let rows = query.clone().slice([0..n_heads * n_chunks, start..(start + step).min(w), 0..head_dim]);
        softmax(rows.matmul(key_columns.clone()), 2).matmul(value.clone()).sum_dim(1) // [n_heads * n_chunks, 1, head_dim]
    });
    let sum = sums.reduce(|a, b| a + b).expect("a chunk holds at least one token");
    let mean = sum * (scale / w as f32);
    let weights = softmax(mean.matmul(key_columns), 2); // [n_heads * n_chunks, 1, w]
    weights.matmul(key).reshape([n_heads, n_chunks, head_dim])
}
