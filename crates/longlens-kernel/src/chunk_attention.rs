//! Attention over the chunks that each query chose (LongHeads, arXiv:2402.10685).
//!
//! Where slots are packed, slot `s` of a choice stands at positions `s * chunk_len ..`. Scores depend on position differences
//! alone, so keys are rotated by their offset inside the chunk, and the query is rotated to `query_pos - s * chunk_len` for slot
//! `s`. At true positions keys and query are rotated to where they are, the same for every slot. One softmax over all slots; of
//! the last slot's chunk only the query's tail is seen.
//!
//! Memory of the reference: the chosen keys and values of one block of queries; of the processor's: all keys once more, packed,
//! and the choices of one block. Agrees with the definition to 1e-5 (f32).

use std::ops::Range;

use burn_tensor::activation::softmax;
use burn_tensor::{Int, Tensor, TensorData};
use longlens_core::plan::{ChunkChoice, PosMap, Prefill, SlotPositions, Slots};

use crate::rotary::Rotary;
use crate::score::Score;
use crate::{Attended, Kernels, in_f32, kv_heads_of};

#[cfg(feature = "flex")]
pub mod cpu;
#[cfg(feature = "cube")]
pub mod cube;
#[cfg(feature = "cuda-text")]
pub mod cuda;

/// One layer's attention problem once chunks are chosen.
#[derive(Debug, Clone)]
pub struct ChunkAttention<'a, B: Kernels> {
    /// `[n_heads, seq_q, head_dim]`, before rotation.
    pub query: Tensor<B, 3>,
    /// How products become scores.
    pub score: Score,
    /// `[n_kv_heads, seq_k, head_dim]`, before rotation.
    pub key: Tensor<B, 3>,
    /// `[n_kv_heads, seq_k, head_dim]`.
    pub value: Tensor<B, 3>,
    /// The rule that the queries chose by.
    pub choice: ChunkChoice,
    /// The prompt of the sequence.
    pub prompt: Prefill,
    /// Token of the first query row, which chooses, as all later ones do.
    pub first_query: usize,
    /// `[n_heads, seq_q, n_slots]`: chunk of each slot; the last slot holds the tail's chunk.
    pub chunks: Tensor<B, 3, Int>,
    /// Where keys stand, one row per token: see [`key_pos`].
    pub key_rotary: &'a Rotary<B>,
    /// Where queries may stand: row `p` is position `p - 1` where slots are packed, `p` else.
    pub query_rotary: &'a Rotary<B>,
}

/// Where keys are rotated to: their offset in the chunk where slots are packed, their own position else.
pub fn key_pos(choice: &ChunkChoice) -> PosMap {
    match choice.slots {
        SlotPositions::Packed => PosMap::identity().modulo(choice.chunk_len),
        SlotPositions::True => PosMap::identity(),
    }
}

/// Rows of [`ChunkAttention::query_rotary`] at which a query stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueryRows {
    /// In slot 0.
    first: usize,
    /// How many rows earlier it stands in every next slot.
    step: usize,
}

impl QueryRows {
    pub(crate) fn of(slots: &Slots) -> Self {
        match slots.positions {
            // row 0 is position -1: the last slot of a choice without a tail asks for it, and sees nothing there
            SlotPositions::Packed => Self { first: slots.query_pos + 1, step: slots.chunk_len },
            SlotPositions::True => Self { first: slots.query_pos, step: 0 },
        }
    }

    #[inline(always)]
    pub(crate) fn slot(self, slot: usize) -> usize {
        self.first - slot * self.step
    }
}

impl<B: Kernels> ChunkAttention<'_, B> {
    /// Panics where a key has no row in its table, beyond which kernels of GPUs would read.
    #[cfg(feature = "cube")]
    pub(crate) fn check_tables(&self) {
        assert!(self.key_rotary.n_rows() >= self.key.dims()[1], "a table with a row for every key");
    }

    /// The slots of query row `row`.
    pub fn slots(&self, row: usize) -> Slots {
        let slots = self.choice.query(self.first_query + row, self.prompt);
        slots.expect("queries past the first choice all choose")
    }

    /// The same problem for some query heads alone: a part of one key head's, or all of some key heads'.
    #[must_use]
    pub fn heads(&self, heads: Range<usize>) -> Self {
        let kv_heads = kv_heads_of(&heads, self.query.dims()[0], self.key.dims()[0]);
        Self {
            query: self.query.clone().slice([heads.clone()]),
            key: self.key.clone().slice([kv_heads.clone()]),
            value: self.value.clone().slice([kv_heads]),
            chunks: self.chunks.clone().slice([heads]),
            ..*self
        }
    }
}

/// Numbers of gathered keys held at once.
const BLOCK: usize = 1 << 22;

