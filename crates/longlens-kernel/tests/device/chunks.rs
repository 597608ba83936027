//! Chunks: what represents them, which are chosen, attention over them, and what is pooled from it and from span attention.

use burn_flex::{Flex, FlexDevice};
use burn_tensor::{DType, Int, Tensor, TensorData};
use longlens_core::plan::{HeadPlan, PosMap, Prefill, SlotPositions};
use longlens_core::rope::{Rope, RotaryTable};
use longlens_kernel::chunk_attention::{ChunkAttention, key_pos};
use longlens_kernel::chunk_scores::{self, ChunkScores};
use longlens_kernel::chunk_summary::ChunkSummary;
use longlens_kernel::key_bounds::KeyBounds;
use longlens_kernel::rotary::Rotary;
use longlens_kernel::score::Score;
use longlens_kernel::{Attended, Body, Kernels, Operation};

use crate::common::{both, both_as, cells_of, close, numbers, rotary, rule, same_cells, tolerance};
use crate::{Gpu, gpu, is_absent, step};

fn whole<B: Kernels>(chunks: &Tensor<B, 3, Int>) -> Vec<i32> {
    chunks.to_data().convert::<i32>().into_vec().unwrap()
}

/// A layer's queries that choose, on both backends.
pub struct Problem {
    rule: HeadPlan,
    rope: Rope,
    n_tokens: usize,
    first: usize,
    pub soft_cap: Option<f64>,
    dtype: DType,
    query: (Tensor<Flex, 3>, Tensor<Gpu, 3>),
    key: (Tensor<Flex, 3>, Tensor<Gpu, 3>),
    value: (Tensor<Flex, 3>, Tensor<Gpu, 3>),
    chunks: Vec<i32>,
}

impl Problem {
    fn new(method: &str, heads: (usize, usize), dims: (usize, usize), n_tokens: usize, first: usize) -> Self {
        Self::of(DType::F32, method, heads, dims, n_tokens, first)
    }

    /// Chunks are chosen by random scores.
    pub fn of(
        dtype: DType,
        method: &str,
        heads: (usize, usize),
        dims: (usize, usize),
        n_tokens: usize,
        first: usize,
    ) -> Self {
        let (rule, rope) = rule(method, dims.0, dims.1);
        let (choice, prompt) = (rule.choice.unwrap(), Prefill { n_tokens });
        let n_queries = n_tokens - first;
        let mut chunks = Vec::new();
        for _ in 0..heads.0 {
            for query in first..n_tokens {
                let slots = choice.query(query, prompt).unwrap();
                let scores = numbers(both([slots.candidates.len().max(1)]).0);
                chunks
                    .extend(slots.choose(&scores[..slots.candidates.len()], &[]).into_iter().map(|chunk| chunk as i32));
                chunks.push((slots.tail.start / choice.chunk_len) as i32);
            }
        }
        Self {
            query: both_as([heads.0, n_queries, dims.0], dtype),
            key: both_as([heads.1, n_tokens, dims.0], dtype),
            value: both_as([heads.1, n_tokens, dims.0], dtype),
            soft_cap: None,
            dtype,
            rule,
            rope,
            n_tokens,
            first,
            chunks,
        }
    }

    fn prompt(&self) -> Prefill {
        Prefill { n_tokens: self.n_tokens }
    }

    /// Rows of the queries' table.
    fn positions<B: Kernels>(&self, device: &B::Device) -> Rotary<B> {
        let choice = self.rule.choice.unwrap();
        let positions = match choice.slots {
            SlotPositions::Packed => -1..(choice.n_slots * choice.chunk_len) as i64,
            SlotPositions::True => 0..self.n_tokens as i64,
        };
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for position in positions {
            let one = self.rope.table(&PosMap::constant(position as f64), 0..1, self.prompt(), 0, |_| 1.0);
            cos.extend(one.cos);
            sin.extend(one.sin);
        }
        Rotary::new(RotaryTable { cos, sin, steps: None }, self.rope.dim(), device)
    }

