//! Span attention on NVIDIA's tensor cores, for queries, keys and values of 16 bits: `cuda/wgmma.cu` on `sm_90a`, `cuda/mma.cu` on all
//! cards from `sm_80` on.
//!
//! Launch, memory and agreement stand at the top of each text. Queries and keys are rotated before, once per span and once per key
//! position rule, and rounded to their type once.

use std::ops::Range;

use burn_cubecl::element::BoolElement;
use burn_cubecl::tensor::CubeTensor;
use burn_tensor::DType;
use cubecl::client::ComputeClient;
use cubecl::server::Handle;
use longlens_core::plan::{ReachTable, Span};

use super::SpanAttention;
use super::cube::FEW;
use crate::Attended;
use crate::cube::{Gpu, GpuRuntime, Rows, empty, tensor, upload};
use crate::cuda::{Info, TensorMap, Text, Variant, pack_of};
use crate::rotary::cube::Table;
use crate::rotary::{Strides, turn_rows};

/// Sizes of heads that texts are made for.
const HEAD_DIMS: [usize; 5] = [64, 80, 96, 128, 256];
/// Spans of a launch, at most.
const MOST_SPANS: usize = 8;
/// Bytes of keys and values that stay in the L2 cache of every card.
const L2_BYTES: usize = 24 << 20;

/// Whether a text computes the problem on this device.
pub fn takes<R: GpuRuntime, BT: BoolElement>(problem: &SpanAttention<'_, Gpu<R, BT>>) -> bool {
    let (dtype, [n_heads, seq_q, head_dim]) = (problem.key.dtype(), problem.query.dims());
    // a few queries share out the keys of each span to more blocks elsewhere
    seq_q * (n_heads / problem.key.dims()[0]) > FEW
        && R::cuda_capability(&problem.key.device()).is_some_and(|capability| capability >= 80)
        && matches!(dtype, DType::BF16 | DType::F16)
        && problem.value.dtype() == dtype
        && problem.query.dtype() == dtype
        && problem.rotary.iter().all(|rotary| rotary.key.cos.dims()[1].is_multiple_of(8))
        && HEAD_DIMS.contains(&head_dim)
        && (1..=MOST_SPANS).contains(&problem.spans.len())
}

/// `out`, of the type of keys, and `lse` of every query; [`takes`] says where.
pub fn attend<R: GpuRuntime, BT: BoolElement>(problem: &SpanAttention<'_, Gpu<R, BT>>) -> Attended<Gpu<R, BT>> {
    let [n_heads, seq_q, head_dim] = problem.query.dims();
    let value = Rows::of(problem.value.clone(), 8);
    let queries = problem.first_query..problem.first_query + seq_q;
    let out = empty(&value.tensor, [seq_q, n_heads, head_dim], value.tensor.dtype);
    let lse = empty(&value.tensor, [n_heads, seq_q], DType::F32);
    let keys = rotated_keys(problem, &queries);
    let together = (L2_BYTES / (4 * keys.tokens.len() * head_dim).max(1)).clamp(1, value.heads);
    let launch = Launch {
        problem,
        masks: Masks::of(problem.spans, &queries),
        factors: queries.map(|query| problem.score.factor(query).to_bits()).collect(),
        n_rep: n_heads / value.heads,
        value,
        keys,
        together,
        out: &out,
        lse: &lse,
    };
    // the whole group of a key head is packed there, and a block of 128 rows is not filled by less
    if R::cuda_capability(&problem.key.device()) == Some(90) && seq_q * launch.n_rep >= 64 {
        launch.on_warpgroups();
    } else {
        launch.on_warps();
    }
    Attended { out: tensor::<R, BT, 3>(out).swap_dims(0, 1), lse: tensor(lse) }
}

/// What both texts for many queries take.
struct Launch<'a, R: GpuRuntime, BT: BoolElement> {
    problem: &'a SpanAttention<'a, Gpu<R, BT>>,
    masks: Masks,
    factors: Vec<u32>,
    /// Query heads of a key head.
    n_rep: usize,
    value: Rows<R>,
    keys: Keys<R>,
    /// Key heads whose keys and values stay in the L2 cache together.
    together: usize,
    out: &'a CubeTensor<R>,
    lse: &'a CubeTensor<R>,
}

