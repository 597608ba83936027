//! What a watch asks of one layer's attention, made from the problems that attention solves: choices, single rows, pools.

use std::ops::Range;

use burn::tensor::Tensor;
use longlens_core::chunk_choice::Slots;
use longlens_core::trace::Choices;
use longlens_kernel::chunk_attention::ChunkAttention;
use longlens_kernel::chunk_scores::{self, ChunkScores};
use longlens_kernel::span_attention::SpanAttention;
use longlens_kernel::{Kernels, chunk_attention, span_attention};

use crate::attention::numbers;
use crate::record::Recorder;

/// Scores of candidate chunks held at once while recording, in numbers.
const SCORE_BLOCK: usize = 1 << 22;
/// Attention weights held at once while recording, in numbers.
const WEIGHT_BLOCK: usize = 1 << 22;

/// Some heads of a layer: what is recorded carries their true numbers, whatever heads a problem holds.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub layer: usize,
    /// The problem's first head.
    pub first_head: usize,
}

/// Choices, scores and margins of watched queries.
pub fn record_choices<B: Kernels>(
    recorder: &mut Recorder,
    layer: usize,
    first: usize,
    problem: &ChunkScores<'_, B>,
    chosen: &[u32],
) {
    let [n_heads, seq, _] = problem.query.dims();
    let (n, n_summaries) = (problem.n_slots, problem.summaries.dims()[1]);
    let watched = recorder.watched_choices(first..first + seq);
    for tokens in blocks(&watched, SCORE_BLOCK / (n_heads * n_summaries)) {
        let scores = chunk_scores::scores(problem, tokens.start - first..tokens.end - first);
        for (at, query) in tokens.clone().enumerate() {
            let slots = &problem.slots[query - first];
            let picks = (0..n_heads).map(|head| {
                let scores = &scores[(head * tokens.len() + at) * n_summaries..][..n_summaries];
                (&chosen[(head * seq + query - first) * n..][..n], &scores[slots.candidates.clone()])
            });
            record_choice(recorder.choices(layer, n_heads, n), query, slots, picks);
        }
    }
}

/// Writes down one query's choice in every head.
fn record_choice<'a>(
    choices: &mut Choices,
    query: usize,
    slots: &Slots,
    heads: impl Iterator<Item = (&'a [u32], &'a [f32])>,
) {
    choices.queries.push(query);
    for (chunks, scores) in heads {
        let complete = &chunks[..slots.n_complete()];
        let score = |chunk: u32| if slots.forces(chunk as usize) { f32::NAN } else { scores[chunk as usize - 1] };
        choices.chunks.extend(complete.iter().map(|chunk| *chunk as i32));
        choices.scores.extend(complete.iter().map(|chunk| score(*chunk)));
        // a prompt token's own chunk takes the last slot even while it sees none of its keys; a generated token that has
        // just completed its chunk has no tail
        let own = (slots.tail.start == query / slots.chunk_len * slots.chunk_len).then_some(chunks[chunks.len() - 1]);
        choices.chunks.push(own.map_or(-1, |chunk| chunk as i32));
        choices.scores.push(f32::NAN);
        let worst = complete.iter().map(|chunk| score(*chunk)).fold(f32::INFINITY, f32::min);
        let left_out = (1..).zip(scores).filter(|(chunk, _)| !complete.contains(chunk)).map(|(_, score)| *score);
        choices.margins.push(worst - left_out.fold(f32::NEG_INFINITY, f32::max));
    }
}

/// Weights of watched queries among those that the spans serve. `lse` is there where anything is pooled.
pub fn record_spans<B: Kernels>(
    recorder: &mut Recorder,
    Place { layer, first_head }: Place,
    problem: &SpanAttention<'_, B>,
    lse: Option<&Tensor<B, 2>>,
) {
    let [n_heads, seq, _] = problem.query.dims();
    let [n_kv_heads, seq_k, _] = problem.key.dims();
    let tokens = problem.first_query..problem.first_query + seq;
    for head in 0..n_heads {
        for (pool, cells) in recorder.pools(layer, first_head + head, &tokens) {
            recorder.pooled(pool, &B::pool_spans(problem, head, &of_head(lse, head), &cells));
        }
    }
    let watched = |head: usize| recorder.watched(layer, first_head + head, &tokens);
    for (heads, watched) in alike(n_heads, n_heads / n_kv_heads, watched) {
        let problem = problem.heads(heads.clone());
        for tokens in blocks(&watched, WEIGHT_BLOCK / (seq_k * heads.len())) {
            let rows = tokens.start - problem.first_query..tokens.end - problem.first_query;
            let weights = numbers(span_attention::weights(&problem, rows)); // [heads, rows, seq_k]
            for (head, weights) in heads.clone().zip(weights.chunks(tokens.len() * seq_k)) {
                for (row, query) in weights.chunks(seq_k).zip(tokens.clone()) {
                    recorder.row(layer, first_head + head, query, &row[..=query]);
                }
            }
        }
    }
}

