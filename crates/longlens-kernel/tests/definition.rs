//! Every operation against its definition, written out in f64: one query, one key at a time.

use std::ops::Range;

use burn::backend::Flex;
use burn::backend::flex::FlexDevice;
use burn::tensor::{Tensor, TensorData};
use longlens_core::chunk_choice::Slots;
use longlens_core::methods::Method;
use longlens_core::plan::{Plan, PosMap, Prompt, Relation};
use longlens_core::rope::{Rope, RopeScaling};
use longlens_core::spec::ModelSpec;
use longlens_kernel::chunk_attention::cpu::Kept;
use longlens_kernel::chunk_attention::{self, ChunkAttention};
use longlens_kernel::chunk_scores::{self, ChunkScores};
use longlens_kernel::chunk_summary::{self, ChunkSummary};
use longlens_kernel::cpu::simd;
use longlens_kernel::pooled::{self, Cells, Pooled};
use longlens_kernel::rotary::Rotary;
use longlens_kernel::span_attention::{self, SpanAttention, SpanRotary};
use proptest::prelude::*;

type B = Flex;

/// Largest difference allowed; numbers are of order 1.
const TOLERANCE: f64 = 1e-5;

/// A layer's raw queries, keys and values.
struct Problem {
    spec: ModelSpec,
    plan: Plan,
    rope: Rope,
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    n_tokens: usize,
    first: usize,
}

impl Problem {
    fn new(method: &str, rope: &str, heads: (usize, usize), head_dim: usize, n_tokens: usize, first: usize) -> Self {
        Self::partly_turned(method, rope, heads, (head_dim, head_dim), n_tokens, first)
    }

    /// Only the first `rotary_dim` dimensions turn.
    fn partly_turned(
        method: &str,
        rope: &str,
        heads: (usize, usize),
        (head_dim, rotary_dim): (usize, usize),
        n_tokens: usize,
        first: usize,
    ) -> Self {
        simd::fill_with_nan(); // what a kernel forgets to write shows
        let mut spec = ModelSpec::tiny(64);
        (spec.n_heads, spec.n_kv_heads, spec.head_dim, spec.rotary_dim) = (heads.0, heads.1, head_dim, rotary_dim);
        let plan = Method::parse(method).unwrap().plan(&spec).unwrap();
        let rope = RopeScaling::parse(rope).unwrap().resolve(&spec).unwrap();
        let numbers = |seed: u64, heads: usize, n: usize| noise(seed, heads * n * head_dim);
        let query = numbers(1, heads.0, n_tokens - first);
        let (key, value) = (numbers(2, heads.1, n_tokens), numbers(3, heads.1, n_tokens));
        Self { spec, plan, rope, query, key, value, n_tokens, first }
    }

    fn prompt(&self) -> Prompt {
        Prompt { n_tokens: self.n_tokens }
    }

