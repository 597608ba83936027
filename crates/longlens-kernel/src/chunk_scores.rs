//! Which chunks every query chooses: those that score best (LongHeads, arXiv:2402.10685, section 3.2; Quest, arXiv:2406.10774).
//!
//! `score(i, c) = q_i · r_c`, with a vector that stands for the query and one that represents the chunk: by summaries the query
//! before rotation, by bounds the rotated query's positive and negative part ([`crate::key_bounds`]). Scores are never stored
//! beyond a block.

use std::ops::Range;

use burn_tensor::{Bool, Int, Tensor, TensorData};
use longlens_core::plan::{ChunkChoice, Prefill, Slots};

use crate::{Kernels, in_f32};

#[cfg(feature = "flex")]
pub mod cpu;
#[cfg(feature = "cube")]
pub mod cube;
#[cfg(feature = "cuda-text")]
pub mod cuda;

/// Queries that choose, and what they choose from.
#[derive(Debug, Clone)]
pub struct ChunkScores<B: Kernels> {
    /// `[n_heads, seq_q, width]`: what stands for the queries.
    pub query: Tensor<B, 3>,
    /// `[n_heads, n_complete, width]`, or as many heads as there are key heads: row `c` represents chunk `c`. A device that attends in 16
    /// bits keeps it in 16 bits, rounded once when the chunk is complete; the choice is then by scores of the rounded numbers, so chunks
    /// whose scores differ by less than that may change places, and a bound may lie below the best key by as much.
    pub chunks: Tensor<B, 3>,
    /// The rule that the queries choose by.
    pub choice: ChunkChoice,
    /// The prompt of the sequence.
    pub prompt: Prefill,
    /// Token of the first query row, which chooses, as all later ones do.
    pub first_query: usize,
    /// Chunks of the sequence, the last of which may be partial.
    pub n_chunks: usize,
    /// Chunks that are picked whatever they score, once they are there to pick from; at most as many as are picked.
    pub forced: Vec<u32>,
}

impl<B: Kernels> ChunkScores<B> {
    /// The slots of query row `row`.
    pub fn slots(&self, row: usize) -> Slots {
        let slots = self.choice.query(self.first_query + row, self.prompt);
        slots.expect("queries past the first choice all choose")
    }

    /// Why no kernel makes the choice: forced chunks are few, and the reference has them.
    pub fn refused(&self) -> Option<&'static str> {
        (!self.forced.is_empty()).then_some("chunks are forced")
    }

    /// Chunk in the last slot of a query: its own. An empty tail may start past the last chunk; nothing of it is seen.
    fn tail(&self, slots: &Slots) -> u32 {
        (slots.tail.start / slots.chunk_len).min(self.n_chunks - 1) as u32
    }
}

/// Scores held at once, in numbers.
const BLOCK: usize = 1 << 20;

/// Returns the chunk of every slot, `[n_heads, seq_q, n_slots]`: chosen chunks in ascending order, then the tail's. No score
/// leaves the device: every pick is a pass over the scores that are left.
pub fn reference<B: Kernels>(problem: &ChunkScores<B>) -> Tensor<B, 3, Int> {
    let [n_heads, seq, _] = problem.query.dims();
    let step = (BLOCK / (n_heads * problem.chunks.dims()[1]).max(1)).max(1);
    let parts = (0..seq).step_by(step).map(|start| chosen(problem, start..(start + step).min(seq)));
    Tensor::cat(parts.collect(), 1)
}

/// The chunks that the queries in `rows` choose.
fn chosen<B: Kernels>(problem: &ChunkScores<B>, rows: Range<usize>) -> Tensor<B, 3, Int> {
    let (device, n) = (problem.query.device(), problem.chunks.dims()[1]);
    let shape = [problem.query.dims()[0], rows.len(), n];
    let slots: Vec<Slots> = rows.clone().map(|row| problem.slots(row)).collect();
    let table = |is_one: fn(&Slots, usize) -> bool| {
        let numbers = slots.iter().flat_map(|slots| (0..n).map(|chunk| f32::from(u8::from(is_one(slots, chunk)))));
        Tensor::<B, 3>::from_data(TensorData::new(numbers.collect::<Vec<_>>(), [1, rows.len(), n]), &device)
            .expand(shape)
    };
    let numbers = Tensor::<B, 1, Int>::arange(0..n as i64, &device).float();
    let chunk = numbers.reshape([1, 1, n]).expand(shape);

    let scores = match &problem.forced[..] {
        [] => scores(problem, rows.clone()),
        forced => {
            let is_forced = (0..n).map(|chunk| forced.contains(&(chunk as u32))).collect::<Vec<_>>();
            let is_forced = Tensor::<B, 3, Bool>::from_data(TensorData::new(is_forced, [1, 1, n]), &device);
            scores(problem, rows.clone()).mask_fill(is_forced.expand(shape), f32::INFINITY)
        }
    };
    let mut is_chosen = table(Slots::forces);
    let mut is_left = table(|slots, chunk| slots.candidates.contains(&chunk)).greater_elem(0.0);
    for _ in 0..problem.choice.n_picks() {
        let left = scores.clone().mask_fill(is_left.clone().bool_not(), f32::NEG_INFINITY);
        let is_best = left.clone().equal(left.max_dim(2).expand(shape)).bool_and(is_left.clone());
        // of equal ones the lowest
        let lowest = chunk.clone().mask_fill(is_best.bool_not(), n as f32).min_dim(2).expand(shape);
        let pick = chunk.clone().equal(lowest);
        is_chosen = is_chosen.mask_fill(pick.clone(), 1.0);
        is_left = is_left.bool_and(pick.bool_not());
    }
    // before the chunk of slot s lie those up to which no more than s are chosen
    let n_chosen = is_chosen.cumsum(2); // [n_heads, rows, n]
    let mut parts: Vec<Tensor<B, 3, Int>> = (0..problem.choice.n_slots - 1)
        .map(|slot| n_chosen.clone().lower_equal_elem(slot as f32).float().sum_dim(2).clamp_max((n - 1) as f32).int())
        .collect();
    let tails: Vec<i32> = slots.iter().map(|slots| problem.tail(slots) as i32).collect();
    let tails = Tensor::<B, 3, Int>::from_data(TensorData::new(tails, [1, rows.len(), 1]), &device);
    parts.push(tails.repeat_dim(0, shape[0]));
    Tensor::cat(parts, 2)
}

/// Scores of the queries in `rows` over all complete chunks, `[n_heads, rows, n_complete]`.
pub fn scores<B: Kernels>(problem: &ChunkScores<B>, rows: Range<usize>) -> Tensor<B, 3> {
    let [n_heads, _, width] = problem.query.dims();
    let [n_representing, n_complete, _] = problem.chunks.dims();
    let (n_rows, query) = (rows.len(), in_f32(problem.query.clone().slice([0..n_heads, rows, 0..width])));
    // heads that share representatives are one matrix
    let query = query.reshape([n_representing, n_heads / n_representing * n_rows, width]);
    query.matmul(in_f32(problem.chunks.clone()).swap_dims(1, 2)).reshape([n_heads, n_rows, n_complete])
}
