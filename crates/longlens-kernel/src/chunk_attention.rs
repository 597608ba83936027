//! Attention over the chunks that each query chose (LongHeads, arXiv:2402.10685).
//!
//! Slot `s` of a query's choice stands at positions `s * chunk_len ..`. Scores depend on position differences alone, so keys
//! are turned by their offset inside the chunk, and the query is turned to `query_pos - s * chunk_len` for slot `s`.
//! One softmax over all slots; of the last slot's chunk only the first `tail_len` keys are seen.
//!
//! Memory of the reference: the chosen keys and values of one block of queries; of the processor's: all keys once more, packed,
//! and the choices of one block. Agrees with the definition to 1e-5 (f32).

use std::ops::Range;

use burn::tensor::activation::softmax;
use burn::tensor::{Int, Tensor, TensorData};

use crate::rotary::Rotary;
use crate::span_attention::scaled_rows;
use crate::{Attended, Kernels, kv_heads_of};

#[cfg(feature = "flex")]
pub mod cpu;

/// One layer's attention problem once chunks are chosen.
#[derive(Clone)]
pub struct ChunkAttention<'a, B: Kernels> {
    /// `[n_heads, seq_q, head_dim]`, before rotation.
    pub query: Tensor<B, 3>,
    /// Factor of each query: `1 / sqrt(head_dim)` and the plan's own.
    pub scale: &'a [f32],
    /// `[n_kv_heads, seq_k, head_dim]`, before rotation.
    pub key: Tensor<B, 3>,
    /// `[n_kv_heads, seq_k, head_dim]`.
    pub value: Tensor<B, 3>,
    /// Tokens of a chunk.
    pub chunk_len: usize,
    /// Slots of a choice, the tail included.
    pub n_slots: usize,
    /// Row-major `[n_heads, seq_q, n_slots]`: chunk of each slot; the last slot holds the tail's chunk.
    pub chunks: &'a [u32],
    /// Keys seen in the last slot, one count per query.
    pub tail_len: &'a [usize],
    /// Each key's offset in its chunk: one row per token.
    pub offsets: &'a Rotary<B>,
    /// Where queries may stand.
    pub positions: &'a Rotary<B>,
    /// Row of `positions` at which each query stands in slot 0; in slot `s` it stands `s * chunk_len` rows earlier.
    pub first_slot: &'a [usize],
}

impl<B: Kernels> ChunkAttention<'_, B> {
    /// The same problem for some query heads alone: a part of one key head's, or all of some key heads'.
    #[must_use]
    pub fn heads(&self, heads: Range<usize>) -> Self {
        let [n_heads, seq_q, _] = self.query.dims();
        let kv_heads = kv_heads_of(&heads, n_heads, self.key.dims()[0]);
        let per_head = seq_q * self.n_slots;
        Self {
            query: self.query.clone().slice([heads.clone()]),
            key: self.key.clone().slice([kv_heads.clone()]),
            value: self.value.clone().slice([kv_heads]),
            chunks: &self.chunks[heads.start * per_head..heads.end * per_head],
            ..*self
        }
    }
}

/// Numbers of gathered keys held at once.
const BLOCK: usize = 1 << 22;

/// Returns `out` and `lse` of every query.
pub fn reference<B: Kernels>(problem: &ChunkAttention<'_, B>) -> Attended<B> {
    let (mut outs, mut lses) = (Vec::new(), Vec::new());
    let (key, value) = (chunk_rows(problem, &turned_keys(problem)), chunk_rows(problem, &problem.value));
    for rows in blocks(problem) {
        let chosen = chosen(problem, &rows);
        let scores = scores(problem, &key, &chosen, rows); // [n_heads * rows, n_slots * chunk_len]
        let max = scores.clone().max_dim(1);
        let weights = (scores - max.clone()).exp();
        let sum = weights.clone().sum_dim(1); // [n_heads * rows, 1]
        let [n_rows, n_keys] = weights.dims();
        let [n_heads, _, head_dim] = problem.query.dims();
        let value = value.clone().select(0, chosen).reshape([n_rows, n_keys, head_dim]);
        let out = weights.reshape([n_rows, 1, n_keys]).matmul(value); // [n_heads * rows, 1, head_dim]
        let out = out.reshape([n_rows, head_dim]) / sum.clone();
        outs.push(out.reshape([n_heads, n_rows / n_heads, head_dim]));
        lses.push((max + sum.log()).reshape([n_heads, n_rows / n_heads]));
    }
    Attended { out: Tensor::cat(outs, 1), lse: Tensor::cat(lses, 1) }
}

/// Attention weights of the queries in `rows` over their slots, `[n_heads, rows, n_slots * chunk_len]`.
pub fn weights<B: Kernels>(problem: &ChunkAttention<'_, B>, rows: Range<usize>) -> Tensor<B, 3> {
    let (n_heads, n_rows) = (problem.query.dims()[0], rows.len());
    let scores = scores(problem, &chunk_rows(problem, &turned_keys(problem)), &chosen(problem, &rows), rows);
    softmax(scores, 1).reshape([n_heads, n_rows, problem.n_slots * problem.chunk_len])
}

