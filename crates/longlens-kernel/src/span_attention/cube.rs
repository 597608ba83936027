//! Span attention on a GPU without tensor cores: a cube holds some queries of one key head and walks the tiles of keys that
//! any of them sees; the [`LANES`] units of a query share out the keys of a tile, then the dimensions of the values.
//!
//! Launch: one cube per block of queries and key head, longest first; query heads of a key head are packed into its rows. Memory:
//! queries of every span and keys of every key position rule once more, rotated. A few queries (a generated token) have their
//! keys rotated as they are read instead, and share out the keys of each span to several cubes; a last launch merges the parts,
//! since cubes of one launch cannot wait for one another on every device. Agrees with the definition to 1e-5 in f32.

use std::ops::Range;

use burn_cubecl::CubeRuntime;
use burn_cubecl::element::BoolElement;
use burn_cubecl::tensor::CubeTensor;
use burn_tensor::DType;
use cubecl::prelude::*;

use super::intervals::{HEADER, Intervals, NO_HOLES};
use super::{LOWEST, SpanAttention, keys_rotated_for};
use crate::Attended;
use crate::cube::{
    Four, Gpu, LANES, Rows, array, cubes_for, dot, empty, handle_array, lanes_max, lanes_sum, tensor, upload,
    without_planes,
};
use crate::rotary::cube::{Table, rotate_into};

/// Queries that one unit holds.
const ROWS: usize = 4;
/// Queries of a key head, grouped heads included, up to which a problem counts as a generated token's.
const FEW: usize = 16;
/// Cubes that keep a device busy.
const BUSY: usize = 256;
/// Dimensions of a head, at most.
const MOST_DIMS: usize = 256;

/// Score of a key that a query does not see: far below [`LOWEST`], so that its weight is 0.
const HIDDEN: f32 = -3e38;

/// Why no kernel here computes a problem, if none does.
pub fn refused<R: CubeRuntime, BT: BoolElement>(problem: &SpanAttention<'_, Gpu<R, BT>>) -> Option<&'static str> {
    let head_dim = problem.query.dims()[2];
    if !head_dim.is_multiple_of(4) || head_dim > MOST_DIMS {
        return Some("the size of a head is no multiple of 4 up to 256");
    }
    without_planes(&R::client(&problem.query.device()))
}

/// `out` and `lse` of every query.
pub fn attend<R: CubeRuntime, BT: BoolElement>(problem: &SpanAttention<'_, Gpu<R, BT>>) -> Attended<Gpu<R, BT>> {
    let [n_heads, seq_q, _] = problem.query.dims();
    // pairs of vectors are rotated as they are read
    let in_vectors = problem.rotary.iter().all(|rotary| rotary.key.cos.dims()[1].is_multiple_of(4));
    if seq_q * (n_heads / problem.key.dims()[0]) <= FEW && in_vectors { few(problem) } else { many(problem) }
}

/// What a kernel is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Tile {
    /// Queries of a cube.
    rows: usize,
    /// Keys that are looked at together.
    keys: usize,
    head_dim: usize,
    /// Query heads of a key head.
    n_rep: usize,
    has_cap: bool,
    has_holes: bool,
    /// Dimensions of a key that are rotated as it is read, in pairs; 0 where keys come rotated.
    half: usize,
    /// Whether the keys of a block of queries are shared out to several cubes.
    is_split: bool,
}

impl Tile {
    /// Sizes whose tiles fit the shared memory of a small device (32 KiB).
    fn of<R: CubeRuntime, BT: BoolElement>(problem: &SpanAttention<'_, Gpu<R, BT>>, has_holes: bool) -> Self {
        let [n_heads, seq_q, head_dim] = problem.query.dims();
        let n_rep = n_heads / problem.key.dims()[0];
        let is_few = seq_q * n_rep <= FEW;
        let (most_rows, keys) = match (is_few, head_dim) {
            (true, 0..=64) => (FEW, 64),
            (true, 65..=128) => (FEW, 32),
            (true, _) => (8, 16),
            (false, 0..=64) => (32, 32),
            (false, 65..=128) => (32, 16),
            (false, _) => (16, 8),
        };
        let rows = (seq_q * n_rep).next_multiple_of(ROWS).min(most_rows);
        let has_cap = problem.score.soft_cap.is_some();
        Self { rows, keys, head_dim, n_rep, has_cap, has_holes, half: 0, is_split: false }
    }
}

