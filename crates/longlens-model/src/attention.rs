//! A plan applied to one layer: cache, spans, chunk choice, recording.

use std::ops::Range;
use std::time::Instant;

use burn::tensor::Tensor;
use longlens_core::chunk_choice::{ChunkChoice, Slots};
use longlens_core::plan::{Plan, Prompt};
use longlens_core::spec::ModelSpec;
use longlens_core::trace::Choices;
use longlens_kernel::chunk_attention::ChunkAttention;
use longlens_kernel::chunk_scores::{self, ChunkScores};
use longlens_kernel::chunk_summary::ChunkSummary;
use longlens_kernel::span_attention::SpanAttention;
use longlens_kernel::{Kernels, chunk_attention, span_attention};

use crate::cache::{LayerCache, Summaries};
use crate::decoder::Projected;
use crate::positions::Positions;
use crate::record::Recorder;

/// One sequence's attention: the same plan for every layer.
pub struct Attention<B: Kernels> {
    pub spec: ModelSpec,
    pub plan: Plan,
    pub prompt: Prompt,
    pub positions: Positions<B>,
    pub recorder: Recorder,
}

/// Scores of candidate chunks held at once while recording, in numbers.
const SCORE_BLOCK: usize = 1 << 22;
/// Attention weights held at once while recording, in numbers.
const WEIGHT_BLOCK: usize = 1 << 22;

impl<B: Kernels> Attention<B> {
    /// Attention of `layer` for the tokens of one call, the first of which is `first`.
    /// Returns `[seq, n_heads * head_dim]`.
    pub fn attend(&mut self, layer: usize, first: usize, new: Projected<B>, cache: &mut LayerCache<B>) -> Tensor<B, 2> {
        let (n_heads, n_kv_heads, head_dim) = (self.spec.n_heads, self.spec.n_kv_heads, self.spec.head_dim);
        let seq = new.query.dims()[0];
        let started = Instant::now();
        let query = split_heads(new.query, n_heads); // [n_heads, seq, head_dim]
        // keys are cached before rotation: each span of the plan turns them to its own positions
        let (key, value) = cache.append(split_heads(new.key, n_kv_heads), split_heads(new.value, n_kv_heads));
        let scale = self.scale(first..first + seq);

        let split = self.plan.first_choice(self.prompt).clamp(first, first + seq) - first;
        let rows = |t: &Tensor<B, 3>, rows: Range<usize>| t.clone().slice([0..n_heads, rows, 0..head_dim]);
        let mut parts = Vec::new();
        if split > 0 {
            let problem = SpanAttention {
                query: rows(&query, 0..split),
                scale: &scale[..split],
                key: key.clone(),
                value: value.clone(),
                first_query: first,
                spans: &self.plan.spans,
                rotary: &self.positions.spans,
            };
            let attended = B::span_attention(&problem);
            self.recorder.spend("attention", started);
            record_spans(&mut self.recorder, layer, &problem, &attended.lse);
            parts.push(attended.out);
        }
        if let Some(choice) = self.plan.choice {
            let started = Instant::now();
            self.summarise(query.clone(), &key, &value, choice.chunk_len, &mut cache.summaries);
            self.recorder.spend("choose", started);
            if split < seq {
                let query = rows(&query, split..seq);
                let asking = Asking { layer, first: first + split, query, scale: &scale[split..], choice };
                parts.push(self.attend_chunks(asking, &key, &value, cache));
            }
        }
        let context = if parts.len() == 1 { parts.swap_remove(0) } else { Tensor::cat(parts, 1) };
        let context = context.swap_dims(0, 1).reshape([seq, n_heads * head_dim]);
        self.recorder.keep_output(layer, &context);
        context
    }

    /// Factor of each query: `1 / sqrt(head_dim)` and the plan's own.
    fn scale(&self, queries: Range<usize>) -> Vec<f32> {
        let scale = (self.spec.head_dim as f64).sqrt().recip();
        queries.map(|query| (scale * self.plan.query_scale.at(query)) as f32).collect()
    }

    /// Gives every newly completed chunk its summary.
    fn summarise(
        &mut self,
        query: Tensor<B, 3>,
        key: &Tensor<B, 3>,
        value: &Tensor<B, 3>,
        chunk_len: usize,
        summaries: &mut Summaries<B>,
    ) {
        let [n_kv_heads, _, head_dim] = key.dims();
        let Some(ready) = summaries.queue(query, chunk_len) else { return };
        let start = summaries.n_chunks() * chunk_len;
        let end = start + ready.dims()[1];
        let tokens = |t: &Tensor<B, 3>| t.clone().slice([0..n_kv_heads, start..end, 0..head_dim]);
        let offsets = self.positions.offsets.as_ref().expect("a plan with a choice has offsets");
        let problem = ChunkSummary {
            query: ready,
            key: tokens(key),
            value: tokens(value),
            rotary: offsets.rows(start, end),
            chunk_len,
        };
        summaries.push(B::chunk_summary(&problem));
    }

