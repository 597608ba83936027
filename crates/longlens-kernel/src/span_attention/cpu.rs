//! Span attention on the processor.
//!
//! A prompt's queries go through in blocks, a key head's queries together: per span the block's queries are rotated, and
//! every tile of keys that one of them sees is multiplied while it is near. Tiles outside the span are not visited, tiles
//! inside it are not masked. The longest blocks go first, so that the causal triangle is even work. A few queries (a
//! generated token) instead share out the keys and rotate them as they read them: see [`decode`].

use std::ops::Range;

use burn_flex::Flex;
use longlens_core::plan::Reach;

use super::SpanAttention;
use crate::Attended;
use crate::cpu::panels::{Panels, WholeRows};
use crate::cpu::rotate::rotate_row;
use crate::cpu::simd::{Aligned, Arch, Simd, WithSimd, output};
use crate::cpu::tile::{self, Each, ROWS, Running, Tile, TileHoles, Values};
use crate::cpu::{AngleTensors, Angles, Parts, RowTensor, Rows, in_turn, tensor};

mod decode;

/// Returns what [`reference`](super::reference) returns, to 1e-5 relative to the largest value.
pub fn attend(arch: Arch, problem: &SpanAttention<'_, Flex>) -> Attended<Flex> {
    let [n_heads, seq_q, head_dim] = problem.query.dims();
    // a row per token, as the output projection reads it
    let mut out = output(seq_q * n_heads * head_dim);
    let mut lse = output(n_heads * seq_q);
    let (outs, lses) = (Parts::new(&mut out), Parts::new(&mut lse));
    if seq_q < decode::FEWER {
        decode::attend(arch, problem, &outs, &lses);
    } else {
        arch.dispatch(Whole { problem, outs: &outs, lses: &lses });
    }
    Attended { out: tensor(out, [seq_q, n_heads, head_dim]).swap_dims(0, 1), lse: tensor(lse, [n_heads, seq_q]) }
}

/// A layer's shapes.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub n_heads: usize,
    pub n_kv_heads: usize,
    pub n_rep: usize,
    pub seq_q: usize,
    pub head_dim: usize,
}

impl Shape {
    pub(crate) fn of(problem: &SpanAttention<'_, Flex>) -> Self {
        let [n_heads, seq_q, head_dim] = problem.query.dims();
        let n_kv_heads = problem.key.dims()[0];
        Self { n_heads, n_kv_heads, n_rep: n_heads / n_kv_heads, seq_q, head_dim }
    }
}

struct Whole<'a> {
    problem: &'a SpanAttention<'a, Flex>,
    outs: &'a Parts<f32>,
    lses: &'a Parts<f32>,
}

/// Numbers of keys in a tile: with as many of values they stay in the second cache.
const KEY_NUMBERS: usize = 1 << 14;
/// Queries of a block, all heads of a key head together, roughly.
const BLOCK: usize = 96;

impl WithSimd for Whole<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { problem, outs, lses } = self;
        let inputs = Inputs::new(problem);
        let layer = inputs.layer(simd);
        let shape = layer.shape;
        let values = layer.values(inputs.value.rows(), S::F32_LANES);
        let block = (BLOCK / shape.n_rep).max(4 * ROWS).min(shape.seq_q).next_multiple_of(ROWS);
        let n_blocks = shape.seq_q.div_ceil(block);
        let scratch = || Scratch::new::<S>(shape, block, values.width);
        in_turn(n_blocks * shape.n_kv_heads, scratch, |task, scratch| {
            let (kv_head, at) = (task % shape.n_kv_heads, n_blocks - 1 - task / shape.n_kv_heads);
            let rows = at * block..((at + 1) * block).min(shape.seq_q);
            let block = Block { layer: &layer, kv_head, rows };
            scratch.running.clear();
            simd.vectorize(Attend { block: &block, values: &values, scratch });
            block.finish(&scratch.running, outs, lses);
        });
    }
}

/// A problem's tensors, read where they lie.
pub(crate) struct Inputs<'a> {
    problem: &'a SpanAttention<'a, Flex>,
    query: RowTensor,
    value: RowTensor,
    angles: Vec<AngleTensors>,
}

/// What all blocks of a layer read.
pub(crate) struct Layer<'a> {
    problem: &'a SpanAttention<'a, Flex>,
    shape: Shape,
    query: Rows<'a>,
    angles: Vec<Angles<'a>>,
    keys: Rotated,
}

impl<'a> Inputs<'a> {
    pub(crate) fn new(problem: &'a SpanAttention<'a, Flex>) -> Self {
        Self {
            problem,
            query: RowTensor::new(problem.query.clone()),
            value: RowTensor::new(problem.value.clone()),
            angles: problem.rotary.iter().map(|rotary| AngleTensors::new(&rotary.query)).collect(),
        }
    }

