//! A tile of scores: some queries of a key head against consecutive keys of a span. Attention and pooled maps are made of these.

use cubecl::prelude::*;

use crate::cube::{Four, LANES, dot};
use crate::span_attention::intervals::{HEADER, NO_HOLES};

/// Queries that one unit holds.
pub(crate) const ROWS: usize = 4;
/// Score of a key that a query does not see: so far below all others that its weight is 0.
pub(crate) const HIDDEN: f32 = -3e38;

/// What a kernel is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Tile {
    /// Queries of a cube.
    pub rows: usize,
    /// Keys that are looked at together.
    pub keys: usize,
    pub head_dim: usize,
    /// Query heads of a key head.
    pub n_rep: usize,
    pub has_cap: bool,
    pub has_holes: bool,
    /// Pairs of dimensions of a key that are rotated as it is read; 0 where keys come rotated.
    pub half: usize,
    /// Whether the keys of a block of queries are shared out to several cubes.
    pub is_split: bool,
}

impl Tile {
    /// Sizes whose tiles fit the shared memory of a small device (32 KiB).
    pub fn of(head_dim: usize, n_rows: usize, n_rep: usize) -> Self {
        let (most_rows, keys) = match (n_rows <= super::FEW, head_dim) {
            (true, 0..=64) => (super::FEW, 64),
            (true, 65..=128) => (super::FEW, 32),
            (true, _) => (8, 16),
            (false, 0..=64) => (32, 32),
            (false, 65..=128) => (32, 16),
            (false, _) => (16, 8),
        };
        let rows = n_rows.next_multiple_of(ROWS).min(most_rows);
        Self { rows, keys, head_dim, n_rep, has_cap: false, has_holes: false, half: 0, is_split: false }
    }

    pub fn cube_dim(&self) -> CubeDim {
        CubeDim::new_1d(self.units() as u32)
    }

    pub fn units(&self) -> usize {
        self.rows / ROWS * LANES as usize
    }

    /// Vectors of a row.
    pub fn fours(&self) -> usize {
        self.head_dim / 4
    }

    /// Vectors from one row of a tile to the next: rows begin in different banks of shared memory.
    pub fn pitch(&self) -> usize {
        self.fours() + 1
    }

    /// Keys of a unit.
    pub fn own_keys(&self) -> usize {
        self.keys / LANES as usize
    }

    /// Vectors of a unit in a row of values, at most.
    pub fn own_fours(&self) -> usize {
        self.fours().div_ceil(LANES as usize)
    }
}

/// Sizes that change from launch to launch.
#[derive(CubeType, CubeLaunch, Clone)]
pub(crate) struct Sizes {
    pub seq_q: u32,
    pub n_heads: u32,
    pub n_spans: u32,
    /// Vectors from one key of a head to the next.
    pub key_stride: u32,
    pub value_head_stride: u32,
    pub value_stride: u32,
    /// Numbers from one row of the rotation's table to the next.
    pub table_stride: u32,
    /// The part that the first cube of a split launch writes.
    pub first_part: u32,
    /// Bound of scores.
    pub cap: f32,
}

/// What one unit knows of its queries in a span: their intervals, and where the bits of those with holes begin.
#[derive(CubeType)]
pub(crate) struct Own {
    pub lo: Array<u32>,
    pub hi: Array<u32>,
    pub bits: Array<u32>,
    pub factor: Array<f32>,
}

#[cube]
pub(crate) fn new_own() -> Own {
    Own { lo: Array::new(ROWS), hi: Array::new(ROWS), bits: Array::new(ROWS), factor: Array::new(ROWS) }
}

/// The keys that any query of rows `first_row ..= last_row` sees in a span, as the first and one past the last.
#[cube]
pub(crate) fn keys_of_rows(
    plan: &Array<u32>,
    sizes: &Sizes,
    span: u32,
    first_row: u32,
    last_row: u32,
    #[comptime] n_rep: usize,
) -> (u32, u32) {
    let bounds = sizes.n_spans * HEADER as u32 + span * sizes.seq_q * 2;
    let mut from = u32::MAX.runtime();
    let mut to = 0u32.runtime();
    let end = last_row / n_rep as u32 + 1;
    for token in first_row / n_rep as u32..end {
        let (a, b) = (plan[(bounds + token * 2) as usize], plan[(bounds + token * 2 + 1) as usize]);
        if a < b {
            from = min(from, a);
            to = max(to, b);
        }
    }
    (from, to)
}

/// Queries at their positions in a span into their tile; what a unit has to know of its own.
#[cube]
pub(crate) fn load_queries<Q: Float>(
    query: &Array<Four<Q>>,
    plan: &Array<u32>,
    q_tile: &mut SharedMemory<Four<f32>>,
    own: &mut Own,
    sizes: &Sizes,
    span: u32,
    first_row: u32,
    last_row: u32,
    #[comptime] tile: Tile,
) {
    let (fours, pitch) = (comptime!(tile.fours()), comptime!(tile.pitch()));
    let n_rep = comptime!(tile.n_rep as u32);
    let mut n = UNIT_POS as usize;
    while n < comptime!(tile.rows * tile.fours()) {
        let (r, c) = (n / fours, n % fours);
        let row = min(first_row + r as u32, last_row);
        let head = CUBE_POS_Y * n_rep + row % n_rep;
        let from = (span * sizes.n_heads + head) * sizes.seq_q + row / n_rep;
        q_tile[r * pitch + c] = Four::<f32>::cast_from(query[from as usize * fours + c]);
        n += comptime!(tile.units());
    }
    let bounds = sizes.n_spans * HEADER as u32;
    let factors = bounds + 2 * sizes.n_spans * sizes.seq_q;
    #[unroll]
    for r in 0..ROWS {
        let token = min(first_row + own_row() + r as u32, last_row) / n_rep;
        let at = span * sizes.seq_q + token;
        own.lo[r] = plan[(bounds + at * 2) as usize];
        own.hi[r] = plan[(bounds + at * 2 + 1) as usize];
        own.factor[r] = f32::reinterpret(plan[(factors + token) as usize]);
        if comptime!(tile.has_holes) {
            own.bits[r] = plan[(factors + sizes.seq_q + at) as usize];
        }
    }
}

