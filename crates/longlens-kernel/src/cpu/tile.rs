//! One tile of attention: a few queries against a run of keys, softmax kept up as it goes.
//!
//! `S = Q K^T` with one vector lane per key, weights `2^(S - max)` in place, then `O += W V` with one lane per dimension:
//! both products keep [`ROWS`] queries times a few vectors in registers, and nothing but the weights of a tile is ever
//! stored. The running maximum and sum are those of Milakov and Gimelshein, 2018, arXiv:1805.02867; queries come
//! multiplied by `log2 e`, so that the exponential is a power of two.

use std::ops::Range;

use longlens_core::plan::ReachTable;

use super::simd::{Aligned, Simd, exp2, load, soft_cap, store};

/// Queries of a tile. Six rows of four vectors fill the 32 registers of AVX-512 and NEON, six of two the 16 of AVX2.
pub(crate) const ROWS: usize = 6;
/// Keys of a tile at most.
pub(crate) const KEYS: usize = 512;
/// Where the running maximum starts: below every score, yet finite, so that a fully masked row gives 0 and not NaN.
pub(crate) const LOWEST: f32 = -1e30;

/// First and end of the keys that each query of a tile sees.
pub(crate) type Each = [(usize, usize); ROWS];

/// What a tile multiplies.
pub(crate) struct Tile<'a> {
    /// [`ROWS`] rotated queries times `log2 e`: `[ROWS, head_dim]`.
    pub queries: &'a [f32],
    /// Consecutive panels: `[n, head_dim, lanes]`.
    pub keys: &'a [f32],
    /// Values of the same keys, row by row.
    pub values: Values<'a>,
    /// Dimensions of a key.
    pub head_dim: usize,
    /// Keys that any of the queries sees, counted from the first key of the first panel.
    pub seen: Range<usize>,
    /// Keys that each query sees; without it all see all of `seen`.
    pub each: Option<Each>,
    /// What the queries do not see between those.
    pub holes: Option<TileHoles<'a>>,
    /// Bound of scores in powers of two, if there is one.
    pub cap: Option<f32>,
}

/// Keys that the queries of a tile do not see, written out in a table; `each` is there where one of them has any.
pub(crate) struct TileHoles<'a> {
    pub table: &'a ReachTable,
    /// The tile's queries, at most [`ROWS`].
    pub queries: Range<usize>,
    /// The tile's first key.
    pub first_key: usize,
}

/// Values from a tile's first key on.
#[derive(Clone, Copy, Default)]
pub(crate) struct Values<'a> {
    pub numbers: &'a [f32],
    /// Numbers from row to row, at least the width of a row.
    pub stride: usize,
}

/// Softmax of some queries so far.
pub(crate) struct Running {
    max: Vec<f32>,
    sum: Aligned, // [n_rows, lanes]
    out: Aligned, // [n_rows, width]
    lanes: usize,
    width: usize,
}

impl Running {
    pub(crate) fn new(n_rows: usize, width: usize, lanes: usize) -> Self {
        let (sum, out) = (Aligned::zeros(n_rows * lanes), Aligned::zeros(n_rows * width));
        Self { max: vec![LOWEST; n_rows], sum, out, lanes, width }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.max.fill(LOWEST);
        self.sum.fill(0.0);
        self.out.fill(0.0);
    }

    /// Writes a row's output; returns its log-sum-exp. A row that saw no key gets zeros and a very low one.
    pub(crate) fn finish(&self, row: usize, out: &mut [f32]) -> f32 {
        let sum: f32 = self.sum[row * self.lanes..(row + 1) * self.lanes].iter().sum();
        // a sum of NaN divides, so that what is not a number stays so
        let share = if sum == 0.0 { 0.0 } else { sum.recip() };
        for (out, x) in out.iter_mut().zip(&self.out[row * self.width..]) {
            *out = x * share;
        }
        lse(self.max[row], sum)
    }

