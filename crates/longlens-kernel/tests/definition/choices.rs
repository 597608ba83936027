//! Which chunks a query picks.

use burn::backend::flex::FlexDevice;
use burn::tensor::{Tensor, TensorData};
use longlens_core::chunk_choice::Slots;
use longlens_core::methods::Method;
use longlens_core::plan::Prompt;
use longlens_core::spec::ModelSpec;
use longlens_kernel::chunk_scores::{self, ChunkScores};
use longlens_kernel::cpu::simd;

use crate::{B, close, noise};

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
