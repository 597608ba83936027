//! A plan applied to one layer: cache, spans, chunk choice, recording.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use burn_tensor::{Int, Tensor};
use longlens_core::lens::LensError;
use longlens_core::plan::{ChunkChoice, ChunkScore, HeadGroup, Plan, Prefill};
use longlens_core::spec::ModelSpec;
use longlens_kernel::chunk_attention::ChunkAttention;
use longlens_kernel::chunk_scores::ChunkScores;
use longlens_kernel::chunk_summary::ChunkSummary;
use longlens_kernel::key_bounds::{self, KeyBounds};
use longlens_kernel::score::Score;
use longlens_kernel::span_attention::SpanAttention;
use longlens_kernel::{Kernels, Operation};

use crate::cache::{Brought, GroupCache, Held, LayerCache};
use crate::decoder::Projected;
use crate::observe::{Place, record_choices, record_chunks, record_spans};
use crate::positions::Positions;
use crate::query_blocks::together;
use crate::record::Recorder;
use crate::tensors::{cat, heads_of, split_heads};

/// One sequence's attention.
pub struct Attention<B: Kernels> {
    pub problems: Problems<B>,
    pub recorder: Recorder,
}

/// What makes the kernels' problems of one sequence.
pub struct Problems<B: Kernels> {
    pub spec: ModelSpec,
    pub plan: Arc<Plan>,
    pub prompt: Prefill,
    pub positions: Positions<B>,
}

/// Consecutive queries of the heads of one group.
pub struct Queries<B: Kernels> {
    /// The rule they follow, by its place in [`Plan::rules`].
    pub rule: usize,
    /// Where they are recorded.
    pub place: Place,
    /// Token of the first one.
    pub first: usize,
    /// `[heads, seq, head_dim]`, before rotation.
    pub query: Tensor<B, 3>,
}

/// Keys and values that queries of a group may meet, `[kv_heads, seq_k, head_dim]` each, before rotation.
pub struct Keys<B: Kernels> {
    pub key: Tensor<B, 3>,
    pub value: Tensor<B, 3>,
}

/// The same where they are kept, fetched as far as somebody meets them.
struct GroupKeys<'a, B: Kernels> {
    held: &'a Held<'a, B>,
    kv_heads: Range<usize>,
}

impl<B: Kernels> GroupKeys<'_, B> {
    fn of(&self, (key, value): (Tensor<B, 3>, Tensor<B, 3>)) -> Keys<B> {
        Keys { key: heads_of(&key, self.kv_heads.clone()), value: heads_of(&value, self.kv_heads.clone()) }
    }

    fn all(&self) -> Keys<B> {
        self.of(self.held.all())
    }

    fn tokens(&self, tokens: Range<usize>) -> Keys<B> {
        self.of(self.held.tokens(tokens))
    }
}

