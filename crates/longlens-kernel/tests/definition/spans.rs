//! Span attention and what is pooled from it.

use std::convert::Infallible;

use burn_tensor::Tensor;
use longlens_core::plan::{HeadPlan, PosMap, QueryScale, Relation};
use longlens_core::written;
use longlens_kernel::cpu::simd;
use longlens_kernel::pooled;
use longlens_kernel::score::Score;
use longlens_kernel::span_attention::{self, SpanAttention, SpanRotary};
use proptest::prelude::*;

use crate::{B, Problem, cells_of, close, numbers, pooled_by_hand, same_cells};

fn check_spans(problem: &Problem) {
    let (query, key, value) = problem.tensors();
    let all = 0..problem.n_tokens;
    let rotary: Vec<_> = problem
        .rule
        .spans
        .iter()
        .map(|span| SpanRotary {
            query: problem.rotary(&span.query_pos, all.clone()),
            key: problem.rotary(&span.key_pos, all.clone()),
        })
        .collect();
    let operation = SpanAttention {
        query,
        score: Score::new(&problem.spec, problem.rule.query_scale),
        key,
        value,
        first_query: problem.first,
        spans: &problem.rule.spans,
        rotary: &rotary,
    };
    let mut bodies = vec![("reference", span_attention::reference(&operation))];
    for arch in simd::arches() {
        bodies.push((simd::name(arch), span_attention::cpu::attend(arch, &operation)));
    }
    let lse = bodies[0].1.lse.clone();
    let bodies: Vec<_> = bodies.into_iter().map(|(name, body)| (name, numbers(body.out), numbers(body.lse))).collect();
    let seq = problem.n_tokens - problem.first;
    let weights = numbers(span_attention::weights(&operation, 0..seq));
    check_pools(problem, &operation, &lse);
    let d = problem.spec.head_dim;
    for head in 0..problem.spec.n_heads {
        for i in problem.first..problem.n_tokens {
            let scores: Vec<(usize, f64)> = (0..=i)
                .filter_map(|j| match problem.rule.relation(i, j, problem.prompt()) {
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

/// Pooled weights of every head against the dense ones, of all tokens and of windows.
fn check_pools(problem: &Problem, operation: &SpanAttention<'_, B>, lse: &Tensor<B, 2>) {
    let seq = problem.n_tokens - problem.first;
    let weights = numbers(span_attention::weights(operation, 0..seq));
    for cells in cells_of(problem.n_tokens) {
        for (head, weights) in weights.chunks(seq * problem.n_tokens).enumerate() {
            let expected = pooled_by_hand(&cells, problem.first, problem.n_tokens, weights);
            same_cells(&pooled::of_spans(operation, head, &cells), &expected, "reference");
            for arch in simd::arches() {
                let got = pooled::cpu::of_spans(arch, operation, head, lse, &cells);
                same_cells(&got, &expected, simd::name(arch));
            }
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
fn capped_scores_follow_their_definition() {
    for cap in [0.3, 1.0, 50.0] {
        // a whole prompt, and a few queries, which take another path
        for (method, n_tokens, first) in METHODS.iter().flat_map(|method| [(*method, 130, 0), (*method, 150, 147)]) {
            let mut problem = Problem::new(method, "none", (4, 2), 16, n_tokens, first);
            problem.spec.soft_cap = Some(cap);
            check_spans(&problem);
        }
        let mut problem = Problem::new("full", "none", (2, 1), 8, 60, 57);
        problem.spec.soft_cap = Some(cap);
        problem.rule = written(60, |i, j| (i == j || j.is_multiple_of(3)).then(|| (i - j) as f64));
        check_spans(&problem);
    }
}

/// A plan as a user writes it.
fn written(n_tokens: usize, relation: impl Fn(usize, usize) -> Option<f64>) -> HeadPlan {
    let relation = |query, key| Ok::<_, Infallible>(relation(query, key));
    written::from_relation("mine", "mine", n_tokens, relation).unwrap().of(0, 0).clone()
}

/// Relative position of a query and a key, if they meet.
type Asked = Box<dyn Fn(usize, usize) -> Option<f64>>;

#[test]
fn written_spans_follow_their_definition_around_tile_edges() {
    let far = |i: usize, j: usize| (i - j) as f64;
    let relations: Vec<(&str, Asked)> = vec![
        ("capped", Box::new(move |i, j| Some(far(i, j).min(30.0)))),
        ("every eighth", Box::new(move |i, j| (i - j).is_multiple_of(8).then(|| far(i, j)))),
        (
            "a window, every 70th key, the first",
            Box::new(move |i, j| (i - j < 9 || j.is_multiple_of(70)).then(|| far(i, j))),
        ),
        ("grouped distances", Box::new(|i, j| Some(((i - j) / 3) as f64))),
        ("odd keys further off", Box::new(move |i, j| Some(far(i, j) + if j % 2 == 1 { 50.5 } else { 0.0 }))),
        (
            "ends that move back",
            Box::new(move |i, j| (j == i || j < 40 - (i % 40) || j % 3 == i % 3).then(|| far(i, j))),
        ),
        ("only itself", Box::new(|i, j| (i == j).then_some(0.0))),
    ];
    for (name, relation) in relations {
        for (n_tokens, first) in [(1, 0), (2, 1), (37, 0), (130, 0), (150, 149), (150, 147), (600, 470), (1300, 1299)] {
            let rule = written(n_tokens, &relation);
            assert!(rule.spans.len() <= 4, "{name}: {} spans", rule.spans.len());
            check_spans(&Problem { rule, ..Problem::new("full", "none", (2, 1), 8, n_tokens, first) });
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
    }
    for rope in
        ["linear:factor=4", "ntk:factor=8", "yarn:factor=8", "llama3:factor=8", "yarn:factor=4,attention_factor=1"]
    {
        check_spans(&Problem::new("self_extend:group_size=3,neighbor_window=10", rope, (4, 2), 16, 90, 0));
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
        let (score, spans) = (Score::new(&problem.spec, QueryScale::Off), &problem.rule.spans);
        let operation = SpanAttention { query, score, key, value, first_query: 0, spans, rotary: &rotary };
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
    let (score, spans) = (Score::new(&problem.spec, QueryScale::Off), &problem.rule.spans);
    let operation = SpanAttention { query, score, key, value, first_query: 0, spans, rotary: &rotary };
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
    fn random_written_plans_follow_their_definition(
        edges in prop::array::uniform2(1..60usize), holes in prop::array::uniform3(1..6usize), groups in prop::array::uniform3(1..5usize),
        n_tokens in 1..180usize, part in 0.0..1.0f64, n_rep in 1..4usize,
    ) {
        let relation = |i: usize, j: usize| {
            let piece = usize::from(i - j >= edges[0]) + usize::from(i - j >= edges[0] + edges[1]);
            let g = groups[piece];
            ((i + j).is_multiple_of(holes[piece]) || i == j).then(|| (i / g) as f64 - (j / g) as f64 + 7.5 * piece as f64)
        };
        let first = (part * n_tokens as f64) as usize;
        let problem = Problem::new("full", "none", (2 * n_rep, 2), 8, n_tokens, first);
        check_spans(&Problem { rule: written(n_tokens, relation), ..problem });
    }
}