    fn with<B: Kernels, T>(
        &self,
        [query, key, value]: [&Tensor<B, 3>; 3],
        device: &B::Device,
        run: impl FnOnce(&ChunkAttention<'_, B>) -> T,
    ) -> T {
        let choice = self.rule.choice.unwrap();
        let [n_heads, seq, head_dim] = query.dims();
        let shape = [n_heads, seq, choice.n_slots];
        run(&ChunkAttention {
            query: query.clone(),
            score: Score {
                scale: (head_dim as f64).sqrt().recip(),
                query_scale: self.rule.query_scale,
                soft_cap: self.soft_cap,
            },
            key: key.clone(),
            value: value.clone(),
            choice,
            prompt: self.prompt(),
            first_query: self.first,
            chunks: Tensor::from_data(TensorData::new(self.chunks.clone(), shape), device),
            key_rotary: &rotary(&self.rope, &key_pos(&choice), 0..self.n_tokens, device),
            query_rotary: &self.positions(device),
        })
    }

    /// Attention, and with `pools` the cells of every head.
    pub fn check(&self, pools: bool, what: &str) {
        let cells = if pools { cells_of(self.n_tokens) } else { Vec::new() };
        let expected = self.with([&self.query.0, &self.key.0, &self.value.0], &FlexDevice, |problem| {
            let mut keys = <Flex as Kernels>::ChunkKeys::default();
            let attended = Flex::chunk_attention(problem, &mut keys);
            let n_heads = problem.query.dims()[0];
            let pool = |cells| {
                (0..n_heads)
                    .map(|head| Flex::pool_chunks(problem, &mut keys, head, &attended.lse, cells))
                    .collect::<Vec<_>>()
            };
            let pooled: Vec<_> = cells.iter().map(pool).collect();
            (attended, pooled)
        });
        let got = self.with([&self.query.1, &self.key.1, &self.value.1], &gpu(), |problem| {
            assert!(!Gpu::body(&Operation::ChunkAttention(problem)).is_reference());
            assert!(!Gpu::body(&Operation::PoolChunks(problem)).is_reference());
            let attended = Gpu::chunk_attention(problem, &mut ());
            let n_heads = problem.query.dims()[0];
            let pool = |cells| {
                (0..n_heads)
                    .map(|head| Gpu::pool_chunks(problem, &mut (), head, &attended.lse, cells))
                    .collect::<Vec<_>>()
            };
            let pooled: Vec<_> = cells.iter().map(pool).collect();
            (attended, pooled)
        });
        same(got.0, expected.0, tolerance(self.dtype), what);
        for (got, expected) in got.1.iter().flatten().zip(expected.1.iter().flatten()) {
            same_cells(got, expected, what);
        }
    }
}

fn same(got: Attended<Gpu>, expected: Attended<Flex>, tolerance: f32, what: &str) {
    close(&numbers(got.out), &numbers(expected.out), tolerance, what);
    close(&numbers(got.lse), &numbers(expected.lse), tolerance, what);
}

#[test]
fn chosen_chunks_are_attended_to_and_pooled_alike() {
    if is_absent() {
        return;
    }
    let sizes = [(8, 4, 90), (1, 6, 40), (5, 7, 133), (16, 4, 81), (60, 4, 300)];
    for (w, n, n_tokens) in sizes.into_iter().step_by(step()) {
        let method = format!("long_heads:chunk_len={w},attention_len={}", w * n);
        for first in [w * n, n_tokens - 1] {
            Problem::new(&method, (4, 2), (16, 16), n_tokens, first).check(true, &format!("{method} from {first}"));
        }
        let method = format!("quest:page_size={w},token_budget={},prefill=chosen,dense_layers=0", w * n);
        Problem::new(&method, (4, 2), (16, 16), n_tokens, n_tokens - 9).check(true, &method);
    }
}

#[test]
fn every_shape_of_heads_attends_to_its_chunks() {
    if is_absent() {
        return;
    }
    let method = "long_heads:chunk_len=8,attention_len=32";
    for (heads, dims) in
        [((1, 1), (64, 64)), ((8, 2), (80, 32)), ((3, 1), (96, 96)), ((2, 2), (128, 128)), ((2, 1), (256, 256))]
    {
        for first in [40, 59] {
            let mut problem = Problem::new(method, heads, dims, 60, first);
            problem.soft_cap = (first == 40).then_some(2.0);
            problem.check(false, &format!("{heads:?} {dims:?} from {first}"));
        }
    }
}

#[test]
fn every_query_picks_its_best_chunks() {
    if is_absent() {
        return;
    }
    for (w, n, n_tokens, width) in [(2, 4, 60, 8), (1, 9, 700, 16), (4, 4, 100, 24), (1, 40, 700, 8), (16, 5, 200, 40)]
    {
        for (method, n_representing) in [
            (format!("long_heads:chunk_len={w},attention_len={}", w * n), 4),
            (format!("quest:page_size={w},token_budget={},prefill=chosen,dense_layers=0", w * n), 2),
        ] {
            check_choice(DType::F32, &method, (4, n_representing), width, n_tokens);
        }
    }
}

/// Compares what the first queries that choose and the last two choose, by numbers of a type, and says what chose on the device.
pub fn check_choice(
    dtype: DType,
    method: &str,
    (n_heads, n_representing): (usize, usize),
    width: usize,
    n_tokens: usize,
) -> Body {
    let (rule, _) = rule(method, 16, 16);
    let (choice, prompt) = (rule.choice.unwrap(), Prefill { n_tokens });
    let (w, n_complete) = (choice.chunk_len, n_tokens / choice.chunk_len);
    let mut body = None;
    for first_query in [choice.first(prompt), n_tokens - 2] {
        let query = both_as([n_heads, n_tokens - first_query, width], dtype);
        let chunks = both_as([n_representing, n_complete, width], dtype);
        let n_chunks = n_tokens.div_ceil(w);
        let on_cpu =
            ChunkScores { query: query.0, chunks: chunks.0, choice, prompt, first_query, n_chunks, forced: Vec::new() };
        let on_gpu =
            ChunkScores { query: query.1, chunks: chunks.1, choice, prompt, first_query, n_chunks, forced: Vec::new() };
        let chooses = Gpu::body(&Operation::ChunkScores(&on_gpu));
        assert!(!chooses.is_reference());
        body = Some(chooses);
        let (got, expected) = (whole(&Gpu::choose_chunks(&on_gpu)), whole(&Flex::choose_chunks(&on_cpu)));
        let scores = numbers(chunk_scores::scores(&on_cpu, 0..n_tokens - first_query));
        let rows = got.chunks(choice.n_slots).zip(expected.chunks(choice.n_slots)).zip(scores.chunks(n_complete));
        for ((got, expected), scores) in rows {
            assert!(got[..choice.n_slots - 1].is_sorted_by(|a, b| a < b), "{method}: {got:?}");
            assert_eq!(got.last(), expected.last(), "the tail");
            // a different pick is one whose score differs by rounding alone
            let ranked = |picks: &[i32]| {
                let mut scores: Vec<f32> =
                    picks[..choice.n_slots - 1].iter().map(|chunk| scores[*chunk as usize]).collect();
                scores.sort_by(f32::total_cmp);
                scores
            };
            if choice.n_slots > 1 {
                close(&ranked(got), &ranked(expected), 1e-5, method);
            }
        }
    }
    body.unwrap()
}

#[test]
fn equal_scores_pick_the_lower_chunks() {
    if !is_absent() {
        check_equal_scores(DType::F32);
    }
}

/// Choices among chunks of equal scores, by numbers of a type.
pub fn check_equal_scores(dtype: DType) {
    let (rule, _) = rule("long_heads:chunk_len=1,attention_len=8", 16, 16);
    let (choice, prompt) = (rule.choice.unwrap(), Prefill { n_tokens: 700 });
    let ones = |n: usize| Tensor::<Gpu, 3>::ones([1, n, 8], (&gpu(), dtype));
    let problem = ChunkScores {
        query: ones(20),
        chunks: ones(700),
        choice,
        prompt,
        first_query: 680,
        n_chunks: 700,
        forced: Vec::new(),
    };
    for (row, got) in whole(&Gpu::choose_chunks(&problem)).chunks(choice.n_slots).enumerate() {
        let slots = problem.slots(row);
        let expected = slots.choose(&vec![1.0; slots.candidates.len()], &[]);
        let got: Vec<u32> = got[..choice.n_slots - 1].iter().map(|chunk| *chunk as u32).collect();
        assert_eq!(got, expected);
    }
}

#[test]
fn chunks_are_represented_alike() {
    if is_absent() {
        return;
    }
    for (heads, dims, w, n_chunks) in
        [((4, 2), (16, 16), 8, 5), ((2, 2), (64, 32), 5, 3), ((3, 1), (20, 20), 1, 9), ((1, 1), (128, 128), 70, 2)]
    {
        let (_, rope) = rule("full", dims.0, dims.1);
        let n = w * n_chunks;
        let (query, key, value) = (both([heads.0, n, dims.0]), both([heads.1, n, dims.0]), both([heads.1, n, dims.0]));
        let (offsets, places) = (PosMap::identity().modulo(w), PosMap::identity());
        let what = format!("{heads:?} {dims:?}, {n_chunks} chunks of {w}");
        let on_cpu = ChunkSummary {
            query: query.0,
            key: key.0.clone(),
            value: value.0,
            rotary: rotary::<Flex>(&rope, &offsets, 0..n, &FlexDevice),
            chunk_len: w,
        };
        let on_gpu = ChunkSummary {
            query: query.1,
            key: key.1.clone(),
            value: value.1,
            rotary: rotary::<Gpu>(&rope, &offsets, 0..n, &gpu()),
            chunk_len: w,
        };
        assert!(!Gpu::body(&Operation::ChunkSummary(&on_gpu)).is_reference());
        close(&numbers(Gpu::chunk_summary(&on_gpu)), &numbers(Flex::chunk_summary(&on_cpu)), 1e-5, &what);
        let on_cpu = KeyBounds { key: key.0, rotary: rotary::<Flex>(&rope, &places, 0..n, &FlexDevice), chunk_len: w };
        let on_gpu = KeyBounds { key: key.1, rotary: rotary::<Gpu>(&rope, &places, 0..n, &gpu()), chunk_len: w };
        close(&numbers(Gpu::key_bounds(&on_gpu)), &numbers(Flex::key_bounds(&on_cpu)), 1e-6, &what);
    }
}
