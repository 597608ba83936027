//! Bounds of keys on a GPU: one unit for every dimension pair of a chunk, which rotates its keys one after another.

use burn_cubecl::element::BoolElement;
use burn_tensor::{DType, Tensor};
use cubecl::prelude::*;

use super::KeyBounds;
use crate::cube::{Gpu, GpuRuntime, Rows, array, cubes_for, empty, tensor};
use crate::rotary::cube::Table;

const UNITS: u32 = 64;

/// Returns what [`reference`](super::reference) returns.
pub fn bounds<R: GpuRuntime, BT: BoolElement>(problem: &KeyBounds<Gpu<R, BT>>) -> Tensor<Gpu<R, BT>, 3> {
    let (key, table, w) = (Rows::of(problem.key.clone(), 1), Table::of(&problem.rotary), problem.chunk_len);
    let n_chunks = key.seq / w;
    assert_eq!(key.seq, n_chunks * w, "only complete chunks have bounds");
    let out = empty(&key.tensor, [key.heads, n_chunks, 2 * key.width], DType::F32);
    let n = key.heads * n_chunks * (key.width - table.half);
    let (cos, sin) = table.args();
    // SAFETY: every index is below the lengths that the shapes give
    unsafe {
        bound_keys::launch_unchecked::<R>(
            &out.client,
            cubes_for(n, UNITS as usize),
            CubeDim::new_1d(UNITS),
            key.arg(),
            cos,
            sin,
            array(&out),
            n as u32,
            n_chunks as u32,
            w as u32,
            key.head_stride as u32,
            key.row_stride as u32,
            table.stride as u32,
            key.width,
            table.half,
            key.storage(),
        );
    }
    tensor(out)
}

#[cube(launch_unchecked)]
fn bound_keys<K: Float>(
    key: &Array<K>,
    cos: &Array<f32>,
    sin: &Array<f32>,
    out: &mut Array<f32>,
    n: u32,
    n_chunks: u32,
    chunk_len: u32,
    head_stride: u32,
    row_stride: u32,
    table_stride: u32,
    #[comptime] head_dim: usize,
    #[comptime] half: usize,
    #[define(K)] _key: StorageType,
) {
    let width = comptime!(head_dim - half);
    let at = ABSOLUTE_POS;
    if at < n as usize {
        let (unit, rest) = (at % width, at / width); // rest: head * n_chunks + chunk
        let (chunk, head) = (rest as u32 % n_chunks, rest as u32 / n_chunks);
        let to = rest * 2 * head_dim + unit;
        let mut most = Array::<f32>::new(2usize);
        let mut least = Array::<f32>::new(2usize);
        #[unroll]
        for i in 0..2usize {
            most[i] = f32::new(f32::MIN);
            least[i] = f32::new(f32::MAX);
        }
        for token in chunk * chunk_len..(chunk + 1) * chunk_len {
            let from = (head * head_stride + token * row_stride) as usize + unit;
            if unit < half {
                let angle = (token * table_stride) as usize + unit;
                let (c, s) = (cos[angle], sin[angle]);
                let (a, b) = (f32::cast_from(key[from]), f32::cast_from(key[from + half]));
                let (x, y) = (a * c - b * s, b * c + a * s);
                most[0] = max(most[0], x);
                least[0] = min(least[0], x);
                most[1] = max(most[1], y);
                least[1] = min(least[1], y);
            } else {
                let x = f32::cast_from(key[from + half]);
                most[1] = max(most[1], x);
                least[1] = min(least[1], x);
            }
        }
        if unit < half {
            out[to] = most[0];
            out[to + head_dim] = least[0];
        }
        out[to + half] = most[1];
        out[to + half + head_dim] = least[1];
    }
}
