//! Kernels of products with words. How they are launched stands in [`cube`](super).

use cubecl::prelude::*;

use super::decode::{self, Kept, eight_weights};
use crate::cube::{Four, LANES, dot, lanes_sum};

/// Rows, and outputs, of a cube for many rows.
pub(super) const SIDE: usize = 64;
/// Weights of an output that are in shared memory at once.
const DEPTH: usize = 32;
/// Rows, and outputs, of a unit for many rows.
pub(super) const OWN: usize = 4;

/// What a product's kernel is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Options {
    pub kept: Kept,
    pub has_bias: bool,
    pub has_residual: bool,
}

/// `seq` rows from row `first` on, which units keep the sums of.
#[cube(launch_unchecked)]
pub(super) fn few_rows<X: Float, O: Float>(
    x: &Array<Four<X>>,
    words: &Array<u32>,
    bias: &Array<f32>,
    residual: &Array<f32>,
    out: &mut Array<O>,
    d_out: u32,
    d_in: u32,
    first: u32,
    #[comptime] seq: usize,
    #[comptime] options: Options,
    #[define(X)] _x: StorageType,
    #[define(O)] _out: StorageType,
) {
    let at = ABSOLUTE_POS;
    let (lane, output) = (at % LANES as usize, min(at / LANES as usize, d_out as usize - 1));
    let n_parts = d_in as usize / 8;
    let row_words = decode::row_words(d_in as usize, comptime!(options.kept));
    let mut sums = Array::<f32>::new(seq);
    #[unroll]
    for row in 0..seq {
        sums[row] = f32::new(0.0);
    }
    let mut part = lane;
    while part < n_parts {
        let (a, b) = eight_weights(words, output * row_words, part, comptime!(options.kept));
        #[unroll]
        for row in 0..seq {
            let from = ((first as usize + row) * n_parts + part) * 2;
            sums[row] += dot(a, Four::<f32>::cast_from(x[from])) + dot(b, Four::<f32>::cast_from(x[from + 1]));
        }
        part += LANES as usize;
    }
    #[unroll]
    for row in 0..seq {
        let mut sum = lanes_sum(sums[row]);
        if lane == 0 && at / (LANES as usize) < d_out as usize {
            let to = (first as usize + row) * d_out as usize + output;
            if comptime!(options.has_bias) {
                sum += bias[output];
            }
            if comptime!(options.has_residual) {
                sum += residual[to];
            }
            out[to] = O::cast_from(sum);
        }
    }
}

/// Sizes of a product of many rows.
#[derive(CubeType, CubeLaunch, Clone)]
pub(super) struct Shape {
    seq: u32,
    d_out: u32,
    /// Parts of eight weights in a row.
    n_parts: u32,
    /// Vectors from one row of `x` to the next.
    x_stride: u32,
    /// Words of a row of the matrix.
    row_words: u32,
    /// Vectors from one head of `x` to the next.
    x_head_stride: u32,
    /// Words from one matrix to the next.
    matrix_stride: u32,
    /// Heads that share a matrix.
    n_rep: u32,
    /// The first row of `x` and of the output.
    first: u32,
}

