//! Kernels of CUDA text: keys, values and queries of 16 bits.

use std::collections::BTreeSet;
use std::convert::Infallible;

use burn_flex::{Flex, FlexDevice};
use burn_tensor::DType;
use longlens_core::plan::PosMap;
use longlens_core::written;
use longlens_kernel::linear::{self, Matrix, Storage, Weights};
use longlens_kernel::{Body, Kernels, Operation, selfcheck};

use crate::chunks::{Problem, check_choice, check_equal_scores};
use crate::common::{both, both_as, close, numbers, rotary, rule, tolerance};
use crate::spans::{Sizes, check};
use crate::{Gpu, gpu, is_absent, on_every_card};

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
        // several blocks of queries, a token, and a few queries
        for (n_tokens, first) in [(230, 0), (70, 69), (150, 121)] {
            let soft_cap = (at % 2 == 1).then_some(3.0);
            let sizes = Sizes { soft_cap, dtype: BOTH[(at + first) % 2], ..Sizes::plain(heads, dims, n_tokens, first) };
            on_every_card(|| assert!(matches!(check(method, &rule, &rope, sizes), Body::Text(_))));
        }
    }
}

#[test]
fn a_few_queries_are_one_launch_that_shares_out_keys() {
    if is_absent() {
        return;
    }
    let methods = [
        "dual_chunk:chunk_size=24,local_window=5",
        "self_extend:group_size=4,neighbor_window=16",
        "streaming:n_sink=70,window=90",
        "full",
    ];
    let heads = [(2, 1), (1, 1), (3, 1), (8, 2), (7, 1), (32, 1)];
    let dims = [(64, 64), (80, 32), (96, 96), (128, 128), (256, 256), (64, 16)];
    for (at, ((method, heads), dims)) in methods.into_iter().cycle().zip(heads).zip(dims).enumerate() {
        let (rule, rope) = rule(method, dims.0, dims.1);
        // one tile, several of one block, several blocks; a token, and as many queries as 16 rows hold
        for (n_tokens, n_queries) in [(3, 1), (190, 2), (700, 1)] {
            let n_rep = heads.0 / heads.1;
            let n_queries = if n_queries > 1 { (16 / n_rep).clamp(1, 9) } else { 1 };
            for (has_cut_tables, dtype) in [(false, BOTH[at % 2]), (true, BOTH[(at + 1) % 2])] {
                let soft_cap = (at % 2 == 1).then_some(3.0);
                let plain = Sizes::plain(heads, dims, n_tokens, n_tokens - n_queries);
                let sizes = Sizes { soft_cap, dtype, has_cut_tables, ..plain };
                assert_eq!(check(method, &rule, &rope, sizes), Body::Text("decode"));
            }
        }
    }
}

#[test]
fn chunks_are_chosen_by_scores_that_stay_on_the_chip() {
    if is_absent() {
        return;
    }
    // tokens of a chunk, chunks of a choice, tokens: one pass of candidates and two, few picks and more than a warp has lanes
    let sizes = [(2, 4, 60), (1, 9, 700), (4, 4, 100), (1, 40, 640), (16, 5, 200), (1, 90, 300)];
    let heads = [(4, 4), (4, 2), (8, 1), (7, 1), (3, 3), (6, 2)];
    let widths = [8, 64, 80, 192, 256, 512];
    for (at, (((w, n, n_tokens), heads), width)) in sizes.into_iter().zip(heads).zip(widths).enumerate() {
        let dtype = BOTH[at % 2];
        for method in [
            format!("long_heads:chunk_len={w},attention_len={}", w * n),
            format!("quest:page_size={w},token_budget={},prefill=chosen,dense_layers=0", w * n),
        ] {
            assert_eq!(check_choice(dtype, &method, heads, width, n_tokens), Body::Text("choose"), "{method}");
        }
    }
    BOTH.into_iter().for_each(check_equal_scores);
    let many = "quest:page_size=1,token_budget=300,prefill=chosen,dense_layers=0";
    assert_eq!(check_choice(DType::BF16, many, (2, 1), 16, 320), Body::Portable("more than 256 picks"));
}

#[test]
fn heads_rotate_sixteen_bytes_at_a_time() {
    if is_absent() {
        return;
    }
    for (at, (head_dim, rotary_dim)) in [(64, 64), (80, 32), (16, 16), (24, 16)].into_iter().enumerate() {
        let (_, rope) = rule("full", head_dim, rotary_dim);
        let dtype = BOTH[at % 2];
        let (cpu, on_gpu) = both_as([37, 3, head_dim], dtype);
        let table = |map| (rotary::<Flex>(&rope, map, 0..37, &FlexDevice), rotary::<Gpu>(&rope, map, 0..37, &gpu()));
        let (of_cpu, of_gpu) = table(&PosMap::identity().shift(3.5));
        let on_gpu = on_gpu.swap_dims(0, 1);
        assert_eq!(Gpu::body(&Operation::Rotate(&of_gpu, &on_gpu)), Body::Text("turn_rows"));
        let (got, expected) = (Gpu::rotate(&of_gpu, on_gpu), Flex::rotate(&of_cpu, cpu.swap_dims(0, 1)));
        assert_eq!(got.dtype(), dtype);
        close(&numbers(got), &numbers(expected), tolerance(dtype) / 4.0, &format!("{head_dim}, {rotary_dim}"));
    }
}

