//! Pooled weights on a GPU: one cube for every row of cells makes the scores of its queries again, tile by tile, and alone adds to its
//! cells, so that sums are the same in every run.
//!
//! Memory: the cells, and as in attention queries and keys once more, rotated.

use burn_cubecl::CubeRuntime;
use burn_cubecl::element::BoolElement;
use burn_cubecl::tensor::CubeTensor;
use burn_tensor::{DType, Tensor};
use cubecl::prelude::*;

use super::{Cells, Pooled};
use crate::chunk_attention::ChunkAttention;
use crate::chunk_attention::cube as chunks;
use crate::cube::known::upload_once;
use crate::cube::{Four, Gpu, GpuRuntime, LANES, Rows, array, buffer, empty, handle_array};
use crate::span_attention::SpanAttention;
use crate::span_attention::cube::tile::{
    HIDDEN, ROWS, Sizes, Tile, keys_of_rows, load_keys, load_queries, new_own, own_row, score_tile,
};
use crate::span_attention::cube::{Launch, rotated_keys, rotated_queries};
use crate::span_attention::intervals::Intervals;

/// Units of a cube over chosen chunks.
const UNITS: u32 = 64;
/// Tokens of a chunk whose weights fit shared memory.
const MOST_TOKENS: usize = 4096;

/// Why no kernel here pools chosen chunks, if none does.
pub fn refused_chunks<R: GpuRuntime, BT: BoolElement>(
    problem: &ChunkAttention<'_, Gpu<R, BT>>,
) -> Option<&'static str> {
    if problem.choice.chunk_len > MOST_TOKENS {
        return Some("a chunk has more than 4096 tokens");
    }
    chunks::refused(problem)
}

/// Where queries and keys of a launch fall into cells.
#[derive(CubeType, CubeLaunch, Clone)]
struct Grid {
    /// The problem's queries that are pooled, the first and one past the last.
    query_start: u32,
    query_end: u32,
    /// What the problem's first query is after the first query of the cells, which may lie after it: the sum comes round.
    query_shift: u32,
    query_stride: u32,
    /// The first row of cells that is made.
    first_row: u32,
    key_start: u32,
    key_end: u32,
    key_stride: u32,
    n_columns: u32,
}

impl Grid {
    fn launch<R: CubeRuntime>(pooled: &Pooled, cells: &Cells, first_query: usize) -> GridLaunch<R> {
        let row = |query: usize| (query - first_query) as u32;
        GridLaunch::new(
            row(pooled.queries.start),
            row(pooled.queries.end),
            (first_query as u32).wrapping_sub(cells.queries.start as u32),
            cells.query_stride as u32,
            pooled.rows.start as u32,
            cells.keys.start as u32,
            cells.keys.end.min(u32::MAX as usize) as u32,
            cells.key_stride as u32,
            pooled.n_columns as u32,
        )
    }
}

/// Returns what [`super::of_spans`] returns; `lse` is what attention gave for the problem.
pub fn of_spans<R: GpuRuntime, BT: BoolElement>(
    problem: &SpanAttention<'_, Gpu<R, BT>>,
    head: usize,
    lse: &Tensor<Gpu<R, BT>, 2>,
    cells: &Cells,
) -> Pooled {
    let problem = &problem.heads(head..head + 1);
    let (first_query, seq_q) = (problem.first_query, problem.query.dims()[1]);
    let mut pooled = Pooled::new(&(first_query..first_query + seq_q), cells);
    if pooled.sum.is_empty() {
        return pooled;
    }
    let mut intervals = Intervals::of(problem.spans, first_query, seq_q, problem.score);
    // rounded as attention rounded them, whose log-sum-exp is taken
    let dtype = attention_type(problem);
    let query = rotated_queries(problem, 0..problem.spans.len(), dtype);
    let key = rotated_keys(problem, &mut intervals);
    let launch = Launch {
        query: &query,
        n_heads: 1,
        seq_q,
        key: &key,
        key_stride: problem.key.dims()[2],
        value: &Rows::of(problem.value.clone(), 4),
        intervals: &intervals,
        n_spans: problem.spans.len(),
        cap: problem.score.soft_cap,
        table: None,
    };
    let rows = cells.query_stride.next_multiple_of(ROWS).min(launch.tile().rows);
    let tile = Tile { rows, ..launch.tile() };
    let plan = upload_once::<R>(&query.client, &query.device, &intervals.numbers);
    let (sum, max) = (zeros(&query, &pooled), zeros(&query, &pooled));
    let lse = buffer(lse.clone().slice([head..head + 1]));
    // SAFETY: every index is below the lengths that the shapes give
    unsafe {
        pool_spans::launch_unchecked::<R>(
            &query.client,
            CubeCount::Static(pooled.rows.len() as u32, 1, 1),
            tile.cube_dim(),
            array(&query),
            array(&key),
            handle_array(&plan, size_of::<u32>()),
            array(&lse),
            array(&sum),
            array(&max),
            launch.sizes(0),
            Grid::launch(&pooled, cells, first_query),
            tile,
            query.dtype.into(),
            key.dtype.into(),
        );
    }
    (pooled.sum, pooled.max) = (read(sum), read(max));
    pooled
}

