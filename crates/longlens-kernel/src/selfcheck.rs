//! A small problem of every operation on a device, beside the processor's kernels: what `longlens doctor` shows.

use burn_flex::{Flex, FlexDevice};
use burn_tensor::backend::Backend;
use burn_tensor::{Tensor, TensorData};
use longlens_core::plan::{
    ChunkChoice, ChunkScore, PosMap, Prefill, QueryRule, QueryScale, Reach, SlotPositions, Span,
};
use longlens_core::rope::{Rope, RopeScaling};
use longlens_core::spec::ModelSpec;

use crate::chunk_attention::{ChunkAttention, key_pos};
use crate::chunk_scores::ChunkScores;
use crate::chunk_summary::ChunkSummary;
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
const HEAD_DIM: usize = 32;
const TOKENS: usize = 96;
/// Tokens of a chunk.
const CHUNK: usize = 8;

/// Checks every operation of a device; a device that fails in one panics.
pub fn check<B: Kernels>(device: &B::Device) -> Vec<Checked> {
    let cpu = of_backend::<Flex>(&FlexDevice);
    let got = of_backend::<B>(device);
    let pairs = cpu.into_iter().zip(got);
    let checked = pairs.map(|(expected, got)| Checked {
        off: difference(&got.numbers, &expected.numbers),
        operation: got.operation,
        body: got.body,
        limit: got.limit,
    });
    checked.collect()
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

fn tensor<B: Backend, const D: usize>(seed: u64, shape: [usize; D], device: &B::Device) -> Tensor<B, D> {
    Tensor::from_data(TensorData::new(noise(seed, shape.iter().product()), shape), device)
}

/// Plain frequencies.
fn rope() -> Rope {
    let mut spec = ModelSpec::tiny(64);
    (spec.head_dim, spec.rotary_dim) = (HEAD_DIM, HEAD_DIM);
    RopeScaling::none().resolve(&spec).expect("plain frequencies")
}

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
        score: ChunkScore::Summary,
        slots: SlotPositions::Packed,
        in_prompt: QueryRule::plain(4 * CHUNK),
        generated: QueryRule::plain(4 * CHUNK),
    }
}

fn rotary<B: Kernels>(rope: &Rope, map: &PosMap, device: &B::Device) -> Rotary<B> {
    Rotary::new(rope.table(map, 0..TOKENS, Prefill { n_tokens: TOKENS }, TOKENS, |_| 1.0), rope.dim(), device)
}

fn of_backend<B: Kernels>(device: &B::Device) -> Vec<Result> {
    let mut results = rows::<B>(device);
    results.extend(products::<B>(device));
    results.extend(spans::<B>(device));
    results.extend(chunks::<B>(device));
    results
}

fn result<B: Kernels>(operation: &Operation<'_, B>, limit: f32, numbers: Vec<f32>) -> Result {
    Result { operation: operation.name().into(), body: B::body(operation), numbers, limit }
}

/// Norms, activations, rotation, cache.
fn rows<B: Kernels>(device: &B::Device) -> Vec<Result> {
    let x = || tensor::<B, 2>(1, [37, 200], device);
    let (gamma, beta) = (tensor::<B, 1>(2, [200], device), tensor::<B, 1>(3, [200], device));
    let rope = rope();
    let rotary = rotary::<B>(&rope, &PosMap::identity(), device);
    let heads = || tensor::<B, 3>(4, [TOKENS, HEADS, HEAD_DIM], device).swap_dims(0, 1);
    let store = B::store([HEADS, TOKENS + 4, HEAD_DIM], &heads());
    vec![
        result::<B>(&Operation::RmsNorm, 1e-6, numbers(<B as Kernels>::rms_norm(x(), &gamma, 1e-5))),
        result::<B>(&Operation::LayerNorm, 3e-6, numbers(<B as Kernels>::layer_norm(x(), &gamma, Some(&beta), 1e-5))),
        result::<B>(&Operation::Activated(Activation::Gelu), 1e-6, numbers(B::activated(Activation::Gelu, x()))),
        result::<B>(&Operation::Gated(Activation::Silu), 1e-6, numbers(B::gated(Activation::Silu, x(), x()))),
        result(&Operation::Rotate(&rotary, &heads()), 1e-6, numbers(B::rotate(&rotary, heads()))),
        result::<B>(&Operation::WriteRows, 0.0, numbers(B::write_rows(store, 3, heads()))),
    ]
}