/// Prefill: queries and keys are rotated to the positions of every span, then one launch attends over all spans.
fn many<R: CubeRuntime, BT: BoolElement>(problem: &SpanAttention<'_, Gpu<R, BT>>) -> Attended<Gpu<R, BT>> {
    let [n_heads, seq_q, head_dim] = problem.query.dims();
    let mut intervals = Intervals::of(problem.spans, problem.first_query, seq_q, problem.score);
    let query = rotated_queries(problem, 0..problem.spans.len());
    let key = rotated_keys(problem, &mut intervals);
    let out = empty(&query, [seq_q, n_heads, head_dim], DType::F32);
    let lse = empty(&query, [n_heads, seq_q], DType::F32);
    let launch = Launch {
        tile: Tile::of(problem, intervals.has_holes),
        problem,
        query: &query,
        key: (&key, head_dim),
        intervals: &intervals,
        n_spans: problem.spans.len(),
        table: None,
        parts: Parts { n_splits: 1, first: 0, out: &out, lse: &lse },
    };
    launch.run();
    Attended { out: tensor::<R, BT, 3>(out).swap_dims(0, 1), lse: tensor(lse) }
}

/// Rotated queries of some spans, `[spans, n_heads, seq_q, head_dim]`.
fn rotated_queries<R: CubeRuntime, BT: BoolElement>(
    problem: &SpanAttention<'_, Gpu<R, BT>>,
    spans: Range<usize>,
) -> CubeTensor<R> {
    let query = Rows::of(problem.query.clone(), 1);
    let out = empty(&query.tensor, [spans.len(), query.heads, query.rows, query.width], DType::F32);
    for (at, span) in spans.enumerate() {
        let table = Table::of(&problem.rotary[span].query);
        rotate_into(
            &table,
            problem.first_query,
            &query,
            0..query.rows,
            &out,
            at * query.heads * query.rows * query.width,
        );
    }
    out
}

/// The keys of every rule, for the tokens that the queries see, `[n_kv_heads, tokens, head_dim]` after one another.
fn rotated_keys<R: CubeRuntime, BT: BoolElement>(
    problem: &SpanAttention<'_, Gpu<R, BT>>,
    intervals: &mut Intervals,
) -> CubeTensor<R> {
    let key = Rows::of(problem.key.clone(), 1);
    let queries = problem.first_query..problem.first_query + problem.query.dims()[1];
    let (mut n_rows, mut made): (usize, Vec<(usize, Range<usize>, usize)>) = (0, Vec::new());
    for (at, span) in problem.spans.iter().enumerate() {
        let tokens = keys_rotated_for(problem.spans, at, &queries);
        let same = made
            .iter()
            .find(|(other, of_other, _)| problem.spans[*other].key_pos == span.key_pos && *of_other == tokens);
        let first_row = match same {
            Some((.., first_row)) => *first_row,
            None => {
                made.push((at, tokens.clone(), n_rows));
                n_rows += key.heads * tokens.len();
                made.last().expect("just pushed").2
            }
        };
        // where token 0 would lie: kernels add a token's number, and the sum comes round where this is negative
        let fours = |rows: usize| (rows * key.width / 4) as u32;
        intervals.place(at, [fours(first_row).wrapping_sub(fours(tokens.start)), fours(tokens.len())]);
    }
    let out = empty(&key.tensor, [n_rows.max(1), key.width], key.tensor.dtype);
    for (span, tokens, first_row) in made {
        rotate_into(&Table::of(&problem.rotary[span].key), tokens.start, &key, tokens, &out, first_row * key.width);
    }
    out
}

