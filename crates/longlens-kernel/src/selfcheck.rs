//! A small problem of every operation on a device, beside the processor's kernels: what `longlens doctor` shows. Where the device attends
//! in 16 bits, attention is checked in them too, with the sizes of heads that texts for tensor cores take.

use burn_flex::{Flex, FlexDevice};
use burn_tensor::backend::Backend;
use burn_tensor::{DType, Tensor, TensorData};
use longlens_core::plan::{
    ChunkChoice, ChunkScore, PosMap, Prefill, QueryRule, QueryScale, Reach, SlotPositions, Span,
};
use longlens_core::rope::{Rope, RopeScaling};
use longlens_core::spec::ModelSpec;

use crate::chunk_attention::{ChunkAttention, key_pos};
use crate::chunk_scores::ChunkScores;
use crate::chunk_summary::ChunkSummary;
use crate::experts::Routes;
use crate::gated::Activation;
use crate::key_bounds::KeyBounds;
use crate::linear::{Matrix, Storage, Weights};
use crate::pooled::Cells;
use crate::rotary::Rotary;
use crate::score::Score;
use crate::span_attention::{SpanAttention, SpanRotary};
use crate::{Attended, Body, Kernels, Operation};

/// How far an operation of a device is from the processor's.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// What was computed.
    pub operation: String,
    /// What computed it.
    pub body: Body,
    /// Largest difference, as a part of the largest number.
    pub off: f32,
    /// What it may be.
    pub limit: f32,
}

impl Checked {
    /// Whether the device computes this as it should.
    pub fn is_right(&self) -> bool {
        self.off <= self.limit
    }
}

const HEADS: usize = 4;
const KEY_HEADS: usize = 2;
const TOKENS: usize = 96;
/// Tokens of a chunk.
const CHUNK: usize = 8;

/// Checks every operation of a device; a device that fails in one panics.
pub fn check<B: Kernels>(device: &B::Device) -> Vec<Checked> {
    let has_sixteen_bits = attends_in_sixteen_bits::<B>(device);
    let cpu = of_backend::<Flex>(&FlexDevice, has_sixteen_bits);
    let got = of_backend::<B>(device, has_sixteen_bits);
    let pairs = cpu.into_iter().zip(got);
    let checked = pairs.map(|(expected, got)| Checked {
        off: difference(&got.numbers, &expected.numbers),
        operation: got.operation,
        body: got.body,
        limit: got.limit,
    });
    checked.collect()
}

fn attends_in_sixteen_bits<B: Kernels>(device: &B::Device) -> bool {
    B::attention_bytes(device, false) < size_of::<f32>()
}

fn difference(got: &[f32], expected: &[f32]) -> f32 {
    if got.len() != expected.len() || got.iter().any(|x| !x.is_finite()) {
        return f32::INFINITY;
    }
    let largest = expected.iter().fold(f32::MIN_POSITIVE, |most, x| most.max(x.abs()));
    got.iter().zip(expected).fold(0.0f32, |most, (a, b)| most.max((a - b).abs())) / largest
}

/// What one operation gave.
struct Result {
    operation: String,
    body: Body,
    numbers: Vec<f32>,
    limit: f32,
}

fn numbers<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().into_vec().expect("converted to f32")
}

/// Numbers in -1 .. 1 (SplitMix64).
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

/// Where problems are computed, and with what numbers.
struct On<'a, B: Kernels> {
    device: &'a B::Device,
    /// Whether numbers of attention have 16 bits; the processor then gets the same ones.
    in_sixteen_bits: bool,
}

