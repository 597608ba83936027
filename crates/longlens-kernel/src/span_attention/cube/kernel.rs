//! The launches of span attention.

use cubecl::prelude::*;

use super::tile::{ROWS, Sizes, Tile, clamp_key, keys_of_rows, load_keys, load_queries, new_own, own_row, score_tile};
use crate::cube::{Four, LANES, lanes_max, lanes_sum};
use crate::span_attention::LOWEST;

/// `out`: `[seq_q, n_heads, head_dim]` and `lse`: `[n_heads, seq_q]`; where keys are shared out, of every part
/// `[n_heads, seq_q, head_dim]`, not divided by the sum, and `[n_heads, seq_q, 2]`, the largest score and the sum.
#[cube(launch_unchecked)]
pub(super) fn attend_spans<K: Float, V: Float, O: Float>(
    query: &Array<Four<f32>>,
    key: &Array<Four<K>>,
    value: &Array<Four<V>>,
    plan: &Array<u32>,
    cos: &Array<f32>,
    sin: &Array<f32>,
    out: &mut Array<Four<O>>,
    lse: &mut Array<f32>,
    sizes: &Sizes,
    #[comptime] tile: Tile,
    #[define(K)] _key: StorageType,
    #[define(V)] _value: StorageType,
    #[define(O)] _out: StorageType,
) {
    let (keys, fours, pitch) = (comptime!(tile.keys), comptime!(tile.fours()), comptime!(tile.pitch()));
    let (own_keys, own_fours) = (comptime!(tile.own_keys()), comptime!(tile.own_fours()));
    let n_rep = comptime!(tile.n_rep as u32);
    let mut q_tile = SharedMemory::<Four<f32>>::new(comptime!(tile.rows * tile.pitch()));
    let mut kv_tile = SharedMemory::<Four<f32>>::new(comptime!(tile.keys * tile.pitch())); // keys, then values
    let mut weights = SharedMemory::<f32>::new(comptime!(tile.rows * (tile.keys + 1)));
    let lane = (UNIT_POS % LANES) as usize;
    let n_rows = sizes.seq_q * n_rep;
    // later queries see more keys: they begin first
    let first_row = from_last(CUBE_COUNT_X, CUBE_POS_X) * comptime!(tile.rows as u32);
    let last_row = min(first_row + comptime!(tile.rows as u32), n_rows) - 1;

    let mut own = new_own();
    let mut most = Array::<f32>::new(ROWS);
    let mut sum = Array::<f32>::new(ROWS);
    let mut scores = Array::<f32>::new(comptime!(ROWS * tile.own_keys()));
    let mut acc = Array::<Four<f32>>::new(comptime!(ROWS * tile.own_fours()));
    #[unroll]
    for r in 0..ROWS {
        most[r] = f32::new(LOWEST);
        sum[r] = f32::new(0.0);
        #[unroll]
        for c in 0..own_fours {
            acc[r * own_fours + c] = Four::<f32>::new(0.0f32);
        }
    }

    for span in 0..sizes.n_spans {
        let (from, to) = keys_of_rows(plan, sizes, span, first_row, last_row, comptime!(tile.n_rep));
        if from < to {
            load_queries::<f32>(query, plan, &mut q_tile, &mut own, sizes, span, first_row, last_row, tile);
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
                load_keys::<K>(key, plan, cos, sin, &mut kv_tile, sizes, span, first_key, from, to, tile);
                sync_cube();
                score_tile(&q_tile, &kv_tile, plan, &mut scores, &own, sizes, first_key, tile);
                #[unroll]
                for r in 0..ROWS {
                    let mut top = most[r];
                    #[unroll]
                    for j in 0..own_keys {
                        top = max(top, scores[r * own_keys + j]);
                    }
                    top = lanes_max(top);
                    let kept = (most[r] - top).exp(); // what the sums so far are worth now
                    most[r] = top;
                    sum[r] *= kept;
                    #[unroll]
                    for j in 0..own_keys {
                        let weight = (scores[r * own_keys + j] - top).exp();
                        sum[r] += weight;
                        weights[(own_row() as usize + r) * (keys + 1) + lane + j * LANES as usize] = weight;
                    }
                    #[unroll]
                    for c in 0..own_fours {
                        acc[r * own_fours + c] *= Four::<f32>::new(kept);
                    }
                }
                sync_cube();
                let mut n = UNIT_POS as usize;
                while n < comptime!(tile.keys * tile.fours()) {
                    let (r, c) = (n / fours, n % fours);
                    let token = clamp_key(first_key + r as u32, from, to);
                    let row = CUBE_POS_Y * sizes.value_head_stride + token * sizes.value_stride;
                    kv_tile[r * pitch + c] = Four::<f32>::cast_from(value[row as usize + c]);
                    n += comptime!(tile.units());
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
                                let weight = weights[(own_row() as usize + r) * (keys + 1) + k];
                                acc[r * own_fours + c] += v * Four::<f32>::new(weight);
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
        let row = first_row + own_row() + r as u32;
        if row < n_rows {
            let (token, head) = (row / n_rep, CUBE_POS_Y * n_rep + row % n_rep);
            let mut share = f32::new(1.0);
            let mut to = token * sizes.n_heads + head;
            if comptime!(tile.is_split) {
                to = ((sizes.first_part + CUBE_POS_Z) * sizes.n_heads + head) * sizes.seq_q + token;
                if lane == 0 {
                    lse[(to * 2) as usize] = most[r];
                    lse[(to * 2 + 1) as usize] = total;
                }
            } else {
                let total = max(total, f32::new(f32::MIN_POSITIVE));
                share = 1.0 / total;
                if lane == 0 {
                    lse[(head * sizes.seq_q + token) as usize] = most[r] + total.ln();
                }
            }
            #[unroll]
            for c in 0..own_fours {
                let column = lane + c * LANES as usize;
                if column < fours {
                    out[to as usize * fours + column] =
                        Four::<O>::cast_from(acc[r * own_fours + c] * Four::<f32>::new(share));
                }
            }
        }
    }
}

#[cube]
fn from_last(n: u32, at: u32) -> u32 {
    n - 1 - at
}

/// Parts of the same queries as one softmax: one unit for every number of the result.
#[cube(launch_unchecked)]
pub(super) fn merge_parts<O: Float>(
    part: &Array<f32>,
    sums: &Array<f32>,
    out: &mut Array<O>,
    lse: &mut Array<f32>,
    n: u32,
    n_parts: u32,
    n_heads: u32,
    seq_q: u32,
    #[comptime] head_dim: usize,
    #[define(O)] _out: StorageType,
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
        out[(token * n_heads as usize + head) * head_dim + dim] = O::cast_from(x / total);
        if dim == 0 {
            lse[row] = most + total.ln();
        }
    }
}
