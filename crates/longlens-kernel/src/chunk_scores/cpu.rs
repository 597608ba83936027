//! Choosing on the processor: a tile of scores is looked through as soon as it is made.
//!
//! Each query keeps its best candidates so far in order; a vector of scores none of which beats the worst of them is
//! passed over in one comparison, and nothing is ever sorted.

use burn::backend::Flex;

use super::ChunkScores;
use crate::cpu::panels::Panels;
use crate::cpu::simd::{Aligned, Arch, Simd, WithSimd, load};
use crate::cpu::tile::{self, ROWS, Tile};
use crate::cpu::{Held, Parts, Rows, in_turn};

/// Queries of a task.
const BLOCK: usize = 16 * ROWS;

/// Returns what [`reference`](super::reference) returns, but for scores that differ by rounding.
pub fn choose(arch: Arch, problem: &ChunkScores<'_, Flex>) -> Vec<u32> {
    let [n_heads, seq, _] = problem.query.dims();
    let mut chosen = vec![0; n_heads * seq * problem.n_slots];
    arch.dispatch(Choose { problem, chosen: &Parts::new(&mut chosen) });
    chosen
}

struct Choose<'a> {
    problem: &'a ChunkScores<'a, Flex>,
    chosen: &'a Parts<u32>,
}

impl WithSimd for Choose<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { problem, chosen } = self;
        let [n_heads, seq, head_dim] = problem.query.dims();
        let n_summaries = problem.summaries.dims()[1];
        let (query, summaries) = (Held::new(problem.query.clone()), Held::new(problem.summaries.clone()));
        let (shape, all) = ([n_heads, head_dim], 0..n_summaries);
        let panels = Panels::keys(simd, summaries.rows(), shape, None, all, n_summaries.max(1));
        let query = query.rows();
        let n_blocks = seq.div_ceil(BLOCK);
        let scratch =
            || Scratch { queries: Aligned::zeros(ROWS * head_dim), scores: tile::weights(), best: Default::default() };
        in_turn(n_blocks * n_heads, scratch, |task, scratch| {
            let (head, block) = (task % n_heads, n_blocks - 1 - task / n_heads);
            for start in (block * BLOCK..((block + 1) * BLOCK).min(seq)).step_by(ROWS) {
                let rows = ROWS.min(seq - start);
                // SAFETY: every task has rows and a head of its own
                let out = unsafe { chosen.slice((head * seq + start) * problem.n_slots, rows * problem.n_slots) };
                simd.vectorize(Group { problem, query, panels: &panels, head, start, scratch, out });
            }
        });
    }
}

struct Scratch {
    queries: Aligned, // [ROWS, head_dim]
    scores: Aligned,
    best: [Best; ROWS],
}

/// Up to [`ROWS`] queries of one head.
struct Group<'a> {
    problem: &'a ChunkScores<'a, Flex>,
    query: Rows<'a>,
    panels: &'a Panels,
    head: usize,
    start: usize,
    scratch: &'a mut Scratch,
    out: &'a mut [u32],
}

impl WithSimd for Group<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { problem, query, panels, head, start, scratch, out } = self;
        let Scratch { queries, scores, best } = scratch;
        let head_dim = problem.query.dims()[2];
        let rows = out.len() / problem.n_slots;
        let slots = &problem.slots[start..start + rows];
        for r in 0..ROWS {
            // rows past the end repeat the last query and are not looked at
            let row = query.of(head, start + r.min(rows - 1), head_dim);
            queries[r * head_dim..][..head_dim].copy_from_slice(row);
        }
        best.iter_mut().zip(slots).for_each(|(best, slots)| best.clear(slots.n_picks));
        let first = slots.iter().map(|slots| slots.candidates.start).min().unwrap_or(0) / S::F32_LANES * S::F32_LANES;
        let end = slots.iter().map(|slots| slots.candidates.end).max().unwrap_or(0);
        let picks = slots.iter().any(|slots| slots.n_picks > 0);
        for from in (first..end).step_by(tile::KEYS).filter(|_| picks) {
            let len = (end - from).min(tile::KEYS);
            let keys = &panels.head(head)[from / S::F32_LANES * panels.panel_len()..];
            let tile = Tile { queries, keys, values: &[], head_dim, seen: 0..len, each: None };
            tile::scores(simd, &tile, scores);
            for (r, slots) in slots.iter().enumerate() {
                let seen = slots.candidates.start.max(from)..slots.candidates.end.min(from + len);
                let scores = &scores[r * tile::KEYS..(r + 1) * tile::KEYS];
                best[r].look(simd, scores, from, seen);
            }
        }
        for (r, (out, slots)) in out.chunks_exact_mut(problem.n_slots).zip(slots).enumerate() {
            out[0] = 0;
            let picked = best[r].finish();
            out[1..=picked.len()].copy_from_slice(picked);
            out[slots.n_picks + 1] = slots.newest as u32;
            out[slots.n_picks + 2] = problem.tail(start + r);
        }
    }
}

/// The best-scoring chunks so far, best first; equal scores keep their order, so the lower chunk wins.
#[derive(Default)]
struct Best {
    scores: Vec<f32>,
    chunks: Vec<u32>,
    n: usize,
}

impl Best {
    fn clear(&mut self, n: usize) {
        self.n = n;
        self.scores.clear();
        self.chunks.clear();
    }

    /// Looks through scores of chunks `seen`; `scores[0]` is chunk `from`'s.
    #[inline(always)]
    fn look<S: Simd>(&mut self, simd: S, scores: &[f32], from: usize, seen: std::ops::Range<usize>) {
        let mut chunk = seen.start;
        while chunk < seen.end && self.chunks.len() < self.n {
            self.insert(scores[chunk - from], chunk as u32);
            chunk += 1;
        }
        let Some(worst) = self.scores.last().copied().filter(|_| chunk < seen.end) else { return };
        let mut worst = simd.splat_f32s(worst);
        while chunk + S::F32_LANES <= seen.end {
            let at = &scores[chunk - from..][..S::F32_LANES];
            // SAFETY: a vector's worth of scores
            let better = simd.greater_than_f32s(unsafe { load(simd, at.as_ptr()) }, worst);
            if simd.first_true_m32s(better) < S::F32_LANES {
                for (lane, score) in at.iter().enumerate() {
                    self.offer(*score, (chunk + lane) as u32);
                }
                worst = simd.splat_f32s(self.scores[self.n - 1]);
            }
            chunk += S::F32_LANES;
        }
        for chunk in chunk..seen.end {
            self.offer(scores[chunk - from], chunk as u32);
        }
    }

    #[inline(always)]
    fn offer(&mut self, score: f32, chunk: u32) {
        if score > self.scores[self.n - 1] {
            self.scores.pop();
            self.chunks.pop();
            self.insert(score, chunk);
        }
    }

    fn insert(&mut self, score: f32, chunk: u32) {
        let at = self.scores.iter().rposition(|known| *known >= score).map_or(0, |at| at + 1);
        self.scores.insert(at, score);
        self.chunks.insert(at, chunk);
    }

    /// The chunks in ascending order.
    fn finish(&mut self) -> &[u32] {
        self.chunks.sort_unstable();
        &self.chunks
    }
}