impl<B: Kernels> Problems<B> {
    /// Attention of queries from token `first` on over the spans of a rule.
    pub fn span_attention<'a>(
        &'a self,
        rule: usize,
        first: usize,
        query: Tensor<B, 3>,
        keys: &Keys<B>,
    ) -> SpanAttention<'a, B> {
        let of_rule = &self.plan.rules()[rule];
        SpanAttention {
            query,
            score: Score::new(&self.spec, of_rule.query_scale),
            key: keys.key.clone(),
            value: keys.value.clone(),
            first_query: first,
            spans: &of_rule.spans,
            rotary: self.positions.of_spans(rule),
        }
    }

    /// Bounds of the keys, `[n_kv_heads, n_chunks * chunk_len, head_dim]`, of complete chunks, from chunk `first` on.
    fn key_bounds(&self, rule: usize, choice: ChunkChoice, key: Tensor<B, 3>, first: usize) -> KeyBounds<B> {
        let start = first * choice.chunk_len;
        let rotary = self.positions.of_chunks(rule).rows(start, start + key.dims()[1]);
        KeyBounds { key, rotary, chunk_len: choice.chunk_len }
    }

    /// What decides which chunks the queries from token `from` on choose among those that `chunks` represents. `queries` begins with
    /// those that choose together with the first of them.
    pub fn chunk_scores(
        &self,
        queries: &Queries<B>,
        tokens: Range<usize>,
        choice: ChunkChoice,
        chunks: Tensor<B, 3>,
    ) -> ChunkScores<B> {
        let Queries { rule, first, query, .. } = queries;
        let query = match choice.score {
            ChunkScore::Summary => query.clone(),
            ChunkScore::Bounds => {
                let rows = self.positions.of_chunks(*rule).rows(*first, first + query.dims()[1]);
                key_bounds::of_queries(B::rotate(&rows, query.clone()))
            }
        };
        ChunkScores {
            query: together(query, *first, tokens.clone(), choice, self.prompt),
            chunks,
            choice,
            prompt: self.prompt,
            first_query: tokens.start,
            n_chunks: tokens.end.div_ceil(choice.chunk_len),
            forced: self.plan.rules()[*rule].forced.clone(),
        }
    }

    /// Attention over what was chosen; the slots' positions are covered.
    pub fn chunk_attention<'a>(
        &'a self,
        queries: &Queries<B>,
        choice: ChunkChoice,
        chunks: Tensor<B, 3, Int>,
        keys: &Keys<B>,
    ) -> ChunkAttention<'a, B> {
        let (key_rotary, query_rotary) = self.positions.of_slots(queries.rule);
        ChunkAttention {
            query: queries.query.clone(),
            score: Score::new(&self.spec, self.plan.rules()[queries.rule].query_scale),
            key: keys.key.clone(),
            value: keys.value.clone(),
            choice,
            prompt: self.prompt,
            first_query: queries.first,
            chunks,
            key_rotary,
            query_rotary,
        }
    }
}

impl<B: Kernels> Attention<B> {
    /// Attention of `layer` for the tokens of one call, the first of which is `first`.
    /// Returns `[seq, n_heads * head_dim]`.
    pub fn attend(&mut self, layer: usize, first: usize, new: Projected<B>, cache: &mut LayerCache<B>) -> Tensor<B, 2> {
        let (n_heads, n_kv_heads, head_dim) =
            (self.problems.spec.n_heads, self.problems.spec.n_kv_heads, self.problems.spec.head_dim);
        let seq = new.query.dims()[0];
        let started = Instant::now();
        let query = split_heads(new.query, n_heads); // [n_heads, seq, head_dim]
        self.recorder.ran::<B>(&Operation::WriteRows);
        // keys are cached before rotation: each span of the plan rotates them to its own positions
        let (held, caches) = cache.append(&query, split_heads(new.key, n_kv_heads), split_heads(new.value, n_kv_heads));
        self.recorder.spend("attention", started);

        let groups = self.problems.plan.groups(layer, n_heads);
        let of_groups = groups.into_iter().zip(caches).map(|(HeadGroup { heads, rule }, cache)| {
            let keys = GroupKeys { held: &held, kv_heads: self.problems.spec.kv_heads_of(&heads) };
            let place = Place { layer, first_head: heads.start };
            let out = self.attend_group(Queries { rule, place, first, query: heads_of(&query, heads) }, &keys, cache);
            // it attends all the same: what it would have fetched is recorded, and chunks are represented
            if self.problems.plan.rules()[rule].is_off { out.zeros_like() } else { out }
        });
        let context = cat(of_groups.collect(), 0); // [n_heads, seq, head_dim]
        let context = context.swap_dims(0, 1).reshape([seq, n_heads * head_dim]);
        self.recorder.keep_output(layer, &context);
        context
    }

