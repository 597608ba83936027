//! Inspection afterwards: what another watch would have recorded, from cached queries and keys.
//!
//! Nothing outside attention is computed again, and of attention only the layers, heads and queries that the watch names.

use std::ops::Range;

use longlens_core::lens::{Control, LensError};
use longlens_core::plan::HeadGroup;
use longlens_core::trace::Trace;
use longlens_kernel::Kernels;

use crate::attention::{Attention, Keys, Problems, Queries};
use crate::cache::LayerCache;
use crate::observe::{Place, alike, record_choices, record_chunks, record_spans};
use crate::record::{Recorder, merge};
use crate::tensors::heads_of;

/// What inspects a sequence.
pub struct Inspection<'a, B: Kernels> {
    pub attention: &'a mut Attention<B>,
    pub caches: &'a [LayerCache<B>],
    pub recorder: Recorder,
    /// Tokens that count: those that the sequence fed itself.
    pub tokens: Range<usize>,
    /// Queries of a block at most.
    pub block: usize,
    /// What chunk attention made of the keys of a key head of a layer's group.
    kept: Option<((usize, usize), usize, B::ChunkKeys)>,
}

/// Consecutive queries of some heads of one layer whose attention is computed together.
struct Part {
    layer: usize,
    /// The group of heads, by its place in the layer.
    group: usize,
    /// Its rule, by its place in the plan.
    rule: usize,
    heads: Range<usize>,
    /// Whether choices are recorded, or weights.
    choices: bool,
    tokens: Range<usize>,
}