#[cube(launch_unchecked)]
pub(super) fn many_rows<X: Float, O: Float>(
    x: &Array<Four<X>>,
    words: &Array<u32>,
    bias: &Array<f32>,
    residual: &Array<f32>,
    out: &mut Array<O>,
    shape: &Shape,
    #[comptime] options: Options,
    #[define(X)] _x: StorageType,
    #[define(O)] _out: StorageType,
) {
    let pitch = comptime!(DEPTH / 4 + 1); // rows of a tile begin in different banks
    let mut x_tile = SharedMemory::<Four<f32>>::new(comptime!(SIDE * (DEPTH / 4 + 1)));
    let mut w_tile = SharedMemory::<Four<f32>>::new(comptime!(SIDE * (DEPTH / 4 + 1)));
    let unit = UNIT_POS as usize;
    let (own_output, own_row) = (unit % (SIDE / OWN), unit / (SIDE / OWN));
    let (first_row, first_output) = (CUBE_POS_X as usize * SIDE, CUBE_POS_Y as usize * SIDE);
    let (seq, d_out, n_parts) = (shape.seq as usize, shape.d_out as usize, shape.n_parts as usize);
    let x_first = CUBE_POS_Z * shape.x_head_stride + shape.first * shape.x_stride;
    let matrix = CUBE_POS_Z / shape.n_rep * shape.matrix_stride;
    let mut sums = Array::<f32>::new(comptime!(OWN * OWN));
    #[unroll]
    for i in 0..comptime!(OWN * OWN) {
        sums[i] = f32::new(0.0);
    }
    // four parts of eight weights in each of 64 outputs: one for every unit; likewise of 64 rows
    let (tile_row, tile_part) = (unit / 4, unit % 4);
    let x_row = x_first + min(first_row + tile_row, seq - 1) as u32 * shape.x_stride;
    let w_row = matrix + min(first_output + tile_row, d_out - 1) as u32 * shape.row_words;
    let mut part = 0usize.runtime();
    while part < n_parts {
        sync_cube();
        let own = part + tile_part;
        let zero = Four::<f32>::new(0.0f32);
        let mut ends = (zero, zero);
        let mut weights = (zero, zero);
        if own < n_parts {
            let from = x_row as usize + own * 2;
            ends = (Four::<f32>::cast_from(x[from]), Four::<f32>::cast_from(x[from + 1]));
            weights = eight_weights(words, w_row as usize, own, comptime!(options.kept));
        }
        let to = tile_row * pitch + tile_part * 2;
        x_tile[to] = ends.0;
        x_tile[to + 1] = ends.1;
        w_tile[to] = weights.0;
        w_tile[to + 1] = weights.1;
        sync_cube();
        for c in 0..comptime!(DEPTH / 4) {
            #[unroll]
            for i in 0..OWN {
                let a = x_tile[(own_row + i * (SIDE / OWN)) * pitch + c];
                #[unroll]
                for j in 0..OWN {
                    sums[i * OWN + j] += dot(a, w_tile[(own_output + j * (SIDE / OWN)) * pitch + c]);
                }
            }
        }
        part += 4;
    }
    #[unroll]
    for i in 0..OWN {
        #[unroll]
        for j in 0..OWN {
            let (row, output) = (first_row + own_row + i * (SIDE / OWN), first_output + own_output + j * (SIDE / OWN));
            if row < seq && output < d_out {
                let mut sum = sums[i * OWN + j];
                if comptime!(options.has_bias) {
                    sum += bias[output];
                }
                let to = (CUBE_POS_Z as usize * seq + shape.first as usize + row) * d_out + output;
                if comptime!(options.has_residual) {
                    sum += residual[to];
                }
                out[to] = O::cast_from(sum);
            }
        }
    }
}

/// Rows of the matrix, eight weights for every unit.
#[cube(launch_unchecked)]
pub(super) fn embed<O: Float>(
    rows: &Array<u32>,
    words: &Array<u32>,
    out: &mut Array<Four<O>>,
    n: u32,
    d_in: u32,
    #[comptime] kept: Kept,
    #[define(O)] _out: StorageType,
) {
    let at = ABSOLUTE_POS;
    if at < n as usize {
        let n_parts = d_in as usize / 8;
        let row = rows[at / n_parts] as usize * decode::row_words(d_in as usize, kept);
        let (a, b) = eight_weights(words, row, at % n_parts, kept);
        out[at * 2] = Four::<O>::cast_from(a);
        out[at * 2 + 1] = Four::<O>::cast_from(b);
    }
}

#[cube(launch_unchecked)]
pub(super) fn copy_words(from: &Array<u32>, to: &mut Array<u32>, first: u32, n: u32) {
    let at = ABSOLUTE_POS;
    if at < n as usize {
        to[first as usize + at] = from[at];
    }
}
