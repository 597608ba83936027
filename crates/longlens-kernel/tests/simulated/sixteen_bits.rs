//! Kernels of CUDA text: keys, values and queries of 16 bits.

use std::convert::Infallible;

use burn_tensor::DType;
use longlens_core::written;

use crate::common::rule;
use crate::is_absent;
use crate::spans::{Sizes, check};

const BOTH: [DType; 2] = [DType::BF16, DType::F16];

#[test]
fn spans_match_for_every_size_of_heads() {
    if is_absent() {
        return;
    }
    let methods = ["dual_chunk:chunk_size=24,local_window=5", "self_extend:group_size=4,neighbor_window=16", "full"];
    let heads = [(2, 1), (1, 1), (3, 1), (8, 2), (7, 1)];
    let dims = [(64, 64), (80, 32), (96, 96), (128, 128), (256, 256)];
    for (at, ((method, heads), dims)) in methods.into_iter().cycle().zip(heads).zip(dims).enumerate() {
        let (rule, rope) = rule(method, dims.0, dims.1);
        for (n_tokens, first) in [(100, 0), (70, 69), (150, 61)] {
            let soft_cap = (at % 2 == 1).then_some(3.0);
            let sizes = Sizes { soft_cap, dtype: BOTH[(at + first) % 2], ..Sizes::plain(heads, dims, n_tokens, first) };
            check(method, &rule, &rope, sizes);
        }
    }
}

#[test]
fn written_plans_with_holes_match() {
    if is_absent() {
        return;
    }
    let (_, rope) = rule("full", 64, 64);
    for n_tokens in [1, 40, 140] {
        let relation = |i: usize, j: usize| {
            let far = i - j >= 30;
            let place = || if far { (i / 4) as f64 - (j / 4) as f64 + 22.5 } else { (i - j) as f64 };
            Ok::<_, Infallible>(((i + j) % 3 != 1 || i == j).then(place))
        };
        let rule = written::from_relation("test", "test", n_tokens, relation).unwrap().of(0, 0).clone();
        for first in [0, n_tokens - 1] {
            let sizes = Sizes { dtype: DType::BF16, ..Sizes::plain((4, 2), (64, 64), n_tokens, first) };
            check("written", &rule, &rope, sizes);
        }
    }
}