    fn row<'a>(&self, numbers: &'a [f32], head: usize, row: usize) -> &'a [f32] {
        let (d, n_rows) = (self.spec.head_dim, numbers.len() / self.spec.head_dim / self.heads_of(numbers));
        &numbers[(head * n_rows + row) * d..][..d]
    }

    fn heads_of(&self, numbers: &[f32]) -> usize {
        if numbers.len() == self.query.len() && numbers.as_ptr() == self.query.as_ptr() {
            self.spec.n_heads
        } else {
            self.spec.n_kv_heads
        }
    }

    /// `q_i · R(relative) k_j / sqrt(d)`.
    fn score(&self, head: usize, i: usize, j: usize, relative: f64) -> f64 {
        let (q, k) = (self.row(&self.query, head, i - self.first), self.row(&self.key, head / self.spec.n_rep(), j));
        turned(q, &self.rope, relative).iter().zip(k).map(|(q, k)| q * f64::from(*k)).sum::<f64>()
            * self.plan.query_scale.at(i)
            / (q.len() as f64).sqrt()
    }

    /// Output and log-sum-exp of one query that meets `keys` with these scores.
    fn softmax(&self, head: usize, scores: &[(usize, f64)]) -> (Vec<f64>, f64) {
        let lse = scores.iter().map(|(_, s)| s.exp()).sum::<f64>().ln();
        let mut out = vec![0.0; self.spec.head_dim];
        for (j, s) in scores {
            let v = self.row(&self.value, head / self.spec.n_rep(), *j);
            out.iter_mut().zip(v).for_each(|(o, v)| *o += (s - lse).exp() * f64::from(*v));
        }
        (out, lse)
    }

    fn tensors(&self) -> (Tensor<B, 3>, Tensor<B, 3>, Tensor<B, 3>) {
        let d = self.spec.head_dim;
        let upload = |numbers: &[f32], heads: usize| {
            let shape = [heads, numbers.len() / heads / d, d];
            Tensor::from_data(TensorData::new(numbers.to_vec(), shape), &FlexDevice)
        };
        let kv = self.spec.n_kv_heads;
        (upload(&self.query, self.spec.n_heads), upload(&self.key, kv), upload(&self.value, kv))
    }

    fn rotary(&self, map: &PosMap, tokens: Range<usize>) -> Rotary<B> {
        let table = self.rope.table(map, tokens, self.prompt(), self.n_tokens, |_| 1.0);
        Rotary::new(table, self.spec.rotary_dim, &FlexDevice)
    }
}

/// `R(position) x`.
fn turned(x: &[f32], rope: &Rope, position: f64) -> Vec<f64> {
    let (frequencies, half) = (rope.frequencies(0), rope.dim() / 2);
    let pair = |m: usize| {
        let (sin, cos) = (position * frequencies.inv_freq[m]).sin_cos();
        let (a, b) = (f64::from(x[m]), f64::from(x[m + half]));
        let scale = frequencies.amplitude.powi(2);
        (scale * (a * cos - b * sin), scale * (b * cos + a * sin))
    };
    let beyond = x[2 * half..].iter().map(|x| f64::from(*x));
    (0..half).map(|m| pair(m).0).chain((0..half).map(|m| pair(m).1)).chain(beyond).collect()
}