/// The type that attention rounds rotated queries to.
fn attention_type<R: GpuRuntime, BT: BoolElement>(problem: &SpanAttention<'_, Gpu<R, BT>>) -> DType {
    #[cfg(feature = "cuda-text")]
    if let Some(Ok(_)) = crate::span_attention::cuda::takes(problem) {
        return problem.key.dtype();
    }
    let _ = problem;
    DType::F32
}

fn zeros<R: CubeRuntime>(like: &CubeTensor<R>, pooled: &Pooled) -> CubeTensor<R> {
    let mut cells = empty(like, [pooled.sum.len()], DType::F32);
    cells.handle = like.client.create_from_slice(f32::as_bytes(&pooled.sum));
    cells
}

fn read<R: CubeRuntime>(cells: CubeTensor<R>) -> Vec<f32> {
    f32::from_bytes(&cells.client.read_one_unchecked(cells.handle)).to_vec()
}

#[cube(launch_unchecked)]
fn pool_spans<Q: Float, K: Float>(
    query: &Array<Four<Q>>,
    key: &Array<Four<K>>,
    plan: &Array<u32>,
    lse: &Array<f32>,
    sum: &mut Array<f32>,
    most: &mut Array<f32>,
    sizes: &Sizes,
    grid: &Grid,
    #[comptime] tile: Tile,
    #[define(Q)] _query: StorageType,
    #[define(K)] _key: StorageType,
) {
    let (keys, own_keys) = (comptime!(tile.keys), comptime!(tile.own_keys()));
    let mut q_tile = SharedMemory::<Four<f32>>::new(comptime!(tile.rows * tile.pitch()));
    let mut kv_tile = SharedMemory::<Four<f32>>::new(comptime!(tile.keys * tile.pitch()));
    let mut weights = SharedMemory::<f32>::new(comptime!(tile.rows * (tile.keys + 1)));
    let mut key_sums = SharedMemory::<f32>::new(comptime!(tile.keys));
    let mut key_most = SharedMemory::<f32>::new(comptime!(tile.keys));
    let lane = (UNIT_POS % LANES) as usize;
    let mut own = new_own();
    let mut scores = Array::<f32>::new(comptime!(ROWS * tile.own_keys()));
    let mut largest = Array::<f32>::new(ROWS);

    // the queries of this row of cells
    let cell_row = grid.first_row + CUBE_POS_X;
    let first_of_row = cell_row * grid.query_stride - grid.query_shift;
    let mut first_row = select(CUBE_POS_X == 0, grid.query_start, first_of_row);
    let end = min(first_of_row + grid.query_stride, grid.query_end);
    while first_row < end {
        let last_row = min(first_row + comptime!(tile.rows as u32), end) - 1;
        #[unroll]
        for r in 0..ROWS {
            largest[r] = lse[min(first_row + own_row() + r as u32, last_row) as usize];
        }
        for span in 0..sizes.n_spans {
            let (from, to) = keys_of_rows(plan, sizes, span, first_row, last_row, 1usize);
            let (from, to) = (max(from, grid.key_start), min(to, grid.key_end));
            if from < to {
                load_queries::<Q>(query, plan, &mut q_tile, &mut own, sizes, span, first_row, last_row, tile);
                let mut first_key = from - from % keys as u32;
                while first_key < to {
                    sync_cube();
                    load_keys::<K>(key, plan, lse, lse, &mut kv_tile, sizes, span, first_key, from, to, tile);
                    sync_cube();
                    score_tile(&q_tile, &kv_tile, plan, &mut scores, &own, sizes, first_key, tile);
                    #[unroll]
                    for r in 0..ROWS {
                        let is_row = first_row + own_row() + r as u32 <= last_row;
                        #[unroll]
                        for j in 0..own_keys {
                            let token = first_key + (lane + j * LANES as usize) as u32;
                            let is_cell = is_row && token >= from && token < to;
                            let score = scores[r * own_keys + j];
                            let weight = select(is_cell && score > f32::new(HIDDEN), (score - largest[r]).exp(), 0.0);
                            weights[(own_row() as usize + r) * (keys + 1) + lane + j * LANES as usize] = weight;
                        }
                    }
                    sync_cube();
                    // of each key over the queries, then of each cell over its keys
                    let mut k = UNIT_POS as usize;
                    while k < keys {
                        let mut total = f32::new(0.0);
                        let mut highest = f32::new(0.0);
                        for r in 0..comptime!(tile.rows) {
                            total += weights[r * (keys + 1) + k];
                            highest = max(highest, weights[r * (keys + 1) + k]);
                        }
                        key_sums[k] = total;
                        key_most[k] = highest;
                        k += comptime!(tile.units());
                    }
                    sync_cube();
                    add_to_cells(
                        &key_sums,
                        &key_most,
                        sum,
                        most,
                        grid,
                        first_key,
                        from,
                        to,
                        keys,
                        comptime!(tile.units()),
                    );
                    first_key += keys as u32;
                }
                sync_cube();
            }
        }
        first_row += comptime!(tile.rows as u32);
    }
}

