//! Every operation against its definition, written out in f64: one query, one key at a time.

use std::ops::Range;

use burn_flex::{Flex, FlexDevice};
use burn_tensor::{Tensor, TensorData};
use longlens_core::methods::Method;
use longlens_core::plan::{HeadPlan, PosMap, Prefill};
use longlens_core::rope::{Rope, RopeScaling};
use longlens_core::spec::ModelSpec;
use longlens_kernel::cpu::simd;
use longlens_kernel::pooled::{Cells, Pooled};
use longlens_kernel::rotary::Rotary;

mod choices;
mod chunks;
mod spans;

type B = Flex;

/// Largest difference allowed; numbers are of order 1.
const TOLERANCE: f64 = 1e-5;

/// A layer's raw queries, keys and values.
struct Problem {
    spec: ModelSpec,
    rule: HeadPlan,
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

    /// Only the first `rotary_dim` dimensions rotate.
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
        // the last layer's: methods that leave some layers alone begin with those
        let rule = Method::parse(method).unwrap().plan(&spec).unwrap().of(spec.n_layers - 1, 0).clone();
        let rope = RopeScaling::parse(rope).unwrap().resolve(&spec).unwrap();
        let numbers = |seed: u64, heads: usize, n: usize| noise(seed, heads * n * head_dim);
        let query = numbers(1, heads.0, n_tokens - first);
        let (key, value) = (numbers(2, heads.1, n_tokens), numbers(3, heads.1, n_tokens));
        Self { spec, rule, rope, query, key, value, n_tokens, first }
    }

    fn prompt(&self) -> Prefill {
        Prefill { n_tokens: self.n_tokens }
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

    /// `q_i · R(relative) k_j / sqrt(d)`, capped if the model has a cap.
    fn score(&self, head: usize, i: usize, j: usize, relative: f64) -> f64 {
        let (q, k) = (self.row(&self.query, head, i - self.first), self.row(&self.key, head / self.spec.n_rep(), j));
        let product = rotated(q, &self.rope, relative).iter().zip(k).map(|(q, k)| q * f64::from(*k)).sum::<f64>()
            * self.rule.query_scale.at(i)
            / (q.len() as f64).sqrt();
        self.spec.soft_cap.map_or(product, |cap| cap * (product / cap).tanh())
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
fn rotated(x: &[f32], rope: &Rope, position: f64) -> Vec<f64> {
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

/// Cells of all tokens, that fit tiles and that do not, and of windows inside, across the diagonal and past the last token.
fn cells_of(n: usize) -> Vec<Cells> {
    let cells = |queries, keys, query_stride, key_stride| Cells { queries, keys, query_stride, key_stride };
    vec![
        cells(0..n, 0..n, 1, 3),
        cells(0..n, 0..n, 5, 16),
        cells(0..n, 0..n, 64, 64),
        cells(n / 3..n - n / 4, n / 5..n / 2, 7, 7),
        cells(n / 2..n + 9, n / 2..n + 9, 1, 1),
        cells(n / 4..n, 16..n.max(16), 32, 16),
        cells(0..n / 2, 0..40, 16, 32),
        cells(n - 1..n + 4, 0..n, 2, 48),
    ]
}

/// Dense weights `[queries, n_keys]` of the queries from `first` on, cell by cell.
fn pooled_by_hand(cells: &Cells, first: usize, n_keys: usize, weights: &[f32]) -> Pooled {
    let n_queries = weights.len() / n_keys;
    let start = first.max(cells.queries.start);
    let queries = start..(first + n_queries).min(cells.queries.end).max(start);
    let row = |query: usize| (query - cells.queries.start) / cells.query_stride;
    let rows = if queries.is_empty() { 0..0 } else { row(queries.start)..row(queries.end - 1) + 1 };
    let n_columns = cells.keys.len().div_ceil(cells.key_stride);
    let mut sum = vec![0.0; rows.len() * n_columns];
    let mut max = sum.clone();
    for query in queries.clone() {
        for key in cells.keys.start..cells.keys.end.min(n_keys) {
            let cell = (row(query) - rows.start) * n_columns + (key - cells.keys.start) / cells.key_stride;
            let weight = weights[(query - first) * n_keys + key];
            sum[cell] += weight;
            max[cell] = f32::max(max[cell], weight);
        }
    }
    Pooled { queries, rows, n_columns, sum, max }
}

fn same_cells(got: &Pooled, expected: &Pooled, what: &str) {
    let shape = |pooled: &Pooled| (pooled.queries.clone(), pooled.rows.clone(), pooled.n_columns, pooled.sum.len());
    assert_eq!(shape(got), shape(expected), "{what}");
    for (got, expected) in got.sum.iter().chain(&got.max).zip(expected.sum.iter().chain(&expected.max)) {
        // a sum of many weights is held to the same relative error as one
        close(got / expected.max(1.0), f64::from(expected / expected.max(1.0)), what);
    }
}
