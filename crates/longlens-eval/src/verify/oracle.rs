//! Attention of one query by its definition, in f64: every key that the plan shows, at its positions, in one softmax.
//!
//! It knows plans, frequencies and nothing of how kernels compute: no tiles, no tables, no order of chunks.

use std::collections::HashMap;

use longlens_core::lens::Cached;
use longlens_core::plan::{ChunkChoice, ChunkScore, HeadPlan, PosMap, Prefill, SlotPositions, Slots};
use longlens_core::rope::Rope;
use longlens_core::spec::ModelSpec;

/// The rule of a head, on a model.
pub struct Oracle<'a> {
    pub spec: &'a ModelSpec,
    pub rule: &'a HeadPlan,
    pub rope: Rope,
    pub prompt: Prefill,
}

/// What was made for the query before and may serve the next: keys of the same key head at their positions, and what represents
/// chunks for the same head.
#[derive(Default)]
pub struct Turned {
    /// Of a key head, whose positions they stand at, and the length seen that they are rotated for.
    keys: HashMap<(usize, Place, usize), Vec<f64>>,
    /// Of a head and chunk.
    representatives: HashMap<(usize, usize), Vec<f64>>,
}

/// Whose positions keys stand at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    Span(usize),
    /// Slots of chosen chunks.
    Slots,
    /// True positions, for bounds.
    Bounds,
}

/// What the definition says of one query.
pub struct Found {
    /// `[head_dim]`.
    pub out: Vec<f64>,
    /// Where chunks were chosen: the most by which one that was left out scores above one that was taken, as a part of the largest
    /// score.
    pub regret: Option<f64>,
}