/// The first row of the tile that a unit holds.
#[cube]
pub(crate) fn own_row() -> u32 {
    UNIT_POS / LANES * ROWS as u32
}

/// Keys at the positions of a span into their tile.
#[cube]
pub(crate) fn load_keys<K: Float>(
    key: &Array<Four<K>>,
    plan: &Array<u32>,
    cos: &Array<f32>,
    sin: &Array<f32>,
    kv_tile: &mut SharedMemory<Four<f32>>,
    sizes: &Sizes,
    span: u32,
    first_key: u32,
    from: u32,
    to: u32,
    #[comptime] tile: Tile,
) {
    let pitch = comptime!(tile.pitch());
    let half = comptime!(tile.half / 4);
    let width = comptime!(tile.fours() - tile.half / 4); // units of a key
    // where token 0 of the head would lie
    let head = plan[(span * HEADER as u32) as usize] + CUBE_POS_Y * plan[(span * HEADER as u32 + 1) as usize];
    let mut n = UNIT_POS as usize;
    while n < comptime!(tile.keys * (tile.fours() - tile.half / 4)) {
        let (r, c) = (n / width, n % width);
        let token = clamp_key(first_key + r as u32, from, to);
        let row = (head + token * sizes.key_stride) as usize;
        if comptime!(tile.half > 0) {
            if c < half {
                let angle = (token * sizes.table_stride) as usize + c * 4;
                let (a, b) = (Four::<f32>::cast_from(key[row + c]), Four::<f32>::cast_from(key[row + c + half]));
                let (x, y) = rotated(a, b, cos, sin, angle);
                kv_tile[r * pitch + c] = x;
                kv_tile[r * pitch + c + half] = y;
            } else {
                kv_tile[r * pitch + c + half] = Four::<f32>::cast_from(key[row + c + half]);
            }
        } else {
            kv_tile[r * pitch + c] = Four::<f32>::cast_from(key[row + c]);
        }
        n += comptime!(tile.units());
    }
}

/// A key of the tile, or the nearest that the cube's queries see.
#[cube]
pub(crate) fn clamp_key(token: u32, from: u32, to: u32) -> u32 {
    min(max(token, from), to - 1)
}

/// Four pairs of dimensions rotated by consecutive angles of a table.
#[cube]
pub(crate) fn rotated(
    a: Four<f32>,
    b: Four<f32>,
    cos: &Array<f32>,
    sin: &Array<f32>,
    angle: usize,
) -> (Four<f32>, Four<f32>) {
    let mut x = Four::<f32>::empty();
    let mut y = Four::<f32>::empty();
    #[unroll]
    for i in 0..4usize {
        let (c, s) = (cos[angle + i], sin[angle + i]);
        x[i] = a[i] * c - b[i] * s;
        y[i] = b[i] * c + a[i] * s;
    }
    (x, y)
}

/// A unit's scores, `[ROWS, own_keys]`: of its queries with keys `lane`, `lane + LANES`, … of the tile.
#[cube]
pub(crate) fn score_tile(
    q_tile: &SharedMemory<Four<f32>>,
    kv_tile: &SharedMemory<Four<f32>>,
    plan: &Array<u32>,
    scores: &mut Array<f32>,
    own: &Own,
    sizes: &Sizes,
    first_key: u32,
    #[comptime] tile: Tile,
) {
    let (pitch, own_keys) = (comptime!(tile.pitch()), comptime!(tile.own_keys()));
    let lane = (UNIT_POS % LANES) as usize;
    let first = own_row() as usize;
    #[unroll]
    for i in 0..comptime!(ROWS * tile.own_keys()) {
        scores[i] = f32::new(0.0);
    }
    for c in 0..comptime!(tile.fours()) {
        #[unroll]
        for r in 0..ROWS {
            let q = q_tile[(first + r) * pitch + c];
            #[unroll]
            for j in 0..own_keys {
                scores[r * own_keys + j] += dot(q, kv_tile[(lane + j * LANES as usize) * pitch + c]);
            }
        }
    }
    let words = sizes.n_spans * HEADER as u32 + 3 * sizes.n_spans * sizes.seq_q + sizes.seq_q;
    #[unroll]
    for r in 0..ROWS {
        #[unroll]
        for j in 0..own_keys {
            let token = first_key + (lane + j * LANES as usize) as u32;
            let mut score = scores[r * own_keys + j] * own.factor[r];
            if comptime!(tile.has_cap) {
                score = sizes.cap * (score / sizes.cap).tanh();
            }
            let mut is_seen = token >= own.lo[r] && token < own.hi[r];
            if comptime!(tile.has_holes) {
                if is_seen && own.bits[r] != NO_HOLES {
                    let bit = token - own.lo[r];
                    let word = plan[(words + own.bits[r] + bit / 32) as usize];
                    is_seen = (word >> (bit % 32)) & 1 == 1;
                }
            }
            scores[r * own_keys + j] = select(is_seen, score, f32::new(HIDDEN));
        }
    }
}
