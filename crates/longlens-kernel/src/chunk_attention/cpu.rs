//! Chunk attention on the processor: queries of a block meet at the chunks they chose.
//!
//! A head's block of queries is sorted by chosen chunk, so that a chunk's keys, rotated once, multiply all queries that
//! chose it in one dense product; each query's softmax goes on from chunk to chunk. What is stored grows with the block,
//! not with the number of chosen keys. A few queries (a generated token) instead rotate the chosen keys as they read them.

use std::ops::{Range, RangeInclusive};

use burn_flex::Flex;

use super::{ChunkAttention, QueryRows};
use crate::Attended;
use crate::cpu::panels::WholeRows;
use crate::cpu::rotate::rotate_row;
use crate::cpu::run::{self, Keys, Part};
use crate::cpu::simd::{Aligned, Arch, Simd, WithSimd, output};
use crate::cpu::tile::{self, ROWS, Running, Tile, Values};
use crate::cpu::{AngleTensors, Angles, IntTensor, Parts, RowTensor, Rows, in_turn, tensor};

mod packed_keys;

pub use packed_keys::PackedKeys;

/// Queries of a block: the more, the more of them share a chunk, but threads want blocks too.
const BLOCKS: RangeInclusive<usize> = 128..=2048;
/// With fewer queries than this, packing all keys would cost more than reading the chosen ones.
const FEWER: usize = 16;
/// Keys that are worth a thread.
const SHARE: usize = 1024;

/// Returns what [`reference`](super::reference) returns. `packed` belongs to one group of
/// heads of one layer, and to nothing else.
pub fn attend(arch: Arch, problem: &ChunkAttention<'_, Flex>, packed: &mut PackedKeys) -> Attended<Flex> {
    let [n_heads, seq_q, head_dim] = problem.query.dims();
    // a row per token, as the output projection reads it
    let mut out = output(seq_q * n_heads * head_dim);
    let mut lse = output(n_heads * seq_q);
    arch.dispatch(Attend { problem, packed, outs: &Parts::new(&mut out), lses: &Parts::new(&mut lse) });
    Attended { out: tensor(out, [seq_q, n_heads, head_dim]).swap_dims(0, 1), lse: tensor(lse, [n_heads, seq_q]) }
}

struct Attend<'a> {
    problem: &'a ChunkAttention<'a, Flex>,
    packed: &'a mut PackedKeys,
    outs: &'a Parts<f32>,
    lses: &'a Parts<f32>,
}

impl WithSimd for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { problem, packed, outs, lses } = self;
        let inputs = Inputs::new(problem);
        let work = inputs.work();
        let [n_heads, n_kv_heads, seq_q, head_dim] = work.shape;
        let results = Results { outs, lses, shape: work.shape };
        if seq_q < FEWER {
            let one =
                |at: usize, scores: &mut Aligned| simd.vectorize(Few { work: &work, results: &results, at, scores });
            if n_heads * seq_q * problem.choice.n_slots * problem.choice.chunk_len >= SHARE {
                in_turn(n_heads * seq_q, || run::scores(1, head_dim), one);
            } else {
                let mut scores = run::scores(1, head_dim);
                (0..n_heads * seq_q).for_each(|at| one(at, &mut scores));
            }
            return;
        }
        let seq_k = problem.key.dims()[1];
        work.cover(simd, packed);
        let keys = &*packed;
        let values = WholeRows::new(work.value, [n_kv_heads, head_dim], 0..seq_k, S::F32_LANES);
        let even = (n_heads * seq_q).div_ceil(4 * rayon::current_num_threads());
        let block = even.clamp(*BLOCKS.start(), *BLOCKS.end()).min(seq_q);
        let n_blocks = seq_q.div_ceil(block);
        let scratch = || Scratch {
            // one more row takes what the empty places of a last group compute
            running: Running::new(block + 1, values.width, S::F32_LANES),
            weights: tile::weights(),
            sorted: Sorted::new(head_dim),
        };
        in_turn(n_blocks * n_heads, scratch, |task, scratch| {
            let (head, at) = (task % n_heads, n_blocks - 1 - task / n_heads);
            let rows = at * block..((at + 1) * block).min(seq_q);
            let block = Block { work: &work, head, rows: rows.clone(), keys };
            scratch.running.clear();
            simd.vectorize(Whole { block: &block, values: &values, scratch });
            for (at, row) in rows.enumerate() {
                // SAFETY: every task has rows and a head of its own
                let (out, lse) = unsafe { results.of(head, row) };
                *lse = scratch.running.finish(at, out);
            }
        });
    }
}