    /// Attention of queries over the chunks that they choose; returns `[n_heads, seq, head_dim]`.
    fn attend_chunks(
        &mut self,
        asking: Asking<'_, B>,
        key: &Tensor<B, 3>,
        value: &Tensor<B, 3>,
        cache: &mut LayerCache<B>,
    ) -> Tensor<B, 3> {
        let seq = asking.query.dims()[1];
        let Asking { layer, first, choice, .. } = asking;
        let started = Instant::now();
        let slots: Vec<Slots> = (first..first + seq)
            .map(|query| choice.query(query, self.prompt).expect("queries past the first choice all choose"))
            .collect();
        let summaries = cache.summaries.complete.as_ref().expect("a query that chooses has complete chunks behind it");
        let scores = ChunkScores {
            query: asking.query.clone(),
            summaries: summaries.clone(),
            slots: &slots,
            n_slots: choice.n_slots,
            n_chunks: key.dims()[1].div_ceil(choice.chunk_len),
        };
        let chosen = B::choose_chunks(&scores);
        self.recorder.spend("choose", started);
        record_choices(&mut self.recorder, layer, first, &scores, &chosen);

        let started = Instant::now();
        let tail_len: Vec<usize> = slots.iter().map(|slots| slots.tail.len()).collect();
        // row 0 is position -1: the last slot of a choice without a tail asks for it, and sees nothing there
        let first_slot: Vec<usize> = slots.iter().map(|slots| slots.query_pos + 1).collect();
        self.positions.cover_slots(first, choice);
        let (offsets, positions) = self.positions.of_slots();
        let problem = ChunkAttention {
            query: asking.query,
            scale: asking.scale,
            key: key.clone(),
            value: value.clone(),
            chunk_len: choice.chunk_len,
            n_slots: choice.n_slots,
            chunks: &chosen,
            tail_len: &tail_len,
            offsets,
            positions,
            first_slot: &first_slot,
        };
        if self.positions.rerotates() {
            cache.chunk_keys = B::ChunkKeys::default(); // offsets turn by other angles now
        }
        let attended = B::chunk_attention(&problem, &mut cache.chunk_keys);
        self.recorder.spend("attention", started);
        record_chunks(&mut self.recorder, layer, first, (&problem, &mut cache.chunk_keys), &attended.lse);
        attended.out
    }
}

/// Queries of one layer that choose their chunks.
struct Asking<'a, B: Kernels> {
    layer: usize,
    /// Token of the first query.
    first: usize,
    /// `[n_heads, seq, head_dim]`, before rotation.
    query: Tensor<B, 3>,
    /// Factor of each query on its scores of keys; chunks are scored without.
    scale: &'a [f32],
    choice: ChunkChoice,
}

/// Choices, scores and margins of watched queries.
fn record_choices<B: Kernels>(
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

/// Weights of watched queries among those that the spans serve.
fn record_spans<B: Kernels>(recorder: &mut Recorder, layer: usize, problem: &SpanAttention<'_, B>, lse: &Tensor<B, 2>) {
    let [n_heads, seq, _] = problem.query.dims();
    let seq_k = problem.key.dims()[1];
    let tokens = problem.first_query..problem.first_query + seq;
    for head in 0..n_heads {
        let (pools, watched) = (recorder.pools(layer, head, &tokens), recorder.watched(layer, head, &tokens));
        if pools.is_empty() && watched.is_empty() {
            continue;
        }
        for (pool, cells) in pools {
            let lse = numbers(lse.clone().slice([head..head + 1]));
            recorder.pooled(pool, &B::pool_spans(problem, head, &lse, cells));
        }
        let problem = problem.heads(head..head + 1);
        for tokens in blocks(&watched, WEIGHT_BLOCK / seq_k) {
            let rows = tokens.start - problem.first_query..tokens.end - problem.first_query;
            let weights = numbers(span_attention::weights(&problem, rows)); // [1, rows, seq_k]
            for (row, query) in weights.chunks(seq_k).zip(tokens) {
                recorder.row(layer, head, query, &row[..=query]);
            }
        }
    }
}

/// Weights of watched queries among those that chose chunks, spread over all keys.
fn record_chunks<B: Kernels>(
    recorder: &mut Recorder,
    layer: usize,
    first: usize,
    (problem, keys): (&ChunkAttention<'_, B>, &mut B::ChunkKeys),
    lse: &Tensor<B, 2>,
) {
    let [n_heads, seq, head_dim] = problem.query.dims();
    let (w, n) = (problem.chunk_len, problem.n_slots);
    let tokens = first..first + seq;
    for head in 0..n_heads {
        let (pools, watched) = (recorder.pools(layer, head, &tokens), recorder.watched(layer, head, &tokens));
        if pools.is_empty() && watched.is_empty() {
            continue;
        }
        for (pool, cells) in pools {
            let lse = numbers(lse.clone().slice([head..head + 1]));
            recorder.pooled(pool, &B::pool_chunks(problem, keys, (head, first), &lse, cells));
        }
        let problem = problem.heads(head..head + 1);
        for tokens in blocks(&watched, WEIGHT_BLOCK / (n * w * head_dim)) {
            let rows = tokens.start - first..tokens.end - first;
            let weights = numbers(chunk_attention::weights(&problem, rows)); // [1, rows, n * w]
            for (query, weights) in tokens.zip(weights.chunks(n * w)) {
                let mut spread = vec![0.0; query + 1];
                let slots = &problem.chunks[(query - first) * n..][..n];
                for (chunk, weights) in slots.iter().zip(weights.chunks(w)) {
                    for (key, weight) in (*chunk as usize * w..=query).zip(weights) {
                        spread[key] += weight;
                    }
                }
                recorder.row(layer, head, query, &spread);
            }
        }
    }
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

/// `[seq, heads * head_dim]` to `[heads, seq, head_dim]`.
fn split_heads<B: Kernels>(t: Tensor<B, 2>, heads: usize) -> Tensor<B, 3> {
    let [seq, width] = t.dims();
    t.reshape([seq, heads, width / heads]).swap_dims(0, 1)
}

/// A tensor's numbers on this side.
pub fn numbers<B: Kernels, const D: usize>(t: Tensor<B, D>) -> Vec<f32> {
    t.into_data().convert::<f32>().into_vec().expect("converted to f32 above")
}
