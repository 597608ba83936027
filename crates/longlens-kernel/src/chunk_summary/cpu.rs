//! Chunk summaries on the processor: both softmaxes of a chunk in one visit.

use burn_flex::Flex;
use burn_tensor::Tensor;

use super::ChunkSummary;
use crate::cpu::panels::{Panels, WholeRows};
use crate::cpu::rotate::rotate_row;
use crate::cpu::simd::{Aligned, Arch, Simd, WithSimd, output};
use crate::cpu::tile::{self, ROWS, Running, Tile, Values};
use crate::cpu::{AngleTensors, Angles, Parts, RowTensor, Rows, in_turn, tensor};

/// Returns what [`reference`](super::reference) returns.
pub fn summarise(arch: Arch, problem: &ChunkSummary<Flex>) -> Tensor<Flex, 3> {
    let [n_heads, n_tokens, head_dim] = problem.query.dims();
    let n_chunks = n_tokens / problem.chunk_len;
    assert_eq!(n_tokens, n_chunks * problem.chunk_len, "only complete chunks have a summary");
    let mut out = output(n_heads * n_chunks * head_dim);
    arch.dispatch(Summarise { problem, out: &Parts::new(&mut out) });
    tensor(out, [n_heads, n_chunks, head_dim])
}

struct Summarise<'a> {
    problem: &'a ChunkSummary<Flex>,
    out: &'a Parts<f32>,
}

impl WithSimd for Summarise<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { problem, out } = self;
        let [n_heads, n_tokens, head_dim] = problem.query.dims();
        let (w, n_kv_heads) = (problem.chunk_len, problem.key.dims()[0]);
        let n_chunks = n_tokens / w;
        let [query, key, value] = [&problem.query, &problem.key, &problem.value].map(|t| RowTensor::new(t.clone()));
        let angles = AngleTensors::new(&problem.rotary);
        let angles = angles.rows();
        let keys = Panels::keys(simd, key.rows(), [n_kv_heads, head_dim], Some(angles), 0..n_tokens, w);
        let values = WholeRows::new(value.rows(), [n_kv_heads, head_dim], 0..n_tokens, S::F32_LANES);
        let width = values.width;
        let scratch = || Scratch {
            running: Running::new(w.next_multiple_of(ROWS), width, S::F32_LANES),
            queries: Aligned::zeros(ROWS * head_dim),
            rotated: Aligned::zeros(w * width),
            weights: tile::weights(),
        };
        let (query, key) = (query.rows(), key.rows());
        in_turn(n_heads * n_chunks, scratch, |task, scratch| {
            let (head, chunk) = (task % n_heads, task / n_heads);
            // SAFETY: every task has a summary of its own
            let out = unsafe { out.slice((head * n_chunks + chunk) * head_dim, head_dim) };
            let kv_head = head / (n_heads / n_kv_heads);
            let (keys, values) = (&keys, &values);
            simd.vectorize(One { query, key, angles, keys, values, head, kv_head, chunk, w, head_dim, scratch, out });
        });
    }
}

/// What a thread keeps from chunk to chunk.
struct Scratch {
    running: Running,
    queries: Aligned, // [ROWS, head_dim]
    rotated: Aligned, // [w, width]
    weights: Aligned,
}

/// One chunk of one head.
struct One<'a> {
    query: Rows<'a>,
    key: Rows<'a>,
    angles: Angles<'a>,
    keys: &'a Panels,
    values: &'a WholeRows<'a>,
    head: usize,
    kv_head: usize,
    chunk: usize,
    w: usize,
    head_dim: usize,
    scratch: &'a mut Scratch,
    out: &'a mut [f32],
}

impl WithSimd for One<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { query, key, angles, keys, values, head, kv_head, chunk, w, head_dim, scratch, out } = self;
        let Scratch { running, queries, rotated, weights } = scratch;
        let width = values.width;
        let scale = (head_dim as f32).sqrt().recip() * std::f32::consts::LOG2_E;
        let panels = &keys.head(kv_head)[keys.group(chunk) * keys.panel_len()..];
        let first = chunk * w;
        let chunk = Chunk { panels, panel_len: keys.panel_len(), w, head_dim };
        running.clear();
        for start in (0..w).step_by(ROWS) {
            let mut states = [0; ROWS];
            for r in 0..ROWS {
                // rows past the chunk repeat its last query and are dropped
                let token = first + (start + r).min(w - 1);
                states[r] = start + r;
                rotate_row(
                    simd,
                    query.of(head, token, head_dim),
                    angles.row(token),
                    scale,
                    &mut queries[r * head_dim..][..head_dim],
                );
            }
            chunk.meet(simd, queries, values.from(kv_head, first), &states, running, weights);
        }
        let mut mean = vec![0.0; head_dim];
        let mut row = vec![0.0; head_dim];
        for at in 0..w {
            running.finish(at, &mut row);
            mean.iter_mut().zip(&row).for_each(|(mean, x)| *mean += x);
        }
        let share = scale / w as f32;
        for query in queries.chunks_exact_mut(head_dim) {
            query.iter_mut().zip(&mean).for_each(|(query, mean)| *query = mean * share);
        }
        for (at, rotated) in rotated.chunks_exact_mut(width).enumerate() {
            let token = first + at;
            rotate_row(simd, key.of(kv_head, token, head_dim), angles.row(token), 1.0, &mut rotated[..head_dim]);
        }
        running.clear();
        let mut states = [0; ROWS];
        states.iter_mut().enumerate().for_each(|(r, state)| *state = r);
        chunk.meet(simd, queries, Values { numbers: rotated, stride: width }, &states, running, weights);
        running.finish(0, out);
    }
}

/// A chunk's packed keys.
struct Chunk<'a> {
    panels: &'a [f32],
    panel_len: usize,
    w: usize,
    head_dim: usize,
}

impl Chunk<'_> {
    /// Queries against all keys of the chunk, with these values.
    #[inline(always)]
    fn meet<S: Simd>(
        &self,
        simd: S,
        queries: &[f32],
        values: Values<'_>,
        states: &[usize; ROWS],
        running: &mut Running,
        weights: &mut [f32],
    ) {
        for start in (0..self.w).step_by(tile::KEYS) {
            let tile = Tile {
                queries,
                keys: &self.panels[start / S::F32_LANES * self.panel_len..],
                values: Values { numbers: &values.numbers[start * values.stride..], ..values },
                head_dim: self.head_dim,
                seen: 0..(self.w - start).min(tile::KEYS),
                each: None,
                holes: None,
                cap: None,
            };
            tile::attend(simd, &tile, states, running, weights);
        }
    }
}