impl<B: Kernels> On<'_, B> {
    fn head_dim(&self) -> usize {
        if self.in_sixteen_bits { 128 } else { 32 }
    }

    fn tensor<const D: usize>(&self, seed: u64, shape: [usize; D]) -> Tensor<B, D> {
        let data = TensorData::new(noise(seed, shape.iter().product()), shape);
        if !self.in_sixteen_bits {
            return Tensor::from_data(data, self.device);
        }
        let data = data.convert_dtype(DType::BF16);
        if attends_in_sixteen_bits::<B>(self.device) {
            Tensor::from_data(data, (self.device, DType::BF16))
        } else {
            Tensor::from_data(data.convert::<f32>(), self.device)
        }
    }

    /// Plain frequencies.
    fn rope(&self) -> Rope {
        let mut spec = ModelSpec::tiny(64);
        (spec.head_dim, spec.rotary_dim) = (self.head_dim(), self.head_dim());
        RopeScaling::none().resolve(&spec).expect("plain frequencies")
    }

    fn rotary(&self, map: &PosMap) -> Rotary<B> {
        let rope = self.rope();
        let table = rope.table(map, 0..TOKENS, Prefill { n_tokens: TOKENS }, TOKENS, |_| 1.0);
        Rotary::new(table, rope.dim(), self.device)
    }

    /// What an operation gave, which may be off by `limit` where its numbers have 32 bits.
    fn result(&self, what: &str, operation: &Operation<'_, B>, limit: f32, numbers: Vec<f32>) -> Result {
        let (bits, limit) = if self.in_sixteen_bits { (", bf16", limit.max(ROUNDED)) } else { ("", limit) };
        Result { operation: format!("{}{what}{bits}", operation.name()), body: B::body(operation), numbers, limit }
    }
}

/// How far numbers may be off that are rounded to bf16 on the way, as a part of the largest.
const ROUNDED: f32 = 2e-2;

/// The own chunk of 24 tokens, the one before and all earlier ones, each with positions of its own.
fn three_spans() -> [Span; 3] {
    let (in_chunk, far) = (PosMap::identity().modulo(24), PosMap::identity().modulo(24).shift(24.0));
    [
        Span::new("own", Reach::SameChunk(24), in_chunk.clone(), in_chunk.clone()),
        Span::new("before", Reach::PreviousChunk(24), far, in_chunk.clone()),
        Span::new("earlier", Reach::EarlierChunks(24), PosMap::constant(47.0), in_chunk),
    ]
}

/// Four slots: the first chunk, the newest and the own one, and one picked by its score.
fn choice() -> ChunkChoice {
    ChunkChoice {
        chunk_len: CHUNK,
        n_slots: 4,
        n_first: 1,
        n_newest: 1,
        query_block: 1,
        score: ChunkScore::Summary,
        slots: SlotPositions::Packed,
        in_prompt: QueryRule::plain(4 * CHUNK),
        generated: QueryRule::plain(4 * CHUNK),
    }
}

fn of_backend<B: Kernels>(device: &B::Device, has_sixteen_bits: bool) -> Vec<Result> {
    let on = On::<B> { device, in_sixteen_bits: false };
    let mut results = rows(&on);
    results.push(rotation(&on));
    results.extend(products(&on, has_sixteen_bits));
    results.push(experts(&on));
    results.extend(spans(&on));
    results.extend(chunks(&on));
    if has_sixteen_bits {
        let on = On::<B> { device, in_sixteen_bits: true };
        results.push(rotation(&on));
        results.extend(spans(&on));
        results.extend(chunks(&on));
    }
    results
}

/// Norms, activations, cache.
fn rows<B: Kernels>(on: &On<'_, B>) -> Vec<Result> {
    let x = || on.tensor::<2>(1, [37, 200]);
    let (gamma, beta) = (on.tensor::<1>(2, [200]), on.tensor::<1>(3, [200]));
    let heads = || on.tensor::<3>(4, [TOKENS, HEADS, on.head_dim()]).swap_dims(0, 1);
    let store = B::store([HEADS, TOKENS + 4, on.head_dim()], &heads());
    let norms = [
        on.result("", &Operation::RmsNorm, 1e-6, numbers(<B as Kernels>::rms_norm(x(), &gamma, 1e-5))),
        on.result("", &Operation::LayerNorm, 3e-6, numbers(<B as Kernels>::layer_norm(x(), &gamma, Some(&beta), 1e-5))),
    ];
    let others = [
        on.result("", &Operation::Activated(Activation::Gelu), 1e-6, numbers(B::activated(Activation::Gelu, x()))),
        on.result("", &Operation::Gated(Activation::Silu), 1e-6, numbers(B::gated(Activation::Silu, x(), x()))),
        on.result("", &Operation::WriteRows, 0.0, numbers(B::write_rows(store, 3, heads()))),
    ];
    norms.into_iter().chain(others).collect()
}