impl<R: GpuRuntime, BT: BoolElement> Launch<'_, R, BT> {
    /// Numbers of the problem.
    fn sizes(&self) -> [usize; 4] {
        let [n_heads, seq_q, head_dim] = self.problem.query.dims();
        [n_heads, seq_q, head_dim, self.problem.spans.len()]
    }

    fn rules(&self) -> impl Iterator<Item = usize> {
        (0..MOST_SPANS).map(|span| self.keys.rule_of.get(span).copied().unwrap_or(0))
    }

    fn variant(&self, pack: usize) -> Variant {
        Variant {
            head_dim: self.value.width,
            rotary_dim: self.value.width, // these texts take what is rotated
            dtype: self.value.tensor.dtype,
            pack,
            soft_cap: self.problem.score.soft_cap,
            has_holes: self.masks.holes_of > 0,
        }
    }

    /// `cuda/mma.cu`: for every card from `sm_80` on.
    fn on_warps(&self) {
        let [n_heads, seq_q, head_dim, n_spans] = self.sizes();
        let client = &self.out.client;
        let shared_limit = client.properties().hardware.max_shared_memory_size;
        let pack = pack_of(self.n_rep);
        let (n_keys, n) = (self.keys.tokens.len(), seq_q * head_dim);
        let query = rotated_queries(self.problem, |span| {
            (span * n_heads * n, Strides { n_rep: 1, group: n, head: 0, row: head_dim })
        });
        let info = [
            n_heads * n,
            n,
            head_dim,
            self.value.heads * n_keys * head_dim,
            n_keys * head_dim,
            self.value.head_stride,
            head_dim,
            n_heads * head_dim,
        ];
        let info = info.into_iter().fold(Info::default(), Info::wide);
        let words = [head_dim, self.value.row_stride, seq_q, self.value.seq, n_heads, self.n_rep, n_spans];
        let words =
            words.into_iter().chain([self.keys.tokens.start, n_keys, self.together, self.masks.holes_of as usize]);
        let info = words.chain(self.rules()).fold(info, Info::word);
        let text = warps_text(&self.variant(pack), shared_limit);
        let rows = WarpTile::of(head_dim, shared_limit).rows();
        let grid = [(seq_q * pack).div_ceil(rows) * (n_heads / pack), 1, 1];
        let [lo, hi, hole_start, hole_words] = self.masks.upload::<R>(client);
        let factors = upload(client, &self.factors);
        let inputs = [&query.handle, &self.keys.key.handle, &self.value.tensor.handle, &lo, &hi, &factors];
        let buffers = [&inputs[..], &[&hole_start, &hole_words, &self.out.handle, &self.lse.handle]].concat();
        R::launch_text(client, text, grid, &[], &buffers, &info);
    }

    /// `cuda/wgmma.cu`: for `sm_90a`.
    fn on_warpgroups(&self) {
        let [n_heads, seq_q, head_dim, n_spans] = self.sizes();
        let (client, n_kv_heads) = (&self.out.client, self.value.heads);
        let (rows, keys) = (64 * GROUPS, group_keys(head_dim));
        let (n_rows, n_keys) = (seq_q * self.n_rep, self.keys.tokens.len());
        // the heads of a group lie together, token by token
        let strides =
            Strides { n_rep: self.n_rep, group: n_rows * head_dim, head: head_dim, row: self.n_rep * head_dim };
        let query = rotated_queries(self.problem, |span| (span * n_heads * seq_q * head_dim, strides));
        let map = |tensor: &CubeTensor<R>, n: usize, n_rows: usize, strides: [usize; 2], rows: usize| TensorMap {
            handle: tensor.handle.clone(),
            dtype: tensor.dtype,
            shape: [n, n_rows, head_dim],
            strides,
            rows,
        };
        let n_rules = self.keys.key.meta.shape()[0];
        let maps = [
            map(&query, n_spans * n_kv_heads, n_rows, [n_rows * head_dim, head_dim], rows),
            map(&self.keys.key, n_rules * n_kv_heads, n_keys, [n_keys * head_dim, head_dim], keys),
            map(&self.value.tensor, n_kv_heads, self.value.seq, [self.value.head_stride, self.value.row_stride], keys),
        ];
        let info = Info::default().wide(head_dim).wide(n_heads * head_dim);
        let words = [seq_q, n_kv_heads, n_spans, self.keys.tokens.start, self.together, self.masks.holes_of as usize];
        let info = words.into_iter().chain(self.rules()).fold(info, Info::word);
        let text = groups_text(&self.variant(self.n_rep));
        let grid = [n_rows.div_ceil(rows) * n_kv_heads, 1, 1];
        let [lo, hi, hole_start, hole_words] = self.masks.upload::<R>(client);
        let factors = upload(client, &self.factors);
        let buffers = [&lo, &hi, &factors, &hole_start, &hole_words, &self.out.handle, &self.lse.handle];
        R::launch_text(client, text, grid, &maps, &buffers, &info);
    }
}

