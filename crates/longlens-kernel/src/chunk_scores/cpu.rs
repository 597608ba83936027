//! Choosing on the processor: a tile of scores is looked through as soon as it is made.
//!
//! Each query keeps a short list of candidates and a score that as many reach as there are picks; a vector of scores none of
//! which reaches it is passed over in one comparison. Only the list is ever selected from.

use std::ops::Range;

use burn_flex::Flex;
use burn_tensor::{Int, Tensor};
use longlens_core::plan::Slots;

use super::ChunkScores;
use crate::cpu::panels::Panels;
use crate::cpu::simd::{Aligned, Arch, Simd, WithSimd, bytemuck, dot, load};
use crate::cpu::tile::{self, ROWS, Tile, Values};
use crate::cpu::{Parts, RowTensor, Rows, in_turn, int_tensor};

/// Scores that are worth a thread.
const SHARE: usize = 1 << 13;
/// Queries of a task.
const BLOCK: usize = 16 * ROWS;

/// Returns what [`reference`](super::reference) returns, but for scores that differ by rounding, and for those that are not
/// numbers: they are picked last here.
pub fn choose(arch: Arch, problem: &ChunkScores<Flex>) -> Tensor<Flex, 3, Int> {
    let [n_heads, seq, _] = problem.query.dims();
    let n_slots = problem.choice.n_slots;
    let mut chosen = vec![0; n_heads * seq * n_slots];
    let slots: Vec<Slots> = (0..seq).map(|row| problem.slots(row)).collect();
    arch.dispatch(Choose { problem, slots: &slots, chosen: &Parts::new(&mut chosen) });
    int_tensor(chosen, [n_heads, seq, n_slots])
}

struct Choose<'a> {
    problem: &'a ChunkScores<Flex>,
    slots: &'a [Slots],
    chosen: &'a Parts<i32>,
}

impl WithSimd for Choose<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { problem, slots, chosen } = self;
        let [n_heads, seq, width] = problem.query.dims();
        let [n_representing, n_complete, _] = problem.chunks.dims();
        let (n_rep, n_slots) = (n_heads / n_representing, problem.choice.n_slots);
        let (query, chunks) = (RowTensor::new(problem.query.clone()), RowTensor::new(problem.chunks.clone()));
        if seq < ROWS {
            let (query, chunks) = (query.rows(), chunks.rows());
            let mut scratch = (Vec::new(), Best::default());
            let one = |at: usize, scratch: &mut (Vec<f32>, Best)| {
                let (head, row) = (at / seq, at % seq);
                // SAFETY: every task has a query of a head to itself
                let out = unsafe { chosen.slice(at * n_slots, n_slots) };
                let query = query.of(head, row, width);
                let slots = &slots[row];
                simd.vectorize(Few { problem, slots, query, chunks, head: head / n_rep, scratch, out });
            };
            if n_heads * seq * n_complete < SHARE {
                (0..n_heads * seq).for_each(|at| one(at, &mut scratch));
            } else {
                in_turn(n_heads * seq, Default::default, one);
            }
            return;
        }
        let (shape, all) = ([n_representing, width], 0..n_complete);
        let panels = Panels::keys(simd, chunks.rows(), shape, None, all, n_complete.max(1));
        let query = query.rows();
        let n_blocks = seq.div_ceil(BLOCK);
        let scratch =
            || Scratch { queries: Aligned::zeros(ROWS * width), scores: tile::weights(), best: Default::default() };
        in_turn(n_blocks * n_heads, scratch, |task, scratch| {
            let (head, block) = (task % n_heads, n_blocks - 1 - task / n_heads);
            for start in (block * BLOCK..((block + 1) * BLOCK).min(seq)).step_by(ROWS) {
                let rows = ROWS.min(seq - start);
                // SAFETY: every task has rows and a head of its own
                let out = unsafe { chosen.slice((head * seq + start) * n_slots, rows * n_slots) };
                let (panels, slots) = (panels.head(head / n_rep), &slots[start..start + rows]);
                let panel_len = width * S::F32_LANES;
                simd.vectorize(Group { problem, slots, query, panels, panel_len, head, start, scratch, out });
            }
        });
    }
}

