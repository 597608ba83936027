//! The kernels of LongHeads alone: summaries, the choice of chunks, attention over the chosen ones, at growing lengths.
//!
//! `cargo bench -p longlens-kernel --bench chunks`; items are queries, so that a flat rate is a cost that grows with length
//! alone. The embedded model's layer: 4 heads of 32 dimensions, 256 tokens attended to.

use burn_flex::{Flex, FlexDevice};
use burn_tensor::{Distribution, Tensor};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use longlens_core::methods::Method;
use longlens_core::plan::{ChunkChoice, PosMap, Prefill, QueryScale};
use longlens_core::rope::{Rope, RopeScaling};
use longlens_core::spec::ModelSpec;
use longlens_kernel::Kernels;
use longlens_kernel::chunk_attention::ChunkAttention;
use longlens_kernel::chunk_attention::cpu::PackedKeys;
use longlens_kernel::chunk_scores::ChunkScores;
use longlens_kernel::chunk_summary::ChunkSummary;
use longlens_kernel::rotary::Rotary;
use longlens_kernel::score::Score;

fn main() {
    divan::main();
}

const HEADS: usize = 4;
const HEAD_DIM: usize = 32;
/// Queries of a call.
const STEP: usize = 2048;
const CHUNK_LENS: [usize; 2] = [16, 64];

/// The last queries of a sequence, and all its keys.
struct Layer {
    choice: ChunkChoice,
    query: Tensor<Flex, 3>,
    key: Tensor<Flex, 3>,
    value: Tensor<Flex, 3>,
    summaries: Tensor<Flex, 3>,
    offsets: Rotary<Flex>,
    positions: Rotary<Flex>,
    n_tokens: usize,
}

impl Layer {
    fn new(chunk_len: usize, n_tokens: usize) -> Self {
        let mut spec = ModelSpec::tiny(256);
        (spec.n_heads, spec.n_kv_heads, spec.head_dim, spec.rotary_dim) = (HEADS, HEADS, HEAD_DIM, HEAD_DIM);
        let method = format!("long_heads:chunk_len={chunk_len},attention_len=256");
        let choice = Method::parse(&method).unwrap().plan(&spec).unwrap().of(0, 0).choice.unwrap();
        let rope = RopeScaling::none().resolve(&spec).unwrap();
        let random = |n| Tensor::random([HEADS, n, HEAD_DIM], Distribution::Normal(0.0, 1.0), &FlexDevice);
        Self {
            query: random(STEP),
            key: random(n_tokens),
            value: random(n_tokens),
            summaries: random(n_tokens / chunk_len),
            offsets: table(&rope, &PosMap::identity().modulo(chunk_len), n_tokens),
            positions: table(&rope, &PosMap::identity(), 257),
            choice,
            n_tokens,
        }
    }

    fn scores(&self) -> ChunkScores<Flex> {
        ChunkScores {
            query: self.query.clone(),
            chunks: self.summaries.clone(),
            choice: self.choice,
            prompt: Prefill { n_tokens: self.n_tokens },
            first_query: self.n_tokens - STEP,
            n_chunks: self.n_tokens.div_ceil(self.choice.chunk_len),
            forced: Vec::new(),
        }
    }
}

fn table(rope: &Rope, map: &PosMap, n: usize) -> Rotary<Flex> {
    Rotary::new(rope.table(map, 0..n, Prefill { n_tokens: n }, n, |_| 1.0), HEAD_DIM, &FlexDevice)
}

#[divan::bench(args = CHUNK_LENS, sample_count = 10, sample_size = 1)]
fn summaries(bencher: Bencher<'_, '_>, chunk_len: usize) {
    let mut layer = Layer::new(chunk_len, 2 * STEP);
    layer.key = layer.key.slice([0..HEADS, 0..STEP]);
    layer.value = layer.value.slice([0..HEADS, 0..STEP]);
    let problem = ChunkSummary {
        query: layer.query,
        key: layer.key,
        value: layer.value,
        rotary: layer.offsets.rows(0, STEP),
        chunk_len,
    };
    bencher.counter(ItemsCount::new(STEP)).bench_local(|| Flex::chunk_summary(black_box(&problem)));
}

#[divan::bench(args = CHUNK_LENS, consts = [4096, 16384, 65536], sample_count = 10, sample_size = 1)]
fn choice<const N: usize>(bencher: Bencher<'_, '_>, chunk_len: usize) {
    let layer = Layer::new(chunk_len, N);
    bencher.counter(ItemsCount::new(STEP)).bench_local(|| Flex::choose_chunks(black_box(&layer.scores())));
}

#[divan::bench(args = CHUNK_LENS, consts = [4096, 16384, 65536], sample_count = 10, sample_size = 1)]
fn attention<const N: usize>(bencher: Bencher<'_, '_>, chunk_len: usize) {
    let layer = Layer::new(chunk_len, N);
    let chunks = Flex::choose_chunks(&layer.scores());
    let problem = ChunkAttention {
        query: layer.query.clone(),
        score: Score { scale: (HEAD_DIM as f64).sqrt().recip(), query_scale: QueryScale::Off, soft_cap: None },
        key: layer.key.clone(),
        value: layer.value.clone(),
        choice: layer.choice,
        prompt: Prefill { n_tokens: N },
        first_query: N - STEP,
        chunks,
        key_rotary: &layer.offsets,
        query_rotary: &layer.positions,
    };
    let mut keys = PackedKeys::default();
    bencher.counter(ItemsCount::new(STEP)).bench_local(|| Flex::chunk_attention(black_box(&problem), &mut keys));
}