impl Oracle<'_> {
    /// Attention of a head's query. `recorded` says which chunks the run chose, where the query chooses; the definition's own choice
    /// stands in its place otherwise.
    pub fn attend(
        &self,
        turned: &mut Turned,
        cached: &Cached,
        head: usize,
        query: usize,
        recorded: Option<&[i32]>,
    ) -> Found {
        let raw = self.row(&cached.query, cached.n_tokens, head, query);
        let kv_head = self.spec.kv_heads_of(&(head..head + 1)).start;
        let mut scores: Vec<(f64, usize)> = Vec::new(); // of every key that is seen
        let slots = self.rule.choice.and_then(|choice| Some((choice, choice.query(query, self.prompt)?)));
        let regret = match slots {
            None => {
                for (at, span) in self.rule.spans.iter().enumerate() {
                    let seen = span.reach.keys(query).filter(|key| span.reach.sees(query, *key));
                    let turned_query = self.turn(&raw, span.query_pos.at(query), query, query);
                    let keys = self.keys(turned, cached, kv_head, Place::Span(at), &span.key_pos, query);
                    scores
                        .extend(seen.map(|key| (self.score(&turned_query, row_of(keys, raw.len(), key), query), key)));
                }
                None
            }
            Some((choice, slots)) => {
                let (taken, regret) = self.choose(turned, cached, (head, query), choice, &slots, recorded);
                let own = slots.tail.start / choice.chunk_len;
                let map = match choice.slots {
                    SlotPositions::Packed => PosMap::identity().modulo(choice.chunk_len),
                    SlotPositions::True => PosMap::identity(),
                };
                let keys = self.keys(turned, cached, kv_head, Place::Slots, &map, query);
                for (slot, chunk) in taken.iter().copied().chain([own]).enumerate() {
                    let is_last = slot == taken.len();
                    let seen = if is_last { slots.tail.clone() } else { chunk_tokens(chunk, choice.chunk_len) };
                    let slot = if is_last { choice.n_slots - 1 } else { slot };
                    let position = match choice.slots {
                        SlotPositions::Packed => slots.query_pos as f64 - (slot * choice.chunk_len) as f64,
                        SlotPositions::True => query as f64,
                    };
                    let turned_query = self.turn(&raw, position, query, query);
                    scores
                        .extend(seen.map(|key| (self.score(&turned_query, row_of(keys, raw.len(), key), query), key)));
                }
                Some(regret)
            }
        };
        let mut out = self.of_values(&scores, cached, kv_head, 0);
        if self.rule.is_off {
            out.fill(0.0);
        }
        Found { out, regret }
    }

    /// The complete chunks of a choice in ascending order, and how much better those that were left out score.
    fn choose(
        &self,
        turned: &mut Turned,
        cached: &Cached,
        (head, query): (usize, usize),
        choice: ChunkChoice,
        slots: &Slots,
        recorded: Option<&[i32]>,
    ) -> (Vec<usize>, f64) {
        let asks = self.asks(cached, (head, query), choice);
        let scores: Vec<f64> = slots
            .candidates
            .clone()
            .map(|chunk| {
                let of_chunk = self.representative(turned, cached, (head, query), choice, chunk);
                asks.iter().zip(of_chunk).map(|(a, b)| a * b).sum()
            })
            .collect();
        // forced ones come before all others
        let ranks: Vec<f64> = slots
            .candidates
            .clone()
            .zip(&scores)
            .map(|(chunk, score)| if self.rule.forced.contains(&(chunk as u32)) { f64::INFINITY } else { *score })
            .collect();
        let own = || best_chunks(slots, &ranks);
        let taken: Vec<usize> = match recorded {
            Some(chunks) => chunks[..slots.n_complete()].iter().map(|chunk| (*chunk).max(0) as usize).collect(),
            None => own(),
        };
        let score = |chunk: usize| ranks[chunk - slots.candidates.start];
        let picked = taken.iter().copied().filter(|chunk| slots.candidates.contains(chunk));
        let worst = picked.map(score).fold(f64::INFINITY, f64::min);
        let left = slots.candidates.clone().filter(|chunk| !taken.contains(chunk));
        let best = left.map(score).fold(f64::NEG_INFINITY, f64::max);
        let largest = scores.iter().fold(f64::MIN_POSITIVE, |most, score| most.max(score.abs()));
        let is_whole = taken.len() == slots.n_complete() && own().len() == taken.len();
        let is_whole = is_whole && scores.iter().all(|score| score.is_finite());
        let regret = if is_whole { ((best - worst) / largest).max(0.0) } else { f64::INFINITY };
        (taken, regret)
    }

    /// What is multiplied with what represents chunks: of a query, or the mean of those that choose together.
    fn asks(&self, cached: &Cached, (head, query): (usize, usize), choice: ChunkChoice) -> Vec<f64> {
        let together = choice.together(query, self.prompt);
        let n = together.len() as f64;
        let all = together.map(|query| self.asks_of(cached, (head, query), choice));
        let sum = all.reduce(|sum, one| sum.iter().zip(one).map(|(a, b)| a + b).collect());
        sum.unwrap_or_default().iter().map(|sum| sum / n).collect()
    }

    /// What of a query is multiplied with what represents chunks.
    fn asks_of(&self, cached: &Cached, (head, query): (usize, usize), choice: ChunkChoice) -> Vec<f64> {
        let raw = self.row(&cached.query, cached.n_tokens, head, query);
        match choice.score {
            ChunkScore::Summary => raw,
            ChunkScore::Bounds => {
                let turned = self.turn(&raw, query as f64, query, query);
                turned.iter().map(|x| x.max(0.0)).chain(turned.iter().map(|x| x.min(0.0))).collect()
            }
        }
    }

    /// What represents a complete chunk for a head.
    fn representative<'t>(
        &self,
        turned: &'t mut Turned,
        cached: &Cached,
        (head, query): (usize, usize),
        choice: ChunkChoice,
        chunk: usize,
    ) -> &'t [f64] {
        let tokens = chunk_tokens(chunk, choice.chunk_len);
        let kv_head = self.spec.kv_heads_of(&(head..head + 1)).start;
        let made = match choice.score {
            ChunkScore::Summary if turned.representatives.contains_key(&(head, chunk)) => None,
            ChunkScore::Summary => Some(self.summary(cached, (head, kv_head), chunk, choice.chunk_len)),
            // where all keys turn again with every length their bounds are new for every query
            ChunkScore::Bounds if turned.representatives.contains_key(&(head, chunk)) && !self.rope.rerotates() => None,
            ChunkScore::Bounds => {
                let keys = self.keys(turned, cached, kv_head, Place::Bounds, &PosMap::identity(), query);
                let d = self.spec.head_dim;
                let edge = |edge: fn(f64, f64) -> f64, at: usize| {
                    tokens.clone().map(|key| keys[key * d + at]).reduce(edge).expect("a chunk holds a token")
                };
                let greatest = (0..d).map(|at| edge(f64::max, at));
                Some(greatest.chain((0..d).map(|at| edge(f64::min, at))).collect())
            }
        };
        if let Some(made) = made {
            turned.representatives.retain(|(of, _), _| *of == head);
            turned.representatives.insert((head, chunk), made);
        }
        &turned.representatives[&(head, chunk)]
    }

    /// `sum_s softmax_s(m · b_s) b_s` with `m` the mean of what the chunk's queries attend to inside it (arXiv:2402.10685, section 3.2).
    fn summary(&self, cached: &Cached, (head, kv_head): (usize, usize), chunk: usize, w: usize) -> Vec<f64> {
        let (tokens, d) = (chunk_tokens(chunk, w), self.spec.head_dim);
        let scale = (d as f64).sqrt().recip();
        // every token of a chunk turns by what was known when the chunk was complete
        let moment = tokens.end - 1;
        let turned = |numbers: &[f32], head| -> Vec<Vec<f64>> {
            let row = |token| self.row(numbers, cached.n_tokens, head, token);
            tokens.clone().map(|token| self.turn(&row(token), (token % w) as f64, token, moment)).collect()
        };
        let (queries, keys) = (turned(&cached.query, head), turned(&cached.key, kv_head));
        let scored = |query: &[f64]| -> Vec<(f64, usize)> {
            keys.iter().enumerate().map(|(at, key)| (scale * dot(query, key), at)).collect()
        };
        let mut mean = vec![0.0; d];
        for query in &queries {
            let attended = self.of_values(&scored(query), cached, kv_head, tokens.start);
            mean.iter_mut().zip(attended).for_each(|(sum, x)| *sum += x / w as f64);
        }
        let add = |at: usize, weight: f64, out: &mut [f64]| {
            out.iter_mut().zip(&keys[at]).for_each(|(out, x)| *out += weight * x);
        };
        weighted(&scored(&mean), d, add)
    }

    /// The values of a key head, weighted; `scores` count tokens from `first` on.
    fn of_values(&self, scores: &[(f64, usize)], cached: &Cached, kv_head: usize, first: usize) -> Vec<f64> {
        let d = self.spec.head_dim;
        weighted(scores, d, |at, weight, out| {
            let value = &cached.value[(kv_head * cached.n_tokens + first + at) * d..][..d];
            out.iter_mut().zip(value).for_each(|(out, x)| *out += weight * f64::from(*x));
        })
    }

    /// Keys of a key head at their positions, `[n_tokens, head_dim]`, as `query` meets them.
    fn keys<'t>(
        &self,
        turned: &'t mut Turned,
        cached: &Cached,
        kv_head: usize,
        place: Place,
        map: &PosMap,
        query: usize,
    ) -> &'t [f64] {
        let now = if self.rope.rerotates() { self.prompt.seen(query) } else { 0 };
        let make = || {
            let row = |key: usize| self.row(&cached.key, cached.n_tokens, kv_head, key);
            (0..cached.n_tokens).flat_map(|key| self.turn(&row(key), map.at(key), key, query)).collect()
        };
        turned.keys.retain(|(of, _, seen), _| (*of, *seen) == (kv_head, now)); // nobody asks for others again
        turned.keys.entry((kv_head, place, now)).or_insert_with(make)
    }

    /// A token's row turned to a position, as it is when `query` is the newest token that the model knows.
    fn turn(&self, row: &[f64], position: f64, token: usize, query: usize) -> Vec<f64> {
        let known = if self.rope.rerotates() { query } else { token };
        let frequencies = self.rope.frequencies(self.prompt.seen(known));
        let amplitude = frequencies.amplitude * self.rule.amplitude(self.prompt.seen(token));
        let half = frequencies.inv_freq.len();
        let mut turned = row.to_vec();
        for (at, frequency) in frequencies.inv_freq.iter().enumerate() {
            let (sin, cos) = (position * frequency).sin_cos();
            let (a, b) = (row[at], row[at + half]);
            turned[at] = amplitude * (a * cos - b * sin);
            turned[at + half] = amplitude * (b * cos + a * sin);
        }
        turned
    }

    fn score(&self, query: &[f64], key: &[f64], token: usize) -> f64 {
        let scale = self.spec.score_scale.unwrap_or_else(|| (self.spec.head_dim as f64).sqrt().recip());
        let score = scale * self.rule.query_scale.at(token) * dot(query, key);
        self.spec.soft_cap.map_or(score, |cap| cap * (score / cap).tanh())
    }

    /// A token's numbers in a head.
    fn row(&self, numbers: &[f32], n_tokens: usize, head: usize, token: usize) -> Vec<f64> {
        let d = self.spec.head_dim;
        numbers[(head * n_tokens + token) * d..][..d].iter().map(|x| f64::from(*x)).collect()
    }
}