/// A problem's tensors, read where they lie.
pub(crate) struct Inputs<'a> {
    problem: &'a ChunkAttention<'a, Flex>,
    query: RowTensor,
    key: RowTensor,
    value: RowTensor,
    queries: AngleTensors,
    keys: AngleTensors,
    chunks: IntTensor,
    /// Of every query, where it stands and how many keys of the last slot it sees.
    rows: Vec<(QueryRows, usize)>,
}

impl<'a> Inputs<'a> {
    pub(crate) fn new(problem: &'a ChunkAttention<'a, Flex>) -> Self {
        let [query, key, value] = [&problem.query, &problem.key, &problem.value].map(|t| RowTensor::new(t.clone()));
        let (queries, keys) = (AngleTensors::new(problem.query_rotary), AngleTensors::new(problem.key_rotary));
        let row = |row: usize| {
            let slots = problem.slots(row);
            (QueryRows::of(&slots), slots.tail.len())
        };
        let rows = (0..problem.query.dims()[1]).map(row).collect();
        Self { problem, query, key, value, queries, keys, chunks: IntTensor::new(problem.chunks.clone()), rows }
    }

    pub(crate) fn work(&self) -> Work<'_> {
        let [n_heads, seq_q, head_dim] = self.problem.query.dims();
        Work {
            problem: self.problem,
            query: self.query.rows(),
            key: self.key.rows(),
            value: self.value.rows(),
            queries: self.queries.rows(),
            keys: self.keys.rows(),
            chunks: self.chunks.numbers(),
            rows: &self.rows,
            shape: [n_heads, self.problem.key.dims()[0], seq_q, head_dim],
        }
    }
}

/// What all tasks read.
pub(crate) struct Work<'a> {
    problem: &'a ChunkAttention<'a, Flex>,
    query: Rows<'a>,
    key: Rows<'a>,
    value: Rows<'a>,
    queries: Angles<'a>,
    keys: Angles<'a>,
    chunks: &'a [i32],
    rows: &'a [(QueryRows, usize)],
    shape: [usize; 4], // n_heads, n_kv_heads, seq_q, head_dim
}

impl Work<'_> {
    /// Packs what is new of the keys.
    #[inline(always)]
    pub(crate) fn cover<S: Simd>(&self, simd: S, packed: &mut PackedKeys) {
        let [_, n_kv_heads, _, head_dim] = self.shape;
        let n_tokens = self.problem.key.dims()[1];
        packed.cover(simd, self.key, [n_kv_heads, head_dim], self.keys, n_tokens, self.problem.choice.chunk_len);
    }

    /// A head's chosen chunks of a query.
    fn chunks(&self, head: usize, row: usize) -> &[i32] {
        let n = self.problem.choice.n_slots;
        &self.chunks[(head * self.shape[2] + row) * n..][..n]
    }

    /// Keys that a query sees of the chunk in its last slot.
    fn tail_len(&self, row: usize) -> usize {
        self.rows[row].1
    }

    /// Writes a query rotated for a slot, times `log2 e`.
    #[inline(always)]
    fn rotate_query<S: Simd>(&self, simd: S, head: usize, row: usize, slot: usize, out: &mut [f32]) {
        let angles = self.queries.row(self.rows[row].0.slot(slot));
        let scale = self.problem.score.factor(self.problem.first_query + row) * std::f32::consts::LOG2_E;
        rotate_row(simd, self.query.of(head, row, self.shape[3]), angles, scale, out);
    }
}

/// Where results go.
struct Results<'a> {
    outs: &'a Parts<f32>,
    lses: &'a Parts<f32>,
    shape: [usize; 4],
}

impl Results<'_> {
    /// A head's results of a query.
    ///
    /// # Safety
    /// Nobody else holds that head's results of that query.
    #[allow(clippy::mut_from_ref)] // parts are disjoint by the contract
    unsafe fn of(&self, head: usize, row: usize) -> (&mut [f32], &mut f32) {
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
    results: &'a Results<'a>,
    at: usize,
    scores: &'a mut Aligned,
}

impl WithSimd for Few<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { work, results, at, scores } = self;
        let [n_heads, n_kv_heads, _, head_dim] = work.shape;
        let (w, n) = (work.problem.choice.chunk_len, work.problem.choice.n_slots);
        let (head, row) = (at % n_heads, at / n_heads);
        let kv_head = head / (n_heads / n_kv_heads);
        let cap = work.problem.score.log2_cap();
        let keys = Keys { key: work.key, value: work.value, angles: work.keys, kv_head, head_dim, holes: None, cap };
        let mut query = vec![0.0; head_dim];
        let mut part = [Part::new(head_dim)];
        for (slot, chunk) in work.chunks(head, row).iter().enumerate() {
            let start = *chunk as usize * w;
            let len = if slot == n - 1 { work.tail_len(row) } else { w };
            work.rotate_query(simd, head, row, slot, &mut query);
            run::attend(simd, &keys, start..start + len, &query, &mut part, scores);
        }
        // SAFETY: every task has a query and head of its own
        let (out, lse) = unsafe { results.of(head, row) };
        *lse = Part::merge(part.iter(), out);
    }
}

