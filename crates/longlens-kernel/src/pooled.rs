//! Attention weights pooled over blocks of queries and keys: a second pass from queries, keys and log-sum-exp.
//!
//! `weight = exp(score - lse)` is made anew, tile by tile, and only sums and maxima of cells are kept, so that a map of any
//! length takes the memory of its cells.

use std::ops::Range;

use crate::Kernels;
use crate::chunk_attention::{self, ChunkAttention};
use crate::span_attention::{self, SpanAttention};

#[cfg(feature = "flex")]
pub mod cpu;

/// How queries and keys fall into cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cells {
    /// Consecutive queries of a cell.
    pub queries: usize,
    /// Consecutive keys of a cell.
    pub keys: usize,
    /// Cells in a row of cells, from the first key on; keys beyond them count nowhere.
    pub n_columns: usize,
}

/// Cells of some queries of one head.
#[derive(Debug, Clone, PartialEq)]
pub struct Pooled {
    /// Rows of cells, counted from the first token's.
    pub rows: Range<usize>,
    /// Row-major `[rows, n_columns]`: sum of weights.
    pub sum: Vec<f32>,
    /// Row-major `[rows, n_columns]`: largest weight.
    pub max: Vec<f32>,
}

impl Pooled {
    /// Sums and maxima of every row of cells.
    pub fn rows_of(&self, n_columns: usize) -> impl Iterator<Item = (&[f32], &[f32])> {
        self.sum.chunks(n_columns.max(1)).zip(self.max.chunks(n_columns.max(1)))
    }

    /// Empty cells of queries `tokens`.
    fn new(tokens: Range<usize>, cells: Cells) -> Self {
        let rows = tokens.start / cells.queries..tokens.end.div_ceil(cells.queries);
        let empty = vec![0.0; rows.len() * cells.n_columns];
        Self { rows, sum: empty.clone(), max: empty }
    }

    /// Adds one query's weights of consecutive keys, the first of which is `first_key`.
    fn add(&mut self, cells: Cells, query: usize, first_key: usize, weights: &[f32]) {
        let row = (query / cells.queries - self.rows.start) * cells.n_columns;
        for (key, weight) in (first_key..).zip(weights) {
            let column = key / cells.keys;
            if column < cells.n_columns {
                self.sum[row + column] += weight;
                self.max[row + column] = self.max[row + column].max(*weight);
            }
        }
    }
}

/// Attention weights held at once, in numbers.
const BLOCK: usize = 1 << 20;

/// Pooled weights of one head.
pub fn of_spans<B: Kernels>(problem: &SpanAttention<'_, B>, head: usize, cells: Cells) -> Pooled {
    let problem = &problem.heads(head..head + 1);
    let (seq, seq_k) = (problem.query.dims()[1], problem.key.dims()[1]);
    let mut pooled = Pooled::new(problem.first_query..problem.first_query + seq, cells);
    let step = (BLOCK / seq_k).max(1);
    for start in (0..seq).step_by(step) {
        let rows = start..(start + step).min(seq);
        let weights = span_attention::weights(problem, rows.clone()).into_data().convert::<f32>();
        let weights = weights.as_slice::<f32>().expect("converted to f32");
        for (row, weights) in rows.zip(weights.chunks(seq_k)) {
            pooled.add(cells, problem.first_query + row, 0, weights);
        }
    }
    pooled
}

/// Pooled weights of one head; the problem's first query is token `first_query`.
pub fn of_chunks<B: Kernels>(
    problem: &ChunkAttention<'_, B>,
    (head, first_query): (usize, usize),
    cells: Cells,
) -> Pooled {
    let problem = &problem.heads(head..head + 1);
    let [_, seq, head_dim] = problem.query.dims();
    let (w, n) = (problem.chunk_len, problem.n_slots);
    let mut pooled = Pooled::new(first_query..first_query + seq, cells);
    let step = (BLOCK / (n * w * head_dim)).max(1);
    for start in (0..seq).step_by(step) {
        let rows = start..(start + step).min(seq);
        let weights = chunk_attention::weights(problem, rows.clone()).into_data().convert::<f32>();
        let weights = weights.as_slice::<f32>().expect("converted to f32");
        for (row, weights) in rows.zip(weights.chunks(n * w)) {
            for (chunk, weights) in problem.chunks[row * n..][..n].iter().zip(weights.chunks(w)) {
                pooled.add(cells, first_query + row, *chunk as usize * w, weights);
            }
        }
    }
    pooled
}
