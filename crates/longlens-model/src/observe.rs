//! What a watch asks of one layer's attention, made from the problems that attention solves: choices, single rows, pools.

use std::ops::Range;

use burn_tensor::{Int, Tensor};
use longlens_core::plan::Slots;
use longlens_core::trace::Choices;
use longlens_kernel::chunk_attention::ChunkAttention;
use longlens_kernel::chunk_scores::{self, ChunkScores};
use longlens_kernel::span_attention::SpanAttention;
use longlens_kernel::{Kernels, Operation, chunk_attention, span_attention};

use crate::record::Recorder;
use crate::tensors::numbers;

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

/// Choices, scores and margins of watched queries. `chosen`: `[n_heads, seq, n_slots]`.
pub fn record_choices<B: Kernels>(
    recorder: &mut Recorder,
    Place { layer, first_head }: Place,
    problem: &ChunkScores<B>,
    chosen: &Tensor<B, 3, Int>,
) {
    let [n_heads, seq, n] = chosen.dims();
    let (first, n_complete) = (problem.first_query, problem.chunks.dims()[1]);
    for tokens in blocks(&recorder.watched_choices(first..first + seq), SCORE_BLOCK / (n_heads * n_complete)) {
        // of chunks of two lengths only those of the first are recorded
        let Some(choices) = recorder.choices(layer, problem.choice.chunk_len) else { return };
        let rows = tokens.start - first..tokens.end - first;
        let scores = numbers(chunk_scores::scores(problem, rows.clone()));
        let chosen = chosen.clone().slice([0..n_heads, rows.clone(), 0..n]).into_data().convert::<i32>();
        let chosen = chosen.as_slice::<i32>().expect("converted to i32");
        choices.make_rows(tokens.clone());
        for (at, (chunks, scores)) in chosen.chunks(n).zip(scores.chunks(n_complete)).enumerate() {
            let (head, row) = (at / tokens.len(), rows.start + at % tokens.len());
            let slots = problem.slots(row);
            let is_forced = |chunk: i32| slots.forces(chunk as usize) || problem.forced.contains(&(chunk as u32));
            record_choice(choices, (first + row, first_head + head), &slots, chunks, scores, is_forced);
        }
    }
}

/// Writes down one query's choice in a head, from the chunks in its slots and the scores of all complete chunks.
fn record_choice(
    choices: &mut Choices,
    (query, head): (usize, usize),
    slots: &Slots,
    chunks: &[i32],
    scores: &[f32],
    is_forced: impl Fn(i32) -> bool,
) {
    let (complete, own) = chunks.split_at(slots.n_complete());
    let score = |chunk: &i32| if is_forced(*chunk) { f32::NAN } else { scores[*chunk as usize] };
    let picked: Vec<f32> = complete.iter().map(score).collect();
    let worst = picked.iter().copied().fold(f32::INFINITY, f32::min);
    let left_out = slots.candidates.clone().filter(|chunk| !complete.contains(&(*chunk as i32)));
    let best = left_out.map(|chunk| scores[chunk]).fold(f32::NEG_INFINITY, f32::max);
    // a prompt token's own chunk takes the last slot even while it sees none of its keys; a generated token that has
    // just completed its chunk has no tail
    let own = if slots.tail.start == query / slots.chunk_len * slots.chunk_len { own[0] } else { -1 };
    let chunks: Vec<i32> = complete.iter().copied().chain([own]).collect();
    choices.record(query, head, &chunks, &picked, worst - best);
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
            let lse = lse.expect(COMPUTED);
            recorder.ran::<B>(&Operation::PoolSpans(problem));
            recorder.pooled(pool, &B::pool_spans(problem, head, lse, &cells));
        }
    }
    let watched = |head: usize| recorder.watched(layer, first_head + head, &tokens);
    for (heads, watched) in alike(0..n_heads, n_heads / n_kv_heads, watched) {
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
    (problem, keys): (&ChunkAttention<'_, B>, &mut B::ChunkKeys),
    lse: Option<&Tensor<B, 2>>,
) {
    let [n_heads, seq, head_dim] = problem.query.dims();
    let (w, n, first) = (problem.choice.chunk_len, problem.choice.n_slots, problem.first_query);
    let tokens = first..first + seq;
    for head in 0..n_heads {
        for (pool, cells) in recorder.pools(layer, first_head + head, &tokens) {
            recorder.ran::<B>(&Operation::PoolChunks(problem));
            let pooled = B::pool_chunks(problem, keys, head, lse.expect(COMPUTED), &cells);
            recorder.pooled(pool, &pooled);
        }
    }
    let watched = |head: usize| recorder.watched(layer, first_head + head, &tokens);
    for (heads, watched) in alike(0..n_heads, n_heads / problem.key.dims()[0], watched) {
        let problem = problem.heads(heads.clone());
        let chunks = problem.chunks.to_data().convert::<i32>();
        let chunks = chunks.as_slice::<i32>().expect("converted to i32");
        for tokens in blocks(&watched, WEIGHT_BLOCK / (n * w * head_dim * heads.len())) {
            let rows = tokens.start - first..tokens.end - first;
            let weights = numbers(chunk_attention::weights(&problem, rows)); // [heads, rows, n * w]
            for (at, weights) in weights.chunks(tokens.len() * n * w).enumerate() {
                for (query, weights) in tokens.clone().zip(weights.chunks(n * w)) {
                    let mut spread = vec![0.0; query + 1];
                    let slots = &chunks[(at * seq + query - first) * n..][..n];
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

/// Log-sum-exps are there where anything is pooled.
const COMPUTED: &str = "attention was computed where something is pooled";

/// Heads of one key head that want the same, with what they want; heads that want nothing are left out.
pub fn alike(
    heads: Range<usize>,
    n_rep: usize,
    wanted: impl Fn(usize) -> Vec<Range<usize>>,
) -> Vec<(Range<usize>, Vec<Range<usize>>)> {
    let mut groups: Vec<(Range<usize>, Vec<Range<usize>>)> = Vec::new();
    for head in heads {
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
