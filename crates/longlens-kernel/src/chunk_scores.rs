//! Which chunks every query chooses: those whose summaries score best (LongHeads, arXiv:2402.10685, section 3.2).
//!
//! `score(i, c) = q_i · summary_c`, both without rotation. Scores are never stored beyond a block.

use std::ops::Range;

use burn::tensor::Tensor;
use longlens_core::chunk_choice::Slots;

use crate::Kernels;

#[cfg(feature = "flex")]
pub mod cpu;

/// Queries that choose, and what they choose from.
#[derive(Clone)]
pub struct ChunkScores<'a, B: Kernels> {
    /// `[n_heads, seq_q, head_dim]`, before rotation, unscaled.
    pub query: Tensor<B, 3>,
    /// `[n_heads, n_summaries, head_dim]`: row `c` is chunk `c`'s.
    pub summaries: Tensor<B, 3>,
    /// One per query.
    pub slots: &'a [Slots],
    /// Slots of a choice, the tail included.
    pub n_slots: usize,
    /// Chunks of the sequence, the last of which may be partial.
    pub n_chunks: usize,
}

impl<B: Kernels> ChunkScores<'_, B> {
    /// Chunk in the last slot of a query: its own. An empty tail may start past the last chunk; nothing of it is seen.
    fn tail(&self, row: usize) -> u32 {
        (self.slots[row].tail.start / self.slots[row].chunk_len).min(self.n_chunks - 1) as u32
    }
}

/// Scores held at once, in numbers.
const BLOCK: usize = 1 << 22;

/// Returns the chunk of every slot, row-major `[n_heads, seq_q, n_slots]`: chosen chunks in ascending order, then the tail's.
pub fn reference<B: Kernels>(problem: &ChunkScores<'_, B>) -> Vec<u32> {
    let [n_heads, seq, _] = problem.query.dims();
    let n_summaries = problem.summaries.dims()[1];
    let mut chosen = vec![0; n_heads * seq * problem.n_slots];
    let step = (BLOCK / (n_heads * n_summaries.max(1))).max(1);
    for start in (0..seq).step_by(step) {
        let rows = start..(start + step).min(seq);
        let scores = scores(problem, rows.clone());
        for (at, scores) in scores.chunks(n_summaries.max(1)).enumerate() {
            let (head, row) = (at / rows.len(), rows.start + at % rows.len());
            let slots = &problem.slots[row];
            let out = &mut chosen[(head * seq + row) * problem.n_slots..][..problem.n_slots];
            let picked = slots.choose(&scores[slots.candidates.clone()]);
            out[..picked.len()].copy_from_slice(&picked);
            out[picked.len()] = problem.tail(row);
        }
    }
    chosen
}

/// Scores of the queries in `rows` over all summaries, row-major `[n_heads, rows, n_summaries]`.
pub fn scores<B: Kernels>(problem: &ChunkScores<'_, B>, rows: Range<usize>) -> Vec<f32> {
    let [n_heads, _, head_dim] = problem.query.dims();
    let query = problem.query.clone().slice([0..n_heads, rows, 0..head_dim]);
    let scores = query.matmul(problem.summaries.clone().swap_dims(1, 2));
    scores.into_data().convert::<f32>().into_vec().expect("converted to f32")
}