/// A few queries: cubes share out the keys of every span, which they rotate as they read them.
fn few<R: CubeRuntime, BT: BoolElement>(problem: &SpanAttention<'_, Gpu<R, BT>>) -> Attended<Gpu<R, BT>> {
    let [n_heads, seq_q, head_dim] = problem.query.dims();
    let n_kv_heads = problem.key.dims()[0];
    let key = Rows::of(problem.key.clone(), 4);
    let queries = problem.first_query..problem.first_query + seq_q;
    let tile = Tile::of(problem, false);
    let n_blocks = (seq_q * tile.n_rep).div_ceil(tile.rows);
    let splits = |at: usize| {
        let n_tiles = problem.spans[at].reach.keys_of_any(queries.clone()).len().div_ceil(tile.keys) + 1;
        n_tiles.min((BUSY / (n_blocks * n_kv_heads)).max(1))
    };
    let n_splits = (0..problem.spans.len()).map(splits).sum();
    let part = empty(&key.tensor, [n_splits, n_heads, seq_q, head_dim], DType::F32);
    let sums = empty(&key.tensor, [n_splits, n_heads, seq_q, 2], DType::F32);
    let mut first = 0;
    for at in 0..problem.spans.len() {
        let mut intervals = Intervals::of(&problem.spans[at..=at], problem.first_query, seq_q, problem.score);
        intervals.place(0, [0, (key.head_stride / 4) as u32]);
        let table = Table::of(&problem.rotary[at].key);
        let tile = Tile { has_holes: intervals.has_holes, half: table.half, is_split: true, ..tile };
        let query = rotated_queries(problem, at..at + 1);
        let parts = Parts { n_splits: splits(at), first, out: &part, lse: &sums };
        let key = (&key.tensor, key.row_stride);
        Launch { tile, problem, query: &query, key, intervals: &intervals, n_spans: 1, table: Some(&table), parts }
            .run();
        first += splits(at);
    }
    merge(problem, n_splits, &part, &sums)
}

/// One launch of [`attend_spans`].
struct Launch<'a, R: CubeRuntime, BT: BoolElement> {
    tile: Tile,
    problem: &'a SpanAttention<'a, Gpu<R, BT>>,
    query: &'a CubeTensor<R>,
    /// Keys, and numbers from one of a head to the next.
    key: (&'a CubeTensor<R>, usize),
    intervals: &'a Intervals,
    n_spans: usize,
    /// What rotates keys.
    table: Option<&'a Table<R>>,
    parts: Parts<'a, R>,
}

/// Where a launch writes.
struct Parts<'a, R: CubeRuntime> {
    /// Cubes that share out the keys of a block of queries.
    n_splits: usize,
    /// The part of the first of them.
    first: usize,
    /// `[seq_q, n_heads, head_dim]`, or of every part `[n_heads, seq_q, head_dim]`, not divided by the sum.
    out: &'a CubeTensor<R>,
    /// `[n_heads, seq_q]`, or of every part `[n_heads, seq_q, 2]`: largest score and sum.
    lse: &'a CubeTensor<R>,
}

