//! What a run has to do, counted from the model's numbers and the plan alone: arithmetic, and numbers read from memory.
//!
//! A multiplication and an addition are two operations. Per layer and token, with `d` the width of a head:
//!
//! | what | operations |
//! |---|---|
//! | matrices | 2 per number of each that the token meets |
//! | scores and weighted values | `4 d` per query head and key that the query sees |
//! | scores of chunks | `2 d` per query head and candidate chunk by summaries, `4 d` by bounds |
//! | what represents a chunk | once when it is complete: a summary `4 d chunk_len (chunk_len + 1)` per query head, bounds `2 d chunk_len` per key head |
//!
//! and 2 per number of the output matrix for every row of logits asked for. Norms, rotations, exponentials and the
//! embedding are not counted: they are few beside the products. A body that computes more than the definition, such as
//! masked scores, does not get more for it.

use std::ops::{Add, Range};

use crate::plan::{ChunkChoice, ChunkScore, HeadGroup, HeadPlan, Plan, Prompt};
use crate::spec::ModelSpec;

/// What a run has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// Floating-point operations.
    pub flops: u128,
    /// Numbers read from the matrices at least: all of them once per step, and the output matrix where logits are asked for.
    pub weights: u128,
    /// Numbers read from the cache at least: per step once every key, value and summary that any of its queries may see.
    pub cached: u128,
}

impl Work {
    /// One step of a sequence: `tokens` are computed together, and `n_rows` rows of logits are asked for.
    pub fn of_step(model: &ModelSpec, plan: &Plan, prompt: Prompt, tokens: Range<usize>, n_rows: usize) -> Self {
        let (layers, output) = (model.layer_weights as u128, model.output_weights as u128);
        let products = 2 * layers * tokens.len() as u128;
        let attention = Self::of_attention(model, plan, prompt, &tokens);
        Self {
            flops: products + attention.flops + 2 * output * n_rows as u128,
            weights: layers + if n_rows > 0 { output } else { 0 },
            cached: attention.cached,
        }
    }

    /// Attention alone, of all layers.
    fn of_attention(model: &ModelSpec, plan: &Plan, prompt: Prompt, tokens: &Range<usize>) -> Self {
        let seen: Vec<Seen> = plan.rules().iter().map(|rule| Seen::of(rule, prompt, tokens.clone())).collect();
        let groups = (0..model.n_layers).flat_map(|layer| plan.groups(layer, model.n_heads));
        let work = |HeadGroup { heads, rule }: HeadGroup| seen[rule].work(model, &heads, tokens.end);
        groups.map(work).fold(Self::default(), Self::add)
    }

    /// A prompt fed in steps of at most `step` tokens, with the logits of its last token.
    pub fn of_prompt(model: &ModelSpec, plan: &Plan, n_tokens: usize, step: usize) -> Self {
        let work = |start: usize| {
            let end = (start + step).min(n_tokens);
            Self::of_step(model, plan, Prompt { n_tokens }, start..end, usize::from(end == n_tokens))
        };
        (0..n_tokens).step_by(step).map(work).fold(Self::default(), Self::add)
    }
}

impl Add for Work {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            flops: self.flops + other.flops,
            weights: self.weights + other.weights,
            cached: self.cached + other.cached,
        }
    }
}

/// What the queries of a step see, in one query head.
#[derive(Debug, Default)]
struct Seen {
    /// Keys, summed over the queries.
    keys: u128,
    /// The part of `keys` that the data chose.
    chosen: u128,
    /// Chunks with a score, summed over the queries.
    candidates: u128,
    /// Chunks that any query may score.
    represented: u128,
    /// Chunks that become complete.
    completed: u128,
    /// Different keys that the spans let any query see.
    in_spans: u128,
    choice: Option<ChunkChoice>,
}

impl Seen {
    fn of(rule: &HeadPlan, prompt: Prompt, tokens: Range<usize>) -> Self {
        let mut seen = Self { choice: rule.choice, ..Self::default() };
        for query in tokens.clone() {
            if let Some(slots) = rule.choice.and_then(|choice| choice.query(query, prompt)) {
                let chosen = (slots.n_complete() * slots.chunk_len + slots.tail.len()) as u128;
                let candidates = slots.candidates.len() as u128;
                seen.keys += chosen;
                seen.chosen += chosen;
                seen.candidates += candidates;
                seen.represented = seen.represented.max(candidates);
            } else {
                seen.keys += rule.spans.iter().map(|span| span.reach.n_keys(query) as u128).sum::<u128>();
            }
        }
        if let Some(choice) = rule.choice {
            seen.completed = (tokens.end / choice.chunk_len - tokens.start / choice.chunk_len) as u128;
        }
        let spans_serve = tokens.start..tokens.end.min(rule.first_choice(prompt)).max(tokens.start);
        if rule.spans.iter().any(|span| span.reach.table().is_some()) {
            seen.in_spans = written_out(rule, spans_serve, tokens.end);
            return seen;
        }
        let mut ranges: Vec<_> = rule.spans.iter().map(|span| span.reach.keys_of_any(spans_serve.clone())).collect();
        ranges.sort_by_key(|range| range.start);
        let mut end = 0;
        for range in ranges {
            seen.in_spans += range.end.saturating_sub(range.start.max(end)) as u128;
            end = end.max(range.end);
        }
        seen
    }