/// What a thread keeps from block to block.
struct Scratch {
    running: Running,
    weights: Aligned,
    sorted: Sorted,
}

/// A block's choices sorted by chunk.
pub(crate) struct Sorted {
    queries: Aligned, // [ROWS, head_dim]
    /// Where the pairs of every chunk start: first those that see all of it, then those whose tail it is.
    starts: Vec<u32>,
    /// Row in the block and slot.
    pairs: Vec<(u32, u32)>,
}

impl Sorted {
    pub(crate) fn new(head_dim: usize) -> Self {
        Self { queries: Aligned::zeros(ROWS * head_dim), starts: Vec::new(), pairs: Vec::new() }
    }

    fn sort(&mut self, work: &Work<'_>, head: usize, rows: &Range<usize>, n_chunks: usize) {
        let n = work.problem.choice.n_slots;
        let place = |slot: usize, chunk: i32| 2 * chunk as usize + usize::from(slot == n - 1);
        let seen = |row: usize, slot: usize| slot < n - 1 || work.tail_len(row) > 0;
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
pub(crate) struct Block<'a> {
    pub work: &'a Work<'a>,
    pub head: usize,
    pub rows: Range<usize>,
    pub keys: &'a PackedKeys,
}

struct Whole<'a> {
    block: &'a Block<'a>,
    values: &'a WholeRows<'a>,
    scratch: &'a mut Scratch,
}

impl WithSimd for Whole<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { block, values, scratch: Scratch { running, weights, sorted } } = self;
        let kv_head = block.kv_head();
        block.visit(
            simd,
            sorted,
            // a closure that is not inlined is compiled without the instruction set
            #[inline(always)]
            |rows, first_key, tile| {
                let tile = Tile { values: values.from(kv_head, first_key), ..tile };
                tile::attend(simd, &tile, rows, running, weights);
            },
        );
    }
}

impl Block<'_> {
    fn kv_head(&self) -> usize {
        let [n_heads, n_kv_heads, ..] = self.work.shape;
        self.head / (n_heads / n_kv_heads)
    }

    /// Calls `each` with up to [`ROWS`] rows of the block that chose a chunk, the first key and the tile they meet, which
    /// comes without values. Empty places of a group have the row one past the block's last.
    #[inline(always)]
    pub(crate) fn visit<S: Simd>(
        &self,
        simd: S,
        sorted: &mut Sorted,
        mut each: impl FnMut(&[usize; ROWS], usize, Tile<'_>),
    ) {
        let Self { work, head, rows, keys } = self;
        let (head_dim, kv_head) = (work.shape[3], self.kv_head());
        let (w, n) = (work.problem.choice.chunk_len, work.problem.choice.n_slots);
        let cap = work.problem.score.log2_cap();
        let n_chunks = keys.n_chunks();
        sorted.sort(work, *head, rows, n_chunks);
        let Sorted { queries, starts, pairs } = sorted;
        for chunk in 0..n_chunks {
            let mine = &pairs[starts[2 * chunk] as usize..starts[2 * chunk + 2] as usize];
            let panels = keys.panels(kv_head, chunk);
            for pairs in mine.chunks(ROWS) {
                let mut states = [rows.len(); ROWS];
                let mut lens = [0; ROWS];
                for (r, (row, slot)) in pairs.iter().enumerate() {
                    let (row, slot) = (*row as usize, *slot as usize);
                    states[r] = row;
                    lens[r] = if slot == n - 1 { work.tail_len(rows.start + row) } else { w };
                    work.rotate_query(simd, *head, rows.start + row, slot, &mut queries[r * head_dim..][..head_dim]);
                }
                let mut longest = 0;
                for len in &mut lens[..pairs.len()] {
                    longest = longest.max(*len);
                }
                for r in pairs.len()..ROWS {
                    lens[r] = lens[0];
                }
                let mut all = true;
                for len in lens {
                    all &= len == longest;
                }
                for start in (0..longest).step_by(tile::KEYS) {
                    let mut hidden = [(0, 0); ROWS];
                    for r in 0..ROWS {
                        hidden[r] = (0, lens[r].saturating_sub(start));
                    }
                    let tile = Tile {
                        queries,
                        keys: &panels[start / S::F32_LANES * keys.panel_len()..],
                        values: Values::default(),
                        head_dim,
                        seen: 0..(longest - start).min(tile::KEYS),
                        each: (!all).then_some(hidden),
                        holes: None,
                        cap,
                    };
                    each(&states, chunk * w + start, tile);
                }
            }
        }
    }
}
