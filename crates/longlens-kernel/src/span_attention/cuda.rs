//! Span attention on NVIDIA's tensor cores, for keys and values of 16 bits: `cuda/mma.cu` for many queries.
//!
//! Launch, memory and agreement stand at the top of each text. Queries and keys are rotated before, once per span and once per key
//! position rule, and rounded to their type once.

use std::ops::Range;

use burn_cubecl::element::BoolElement;
use burn_cubecl::tensor::CubeTensor;
use burn_tensor::DType;
use cubecl::client::ComputeClient;
use cubecl::server::Handle;
use longlens_core::plan::Span;

use super::SpanAttention;
use crate::Attended;
use crate::cube::{Gpu, Rows, empty, tensor, upload};
use crate::cuda::{Info, Text};
use crate::gpu::GpuRuntime;
use crate::rotary::cube::{Table, rotate_into};

/// Sizes of heads that texts are made for.
const HEAD_DIMS: [usize; 5] = [64, 80, 96, 128, 256];
/// Spans of a launch, at most.
const MOST_SPANS: usize = 8;
/// Query heads that a block computes together, at most.
const MOST_PACKED: usize = 16;
/// Bytes of keys and values that stay in the L2 cache of every card.
const L2_BYTES: usize = 24 << 20;

/// Whether a text computes the problem on this device.
pub fn takes<R: GpuRuntime, BT: BoolElement>(problem: &SpanAttention<'_, Gpu<R, BT>>) -> bool {
    let dtype = problem.key.dtype();
    R::cuda_capability(&problem.key.device()).is_some_and(|capability| capability >= 80)
        && matches!(dtype, DType::BF16 | DType::F16)
        && problem.value.dtype() == dtype
        && HEAD_DIMS.contains(&problem.query.dims()[2])
        && (1..=MOST_SPANS).contains(&problem.spans.len())
}

/// How the text for a size of heads is cut.
struct Tile {
    warps: usize,
    row_tiles: usize,
    keys: usize,
    slots: usize,
}

impl Tile {
    fn of(head_dim: usize, shared_limit: usize) -> Self {
        match head_dim {
            256 if shared_limit < 132 << 10 => Self { warps: 4, row_tiles: 1, keys: 64, slots: 2 },
            256 => Self { warps: 8, row_tiles: 1, keys: 64, slots: 2 },
            _ => Self { warps: 4, row_tiles: 2, keys: 64, slots: 3 },
        }
    }

    fn rows(&self) -> usize {
        16 * self.row_tiles * self.warps
    }
}

/// `out`, of the type of keys, and `lse` of every query; [`takes`] says where.
pub fn attend<R: GpuRuntime, BT: BoolElement>(problem: &SpanAttention<'_, Gpu<R, BT>>) -> Attended<Gpu<R, BT>> {
    let [n_heads, seq_q, head_dim] = problem.query.dims();
    let (value, n_spans) = (Rows::of(problem.value.clone(), 8), problem.spans.len());
    let n_rep = n_heads / value.heads;
    let client = value.tensor.client.clone();
    let queries = problem.first_query..problem.first_query + seq_q;
    let masks = Masks::of(problem.spans, &queries);
    let factors: Vec<u32> = queries.clone().map(|query| problem.score.factor(query).to_bits()).collect();
    let query = rotated_queries(problem);
    let Keys { key, tokens, rule_of } = rotated_keys(problem, &queries);
    let out = empty(&value.tensor, [seq_q, n_heads, head_dim], value.tensor.dtype);
    let lse = empty(&value.tensor, [n_heads, seq_q], DType::F32);

    let pack = (1..=n_rep.min(MOST_PACKED)).rev().find(|pack| n_rep.is_multiple_of(*pack)).unwrap_or(1);
    let tile = Tile::of(head_dim, client.properties().hardware.max_shared_memory_size);
    let (rows, n_keys) = (tile.rows(), tokens.len());
    let together = (L2_BYTES / (4 * n_keys * head_dim).max(1)).clamp(1, value.heads);
    let info = Info::default()
        .wide(n_heads * seq_q * head_dim)
        .wide(seq_q * head_dim)
        .wide(head_dim)
        .wide(value.heads * n_keys * head_dim)
        .wide(n_keys * head_dim)
        .wide(value.head_stride)
        .wide(head_dim)
        .wide(n_heads * head_dim)
        .word(head_dim)
        .word(value.row_stride);
    let info = [seq_q, value.rows, n_heads, n_rep, n_spans, tokens.start, n_keys, together, masks.holes_of as usize]
        .into_iter()
        .chain((0..MOST_SPANS).map(|span| rule_of.get(span).copied().unwrap_or(0)))
        .fold(info, Info::word);
    let defines = [
        ("HEAD_DIM", head_dim.to_string()),
        ("F16", u8::from(value.tensor.dtype == DType::F16).to_string()),
        ("WARPS", tile.warps.to_string()),
        ("ROW_TILES", tile.row_tiles.to_string()),
        ("KEYS", tile.keys.to_string()),
        ("SLOTS", tile.slots.to_string()),
        ("PACK", pack.to_string()),
        ("SOFT_CAP", float(problem.score.soft_cap.unwrap_or(0.0))),
        ("HOLES", u8::from(masks.holes_of > 0).to_string()),
    ];
    let shared = (rows + tile.slots * tile.keys) * head_dim * 2;
    let files = [SPANS, include_str!("cuda/mma.cu")];
    let text = Text::new("span_attention_mma", &files, &defines, 32 * tile.warps, shared);
    let grid = [(seq_q * pack).div_ceil(rows) * (n_heads / pack), 1, 1];
    let [lo, hi, hole_start, words] = masks.upload::<R>(&client);
    let buffers = [
        &query.handle,
        &key.handle,
        &value.tensor.handle,
        &lo,
        &hi,
        &upload(&client, &factors),
        &hole_start,
        &words,
        &out.handle,
        &lse.handle,
    ];
    R::launch_text(&client, text, grid, &buffers, &info);
    Attended { out: tensor::<R, BT, 3>(out).swap_dims(0, 1), lse: tensor(lse) }
}