    /// Attention of some query heads of a layer, the sequence being `n_tokens` long.
    fn work(&self, model: &ModelSpec, heads: &Range<usize>, n_tokens: usize) -> Work {
        let (d, n_heads, n_kv_heads) =
            (model.head_dim as u128, heads.len() as u128, model.kv_heads_of(heads).len() as u128);
        // numbers of what represents a chunk, heads that have one each, and operations to make it
        let (width, n_representing, made) = match self.choice {
            None => (0, 0, 0),
            Some(ChunkChoice { score: ChunkScore::Summary, chunk_len: w, .. }) => {
                // every query of a chunk meets every key of it, and then their mean does
                (d, n_heads, 4 * d * (w * (w + 1)) as u128)
            }
            Some(ChunkChoice { score: ChunkScore::Bounds, chunk_len: w, .. }) => (2 * d, n_kv_heads, 2 * d * w as u128),
        };
        // heads that share keys choose on their own
        let distinct = (self.in_spans + n_heads.div_ceil(n_kv_heads) * self.chosen).min(n_tokens as u128);
        Work {
            flops: n_heads * (4 * d * self.keys + 2 * width * self.candidates) + n_representing * made * self.completed,
            weights: 0,
            cached: 2 * d * n_kv_heads * distinct + width * n_representing * self.represented,
        }
    }
}