/// How `cuda/mma.cu` is cut for a size of heads.
struct WarpTile {
    warps: usize,
    /// 16 rows each, of a warp.
    row_tiles: usize,
    keys: usize,
    /// Tiles of keys or values in shared memory.
    slots: usize,
}

impl WarpTile {
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

/// `cuda/mma.cu` for a device whose blocks have so many bytes of shared memory.
pub(crate) fn warps_text(variant: &Variant, shared_limit: usize) -> Text {
    let tile = WarpTile::of(variant.head_dim, shared_limit);
    let WarpTile { warps, row_tiles, keys, slots } = tile;
    let defines = variant.defines(&[("WARPS", warps), ("ROW_TILES", row_tiles), ("KEYS", keys), ("SLOTS", slots)]);
    let shared = (tile.rows() + slots * keys) * variant.head_dim * 2;
    Text::new("span_attention_mma", &[SPANS, include_str!("cuda/mma.cu")], &defines, 32 * warps, shared)
}

/// Warpgroups that compute, of a block of `cuda/wgmma.cu`.
const GROUPS: usize = 2;

/// Keys of its tiles.
fn group_keys(head_dim: usize) -> usize {
    if head_dim == 256 { 64 } else { 128 }
}

/// `cuda/wgmma.cu`.
pub(crate) fn groups_text(variant: &Variant) -> Text {
    let (rows, keys) = (64 * GROUPS, group_keys(variant.head_dim));
    let shared = (rows + 4 * keys) * variant.head_dim.next_multiple_of(64) * 2;
    let defines = variant.defines(&[("GROUPS", GROUPS), ("KEYS", keys), ("PAD_VALUES", 1)]);
    let files = [SPANS, include_str!("cuda/wgmma.cu")];
    Text::new("span_attention_wgmma", &files, &defines, 128 * (GROUPS + 1), shared)
}

/// Functions that the texts of span attention share.
const SPANS: &str = include_str!("cuda/spans.cu");

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
            if span.reach.table().is_some_and(ReachTable::has_holes) {
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

/// Queries at the positions of every span, of the type of keys; `place` says where those of a span begin and how they lie.
fn rotated_queries<R: GpuRuntime, BT: BoolElement>(
    problem: &SpanAttention<'_, Gpu<R, BT>>,
    place: impl Fn(usize) -> (usize, Strides),
) -> CubeTensor<R> {
    let query = Rows::of(problem.query.clone(), 8);
    let out = empty(&query.tensor, [problem.spans.len(), query.heads, query.seq, query.width], query.tensor.dtype);
    for (at, rotary) in problem.rotary.iter().enumerate() {
        let (begin, strides) = place(at);
        turn_rows(&Table::of(&rotary.query), problem.first_query, &query, (0, query.seq), &out, begin, strides);
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
    let key = Rows::of(problem.key.clone(), 8);
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
    let n = tokens.len() * key.width; // of a head
    let strides = Strides { n_rep: 1, group: n, head: 0, row: key.width };
    let out = empty(&key.tensor, [first_of_rule.len(), key.heads, tokens.len(), key.width], key.tensor.dtype);
    for (rule, span) in first_of_rule.iter().enumerate() {
        let table = Table::of(&problem.rotary[*span].key);
        turn_rows(&table, tokens.start, &key, (tokens.start, tokens.len()), &out, rule * key.heads * n, strides);
    }
    Keys { key: out, tokens, rule_of }
}
