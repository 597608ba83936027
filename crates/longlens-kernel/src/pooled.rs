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
#[cfg(feature = "cube")]
pub mod cube;

/// How queries and keys fall into cells, from the first of both on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cells {
    /// Query tokens; others count nowhere.
    pub queries: Range<usize>,
    /// Key tokens; others count nowhere.
    pub keys: Range<usize>,
    /// Consecutive queries of a cell.
    pub query_stride: usize,
    /// Consecutive keys of a cell.
    pub key_stride: usize,
}

/// Cells of some queries of one head.
#[derive(Debug, Clone, PartialEq)]
pub struct Pooled {
    /// Query tokens that were pooled.
    pub queries: Range<usize>,
    /// Rows of cells, counted from the first one of [`Cells`].
    pub rows: Range<usize>,
    /// Cells of a row.
    pub n_columns: usize,
    /// Row-major `[rows, n_columns]`: sum of weights.
    pub sum: Vec<f32>,
    /// Row-major `[rows, n_columns]`: largest weight.
    pub max: Vec<f32>,
}

impl Cells {
    /// Cells of a row.
    pub fn n_columns(&self) -> usize {
        self.keys.len().div_ceil(self.key_stride)
    }

    /// The row of cells that a query falls into.
    #[inline(always)]
    pub(crate) fn row(&self, query: usize) -> usize {
        (query - self.queries.start) / self.query_stride
    }

    /// What is pooled of queries `tokens`.
    pub fn queries_of(&self, tokens: &Range<usize>) -> Range<usize> {
        let start = tokens.start.max(self.queries.start);
        start..tokens.end.min(self.queries.end).max(start)
    }
}

impl Pooled {
    /// Sums and maxima of every row of cells.
    pub fn rows_of(&self) -> impl Iterator<Item = (&[f32], &[f32])> {
        self.sum.chunks(self.n_columns.max(1)).zip(self.max.chunks(self.n_columns.max(1)))
    }

    /// Empty cells of queries `tokens`.
    fn new(tokens: &Range<usize>, cells: &Cells) -> Self {
        let queries = cells.queries_of(tokens);
        let rows = if queries.is_empty() { 0..0 } else { cells.row(queries.start)..cells.row(queries.end - 1) + 1 };
        let n_columns = cells.n_columns();
        let empty = vec![0.0; rows.len() * n_columns];
        Self { queries, rows, n_columns, sum: empty.clone(), max: empty }
    }

    /// Adds one query's weights of consecutive keys, the first of which is `first_key`.
    fn add(&mut self, cells: &Cells, query: usize, first_key: usize, weights: &[f32]) {
        let row = (cells.row(query) - self.rows.start) * self.n_columns;
        for (key, weight) in (first_key..).zip(weights).filter(|(key, _)| cells.keys.contains(key)) {
            let cell = row + (key - cells.keys.start) / cells.key_stride;
            self.sum[cell] += weight;
            self.max[cell] = self.max[cell].max(*weight);
        }
    }
}

/// Attention weights held at once, in numbers.
const BLOCK: usize = 1 << 20;

/// Pooled weights of one head.
pub fn of_spans<B: Kernels>(problem: &SpanAttention<'_, B>, head: usize, cells: &Cells) -> Pooled {
    let problem = &problem.heads(head..head + 1);
    let (seq, seq_k) = (problem.query.dims()[1], problem.key.dims()[1]);
    let first = problem.first_query;
    let mut pooled = Pooled::new(&(first..first + seq), cells);
    let step = (BLOCK / seq_k).max(1);
    let queries = pooled.queries.clone();
    for start in queries.clone().step_by(step) {
        let rows = start - first..(start + step).min(queries.end) - first;
        let weights = span_attention::weights(problem, rows.clone()).into_data().convert::<f32>();
        let weights = weights.as_slice::<f32>().expect("converted to f32");
        for (row, weights) in rows.zip(weights.chunks(seq_k)) {
            pooled.add(cells, first + row, 0, weights);
        }
    }
    pooled
}

/// Pooled weights of one head.
pub fn of_chunks<B: Kernels>(problem: &ChunkAttention<'_, B>, head: usize, cells: &Cells) -> Pooled {
    let first_query = problem.first_query;
    let problem = &problem.heads(head..head + 1);
    let [_, seq, head_dim] = problem.query.dims();
    let (w, n) = (problem.choice.chunk_len, problem.choice.n_slots);
    let chunks = problem.chunks.to_data().convert::<i32>();
    let chunks = chunks.as_slice::<i32>().expect("converted to i32");
    let mut pooled = Pooled::new(&(first_query..first_query + seq), cells);
    let step = (BLOCK / (n * w * head_dim)).max(1);
    let queries = pooled.queries.clone();
    for start in queries.clone().step_by(step) {
        let rows = start - first_query..(start + step).min(queries.end) - first_query;
        let weights = chunk_attention::weights(problem, rows.clone()).into_data().convert::<f32>();
        let weights = weights.as_slice::<f32>().expect("converted to f32");
        for (row, weights) in rows.zip(weights.chunks(n * w)) {
            for (chunk, weights) in chunks[row * n..][..n].iter().zip(weights.chunks(w)) {
                pooled.add(cells, first_query + row, *chunk as usize * w, weights);
            }
        }
    }
    pooled
}
