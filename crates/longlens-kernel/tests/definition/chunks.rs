//! Chunk attention, what is pooled from it, and chunk summaries.

use burn_flex::FlexDevice;
use burn_tensor::{Tensor, TensorData};
use longlens_core::plan::{PosMap, SlotPositions, Slots};
use longlens_core::rope::RotaryTable;
use longlens_kernel::chunk_attention::cpu::PackedKeys;
use longlens_kernel::chunk_attention::{self, ChunkAttention, key_pos};
use longlens_kernel::chunk_summary::{self, ChunkSummary};
use longlens_kernel::cpu::simd;
use longlens_kernel::key_bounds::{self, KeyBounds};
use longlens_kernel::pooled;
use longlens_kernel::rotary::Rotary;
use longlens_kernel::score::Score;
use proptest::prelude::*;

use crate::{B, Problem, cells_of, close, noise, numbers, pooled_by_hand, rotated, same_cells};

/// Calls `check` with the problem once its chunks are chosen at random.
fn with_chunks(problem: &Problem, check: impl FnOnce(&ChunkAttention<'_, B>, &[Slots])) {
    let choice = problem.rule.choice.unwrap();
    let (query, key, value) = problem.tensors();
    let slots: Vec<_> = (problem.first..problem.n_tokens).map(|i| choice.query(i, problem.prompt()).unwrap()).collect();
    let mut chunks = Vec::new();
    for head in 0..problem.spec.n_heads {
        for (row, slots) in slots.iter().enumerate() {
            let chosen = slots.choose(&noise((head * 999 + row) as u64, slots.candidates.len()), &[]);
            chunks.extend(chosen.into_iter().map(|chunk| chunk as i32));
            chunks.push((slots.tail.start / choice.chunk_len) as i32);
        }
    }
    let positions = match choice.slots {
        SlotPositions::Packed => -1..(choice.n_slots * choice.chunk_len) as i64,
        SlotPositions::True => 0..problem.n_tokens as i64,
    };
    let (mut cos, mut sin) = (Vec::new(), Vec::new());
    for position in positions {
        let one = problem.rope.table(&PosMap::constant(position as f64), 0..1, problem.prompt(), 0, |_| 1.0);
        cos.extend(one.cos);
        sin.extend(one.sin);
    }
    let positions = Rotary::new(RotaryTable { cos, sin, steps: None }, problem.spec.rotary_dim, &FlexDevice);
    let shape = [problem.spec.n_heads, slots.len(), choice.n_slots];
    let operation = ChunkAttention {
        query,
        score: Score::new(&problem.spec, problem.rule.query_scale),
        key,
        value,
        choice,
        prompt: problem.prompt(),
        first_query: problem.first,
        chunks: Tensor::from_data(TensorData::new(chunks, shape), &FlexDevice),
        key_rotary: &problem.rotary(&key_pos(&choice), 0..problem.n_tokens),
        query_rotary: &positions,
    };
    check(&operation, &slots);
}

fn check_chunks(problem: &Problem) {
    with_chunks(problem, |operation, slots| check_chosen(problem, operation, slots));
}

fn check_chosen(problem: &Problem, operation: &ChunkAttention<'_, B>, slots: &[Slots]) {
    let (w, n, d) = (operation.choice.chunk_len, operation.choice.n_slots, problem.spec.head_dim);
    let chunks: Vec<i32> = operation.chunks.to_data().convert::<i32>().into_vec().unwrap();
    let mut bodies = vec![("reference", chunk_attention::reference(operation))];
    for arch in simd::arches() {
        bodies.push((simd::name(arch), chunk_attention::cpu::attend(arch, operation, &mut PackedKeys::default())));
    }
    let lse = bodies[0].1.lse.clone();
    let bodies: Vec<_> = bodies.into_iter().map(|(name, body)| (name, numbers(body.out), numbers(body.lse))).collect();
    let seq = slots.len();
    let weights = numbers(chunk_attention::weights(operation, 0..seq));
    for cells in cells_of(problem.n_tokens) {
        for head in 0..problem.spec.n_heads {
            // weights of slots at the keys that stand in them
            let mut spread = vec![0.0; seq * problem.n_tokens];
            for row in 0..seq {
                let at = head * seq + row;
                for (chunk, weights) in chunks[at * n..][..n].iter().zip(weights[at * n * w..][..n * w].chunks(w)) {
                    for (key, weight) in (*chunk as usize * w..problem.n_tokens).zip(weights) {
                        spread[row * problem.n_tokens + key] += weight;
                    }
                }
            }
            let expected = pooled_by_hand(&cells, problem.first, problem.n_tokens, &spread);
            same_cells(&pooled::of_chunks(operation, head, &cells), &expected, "reference");
            for arch in simd::arches() {
                let got = pooled::cpu::of_chunks(arch, operation, &mut PackedKeys::default(), head, &lse, &cells);
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
                    let j = *chunk as usize * w + offset;
                    let key_pos = match slots.positions {
                        SlotPositions::Packed => slot * w + offset,
                        SlotPositions::True => j,
                    };
                    let relative = slots.query_pos as f64 - key_pos as f64;
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

#[test]
fn chosen_chunks_follow_their_definition_for_every_layout_of_a_head() {
    for dims in [(24, 16), (40, 10), (7, 6), (33, 32), (48, 2)] {
        let method = "long_heads:chunk_len=4,attention_len=16";
        for first in [16, 58] {
            check_chunks(&Problem::partly_turned(method, "none", (4, 2), dims, 60, first));
        }
    }
}

#[test]
fn chunks_at_their_true_positions_follow_their_definition() {
    for (w, budget, n_tokens, rope) in [(8, 32, 90, "none"), (1, 6, 40, "none"), (5, 35, 133, "yarn:factor=4")] {
        let method = format!("quest:page_size={w},token_budget={budget},prefill=chosen,dense_layers=0");
        for first in [budget, n_tokens - 3] {
            check_chunks(&Problem::new(&method, rope, (4, 2), 16, n_tokens, first));
        }
    }
}

#[test]
fn capped_scores_of_chunks_follow_their_definition() {
    for method in
        ["long_heads:chunk_len=8,attention_len=32", "quest:page_size=8,token_budget=32,prefill=chosen,dense_layers=0"]
    {
        for first in [32, 87] {
            let mut problem = Problem::new(method, "none", (4, 2), 16, 90, first);
            problem.spec.soft_cap = Some(0.5);
            check_chunks(&problem);
        }
    }
}

#[test]
fn bounds_are_the_least_and_the_greatest_rotated_keys() {
    for (w, n_chunks, dims) in [(1, 9, (8, 8)), (5, 7, (24, 16)), (16, 3, (40, 10)), (37, 2, (16, 16))] {
        let n_tokens = w * n_chunks;
        let problem = Problem::partly_turned("full", "none", (4, 2), dims, n_tokens, 0);
        let (_, key, _) = problem.tensors();
        let operation = KeyBounds { key, rotary: problem.rotary(&PosMap::identity(), 0..n_tokens), chunk_len: w };
        let mut bodies = vec![("reference", numbers(key_bounds::reference(&operation)))];
        for arch in simd::arches() {
            bodies.push((simd::name(arch), numbers(key_bounds::cpu::bounds(arch, &operation))));
        }
        let d = dims.0;
        for (head, chunk) in (0..2).flat_map(|head| (0..n_chunks).map(move |chunk| (head, chunk))) {
            let keys = (chunk * w..(chunk + 1) * w)
                .map(|t| rotated(problem.row(&problem.key, head, t), &problem.rope, t as f64));
            let keys: Vec<_> = keys.collect();
            for m in 0..d {
                let of = |pick: fn(f64, f64) -> f64, from| keys.iter().map(|key| key[m]).fold(from, pick);
                let at = (head * n_chunks + chunk) * 2 * d + m;
                for (name, got) in &bodies {
                    close(got[at], of(f64::max, f64::NEG_INFINITY), name);
                    close(got[at + d], of(f64::min, f64::INFINITY), name);
                }
            }
        }
    }
}

/// Keys kept from call to call: chunks that fit panels and chunks that do not, partial ones, another length of chunks.
#[test]
fn kept_keys_are_those_of_one_call() {
    for arch in simd::arches() {
        let mut kept = PackedKeys::default();
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
                    let once = chunk_attention::cpu::attend(arch, operation, &mut PackedKeys::default());
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
                    .map(|t| rotated(problem.row(&problem.query, head, t), &problem.rope, (t % w) as f64))
                    .collect();
                let b: Vec<_> = tokens
                    .clone()
                    .map(|t| rotated(problem.row(&problem.key, kv, t), &problem.rope, (t % w) as f64))
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
proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
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
