//! Chunk attention on the processor: queries of a block meet at the chunks they chose.
//!
//! A head's block of queries is sorted by chosen chunk, so that a chunk's keys, turned once, multiply all queries that
//! chose it in one dense product; each query's softmax goes on from chunk to chunk. What is stored grows with the block,
//! not with the number of chosen keys. A few queries (a generated token) instead turn the chosen keys as they read them.

use std::ops::Range;

use burn::backend::Flex;

use super::ChunkAttention;
use crate::Attended;
use crate::cpu::panels::{Panels, Values};
use crate::cpu::run::{self, Keys, Part};
use crate::cpu::simd::{Aligned, Arch, Simd, WithSimd};
use crate::cpu::tile::{self, ROWS, Running, Tile};
use crate::cpu::turn::turn;
use crate::cpu::{Angles, Held, HeldAngles, Parts, Rows, in_turn, tensor};

/// Queries of a block: the more, the more of them share a chunk.
const BLOCK: Range<usize> = 128..2048;
/// With fewer queries than this, packing all keys would cost more than reading the chosen ones.
const FEWER: usize = 16;
/// Keys that are worth a thread.
const SHARE: usize = 1024;

/// Returns what [`reference`](super::reference) returns.
pub fn attend(arch: Arch, problem: &ChunkAttention<'_, Flex>) -> Attended<Flex> {
    let [n_heads, seq_q, head_dim] = problem.query.dims();
    // a row per token, as the output projection reads it
    let mut out = vec![0.0; seq_q * n_heads * head_dim];
    let mut lse = vec![0.0; n_heads * seq_q];
    arch.dispatch(Attend { problem, outs: &Parts::new(&mut out), lses: &Parts::new(&mut lse) });
    Attended { out: tensor(out, [seq_q, n_heads, head_dim]).swap_dims(0, 1), lse: tensor(lse, [n_heads, seq_q]) }
}

struct Attend<'a> {
    problem: &'a ChunkAttention<'a, Flex>,
    outs: &'a Parts<f32>,
    lses: &'a Parts<f32>,
}

impl WithSimd for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { problem, outs, lses } = self;
        let [n_heads, seq_q, head_dim] = problem.query.dims();
        let [n_kv_heads, seq_k, _] = problem.key.dims();
        let [query, key, value] = [&problem.query, &problem.key, &problem.value].map(|t| Held::new(t.clone()));
        let (positions, offsets) = (HeldAngles::new(problem.positions), HeldAngles::new(problem.offsets));
        let work = Work {
            problem,
            query: query.rows(),
            key: key.rows(),
            value: value.rows(),
            positions: positions.rows(),
            offsets: offsets.rows(),
            outs,
            lses,
            shape: [n_heads, n_kv_heads, seq_q, head_dim],
        };
        if seq_q < FEWER {
            let one = |at: usize, scores: &mut Aligned| simd.vectorize(Few { work: &work, at, scores });
            if n_heads * seq_q * problem.n_slots * problem.chunk_len >= SHARE {
                in_turn(n_heads * seq_q, || run::scores(1), one);
            } else {
                let mut scores = run::scores(1);
                (0..n_heads * seq_q).for_each(|at| one(at, &mut scores));
            }
            return;
        }
        let shape = [n_kv_heads, head_dim];
        let keys = Panels::keys(simd, work.key, shape, Some(work.offsets), 0..seq_k, problem.chunk_len);
        let values = Values::new(work.value, n_kv_heads, head_dim, 0..seq_k, S::F32_LANES);
        let even = (n_heads * seq_q).div_ceil(4 * rayon::current_num_threads());
        let block = even.clamp(BLOCK.start, BLOCK.end).min(seq_q);
        let n_blocks = seq_q.div_ceil(block);
        let scratch = || Scratch::new::<S>(block, values.width, head_dim);
        in_turn(n_blocks * n_heads, scratch, |task, scratch| {
            let (head, at) = (task % n_heads, n_blocks - 1 - task / n_heads);
            let rows = at * block..((at + 1) * block).min(seq_q);
            simd.vectorize(Block { work: &work, head, rows, keys: &keys, values: &values, scratch });
        });
    }
}

