//! Pooled weights on the processor: the tiles of attention again, without values.

use std::ops::Range;

use burn_flex::Flex;
use burn_tensor::Tensor;

use super::{Cells, Pooled};
use crate::chunk_attention::cpu::PackedKeys;
use crate::chunk_attention::{self, ChunkAttention};
use crate::cpu::simd::{Aligned, Arch, Simd, WithSimd, exp2, load, store};
use crate::cpu::tile::{self, ROWS, Tile};
use crate::cpu::{Parts, RowTensor, in_turn};
use crate::span_attention::{self, SpanAttention};

/// Queries of a task, roughly: a task has whole rows of cells to itself.
const BLOCK: usize = 96;

/// Returns what [`super::of_spans`] returns; `lse` is what attention gave for the problem.
pub fn of_spans(
    arch: Arch,
    problem: &SpanAttention<'_, Flex>,
    head: usize,
    lse: &Tensor<Flex, 2>,
    cells: &Cells,
) -> Pooled {
    let problem = &problem.heads(head..head + 1);
    let first_query = problem.first_query;
    let lse = RowTensor::new(lse.clone());
    let lse = lse.rows().of(0, head, problem.query.dims()[1]);
    let mut pooled = Pooled::new(&(first_query..first_query + lse.len()), cells);
    let out = Out::new(&mut pooled, first_query, lse, cells);
    arch.dispatch(Spans { problem, out: &out });
    pooled
}

/// Returns what [`super::of_chunks`] returns; `lse` is what attention gave for the problem.
pub fn of_chunks(
    arch: Arch,
    problem: &ChunkAttention<'_, Flex>,
    packed: &mut PackedKeys,
    head: usize,
    lse: &Tensor<Flex, 2>,
    cells: &Cells,
) -> Pooled {
    let first_query = problem.first_query;
    let lse = RowTensor::new(lse.clone());
    let lse = lse.rows().of(0, head, problem.query.dims()[1]);
    let mut pooled = Pooled::new(&(first_query..first_query + lse.len()), cells);
    let out = Out::new(&mut pooled, first_query, lse, cells);
    arch.dispatch(Chunks { problem, head, packed, out: &out });
    pooled
}

/// Where tasks put their cells.
struct Out<'a> {
    sum: Parts<f32>,
    max: Parts<f32>,
    first_row: usize,
    n_columns: usize,
    first_query: usize,
    /// Rows of the problem that are pooled.
    pooled: Range<usize>,
    lse: &'a [f32],
    cells: &'a Cells,
}

impl<'a> Out<'a> {
    fn new(pooled: &mut Pooled, first_query: usize, lse: &'a [f32], cells: &'a Cells) -> Self {
        let rows = pooled.queries.start - first_query..pooled.queries.end - first_query;
        let (sum, max) = (Parts::new(&mut pooled.sum), Parts::new(&mut pooled.max));
        let (first_row, n_columns) = (pooled.rows.start, pooled.n_columns);
        Self { sum, max, first_row, n_columns, first_query, pooled: rows, lse, cells }
    }

    /// Queries of every task: those of whole rows of cells.
    fn tasks(&self) -> Vec<Range<usize>> {
        let stride = self.cells.query_stride;
        let (per_task, end) = (BLOCK.div_ceil(stride), self.pooled.end);
        // the first pooled query may stand inside a row of cells: the first task is shorter by what comes before it
        let inside = (self.first_query + self.pooled.start - self.cells.queries.start) % stride;
        let mut tasks = Vec::new();
        let mut start = self.pooled.start;
        while start < end {
            let missing = if start == self.pooled.start { inside } else { 0 };
            let until = start.saturating_add(per_task.saturating_mul(stride) - missing).min(end);
            tasks.push(start..until);
            start = until;
        }
        tasks.reverse();
        tasks
    }