    #[inline(always)]
    pub(crate) fn layer<S: Simd>(&self, simd: S) -> Layer<'_> {
        let shape = Shape::of(self.problem);
        let queries = self.problem.first_query..self.problem.first_query + shape.seq_q;
        Layer {
            problem: self.problem,
            shape,
            query: self.query.rows(),
            angles: self.angles.iter().map(AngleTensors::rows).collect(),
            keys: Rotated::new(simd, self.problem, queries),
        }
    }
}

impl Layer<'_> {
    /// Values of every key that some span shows.
    fn values<'v>(&self, value: Rows<'v>, lanes: usize) -> WholeRows<'v> {
        let seen = self.keys.iter().flatten().map(Panels::tokens);
        let seen = seen.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)).unwrap_or(0..0);
        WholeRows::new(value, [self.shape.n_kv_heads, self.shape.head_dim], seen, lanes)
    }
}

/// The rotated keys of every span; spans that share a rule and overlap share them.
struct Rotated {
    distinct: Vec<Panels>,
    of: Vec<Option<usize>>,
}

impl Rotated {
    #[inline(always)]
    fn new<S: Simd>(simd: S, problem: &SpanAttention<'_, Flex>, queries: Range<usize>) -> Self {
        let [n_kv_heads, _, head_dim] = problem.key.dims();
        let key = RowTensor::new(problem.key.clone());
        let mut rotated = Self { distinct: Vec::new(), of: Vec::new() };
        let mut rules = Vec::new();
        for (at, span) in problem.spans.iter().enumerate() {
            if span.reach.keys_of_any(queries.clone()).is_empty() {
                rotated.of.push(None);
                continue;
            }
            let tokens = super::keys_rotated_for(problem.spans, at, &queries);
            let rule = (&span.key_pos, tokens.clone());
            let known = rules.iter().position(|known| *known == rule);
            rotated.of.push(Some(known.unwrap_or_else(|| {
                rules.push(rule);
                let angles = AngleTensors::new(&problem.rotary[at].key);
                let (shape, group) = ([n_kv_heads, head_dim], tokens.len());
                rotated.distinct.push(Panels::keys(simd, key.rows(), shape, Some(angles.rows()), tokens, group));
                rules.len() - 1
            })));
        }
        rotated
    }

    fn iter(&self) -> impl Iterator<Item = Option<&Panels>> {
        self.of.iter().map(|at| at.map(|at| &self.distinct[at]))
    }
}

/// What a thread keeps from block to block.
struct Scratch {
    running: Running,
    queries: Aligned, // [groups, ROWS, head_dim]
    weights: Aligned,
}

impl Scratch {
    fn new<S: Simd>(shape: Shape, block: usize, width: usize) -> Self {
        let n_rows = shape.n_rep * block;
        Self {
            running: Running::new(n_rows, width, S::F32_LANES),
            queries: Block::room(shape, block),
            weights: tile::weights(),
        }
    }
}

/// Consecutive queries of the heads that one key head serves.
pub(crate) struct Block<'a> {
    pub layer: &'a Layer<'a>,
    pub kv_head: usize,
    pub rows: Range<usize>, // of the problem's queries
}

struct Attend<'a> {
    block: &'a Block<'a>,
    values: &'a WholeRows<'a>,
    scratch: &'a mut Scratch,
}

impl WithSimd for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { block, values, scratch: Scratch { running, queries, weights } } = self;
        block.visit(
            simd,
            queries,
            // a closure that is not inlined is compiled without the instruction set
            #[inline(always)]
            |group, first_key, tile| {
                let tile = Tile { values: values.from(block.kv_head, first_key), ..tile };
                let mut rows = [0; ROWS];
                for (r, row) in rows.iter_mut().enumerate() {
                    *row = group * ROWS + r;
                }
                tile::attend(simd, &tile, &rows, running, weights);
            },
        );
    }
}

