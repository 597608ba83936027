//! Which chunks a query picks.

use burn_flex::{Flex, FlexDevice};
use burn_tensor::{Int, Tensor, TensorData};
use longlens_core::methods::Method;
use longlens_core::plan::{ChunkChoice, PosMap, Prefill};
use longlens_core::spec::ModelSpec;
use longlens_kernel::Kernels;
use longlens_kernel::chunk_attention::ChunkAttention;
use longlens_kernel::chunk_attention::cpu::PackedKeys;
use longlens_kernel::chunk_scores::{self, ChunkScores};
use longlens_kernel::cpu::simd;
use longlens_kernel::key_bounds::{self, KeyBounds};
use longlens_kernel::score::Score;

use crate::{B, Problem, close, noise, numbers, rotated};

/// The rule of a method's last layer.
fn choice_of(method: &str) -> ChunkChoice {
    let spec = ModelSpec::tiny(64);
    Method::parse(method).unwrap().plan(&spec).unwrap().of(spec.n_layers - 1, 0).choice.unwrap()
}

fn tensor(numbers: Vec<f32>, [heads, width]: [usize; 2]) -> Tensor<B, 3> {
    let rows = numbers.len() / heads / width;
    Tensor::from_data(TensorData::new(numbers, [heads, rows, width]), &FlexDevice)
}

fn whole(t: Tensor<B, 3, Int>) -> Vec<i32> {
    t.into_data().convert::<i32>().into_vec().unwrap()
}