impl<R: CubeRuntime, BT: BoolElement> Launch<'_, R, BT> {
    fn run(&self) {
        let Self { tile, problem, parts, .. } = self;
        let [n_heads, seq_q, _] = problem.query.dims();
        let n_kv_heads = problem.key.dims()[0];
        let value = Rows::of(problem.value.clone(), 4);
        let client = &self.query.client;
        let plan = upload(client, &self.intervals.numbers);
        // where nothing is rotated any buffer stands for the tables, and nobody reads it
        let unused = || array(self.query);
        let (cos, sin) = self.table.map_or_else(|| (unused(), unused()), Table::args);
        let n_blocks = (seq_q * tile.n_rep).div_ceil(tile.rows);
        // SAFETY: every index is below the lengths that the shapes give; keys past the last are read as the last
        unsafe {
            attend_spans::launch_unchecked::<R>(
                client,
                CubeCount::Static(n_blocks as u32, n_kv_heads as u32, parts.n_splits as u32),
                CubeDim::new_1d((tile.rows / ROWS) as u32 * LANES),
                array(self.query),
                array(self.key.0),
                value.arg(),
                handle_array(&plan, size_of::<u32>()),
                cos,
                sin,
                array(parts.out),
                array(parts.lse),
                seq_q as u32,
                n_heads as u32,
                self.n_spans as u32,
                (self.key.1 / 4) as u32,
                (value.head_stride / 4) as u32,
                (value.row_stride / 4) as u32,
                self.table.map_or(0, |table| table.stride) as u32,
                parts.first as u32,
                problem.score.soft_cap.unwrap_or(1.0) as f32,
                *tile,
                self.key.0.dtype.into(),
                value.storage(),
            );
        }
    }
}

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn attend_spans<K: Float, V: Float>(
    query: &Array<Four<f32>>,
    key: &Array<Four<K>>,
    value: &Array<Four<V>>,
    plan: &Array<u32>,
    cos: &Array<f32>,
    sin: &Array<f32>,
    out: &mut Array<Four<f32>>,
    lse: &mut Array<f32>,
    seq_q: u32,
    n_heads: u32,
    n_spans: u32,
    key_stride: u32,
    value_head_stride: u32,
    value_stride: u32,
    table_stride: u32,
    first_part: u32,
    cap: f32,
    #[comptime] tile: Tile,
    #[define(K)] _key: StorageType,
    #[define(V)] _value: StorageType,
) {
    let (rows, keys, n_rep) = (comptime!(tile.rows), comptime!(tile.keys), comptime!(tile.n_rep));
    let fours = comptime!(tile.head_dim / 4); // vectors of a row
    let pitch = comptime!(tile.head_dim / 4 + 1); // rows of a tile begin in different banks
    let own_keys = comptime!(tile.keys / LANES as usize);
    let own_fours = comptime!((tile.head_dim / 4).div_ceil(LANES as usize));
    let units = comptime!(tile.rows / ROWS * LANES as usize);
    let mut q_tile = SharedMemory::<Four<f32>>::new(comptime!(tile.rows * (tile.head_dim / 4 + 1)));
    let mut kv_tile = SharedMemory::<Four<f32>>::new(comptime!(tile.keys * (tile.head_dim / 4 + 1))); // keys, then values
    let mut weights = SharedMemory::<f32>::new(comptime!(tile.rows * (tile.keys + 1)));

    let (seq_q, n_heads, n_spans) = (seq_q as usize, n_heads as usize, n_spans as usize);
    let unit = UNIT_POS as usize;
    let (lane, first_own) = (unit % LANES as usize, unit / LANES as usize * ROWS);
    let kv_head = CUBE_POS_Y as usize;
    let first_row = from_last(CUBE_COUNT_X, CUBE_POS_X) as usize * rows; // later queries see more keys and begin first
    let last_row = min(first_row + rows, seq_q * n_rep) - 1;
    let (bounds, factors) = (n_spans * HEADER, n_spans * (HEADER + 2 * seq_q));
    let holes = factors + seq_q;
    let words = holes + n_spans * seq_q;

    let mut most = Array::<f32>::new(ROWS);
    let mut sum = Array::<f32>::new(ROWS);
    let mut factor = Array::<f32>::new(ROWS);
    let mut lo = Array::<u32>::new(ROWS);
    let mut hi = Array::<u32>::new(ROWS);
    let mut bits = Array::<u32>::new(ROWS);
    let mut scores = Array::<f32>::new(comptime!(ROWS * tile.keys / LANES as usize));
    let mut acc = Array::<Four<f32>>::new(comptime!(ROWS * (tile.head_dim / 4).div_ceil(LANES as usize)));
    #[unroll]
    for r in 0..ROWS {
        most[r] = f32::new(LOWEST);
        sum[r] = f32::new(0.0);
        factor[r] = f32::reinterpret(plan[factors + min(first_row + first_own + r, last_row) / n_rep]);
        #[unroll]
        for c in 0..own_fours {
            acc[r * own_fours + c] = Four::<f32>::new(0.0f32);
        }
    }

    for span in 0..n_spans {
        // the keys that any query of the cube sees
        let mut from = u32::MAX.runtime();
        let mut to = 0u32.runtime();
        for token in first_row / n_rep..last_row / n_rep + 1 {
            let (a, b) = (plan[bounds + (span * seq_q + token) * 2], plan[bounds + (span * seq_q + token) * 2 + 1]);
            if a < b {
                from = min(from, a);
                to = max(to, b);
            }
        }
        if from < to {
            let mut n = unit;
            while n < comptime!(tile.rows * (tile.head_dim / 4)) {
                let (r, c) = (n / fours, n % fours);
                let row = min(first_row + r, last_row);
                let head = kv_head * n_rep + row % n_rep;
                q_tile[r * pitch + c] = query[((span * n_heads + head) * seq_q + row / n_rep) * fours + c];
                n += units;
            }
            #[unroll]
            for r in 0..ROWS {
                let at = span * seq_q + min(first_row + first_own + r, last_row) / n_rep;
                lo[r] = plan[bounds + at * 2];
                hi[r] = plan[bounds + at * 2 + 1];
                if comptime!(tile.has_holes) {
                    bits[r] = plan[holes + at];
                }
            }
            let key_first = plan[span * HEADER] + CUBE_POS_Y * plan[span * HEADER + 1];
            let start = from - from % keys as u32;
            let n_tiles = (to - start).div_ceil(keys as u32);
            let mut tile_at = 0u32.runtime();
            let mut tile_end = n_tiles;
            if comptime!(tile.is_split) {
                let share = n_tiles.div_ceil(CUBE_COUNT_Z);
                tile_at = CUBE_POS_Z * share;
                tile_end = min(tile_at + share, n_tiles);
            }
            while tile_at < tile_end {
                let first_key = start + tile_at * keys as u32;
                sync_cube();
                if comptime!(tile.half == 0) {
                    let mut n = unit;
                    while n < comptime!(tile.keys * (tile.head_dim / 4)) {
                        let (r, c) = (n / fours, n % fours);
                        let token = clamp_key(first_key + r as u32, from, to);
                        kv_tile[r * pitch + c] =
                            Four::<f32>::cast_from(key[(key_first + token * key_stride) as usize + c]);
                        n += units;
                    }
                } else {
                    load_rotated::<K>(
                        key,
                        cos,
                        sin,
                        &mut kv_tile,
                        unit,
                        key_first,
                        key_stride,
                        table_stride,
                        first_key,
                        from,
                        to,
                        tile,
                    );
                }
                sync_cube();
                #[unroll]
                for i in 0..comptime!(ROWS * own_keys) {
                    scores[i] = f32::new(0.0);
                }
                for c in 0..fours {
                    #[unroll]
                    for r in 0..ROWS {
                        let q = q_tile[(first_own + r) * pitch + c];
                        #[unroll]
                        for j in 0..own_keys {
                            scores[r * own_keys + j] += dot(q, kv_tile[(lane + j * LANES as usize) * pitch + c]);
                        }
                    }
                }
                #[unroll]
                for r in 0..ROWS {
                    let mut top = most[r];
                    #[unroll]
                    for j in 0..own_keys {
                        let token = first_key + (lane + j * LANES as usize) as u32;
                        let mut score = scores[r * own_keys + j] * factor[r];
                        if comptime!(tile.has_cap) {
                            score = cap * (score / cap).tanh();
                        }
                        let mut is_seen = token >= lo[r] && token < hi[r];
                        if comptime!(tile.has_holes) {
                            if is_seen && bits[r] != NO_HOLES {
                                let bit = token - lo[r];
                                let word = plan[words + (bits[r] + bit / 32) as usize];
                                is_seen = (word >> (bit % 32)) & 1 == 1;
                            }
                        }
                        score = select(is_seen, score, f32::new(HIDDEN));
                        scores[r * own_keys + j] = score;
                        top = max(top, score);
                    }
                    top = lanes_max(top);
                    let kept = (most[r] - top).exp(); // what the sums so far are worth now
                    most[r] = top;
                    sum[r] *= kept;
                    #[unroll]
                    for j in 0..own_keys {
                        let weight = (scores[r * own_keys + j] - top).exp();
                        sum[r] += weight;
                        weights[(first_own + r) * (keys + 1) + lane + j * LANES as usize] = weight;
                    }
                    #[unroll]
                    for c in 0..own_fours {
                        acc[r * own_fours + c] *= Four::<f32>::new(kept);
                    }
                }
                sync_cube();
                let mut n = unit;
                while n < comptime!(tile.keys * (tile.head_dim / 4)) {
                    let (r, c) = (n / fours, n % fours);
                    let token = clamp_key(first_key + r as u32, from, to);
                    let row = CUBE_POS_Y * value_head_stride + token * value_stride;
                    kv_tile[r * pitch + c] = Four::<f32>::cast_from(value[row as usize + c]);
                    n += units;
                }
                sync_cube();
                for k in 0..keys {
                    #[unroll]
                    for c in 0..own_fours {
                        let column = lane + c * LANES as usize;
                        if column < fours {
                            let v = kv_tile[k * pitch + column];
                            #[unroll]
                            for r in 0..ROWS {
                                acc[r * own_fours + c] +=
                                    v * Four::<f32>::new(weights[(first_own + r) * (keys + 1) + k]);
                            }
                        }
                    }
                }
                tile_at += 1;
            }
            sync_cube(); // before the next span's queries take the place of these
        }
    }

    #[unroll]
    for r in 0..ROWS {
        let total = lanes_sum(sum[r]);
        let row = first_row + first_own + r;
        if row < seq_q * n_rep {
            let (token, head) = (row / n_rep, kv_head * n_rep + row % n_rep);
            let mut share = f32::new(1.0);
            let mut to = token * n_heads + head;
            if comptime!(tile.is_split) {
                to = ((first_part + CUBE_POS_Z) as usize * n_heads + head) * seq_q + token;
                if lane == 0 {
                    lse[to * 2] = most[r];
                    lse[to * 2 + 1] = total;
                }
            } else {
                share = 1.0 / max(total, f32::new(f32::MIN_POSITIVE));
                if lane == 0 {
                    lse[head * seq_q + token] = most[r] + max(total, f32::new(f32::MIN_POSITIVE)).ln();
                }
            }
            #[unroll]
            for c in 0..own_fours {
                let column = lane + c * LANES as usize;
                if column < fours {
                    out[to * fours + column] = acc[r * own_fours + c] * Four::<f32>::new(share);
                }
            }
        }
    }
}