/// Rows of queries whose chosen keys fit the block.
fn blocks<B: Kernels>(problem: &ChunkAttention<'_, B>) -> impl Iterator<Item = Range<usize>> {
    let [n_heads, seq_q, head_dim] = problem.query.dims();
    let per_query = n_heads * problem.n_slots * problem.chunk_len * head_dim;
    let step = (BLOCK / per_query).clamp(1, seq_q.max(1));
    (0..seq_q).step_by(step).map(move |start| start..(start + step).min(seq_q))
}

/// Which rows of [`chunk_rows`] the queries in `rows` chose, `[n_heads * rows * n_slots]`.
fn chosen<B: Kernels>(problem: &ChunkAttention<'_, B>, rows: &Range<usize>) -> Tensor<B, 1, Int> {
    let [n_heads, seq_q, _] = problem.query.dims();
    let [n_kv_heads, seq_k, _] = problem.key.dims();
    let (n, n_chunks) = (problem.n_slots, seq_k.div_ceil(problem.chunk_len));
    let rows_of = |head: usize| {
        let kv_head = head / (n_heads / n_kv_heads);
        let start = (head * seq_q + rows.start) * n;
        let chunks = problem.chunks[start..start + rows.len() * n].iter();
        chunks.map(move |chunk| (kv_head * n_chunks) as i32 + *chunk as i32)
    };
    let chosen: Vec<i32> = (0..n_heads).flat_map(rows_of).collect();
    let n_chosen = chosen.len();
    Tensor::from_data(TensorData::new(chosen, [n_chosen]), &problem.query.device())
}

/// Scores of the queries in `rows` over the keys of their slots, `[n_heads * rows, n_slots * chunk_len]`.
fn scores<B: Kernels>(
    problem: &ChunkAttention<'_, B>,
    key: &Tensor<B, 2>,
    chosen: &Tensor<B, 1, Int>,
    rows: Range<usize>,
) -> Tensor<B, 2> {
    let [n_heads, _, head_dim] = problem.query.dims();
    let (w, n, n_rows) = (problem.chunk_len, problem.n_slots, rows.len());
    let query = scaled_rows(&problem.query, problem.scale, rows.clone());
    let query = query.reshape([n_heads * n_rows, 1, head_dim]).repeat_dim(1, n);
    let query = B::rotate(&slot_rows(problem, rows.clone()), query.reshape([n_heads, n_rows * n, head_dim]));
    let query = query.reshape([n_heads * n_rows * n, 1, head_dim]);
    let key = key.clone().select(0, chosen.clone()).reshape([n_heads * n_rows * n, w, head_dim]);
    let scores = query.matmul(key.swap_dims(1, 2)).reshape([n_heads, n_rows, n * w]);
    let hidden = tail_mask(problem, rows, &problem.query.device());
    (scores + hidden).reshape([n_heads * n_rows, n * w])
}

/// Keys turned to their offsets.
fn turned_keys<B: Kernels>(problem: &ChunkAttention<'_, B>) -> Tensor<B, 3> {
    B::rotate(&problem.offsets.rows(0, problem.key.dims()[1]), problem.key.clone())
}

/// Queries in every slot: row `i * n_slots + s`.
fn slot_rows<B: Kernels>(problem: &ChunkAttention<'_, B>, rows: Range<usize>) -> Rotary<B> {
    let row = |query: usize, slot: usize| (problem.first_slot[query] - slot * problem.chunk_len) as i32;
    let rows: Vec<i32> = rows.flat_map(|query| (0..problem.n_slots).map(move |slot| row(query, slot))).collect();
    let n_rows = rows.len();
    problem.positions.select(Tensor::from_data(TensorData::new(rows, [n_rows]), &problem.query.device()))
}

/// `[n_kv_heads * n_chunks, w * head_dim]`: one row per chunk, the last one padded with zeros.
fn chunk_rows<B: Kernels>(problem: &ChunkAttention<'_, B>, t: &Tensor<B, 3>) -> Tensor<B, 2> {
    let [n_kv_heads, seq_k, head_dim] = t.dims();
    let w = problem.chunk_len;
    let n_chunks = seq_k.div_ceil(w);
    let missing = n_chunks * w - seq_k;
    let whole = if missing == 0 {
        t.clone()
    } else {
        Tensor::cat(vec![t.clone(), Tensor::zeros([n_kv_heads, missing, head_dim], &t.device())], 1)
    };
    whole.reshape([n_kv_heads * n_chunks, w * head_dim])
}

/// `[1, rows, n_slots * w]`: minus infinity on the keys of the last slot that are not seen.
fn tail_mask<B: Kernels>(problem: &ChunkAttention<'_, B>, rows: Range<usize>, device: &B::Device) -> Tensor<B, 3> {
    let (w, n, n_rows) = (problem.chunk_len, problem.n_slots, rows.len());
    let mut hidden = vec![0.0; n_rows * n * w];
    for (row, query) in hidden.chunks_mut(n * w).zip(rows) {
        row[(n - 1) * w + problem.tail_len[query]..].fill(f32::NEG_INFINITY);
    }
    Tensor::from_data(TensorData::new(hidden, [1, n_rows, n * w]), device)
}
