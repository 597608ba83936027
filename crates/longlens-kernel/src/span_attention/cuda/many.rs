//! Many queries: queries and keys are rotated first, then one launch attends over all spans.

use std::ops::Range;

use burn_cubecl::element::BoolElement;
use burn_cubecl::tensor::CubeTensor;

use super::{Problem, SPANS};
use crate::cube::{GpuRuntime, empty};
use crate::cuda::{Info, TensorMap, Text, Variant, pack_of};
use crate::rotary::cube::Table;
use crate::rotary::{Strides, turn_rows};

/// Bytes of keys and values that stay in the L2 cache of every card.
const L2_BYTES: usize = 24 << 20;

/// A problem with its keys at the positions of every rule.
pub(super) struct Rotated<'a, R: GpuRuntime, BT: BoolElement> {
    problem: &'a Problem<'a, R, BT>,
    /// `[rules, n_kv_heads, tokens, head_dim]`.
    key: CubeTensor<R>,
    tokens: Range<usize>,
    /// Key heads whose keys and values stay in the L2 cache together.
    together: usize,
}

impl<R: GpuRuntime, BT: BoolElement> Problem<'_, R, BT> {
    /// Rotates the keys that queries see.
    pub(super) fn rotated(&self) -> Rotated<'_, R, BT> {
        let (key, [_, seq_q, _, _]) = (&self.key, self.sizes());
        let queries = self.of.first_query..self.of.first_query + seq_q;
        let seen = self.of.spans.iter().map(|span| span.reach.keys_of_any(queries.clone()));
        let seen = seen.filter(|keys| !keys.is_empty());
        let tokens = seen.reduce(|all, keys| all.start.min(keys.start)..all.end.max(keys.end)).unwrap_or(0..1);
        let n = tokens.len() * key.width; // of a head
        let strides = Strides { n_rep: 1, group: n, head: 0, row: key.width };
        let out = empty(&key.tensor, [self.rules.len(), key.heads, tokens.len(), key.width], key.tensor.dtype);
        for (rule, span) in self.rules.iter().enumerate() {
            let table = Table::of(&self.of.rotary[*span].key);
            turn_rows(&table, tokens.start, key, (tokens.start, tokens.len()), &out, rule * key.heads * n, strides);
        }
        let together = (L2_BYTES / (4 * tokens.len() * key.width).max(1)).clamp(1, key.heads);
        Rotated { problem: self, key: out, tokens, together }
    }
}