/// Returns `out` and `lse` of every query.
pub fn reference<B: Kernels>(problem: &ChunkAttention<'_, B>) -> Attended<B> {
    let (mut outs, mut lses) = (Vec::new(), Vec::new());
    let (key, value) =
        (chunk_rows(problem, &rotated_keys(problem)), chunk_rows(problem, &in_f32(problem.value.clone())));
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
    let scores = scores(problem, &chunk_rows(problem, &rotated_keys(problem)), &chosen(problem, &rows), rows);
    softmax(scores, 1).reshape([n_heads, n_rows, problem.choice.n_slots * problem.choice.chunk_len])
}

/// Rows of queries whose chosen keys fit the block.
fn blocks<B: Kernels>(problem: &ChunkAttention<'_, B>) -> impl Iterator<Item = Range<usize>> {
    let [n_heads, seq_q, head_dim] = problem.query.dims();
    let per_query = n_heads * problem.choice.n_slots * problem.choice.chunk_len * head_dim;
    let step = (BLOCK / per_query).clamp(1, seq_q.max(1));
    (0..seq_q).step_by(step).map(move |start| start..(start + step).min(seq_q))
}

/// Which rows of [`chunk_rows`] the queries in `rows` chose, `[n_heads * rows * n_slots]`.
fn chosen<B: Kernels>(problem: &ChunkAttention<'_, B>, rows: &Range<usize>) -> Tensor<B, 1, Int> {
    let [n_heads, _, n] = problem.chunks.dims();
    let [n_kv_heads, seq_k, _] = problem.key.dims();
    let n_chunks = seq_k.div_ceil(problem.choice.chunk_len);
    let kv_heads = Tensor::arange(0..n_heads as i64, &problem.query.device()).div_scalar((n_heads / n_kv_heads) as i64);
    let first_rows = kv_heads.mul_scalar(n_chunks as i64).reshape([n_heads, 1, 1]); // of a head's chunks
    let chunks = problem.chunks.clone().slice([0..n_heads, rows.clone(), 0..n]);
    (chunks + first_rows).reshape([n_heads * rows.len() * n])
}

/// Scores of the queries in `rows` over the keys of their slots, `[n_heads * rows, n_slots * chunk_len]`.
fn scores<B: Kernels>(
    problem: &ChunkAttention<'_, B>,
    key: &Tensor<B, 2>,
    chosen: &Tensor<B, 1, Int>,
    rows: Range<usize>,
) -> Tensor<B, 2> {
    let [n_heads, _, head_dim] = problem.query.dims();
    let (w, n, n_rows) = (problem.choice.chunk_len, problem.choice.n_slots, rows.len());
    let query = problem.score.scaled(&problem.query, problem.first_query, rows.clone());
    let query = query.reshape([n_heads * n_rows, 1, head_dim]).repeat_dim(1, n);
    let query = B::rotate(&slot_rows(problem, rows.clone()), query.reshape([n_heads, n_rows * n, head_dim]));
    let query = query.reshape([n_heads * n_rows * n, 1, head_dim]);
    let key = key.clone().select(0, chosen.clone()).reshape([n_heads * n_rows * n, w, head_dim]);
    let scores = problem.score.capped(query.matmul(key.swap_dims(1, 2))).reshape([n_heads, n_rows, n * w]);
    let hidden = tail_mask(problem, rows, &problem.query.device());
    (scores + hidden).reshape([n_heads * n_rows, n * w])
}

/// Keys rotated to where they stand.
fn rotated_keys<B: Kernels>(problem: &ChunkAttention<'_, B>) -> Tensor<B, 3> {
    B::rotate(&problem.key_rotary.rows(0, problem.key.dims()[1]), in_f32(problem.key.clone()))
}

/// Queries in every slot: row `i * n_slots + s`.
fn slot_rows<B: Kernels>(problem: &ChunkAttention<'_, B>, rows: Range<usize>) -> Rotary<B> {
    let of_query = |query: usize| {
        let rows = QueryRows::of(&problem.slots(query));
        (0..problem.choice.n_slots).map(move |slot| rows.slot(slot) as i32)
    };
    let rows: Vec<i32> = rows.flat_map(of_query).collect();
    let n_rows = rows.len();
    problem.query_rotary.select(Tensor::from_data(TensorData::new(rows, [n_rows]), &problem.query.device()))
}

/// `[n_kv_heads * n_chunks, w * head_dim]`: one row per chunk, the last one padded with zeros.
fn chunk_rows<B: Kernels>(problem: &ChunkAttention<'_, B>, t: &Tensor<B, 3>) -> Tensor<B, 2> {
    let [n_kv_heads, seq_k, head_dim] = t.dims();
    let w = problem.choice.chunk_len;
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
    let (w, n, n_rows) = (problem.choice.chunk_len, problem.choice.n_slots, rows.len());
    let mut hidden = vec![0.0; n_rows * n * w];
    for (row, query) in hidden.chunks_mut(n * w).zip(rows) {
        row[(n - 1) * w + problem.slots(query).tail.len()..].fill(f32::NEG_INFINITY);
    }
    Tensor::from_data(TensorData::new(hidden, [1, n_rows, n * w]), device)
}