#[cube]
fn from_last(n: u32, at: u32) -> u32 {
    n - 1 - at
}

/// A key of the tile, or the nearest that the cube's queries see.
#[cube]
fn clamp_key(token: u32, from: u32, to: u32) -> u32 {
    min(max(token, from), to - 1)
}

/// Keys into their tile, at the positions of their span.
#[cube]
#[allow(clippy::too_many_arguments)]
fn load_rotated<K: Float>(
    key: &Array<Four<K>>,
    cos: &Array<f32>,
    sin: &Array<f32>,
    tile_of_keys: &mut SharedMemory<Four<f32>>,
    unit: usize,
    key_first: u32,
    key_stride: u32,
    table_stride: u32,
    first_key: u32,
    from: u32,
    to: u32,
    #[comptime] tile: Tile,
) {
    let pitch = comptime!(tile.head_dim / 4 + 1);
    let half = comptime!(tile.half / 4);
    let width = comptime!((tile.head_dim - tile.half) / 4); // units of a key
    let mut n = unit;
    while n < comptime!(tile.keys * (tile.head_dim - tile.half) / 4) {
        let (r, c) = (n / width, n % width);
        let token = clamp_key(first_key + r as u32, from, to);
        let row = (key_first + token * key_stride) as usize;
        if c < half {
            let angle = (token * table_stride) as usize + c * 4;
            let (a, b) = (Four::<f32>::cast_from(key[row + c]), Four::<f32>::cast_from(key[row + c + half]));
            let mut x = Four::<f32>::empty();
            let mut y = Four::<f32>::empty();
            #[unroll]
            for i in 0..4usize {
                let (co, si) = (cos[angle + i], sin[angle + i]);
                x[i] = a[i] * co - b[i] * si;
                y[i] = b[i] * co + a[i] * si;
            }
            tile_of_keys[r * pitch + c] = x;
            tile_of_keys[r * pitch + c + half] = y;
        } else {
            tile_of_keys[r * pitch + c + half] = Four::<f32>::cast_from(key[row + c + half]);
        }
        n += comptime!(tile.rows / ROWS * LANES as usize);
    }
}

