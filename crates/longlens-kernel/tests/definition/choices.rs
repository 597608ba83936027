//! Which chunks a query picks.

use burn::backend::flex::FlexDevice;
use burn::tensor::{Int, Tensor, TensorData};
use longlens_core::methods::Method;
use longlens_core::plan::{ChunkChoice, Prompt};
use longlens_core::spec::ModelSpec;
use longlens_kernel::chunk_scores::{self, ChunkScores};
use longlens_kernel::cpu::simd;
use longlens_kernel::key_bounds;

use crate::{B, close, noise};

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
    let scores = chunk_scores::scores(operation, 0..seq);
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
    for (w, n, n_tokens, d) in [(2, 4, 60, 8), (1, 9, 700, 16), (4, 4, 100, 8), (1, 40, 1300, 4), (16, 5, 200, 40)] {
        // representatives of every query head, and of every key head
        for n_representing in [4, 2] {
            let method = format!("long_heads:chunk_len={w},attention_len={}", w * n);
            let (choice, prompt) = (choice_of(&method), Prompt { n_tokens });
            // a few queries take another path
            for first_query in [choice.first(prompt), n_tokens - 2] {
                let query = tensor(noise(5, 4 * (n_tokens - first_query) * d), [4, d]);
                let chunks = tensor(noise(6, n_representing * (n_tokens / w) * d), [n_representing, d]);
                let n_chunks = n_tokens.div_ceil(w);
                check_choice(&ChunkScores { query, chunks, choice, prompt, first_query, n_chunks });
            }
        }
    }
}

#[test]
fn equal_scores_pick_the_lower_chunks() {
    let choice = choice_of("long_heads:chunk_len=1,attention_len=8");
    let ones = |n: usize| Tensor::<B, 3>::ones([1, n, 4], &FlexDevice);
    let (query, chunks, prompt) = (ones(100), ones(200), Prompt { n_tokens: 200 });
    let operation = ChunkScores { query, chunks, choice, prompt, first_query: 100, n_chunks: 200 };
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
