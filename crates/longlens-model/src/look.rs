//! A second look: what another watch would have recorded, from cached queries and keys.
//!
//! Nothing outside attention is computed again, and of attention only the layers, heads and queries that the watch names.

use std::ops::Range;

use burn::tensor::Tensor;
use longlens_core::lens::{Control, LensError};
use longlens_core::trace::Trace;
use longlens_kernel::Kernels;
use longlens_kernel::span_attention::SpanAttention;

use crate::attention::{Attention, Choosing};
use crate::cache::LayerCache;
use crate::observe::{Place, alike, merge, record_choices, record_chunks, record_spans};
use crate::record::Recorder;

/// A look at a sequence.
pub struct Look<'a, B: Kernels> {
    pub attention: &'a mut Attention<B>,
    pub caches: &'a [LayerCache<B>],
    pub recorder: Recorder,
    /// Tokens that count: those that the sequence fed itself.
    pub tokens: Range<usize>,
    /// Queries of a block at most.
    pub block: usize,
    /// What chunk attention made of the keys of a layer's key head.
    kept: Option<(usize, usize, B::ChunkKeys)>,
}

/// Consecutive queries of one layer whose attention is computed together.
struct Part {
    layer: usize,
    wanted: Wanted,
    tokens: Range<usize>,
}

/// What is recorded of them.
enum Wanted {
    /// Choices of all heads.
    Choices,
    /// Weights of heads that share a key head.
    Weights(Range<usize>),
}

impl<'a, B: Kernels> Look<'a, B> {
    /// Nothing is recorded yet.
    pub fn new(
        attention: &'a mut Attention<B>,
        caches: &'a [LayerCache<B>],
        recorder: Recorder,
        tokens: Range<usize>,
        block: usize,
    ) -> Self {
        Self { attention, caches, recorder, tokens, block, kept: None }
    }

    /// Records everything that the watch names.
    pub fn run(mut self, control: &mut dyn Control) -> Result<Trace, LensError> {
        let parts = self.parts();
        for (done, part) in parts.iter().enumerate() {
            control.progress(done, parts.len());
            if control.cancelled() {
                return Err(LensError::Cancelled);
            }
            self.attention.positions.cover(part.tokens.end);
            let chooses = self.attention.plan.first_choice(self.attention.prompt);
            let split = chooses.clamp(part.tokens.start, part.tokens.end);
            match &part.wanted {
                Wanted::Choices => self.choices(part.layer, split..part.tokens.end),
                Wanted::Weights(heads) => {
                    self.spans(part.layer, heads, part.tokens.start..split);
                    self.chunks(part.layer, heads, split..part.tokens.end);
                }
            }
        }
        control.progress(parts.len(), parts.len());
        Ok(self.recorder.trace())
    }

    /// What is to be computed, layer by layer.
    fn parts(&self) -> Vec<Part> {
        let spec = &self.attention.spec;
        let choosing = self.attention.plan.first_choice(self.attention.prompt).max(self.tokens.start)..self.tokens.end;
        let mut parts = Vec::new();
        for layer in 0..self.caches.len() {
            let choices = if choosing.is_empty() { vec![] } else { self.recorder.watched_choices(choosing.clone()) };
            let blocks = choices.into_iter().flat_map(|queries| self.blocks(queries));
            parts.extend(blocks.map(|tokens| Part { layer, wanted: Wanted::Choices, tokens }));
            let wanted = |head: usize| {
                let pools = self.recorder.pools(layer, head, &self.tokens).into_iter();
                let mut queries: Vec<_> = pools.map(|(_, cells)| cells.queries_of(&self.tokens)).collect();
                queries.extend(self.recorder.watched(layer, head, &self.tokens));
                queries.sort_by_key(|queries| queries.start);
                merge(&queries)
            };
            for (heads, queries) in alike(spec.n_heads, spec.n_heads / spec.n_kv_heads, wanted) {
                let blocks = queries.into_iter().flat_map(|queries| self.blocks(queries));
                parts.extend(blocks.map(|tokens| Part { layer, wanted: Wanted::Weights(heads.clone()), tokens }));
            }
        }
        parts
    }