/// Parts of the same queries as one softmax.
fn merge<R: CubeRuntime, BT: BoolElement>(
    problem: &SpanAttention<'_, Gpu<R, BT>>,
    n_parts: usize,
    part: &CubeTensor<R>,
    sums: &CubeTensor<R>,
) -> Attended<Gpu<R, BT>> {
    let [n_heads, seq_q, head_dim] = problem.query.dims();
    let out = empty(part, [seq_q, n_heads, head_dim], DType::F32);
    let lse = empty(part, [n_heads, seq_q], DType::F32);
    let n = n_heads * seq_q * head_dim;
    // SAFETY: every index is below the lengths that the shapes give
    unsafe {
        merge_parts::launch_unchecked::<R>(
            &part.client,
            cubes_for(n, MERGE_UNITS as usize),
            CubeDim::new_1d(MERGE_UNITS),
            array(part),
            array(sums),
            array(&out),
            array(&lse),
            n as u32,
            n_parts as u32,
            n_heads as u32,
            seq_q as u32,
            head_dim,
        );
    }
    Attended { out: tensor::<R, BT, 3>(out).swap_dims(0, 1), lse: tensor(lse) }
}

const MERGE_UNITS: u32 = 64;

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn merge_parts(
    part: &Array<f32>,
    sums: &Array<f32>,
    out: &mut Array<f32>,
    lse: &mut Array<f32>,
    n: u32,
    n_parts: u32,
    n_heads: u32,
    seq_q: u32,
    #[comptime] head_dim: usize,
) {
    let at = ABSOLUTE_POS;
    if at < n as usize {
        let (dim, row) = (at % head_dim, at / head_dim); // row: head * seq_q + token
        let n_rows = (n_heads * seq_q) as usize;
        let mut most = f32::new(LOWEST);
        for p in 0..n_parts as usize {
            most = max(most, sums[(p * n_rows + row) * 2]);
        }
        let mut total = f32::new(0.0);
        let mut x = f32::new(0.0);
        for p in 0..n_parts as usize {
            let share = (sums[(p * n_rows + row) * 2] - most).exp();
            total += share * sums[(p * n_rows + row) * 2 + 1];
            x += share * part[(p * n_rows + row) * head_dim + dim];
        }
        total = max(total, f32::new(f32::MIN_POSITIVE));
        let (head, token) = (row / seq_q as usize, row % seq_q as usize);
        out[(token * n_heads as usize + head) * head_dim + dim] = x / total;
        if dim == 0 {
            lse[row] = most + total.ln();
        }
    }
}