/// Products with weights in every storage that the device keeps, of few rows and of many.
fn products<B: Kernels>(device: &B::Device) -> Vec<Result> {
    let [d_out, d_in] = [72, 96];
    let mut results = Vec::new();
    for storage in Storage::ALL.into_iter().filter(|storage| B::Matrix::check(*storage).is_ok()) {
        let all = noise(5, d_out * d_in);
        let rows = &|first: usize, out: &mut [f32]| out.copy_from_slice(&all[first * d_in..][..out.len()]);
        let matrix = B::Matrix::pack(&Weights { d_out, d_in, rows, bias: Some(noise(6, d_out)) }, storage, device);
        let mut got = numbers(matrix.product(tensor(7, [3, d_in], device)));
        got.extend(numbers(matrix.product(tensor(8, [70, d_in], device))));
        got.extend(numbers(matrix.rows(&[5, 71, 0])));
        // rows are multiplied by tensor cores where there are any, which round them to 16 bits
        let limit = if storage == Storage::Bf16 { 1e-2 } else { 1e-5 };
        let operation = Operation::<B>::Linear(&matrix);
        results.push(Result { operation: format!("products, {storage}"), ..result(&operation, limit, got) });
    }
    results
}

/// Span attention of a prompt and of a token, and a map.
fn spans<B: Kernels>(device: &B::Device) -> Vec<Result> {
    let (spans, rope) = (three_spans(), rope());
    let table = |map: &PosMap| rotary::<B>(&rope, map, device);
    let tables = spans.iter().map(|span| SpanRotary { query: table(&span.query_pos), key: table(&span.key_pos) });
    let tables: Vec<_> = tables.collect();
    let mut results = Vec::new();
    for first in [0, TOKENS - 1] {
        let problem = SpanAttention {
            query: tensor(10, [HEADS, TOKENS - first, HEAD_DIM], device),
            score: Score { scale: 0.4, query_scale: QueryScale::Off, soft_cap: None },
            key: tensor(11, [KEY_HEADS, TOKENS, HEAD_DIM], device),
            value: tensor(12, [KEY_HEADS, TOKENS, HEAD_DIM], device),
            first_query: first,
            spans: &spans,
            rotary: &tables,
        };
        let Attended { out, lse } = B::span_attention(&problem);
        if first == 0 {
            let cells = Cells { queries: 0..TOKENS, keys: 0..TOKENS, query_stride: 7, key_stride: 5 };
            let pooled = B::pool_spans(&problem, 1, &lse, &cells);
            results.push(result(&Operation::PoolSpans(&problem), 1e-5, [pooled.sum, pooled.max].concat()));
        }
        let name = if first == 0 { "span attention, a prompt" } else { "span attention, a token" };
        let got = [numbers(out), numbers(lse)].concat();
        results.push(Result { operation: name.into(), ..result(&Operation::SpanAttention(&problem), 1e-5, got) });
    }
    results
}

/// What represents chunks, a choice of them, and attention over it.
fn chunks<B: Kernels>(device: &B::Device) -> Vec<Result> {
    let (choice, rope) = (choice(), rope());
    let (prompt, first) = (Prefill { n_tokens: TOKENS }, 4 * CHUNK);
    let offsets = rotary::<B>(&rope, &PosMap::identity().modulo(CHUNK), device);
    let whole = |seed: u64, heads: usize| tensor::<B, 3>(seed, [heads, TOKENS, HEAD_DIM], device);
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
        query: tensor(23, [HEADS, TOKENS - first, HEAD_DIM], device),
        chunks: tensor(24, [HEADS, TOKENS / CHUNK, HEAD_DIM], device),
        choice,
        prompt,
        first_query: first,
        n_chunks: TOKENS / CHUNK,
    };
    let chosen = B::choose_chunks(&scores);
    let numbers_of_chosen: Vec<f32> =
        chosen.to_data().convert::<i32>().iter::<i32>().map(|chunk| chunk as f32).collect();
    // row 0 of the queries' table is position -1
    let positions = PosMap::identity().shift(-1.0);
    let problem = ChunkAttention {
        query: query.slice([0..HEADS, first..TOKENS, 0..HEAD_DIM]),
        score: Score { scale: 0.4, query_scale: QueryScale::Off, soft_cap: None },
        key,
        value,
        choice,
        prompt,
        first_query: first,
        chunks: chosen,
        key_rotary: &rotary(&rope, &key_pos(&choice), device),
        query_rotary: &rotary(&rope, &positions, device),
    };
    let mut keys = B::ChunkKeys::default();
    let Attended { out, lse } = B::chunk_attention(&problem, &mut keys);
    let cells = Cells { queries: 0..TOKENS, keys: 0..TOKENS, query_stride: 7, key_stride: 5 };
    let pooled = B::pool_chunks(&problem, &mut keys, 1, &lse, &cells);
    let attended = [numbers(out), numbers(lse)].concat();
    vec![
        result(&Operation::ChunkSummary(&summary), 1e-5, numbers(summaries)),
        result(&Operation::KeyBounds(&bounds), 1e-6, numbers(B::key_bounds(&bounds))),
        result(&Operation::ChunkScores(&scores), 0.0, numbers_of_chosen),
        result(&Operation::ChunkAttention(&problem), 1e-5, attended),
        Result {
            operation: "pooled maps, chosen chunks".into(),
            ..result(&Operation::PoolChunks(&problem), 1e-5, [pooled.sum, pooled.max].concat())
        },
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