/// Functions that the texts of span attention share.
const SPANS: &str = include_str!("cuda/spans.cu");

/// A number as CUDA text has it.
fn float(x: f64) -> String {
    format!("{x:e}f")
}

/// What every query sees of every span, as the texts read it.
struct Masks {
    lo: Vec<u32>,
    hi: Vec<u32>,
    hole_start: Vec<u32>,
    words: Vec<u32>,
    /// Bit `s`: span `s` has holes.
    holes_of: u32,
}

/// Mark of a query without holes.
const NO_HOLES: u32 = u32::MAX;

impl Masks {
    fn of(spans: &[Span], queries: &Range<usize>) -> Self {
        let (mut lo, mut hi, mut hole_start) = (Vec::new(), Vec::new(), Vec::new());
        let (mut words, mut holes_of) = (Vec::new(), 0);
        for (at, span) in spans.iter().enumerate() {
            if span.reach.table().is_some_and(|table| table.has_holes()) {
                holes_of |= 1 << at;
            }
            for query in queries.clone() {
                let keys = span.reach.keys(query);
                lo.push(keys.start as u32);
                hi.push(keys.end.max(keys.start) as u32);
                let Some(holes) = span.reach.holes(query) else {
                    hole_start.push(NO_HOLES);
                    continue;
                };
                // a word stands for 32 keys from a multiple of 32 on
                hole_start.push(words.len() as u32);
                let first = words.len();
                words.resize(first + keys.end.div_ceil(32) - keys.start / 32, 0);
                for key in keys.clone().filter(|key| holes.sees(*key)) {
                    words[first + key / 32 - keys.start / 32] |= 1 << (key % 32);
                }
            }
        }
        Self { lo, hi, hole_start, words, holes_of }
    }

    /// First keys, ends, beginnings of bits, and their words.
    fn upload<R: GpuRuntime>(&self, client: &ComputeClient<R>) -> [Handle; 4] {
        let words = if self.words.is_empty() { &[0][..] } else { &self.words };
        [&self.lo[..], &self.hi, &self.hole_start, words].map(|numbers| upload(client, numbers))
    }
}

/// Queries at the positions of every span, `[spans, n_heads, seq_q, head_dim]`, of the type of keys.
fn rotated_queries<R: GpuRuntime, BT: BoolElement>(problem: &SpanAttention<'_, Gpu<R, BT>>) -> CubeTensor<R> {
    let query = Rows::of(problem.query.clone(), 1);
    let n = query.heads * query.rows * query.width;
    let shape = [problem.spans.len(), query.heads, query.rows, query.width];
    let out = empty(&query.tensor, shape, problem.key.dtype());
    for (at, rotary) in problem.rotary.iter().enumerate() {
        rotate_into(&Table::of(&rotary.query), problem.first_query, &query, 0..query.rows, &out, at * n);
    }
    out
}

/// Keys at the positions of every rule.
struct Keys<R: GpuRuntime> {
    /// `[rules, n_kv_heads, tokens, head_dim]`.
    key: CubeTensor<R>,
    tokens: Range<usize>,
    /// Of every span, its rule.
    rule_of: Vec<usize>,
}

fn rotated_keys<R: GpuRuntime, BT: BoolElement>(
    problem: &SpanAttention<'_, Gpu<R, BT>>,
    queries: &Range<usize>,
) -> Keys<R> {
    let key = Rows::of(problem.key.clone(), 1);
    let seen = problem.spans.iter().map(|span| span.reach.keys_of_any(queries.clone())).filter(|keys| !keys.is_empty());
    let tokens = seen.reduce(|all, keys| all.start.min(keys.start)..all.end.max(keys.end)).unwrap_or(0..1);
    let mut first_of_rule: Vec<usize> = Vec::new(); // the first span of each
    let rule_of: Vec<usize> = problem
        .spans
        .iter()
        .enumerate()
        .map(|(at, span)| {
            let known = first_of_rule.iter().position(|first| problem.spans[*first].key_pos == span.key_pos);
            known.unwrap_or_else(|| {
                first_of_rule.push(at);
                first_of_rule.len() - 1
            })
        })
        .collect();
    let n = key.heads * tokens.len() * key.width;
    let out = empty(&key.tensor, [first_of_rule.len(), key.heads, tokens.len(), key.width], key.tensor.dtype);
    for (rule, span) in first_of_rule.iter().enumerate() {
        let table = Table::of(&problem.rotary[*span].key);
        rotate_into(&table, tokens.start, &key, tokens.clone(), &out, rule * n);
    }
    Keys { key: out, tokens, rule_of }
}
