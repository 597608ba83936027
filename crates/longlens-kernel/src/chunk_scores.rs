//! Which chunks every query chooses: those that score best (LongHeads, arXiv:2402.10685, section 3.2; Quest, arXiv:2406.10774).
//!
//! `score(i, c) = q_i · r_c`, with a vector that stands for the query and one that represents the chunk: by summaries the query
//! before rotation, by bounds the rotated query's positive and negative part ([`crate::key_bounds`]). Scores are never stored
//! beyond a block.

use std::ops::Range;

use burn::tensor::{Int, Tensor, TensorData};
use longlens_core::plan::{ChunkChoice, Prompt, Slots};

use crate::Kernels;

#[cfg(feature = "flex")]
pub mod cpu;

/// Queries that choose, and what they choose from.
#[derive(Debug, Clone)]
pub struct ChunkScores<B: Kernels> {
    /// `[n_heads, seq_q, width]`: what stands for the queries.
    pub query: Tensor<B, 3>,
    /// `[n_heads, n_complete, width]`, or as many heads as there are key heads: row `c` represents chunk `c`.
    pub chunks: Tensor<B, 3>,
    /// The rule that the queries choose by.
    pub choice: ChunkChoice,
    /// The prompt of the sequence.
    pub prompt: Prompt,
    /// Token of the first query row, which chooses, as all later ones do.
    pub first_query: usize,
    /// Chunks of the sequence, the last of which may be partial.
    pub n_chunks: usize,
}

impl<B: Kernels> ChunkScores<B> {
    /// The slots of query row `row`.
    pub fn slots(&self, row: usize) -> Slots {
        let slots = self.choice.query(self.first_query + row, self.prompt);
        slots.expect("queries past the first choice all choose")
    }

    /// Chunk in the last slot of a query: its own. An empty tail may start past the last chunk; nothing of it is seen.
    fn tail(&self, slots: &Slots) -> u32 {
        (slots.tail.start / slots.chunk_len).min(self.n_chunks - 1) as u32
    }
}

/// Scores held at once, in numbers.
const BLOCK: usize = 1 << 22;

/// Returns the chunk of every slot, `[n_heads, seq_q, n_slots]`: chosen chunks in ascending order, then the tail's.
pub fn reference<B: Kernels>(problem: &ChunkScores<B>) -> Tensor<B, 3, Int> {
    let [n_heads, seq, _] = problem.query.dims();
    let (n_complete, n_slots) = (problem.chunks.dims()[1], problem.choice.n_slots);
    let mut chosen = vec![0; n_heads * seq * n_slots];
    let step = (BLOCK / (n_heads * n_complete.max(1))).max(1);
    for start in (0..seq).step_by(step) {
        let rows = start..(start + step).min(seq);
        let scores = scores(problem, rows.clone());
        for (at, scores) in scores.chunks(n_complete.max(1)).enumerate() {
            let (head, row) = (at / rows.len(), rows.start + at % rows.len());
            let slots = problem.slots(row);
            let picked = slots.choose(&scores[slots.candidates.clone()]);
            let out = &mut chosen[(head * seq + row) * n_slots..][..n_slots];
            for (out, chunk) in out.iter_mut().zip(picked.into_iter().chain([problem.tail(&slots)])) {
                *out = chunk as i32;
            }
        }
    }
    Tensor::from_data(TensorData::new(chosen, [n_heads, seq, n_slots]), &problem.query.device())
}

/// Scores of the queries in `rows` over all complete chunks, row-major `[n_heads, rows, n_complete]`.
pub fn scores<B: Kernels>(problem: &ChunkScores<B>, rows: Range<usize>) -> Vec<f32> {
    let [n_heads, _, width] = problem.query.dims();
    let [n_representing, n_complete, _] = problem.chunks.dims();
    let query = problem.query.clone().slice([0..n_heads, rows.clone(), 0..width]);
    // heads that share representatives are one matrix
    let query = query.reshape([n_representing, n_heads / n_representing * rows.len(), width]);
    let scores = query.matmul(problem.chunks.clone().swap_dims(1, 2));
    debug_assert_eq!(scores.dims().iter().product::<usize>(), n_heads * rows.len() * n_complete);
    scores.into_data().convert::<f32>().into_vec().expect("converted to f32")
}
