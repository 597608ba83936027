//! Chunk summaries on a GPU: every query of a chunk attends to all of its keys by the kernel of span attention, and one cube per chunk and
//! query head weights the keys by the mean of what they got.
//!
//! Memory: queries and keys once more, rotated, and what the queries got. Agrees with the reference to 1e-5 in f32.

use burn_cubecl::element::BoolElement;
use burn_tensor::{DType, Tensor};
use cubecl::prelude::*;

use super::ChunkSummary;
use crate::cube::{Gpu, GpuRuntime, ROW_UNITS, Rows, array, buffer, empty, row_max, row_sum, tensor};
use crate::rotary::cube::{Table, rotate_into};
use crate::span_attention::cube::{Launch, refused_head};
use crate::span_attention::intervals::Intervals;

/// Tokens of a chunk whose weights fit shared memory.
const MOST_TOKENS: usize = 4096;

/// Why no kernel here computes a problem, if none does.
pub fn refused<R: GpuRuntime, BT: BoolElement>(problem: &ChunkSummary<Gpu<R, BT>>) -> Option<&'static str> {
    if problem.chunk_len > MOST_TOKENS {
        return Some("a chunk has more than 4096 tokens");
    }
    refused_head::<R>(problem.query.dims()[2], &problem.query.device())
}

/// Returns what [`reference`](super::reference) returns.
pub fn summarise<R: GpuRuntime, BT: BoolElement>(problem: &ChunkSummary<Gpu<R, BT>>) -> Tensor<Gpu<R, BT>, 3> {
    let (query, key) = (Rows::of(problem.query.clone(), 1), Rows::of(problem.key.clone(), 1));
    let (w, head_dim, table) = (problem.chunk_len, query.width, Table::of(&problem.rotary));
    let n_chunks = query.seq / w;
    assert_eq!(query.seq, n_chunks * w, "only complete chunks have a summary");
    let rotated = |x: &Rows<R>| {
        let out = empty(&x.tensor, [x.heads, x.seq, x.width], DType::F32);
        rotate_into(&table, 0, x, 0..x.seq, &out, 0);
        out
    };
    let (rotated_query, rotated_key) = (rotated(&query), rotated(&key));
    let scale = (head_dim as f32).sqrt().recip();
    let mut intervals = Intervals::of_chunks(query.seq, w, scale);
    intervals.place(0, [0, (key.seq * head_dim / 4) as u32]);
    let launch = Launch {
        query: &rotated_query,
        n_heads: query.heads,
        seq_q: query.seq,
        key: &rotated_key,
        key_stride: head_dim,
        value: &Rows::of(problem.value.clone(), 4),
        intervals: &intervals,
        n_spans: 1,
        cap: None,
        table: None,
    };
    let got = buffer(launch.attend::<BT>(DType::F32).out.swap_dims(0, 1)); // [tokens, n_heads, head_dim]
    let out = empty(&got, [query.heads, n_chunks, head_dim], DType::F32);
    // SAFETY: every index is below the lengths that the shapes give
    unsafe {
        weigh_keys::launch_unchecked::<R>(
            &out.client,
            CubeCount::Static(n_chunks as u32, query.heads as u32, 1),
            CubeDim::new_1d(ROW_UNITS),
            array(&got),
            array(&rotated_key),
            array(&out),
            query.heads as u32,
            (query.heads / key.heads) as u32,
            key.seq as u32,
            scale,
            w,
            head_dim,
        );
    }
    tensor(out)
}

#[cube(launch_unchecked)]
fn weigh_keys(
    got: &Array<f32>,
    key: &Array<f32>,
    out: &mut Array<f32>,
    n_heads: u32,
    n_rep: u32,
    n_tokens: u32,
    scale: f32,
    #[comptime] chunk_len: usize,
    #[comptime] head_dim: usize,
) {
    let mut mean = SharedMemory::<f32>::new(head_dim);
    let mut weights = SharedMemory::<f32>::new(chunk_len);
    let unit = UNIT_POS as usize;
    let units = ROW_UNITS as usize;
    let (chunk, head) = (CUBE_POS_X, CUBE_POS_Y);
    let first = (chunk * comptime!(chunk_len as u32)) as usize;
    let keys = (head / n_rep * n_tokens) as usize + first;
    let mut dim = unit;
    while dim < head_dim {
        let mut sum = f32::new(0.0);
        for row in 0..chunk_len {
            sum += got[((first + row) * n_heads as usize + head as usize) * head_dim + dim];
        }
        mean[dim] = sum * scale / comptime!(chunk_len as f32);
        dim += units;
    }
    sync_cube();
    let mut most = f32::new(f32::MIN);
    let mut at = unit;
    while at < chunk_len {
        let mut score = f32::new(0.0);
        for dim in 0..head_dim {
            score += mean[dim] * key[(keys + at) * head_dim + dim];
        }
        weights[at] = score;
        most = max(most, score);
        at += units;
    }
    most = row_max(most);
    let mut sum = f32::new(0.0);
    at = unit;
    while at < chunk_len {
        let weight = (weights[at] - most).exp();
        weights[at] = weight;
        sum += weight;
        at += units;
    }
    sum = row_sum(sum); // every weight is written when all units have added theirs
    dim = unit;
    while dim < head_dim {
        let mut x = f32::new(0.0);
        for at in 0..chunk_len {
            x += weights[at] * key[(keys + at) * head_dim + dim];
        }
        out[((head * CUBE_COUNT_X + chunk) as usize) * head_dim + dim] = x / sum;
        dim += units;
    }
}
