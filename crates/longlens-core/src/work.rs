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

use crate::plan::{ChunkChoice, ChunkScore, HeadGroup, HeadPlan, Plan, Prefill};
use crate::spec::ModelSpec;

/// What a run has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// Floating-point operations.
    pub flops: u128,
    /// Numbers read from the matrices at least: all of them once per step, and the output matrix where logits are asked for.
    pub weights: u128,
    /// Numbers read from the cache: per step once every key and value that its spans show, and every summary or bound that it
    /// scores; chosen keys as if no two queries or heads chose the same, at most all.
    pub cached: u128,
}

impl Work {
    /// One step of a sequence: `tokens` are computed together, and `n_rows` rows of logits are asked for.
    pub fn of_step(model: &ModelSpec, plan: &Plan, prompt: Prefill, tokens: Range<usize>, n_rows: usize) -> Self {
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
    fn of_attention(model: &ModelSpec, plan: &Plan, prompt: Prefill, tokens: &Range<usize>) -> Self {
        let seen: Vec<Seen> = plan.rules().iter().map(|rule| Seen::of(rule, prompt, tokens.clone())).collect();
        let groups = (0..model.n_layers).flat_map(|layer| {
            let groups = plan.groups(layer, model.n_heads);
            let keys = (0..model.n_kv_heads).map(|kv_head| keys_read(model, &groups, &seen, kv_head, tokens.end));
            let cached = 2 * model.head_dim as u128 * keys.sum::<u128>();
            let of_groups = groups.into_iter().map(|HeadGroup { heads, rule }| seen[rule].work(model, &heads));
            of_groups.chain([Self { cached, ..Self::default() }]).collect::<Vec<_>>()
        });
        groups.fold(Self::default(), Self::add)
    }

    /// A prompt fed in steps of at most `step` tokens, with the logits of its last token.
    pub fn of_prompt(model: &ModelSpec, plan: &Plan, n_tokens: usize, step: usize) -> Self {
        let work = |start: usize| {
            let end = (start + step).min(n_tokens);
            Self::of_step(model, plan, Prefill { n_tokens }, start..end, usize::from(end == n_tokens))
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
    /// Keys that the spans let any query see: ascending ranges with gaps between.
    in_spans: Vec<Range<usize>>,
    choice: Option<ChunkChoice>,
}

impl Seen {
    fn of(rule: &HeadPlan, prompt: Prefill, tokens: Range<usize>) -> Self {
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
        seen.in_spans = if rule.spans.iter().any(|span| span.reach.table().is_some()) {
            written_out(rule, spans_serve, tokens.end)
        } else {
            joined(rule.spans.iter().map(|span| span.reach.keys_of_any(spans_serve.clone())).collect())
        };
        seen
    }

    /// Attention of some query heads of a layer, but for the keys and values that are read.
    fn work(&self, model: &ModelSpec, heads: &Range<usize>) -> Work {
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
        Work {
            flops: n_heads * (4 * d * self.keys + 2 * width * self.candidates) + n_representing * made * self.completed,
            weights: 0,
            cached: width * n_representing * self.represented,
        }
    }
}

/// Keys of a key head that are read: those in spans once, whatever rules its query heads follow; chosen ones for every head and
/// query, at most all.
fn keys_read(model: &ModelSpec, groups: &[HeadGroup], seen: &[Seen], kv_head: usize, n_tokens: usize) -> u128 {
    let heads = kv_head * model.n_rep()..(kv_head + 1) * model.n_rep();
    let sharing = groups.iter().map(|HeadGroup { heads: of_group, rule }| {
        let n_heads = of_group.end.min(heads.end).saturating_sub(of_group.start.max(heads.start));
        (&seen[*rule], n_heads as u128)
    });
    let (mut in_spans, mut chosen) = (Vec::new(), 0);
    for (seen, n_heads) in sharing.filter(|(_, n_heads)| *n_heads > 0) {
        in_spans.extend_from_slice(&seen.in_spans);
        chosen += n_heads * seen.chosen;
    }
    let in_spans: usize = joined(in_spans).iter().map(Range::len).sum();
    (in_spans as u128 + chosen).min(n_tokens as u128)
}

/// Ranges in ascending order, those that touch joined.
fn joined(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// Keys that any of `queries` sees, where tables may leave some out.
fn written_out(rule: &HeadPlan, queries: Range<usize>, n_tokens: usize) -> Vec<Range<usize>> {
    let mut is_seen = vec![false; n_tokens];
    for (query, reach) in queries.flat_map(|query| rule.spans.iter().map(move |span| (query, &span.reach))) {
        match reach.holes(query) {
            None => is_seen[reach.keys(query)].fill(true),
            Some(holes) => reach.keys(query).filter(|key| holes.sees(*key)).for_each(|key| is_seen[key] = true),
        }
    }
    let keys = (0..n_tokens).filter(|key| is_seen[*key]);
    joined(keys.map(|key| key..key + 1).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::methods::Method;
    use crate::methods::tests::any_method;
    use crate::plan::Relation;

    fn model() -> ModelSpec {
        let tiny = ModelSpec::tiny(16);
        // keys and values of half as many heads
        ModelSpec { n_kv_heads: 2, layer_weights: tiny.layer_weights - 2 * 2 * 64 * 32, ..tiny }
    }

    /// Counted pair by pair from what the plan says of each head, one loop per sum.
    fn counted(model: &ModelSpec, plan: &Plan, prompt: Prefill, tokens: Range<usize>, n_rows: usize) -> Work {
        let (d, mut flops, mut cached) = (model.head_dim, 0, 0);
        for layer in 0..model.n_layers {
            for kv_head in 0..model.n_kv_heads {
                let heads = kv_head * model.n_rep()..(kv_head + 1) * model.n_rep();
                let (mut keys_read, mut chosen) = (BTreeSet::new(), 0);
                for head in heads.clone() {
                    let rule = plan.of(layer, head);
                    // neighbours that share key head and rule share bounds
                    let is_first = head == heads.start || plan.of(layer, head - 1) != rule;
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
                            flops += if by_bounds { 2 * d * w * usize::from(is_first) } else { 4 * d * (w * w + w) };
                        }
                    }
                    chosen += chosen_here;
                    cached += if by_bounds { 2 * d * scored.len() * usize::from(is_first) } else { d * scored.len() };
                }
                cached += 2 * d * (keys_read.len() + chosen).min(tokens.end);
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

    proptest! {
        #[test]
        fn steps_agree_with_counting_every_pair(
            text in any_method(), n_prompt in 1..50usize, start in 0..50usize, len in 1..50usize, n_rows in 0..9usize,
        ) {
            let (model, prompt) = (model(), Prefill { n_tokens: n_prompt });
            let plan = Method::parse(&text).unwrap().plan(&model).unwrap();
            // a step ends with the prompt
            let end = if start < n_prompt { (start + len).min(n_prompt) } else { start + 1 };
            let work = Work::of_step(&model, &plan, prompt, start..end, n_rows);
            prop_assert_eq!(work, counted(&model, &plan, prompt, start..end, n_rows));
        }

        #[test]
        fn a_prompt_in_pieces_has_the_arithmetic_of_the_whole_and_reads_the_weights_once_a_step(text in any_method()) {
            let model = model();
            let plan = Method::parse(&text).unwrap().plan(&model).unwrap();
            let [whole, pieces] = [64, 7].map(|step| Work::of_prompt(&model, &plan, 50, step));
            prop_assert_eq!(whole.flops, pieces.flops);
            let output = (model.d_model * model.vocab_size) as u128;
            prop_assert_eq!(pieces.weights - output, 8 * (whole.weights - output));
            prop_assert!(pieces.cached >= whole.cached);
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
            let prompt = Prefill { n_tokens: 40 };
            let work = Work::of_step(&model, &plan, prompt, tokens.clone(), n_rows);
            assert_eq!(work, counted(&model, &plan, prompt, tokens.clone(), n_rows), "{tokens:?}");
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