/// Different keys that any of `queries` sees, where tables may leave some out.
fn written_out(rule: &HeadPlan, queries: Range<usize>, n_tokens: usize) -> u128 {
    let mut is_seen = vec![false; n_tokens];
    for (query, reach) in queries.flat_map(|query| rule.spans.iter().map(move |span| (query, &span.reach))) {
        match reach.holes(query) {
            None => is_seen[reach.keys(query)].fill(true),
            Some(holes) => reach.keys(query).filter(|key| holes.sees(*key)).for_each(|key| is_seen[key] = true),
        }
    }
    is_seen.into_iter().filter(|seen| *seen).count() as u128
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::methods::Method;
    use crate::plan::Relation;

    const METHODS: [&str; 11] = [
        "full",
        "sliding_window:window=5",
        "streaming:n_sink=2,window=5",
        "self_extend:group_size=3,neighbor_window=7",
        "dual_chunk:chunk_size=8,local_window=3",
        "long_heads:chunk_len=4,attention_len=16",
        "long_heads:chunk_len=3,attention_len=15,begin_len=21",
        "long_heads:chunk_len=4,attention_len=16,variant=released",
        "quest:page_size=3,token_budget=12,prefill=chosen,dense_layers=1",
        "quest:page_size=4,token_budget=16,dense_layers=0",
        "by_layer:0=full/1=streaming:n_sink=2,window=5/1h2-=full",
    ];

    fn model() -> ModelSpec {
        let tiny = ModelSpec::tiny(16);
        // keys and values of half as many heads
        ModelSpec { n_kv_heads: 2, layer_weights: tiny.layer_weights - 2 * 2 * 64 * 32, ..tiny }
    }

    /// Counted pair by pair from what the plan says of each head, one loop per sum.
    fn counted(model: &ModelSpec, plan: &Plan, prompt: Prompt, tokens: Range<usize>, n_rows: usize) -> Work {
        let (d, mut flops, mut cached) = (model.head_dim, 0, 0);
        for layer in 0..model.n_layers {
            for kv_head in 0..model.n_kv_heads {
                let heads = kv_head * model.n_rep()..(kv_head + 1) * model.n_rep();
                let (mut keys_read, mut chosen, mut bounds) = (BTreeSet::new(), 0, BTreeSet::new());
                for head in heads {
                    let rule = plan.of(layer, head);
                    let by_bounds = rule.choice.is_some_and(|choice| choice.score == ChunkScore::Bounds);
                    let (mut scored, mut chosen_here) = (BTreeSet::new(), 0);
                    for i in tokens.clone() {
                        let mut keys = 0;
                        let mut choosable = BTreeSet::new();
                        for j in 0..=i {
                            match rule.relation(i, j, prompt) {
                                Relation::Hidden => {}
                                Relation::At(..) => {
                                    keys += 1;
                                    keys_read.insert(j);
                                }
                                Relation::Chosen { forced: true, .. } => {
                                    keys += 1;
                                    chosen_here += 1;
                                }
                                Relation::Chosen { forced: false, .. } => {
                                    choosable.insert(j / rule.choice.unwrap().chunk_len);
                                }
                            }
                        }
                        if let Some(slots) = rule.choice.and_then(|choice| choice.query(i, prompt)) {
                            keys += slots.n_picks * slots.chunk_len;
                            chosen_here += slots.n_picks * slots.chunk_len;
                            flops += if by_bounds { 4 } else { 2 } * d * choosable.len();
                        }
                        if choosable.len() > scored.len() {
                            scored = choosable;
                        }
                        flops += 4 * d * keys;
                        if let Some(w) = rule.choice.map(|choice| choice.chunk_len).filter(|w| (i + 1) % w == 0) {
                            // bounds belong to the key head, and to its first query head here
                            let made = if by_bounds {
                                2 * d * w * usize::from(head % model.n_rep() == 0)
                            } else {
                                4 * d * (w * w + w)
                            };
                            flops += made;
                        }
                    }
                    chosen += chosen_here;
                    if by_bounds {
                        bounds.extend(scored);
                    } else {
                        cached += d * scored.len();
                    }
                }
                cached += 2 * d * (keys_read.len() + chosen).min(tokens.end) + 2 * d * bounds.len();
            }
        }
        let (wide, narrow) = (model.n_heads * d, model.n_kv_heads * d);
        let shapes = [(model.d_model, wide), (model.d_model, narrow), (model.d_model, narrow), (wide, model.d_model)];
        let mlp = [(model.d_model, model.d_mlp), (model.d_model, model.d_mlp), (model.d_mlp, model.d_model)];
        let layer: usize = shapes.iter().chain(&mlp).map(|(from, to)| from * to).sum();
        let output = model.d_model * model.vocab_size;
        flops += 2 * layer * model.n_layers * tokens.len() + 2 * output * n_rows;
        let weights = model.n_layers * layer + output * n_rows.min(1);
        Work { flops: flops as u128, weights: weights as u128, cached: cached as u128 }
    }

    #[test]
    fn steps_agree_with_counting_every_pair() {
        let model = model();
        for text in METHODS {
            let plan = Method::parse(text).unwrap().plan(&model).unwrap();
            for (n_prompt, tokens, n_rows) in
                [(40, 0..40, 1), (40, 7..30, 0), (40, 38..40, 40), (20, 20..21, 1), (20, 47..48, 1), (1, 0..1, 1)]
            {
                let prompt = Prompt { n_tokens: n_prompt };
                let work = Work::of_step(&model, &plan, prompt, tokens.clone(), n_rows);
                assert_eq!(work, counted(&model, &plan, prompt, tokens.clone(), n_rows), "{text}, {tokens:?}");
            }
        }
    }

    #[test]
    fn written_plans_agree_with_counting_every_pair() {
        let model = model();
        let relation = |i: usize, j: usize| {
            let seen = i - j < 4 || j.is_multiple_of(5) || (i.is_multiple_of(7) && j < 9);
            Ok::<_, std::convert::Infallible>(seen.then(|| (i - j).min(6) as f64))
        };
        let plan = crate::written::from_relation("mine", "mine", 50, relation).unwrap();
        for (tokens, n_rows) in [(0..40, 1), (7..30, 0), (38..40, 40), (49..50, 1)] {
            let prompt = Prompt { n_tokens: 40 };
            let work = Work::of_step(&model, &plan, prompt, tokens.clone(), n_rows);
            assert_eq!(work, counted(&model, &plan, prompt, tokens.clone(), n_rows), "{tokens:?}");
        }
    }

    #[test]
    fn a_prompt_in_pieces_has_the_arithmetic_of_the_whole_and_reads_the_weights_once_a_step() {
        let model = model();
        for text in METHODS {
            let plan = Method::parse(text).unwrap().plan(&model).unwrap();
            let [whole, pieces] = [64, 7].map(|step| Work::of_prompt(&model, &plan, 50, step));
            assert_eq!(whole.flops, pieces.flops, "{text}");
            let output = (model.d_model * model.vocab_size) as u128;
            assert_eq!(pieces.weights - output, 8 * (whole.weights - output), "{text}");
            assert!(pieces.cached >= whole.cached, "{text}");
        }
    }

    #[test]
    fn full_attention_has_its_closed_form() {
        let model = model();
        let plan = Method::full().plan(&model).unwrap();
        let n = 1000u128;
        let pairs = n * (n + 1) / 2;
        let attention = 4 * (model.n_layers * model.n_heads * model.head_dim) as u128 * pairs;
        let products = 2 * n * model.layer_weights as u128;
        let output = 2 * (model.d_model * model.vocab_size) as u128;
        assert_eq!(Work::of_prompt(&model, &plan, 1000, 256).flops, attention + products + output);
    }
}
