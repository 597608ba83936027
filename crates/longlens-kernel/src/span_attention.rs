//! Attention over the spans of a plan: softmax over every key that any span shows to a query, each at its span's positions.
//!
//! `out[i] = sum_j p_ij v_j`, `p_ij = exp(s_ij - lse_i)`, `s_ij = R(query_pos(i)) q_i · R(key_pos(j)) k_j`, for the keys `j`
//! of the spans of `i`, scaled and capped as [`Score`] says. The spans of a query are disjoint, so they merge
//! in one online softmax (Milakov and Gimelshein, 2018, arXiv:1805.02867).
//!
//! Memory: one tile of scores, and the keys once per distinct key position rule. Tiles outside a span are skipped, inner
//! tiles need no mask. Agrees with the dense definition to 1e-5 (f32), relative to the largest value.

use std::ops::Range;

use burn_tensor::{Tensor, TensorData};
use longlens_core::plan::{Reach, Span};

use crate::rotary::Rotary;
use crate::score::Score;
use crate::{Attended, Kernels, in_f32, kv_heads_of};

#[cfg(feature = "flex")]
pub mod cpu;
#[cfg(feature = "cube")]
pub mod cube;
#[cfg(feature = "cuda-text")]
pub mod cuda;
#[cfg(feature = "cube")]
pub(crate) mod intervals;

/// One layer's attention problem.
#[derive(Debug, Clone)]
pub struct SpanAttention<'a, B: Kernels> {
    /// `[n_heads, seq_q, head_dim]`, before rotation.
    pub query: Tensor<B, 3>,
    /// How products become scores.
    pub score: Score,
    /// `[n_kv_heads, seq_k, head_dim]`, before rotation; row `j` is token `j`.
    pub key: Tensor<B, 3>,
    /// `[n_kv_heads, seq_k, head_dim]`.
    pub value: Tensor<B, 3>,
    /// Token of the first query row.
    pub first_query: usize,
    /// The plan's spans.
    pub spans: &'a [Span],
    /// One table per span.
    pub rotary: &'a [SpanRotary<B>],
}

impl<B: Kernels> SpanAttention<'_, B> {
    /// Panics where a query or a key has no row in its tables, beyond which kernels of GPUs would read.
    #[cfg(feature = "cube")]
    pub(crate) fn check_tables(&self) {
        let (n_queries, n_keys) = (self.first_query + self.query.dims()[1], self.key.dims()[1]);
        let covers = |rotary: &SpanRotary<B>| rotary.query.n_rows() >= n_queries && rotary.key.n_rows() >= n_keys;
        assert!(self.rotary.iter().all(covers), "tables with a row for every query and key");
    }

    /// The same problem for some query heads alone: a part of one key head's, or all of some key heads'.
    #[must_use]
    pub fn heads(&self, heads: Range<usize>) -> Self {
        let kv_heads = kv_heads_of(&heads, self.query.dims()[0], self.key.dims()[0]);
        Self {
            query: self.query.clone().slice([heads]),
            key: self.key.clone().slice([kv_heads.clone()]),
            value: self.value.clone().slice([kv_heads]),
            ..*self
        }
    }
}

/// Where queries and keys of one span stand: row `t` is token `t`.
#[derive(Debug, Clone)]
pub struct SpanRotary<B: Kernels> {
    /// Of queries.
    pub query: Rotary<B>,
    /// Of keys.
    pub key: Rotary<B>,
}

/// Queries of a tile: enough for a fast product, few enough that a tile stays in the cache.
const QUERY_TILE: usize = 128;
/// Keys of a tile.
const KEY_TILE: usize = 512;
/// Where the running maximum starts: below every score, yet finite, so that a fully masked row gives 0 and not NaN.
pub(crate) const LOWEST: f32 = -1e30;

/// Returns `out` and `lse` of every query. A query without any key gets zeros and a very low `lse`.
pub fn reference<B: Kernels>(problem: &SpanAttention<'_, B>) -> Attended<B> {
    let seq_q = problem.query.dims()[1];
    let keys = rotate_keys(problem);
    // few queries leave room for long key tiles
    let key_tile = if seq_q < 16 { 16 * KEY_TILE } else { KEY_TILE };
    let (mut outs, mut lses) = (Vec::new(), Vec::new());
    for start in (0..seq_q).step_by(QUERY_TILE) {
        let (out, lse) = query_tile(problem, &keys, start..(start + QUERY_TILE).min(seq_q), key_tile);
        outs.push(out);
        lses.push(lse);
    }
    Attended { out: Tensor::cat(outs, 1), lse: Tensor::cat(lses, 1) }
}