/// Every query picks the chunks that score best.
fn check_choice(operation: &ChunkScores<B>) {
    let (n_slots, [_, seq, _]) = (operation.choice.n_slots, operation.query.dims());
    let expected = whole(chunk_scores::reference(operation));
    let scores = numbers(chunk_scores::scores(operation, 0..seq));
    let n_complete = operation.chunks.dims()[1];
    for arch in simd::arches() {
        let got = whole(chunk_scores::cpu::choose(arch, operation));
        for (at, (got, expected)) in got.chunks(n_slots).zip(expected.chunks(n_slots)).enumerate() {
            let scores = &scores[at * n_complete..][..n_complete];
            assert!(got[..n_slots - 1].is_sorted(), "{}: {got:?}", simd::name(arch));
            assert_eq!(got[n_slots - 1], expected[n_slots - 1], "the tail");
            // a different pick is one whose score differs by rounding alone
            let ranked = |picks: &[i32]| {
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
    for (w, n, n_tokens, d) in [(2, 4, 60, 8), (1, 9, 700, 16), (4, 4, 100, 8), (1, 40, 700, 4), (16, 5, 200, 40)] {
        for (method, n_representing) in [
            (format!("long_heads:chunk_len={w},attention_len={}", w * n), 4),
            (format!("quest:page_size={w},token_budget={},prefill=chosen,dense_layers=0", w * n), 2),
        ] {
            let (choice, prompt) = (choice_of(&method), Prefill { n_tokens });
            // a few queries take another path
            for first_query in [choice.first(prompt), n_tokens - 2] {
                let query = tensor(noise(5, 4 * (n_tokens - first_query) * d), [4, d]);
                let chunks = tensor(noise(6, n_representing * (n_tokens / w) * d), [n_representing, d]);
                let n_chunks = n_tokens.div_ceil(w);
                check_choice(&ChunkScores { query, chunks, choice, prompt, first_query, n_chunks, forced: Vec::new() });
            }
        }
    }
}

#[test]
fn forced_chunks_are_picked_and_the_best_of_the_others() {
    let (w, n_tokens, d) = (4, 100, 8);
    let choice = choice_of("long_heads:chunk_len=4,attention_len=28");
    let (prompt, first_query) = (Prefill { n_tokens }, choice.first(Prefill { n_tokens }));
    let query = tensor(noise(5, 2 * (n_tokens - first_query) * d), [2, d]);
    let chunks = tensor(noise(6, 2 * (n_tokens / w) * d), [2, d]);
    for forced in [vec![], vec![2], vec![9], vec![3, 20], vec![1, 2, 90]] {
        let (query, chunks) = (query.clone(), chunks.clone());
        let operation =
            ChunkScores { query, chunks, choice, prompt, first_query, n_chunks: n_tokens / w, forced: forced.clone() };
        let scores = numbers(chunk_scores::scores(&operation, 0..n_tokens - first_query));
        let got = whole(Flex::choose_chunks(&operation));
        let by_query = got.chunks(choice.n_slots).zip(scores.chunks(n_tokens / w));
        for (at, (got, scores)) in by_query.enumerate() {
            let slots = operation.slots(at % (n_tokens - first_query));
            let expected = slots.choose(&scores[slots.candidates.clone()], &forced);
            let got: Vec<u32> = got[..choice.n_slots - 1].iter().map(|chunk| *chunk as u32).collect();
            assert_eq!(got, expected, "{forced:?}, query {at}");
        }
    }
}

#[test]
fn equal_scores_pick_the_lower_chunks() {
    let choice = choice_of("long_heads:chunk_len=1,attention_len=8");
    let ones = |n: usize| Tensor::<B, 3>::ones([1, n, 4], &FlexDevice);
    let (query, chunks, prompt) = (ones(100), ones(200), Prefill { n_tokens: 200 });
    let operation = ChunkScores { query, chunks, choice, prompt, first_query: 100, n_chunks: 200, forced: Vec::new() };
    for arch in simd::arches() {
        let (got, expected) = (chunk_scores::cpu::choose(arch, &operation), chunk_scores::reference(&operation));
        assert_eq!(whole(got), whole(expected), "{}", simd::name(arch));
    }
}

#[test]
fn a_product_of_bounds_is_the_highest_score_between_them() {
    let d = 16;
    let (query, ends) = (noise(1, 5 * d), noise(2, 2 * d));
    let max: Vec<f32> = ends[..d].iter().zip(&ends[d..]).map(|(a, b)| a.max(*b)).collect();
    let min: Vec<f32> = ends[..d].iter().zip(&ends[d..]).map(|(a, b)| a.min(*b)).collect();
    let doubled: Vec<f32> = key_bounds::of_queries(tensor(query.clone(), [1, d])).into_data().into_vec().unwrap();
    for (query, doubled) in query.chunks(d).zip(doubled.chunks(2 * d)) {
        let product: f32 = doubled.iter().zip(max.iter().chain(&min)).map(|(a, b)| a * b).sum();
        let highest: f64 = (0..d).map(|m| f64::from((query[m] * max[m]).max(query[m] * min[m]))).sum();
        close(product, highest, "bound");
    }
}

/// Pages chosen by bounds and attended at their true positions, each step in f64 over all keys.
#[test]
fn pages_by_bounds_are_those_of_the_dense_definition() {
    for (w, budget, rope) in [(5, 30, "none"), (1, 9, "none"), (16, 64, "yarn:factor=4")] {
        for first in [budget, 117] {
            let method = format!("quest:page_size={w},token_budget={budget},prefill=chosen,dense_layers=0");
            let problem = Problem::new(&method, rope, (4, 2), 16, 120, first);
            let (choice, (query, key, value)) = (problem.rule.choice.unwrap(), problem.tensors());
            let all = problem.rotary(&PosMap::identity(), 0..120);
            let bounds = Flex::key_bounds(&KeyBounds {
                key: key.clone().slice([0..2, 0..120 / w * w]),
                rotary: all.rows(0, 120 / w * w),
                chunk_len: w,
            });
            let rotated_queries = Flex::rotate(&all.rows(first, 120), query.clone());
            let chunks = Flex::choose_chunks(&ChunkScores {
                query: key_bounds::of_queries(rotated_queries),
                chunks: bounds,
                choice,
                prompt: problem.prompt(),
                first_query: first,
                n_chunks: 120usize.div_ceil(w),
                forced: Vec::new(),
            });
            let operation = ChunkAttention {
                query,
                score: Score::new(&problem.spec, problem.rule.query_scale),
                key,
                value,
                choice,
                prompt: problem.prompt(),
                first_query: first,
                chunks,
                key_rotary: &all,
                query_rotary: &all,
            };
            let out = numbers(Flex::chunk_attention(&operation, &mut PackedKeys::default()).out);
            for (head, i) in (0..4).flat_map(|head| (first..120).map(move |i| (head, i))) {
                let at = |row: &[f32], position: usize| rotated(row, &problem.rope, position as f64);
                let query = at(problem.row(&problem.query, head, i - first), i);
                let bound = |page: &usize| {
                    let keys: Vec<_> =
                        (page * w..page * w + w).map(|j| at(problem.row(&problem.key, head / 2, j), j)).collect();
                    // a page's bound takes each dimension from the key where its product is highest
                    let highest = |m: usize| keys.iter().fold(f64::NEG_INFINITY, |max, key| max.max(query[m] * key[m]));
                    (0..16).map(highest).sum::<f64>()
                };
                let mut pages: Vec<_> = (0..i / w).map(|page| (bound(&page), page)).collect();
                pages.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
                pages.truncate(choice.n_picks());
                let keys = pages.iter().flat_map(|(_, page)| page * w..page * w + w).chain(i / w * w..=i);
                let scores: Vec<_> = keys.map(|j| (j, problem.score(head, i, j, (i - j) as f64))).collect();
                let (expected, _) = problem.softmax(head, &scores);
                let got = &out[(head * (120 - first) + i - first) * 16..][..16];
                got.iter().zip(&expected).for_each(|(got, expected)| close(*got, *expected, &method));
            }
        }
    }
}