/// Adds what consecutive keys got to the cells of this cube's row; a cell is always one unit's.
#[cube]
fn add_to_cells(
    key_sums: &SharedMemory<f32>,
    key_most: &SharedMemory<f32>,
    sum: &mut Array<f32>,
    most: &mut Array<f32>,
    grid: &Grid,
    first_key: u32,
    from: u32,
    to: u32,
    n_keys: usize,
    #[comptime] units: usize,
) {
    let start = max(first_key, from);
    let end = min(first_key + n_keys as u32, to);
    if start < end {
        let first_column = (start - grid.key_start) / grid.key_stride;
        let last_column = (end - 1 - grid.key_start) / grid.key_stride;
        // the first column of this unit that is not before the first
        let ahead = (UNIT_POS + units as u32 - first_column % units as u32) % units as u32;
        let mut column = first_column + ahead;
        while column <= last_column {
            let mut total = f32::new(0.0);
            let mut highest = f32::new(0.0);
            let cell_start = max(grid.key_start + column * grid.key_stride, start);
            let cell_end = min(grid.key_start + (column + 1) * grid.key_stride, end);
            for token in cell_start..cell_end {
                total += key_sums[(token - first_key) as usize];
                highest = max(highest, key_most[(token - first_key) as usize]);
            }
            let cell = (CUBE_POS_X * grid.n_columns + column) as usize;
            sum[cell] += total;
            most[cell] = max(most[cell], highest);
            column += units as u32;
        }
    }
}

