//! A plan applied to one layer: cache, spans, chunk choice, recording.

use std::ops::Range;
use std::time::Instant;

use burn::tensor::Tensor;
use longlens_core::chunk_choice::{ChunkChoice, Slots};
use longlens_core::lens::LensError;
use longlens_core::plan::{Plan, Prompt};
use longlens_core::spec::ModelSpec;
use longlens_kernel::Kernels;
use longlens_kernel::chunk_attention::ChunkAttention;
use longlens_kernel::chunk_scores::ChunkScores;
use longlens_kernel::chunk_summary::ChunkSummary;
use longlens_kernel::span_attention::SpanAttention;

use crate::cache::{LayerCache, Summaries};
use crate::decoder::Projected;
use crate::observe::{Place, record_choices, record_chunks, record_spans};
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

impl<B: Kernels> Attention<B> {
    /// Attention of `layer` for the tokens of one call, the first of which is `first`.
    /// Returns `[seq, n_heads * head_dim]`.
    pub fn attend(&mut self, layer: usize, first: usize, new: Projected<B>, cache: &mut LayerCache<B>) -> Tensor<B, 2> {
        let (n_heads, n_kv_heads, head_dim) = (self.spec.n_heads, self.spec.n_kv_heads, self.spec.head_dim);
        let seq = new.query.dims()[0];
        let started = Instant::now();
        let query = split_heads(new.query, n_heads); // [n_heads, seq, head_dim]
        // keys are cached before rotation: each span of the plan turns them to its own positions
        let (key, value) = cache.append(&query, split_heads(new.key, n_kv_heads), split_heads(new.value, n_kv_heads));
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
            record_spans(&mut self.recorder, Place { layer, first_head: 0 }, &problem, Some(&attended.lse));
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

    /// Gives chunks among the first `n_tokens` tokens their summaries, from cached queries: those that each chunk would have
    /// got when it became complete.
    pub fn catch_up(
        &mut self,
        n_tokens: usize,
        caches: &mut [LayerCache<B>],
        mut go_on: impl FnMut() -> Result<(), LensError>,
    ) -> Result<(), LensError> {
        let Some(ChunkChoice { chunk_len: w, .. }) = self.plan.choice else { return Ok(()) };
        let n_prompt = self.prompt.n_tokens.min(n_tokens);
        let mut ends = vec![n_prompt];
        if self.positions.rerotates() {
            // a base that follows the length differs from one generated chunk to the next
            ends.extend((n_prompt / w + 1..).map(|chunk| chunk * w).take_while(|end| *end < n_tokens));
        }
        ends.push(n_tokens);
        let mut start = 0;
        for end in ends {
            self.positions.cover(end);
            for cache in caches.iter_mut().filter(|_| start < end) {
                go_on()?;
                let [query, key, value] = cache.first(end);
                let [n_heads, _, head_dim] = query.dims();
                let query = query.slice([0..n_heads, start..end, 0..head_dim]);
                self.summarise(query, &key, &value, w, &mut cache.summaries);
            }
            start = end;
        }
        Ok(())
    }

    /// Factor of each query: `1 / sqrt(head_dim)` and the plan's own.
    pub fn scale(&self, queries: Range<usize>) -> Vec<f32> {
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
        let Asking { layer, first, query, scale, choice } = asking;
        let started = Instant::now();
        let choosing = Choosing::new(choice, self.prompt, first..first + query.dims()[1]);
        let summaries = cache.summaries.complete.as_ref().expect("a query that chooses has complete chunks behind it");
        let scores = choosing.scores(query.clone(), summaries.clone(), key.dims()[1]);
        let chosen = B::choose_chunks(&scores);
        self.recorder.spend("choose", started);
        record_choices(&mut self.recorder, layer, first, &scores, &chosen);

        let started = Instant::now();
        self.positions.cover_slots(first, choice);
        let problem = choosing.attention((query, scale), key.clone(), value.clone(), &chosen, &self.positions);
        if self.positions.rerotates() {
            cache.chunk_keys = B::ChunkKeys::default(); // offsets turn by other angles now
        }
        let attended = B::chunk_attention(&problem, &mut cache.chunk_keys);
        self.recorder.spend("attention", started);
        let (place, problem) = (Place { layer, first_head: 0 }, (&problem, &mut cache.chunk_keys));
        record_chunks(&mut self.recorder, place, first, problem, Some(&attended.lse));
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

/// Consecutive queries that choose their chunks: what is known of their slots before the data has its say.
pub struct Choosing {
    choice: ChunkChoice,
    slots: Vec<Slots>,
    tail_len: Vec<usize>,
    first_slot: Vec<usize>,
}

impl Choosing {
    /// Queries `tokens`, all of them past the first that chooses.
    pub fn new(choice: ChunkChoice, prompt: Prompt, tokens: Range<usize>) -> Self {
        let slots = |query| choice.query(query, prompt).expect("queries past the first choice all choose");
        let slots: Vec<Slots> = tokens.map(slots).collect();
        let tail_len = slots.iter().map(|slots| slots.tail.len()).collect();
        // row 0 is position -1: the last slot of a choice without a tail asks for it, and sees nothing there
        let first_slot = slots.iter().map(|slots| slots.query_pos + 1).collect();
        Self { choice, slots, tail_len, first_slot }
    }

    /// What decides which of `n_keys` keys' chunks they choose.
    pub fn scores<B: Kernels>(
        &self,
        query: Tensor<B, 3>,
        summaries: Tensor<B, 3>,
        n_keys: usize,
    ) -> ChunkScores<'_, B> {
        let ChunkChoice { chunk_len, n_slots, .. } = self.choice;
        ChunkScores { query, summaries, slots: &self.slots, n_slots, n_chunks: n_keys.div_ceil(chunk_len) }
    }

    /// Attention over what was chosen; the slots' positions are covered.
    pub fn attention<'a, B: Kernels>(
        &'a self,
        (query, scale): (Tensor<B, 3>, &'a [f32]),
        key: Tensor<B, 3>,
        value: Tensor<B, 3>,
        chunks: &'a [u32],
        positions: &'a Positions<B>,
    ) -> ChunkAttention<'a, B> {
        let ChunkChoice { chunk_len, n_slots, .. } = self.choice;
        let (tail_len, first_slot) = (&self.tail_len, &self.first_slot);
        let (offsets, positions) = positions.of_slots();
        ChunkAttention {
            query,
            scale,
            key,
            value,
            chunk_len,
            n_slots,
            chunks,
            tail_len,
            offsets,
            positions,
            first_slot,
        }
    }
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