    /// Makes `max` at least `max`; what was added so far shrinks with it. Returns the new maximum.
    #[inline(always)]
    fn raise<S: Simd>(&mut self, simd: S, row: usize, max: f32) -> f32 {
        let old = self.max[row];
        if max <= old {
            return old;
        }
        self.max[row] = max;
        let kept = exp2(simd, simd.splat_f32s(old - max));
        let (sum, out) = (&mut self.sum[row * self.lanes..], &mut self.out[row * self.width..(row + 1) * self.width]);
        // SAFETY: a row of sums is one vector, a row of outputs whole vectors
        unsafe {
            store(simd, sum.as_mut_ptr(), simd.mul_f32s(kept, load(simd, sum.as_ptr())));
            for x in out.chunks_exact_mut(S::F32_LANES) {
                store(simd, x.as_mut_ptr(), simd.mul_f32s(kept, load(simd, x.as_ptr())));
            }
        }
        max
    }
}

/// Log-sum-exp of scores in powers of two, relative to their maximum: very low of no scores, NaN of NaN.
pub(crate) fn lse(max: f32, sum: f32) -> f32 {
    let sum = if sum == 0.0 { f32::MIN_POSITIVE } else { sum };
    (max + sum.log2()) * std::f32::consts::LN_2
}

/// Room for the weights of a tile.
pub(crate) fn weights() -> Aligned {
    Aligned::zeros(ROWS * KEYS)
}

/// Adds a tile to the rows of `running`. `weights` is room of [`weights`]. Rows are distinct, but for places of the tile
/// without a query: they may share one row that nobody reads.
#[inline(always)]
pub(crate) fn attend<S: Simd>(
    simd: S,
    tile: &Tile<'_>,
    rows: &[usize; ROWS],
    running: &mut Running,
    weights: &mut [f32],
) {
    let lanes = S::F32_LANES;
    let max = scores(simd, tile, weights);
    let first = tile.seen.start / lanes * lanes;
    let n = tile.seen.end.next_multiple_of(lanes) - first;
    for (r, row) in rows.iter().enumerate() {
        let max = simd.splat_f32s(running.raise(simd, *row, max[r]));
        let sum = &mut running.sum[row * lanes..(row + 1) * lanes];
        // SAFETY: the row of sums is one vector; `scores` filled the first `n` weights of every row
        unsafe {
            let mut total = load(simd, sum.as_ptr());
            let at = weights.as_mut_ptr().add(r * KEYS);
            for v in (0..n).step_by(lanes) {
                let weight = exp2(simd, simd.sub_f32s(load(simd, at.add(v)), max));
                total = simd.add_f32s(total, weight);
                store(simd, at.add(v), weight);
            }
            store(simd, sum.as_mut_ptr(), total);
        }
    }
    let width = running.width;
    let n_seen = tile.seen.len();
    let stride = tile.values.stride;
    let end = (tile.seen.end - 1) * stride + width;
    assert!(n_seen > 0 && stride >= width && end <= tile.values.numbers.len(), "values for {} keys", tile.seen.end);
    assert!(rows.iter().all(|row| (row + 1) * width <= running.out.len()));
    let out = running.out.as_mut_ptr();
    let mut d = 0;
    while d < width {
        let left = (width - d) / lanes;
        // SAFETY: rows lie inside `out`, which is `width` wide; values and weights cover the seen keys
        unsafe {
            let mut outs = [out; ROWS];
            for r in 0..ROWS {
                outs[r] = out.add(rows[r] * width + d);
            }
            let values = tile.values.numbers.as_ptr().add(tile.seen.start * stride + d);
            let weights = weights.as_ptr().add(tile.seen.start - first);
            d += lanes
                * match (S::REGISTER_COUNT >= 32, left) {
                    (true, 4..) => weigh::<S, 4, 1>(simd, outs, weights, values, n_seen, stride),
                    (true, 2..) => weigh::<S, 2, 2>(simd, outs, weights, values, n_seen, stride),
                    (true, _) => weigh::<S, 1, 4>(simd, outs, weights, values, n_seen, stride),
                    (false, 2..) => weigh::<S, 2, 1>(simd, outs, weights, values, n_seen, stride),
                    (false, _) => weigh::<S, 1, 2>(simd, outs, weights, values, n_seen, stride),
                };
        }
    }
}