/// Returns what [`super::of_chunks`] returns; `lse` is what attention gave for the problem.
pub fn of_chunks<R: GpuRuntime, BT: BoolElement>(
    problem: &ChunkAttention<'_, Gpu<R, BT>>,
    head: usize,
    lse: &Tensor<Gpu<R, BT>, 2>,
    cells: &Cells,
) -> Pooled {
    let problem = &problem.heads(head..head + 1);
    let first_query = problem.first_query;
    let mut pooled = Pooled::new(&(first_query..first_query + problem.query.dims()[1]), cells);
    if pooled.sum.is_empty() {
        return pooled;
    }
    let inputs = chunks::Inputs::of(problem);
    let (sum, max) = (zeros(&inputs.query.tensor, &pooled), zeros(&inputs.query.tensor, &pooled));
    let lse = buffer(lse.clone().slice([head..head + 1]));
    let ((query_cos, query_sin), (key_cos, key_sin)) = (inputs.query_table.args(), inputs.key_table.args());
    // SAFETY: chosen chunks are chunks of the sequence; keys past its end are not looked at
    unsafe {
        pool_chunks::launch_unchecked::<R>(
            &sum.client,
            CubeCount::Static(pooled.rows.len() as u32, 1, 1),
            CubeDim::new_1d(UNITS),
            inputs.query.arg(),
            inputs.key.arg(),
            array(&inputs.chunks),
            handle_array(&inputs.of_queries, size_of::<u32>()),
            query_cos,
            query_sin,
            key_cos,
            key_sin,
            array(&lse),
            array(&sum),
            array(&max),
            inputs.sizes(problem),
            Grid::launch(&pooled, cells, first_query),
            inputs.options,
            problem.choice.chunk_len,
            inputs.query.storage(),
            inputs.key.storage(),
        );
    }
    (pooled.sum, pooled.max) = (read(sum), read(max));
    pooled
}

#[cube(launch_unchecked)]
fn pool_chunks<Q: Float, K: Float>(
    query: &Array<Four<Q>>,
    key: &Array<Four<K>>,
    chosen: &Array<i32>,
    of_queries: &Array<u32>,
    query_cos: &Array<f32>,
    query_sin: &Array<f32>,
    key_cos: &Array<f32>,
    key_sin: &Array<f32>,
    lse: &Array<f32>,
    sum: &mut Array<f32>,
    most: &mut Array<f32>,
    sizes: &chunks::Sizes,
    grid: &Grid,
    #[comptime] options: chunks::Options,
    #[comptime] chunk_len: usize,
    #[define(Q)] _query: StorageType,
    #[define(K)] _key: StorageType,
) {
    let mut q_tile = SharedMemory::<Four<f32>>::new(comptime!(options.fours()));
    let mut weights = SharedMemory::<f32>::new(chunk_len);
    let cell_row = grid.first_row + CUBE_POS_X;
    let first_of_row = cell_row * grid.query_stride - grid.query_shift;
    let mut token = select(CUBE_POS_X == 0, grid.query_start, first_of_row);
    let end = min(first_of_row + grid.query_stride, grid.query_end);
    while token < end {
        let at = (token * chunks::OF_QUERY as u32) as usize;
        let (first_row, tail_len) = (of_queries[at], of_queries[at + 1]);
        let factor = f32::reinterpret(of_queries[at + 2]);
        for slot in 0..sizes.n_slots {
            sync_cube();
            let angle = ((first_row - slot * sizes.step) * sizes.query_table_stride) as usize;
            let from = (token * sizes.query_stride) as usize;
            chunks::rotate_query::<Q>(
                query,
                query_cos,
                query_sin,
                &mut q_tile,
                from,
                0usize,
                angle,
                UNIT_POS,
                UNITS,
                options,
            );
            sync_cube();
            let first_key = chosen[(token * sizes.n_slots + slot) as usize] as u32 * sizes.chunk_len;
            let n_keys = select(slot == sizes.n_slots - 1, tail_len, sizes.chunk_len);
            let mut offset = UNIT_POS;
            while offset < n_keys {
                let product = chunks::key_product::<K>(
                    key,
                    key_cos,
                    key_sin,
                    &q_tile,
                    0usize,
                    0u32,
                    first_key + offset,
                    sizes,
                    options,
                );
                let score = chunks::capped(product * factor, sizes.cap, comptime!(options.has_cap));
                weights[offset as usize] = (score - lse[token as usize]).exp();
                offset += UNITS;
            }
            sync_cube();
            let (from, to) = (max(first_key, grid.key_start), min(first_key + n_keys, grid.key_end));
            add_to_cells(
                &weights,
                &weights,
                sum,
                most,
                grid,
                first_key,
                from,
                to,
                chunk_len,
                comptime!(UNITS as usize),
            );
        }
        token += 1;
    }
}