    /// Attention of the heads of one group, `[heads, seq, head_dim]`.
    fn attend_group(
        &mut self,
        queries: Queries<B>,
        keys: &GroupKeys<'_, B>,
        cache: &mut GroupCache<B>,
    ) -> Tensor<B, 3> {
        let (Queries { rule, place, first, query }, plan) = (queries, Arc::clone(&self.problems.plan));
        let [heads, seq, head_dim] = query.dims();
        let split = plan.rules()[rule].first_choice(self.problems.prompt).clamp(first, first + seq) - first;
        let rows = |rows: Range<usize>| query.clone().slice([0..heads, rows, 0..head_dim]);
        let mut parts = Vec::new();
        if split > 0 {
            let started = Instant::now();
            let problem = self.problems.span_attention(rule, first, rows(0..split), &keys.all());
            self.recorder.ran::<B>(&Operation::SpanAttention(&problem));
            let attended = B::span_attention(&problem);
            self.recorder.spend("attention", started);
            record_spans(&mut self.recorder, place, &problem, Some(&attended.lse));
            parts.push(attended.out);
        }
        if let Some(choice) = plan.rules()[rule].choice {
            let started = Instant::now();
            // a block of queries may have begun in the step before
            let block = choice.together(first + split, self.problems.prompt);
            let earlier = first.checked_sub(block.start).and_then(|n| cache.chunks.newest_queries(n));
            self.represent(rule, choice, Some(&query), keys, cache);
            self.recorder.spend("choose", started);
            if split < seq {
                let choosing = Queries { rule, place, first: first + split, query: rows(split..seq) };
                parts.push(self.attend_chunks(&choosing, earlier, choice, keys, cache));
            }
        }
        cat(parts, 1)
    }

    /// Attention of queries over the chunks that they choose, `[heads, seq, head_dim]`; the first of them choose together with
    /// `earlier`.
    fn attend_chunks(
        &mut self,
        queries: &Queries<B>,
        earlier: Option<Tensor<B, 3>>,
        choice: ChunkChoice,
        keys: &GroupKeys<'_, B>,
        cache: &mut GroupCache<B>,
    ) -> Tensor<B, 3> {
        let started = Instant::now();
        let chunks = cache.chunks.complete().unwrap_or_else(|| self.bounds(queries.rule, choice, &keys.all(), 0));
        let tokens = queries.first..queries.first + queries.query.dims()[1];
        let scores = match earlier {
            None => self.problems.chunk_scores(queries, tokens, choice, chunks),
            Some(earlier) => {
                let first = queries.first - earlier.dims()[1];
                let query = Tensor::cat(vec![earlier, queries.query.clone()], 1);
                let all = Queries { rule: queries.rule, place: queries.place, first, query };
                self.problems.chunk_scores(&all, tokens, choice, chunks)
            }
        };
        if choice.score == ChunkScore::Bounds {
            let rotary = self.problems.positions.of_chunks(queries.rule);
            self.recorder.ran::<B>(&Operation::Rotate(rotary, &queries.query));
        }
        self.recorder.ran::<B>(&Operation::ChunkScores(&scores));
        let chosen = B::choose_chunks(&scores);
        self.recorder.spend("choose", started);
        record_choices(&mut self.recorder, queries.place, &scores, &chosen);

        let started = Instant::now();
        self.problems.positions.cover_slots(queries.rule, queries.first);
        if self.problems.positions.rerotates(queries.rule) {
            cache.chunk_keys = B::ChunkKeys::default(); // keys rotate by other angles now
        }
        // weights that are recorded carry the numbers of chunks, and places would be others
        let is_movable = self.problems.positions.are_movable(queries.rule) && !self.recorder.records_weights();
        let brought = is_movable.then(|| keys.held.chosen(cache, keys.kv_heads.clone(), &chosen, choice.chunk_len));
        let brought = brought.flatten();
        let is_moved = brought.is_some();
        let (keys, chosen) = match brought {
            Some(Brought { key, value, places }) => (Keys { key, value }, places),
            None => (keys.all(), chosen),
        };
        if is_moved {
            self.problems.positions.cover_places(queries.rule, keys.key.dims()[1]);
        }
        let mut problem = self.problems.chunk_attention(queries, choice, chosen, &keys);
        if let Some(rotary) = self.problems.positions.of_places(queries.rule).filter(|_| is_moved) {
            problem.key_rotary = rotary;
        }
        self.recorder.ran::<B>(&Operation::ChunkAttention(&problem));
        let attended = B::chunk_attention(&problem, &mut cache.chunk_keys);
        self.recorder.spend("attention", started);
        let problem = (&problem, &mut cache.chunk_keys);
        record_chunks(&mut self.recorder, queries.place, problem, Some(&attended.lse));
        attended.out
    }