/// What all tasks read and write.
struct Work<'a> {
    problem: &'a ChunkAttention<'a, Flex>,
    query: Rows<'a>,
    key: Rows<'a>,
    value: Rows<'a>,
    positions: Angles<'a>,
    offsets: Angles<'a>,
    outs: &'a Parts<f32>,
    lses: &'a Parts<f32>,
    shape: [usize; 4], // n_heads, n_kv_heads, seq_q, head_dim
}

impl Work<'_> {
    /// A head's chosen chunks of a query.
    fn chunks(&self, head: usize, row: usize) -> &[u32] {
        let n = self.problem.n_slots;
        &self.problem.chunks[(head * self.shape[2] + row) * n..][..n]
    }

    /// Writes a query turned for a slot, times `log2 e`.
    #[inline(always)]
    fn turn_query<S: Simd>(&self, simd: S, head: usize, row: usize, slot: usize, out: &mut [f32]) {
        let angles = self.positions.row(self.problem.first_slot[row] - slot * self.problem.chunk_len);
        let scale = self.problem.scale[row] * std::f32::consts::LOG2_E;
        turn(simd, self.query.of(head, row, self.shape[3]), angles, scale, out);
    }

    /// Where a head's result of a query goes.
    ///
    /// # Safety
    /// Nobody else holds that head's results of that query.
    unsafe fn result(&self, head: usize, row: usize) -> (&mut [f32], &mut f32) {
        let [n_heads, _, seq_q, head_dim] = self.shape;
        // SAFETY: the caller's promise
        unsafe {
            let out = self.outs.slice((row * n_heads + head) * head_dim, head_dim);
            (out, &mut self.lses.slice(head * seq_q + row, 1)[0])
        }
    }
}

/// One query of one head.
struct Few<'a> {
    work: &'a Work<'a>,
    at: usize,
    scores: &'a mut Aligned,
}

impl WithSimd for Few<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { work, at, scores } = self;
        let [n_heads, n_kv_heads, _, head_dim] = work.shape;
        let (w, n) = (work.problem.chunk_len, work.problem.n_slots);
        let (head, row) = (at % n_heads, at / n_heads);
        let kv_head = head / (n_heads / n_kv_heads);
        let keys = Keys { key: work.key, value: work.value, angles: work.offsets, kv_head, head_dim };
        let mut query = vec![0.0; head_dim];
        let mut part = [Part::new(head_dim)];
        for (slot, chunk) in work.chunks(head, row).iter().enumerate() {
            let start = *chunk as usize * w;
            let len = if slot == n - 1 { work.problem.tail_len[row] } else { w };
            work.turn_query(simd, head, row, slot, &mut query);
            run::attend(simd, &keys, start..start + len, &query, &mut part, scores);
        }
        // SAFETY: every task has a query and head of its own
        let (out, lse) = unsafe { work.result(head, row) };
        *lse = Part::merge(part.iter(), out);
    }
}

/// What a thread keeps from block to block.
struct Scratch {
    running: Running,
    queries: Aligned, // [ROWS, head_dim]
    weights: Aligned,
    /// Where the pairs of every chunk start, and whether they see all of it.
    starts: Vec<u32>,
    /// Row in the block and slot, sorted by chunk.
    pairs: Vec<(u32, u32)>,
}

impl Scratch {
    fn new<S: Simd>(block: usize, width: usize, head_dim: usize) -> Self {
        Self {
            // one more row takes what the empty places of a last group compute
            running: Running::new(block + 1, width, S::F32_LANES),
            queries: Aligned::zeros(ROWS * head_dim),
            weights: tile::weights(),
            starts: Vec::new(),
            pairs: Vec::new(),
        }
    }