/// One query of one head: what represents the chunks is read where it lies.
struct Few<'a> {
    problem: &'a ChunkScores<Flex>,
    slots: &'a Slots,
    query: &'a [f32],
    chunks: Rows<'a>,
    /// Whose representatives.
    head: usize,
    scratch: &'a mut (Vec<f32>, Best),
    out: &'a mut [i32],
}

impl WithSimd for Few<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { problem, slots, query, chunks, head, scratch: (scores, best), out } = self;
        scores.clear();
        for chunk in slots.candidates.clone() {
            scores.push(dot(simd, query, chunks.of(head, chunk, query.len())));
        }
        best.clear(slots.n_picks);
        best.scan(simd, scores, slots.candidates.start, slots.candidates.clone());
        best.write(problem, slots, out);
    }
}

struct Scratch {
    queries: Aligned, // [ROWS, width]
    scores: Aligned,
    best: [Best; ROWS],
}

/// Up to [`ROWS`] queries of one head.
struct Group<'a> {
    problem: &'a ChunkScores<Flex>,
    slots: &'a [Slots],
    query: Rows<'a>,
    /// Representatives of the head's chunks.
    panels: &'a [f32],
    panel_len: usize,
    head: usize,
    start: usize,
    scratch: &'a mut Scratch,
    out: &'a mut [i32],
}

impl WithSimd for Group<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { problem, slots, query, panels, panel_len, head, start, scratch, out } = self;
        let Scratch { queries, scores, best } = scratch;
        let width = problem.query.dims()[2];
        let rows = slots.len();
        for r in 0..ROWS {
            // rows past the end repeat the last query and are not looked at
            let row = query.of(head, start + r.min(rows - 1), width);
            queries[r * width..][..width].copy_from_slice(row);
        }
        best.iter_mut().zip(slots).for_each(|(best, slots)| best.clear(slots.n_picks));
        let first = slots.iter().map(|slots| slots.candidates.start).min().unwrap_or(0) / S::F32_LANES * S::F32_LANES;
        let end = slots.iter().map(|slots| slots.candidates.end).max().unwrap_or(0);
        let picks = slots.iter().any(|slots| slots.n_picks > 0);
        for from in (first..end).step_by(tile::KEYS).filter(|_| picks) {
            let len = (end - from).min(tile::KEYS);
            let keys = &panels[from / S::F32_LANES * panel_len..];
            let tile = Tile {
                queries,
                keys,
                values: Values::default(),
                head_dim: width,
                seen: 0..len,
                each: None,
                holes: None,
                cap: None,
            };
            tile::scores(simd, &tile, scores);
            for (r, slots) in slots.iter().enumerate() {
                let seen = slots.candidates.start.max(from)..slots.candidates.end.min(from + len);
                let scores = &scores[r * tile::KEYS..(r + 1) * tile::KEYS];
                best[r].scan(simd, scores, from, seen);
            }
        }
        for ((out, slots), best) in out.chunks_exact_mut(problem.choice.n_slots).zip(slots).zip(best) {
            best.write(problem, slots, out);
        }
    }
}

/// Candidates among which the best are, as keys that order as choices do: by score, of equal scores the lower chunk first.
#[derive(Default)]
struct Best {
    keys: Vec<u64>,
    n: usize,
    /// The `n`-th best score is not lower.
    bound: f32,
}

impl Best {
    fn clear(&mut self, n: usize) {
        self.n = n;
        self.keys.clear();
        self.bound = f32::NEG_INFINITY;
    }

    /// Looks through scores of chunks `seen`; `scores[0]` is chunk `from`'s.
    #[inline(always)]
    fn scan<S: Simd>(&mut self, simd: S, scores: &[f32], from: usize, seen: Range<usize>) {
        if seen.is_empty() || self.n == 0 {
            return;
        }
        let scores = &scores[seen.start - from..seen.end - from];
        let (whole, rest) = scores.split_at(scores.len() / S::F32_LANES * S::F32_LANES);
        self.bound = self.bound.max(lower_bound(simd, whole, self.n));
        let bound = simd.splat_f32s(self.bound);
        for (at, x) in whole.chunks_exact(S::F32_LANES).enumerate() {
            // SAFETY: a chunk is one vector
            let mut enough = lanes(simd, simd.greater_than_or_equal_f32s(unsafe { load(simd, x.as_ptr()) }, bound));
            while enough != 0 {
                let lane = enough.trailing_zeros() as usize;
                self.keys.push(key(x[lane], (seen.start + at * S::F32_LANES + lane) as u32));
                enough &= enough - 1;
            }
        }
        for (chunk, score) in (seen.start + whole.len()..).zip(rest) {
            if *score >= self.bound {
                self.keys.push(key(*score, chunk as u32));
            }
        }
        if self.keys.len() > 2 * self.n {
            self.cut();
        }
    }