    /// Gives chunks among the first `n_tokens` tokens what represents them, from cached queries and keys: what each chunk would
    /// have got when it became complete.
    pub fn catch_up(
        &mut self,
        n_tokens: usize,
        caches: &mut [LayerCache<B>],
        mut go_on: impl FnMut() -> Result<(), LensError>,
    ) -> Result<(), LensError> {
        let (plan, n_prompt) = (&self.problems.plan, self.problems.prompt.n_tokens.min(n_tokens));
        let mut ends = vec![n_prompt, n_tokens];
        for (at, choice) in plan.rules().iter().enumerate().filter_map(|(at, rule)| Some((at, rule.choice?))) {
            if self.problems.positions.rerotates(at) {
                // a base that follows the length differs from one generated chunk to the next
                let w = choice.chunk_len;
                ends.extend((n_prompt / w + 1..).map(|chunk| chunk * w).take_while(|end| *end < n_tokens));
            }
        }
        ends.sort_unstable();
        let mut start = 0;
        for end in ends {
            self.problems.positions.cover(end);
            for (layer, cache) in caches.iter_mut().enumerate().filter(|_| start < end) {
                go_on()?;
                let query = cache.queries(start..end);
                let (held, caches) = cache.held(end);
                let groups = self.problems.plan.groups(layer, self.problems.spec.n_heads);
                for (HeadGroup { heads, rule }, cache) in groups.into_iter().zip(caches) {
                    let Some(choice) = self.problems.plan.rules()[rule].choice else { continue };
                    let keys = GroupKeys { held: &held, kv_heads: self.problems.spec.kv_heads_of(&heads) };
                    let query = query.as_ref().map(|query| heads_of(query, heads));
                    self.represent(rule, choice, query.as_ref(), &keys, cache);
                }
            }
            start = end;
        }
        Ok(())
    }

    /// Gives every newly completed chunk what represents it. `query` belongs to the newest tokens; bounds need none.
    fn represent(
        &mut self,
        rule: usize,
        choice: ChunkChoice,
        query: Option<&Tensor<B, 3>>,
        keys: &GroupKeys<'_, B>,
        cache: &mut GroupCache<B>,
    ) {
        let seq_k = keys.held.len;
        if choice.score == ChunkScore::Bounds {
            let n_chunks = cache.chunks.n_chunks();
            // where keys rotate anew with every length, their bounds are made when queries choose
            if !self.problems.positions.rerotates(rule) && n_chunks < seq_k / choice.chunk_len {
                let w = choice.chunk_len;
                let new = keys.tokens(n_chunks * w..seq_k / w * w).key;
                cache.chunks.push(self.bounds_of(rule, choice, new, n_chunks));
            }
            return;
        }
        let query = query.expect("plans that summarise chunks are refused where queries were not kept").clone();
        let Some(ready) = cache.chunks.queue(query, choice.chunk_len) else { return };
        let start = cache.chunks.n_chunks() * choice.chunk_len;
        let end = start + ready.dims()[1];
        let Keys { key, value } = keys.tokens(start..end);
        let problem = ChunkSummary {
            query: ready,
            key,
            value,
            rotary: self.problems.positions.of_chunks(rule).rows(start, end),
            chunk_len: choice.chunk_len,
        };
        self.recorder.ran::<B>(&Operation::ChunkSummary(&problem));
        cache.chunks.push(B::chunk_summary(&problem));
    }

    /// Bounds of the keys of complete chunks, from chunk `first` on, `[n_kv_heads, n_chunks, 2 * head_dim]`.
    pub fn bounds(&mut self, rule: usize, choice: ChunkChoice, keys: &Keys<B>, first: usize) -> Tensor<B, 3> {
        let ([n_kv_heads, seq_k, head_dim], w) = (keys.key.dims(), choice.chunk_len);
        let key = keys.key.clone().slice([0..n_kv_heads, first * w..seq_k / w * w, 0..head_dim]);
        self.bounds_of(rule, choice, key, first)
    }

    /// The same of the keys of these chunks.
    fn bounds_of(&mut self, rule: usize, choice: ChunkChoice, key: Tensor<B, 3>, first: usize) -> Tensor<B, 3> {
        let problem = self.problems.key_bounds(rule, choice, key, first);
        self.recorder.ran::<B>(&Operation::KeyBounds(&problem));
        B::key_bounds(&problem)
    }
}