    /// Queries cut like the steps of a run: at the end of the prompt, and one by one where each has a base of its own.
    fn blocks(&self, queries: Range<usize>) -> Vec<Range<usize>> {
        let n_prompt = self.attention.prompt.n_tokens;
        let mut blocks = Vec::new();
        let mut start = queries.start;
        while start < queries.end {
            let until = match start {
                _ if start < n_prompt => n_prompt.min(start.saturating_add(self.block)),
                _ if self.attention.positions.rerotates() => start + 1,
                _ => start.saturating_add(self.block),
            };
            blocks.push(start..until.min(queries.end));
            start = until;
        }
        blocks
    }

    fn choices(&mut self, layer: usize, queries: Range<usize>) {
        let Some(choice) = self.attention.plan.choice.filter(|_| !queries.is_empty()) else { return };
        let heads = 0..self.attention.spec.n_heads;
        let [query, ..] = self.tensors(layer, &heads, &queries);
        let choosing = Choosing::new(choice, self.attention.prompt, queries.clone());
        let scores = choosing.scores(query, self.summaries(layer, heads), queries.end);
        let chosen = B::choose_chunks(&scores);
        record_choices(&mut self.recorder, layer, queries.start, &scores, &chosen);
    }

    fn spans(&mut self, layer: usize, heads: &Range<usize>, queries: Range<usize>) {
        if queries.is_empty() {
            return;
        }
        let [query, key, value] = self.tensors(layer, heads, &queries);
        let problem = SpanAttention {
            query,
            scale: &self.attention.scale(queries.clone()),
            key,
            value,
            first_query: queries.start,
            spans: &self.attention.plan.spans,
            rotary: &self.attention.positions.spans,
        };
        let lse = self.pools(layer, heads, &queries).then(|| B::span_attention(&problem).lse);
        record_spans(&mut self.recorder, Place { layer, first_head: heads.start }, &problem, lse.as_ref());
    }

    fn chunks(&mut self, layer: usize, heads: &Range<usize>, queries: Range<usize>) {
        let Some(choice) = self.attention.plan.choice.filter(|_| !queries.is_empty()) else { return };
        let [query, key, value] = self.tensors(layer, heads, &queries);
        let choosing = Choosing::new(choice, self.attention.prompt, queries.clone());
        let summaries = self.summaries(layer, heads.clone());
        let chosen = B::choose_chunks(&choosing.scores(query.clone(), summaries, queries.end));
        self.attention.positions.cover_slots(queries.start, choice);
        let scale = self.attention.scale(queries.clone());
        let problem = choosing.attention((query, &scale), key, value, &chosen, &self.attention.positions);
        let kv_head = heads.start / self.n_rep();
        let kept = self.kept.take().filter(|(of, head, _)| (*of, *head) == (layer, kv_head));
        // where offsets turn by other angles in every block, nothing made of keys is of use to the next
        let kept = kept.filter(|_| !self.attention.positions.rerotates());
        let mut keys = kept.map_or_else(Default::default, |(.., keys)| keys);
        let lse = self.pools(layer, heads, &queries).then(|| B::chunk_attention(&problem, &mut keys).lse);
        let place = Place { layer, first_head: heads.start };
        record_chunks(&mut self.recorder, place, queries.start, (&problem, &mut keys), lse.as_ref());
        self.kept = Some((layer, kv_head, keys));
    }

    /// Whether anything is pooled of these queries.
    fn pools(&self, layer: usize, heads: &Range<usize>, queries: &Range<usize>) -> bool {
        heads.clone().any(|head| !self.recorder.pools(layer, head, queries).is_empty())
    }

    fn n_rep(&self) -> usize {
        self.attention.spec.n_heads / self.attention.spec.n_kv_heads
    }

    /// Queries of some heads, `[heads, queries, head_dim]`, and the keys and values that they may see.
    fn tensors(&self, layer: usize, heads: &Range<usize>, queries: &Range<usize>) -> [Tensor<B, 3>; 3] {
        let [query, key, value] = self.caches[layer].first(queries.end);
        let kv_heads = heads.start / self.n_rep()..heads.end.div_ceil(self.n_rep());
        let query = query.slice([heads.clone(), queries.clone()]);
        [query, key.slice([kv_heads.clone()]), value.slice([kv_heads])]
    }

    fn summaries(&self, layer: usize, heads: Range<usize>) -> Tensor<B, 3> {
        let summaries = self.caches[layer].summaries.complete.as_ref();
        summaries.expect("a query that chose has complete chunks behind it").clone().slice([heads])
    }
}