/// Attention weights of a few queries over all keys, `[n_heads, rows, seq_k]`; hidden keys have weight 0. `rows` indexes the
/// problem's queries. Maps and masses are made of these, a few rows at a time.
pub fn weights<B: Kernels>(problem: &SpanAttention<'_, B>, rows: Range<usize>) -> Tensor<B, 3> {
    let n_heads = problem.query.dims()[0];
    let [n_kv_heads, seq_k, head_dim] = problem.key.dims();
    let queries = problem.first_query + rows.start..problem.first_query + rows.end;
    let device = problem.query.device();
    let mut scores = Tensor::full([n_heads, rows.len(), seq_k], f32::NEG_INFINITY, &device);
    for (at, span) in problem.spans.iter().enumerate() {
        let any = span.reach.keys_of_any(queries.clone());
        if any.is_empty() {
            continue;
        }
        let query = problem.score.scaled(&problem.query, problem.first_query, rows.clone());
        let query = B::rotate(&problem.rotary[at].query.rows(queries.start, queries.end), query);
        let query = query.reshape([n_kv_heads, n_heads / n_kv_heads * rows.len(), head_dim]);
        let key = in_f32(problem.key.clone().slice([0..n_kv_heads, any.clone(), 0..head_dim]));
        let key = B::rotate(&problem.rotary[at].key.rows(any.start, any.end), key);
        let part = problem.score.capped(query.matmul(key.swap_dims(1, 2)));
        let part = part.reshape([n_heads, rows.len(), any.len()]);
        let hidden = mask::<B>(&span.reach, &queries, &any, &device).unsqueeze::<3>();
        let part = part + hidden;
        // spans are disjoint: at most one of them has a finite score for a key
        let target = [0..n_heads, 0..rows.len(), any.clone()];
        let merged = scores.clone().slice(target.clone()).max_pair(part);
        scores = scores.slice_assign(target, merged);
    }
    burn_tensor::activation::softmax(scores, 2)
}

/// Keys at a span's positions.
#[derive(Clone)]
struct Rotated<B: Kernels> {
    key: Tensor<B, 3>,
    tokens: Range<usize>, // its rows
}

/// The keys of each span at their positions. Spans that share a rule and overlap share a tensor.
fn rotate_keys<B: Kernels>(problem: &SpanAttention<'_, B>) -> Vec<Rotated<B>> {
    let [n_kv_heads, _, head_dim] = problem.key.dims();
    let queries = problem.first_query..problem.first_query + problem.query.dims()[1];
    let seen: Vec<_> = problem.spans.iter().map(|span| span.reach.keys_of_any(queries.clone())).collect();
    let mut rotated: Vec<Rotated<B>> = Vec::new();
    for (at, span) in problem.spans.iter().enumerate() {
        if seen[at].is_empty() {
            rotated.push(Rotated { key: problem.key.clone(), tokens: 0..0 }); // never read
            continue;
        }
        let range = keys_rotated_for(problem.spans, at, &queries);
        let same = |(earlier, rotated): &(usize, &Rotated<B>)| {
            problem.spans[*earlier].key_pos == span.key_pos && rotated.tokens == range
        };
        let shared = rotated.iter().enumerate().find(same).map(|(_, rotated)| rotated.clone());
        rotated.push(shared.unwrap_or_else(|| {
            let key = in_f32(problem.key.clone().slice([0..n_kv_heads, range.clone(), 0..head_dim]));
            let table = problem.rotary[at].key.rows(range.start, range.end);
            Rotated { key: B::rotate(&table, key), tokens: range }
        }));
    }
    rotated
}

/// The tokens whose keys are rotated together for a span: what any of `queries` sees of it, joined with what they see of
/// other spans that share its rule and overlap it.
fn keys_rotated_for(spans: &[Span], at: usize, queries: &Range<usize>) -> Range<usize> {
    let mut range = spans[at].reach.keys_of_any(queries.clone());
    for other in spans.iter().filter(|other| other.key_pos == spans[at].key_pos) {
        let seen = other.reach.keys_of_any(queries.clone());
        let near = !seen.is_empty() && seen.start <= range.end && range.start <= seen.end;
        if near {
            range = range.start.min(seen.start)..range.end.max(seen.end);
        }
    }
    range
}