/// Deterministic numbers in -1 .. 1 (SplitMix64).
fn noise(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

fn numbers<const D: usize>(t: Tensor<B, D>) -> Vec<f32> {
    t.into_data().into_vec().unwrap()
}

fn close(got: f32, expected: f64, what: &str) {
    assert!((f64::from(got) - expected).abs() < TOLERANCE, "{what}: {got} instead of {expected}");
}

fn check_spans(problem: &Problem) {
    let (query, key, value) = problem.tensors();
    let scales: Vec<f32> = (problem.first..problem.n_tokens)
        .map(|i| (problem.plan.query_scale.at(i) / (problem.spec.head_dim as f64).sqrt()) as f32)
        .collect();
    let all = 0..problem.n_tokens;
    let rotary: Vec<_> = problem
        .plan
        .spans
        .iter()
        .map(|span| SpanRotary {
            query: problem.rotary(&span.query_pos, all.clone()),
            key: problem.rotary(&span.key_pos, all.clone()),
        })
        .collect();
    let operation = SpanAttention {
        query,
        scale: &scales,
        key,
        value,
        first_query: problem.first,
        spans: &problem.plan.spans,
        rotary: &rotary,
    };
    let mut bodies = vec![("reference", span_attention::reference(&operation))];
    for arch in simd::arches() {
        bodies.push((simd::name(arch), span_attention::cpu::attend(arch, &operation)));
    }
    let bodies: Vec<_> = bodies.into_iter().map(|(name, body)| (name, numbers(body.out), numbers(body.lse))).collect();
    let seq = problem.n_tokens - problem.first;
    let weights = numbers(span_attention::weights(&operation, 0..seq));
    check_pools(problem, &operation, &bodies[0].2);
    let d = problem.spec.head_dim;
    for head in 0..problem.spec.n_heads {
        for i in problem.first..problem.n_tokens {
            let scores: Vec<(usize, f64)> = (0..=i)
                .filter_map(|j| match problem.plan.relation(i, j, problem.prompt()) {
                    Relation::At(relative, _) => Some((j, problem.score(head, i, j, relative))),
                    _ => None,
                })
                .collect();
            let (expected, expected_lse) = problem.softmax(head, &scores);
            let at = head * seq + i - problem.first;
            for (name, out, lse) in &bodies {
                close(lse[at], expected_lse, name);
                out[at * d..][..d].iter().zip(&expected).for_each(|(got, expected)| close(*got, *expected, name));
            }
            let mut row = vec![0.0; problem.n_tokens];
            for (j, s) in &scores {
                row[*j] = (s - expected_lse).exp();
            }
            for (got, want) in weights[at * problem.n_tokens..][..problem.n_tokens].iter().zip(&row) {
                close(*got, *want, "weight");
            }
        }
    }
}

/// Pooled weights of every head, of cells that fit tiles and cells that do not.
fn check_pools(problem: &Problem, operation: &SpanAttention<'_, B>, lse: &[f32]) {
    let seq = problem.n_tokens - problem.first;
    for (queries, keys) in [(1, 3), (5, 16), (7, 7), (64, 64)] {
        let cells = Cells { queries, keys, n_columns: problem.n_tokens.div_ceil(keys) };
        for head in 0..problem.spec.n_heads {
            let expected = pooled::of_spans(operation, head, cells);
            for arch in simd::arches() {
                let got = pooled::cpu::of_spans(arch, operation, head, &lse[head * seq..][..seq], cells);
                same_cells(&got, &expected, simd::name(arch));
            }
        }
    }
}

fn same_cells(got: &Pooled, expected: &Pooled, what: &str) {
    assert_eq!(got.rows, expected.rows);
    for (got, expected) in got.sum.iter().chain(&got.max).zip(expected.sum.iter().chain(&expected.max)) {
        // a sum of many weights is held to the same relative error as one
        close(got / expected.max(1.0), f64::from(expected / expected.max(1.0)), what);
    }
}

/// Calls `check` with the problem once its chunks are chosen at random.
fn with_chunks(problem: &Problem, check: impl FnOnce(&ChunkAttention<'_, B>, &[Slots])) {
    let choice = problem.plan.choice.unwrap();
    let (w, n, d) = (choice.chunk_len, choice.n_slots, problem.spec.head_dim);
    let (query, key, value) = problem.tensors();
    let slots: Vec<_> = (problem.first..problem.n_tokens).map(|i| choice.query(i, problem.prompt()).unwrap()).collect();
    let mut chunks = Vec::new();
    for head in 0..problem.spec.n_heads {
        for (row, slots) in slots.iter().enumerate() {
            chunks.extend(slots.choose(&noise((head * 999 + row) as u64, slots.candidates.len())));
            chunks.push((slots.tail.start / w) as u32);
        }
    }
    let tail_len: Vec<usize> = slots.iter().map(|slots| slots.tail.len()).collect();
    let (mut cos, mut sin) = (Vec::new(), Vec::new());
    for position in -1..(n * w) as i64 {
        let one = problem.rope.table(&PosMap::constant(position as f64), 0..1, problem.prompt(), 0, |_| 1.0);
        cos.extend(one.cos);
        sin.extend(one.sin);
    }
    let positions = Rotary::new(longlens_core::rope::RotaryTable { cos, sin }, problem.spec.rotary_dim, &FlexDevice);
    let first_slot: Vec<usize> = slots.iter().map(|slots| slots.query_pos + 1).collect();
    let scale = vec![(d as f32).sqrt().recip(); slots.len()];
    let offsets = problem.rotary(&PosMap::identity().modulo(w), 0..problem.n_tokens);
    let operation = ChunkAttention {
        query,
        scale: &scale,
        key,
        value,
        chunk_len: w,
        n_slots: n,
        chunks: &chunks,
        tail_len: &tail_len,
        offsets: &offsets,
        positions: &positions,
        first_slot: &first_slot,
    };
    check(&operation, &slots);
}

fn check_chunks(problem: &Problem) {
    with_chunks(problem, |operation, slots| check_chosen(problem, operation, slots));
}

fn check_chosen(problem: &Problem, operation: &ChunkAttention<'_, B>, slots: &[Slots]) {
    let (w, n, d, chunks) = (operation.chunk_len, operation.n_slots, problem.spec.head_dim, operation.chunks);
    let mut bodies = vec![("reference", chunk_attention::reference(operation))];
    for arch in simd::arches() {
        bodies.push((simd::name(arch), chunk_attention::cpu::attend(arch, operation, &mut Kept::default())));
    }
    let bodies: Vec<_> = bodies.into_iter().map(|(name, body)| (name, numbers(body.out), numbers(body.lse))).collect();
    let seq = slots.len();
    let weights = numbers(chunk_attention::weights(operation, 0..seq));
    for (queries, keys) in [(1, w), (5, 3), (64, 64)] {
        let cells = Cells { queries, keys, n_columns: problem.n_tokens.div_ceil(keys) };
        for head in 0..problem.spec.n_heads {
            let expected = pooled::of_chunks(operation, (head, problem.first), cells);
            for arch in simd::arches() {
                let lse = &bodies[0].2[head * seq..][..seq];
                let (kept, at) = (&mut Kept::default(), (head, problem.first));
                let got = pooled::cpu::of_chunks(arch, operation, kept, at, lse, cells);
                same_cells(&got, &expected, simd::name(arch));
            }
        }
    }
    for head in 0..problem.spec.n_heads {
        for (row, slots) in slots.iter().enumerate() {
            let at = head * seq + row;
            let list = &chunks[at * n..][..n];
            let mut scores = Vec::new(); // the list of chosen keys, the p-th at position p
            for (slot, chunk) in list.iter().enumerate() {
                let len = if slot == n - 1 { slots.tail.len() } else { w };
                for offset in 0..len {
                    let relative = slots.query_pos as f64 - (slot * w + offset) as f64;
                    let j = *chunk as usize * w + offset;
                    scores.push((j, problem.score(head, problem.first + row, j, relative)));
                }
            }
            let (expected, expected_lse) = problem.softmax(head, &scores);
            for (name, out, lse) in &bodies {
                close(lse[at], expected_lse, name);
                out[at * d..][..d].iter().zip(&expected).for_each(|(got, expected)| close(*got, *expected, name));
            }
            let total: f32 = weights[at * n * w..][..n * w].iter().sum();
            close(total, 1.0, "sum of weights");
        }
    }
}

const METHODS: &[&str] = &[
    "full",
    "sliding_window:window=7",
    "streaming:n_sink=3,window=9",
    "self_extend:group_size=3,neighbor_window=10",
    "self_extend:group_size=4,neighbor_window=10,shift=exact,log_scale=16",
    "dual_chunk:chunk_size=24,local_window=5",
    "dual_chunk:chunk_size=24,local_window=20",
];

#[test]
fn spans_follow_their_definition_around_tile_edges() {
    for method in METHODS {
        // one query, one key; a whole prompt; later queries; sizes around the tiles of 128 queries and 512 keys
        for (n_tokens, first) in [(1, 0), (2, 1), (37, 0), (130, 0), (150, 149), (600, 470)] {
            check_spans(&Problem::new(method, "none", (2, 1), 8, n_tokens, first));
        }
    }
}

#[test]
fn spans_follow_their_definition_for_every_head_layout_and_scaling() {
    for (heads, head_dim) in [
        ((1, 1), 16),
        ((4, 4), 64),
        ((8, 2), 16),
        ((6, 3), 2),
        ((2, 2), 256),
        ((3, 1), 40),
        ((8, 1), 80),
        ((2, 1), 128),
    ] {
        check_spans(&Problem::new("dual_chunk:chunk_size=24,local_window=5", "none", heads, head_dim, 60, 3));
    }
    for dims in [(24, 16), (40, 10), (7, 6), (33, 32), (48, 2)] {
        for first in [0, 58] {
            check_spans(&Problem::partly_turned(
                "dual_chunk:chunk_size=24,local_window=5",
                "none",
                (4, 2),
                dims,
                60,
                first,
            ));
        }
        let method = "long_heads:chunk_len=4,attention_len=16";
        for first in [16, 58] {
            check_chunks(&Problem::partly_turned(method, "none", (4, 2), dims, 60, first));
        }
    }
    for rope in
        ["linear:factor=4", "ntk:factor=8", "yarn:factor=8", "llama3:factor=8", "yarn:factor=4,attention_factor=1"]
    {
        check_spans(&Problem::new("self_extend:group_size=3,neighbor_window=10", rope, (4, 2), 16, 90, 0));
    }
}

#[test]
fn chosen_chunks_follow_their_definition() {
    for variant in ["released", "consistent"] {
        for (w, n, n_tokens, rope) in [
            (8, 4, 90, "none"),
            (1, 6, 40, "none"),
            (5, 7, 133, "yarn:factor=4"),
            (16, 4, 81, "none"),
            (600, 4, 2500, "none"),
        ] {
            let method = format!("long_heads:chunk_len={w},attention_len={},variant={variant}", w * n);
            check_chunks(&Problem::new(&method, rope, (4, 2), 16, n_tokens, w * n));
        }
    }
}

/// Keys kept from call to call: chunks that fit panels and chunks that do not, partial ones, another length of chunks.
#[test]
fn kept_keys_are_those_of_one_call() {
    for arch in simd::arches() {
        let mut kept = Kept::default();
        for (w, lengths) in [(5, [40, 43, 61, 130]), (16, [85, 90, 97, 200]), (5, [41, 60, 77, 90])] {
            let method = format!("long_heads:chunk_len={w},attention_len={}", 4 * w);
            for n_tokens in lengths {
                // the keys of a longer problem begin with those of a shorter one
                let mut problem = Problem::new(&method, "none", (2, 1), 16, 200, n_tokens - 20);
                problem.n_tokens = n_tokens;
                problem.key.truncate(n_tokens * 16);
                problem.value.truncate(n_tokens * 16);
                problem.query = noise(9, 2 * 20 * 16);
                with_chunks(&problem, |operation, _| {
                    let once = chunk_attention::cpu::attend(arch, operation, &mut Kept::default());
                    let again = chunk_attention::cpu::attend(arch, operation, &mut kept);
                    assert_eq!(numbers(again.out), numbers(once.out), "{} w {w} n {n_tokens}", simd::name(arch));
                });
            }
        }
    }
}

#[test]
fn chunk_summaries_follow_their_definition() {
    for (w, n_chunks, heads) in [(1, 3, (2, 2)), (8, 5, (4, 2)), (16, 1, (3, 1)), (600, 2, (1, 1))] {
        let problem = Problem::new("full", "none", heads, 16, w * n_chunks, 0);
        let (query, key, value) = problem.tensors();
        let rotary = problem.rotary(&PosMap::identity().modulo(w), 0..w * n_chunks);
        let operation = ChunkSummary { query, key, value, rotary, chunk_len: w };
        let mut bodies = vec![("reference", numbers(chunk_summary::reference(&operation)))];
        for arch in simd::arches() {
            bodies.push((simd::name(arch), numbers(chunk_summary::cpu::summarise(arch, &operation))));
        }
        let d = 16;
        let softmax = |scores: Vec<f64>| {
            let sum: f64 = scores.iter().map(|s| s.exp()).sum();
            scores.into_iter().map(move |s| s.exp() / sum).collect::<Vec<_>>()
        };
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / 4.0; // sqrt(16)
        for head in 0..heads.0 {
            for chunk in 0..n_chunks {
                let kv = head / (heads.0 / heads.1);
                let tokens = chunk * w..(chunk + 1) * w;
                let a: Vec<_> = tokens
                    .clone()
                    .map(|t| turned(problem.row(&problem.query, head, t), &problem.rope, (t % w) as f64))
                    .collect();
                let b: Vec<_> = tokens
                    .clone()
                    .map(|t| turned(problem.row(&problem.key, kv, t), &problem.rope, (t % w) as f64))
                    .collect();
                let mut mean = vec![0.0; d];
                for a in &a {
                    let weights = softmax(b.iter().map(|b| dot(a, b)).collect());
                    for (weight, t) in weights.iter().zip(tokens.clone()) {
                        let v = problem.row(&problem.value, kv, t);
                        mean.iter_mut().zip(v).for_each(|(m, v)| *m += weight * f64::from(*v) / w as f64);
                    }
                }
                let weights = softmax(b.iter().map(|b| dot(&mean, b)).collect());
                let expected = |m: usize| weights.iter().zip(&b).map(|(weight, b)| weight * b[m]).sum::<f64>();
                let at = (head * n_chunks + chunk) * d;
                for (name, got) in &bodies {
                    (0..d).for_each(|m| close(got[at + m], expected(m), name));
                }
            }
        }
    }
}

/// What one query picks.
fn check_choice(query: &[f32], summaries: &[f32], d: usize, slots: &[Slots], n_slots: usize, n_chunks: usize) {
    let upload = |numbers: &[f32]| {
        Tensor::<B, 3>::from_data(TensorData::new(numbers.to_vec(), [2, numbers.len() / 2 / d, d]), &FlexDevice)
    };
    let operation = ChunkScores { query: upload(query), summaries: upload(summaries), slots, n_slots, n_chunks };
    let expected = chunk_scores::reference(&operation);
    let scores = chunk_scores::scores(&operation, 0..slots.len());
    let n_summaries = summaries.len() / 2 / d;
    for arch in simd::arches() {
        let got = chunk_scores::cpu::choose(arch, &operation);
        for (at, (got, expected)) in got.chunks(n_slots).zip(expected.chunks(n_slots)).enumerate() {
            let scores = &scores[at * n_summaries..][..n_summaries];
            assert!(got[..n_slots - 1].is_sorted(), "{}: {got:?}", simd::name(arch));
            assert_eq!(got[n_slots - 1], expected[n_slots - 1], "the tail");
            // a different pick is one whose score differs by rounding alone
            let ranked = |picks: &[u32]| {
                let mut scores: Vec<f32> = picks.iter().map(|chunk| scores[*chunk as usize]).collect();
                scores.sort_by(f32::total_cmp);
                scores
            };
            let (got, expected) = (ranked(&got[..n_slots - 1]), ranked(&expected[..n_slots - 1]));
            got.iter().zip(&expected).for_each(|(a, b)| close(*a, f64::from(*b), simd::name(arch)));
        }
    }
}

#[test]
fn every_query_picks_its_best_chunks() {
    for (w, n, n_tokens, d) in [(2, 4, 60, 8), (1, 9, 700, 16), (4, 4, 100, 8), (1, 40, 1300, 4), (16, 5, 200, 40)] {
        let method = format!("long_heads:chunk_len={w},attention_len={}", w * n);
        let plan = Method::parse(&method).unwrap().plan(&ModelSpec::tiny(64)).unwrap();
        let (choice, prompt) = (plan.choice.unwrap(), Prompt { n_tokens });
        let slots: Vec<_> = (choice.first(prompt)..n_tokens).map(|t| choice.query(t, prompt).unwrap()).collect();
        let (query, summaries) = (noise(5, 2 * slots.len() * d), noise(6, 2 * (n_tokens / w) * d));
        check_choice(&query, &summaries, d, &slots, choice.n_slots, n_tokens.div_ceil(w));
        // a few queries take another path
        let few = &slots[slots.len() - 2..];
        check_choice(&noise(7, 2 * 2 * d), &summaries, d, few, choice.n_slots, n_tokens.div_ceil(w));
    }
}

#[test]
fn equal_scores_pick_the_lower_chunks() {
    let plan = Method::parse("long_heads:chunk_len=1,attention_len=8").unwrap().plan(&ModelSpec::tiny(64)).unwrap();
    let (choice, prompt) = (plan.choice.unwrap(), Prompt { n_tokens: 200 });
    let slots: Vec<_> = (100..200).map(|t| choice.query(t, prompt).unwrap()).collect();
    let ones = |n: usize| Tensor::<B, 3>::ones([1, n, 4], &FlexDevice);
    let operation =
        ChunkScores { query: ones(100), summaries: ones(200), slots: &slots, n_slots: choice.n_slots, n_chunks: 200 };
    for arch in simd::arches() {
        assert_eq!(
            chunk_scores::cpu::choose(arch, &operation),
            chunk_scores::reference(&operation),
            "{}",
            simd::name(arch)
        );
    }
}

/// What is not a number is not lost; it may reach the few queries that are computed beside one that sees it.
#[test]
fn nan_reaches_every_query_that_sees_it_and_few_others() {
    for at in [0, 40] {
        let mut problem = Problem::new("sliding_window:window=9", "none", (2, 1), 16, 90, 0);
        problem.value[at * 16 + 3] = f32::NAN;
        let (query, key, value) = problem.tensors();
        let table = problem.rotary(&PosMap::identity(), 0..90);
        let rotary = [SpanRotary { query: table.clone(), key: table }];
        let (scale, spans) = (vec![0.25; 90], &problem.plan.spans);
        let operation = SpanAttention { query, scale: &scale, key, value, first_query: 0, spans, rotary: &rotary };
        for arch in simd::arches() {
            let out = numbers(span_attention::cpu::attend(arch, &operation).out);
            for (row, out) in out.chunks(16).enumerate() {
                let (sees, near) = ((at..at + 9).contains(&(row % 90)), (at.max(6) - 6..at + 15).contains(&(row % 90)));
                assert!(!sees || out[3].is_nan(), "{}: query {row} of value {at}", simd::name(arch));
                assert!(near || out[3].is_finite(), "{}: query {row} of value {at}", simd::name(arch));
            }
        }
    }
    let mut problem = Problem::new("full", "none", (1, 1), 16, 20, 0);
    problem.query[7 * 16] = f32::NAN;
    problem.key[12 * 16] = f32::INFINITY;
    let (query, key, value) = problem.tensors();
    let table = problem.rotary(&PosMap::identity(), 0..20);
    let rotary = [SpanRotary { query: table.clone(), key: table }];
    let (scale, spans) = (vec![0.25; 20], &problem.plan.spans);
    let operation = SpanAttention { query, scale: &scale, key, value, first_query: 0, spans, rotary: &rotary };
    for arch in simd::arches() {
        let attended = span_attention::cpu::attend(arch, &operation);
        let (out, lse) = (numbers(attended.out), numbers(attended.lse));
        assert!(out[7 * 16..8 * 16].iter().all(|x| x.is_nan()) && lse[7].is_nan(), "{}", simd::name(arch));
        assert!(out[6 * 16..7 * 16].iter().all(|x| x.is_finite()), "{}", simd::name(arch));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn random_plans_follow_their_definition(
        which in 0..4usize, a in 1..20usize, b in 1..20usize, n_tokens in 1..180usize, part in 0.0..1.0f64, n_rep in 1..4usize,
    ) {
        let method = match which {
            0 => format!("sliding_window:window={a}"),
            1 => format!("streaming:n_sink={},window={b}", a - 1),
            2 => format!("self_extend:group_size={a},neighbor_window={b}"),
            _ => format!("dual_chunk:chunk_size={},local_window={b}", a + b),
        };
        let first = (part * n_tokens as f64) as usize;
        check_spans(&Problem::new(&method, "none", (2 * n_rep, 2), 8, n_tokens, first));
    }

    #[test]
    fn random_choices_follow_their_definition(
        w in 1..20usize, n in 4..8usize, more in 1..150usize, generated in 0..20usize, n_rep in 1..3usize, consistent: bool,
    ) {
        let variant = if consistent { "consistent" } else { "released" };
        let method = format!("long_heads:chunk_len={w},attention_len={},variant={variant}", w * n);
        let n_tokens = w * n + more;
        // fewer queries than the tiles need take another path
        let first = (w * n).max(n_tokens.saturating_sub(40 - generated));
        check_chunks(&Problem::new(&method, "none", (2 * n_rep, 2), 8, n_tokens, first));
    }
}