impl<R: GpuRuntime, BT: BoolElement> Rotated<'_, R, BT> {
    fn variant(&self, pack: usize) -> Variant {
        let Problem { of, value, masks, .. } = self.problem;
        Variant {
            head_dim: value.width,
            rotary_dim: value.width, // these texts take what is rotated
            dtype: value.tensor.dtype,
            pack,
            soft_cap: of.score.soft_cap,
            has_holes: masks.holes_of > 0,
        }
    }

    /// Queries at the positions of every span, of the type of keys; `place` says where those of a span begin and how they lie.
    fn rotated_queries(&self, place: impl Fn(usize) -> (usize, Strides)) -> CubeTensor<R> {
        let Problem { of, query, .. } = self.problem;
        let out = empty(&query.tensor, [of.spans.len(), query.heads, query.seq, query.width], query.tensor.dtype);
        for (at, rotary) in of.rotary.iter().enumerate() {
            let (begin, strides) = place(at);
            turn_rows(&Table::of(&rotary.query), of.first_query, query, (0, query.seq), &out, begin, strides);
        }
        out
    }

    /// `cuda/mma.cu`: for every card from `sm_80` on.
    pub fn on_warps(&self) {
        let problem = self.problem;
        let [n_heads, seq_q, head_dim, n_spans] = problem.sizes();
        let client = &problem.out.client;
        let shared_limit = client.properties().hardware.max_shared_memory_size;
        let pack = pack_of(problem.n_rep);
        let (n_keys, n) = (self.tokens.len(), seq_q * head_dim);
        let query =
            self.rotated_queries(|span| (span * n_heads * n, Strides { n_rep: 1, group: n, head: 0, row: head_dim }));
        let info = [
            n_heads * n,
            n,
            head_dim,
            problem.value.heads * n_keys * head_dim,
            n_keys * head_dim,
            problem.value.head_stride,
            head_dim,
            n_heads * head_dim,
        ];
        let info = info.into_iter().fold(Info::default(), Info::wide);
        let words = [head_dim, problem.value.row_stride, seq_q, problem.value.seq, n_heads, problem.n_rep, n_spans];
        let words =
            words.into_iter().chain([self.tokens.start, n_keys, self.together, problem.masks.holes_of as usize]);
        let info = words.chain(problem.rules_of_spans()).fold(info, Info::word);
        let text = warps_text(&self.variant(pack), shared_limit);
        let rows = WarpTile::of(head_dim, shared_limit).rows();
        let grid = [(seq_q * pack).div_ceil(rows) * (n_heads / pack), 1, 1];
        let [lo, hi, hole_start, factors, hole_words, _] = problem.masks.upload(client, &problem.out.device, &[0]);
        let inputs = [&query.handle, &self.key.handle, &problem.value.tensor.handle, &lo, &hi, &factors];
        let buffers = [&inputs[..], &[&hole_start, &hole_words, &problem.out.handle, &problem.lse.handle]].concat();
        R::launch_text(client, text, grid, &[], &buffers, &info);
    }

    /// `cuda/wgmma.cu`: for `sm_90a`.
    pub fn on_warpgroups(&self) {
        let problem = self.problem;
        let [n_heads, seq_q, head_dim, n_spans] = problem.sizes();
        let (client, n_kv_heads) = (&problem.out.client, problem.value.heads);
        let (rows, keys) = (64 * GROUPS, group_keys(head_dim));
        let (n_rows, n_keys) = (seq_q * problem.n_rep, self.tokens.len());
        // the heads of a group lie together, token by token
        let strides =
            Strides { n_rep: problem.n_rep, group: n_rows * head_dim, head: head_dim, row: problem.n_rep * head_dim };
        let query = self.rotated_queries(|span| (span * n_heads * seq_q * head_dim, strides));
        let map = |tensor: &CubeTensor<R>, n: usize, n_rows: usize, strides: [usize; 2], rows: usize| TensorMap {
            handle: tensor.handle.clone(),
            dtype: tensor.dtype,
            shape: [n, n_rows, head_dim],
            strides,
            rows,
        };
        let n_rules = self.key.meta.shape()[0];
        let maps = [
            map(&query, n_spans * n_kv_heads, n_rows, [n_rows * head_dim, head_dim], rows),
            map(&self.key, n_rules * n_kv_heads, n_keys, [n_keys * head_dim, head_dim], keys),
            map(
                &problem.value.tensor,
                n_kv_heads,
                problem.value.seq,
                [problem.value.head_stride, problem.value.row_stride],
                keys,
            ),
        ];
        let info = Info::default().wide(head_dim).wide(n_heads * head_dim);
        let words = [seq_q, n_kv_heads, n_spans, self.tokens.start, self.together, problem.masks.holes_of as usize];
        let info = words.into_iter().chain(problem.rules_of_spans()).fold(info, Info::word);
        let text = groups_text(&self.variant(problem.n_rep));
        let grid = [n_rows.div_ceil(rows) * n_kv_heads, 1, 1];
        let [lo, hi, hole_start, factors, hole_words, _] = problem.masks.upload(client, &problem.out.device, &[0]);
        let buffers = [&lo, &hi, &factors, &hole_start, &hole_words, &problem.out.handle, &problem.lse.handle];
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
    Text::new("span_attention_mma", &[SPANS, include_str!("mma.cu")], &defines, 32 * warps, shared)
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
    let files = [SPANS, include_str!("wgmma.cu")];
    Text::new("span_attention_wgmma", &files, &defines, 128 * (GROUPS + 1), shared)
}
