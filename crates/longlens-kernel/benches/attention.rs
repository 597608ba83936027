//! The attention kernels alone, beside the rate of a matrix product of the same tile shapes.
//!
//! `cargo bench -p longlens-kernel --bench attention -- full`; items are floating-point operations: `4 head_dim` for every
//! query and key that meet, `2 m n k` for a product.

use std::sync::Arc;

use burn_flex::{Flex, FlexDevice};
use burn_tensor::{Distribution, Tensor};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use longlens_core::methods::Method;
use longlens_core::plan::{HeadPlan, Prefill};
use longlens_core::rope::RopeScaling;
use longlens_core::spec::ModelSpec;
use longlens_core::written;
use longlens_kernel::Kernels;
use longlens_kernel::rotary::Rotary;
use longlens_kernel::score::Score;
use longlens_kernel::span_attention::{self, SpanAttention, SpanRotary};

fn main() {
    divan::main();
}

/// A layer's attention on random numbers.
struct Layer {
    rule: HeadPlan,
    rotary: Vec<SpanRotary<Flex>>,
    query: Tensor<Flex, 3>,
    score: Score,
    key: Tensor<Flex, 3>,
    value: Tensor<Flex, 3>,
    first: usize,
}

impl Layer {
    fn new(
        method: &str,
        (n_heads, n_kv_heads, head_dim): (usize, usize, usize),
        n_tokens: usize,
        first: usize,
    ) -> Self {
        let mut spec = ModelSpec::tiny(256);
        (spec.n_heads, spec.n_kv_heads, spec.head_dim, spec.rotary_dim) = (n_heads, n_kv_heads, head_dim, head_dim);
        let plan = match WRITTEN.iter().find(|(name, _)| *name == method) {
            Some((name, relation)) => {
                written::from_distance(name, name, n_tokens, |d| Ok::<_, ()>(relation(d))).unwrap()
            }
            None => Method::parse(method).unwrap().plan(&spec).unwrap(),
        };
        let rule = plan.of(0, 0).clone();
        let rope = RopeScaling::none().resolve(&spec).unwrap();
        let table = |map| {
            let table = rope.table(map, 0..n_tokens, Prefill { n_tokens }, n_tokens, |_| 1.0);
            Rotary::new(table, head_dim, &FlexDevice)
        };
        let rotary =
            rule.spans.iter().map(|span| SpanRotary { query: table(&span.query_pos), key: table(&span.key_pos) });
        let random = |heads, n| Tensor::random([heads, n, head_dim], Distribution::Normal(0.0, 1.0), &FlexDevice);
        Self {
            rotary: rotary.collect(),
            query: random(n_heads, n_tokens - first),
            score: Score::new(&spec, rule.query_scale),
            key: random(n_kv_heads, n_tokens),
            value: random(n_kv_heads, n_tokens),
            rule,
            first,
        }
    }

    fn problem(&self) -> SpanAttention<'_, Flex> {
        SpanAttention {
            query: self.query.clone(),
            score: self.score,
            key: self.key.clone(),
            value: self.value.clone(),
            first_query: self.first,
            spans: &self.rule.spans,
            rotary: &self.rotary,
        }
    }

    /// Floating-point operations of the two products.
    fn flops(&self) -> usize {
        let [n_heads, seq_q, head_dim] = self.query.dims();
        let keys = |i| self.rule.spans.iter().map(|span| span.reach.n_keys(i)).sum::<usize>();
        (self.first..self.first + seq_q).map(keys).sum::<usize>() * n_heads * head_dim * 4
    }
}

/// Query heads, key heads, head dimension: the embedded model, one layer of a 1B model, one head of a 7B model.
const SHAPES: [(usize, usize, usize); 3] = [(4, 4, 32), (8, 2, 64), (2, 2, 128)];
const METHODS: [&str; 5] = [
    "full",
    "self_extend:group_size=64,neighbor_window=64",
    "dual_chunk:chunk_size=192,local_window=32",
    "streaming:n_sink=4,window=252",
    "sliding_window:window=256",
];

#[divan::bench(args = SHAPES, consts = [1024, 4096, 8192], sample_count = 5, sample_size = 1)]
fn full<const N: usize>(bencher: Bencher<'_, '_>, shape: (usize, usize, usize)) {
    let layer = Layer::new("full", shape, N, 0);
    bencher.counter(ItemsCount::new(layer.flops())).bench_local(|| Flex::span_attention(black_box(&layer.problem())));
}