/// The chunks that are always taken and the best of the others, ties to the lower one, in ascending order.
fn best_chunks(slots: &Slots, scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = slots.candidates.clone().collect();
    let score = |chunk: &usize| scores[chunk - slots.candidates.start];
    order.sort_by(|a, b| score(b).total_cmp(&score(a)).then(a.cmp(b)));
    order.truncate(slots.n_picks);
    let mut chunks: Vec<usize> = (0..slots.candidates.start).chain(order).chain(slots.newest.clone()).collect();
    chunks.sort_unstable();
    chunks
}

fn chunk_tokens(chunk: usize, chunk_len: usize) -> std::ops::Range<usize> {
    chunk * chunk_len..(chunk + 1) * chunk_len
}

fn row_of(rows: &[f64], width: usize, at: usize) -> &[f64] {
    &rows[at * width..][..width]
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `sum_j softmax_j(score) value_j`; zeros where nothing is seen. `add` adds a value times its weight.
fn weighted(scores: &[(f64, usize)], width: usize, add: impl Fn(usize, f64, &mut [f64])) -> Vec<f64> {
    let most = scores.iter().fold(f64::NEG_INFINITY, |most, (score, _)| most.max(*score));
    let (mut sum, mut out) = (0.0, vec![0.0; width]);
    for (score, at) in scores {
        let weight = (score - most).exp();
        sum += weight;
        add(*at, weight, &mut out);
    }
    out.into_iter().map(|x| x / sum.max(f64::MIN_POSITIVE)).collect()
}