fn query_tile<B: Kernels>(
    problem: &SpanAttention<'_, B>,
    keys: &[Rotated<B>],
    rows: Range<usize>,
    key_tile: usize,
) -> (Tensor<B, 3>, Tensor<B, 2>) {
    let [n_heads, _, head_dim] = problem.query.dims();
    let n_kv_heads = problem.key.dims()[0];
    let (n_rep, n_rows) = (n_heads / n_kv_heads, rows.len());
    let queries = problem.first_query + rows.start..problem.first_query + rows.end;
    let device = problem.query.device();
    let query = problem.score.scaled(&problem.query, problem.first_query, rows);

    let mut running = Running::new(n_kv_heads, n_rep * n_rows, head_dim, &device);
    for (at, span) in problem.spans.iter().enumerate() {
        let any = span.reach.keys_of_any(queries.clone());
        if any.is_empty() {
            continue;
        }
        let all = span.reach.keys_of_all(queries.clone());
        let rotated = B::rotate(&problem.rotary[at].query.rows(queries.start, queries.end), query.clone());
        let rotated = rotated.reshape([n_kv_heads, n_rep * n_rows, head_dim]); // a key head's queries are one matrix
        for start in any.clone().step_by(key_tile) {
            let tile = start..(start + key_tile).min(any.end);
            let part = |t: &Tensor<B, 3>, first: usize| {
                t.clone().slice([0..n_kv_heads, tile.start - first..tile.end - first, 0..head_dim])
            };
            let key = part(&keys[at].key, keys[at].tokens.start);
            // [n_kv_heads, n_rep * n_rows, tile]
            let mut scores = problem.score.capped(rotated.clone().matmul(key.swap_dims(1, 2)));
            if !(all.start <= tile.start && tile.end <= all.end) {
                // one copy a head: backends add equal shapes faster than they broadcast
                let hidden = mask::<B>(&span.reach, &queries, &tile, &device).unsqueeze::<3>().repeat_dim(0, n_heads);
                scores = scores + hidden.reshape([n_kv_heads, n_rep * n_rows, tile.len()]);
            }
            running.add(scores, in_f32(part(&problem.value, 0)));
        }
    }
    let (out, lse) = running.finish();
    (out.reshape([n_heads, n_rows, head_dim]), lse.reshape([n_heads, n_rows]))
}

/// `[queries, keys]`: 0 where the query meets the key, minus infinity elsewhere.
fn mask<B: Kernels>(reach: &Reach, queries: &Range<usize>, keys: &Range<usize>, device: &B::Device) -> Tensor<B, 2> {
    let mut hidden = vec![f32::NEG_INFINITY; queries.len() * keys.len()];
    for (row, query) in hidden.chunks_mut(keys.len()).zip(queries.clone()) {
        let seen = reach.keys(query);
        let (start, end) = (seen.start.clamp(keys.start, keys.end), seen.end.clamp(keys.start, keys.end));
        if start < end {
            row[start - keys.start..end - keys.start].fill(0.0);
        }
        if let Some(holes) = reach.holes(query) {
            holes.hidden(keys.clone(), |key| row[key - keys.start] = f32::NEG_INFINITY);
        }
    }
    Tensor::from_data(TensorData::new(hidden, [queries.len(), keys.len()]), device)
}

/// Online softmax: the weighted sum so far, relative to the largest score so far.
struct Running<B: Kernels> {
    max: Tensor<B, 3>, // [n_kv_heads, rows, 1]
    sum: Tensor<B, 3>, // [n_kv_heads, rows, 1]
    out: Tensor<B, 3>, // [n_kv_heads, rows, head_dim]
}

impl<B: Kernels> Running<B> {
    fn new(n_kv_heads: usize, rows: usize, head_dim: usize, device: &B::Device) -> Self {
        Self {
            max: Tensor::full([n_kv_heads, rows, 1], LOWEST, device),
            sum: Tensor::zeros([n_kv_heads, rows, 1], device),
            out: Tensor::zeros([n_kv_heads, rows, head_dim], device),
        }
    }

    fn add(&mut self, scores: Tensor<B, 3>, value: Tensor<B, 3>) {
        let max = self.max.clone().max_pair(scores.clone().max_dim(2));
        let kept = (self.max.clone() - max.clone()).exp(); // what the sums so far are worth now
        let weights = (scores - max.clone()).exp();
        self.sum = self.sum.clone() * kept.clone() + weights.clone().sum_dim(2);
        self.out = self.out.clone() * kept + weights.matmul(value);
        self.max = max;
    }

    fn finish(self) -> (Tensor<B, 3>, Tensor<B, 3>) {
        let sum = self.sum.clamp_min(f32::MIN_POSITIVE);
        (self.out / sum.clone(), self.max + sum.log())
    }
}