/// Weights of watched queries among those that chose chunks, spread over all keys. `lse` is there where anything is pooled.
pub fn record_chunks<B: Kernels>(
    recorder: &mut Recorder,
    Place { layer, first_head }: Place,
    first: usize,
    (problem, keys): (&ChunkAttention<'_, B>, &mut B::ChunkKeys),
    lse: Option<&Tensor<B, 2>>,
) {
    let [n_heads, seq, head_dim] = problem.query.dims();
    let (w, n) = (problem.chunk_len, problem.n_slots);
    let tokens = first..first + seq;
    for head in 0..n_heads {
        for (pool, cells) in recorder.pools(layer, first_head + head, &tokens) {
            let pooled = B::pool_chunks(problem, keys, (head, first), &of_head(lse, head), &cells);
            recorder.pooled(pool, &pooled);
        }
    }
    let watched = |head: usize| recorder.watched(layer, first_head + head, &tokens);
    for (heads, watched) in alike(n_heads, n_heads / problem.key.dims()[0], watched) {
        let problem = problem.heads(heads.clone());
        for tokens in blocks(&watched, WEIGHT_BLOCK / (n * w * head_dim * heads.len())) {
            let rows = tokens.start - first..tokens.end - first;
            let weights = numbers(chunk_attention::weights(&problem, rows)); // [heads, rows, n * w]
            for (at, weights) in weights.chunks(tokens.len() * n * w).enumerate() {
                for (query, weights) in tokens.clone().zip(weights.chunks(n * w)) {
                    let mut spread = vec![0.0; query + 1];
                    let slots = &problem.chunks[(at * seq + query - first) * n..][..n];
                    for (chunk, weights) in slots.iter().zip(weights.chunks(w)) {
                        for (key, weight) in (*chunk as usize * w..=query).zip(weights) {
                            spread[key] += weight;
                        }
                    }
                    recorder.row(layer, first_head + heads.start + at, query, &spread);
                }
            }
        }
    }
}

/// One head's log-sum-exp.
fn of_head<B: Kernels>(lse: Option<&Tensor<B, 2>>, head: usize) -> Vec<f32> {
    let lse = lse.expect("attention was computed where something is pooled");
    numbers(lse.clone().slice([head..head + 1]))
}

/// Heads of one key head that want the same, with what they want; heads that want nothing are left out.
pub fn alike(
    n_heads: usize,
    n_rep: usize,
    wanted: impl Fn(usize) -> Vec<Range<usize>>,
) -> Vec<(Range<usize>, Vec<Range<usize>>)> {
    let mut groups: Vec<(Range<usize>, Vec<Range<usize>>)> = Vec::new();
    for head in 0..n_heads {
        let wanted = wanted(head);
        match groups.last_mut() {
            Some((heads, same)) if !head.is_multiple_of(n_rep) && *same == wanted => heads.end += 1,
            _ => groups.push((head..head + 1, wanted)),
        }
    }
    groups.retain(|(_, wanted)| !wanted.is_empty());
    groups
}

/// Ranges cut into pieces of at most `len`.
fn blocks(ranges: &[Range<usize>], len: usize) -> impl Iterator<Item = Range<usize>> + '_ {
    let len = len.max(1);
    ranges
        .iter()
        .flat_map(move |range| range.clone().step_by(len).map(move |start| start..(start + len).min(range.end)))
}

/// Ascending ranges with overlaps joined.
pub fn merge(ranges: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range.clone()),
        }
    }
    merged
}
