//! What a scripted model attends to: a rule gives raw weights, the plan decides which of them count.

use crate::plan::{Plan, Prefill, Relation};
use crate::spec::ModelSpec;
use crate::trace::{Choices, ChunkMass, LayerTrace, MapPick, MapWindow, PooledMap, Queries, Watch};

/// Raw weight, above 0, of (layer, head, query, key).
pub type Attention = dyn Fn(usize, usize, usize, usize) -> f32 + Send;

/// One sequence's attention.
pub struct Attended<'a> {
    pub rule: &'a Attention,
    pub plan: &'a Plan,
    pub prompt: Prefill,
    pub model: &'a ModelSpec,
    /// First query that this sequence computed, and one past the last.
    pub queries: std::ops::Range<usize>,
}

impl Attended<'_> {
    /// Chosen chunks of a query in slot order with their scores, NaN for forced ones; nothing while it sees every key.
    fn choice(&self, layer: usize, head: usize, query: usize) -> Option<(Vec<i32>, Vec<f32>, f32)> {
        let rule = self.plan.of(layer, head);
        let slots = rule.choice.as_ref()?.query(query, self.prompt)?;
        let w = slots.chunk_len;
        let score = |chunk: usize| (chunk * w..chunk * w + w).map(|key| (self.rule)(layer, head, query, key)).sum();
        let scores: Vec<f32> = slots.candidates.clone().map(score).collect();
        let chosen = slots.choose(&scores, &rule.forced);
        let of = |chunk: u32| match chunk as usize {
            chunk if slots.forces(chunk) || rule.forced.contains(&(chunk as u32)) => f32::NAN,
            chunk => scores[chunk - slots.candidates.start],
        };
        let worst = chosen.iter().map(|chunk| of(*chunk)).fold(f32::INFINITY, f32::min);
        let left_out = slots.candidates.clone().filter(|chunk| !chosen.contains(&(*chunk as u32)));
        let best = left_out.map(|chunk| scores[chunk - slots.candidates.start]).fold(f32::NEG_INFINITY, f32::max);
        let own = if slots.tail.start == query / w * w { (query / w) as i32 } else { -1 };
        let chunks = chosen.iter().map(|chunk| *chunk as i32).chain([own]).collect();
        Some((chunks, chosen.iter().map(|chunk| of(*chunk)).chain([f32::NAN]).collect(), worst - best))
    }

    /// Weight of every key up to the query; they sum to 1 where any key is seen.
    pub fn row(&self, layer: usize, head: usize, query: usize) -> Vec<f32> {
        let chosen = self.choice(layer, head, query);
        let rule = self.plan.of(layer, head);
        let seen = |key: usize| match rule.relation(query, key, self.prompt) {
            Relation::Hidden => false,
            Relation::At(..) | Relation::Chosen { forced: true, .. } => true,
            Relation::Chosen { forced: false, .. } => chosen.as_ref().is_some_and(|(chunks, ..)| {
                let w = rule.choice.map_or(1, |choice| choice.chunk_len);
                chunks.contains(&((key / w) as i32))
            }),
        };
        let mut row: Vec<f32> =
            (0..=query).map(|key| if seen(key) { (self.rule)(layer, head, query, key) } else { 0.0 }).collect();
        let sum: f32 = row.iter().sum();
        for weight in &mut row {
            *weight /= sum.max(f32::MIN_POSITIVE);
        }
        row
    }

    fn asked(&self, queries: &Queries) -> Vec<usize> {
        self.queries.clone().filter(|query| queries.contains(*query)).collect()
    }

    /// What a watch records of one layer.
    pub fn layer(&self, layer: usize, watch: &Watch) -> LayerTrace {
        let heads = 0..self.model.n_heads;
        let mut recorded = LayerTrace::default();
        let (chunk_len, n_slots) = self.plan.chunks_of(layer, heads.len());
        let mut choices = Choices::new(heads.len(), n_slots, chunk_len);
        for query in self.asked(&watch.choices) {
            for head in heads.clone() {
                if self.plan.of(layer, head).choice.is_none_or(|choice| choice.chunk_len != chunk_len) {
                    continue;
                }
                if let Some((chunks, scores, margin)) = self.choice(layer, head, query) {
                    choices.record(query, head, &chunks, &scores, margin);
                }
            }
        }
        recorded.choices = (!choices.queries.is_empty()).then_some(choices);
        if let Some(asked) = &watch.mass {
            let chunks = asked.chunks.clone();
            let mut mass = ChunkMass { chunks, n_heads: heads.len(), queries: Vec::new(), mass: Vec::new() };
            for query in self.asked(&asked.queries) {
                mass.queries.push(query);
                let of_head = |head| -> Vec<f32> { asked.chunks.sums(&self.row(layer, head, query)).collect() };
                mass.mass.push(heads.clone().flat_map(of_head).collect());
            }
            recorded.mass = (!mass.queries.is_empty()).then_some(mass);
        }
        recorded
    }

    /// A pooled map of the prompt, or of a window.
    pub fn map(&self, pick: &MapPick) -> PooledMap {
        let whole = MapWindow { query: 0, key: 0, len: self.prompt.n_tokens };
        let window = pick.window.unwrap_or(whole);
        let stride = window.len.div_ceil(pick.side.max(1)).max(1);
        let side = window.len.div_ceil(stride);
        let (mut mean, mut max) = (vec![0.0; side * side], vec![0.0_f32; side * side]);
        let end = (window.query + window.len).min(self.queries.end);
        for query in window.query.max(self.queries.start)..end {
            let at = (query - window.query) / stride;
            let block = window.query + at * stride;
            let n_queries = stride.min(end - block) as f32;
            for (key, weight) in self.row(pick.layer, pick.head, query).into_iter().enumerate().skip(window.key) {
                let column = (key - window.key) / stride;
                if column >= side {
                    break;
                }
                mean[at * side + column] += weight / n_queries;
                max[at * side + column] = max[at * side + column].max(weight);
            }
        }
        PooledMap { pick: *pick, stride, n_tokens: window.len, side, mean, max }
    }
}