/// Writes the scores of a tile, one row of [`KEYS`] per query, starting with the first panel that is seen; hidden keys get
/// minus infinity. Returns the largest score of each query.
#[inline(always)]
pub(crate) fn scores<S: Simd>(simd: S, tile: &Tile<'_>, weights: &mut [f32]) -> [f32; ROWS] {
    let lanes = S::F32_LANES;
    let (first, end) = (tile.seen.start / lanes, tile.seen.end.div_ceil(lanes));
    let size = tile.head_dim * lanes;
    assert!((end - first) * lanes <= KEYS && weights.len() >= ROWS * KEYS, "a tile of {:?} keys", tile.seen);
    assert!(tile.keys.len() >= end * size && tile.queries.len() >= tile.head_dim * ROWS, "panels and queries");
    let mut max = [simd.splat_f32s(LOWEST); ROWS];
    let mut panel = first;
    while panel < end {
        // SAFETY: panels before `end` and the queries are readable, weights up to `end` writable, by the checks above
        unsafe {
            let keys = tile.keys.as_ptr().add(panel * size);
            let to = weights.as_mut_ptr().add((panel - first) * lanes);
            let queries = tile.queries.as_ptr();
            panel += match (S::REGISTER_COUNT >= 32, end - panel) {
                (true, 4..) => product::<S, 4>(simd, queries, keys, tile.head_dim, to, &mut max),
                (_, 2..) => product::<S, 2>(simd, queries, keys, tile.head_dim, to, &mut max),
                _ => product::<S, 1>(simd, queries, keys, tile.head_dim, to, &mut max),
            };
        }
    }
    if let Some(bound) = tile.cap {
        for r in 0..ROWS {
            soft_cap(simd, &mut weights[r * KEYS..r * KEYS + (end - first) * lanes], bound);
            let mut one = [simd.reduce_max_f32s(max[r])];
            soft_cap(simd, &mut one, bound);
            max[r] = simd.splat_f32s(one[0].max(LOWEST));
        }
    }
    if tile.each.is_none() && tile.seen.start.is_multiple_of(lanes) && tile.seen.end.is_multiple_of(lanes) {
        let mut largest = [LOWEST; ROWS];
        for r in 0..ROWS {
            largest[r] = simd.reduce_max_f32s(max[r]);
        }
        return largest;
    }
    let each = tile.each.unwrap_or([(tile.seen.start, tile.seen.end); ROWS]);
    let n = (end - first) * lanes;
    let mut largest = [LOWEST; ROWS];
    for (r, (from, to)) in each.into_iter().enumerate() {
        let row = &mut weights[r * KEYS..r * KEYS + n];
        let from = from.saturating_sub(first * lanes).min(n);
        let to = to.saturating_sub(first * lanes).clamp(from, n);
        row[..from].fill(f32::NEG_INFINITY);
        row[to..].fill(f32::NEG_INFINITY);
        if let Some(holes) = &tile.holes {
            holes.hide(r, first * lanes, row);
        }
        let mut max = simd.splat_f32s(LOWEST);
        for v in row.chunks_exact(lanes) {
            // SAFETY: a chunk is one vector
            max = simd.max_f32s(max, unsafe { load(simd, v.as_ptr()) });
        }
        largest[r] = simd.reduce_max_f32s(max);
    }
    largest
}

impl TileHoles<'_> {
    /// Hides what query `r` does not see in its row of scores, which starts with the tile's key `first`.
    fn hide(&self, r: usize, first: usize, row: &mut [f32]) {
        let query = (self.queries.start + r).min(self.queries.end - 1);
        let Some(holes) = self.table.holes(query) else { return };
        let first = self.first_key + first;
        holes.hidden(first..first + row.len(), |key| row[key - first] = f32::NEG_INFINITY);
    }
}