impl Block<'_> {
    /// Row groups of a head; the last one may hold fewer than [`ROWS`] queries.
    fn n_groups(&self) -> usize {
        self.rows.len().div_ceil(ROWS)
    }

    /// Room for the rotated queries.
    pub(crate) fn room(shape: Shape, n_rows: usize) -> Aligned {
        Aligned::zeros(shape.n_rep * n_rows.next_multiple_of(ROWS) * shape.head_dim)
    }

    /// Calls `each` with every group of queries and every tile of keys that meet, and the tile's first key; tiles come
    /// without values. A tile of keys is done with all groups before the next one.
    #[inline(always)]
    pub(crate) fn visit<S: Simd>(&self, simd: S, queries: &mut [f32], mut each: impl FnMut(usize, usize, Tile<'_>)) {
        let Layer { problem, shape, .. } = self.layer;
        let head_dim = shape.head_dim;
        let cap = problem.score.log2_cap();
        let first = problem.first_query + self.rows.start;
        let tokens = first..first + self.rows.len();
        for ((at, span), keys) in problem.spans.iter().enumerate().zip(self.layer.keys.iter()) {
            let any = span.reach.keys_of_any(tokens.clone());
            let Some(keys) = keys.filter(|_| !any.is_empty()) else { continue };
            self.turn_queries(simd, at, queries);
            let origin = keys.tokens().start;
            let step = (KEY_NUMBERS / head_dim / S::F32_LANES * S::F32_LANES).clamp(64, tile::KEYS);
            let start = (any.start - origin) / S::F32_LANES * S::F32_LANES + origin;
            for start in (start..any.end).step_by(step) {
                let end = (start + step).min(any.end);
                let panels = &keys.head(self.kv_head)[(start - origin) / S::F32_LANES * keys.panel_len()..];
                for group in 0..shape.n_rep * self.n_groups() {
                    let row = group % self.n_groups() * ROWS;
                    let own = first + row..first + (row + ROWS).min(self.rows.len());
                    let Some((seen, each_sees)) = meet(&span.reach, &own, start..end) else { continue };
                    let holes = span.reach.table().filter(|table| table.has_holes());
                    let holes = holes.map(|table| TileHoles { table, queries: own, first_key: start });
                    let queries = &queries[group * head_dim * ROWS..];
                    each(
                        group,
                        start,
                        Tile {
                            queries,
                            keys: panels,
                            values: Values::default(),
                            head_dim,
                            seen,
                            each: each_sees,
                            holes,
                            cap,
                        },
                    );
                }
            }
        }
    }

    /// The block's queries at the positions of a span, times `log2 e`, group by group.
    #[inline(always)]
    fn turn_queries<S: Simd>(&self, simd: S, span: usize, queries: &mut [f32]) {
        let Layer { problem, shape, query, angles, .. } = self.layer;
        let head_dim = shape.head_dim;
        for group in 0..shape.n_rep * self.n_groups() {
            let head = self.kv_head * shape.n_rep + group / self.n_groups();
            for r in 0..ROWS {
                // rows past the block's end repeat its last query and are dropped
                let row = (self.rows.start + group % self.n_groups() * ROWS + r).min(self.rows.end - 1);
                let angles = angles[span].row(problem.first_query + row);
                let scale = problem.score.factor(problem.first_query + row) * std::f32::consts::LOG2_E;
                let out = &mut queries[(group * ROWS + r) * head_dim..][..head_dim];
                rotate_row(simd, query.of(head, row, head_dim), angles, scale, out);
            }
        }
    }

    fn finish(&self, running: &Running, outs: &Parts<f32>, lses: &Parts<f32>) {
        let Shape { n_heads, n_rep, seq_q, head_dim, .. } = self.layer.shape;
        for rep in 0..n_rep {
            let head = self.kv_head * n_rep + rep;
            // SAFETY: every task has rows and heads of its own
            let lse = unsafe { lses.slice(head * seq_q + self.rows.start, self.rows.len()) };
            for (at, (row, lse)) in self.rows.clone().zip(lse).enumerate() {
                // SAFETY: as above
                let out = unsafe { outs.slice((row * n_heads + head) * head_dim, head_dim) };
                *lse = running.finish(rep * self.n_groups() * ROWS + at, out);
            }
        }
    }
}

/// The keys of `tile` that some of `queries` (at most [`ROWS`]) see, and what each sees unless all see the same; counted
/// from the tile's first key.
#[inline(always)]
fn meet(reach: &Reach, queries: &Range<usize>, tile: Range<usize>) -> Option<(Range<usize>, Option<Each>)> {
    let any = reach.keys_of_any(queries.clone());
    let (from, to) = (any.start.max(tile.start), any.end.min(tile.end));
    if from >= to {
        return None;
    }
    let all = reach.keys_of_all(queries.clone());
    let each = (all.start > from || all.end < to).then(|| {
        let mut each = [(0, 0); ROWS];
        for (r, each) in each.iter_mut().enumerate() {
            let seen = reach.keys((queries.start + r).min(queries.end - 1));
            *each = (seen.start.saturating_sub(tile.start), seen.end.saturating_sub(tile.start));
        }
        each
    });
    Some((from - tile.start..to - tile.start, each))
}