    /// Adds a tile's weights: `rows[r]` is the problem's query of the tile's row `r`, if it has one.
    ///
    /// # Safety
    /// Nobody else adds to these queries' rows of cells.
    #[inline(always)]
    unsafe fn add<S: Simd>(
        &self,
        simd: S,
        tile: &Tile<'_>,
        first_key: usize,
        rows: &[usize; ROWS],
        weights: &mut [f32],
    ) {
        let lanes = S::F32_LANES;
        let first = tile.seen.start / lanes * lanes;
        let n = tile.seen.end.next_multiple_of(lanes) - first;
        let first_key = first_key + first;
        // the tile's keys that are pooled
        let start = self.cells.keys.start.saturating_sub(first_key);
        let end = self.cells.keys.end.saturating_sub(first_key).min(n);
        if start >= end {
            return;
        }
        tile::scores(simd, tile, weights);
        let column = first_key + start - self.cells.keys.start;
        // what the last vector holds beyond the tile's keys is 0, and still in the last cell if cells are whole vectors
        let until = if first + end >= tile.seen.end { n } else { end };
        if let Some(row) = self.shared_row(rows)
            && (self.cells.key_stride | start | until | column).is_multiple_of(lanes)
        // lanes are a power of two
        {
            // SAFETY: the caller's promise
            let (sum, max) = unsafe { self.row(row) };
            let scores = &weights[start..];
            pool_rows(simd, scores, until - start, column, self.cells.key_stride, &self.lses(rows), sum, max);
            return;
        }
        for (r, row) in rows.iter().enumerate() {
            if *row >= self.lse.len() {
                continue;
            }
            let lse = simd.splat_f32s(self.lse[*row] * std::f32::consts::LOG2_E);
            let weights = &mut weights[r * tile::KEYS..][..n];
            for at in weights.chunks_exact_mut(lanes) {
                // SAFETY: a chunk is one vector
                unsafe {
                    let score = load(simd, at.as_ptr());
                    store(simd, at.as_mut_ptr(), exp2(simd, simd.sub_f32s(score, lse)));
                }
            }
            // SAFETY: the caller's promise
            let (sum, max) = unsafe { self.row(self.cells.row(self.first_query + row) - self.first_row) };
            pool(simd, &weights[start..end], column, self.cells.key_stride, sum, max);
        }
    }
}

impl Out<'_> {
    /// Sums and maxima of a row of cells.
    ///
    /// # Safety
    /// Nobody else holds that row.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)] // parts are disjoint by the contract
    unsafe fn row(&self, row: usize) -> (&mut [f32], &mut [f32]) {
        let columns = self.n_columns;
        // SAFETY: the caller's promise
        unsafe { (self.sum.slice(row * columns, columns), self.max.slice(row * columns, columns)) }
    }

    /// The row of cells that all of these queries fall into.
    #[inline(always)]
    fn shared_row(&self, rows: &[usize; ROWS]) -> Option<usize> {
        if rows[0] >= self.lse.len() {
            return None;
        }
        let row_of = self.cells.row(self.first_query + rows[0]);
        let mut shared = true;
        for row in rows {
            shared &= *row >= self.lse.len() || self.cells.row(self.first_query + row) == row_of;
        }
        shared.then(|| row_of - self.first_row)
    }

    /// Log-sum-exp of queries, in powers of two; infinity for a place without one.
    #[inline(always)]
    fn lses(&self, rows: &[usize; ROWS]) -> [f32; ROWS] {
        let mut lses = [f32::INFINITY; ROWS];
        for (lse, row) in lses.iter_mut().zip(rows) {
            if *row < self.lse.len() {
                *lse = self.lse[*row] * std::f32::consts::LOG2_E;
            }
        }
        lses
    }
}

/// Adds the weights of [`ROWS`] queries of one row of cells, made of their `n` scores each; cells are whole vectors. Keys are
/// counted from the first cell's first.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // slices of one tile and one row of cells; a struct would be built for every tile
fn pool_rows<S: Simd>(
    simd: S,
    scores: &[f32],
    n: usize,
    first_key: usize,
    keys: usize,
    lses: &[f32; ROWS],
    sum: &mut [f32],
    max: &mut [f32],
) {
    let lanes = S::F32_LANES;
    assert!(scores.len() >= (ROWS - 1) * tile::KEYS + n, "scores of every row");
    let mut at = 0;
    while at < n {
        let column = (first_key + at) / keys;
        let end = ((column + 1) * keys - first_key).min(n);
        let (mut sums, mut maxs) = (simd.splat_f32s(0.0), simd.splat_f32s(0.0));
        for r in 0..ROWS {
            if lses[r] == f32::INFINITY {
                continue; // a place without a query
            }
            let lse = simd.splat_f32s(lses[r]);
            let mut v = at;
            while v < end {
                // SAFETY: inside by the check above: cells and `n` are whole vectors
                let score = unsafe { load(simd, scores.as_ptr().add(r * tile::KEYS + v)) };
                let weight = exp2(simd, simd.sub_f32s(score, lse));
                sums = simd.add_f32s(sums, weight);
                maxs = simd.max_f32s(maxs, weight);
                v += lanes;
            }
        }
        sum[column] += simd.reduce_sum_f32s(sums);
        max[column] = max[column].max(simd.reduce_max_f32s(maxs));
        at = end;
    }
}