fn rotation<B: Kernels>(on: &On<'_, B>) -> Result {
    let rotary = on.rotary(&PosMap::identity());
    let heads = on.tensor::<3>(4, [TOKENS, HEADS, on.head_dim()]).swap_dims(0, 1);
    let operation = Operation::Rotate(&rotary, &heads);
    on.result("", &operation, 1e-6, numbers(B::rotate(&rotary, heads.clone())))
}

const D_OUT: usize = 72;
const D_IN: usize = 96;
/// Rows of a long prompt, as far as products tell one from a short one.
const MANY_ROWS: usize = 130;

/// Products with weights in every storage that the device keeps, of few rows and of many.
fn products<B: Kernels>(on: &On<'_, B>, has_tensor_cores: bool) -> Vec<Result> {
    let mut results = Vec::new();
    for storage in Storage::ALL.into_iter().filter(|storage| B::Matrix::check(*storage).is_ok()) {
        let matrix = matrix::<B>(on, 5, storage);
        let product = |n_rows: usize| numbers(matrix.product(on.tensor(7, [n_rows, D_IN])));
        let few = [product(3), numbers(matrix.rows(&[5, 71, 0]))].concat();
        let of = |what: &str, n_rows: usize, limit: f32, numbers: Vec<f32>| Result {
            operation: format!("products{what}, {storage}"),
            ..on.result("", &Operation::Product(&matrix, n_rows), limit, numbers)
        };
        results.push(of("", 3, 1e-5, few));
        // both are rounded to bf16 where they meet on tensor cores
        let limit = if has_tensor_cores && storage != Storage::F32 { ROUNDED } else { 1e-5 };
        results.push(of(" of many rows", MANY_ROWS, limit, product(MANY_ROWS)));
    }
    results
}

fn matrix<B: Kernels>(on: &On<'_, B>, seed: u64, storage: Storage) -> B::Matrix {
    let all = noise(seed, D_OUT * D_IN);
    let rows = &|first: usize, out: &mut [f32]| out.copy_from_slice(&all[first * D_IN..][..out.len()]);
    B::Matrix::pack(&Weights { d_out: D_OUT, d_in: D_IN, rows, bias: Some(noise(6, D_OUT)) }, storage, on.device)
}

/// Two of three experts for each row.
fn experts<B: Kernels>(on: &On<'_, B>) -> Result {
    let experts = [30, 31, 32].map(|seed| matrix::<B>(on, seed, Storage::F32));
    let (chosen, weights) = ([2, 0, 1, 2, 0, 2, 1, 0], [0.6, 0.4, 0.9, 0.1, 0.5, 0.5, 0.7, 0.3]);
    let routes = Routes::new(&chosen, &weights, 2);
    let y = B::expert_products(&experts, B::expert_rows(on.tensor(33, [4, D_IN]), &routes), &routes);
    let sum = B::expert_sum(y.clone(), &routes, on.tensor(34, [4, D_OUT]));
    on.result("", &Operation::Experts(&experts), 1e-5, [numbers(y), numbers(sum)].concat())
}

/// Span attention of a prompt, of its last queries and of a token, and a map.
fn spans<B: Kernels>(on: &On<'_, B>) -> Vec<Result> {
    let spans = three_spans();
    let tables =
        spans.iter().map(|span| SpanRotary { query: on.rotary(&span.query_pos), key: on.rotary(&span.key_pos) });
    let tables: Vec<_> = tables.collect();
    let mut results = Vec::new();
    for (first, what) in [(0, ", a prompt"), (TOKENS - 20, ", some queries"), (TOKENS - 1, ", a token")] {
        let problem = SpanAttention {
            query: on.tensor(10, [HEADS, TOKENS - first, on.head_dim()]),
            score: Score { scale: 0.4, query_scale: QueryScale::Off, soft_cap: None },
            key: on.tensor(11, [KEY_HEADS, TOKENS, on.head_dim()]),
            value: on.tensor(12, [KEY_HEADS, TOKENS, on.head_dim()]),
            first_query: first,
            spans: &spans,
            rotary: &tables,
        };
        let Attended { out, lse } = B::span_attention(&problem);
        if first == 0 {
            let cells = Cells { queries: 0..TOKENS, keys: 0..TOKENS, query_stride: 7, key_stride: 5 };
            let pooled = B::pool_spans(&problem, 1, &lse, &cells);
            results.push(on.result("", &Operation::PoolSpans(&problem), 1e-5, [pooled.sum, pooled.max].concat()));
        }
        let got = [numbers(out), numbers(lse)].concat();
        results.push(on.result(what, &Operation::SpanAttention(&problem), 1e-5, got));
    }
    results
}