/// Scores of [`ROWS`] queries and `NV` panels, written to `to`; returns `NV`.
///
/// # Safety
/// `queries` holds `[ROWS, head_dim]`, `keys` `NV` panels; `to` takes `NV` vectors at every [`KEYS`].
#[inline(always)]
unsafe fn product<S: Simd, const NV: usize>(
    simd: S,
    queries: *const f32,
    keys: *const f32,
    head_dim: usize,
    to: *mut f32,
    max: &mut [S::f32s; ROWS],
) -> usize {
    let lanes = S::F32_LANES;
    let size = head_dim * lanes;
    let mut sums = [[simd.splat_f32s(0.0); NV]; ROWS];
    // SAFETY: all inside by the contract
    unsafe {
        for d in 0..head_dim {
            let mut key = [simd.splat_f32s(0.0); NV];
            for v in 0..NV {
                key[v] = load(simd, keys.add(v * size + d * lanes));
            }
            for r in 0..ROWS {
                let query = simd.splat_f32s(*queries.add(r * head_dim + d));
                for v in 0..NV {
                    sums[r][v] = simd.mul_add_e_f32s(query, key[v], sums[r][v]);
                }
            }
        }
        for r in 0..ROWS {
            for v in 0..NV {
                max[r] = simd.max_f32s(max[r], sums[r][v]);
                store(simd, to.add(r * KEYS + v * lanes), sums[r][v]);
            }
        }
    }
    NV
}

/// Adds `weights` times `values` to `DV` vectors of every output row; `UNROLL` sums run side by side, so that no addition
/// waits for the one before. Returns `DV`.
///
/// # Safety
/// `weights` holds `n` numbers at every [`KEYS`], `values` `DV` vectors at every `stride`; outputs that are
/// read do not overlap.
#[inline(always)]
unsafe fn weigh<S: Simd, const DV: usize, const UNROLL: usize>(
    simd: S,
    outs: [*mut f32; ROWS],
    weights: *const f32,
    values: *const f32,
    n: usize,
    stride: usize,
) -> usize {
    let lanes = S::F32_LANES;
    let mut sums = [[[simd.splat_f32s(0.0); DV]; ROWS]; UNROLL];
    // SAFETY: all inside by the contract
    unsafe {
        for r in 0..ROWS {
            for v in 0..DV {
                sums[0][r][v] = load(simd, outs[r].add(v * lanes));
            }
        }
        let whole = n / UNROLL * UNROLL;
        let mut key = 0;
        while key < whole {
            for u in 0..UNROLL {
                add::<S, DV>(simd, &mut sums[u], weights.add(key + u), values.add((key + u) * stride));
            }
            key += UNROLL;
        }
        while key < n {
            add::<S, DV>(simd, &mut sums[0], weights.add(key), values.add(key * stride));
            key += 1;
        }
        for r in 0..ROWS {
            for v in 0..DV {
                let mut sum = sums[0][r][v];
                for u in 1..UNROLL {
                    sum = simd.add_f32s(sum, sums[u][r][v]);
                }
                store(simd, outs[r].add(v * lanes), sum);
            }
        }
    }
    DV
}

/// Adds one key's value to every row's sum.
///
/// # Safety
/// As [`weigh`], for one key.
#[inline(always)]
unsafe fn add<S: Simd, const DV: usize>(
    simd: S,
    sums: &mut [[S::f32s; DV]; ROWS],
    weights: *const f32,
    values: *const f32,
) {
    // SAFETY: all inside by the contract
    unsafe {
        let mut value = [simd.splat_f32s(0.0); DV];
        for v in 0..DV {
            value[v] = load(simd, values.add(v * S::F32_LANES));
        }
        for r in 0..ROWS {
            let weight = simd.splat_f32s(*weights.add(r * KEYS));
            for v in 0..DV {
                sums[r][v] = simd.mul_add_e_f32s(weight, value[v], sums[r][v]);
            }
        }
    }
}