    /// Sorts the choices of a head's block by chunk; within a chunk, those that see all of it come first.
    fn sort(&mut self, work: &Work<'_>, head: usize, rows: &Range<usize>, n_chunks: usize) {
        let n = work.problem.n_slots;
        let place = |slot: usize, chunk: u32| 2 * chunk as usize + usize::from(slot == n - 1);
        let seen = |row: usize, slot: usize| slot < n - 1 || work.problem.tail_len[row] > 0;
        self.starts.clear();
        self.starts.resize(2 * n_chunks + 1, 0);
        for row in rows.clone() {
            for (slot, chunk) in work.chunks(head, row).iter().enumerate().filter(|(slot, _)| seen(row, *slot)) {
                self.starts[place(slot, *chunk) + 1] += 1;
            }
        }
        for at in 0..2 * n_chunks {
            self.starts[at + 1] += self.starts[at];
        }
        self.pairs.clear();
        self.pairs.resize(self.starts[2 * n_chunks] as usize, (0, 0));
        for row in rows.clone() {
            for (slot, chunk) in work.chunks(head, row).iter().enumerate().filter(|(slot, _)| seen(row, *slot)) {
                let at = &mut self.starts[place(slot, *chunk)];
                self.pairs[*at as usize] = ((row - rows.start) as u32, slot as u32);
                *at += 1;
            }
        }
        // every start has moved to the next place's
        self.starts.rotate_right(1);
        self.starts[0] = 0;
    }
}

/// Consecutive queries of one head.
struct Block<'a> {
    work: &'a Work<'a>,
    head: usize,
    rows: Range<usize>,
    keys: &'a Panels,
    values: &'a Values,
    scratch: &'a mut Scratch,
}

impl WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { work, head, rows, keys, values, scratch } = self;
        let [n_heads, n_kv_heads, _, head_dim] = work.shape;
        let kv_head = head / (n_heads / n_kv_heads);
        let (w, n) = (work.problem.chunk_len, work.problem.n_slots);
        let n_chunks = keys.tokens.len().div_ceil(w);
        scratch.sort(work, head, &rows, n_chunks);
        let Scratch { running, queries, weights, starts, pairs } = scratch;
        let dropped = running.n_rows() - 1;
        running.clear();
        for chunk in 0..n_chunks {
            let mine = &pairs[starts[2 * chunk] as usize..starts[2 * chunk + 2] as usize];
            let panels = &keys.head(kv_head)[keys.group(chunk) * keys.panel_len()..];
            for pairs in mine.chunks(ROWS) {
                let mut states = [dropped; ROWS];
                let mut lens = [0; ROWS];
                for (r, (row, slot)) in pairs.iter().enumerate() {
                    let (row, slot) = (*row as usize, *slot as usize);
                    states[r] = row;
                    lens[r] = if slot == n - 1 { work.problem.tail_len[rows.start + row] } else { w };
                    work.turn_query(simd, head, rows.start + row, slot, &mut queries[r * head_dim..][..head_dim]);
                }
                let longest = lens.into_iter().max().unwrap_or(0);
                // places beyond the last pair see what the first does, and are dropped
                let seen = lens[0];
                lens[pairs.len()..].fill(seen);
                let all = lens.iter().all(|len| *len == longest);
                for start in (0..longest).step_by(tile::KEYS) {
                    let end = (start + tile::KEYS).min(longest);
                    let tile = Tile {
                        queries,
                        keys: &panels[start / S::F32_LANES * keys.panel_len()..],
                        values: values.from(kv_head, chunk * w + start),
                        head_dim,
                        seen: 0..end - start,
                        each: (!all).then(|| lens.map(|len| (0, len.saturating_sub(start)))),
                    };
                    tile::attend(simd, &tile, &states, running, weights);
                }
            }
        }
        for (at, row) in rows.enumerate() {
            // SAFETY: every task has rows and a head of its own
            let (out, lse) = unsafe { work.result(head, row) };
            *lse = running.finish(at, out);
        }
    }
}