/// What represents chunks, a choice of them, and attention over it.
fn chunks<B: Kernels>(on: &On<'_, B>) -> Vec<Result> {
    let choice = choice();
    let (prompt, first) = (Prefill { n_tokens: TOKENS }, 4 * CHUNK);
    let offsets = on.rotary(&PosMap::identity().modulo(CHUNK));
    let whole = |seed: u64, heads: usize| on.tensor::<3>(seed, [heads, TOKENS, on.head_dim()]);
    let (query, key, value) = (whole(20, HEADS), whole(21, KEY_HEADS), whole(22, KEY_HEADS));
    let summary = ChunkSummary {
        query: query.clone(),
        key: key.clone(),
        value: value.clone(),
        rotary: offsets.clone(),
        chunk_len: CHUNK,
    };
    let summaries = B::chunk_summary(&summary);
    let bounds = KeyBounds { key: key.clone(), rotary: offsets, chunk_len: CHUNK };
    // well apart, so that rounding changes no choice
    let scores = ChunkScores {
        query: on.tensor(23, [HEADS, TOKENS - first, on.head_dim()]),
        chunks: on.tensor(24, [HEADS, TOKENS / CHUNK, on.head_dim()]),
        choice,
        prompt,
        first_query: first,
        n_chunks: TOKENS / CHUNK,
        forced: Vec::new(),
    };
    let chosen = B::choose_chunks(&scores);
    let numbers_of_chosen: Vec<f32> =
        chosen.to_data().convert::<i32>().iter::<i32>().map(|chunk| chunk as f32).collect();
    // row 0 of the queries' table is position -1
    let positions = PosMap::identity().shift(-1.0);
    let problem = ChunkAttention {
        query: query.slice([0..HEADS, first..TOKENS, 0..on.head_dim()]),
        score: Score { scale: 0.4, query_scale: QueryScale::Off, soft_cap: None },
        key,
        value,
        choice,
        prompt,
        first_query: first,
        chunks: chosen,
        key_rotary: &on.rotary(&key_pos(&choice)),
        query_rotary: &on.rotary(&positions),
    };
    let mut keys = B::ChunkKeys::default();
    let Attended { out, lse } = B::chunk_attention(&problem, &mut keys);
    let cells = Cells { queries: 0..TOKENS, keys: 0..TOKENS, query_stride: 7, key_stride: 5 };
    let pooled = B::pool_chunks(&problem, &mut keys, 1, &lse, &cells);
    let attended = [numbers(out), numbers(lse)].concat();
    vec![
        on.result("", &Operation::ChunkSummary(&summary), 1e-5, numbers(summaries)),
        on.result("", &Operation::KeyBounds(&bounds), 1e-6, numbers(B::key_bounds(&bounds))),
        Result {
            limit: 0.0, // chunks are whole numbers
            ..on.result("", &Operation::ChunkScores(&scores), 0.0, numbers_of_chosen)
        },
        on.result("", &Operation::ChunkAttention(&problem), 1e-5, attended),
        on.result(", chosen chunks", &Operation::PoolChunks(&problem), 1e-5, [pooled.sum, pooled.max].concat()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_no_way_off_itself() {
        for checked in check::<Flex>(&FlexDevice) {
            assert!(checked.is_right() && checked.off <= 0.0, "{checked:?}");
        }
    }

    #[test]
    fn a_wrong_number_is_seen() {
        assert!((difference(&[1.0, 2.0], &[1.0, 4.0]) - 0.5).abs() < 1e-6);
        assert!(difference(&[1.0, f32::NAN], &[1.0, 4.0]).is_infinite());
        assert!(difference(&[1.0], &[1.0, 4.0]).is_infinite());
    }
}