/// Relative position of a distance, if it is seen.
type Relation = fn(usize) -> Option<f64>;

/// Methods written out, by what they do with a distance.
const WRITTEN: [(&str, Relation); 5] = [
    ("written d", |d| Some(d as f64)),
    ("written min(d, 64)", |d| Some(d.min(64) as f64)),
    ("written floor(d / 4)", |d| Some((d / 4) as f64)),
    ("written d < 256", |d| (d < 256).then_some(d as f64)),
    ("written d < 64 or every 8th", |d| (d < 64 || d.is_multiple_of(8)).then_some(d as f64)),
];

/// Prefill and one token, beside the method of the catalog that the first of them equals.
#[divan::bench(args = ["full", WRITTEN[0].0, WRITTEN[1].0, WRITTEN[2].0, WRITTEN[3].0, WRITTEN[4].0], consts = [0, 4095], sample_count = 9, sample_size = 1)]
fn written_at_4k<const FIRST: usize>(bencher: Bencher<'_, '_>, method: &str) {
    let layer = Layer::new(method, SHAPES[1], 4096, FIRST);
    bencher.counter(ItemsCount::new(layer.flops())).bench_local(|| Flex::span_attention(black_box(&layer.problem())));
}

#[divan::bench(args = METHODS, sample_count = 7, sample_size = 1)]
fn methods_at_8k(bencher: Bencher<'_, '_>, method: &str) {
    let layer = Layer::new(method, SHAPES[0], 8192, 0);
    bencher.counter(ItemsCount::new(layer.flops())).bench_local(|| Flex::span_attention(black_box(&layer.problem())));
}

#[divan::bench(args = SHAPES, sample_count = 3, sample_size = 1)]
fn reference_at_4k(bencher: Bencher<'_, '_>, shape: (usize, usize, usize)) {
    let layer = Layer::new("full", shape, 4096, 0);
    bencher
        .counter(ItemsCount::new(layer.flops()))
        .bench_local(|| span_attention::reference(black_box(&layer.problem())));
}

/// One token after 16k others.
#[divan::bench(args = SHAPES, sample_count = 20)]
fn decode_at_16k(bencher: Bencher<'_, '_>, shape: (usize, usize, usize)) {
    let layer = Layer::new("full", shape, 16384, 16383);
    bencher.counter(ItemsCount::new(layer.flops())).bench_local(|| Flex::span_attention(black_box(&layer.problem())));
}

/// What a library reaches on products of a tile's shape, all threads at once, each with its own numbers in its own cache.
#[divan::bench(args = [32, 64, 128], sample_count = 5)]
fn gemm_of_tile_shapes(bencher: Bencher<'_, '_>, head_dim: usize) {
    const QUERIES: usize = 96;
    let keys = (1 << 14) / head_dim;
    let repeats = 200;
    let n_threads = rayon::current_num_threads();
    let flops = n_threads * repeats * 2 * (2 * QUERIES * keys * head_dim);
    let numbers: Arc<Vec<f32>> = Arc::new((0..keys * head_dim).map(|i| (i % 7) as f32 - 3.0).collect());
    bencher.counter(ItemsCount::new(flops)).bench_local(|| {
        rayon::broadcast(|_| {
            let (q, k, v) = (vec![1.0f32; QUERIES * head_dim], numbers.to_vec(), numbers.to_vec());
            let (mut s, mut o) = (vec![0.0f32; QUERIES * keys], vec![0.0f32; QUERIES * head_dim]);
            for _ in 0..repeats {
                product(&mut s, &q, &k, QUERIES, keys, head_dim, (1, head_dim));
                product(&mut o, &s, &v, QUERIES, head_dim, keys, (head_dim, 1));
            }
            black_box(o[0])
        })
    });
}

/// `c = a b` on one thread; `b` has these row and column strides.
fn product(c: &mut [f32], a: &[f32], b: &[f32], m: usize, n: usize, k: usize, (b_row, b_column): (usize, usize)) {
    // SAFETY: the matrices hold m * n, m * k and k * n numbers at these strides
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            n as isize,
            false,
            a.as_ptr(),
            1,
            k as isize,
            b.as_ptr(),
            b_column as isize,
            b_row as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
