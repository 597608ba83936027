//! Span attention.

use std::convert::Infallible;

use burn_flex::{Flex, FlexDevice};
use burn_tensor::DType;
use longlens_core::plan::HeadPlan;
use longlens_core::rope::Rope;
use longlens_core::written;
use longlens_kernel::pooled::Pooled;
use longlens_kernel::score::Score;
use longlens_kernel::span_attention::{SpanAttention, SpanRotary};
use longlens_kernel::{Attended, Body, Kernels, Operation};

use crate::common::{both_as, cells_of, close, numbers, rotary, rule, same_cells, tolerance};
use crate::{Gpu, gpu, is_absent, step};

/// Numbers of heads, tokens and dimensions.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub heads: (usize, usize),
    pub dims: (usize, usize),
    pub n_tokens: usize,
    pub first: usize,
    pub soft_cap: Option<f64>,
    pub dtype: DType,
    /// Whether tables are parts of longer ones, which do not say how their rows follow from one another.
    pub has_cut_tables: bool,
}

impl Sizes {
    /// Of f32, without a cap.
    pub fn plain(heads: (usize, usize), dims: (usize, usize), n_tokens: usize, first: usize) -> Self {
        Self { heads, dims, n_tokens, first, soft_cap: None, dtype: DType::F32, has_cut_tables: false }
    }
}

/// Compares attention over the spans of a rule, and says what computes it on the device.
pub fn check(name: &str, rule: &HeadPlan, rope: &Rope, sizes: Sizes) -> Body {
    let Sizes { heads: (n_heads, n_kv_heads), dims: (head_dim, _), n_tokens, first, soft_cap, dtype, .. } = sizes;
    let query = both_as([n_heads, n_tokens - first, head_dim], dtype);
    // a cache has room for more tokens
    let (key, value) =
        (both_as([n_kv_heads, n_tokens + 3, head_dim], dtype), both_as([n_kv_heads, n_tokens + 3, head_dim], dtype));
    let score = Score { scale: (head_dim as f64).sqrt().recip(), query_scale: rule.query_scale, soft_cap };
    let (expected, expected_pools, _) =
        attended::<Flex>(rule, rope, score, sizes, [query.0, key.0, value.0], &FlexDevice);
    let (got, pools, body) = attended::<Gpu>(rule, rope, score, sizes, [query.1, key.1, value.1], &gpu());
    let what = format!("{name}, {sizes:?}");
    for (got, expected) in pools.iter().zip(&expected_pools).filter(|_| dtype == DType::F32) {
        same_cells(got, expected, &what);
    }
    close(&numbers(got.out), &numbers(expected.out), tolerance(dtype), &what);
    close(&numbers(got.lse), &numbers(expected.lse), tolerance(dtype), &format!("{what}, log-sum-exp"));
    body
}

fn attended<B: Kernels>(
    rule: &HeadPlan,
    rope: &Rope,
    score: Score,
    Sizes { n_tokens, first, has_cut_tables, .. }: Sizes,
    [query, key, value]: [burn_tensor::Tensor<B, 3>; 3],
    device: &B::Device,
) -> (Attended<B>, Vec<Pooled>, Body) {
    let [n_kv_heads, _, head_dim] = key.dims();
    let table = |map| {
        let table = rotary::<B>(rope, map, 0..n_tokens, device);
        if has_cut_tables { table.rows(0, n_tokens) } else { table }
    };
    let tables: Vec<_> =
        rule.spans.iter().map(|span| SpanRotary { query: table(&span.query_pos), key: table(&span.key_pos) }).collect();
    let problem = SpanAttention {
        query,
        score,
        key: key.slice([0..n_kv_heads, 0..n_tokens, 0..head_dim]),
        value: value.slice([0..n_kv_heads, 0..n_tokens, 0..head_dim]),
        first_query: first,
        spans: &rule.spans,
        rotary: &tables,
    };
    let body = B::body(&Operation::SpanAttention(&problem));
    assert!(!body.is_reference());
    let attended = B::span_attention(&problem);
    // maps of the last head of small problems
    let cells = if head_dim <= 32 { cells_of(n_tokens) } else { Vec::new() };
    let last = problem.query.dims()[0] - 1;
    let pools = cells.iter().map(|cells| B::pool_spans(&problem, last, &attended.lse, cells)).collect();
    (attended, pools, body)
}

#[test]
fn plans_of_methods_match_at_every_length() {
    if is_absent() {
        return;
    }
    let methods = [
        "full",
        "sliding_window:window=9",
        "streaming:n_sink=3,window=20",
        "self_extend:group_size=4,neighbor_window=16",
        "dual_chunk:chunk_size=24,local_window=5",
    ];
    for (at, method) in methods.into_iter().enumerate() {
        let (rule, rope) = rule(method, 32, 32);
        let lengths = [(1, 0), (37, 0), (130, 0), (100, 99), (150, 146), (200, 150)];
        for (n_tokens, first) in lengths.into_iter().skip(at % step()).step_by(step()) {
            let sizes = Sizes::plain((4, 2), (32, 32), n_tokens, first);
            check(method, &rule, &rope, sizes);
        }
    }
}

#[test]
fn every_shape_of_heads_matches() {
    if is_absent() {
        return;
    }
    let method = "dual_chunk:chunk_size=24,local_window=5";
    for (at, heads) in [(1, 1), (8, 2), (3, 1), (7, 1), (6, 3)].into_iter().enumerate() {
        let dims = [(64, 64), (80, 32), (96, 96), (128, 128), (256, 256), (20, 12), (4, 2)];
        for (head_dim, rotary_dim) in dims.into_iter().skip(at % step()).step_by(step()) {
            let (rule, rope) = rule(method, head_dim, rotary_dim);
            for first in [0, 58] {
                let soft_cap = (first > 0).then_some(3.0);
                check(
                    method,
                    &rule,
                    &rope,
                    Sizes { soft_cap, ..Sizes::plain(heads, (head_dim, rotary_dim), 60, first) },
                );
            }
        }
    }
}

#[test]
fn written_plans_with_holes_match() {
    if is_absent() {
        return;
    }
    let (_, rope) = rule("full", 16, 16);
    for n_tokens in [1, 40, 140] {
        let relation = |i: usize, j: usize| {
            let far = i - j >= 30;
            ((i + j) % 3 != 1 || i == j)
                .then(|| if far { (i / 4) as f64 - (j / 4) as f64 + 22.5 } else { (i - j) as f64 })
        };
        let relation = |i, j| Ok::<_, Infallible>(relation(i, j));
        let rule = written::from_relation("test", "test", n_tokens, relation).unwrap().of(0, 0).clone();
        for first in [0, n_tokens - 1] {
            check("written", &rule, &rope, Sizes::plain((4, 2), (16, 16), n_tokens, first));
        }
    }
}