#[test]
fn a_device_checks_the_texts_that_it_takes() {
    if is_absent() {
        return;
    }
    on_every_card(|| {
        let checked = selfcheck::check::<Gpu>(&gpu());
        let wrong: Vec<_> = checked.iter().filter(|checked| !checked.is_right()).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        let texts: BTreeSet<_> = checked
            .iter()
            .filter_map(|checked| if let Body::Text(text) = checked.body { Some(text) } else { None })
            .collect();
        let expected: &[&str] = match gpu().capability {
            90 => &["choose", "decode", "mma", "turn_rows", "wgmma"],
            _ => &["choose", "decode", "mma", "turn_rows"],
        };
        assert_eq!(texts.into_iter().collect::<Vec<_>>(), expected);
        let on_tensor_cores = checked.iter().filter(|checked| checked.body == Body::Kernel(linear::ON_TENSOR_CORES));
        assert!(on_tensor_cores.count() > 0);
    });
}

#[test]
fn what_texts_do_not_take_says_why() {
    if is_absent() {
        return;
    }
    let body = |dims, sizes: Sizes| {
        let (rule, rope) = rule("full", dims, dims);
        check("full", &rule, &rope, Sizes { dims: (dims, dims), ..sizes })
    };
    let plain = Sizes { dtype: DType::BF16, ..Sizes::plain((2, 1), (0, 0), 40, 0) };
    assert_eq!(body(64, plain), Body::Text("wgmma"));
    assert_eq!(body(64, Sizes { first: 20, ..plain }), Body::Text("mma"));
    assert_eq!(body(64, Sizes { first: 39, ..plain }), Body::Text("decode"));
    assert_eq!(body(64, Sizes { dtype: DType::F32, ..plain }), Body::Portable("numbers of 32 bits"));
    let size = "heads of another size than 64, 80, 96, 128 or 256";
    assert_eq!(body(40, plain), Body::Portable(size));
}

#[test]
fn chosen_chunks_match_for_every_size_of_heads() {
    if is_absent() {
        return;
    }
    let heads = [(2, 1), (1, 1), (3, 1), (8, 2), (7, 1)];
    let dims = [(64, 64), (80, 32), (96, 96), (128, 128), (256, 256)];
    for (at, (heads, dims)) in heads.into_iter().zip(dims).enumerate() {
        for (method, first) in [
            ("long_heads:chunk_len=16,attention_len=64", 64),
            ("quest:page_size=8,token_budget=40,prefill=chosen,dense_layers=0", 110),
            ("long_heads:chunk_len=16,attention_len=64", 119),
        ] {
            let mut problem = Problem::of(BOTH[at % 2], method, heads, dims, 120, first);
            problem.soft_cap = (at % 2 == 1).then_some(3.0);
            problem.check(false, &format!("{method} from {first}, {heads:?} {dims:?}"));
        }
    }
}

#[test]
fn weights_of_sixteen_bits_are_multiplied_as_they_are() {
    if is_absent() {
        return;
    }
    for (storage, expected) in [(Storage::Bf16, DType::BF16), (Storage::F32, DType::F32), (Storage::Q8, DType::BF16)] {
        for [seq, d_in, d_out] in [[1, 64, 40], [8, 96, 33], [30, 64, 72], [9, 72, 40]] {
            let weights = numbers(both([d_out, d_in]).0);
            let bias = Some(numbers(both([d_out]).0));
            let rows = &|first: usize, out: &mut [f32]| out.copy_from_slice(&weights[first * d_in..][..out.len()]);
            let weights = Weights { d_out, d_in, rows, bias };
            let cpu = <Flex as Kernels>::Matrix::pack(&weights, storage, &FlexDevice);
            let matrix = <Gpu as Kernels>::Matrix::pack(&weights, storage, &gpu());
            let ((x, x_gpu), (residual, residual_gpu)) = (both([seq, d_in]), both([seq, d_out]));
            let what = format!("{storage}, {seq} x {d_in} x {d_out}");
            let [got] = Matrix::attention_inputs([&matrix], x_gpu.clone());
            assert_eq!(got.dtype(), expected, "{what}");
            close(&numbers(got), &numbers(cpu.product(x.clone())), tolerance(expected), &what);
            let sum = matrix.product_add(x_gpu, residual_gpu);
            assert_eq!(sum.dtype(), DType::F32, "{what}");
            close(&numbers(sum), &numbers(cpu.product_add(x, residual)), tolerance(expected), &what);
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
            on_every_card(|| assert!(matches!(check("written", &rule, &rope, sizes), Body::Text(_))));
        }
    }
}