impl<'a, B: Kernels> Inspection<'a, B> {
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
            self.attention.problems.positions.cover(part.tokens.end);
            let chooses = self.attention.problems.plan.rules()[part.rule].first_choice(self.attention.problems.prompt);
            let split = chooses.clamp(part.tokens.start, part.tokens.end);
            let [before, after] = [part.tokens.start..split, split..part.tokens.end];
            if !part.choices && !before.is_empty() {
                self.spans(part, before);
            }
            if !after.is_empty() {
                self.chunks(part, after);
            }
        }
        control.progress(parts.len(), parts.len());
        Ok(self.recorder.trace())
    }

    /// What is to be computed, layer by layer.
    fn parts(&self) -> Vec<Part> {
        let Problems { spec, plan, prompt, .. } = &self.attention.problems;
        let mut parts = Vec::new();
        for layer in 0..self.caches.len() {
            for (group, HeadGroup { heads: all, rule }) in plan.groups(layer, spec.n_heads).into_iter().enumerate() {
                let part = |choices, heads: &Range<usize>, tokens| Part {
                    layer,
                    group,
                    rule,
                    heads: heads.clone(),
                    choices,
                    tokens,
                };
                let choosing = plan.rules()[rule].first_choice(*prompt).max(self.tokens.start);
                if choosing < self.tokens.end {
                    let queries = self.recorder.watched_choices(choosing..self.tokens.end).into_iter();
                    let blocks = queries.flat_map(|queries| self.blocks(queries));
                    parts.extend(blocks.map(|tokens| part(true, &all, tokens)));
                }
                let wanted = |head: usize| {
                    let pools = self.recorder.pools(layer, head, &self.tokens).into_iter();
                    let mut queries: Vec<_> = pools.map(|(_, cells)| cells.queries_of(&self.tokens)).collect();
                    queries.extend(self.recorder.watched(layer, head, &self.tokens));
                    queries.sort_by_key(|queries| queries.start);
                    merge(&queries)
                };
                for (heads, queries) in alike(all, spec.n_rep(), wanted) {
                    let blocks = queries.into_iter().flat_map(|queries| self.blocks(queries));
                    parts.extend(blocks.map(|tokens| part(false, &heads, tokens)));
                }
            }
        }
        parts
    }

    /// Queries cut like the steps of a run: at the end of the prompt, and one by one where each has a base of its own.
    fn blocks(&self, queries: Range<usize>) -> Vec<Range<usize>> {
        let n_prompt = self.attention.problems.prompt.n_tokens;
        let mut blocks = Vec::new();
        let mut start = queries.start;
        while start < queries.end {
            let until = match start {
                _ if start < n_prompt => n_prompt.min(self.attention.problems.plan.step_end(start, self.block)),
                _ if self.attention.problems.positions.any_rerotates() => start + 1,
                _ => start.saturating_add(self.block),
            };
            blocks.push(start..until.min(queries.end));
            start = until;
        }
        blocks
    }

    /// Weights of queries that the spans serve.
    fn spans(&mut self, part: &Part, tokens: Range<usize>) {
        let (queries, keys) = self.tensors(part, &tokens);
        let problem = self.attention.problems.span_attention(part.rule, tokens.start, queries.query, &keys);
        let lse = self.pools(part, &tokens).then(|| B::span_attention(&problem).lse);
        record_spans(&mut self.recorder, queries.place, &problem, lse.as_ref());
    }

    /// Choices of queries, or their weights over what they chose.
    fn chunks(&mut self, part: &Part, tokens: Range<usize>) {
        let choice = self.attention.problems.plan.rules()[part.rule].choice.expect("a rule that chooses has a choice");
        let (queries, keys) = self.tensors(part, &tokens);
        let chunks = match self.caches[part.layer].groups[part.group].chunks.complete() {
            Some(chunks) => {
                let Problems { plan, spec, .. } = &self.attention.problems;
                let of_group = plan.groups(part.layer, spec.n_heads).swap_remove(part.group).heads;
                // representatives of the part's heads among those of the group's query heads, or of their key heads
                let per_head = of_group.len() / chunks.dims()[0];
                let (start, end) = (part.heads.start - of_group.start, part.heads.end - of_group.start);
                heads_of(&chunks, start / per_head..end.div_ceil(per_head))
            }
            None => self.attention.bounds(part.rule, choice, &keys, 0),
        };
        let prompt = self.attention.problems.prompt;
        let around = choice.together(tokens.start, prompt).start..choice.together(tokens.end - 1, prompt).end;
        let around = around.start..around.end.min(self.tokens.end);
        let scores = if around == tokens {
            self.attention.problems.chunk_scores(&queries, tokens.clone(), choice, chunks)
        } else {
            let (choosing, _) = self.tensors(part, &around);
            self.attention.problems.chunk_scores(&choosing, tokens.clone(), choice, chunks)
        };
        let chosen = B::choose_chunks(&scores);
        if part.choices {
            return record_choices(&mut self.recorder, queries.place, &scores, &chosen);
        }
        self.attention.problems.positions.cover_slots(part.rule, tokens.start);
        let problem = self.attention.problems.chunk_attention(&queries, choice, chosen, &keys);
        let kv_head = part.heads.start / self.attention.problems.spec.n_rep();
        let kept = self.kept.take().filter(|(of, head, _)| (*of, *head) == ((part.layer, part.group), kv_head));
        // where keys rotate by other angles in every block, nothing made of them is of use to the next
        let kept = kept.filter(|_| !self.attention.problems.positions.rerotates(part.rule));
        let mut packed = kept.map_or_else(Default::default, |(.., packed)| packed);
        let lse = self.pools(part, &tokens).then(|| B::chunk_attention(&problem, &mut packed).lse);
        record_chunks(&mut self.recorder, queries.place, (&problem, &mut packed), lse.as_ref());
        self.kept = Some(((part.layer, part.group), kv_head, packed));
    }

    /// Whether anything is pooled of these queries.
    fn pools(&self, part: &Part, tokens: &Range<usize>) -> bool {
        part.heads.clone().any(|head| !self.recorder.pools(part.layer, head, tokens).is_empty())
    }

    /// Queries of a part, and the keys and values that they may see.
    fn tensors(&self, part: &Part, tokens: &Range<usize>) -> (Queries<B>, Keys<B>) {
        let cache = &self.caches[part.layer];
        let query = cache.queries(tokens.clone()).expect("queries are kept where somebody reads them");
        let (key, value) = cache.first(tokens.end);
        let kv_heads = self.attention.problems.spec.kv_heads_of(&part.heads);
        let place = Place { layer: part.layer, first_head: part.heads.start };
        let query = heads_of(&query, part.heads.clone());
        let keys = Keys { key: heads_of(&key, kv_heads.clone()), value: heads_of(&value, kv_heads) };
        (Queries { rule: part.rule, place, first: tokens.start, query }, keys)
    }
}