/// Adds weights of consecutive keys to a row of cells; keys are counted from the first cell's first.
#[inline(always)]
fn pool<S: Simd>(simd: S, weights: &[f32], first_key: usize, keys: usize, sum: &mut [f32], max: &mut [f32]) {
    let lanes = S::F32_LANES;
    let mut at = 0;
    while at < weights.len() {
        let column = (first_key + at) / keys;
        let end = ((column + 1) * keys - first_key).min(weights.len());
        let cell = &weights[at..end];
        at = end;
        let whole = cell.len() / lanes * lanes;
        let (mut total, mut largest) = (0.0, max[column]);
        if whole > 0 {
            let (mut sums, mut maxs) = (simd.splat_f32s(0.0), simd.splat_f32s(0.0));
            for x in cell[..whole].chunks_exact(lanes) {
                // SAFETY: a chunk is one vector
                let x = unsafe { load(simd, x.as_ptr()) };
                sums = simd.add_f32s(sums, x);
                maxs = simd.max_f32s(maxs, x);
            }
            total = simd.reduce_sum_f32s(sums);
            largest = simd.reduce_max_f32s(maxs).max(largest);
        }
        for x in &cell[whole..] {
            total += x;
            largest = x.max(largest);
        }
        sum[column] += total;
        max[column] = largest;
    }
}

struct Spans<'a> {
    problem: &'a SpanAttention<'a, Flex>,
    out: &'a Out<'a>,
}

impl WithSimd for Spans<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { problem, out } = self;
        let inputs = span_attention::cpu::Inputs::new(problem);
        let layer = inputs.layer(simd);
        let tasks = out.tasks();
        let longest = tasks.iter().map(ExactSizeIterator::len).max().unwrap_or(0);
        let shape = span_attention::cpu::Shape::of(problem);
        let scratch = || (span_attention::cpu::Block::room(shape, longest), tile::weights());
        in_turn(tasks.len(), scratch, |task, (queries, weights)| {
            let block = span_attention::cpu::Block { layer: &layer, kv_head: 0, rows: tasks[task].clone() };
            simd.vectorize(SpanTask { block: &block, out, queries, weights });
        });
    }
}

struct SpanTask<'a> {
    block: &'a span_attention::cpu::Block<'a>,
    out: &'a Out<'a>,
    queries: &'a mut Aligned,
    weights: &'a mut Aligned,
}

impl WithSimd for SpanTask<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { block, out, queries, weights } = self;
        block.visit(
            simd,
            queries,
            // a closure that is not inlined is compiled without the instruction set
            #[inline(always)]
            |group, first_key, tile| {
                let mut rows = [usize::MAX; ROWS];
                for (r, row) in rows.iter_mut().enumerate() {
                    let at = block.rows.start + group * ROWS + r;
                    *row = if at < block.rows.end { at } else { usize::MAX };
                }
                // SAFETY: tasks have rows of cells of their own
                unsafe { out.add(simd, &tile, first_key, &rows, weights) };
            },
        );
    }
}

struct Chunks<'a> {
    problem: &'a ChunkAttention<'a, Flex>,
    head: usize,
    packed: &'a mut PackedKeys,
    out: &'a Out<'a>,
}

impl WithSimd for Chunks<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { problem, head, packed, out } = self;
        let inputs = chunk_attention::cpu::Inputs::new(problem);
        let work = inputs.work();
        work.cover(simd, packed);
        let keys = &*packed;
        let tasks = out.tasks();
        let scratch = || (chunk_attention::cpu::Sorted::new(problem.query.dims()[2]), tile::weights());
        in_turn(tasks.len(), scratch, |task, (sorted, weights)| {
            let block = chunk_attention::cpu::Block { work: &work, head, rows: tasks[task].clone(), keys };
            simd.vectorize(ChunkTask { block: &block, out, sorted, weights });
        });
    }
}

struct ChunkTask<'a> {
    block: &'a chunk_attention::cpu::Block<'a>,
    out: &'a Out<'a>,
    sorted: &'a mut chunk_attention::cpu::Sorted,
    weights: &'a mut Aligned,
}

impl WithSimd for ChunkTask<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { block, out, sorted, weights } = self;
        block.visit(
            simd,
            sorted,
            // a closure that is not inlined is compiled without the instruction set
            #[inline(always)]
            |states, first_key, tile| {
                let mut rows = [usize::MAX; ROWS];
                for r in 0..ROWS {
                    rows[r] = if states[r] < block.rows.len() { block.rows.start + states[r] } else { usize::MAX };
                }
                // SAFETY: tasks have rows of cells of their own
                unsafe { out.add(simd, &tile, first_key, &rows, weights) };
            },
        );
    }
}