    /// Keeps the best `n`.
    fn cut(&mut self) {
        if self.keys.len() > self.n {
            let (_, last, _) = self.keys.select_nth_unstable_by(self.n - 1, |a, b| b.cmp(a));
            self.bound = score(*last);
            self.keys.truncate(self.n);
        }
    }

    /// Writes the chunk of every slot.
    fn write(&mut self, problem: &ChunkScores<Flex>, slots: &Slots, out: &mut [i32]) {
        let (first, rest) = out.split_at_mut(slots.candidates.start);
        let (picks, rest) = rest.split_at_mut(slots.n_picks);
        first.iter_mut().zip(0..).for_each(|(out, chunk)| *out = chunk);
        self.finish(slots.candidates.clone(), picks);
        let newest = slots.newest.clone().map(|chunk| chunk as i32).chain([problem.tail(slots) as i32]);
        rest.iter_mut().zip(newest).for_each(|(out, chunk)| *out = chunk);
    }

    /// Writes the picks in ascending order.
    fn finish(&mut self, candidates: Range<usize>, out: &mut [i32]) {
        if out.is_empty() {
            return;
        }
        self.cut();
        for (out, key) in out.iter_mut().zip(&self.keys) {
            *out = chunk(*key) as i32;
        }
        // scores that are not numbers beat nothing; the choice is still one of distinct chunks
        let mut others =
            (candidates.start as u32..candidates.end as u32).filter(|c| !self.keys.iter().any(|k| chunk(*k) == *c));
        for out in out.iter_mut().skip(self.keys.len()) {
            *out = others.next().unwrap_or(candidates.start as u32) as i32;
        }
        out.sort_unstable();
    }
}

/// A score that at least `n` of these reach, or minus infinity: every lane of a few vectors of maxima is reached by one.
#[inline(always)]
fn lower_bound<S: Simd>(simd: S, scores: &[f32], n: usize) -> f32 {
    let (lanes, size) = (S::F32_LANES, n.div_ceil(S::F32_LANES) * S::F32_LANES);
    let mut bound = f32::INFINITY;
    if scores.len() < size {
        return f32::NEG_INFINITY;
    }
    for first in (0..size).step_by(lanes) {
        let mut max = simd.splat_f32s(f32::NEG_INFINITY);
        let mut at = first;
        while at + lanes <= scores.len() {
            // SAFETY: inside by the loop's condition
            max = simd.max_f32s(max, unsafe { load(simd, scores.as_ptr().add(at)) });
            at += size;
        }
        // one pick: the best of all; more: the worst of the lanes' bests, each of another score
        bound = bound.min(if n == 1 { simd.reduce_max_f32s(max) } else { simd.reduce_min_f32s(max) });
    }
    bound
}

/// The lanes of a mask, as bits.
#[inline(always)]
fn lanes<S: Simd>(_: S, mask: S::m32s) -> u32 {
    match size_of::<S::m32s>() {
        // AVX-512 keeps masks as bits
        1 => u32::from(bytemuck::cast::<_, u8>(mask)),
        2 => u32::from(bytemuck::cast::<_, u16>(mask)),
        _ => {
            let mut bits = 0;
            for (lane, x) in bytemuck::cast_slice::<_, u32>(std::slice::from_ref(&mask)).iter().enumerate() {
                bits |= u32::from(*x != 0) << lane;
            }
            bits
        }
    }
}

/// Orders as `f32::total_cmp` does, of equal scores the lower chunk as the greater.
#[inline(always)]
fn key(score: f32, chunk: u32) -> u64 {
    let bits = score.to_bits();
    let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    u64::from(ordered) << 32 | u64::from(!chunk)
}

fn chunk(key: u64) -> u32 {
    !(key as u32)
}

fn score(key: u64) -> f32 {
    let ordered = (key >> 32) as u32;
    f32::from_bits(if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered })
}
