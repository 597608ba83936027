//! A few queries: one launch, whose blocks share out the keys of all spans and rotate them as they read them.

use burn_cubecl::element::BoolElement;
use burn_tensor::DType;
use cubecl::server::Handle;

use super::{Problem, SPANS};
use crate::cube::known::zeros;
use crate::cube::{GpuRuntime, empty};
use crate::cuda::{Info, Text, Variant, pack_of};
use crate::rotary::OFFSETS;
use crate::rotary::cube::Table;

/// Keys of a tile.
const TILE: usize = 64;
/// Warps of a block, which have a tile at a time each.
const WARPS: usize = 4;
/// Rows of a block.
const ROWS: usize = 16;
/// Blocks that a multiprocessor holds.
const BLOCKS: usize = 2;
/// Multiprocessors of a device that does not say how many it has.
const MULTIPROCESSORS: usize = 108;

impl<R: GpuRuntime, BT: BoolElement> Problem<'_, R, BT> {
    /// `cuda/decode.cu`.
    pub(super) fn few(&self) {
        let [n_heads, seq_q, head_dim, n_spans] = self.sizes();
        let (client, of, pack) = (&self.out.client, self.of, pack_of(self.n_rep));
        let queries: Vec<_> = of.rotary.iter().map(|rotary| Table::of(&rotary.query)).collect();
        let keys: Vec<_> = self.rules.iter().map(|span| Table::of(&of.rotary[*span].key)).collect();
        let (half, table_row) = (keys[0].half, keys[0].stride);
        assert!(
            queries.iter().chain(&keys).all(|table| (table.half, table.stride) == (half, table_row)),
            "tables alike"
        );

        let tiles = self.tiles();
        let n_tiles = tiles.len() / 2;
        let groups = [n_heads / pack, (seq_q * pack).div_ceil(ROWS)];
        let multiprocessors = client.properties().hardware.num_streaming_multiprocessors;
        let n_blocks = BLOCKS * multiprocessors.map_or(MULTIPROCESSORS, |n| n as usize);
        let n_splits = (n_blocks / (groups[0] * groups[1])).max(1);
        let tiles_a_split = n_tiles.div_ceil(n_splits).next_multiple_of(WARPS).max(WARPS);
        let n_splits = n_tiles.div_ceil(tiles_a_split).max(1);
        let n_groups = groups[0] * groups[1];
        let partial = empty(&self.out, [n_groups * n_splits * ROWS, head_dim + 2], DType::F32);
        let arrived = zeros::<R>(client, &self.out.device, n_groups);

        // rows of a rule compose if its table says so; all rules share the offsets of the first
        let steps: Vec<_> = self.rules.iter().map(|span| of.rotary[*span].key.steps.as_ref()).collect();
        let first = steps.iter().flatten().next();
        let composes = |at: usize| steps[at].is_some_and(|steps| first.is_some_and(|first| steps.turns_like(first)));
        let composing = (0..steps.len()).filter(|at| composes(*at)).fold(0, |bits, at| bits | 1 << at);
        let unused = keys[0].handles().0; // stands for what the kernel does not read
        let offsets = first.map_or((unused, unused), |steps| {
            let on_device = steps.on_device(client);
            (&on_device.cos, &on_device.sin)
        });
        let mut tables: Vec<&Handle> = Vec::new();
        for table in &queries {
            let (cos, sin) = table.handles();
            tables.extend([cos, sin]);
        }
        for (at, table) in keys.iter().enumerate() {
            let (cos, sin) = table.handles();
            let positions = steps[at].filter(|_| composes(at)).map(|steps| &steps.on_device(client).positions);
            tables.extend([cos, sin, positions.unwrap_or(unused)]);
        }

        let (query, key, value) = (&self.query, &self.key, &self.value);
        let wide =
            [query.head_stride, query.row_stride, key.head_stride, value.head_stride, head_dim, n_heads * head_dim];
        let info = wide.into_iter().fold(Info::default(), Info::wide);
        let words = [key.row_stride, value.row_stride, seq_q, key.seq, n_heads, self.n_rep];
        let words = words.into_iter().chain([n_tiles, tiles_a_split, n_splits, of.first_query, table_row, composing]);
        let words = words.chain([self.masks.holes_of as usize]).chain(self.rules_of_spans());
        let info = words.fold(info, Info::word);
        let variant = Variant {
            head_dim,
            rotary_dim: 2 * half,
            dtype: value.tensor.dtype,
            pack,
            soft_cap: of.score.soft_cap,
            has_holes: self.masks.holes_of > 0,
        };
        let more = if tiles.is_empty() { &[0][..] } else { &tiles };
        let [lo, hi, hole_start, factors, hole_words, tiles] = self.masks.upload(client, &self.out.device, more);
        let inputs = [&query.tensor.handle, &key.tensor.handle, &value.tensor.handle];
        let plan = [&lo, &hi, &factors, &hole_start, &hole_words, &tiles];
        let outputs = [offsets.0, offsets.1, &partial.handle, &arrived, &self.out.handle, &self.lse.handle];
        let buffers = [&inputs[..], &plan, &tables, &outputs].concat();
        let text = text(&variant, n_spans, self.rules.len());
        R::launch_text(client, text, [groups[0], n_splits, groups[1]], &[], &buffers, &info);
    }

    /// Span and first key of every tile that some query sees a key of.
    fn tiles(&self) -> Vec<u32> {
        let queries = self.of.first_query..self.of.first_query + self.query.seq;
        let of_span = |(at, span): (usize, &longlens_core::plan::Span)| {
            let keys = span.reach.keys_of_any(queries.clone());
            let tiles = (keys.start / TILE..keys.end.div_ceil(TILE)).take_while(move |_| !keys.is_empty());
            tiles.flat_map(move |tile| [at as u32, (tile * TILE) as u32])
        };
        self.of.spans.iter().enumerate().flat_map(of_span).collect()
    }
}

/// `cuda/decode.cu` for so many spans and key position rules.
pub(crate) fn text(variant: &Variant, n_spans: usize, n_rules: usize) -> Text {
    let defines = variant.defines(&[("N_SPANS", n_spans), ("N_RULES", n_rules)]);
    let files = [include_str!("../../cuda/direct.cu"), SPANS, include_str!("decode.cu")];
    let Variant { head_dim, rotary_dim, .. } = *variant;
    let local = 2 * rotary_dim.div_ceil(64) + (head_dim - rotary_dim).div_ceil(32);
    let pitch = rotary_dim / 2 + 4;
    let attending = WARPS * local * 1024 + 2 * OFFSETS * pitch * size_of::<f32>();
    let merging = WARPS * ROWS * (head_dim + 8) * size_of::<f32>();
    Text::new("span_attention_decode", &files, &defines, 32 * WARPS, attending.max(merging))
}
