//! Span attention on a GPU without tensor cores: a cube holds some queries of one key head and walks the tiles of keys that
//! any of them sees; eight units share out the keys of a tile for a query, then the dimensions of the values.
//!
//! Launch: one cube per block of queries and key head, longest first; query heads of a key head are packed into its rows. Memory:
//! queries of every span and keys of every key position rule once more, rotated. A few queries (a generated token) have their
//! keys rotated as they are read instead, and share out the keys of each span to several cubes; a last launch merges the parts,
//! since cubes of one launch cannot wait for one another on every device. Agrees with the definition to 1e-5 in f32.

use std::ops::Range;

use burn_cubecl::CubeRuntime;
use burn_cubecl::element::BoolElement;
use burn_cubecl::tensor::CubeTensor;
use burn_tensor::DType;
use cubecl::prelude::*;

use super::intervals::Intervals;
use super::{SpanAttention, keys_rotated_for};
use crate::Attended;
use crate::cube::known::upload_once;
use crate::cube::{
    Gpu, GpuRuntime, MOST_CUBES, Rows, array, cubes_for, empty, handle_array, refused_device, refused_numbers, tensor,
};
use crate::rotary::cube::{Table, rotate_into};

mod kernel;
pub(crate) mod tile;

use tile::{SizesLaunch, Tile};

/// Queries of a key head, grouped heads included, up to which a problem counts as a generated token's.
pub(crate) const FEW: usize = 16;
/// Cubes that keep a device busy.
pub(crate) const BUSY: usize = 256;
/// Dimensions of a head, at most.
pub(crate) const MOST_DIMS: usize = 256;

/// Why no kernel here computes a problem, if none does.
pub fn refused<R: GpuRuntime, BT: BoolElement>(problem: &SpanAttention<'_, Gpu<R, BT>>) -> Option<&'static str> {
    let ([n_heads, seq_q, head_dim], [n_kv_heads, seq_k, _]) = (problem.query.dims(), problem.key.dims());
    let rotated = problem.spans.len() * head_dim * (n_heads * seq_q).max(n_kv_heads * seq_k);
    let n_blocks = (seq_q * (n_heads / n_kv_heads)).div_ceil(8);
    refused_head::<R>(head_dim, &problem.query.device())
        .or_else(|| refused_numbers(rotated))
        .or_else(|| (n_blocks > MOST_CUBES).then_some("more queries at once than a launch has blocks"))
}

/// Why no kernel takes heads of this size, if none does.
pub(crate) fn refused_head<R: CubeRuntime>(head_dim: usize, device: &R::Device) -> Option<&'static str> {
    if !head_dim.is_multiple_of(4) || head_dim > MOST_DIMS {
        return Some("the size of a head is no multiple of 4 up to 256");
    }
    refused_device(&R::client(device))
}

/// `out` and `lse` of every query.
pub fn attend<R: GpuRuntime, BT: BoolElement>(problem: &SpanAttention<'_, Gpu<R, BT>>) -> Attended<Gpu<R, BT>> {
    let [n_heads, seq_q, _] = problem.query.dims();
    // pairs of vectors are rotated as they are read
    let in_vectors = problem.rotary.iter().all(|rotary| rotary.key.cos.dims()[1].is_multiple_of(4));
    if seq_q * (n_heads / problem.key.dims()[0]) <= FEW && in_vectors { few(problem) } else { many(problem) }
}

/// Prefill: queries and keys are rotated to the positions of every span, then one launch attends over all spans.
fn many<R: GpuRuntime, BT: BoolElement>(problem: &SpanAttention<'_, Gpu<R, BT>>) -> Attended<Gpu<R, BT>> {
    let [n_heads, seq_q, head_dim] = problem.query.dims();
    let mut intervals = Intervals::of(problem.spans, problem.first_query, seq_q, problem.score);
    let query = rotated_queries(problem, 0..problem.spans.len(), DType::F32);
    let key = rotated_keys(problem, &mut intervals);
    let launch = Launch {
        query: &query,
        n_heads,
        seq_q,
        key: &key,
        key_stride: head_dim,
        value: &Rows::of(problem.value.clone(), 4),
        intervals: &intervals,
        n_spans: problem.spans.len(),
        cap: problem.score.soft_cap,
        table: None,
    };
    launch.attend(problem.query.dtype())
}

/// Rotated queries of some spans, of a type, `[spans, n_heads, seq_q, head_dim]`.
pub(crate) fn rotated_queries<R: GpuRuntime, BT: BoolElement>(
    problem: &SpanAttention<'_, Gpu<R, BT>>,
    spans: Range<usize>,
    dtype: DType,
) -> CubeTensor<R> {
    let query = Rows::of(problem.query.clone(), 1);
    let n = query.heads * query.seq * query.width;
    let out = empty(&query.tensor, [spans.len(), query.heads, query.seq, query.width], dtype);
    for (at, span) in spans.enumerate() {
        let table = Table::of(&problem.rotary[span].query);
        rotate_into(&table, problem.first_query, &query, 0..query.seq, &out, at * n);
    }
    out
}

/// The keys of every rule, for the tokens that the queries see, `[n_kv_heads, tokens, head_dim]` after one another.
pub(crate) fn rotated_keys<R: GpuRuntime, BT: BoolElement>(
    problem: &SpanAttention<'_, Gpu<R, BT>>,
    intervals: &mut Intervals,
) -> CubeTensor<R> {
    let key = Rows::of(problem.key.clone(), 1);
    let queries = problem.first_query..problem.first_query + problem.query.dims()[1];
    let (mut n_rows, mut made): (usize, Vec<(usize, Range<usize>, usize)>) = (0, Vec::new());
    for (at, span) in problem.spans.iter().enumerate() {
        let tokens = keys_rotated_for(problem.spans, at, &queries);
        let same = made
            .iter()
            .find(|(other, of_other, _)| problem.spans[*other].key_pos == span.key_pos && *of_other == tokens);
        let first_row = same.map_or(n_rows, |(.., first_row)| *first_row);
        if same.is_none() {
            made.push((at, tokens.clone(), n_rows));
            n_rows += key.heads * tokens.len();
        }
        // where token 0 would lie: kernels add a token's number, and the sum comes round where this is negative
        let fours = |rows: usize| (rows * key.width / 4) as u32;
        intervals.place(at, [fours(first_row).wrapping_sub(fours(tokens.start)), fours(tokens.len())]);
    }
    let out = empty(&key.tensor, [n_rows.max(1), key.width], key.tensor.dtype);
    for (span, tokens, first_row) in made {
        rotate_into(&Table::of(&problem.rotary[span].key), tokens.start, &key, tokens, &out, first_row * key.width);
    }
    out
}

/// A few queries: cubes share out the keys of every span, which they rotate as they read them.
fn few<R: GpuRuntime, BT: BoolElement>(problem: &SpanAttention<'_, Gpu<R, BT>>) -> Attended<Gpu<R, BT>> {
    let [n_heads, seq_q, head_dim] = problem.query.dims();
    let (key, value) = (Rows::of(problem.key.clone(), 4), Rows::of(problem.value.clone(), 4));
    let queries = problem.first_query..problem.first_query + seq_q;
    let n_rep = n_heads / key.heads;
    let tile = Tile::of(head_dim, seq_q * n_rep, n_rep);
    let n_cubes = (seq_q * n_rep).div_ceil(tile.rows) * key.heads;
    let splits = |at: usize| {
        let n_keys = problem.spans[at].reach.keys_of_any(queries.clone()).len();
        (n_keys.div_ceil(tile.keys) + 1).min((BUSY / n_cubes).max(1))
    };
    let n_parts = (0..problem.spans.len()).map(splits).sum();
    let part = empty(&key.tensor, [n_parts, n_heads, seq_q, head_dim], DType::F32);
    let sums = empty(&key.tensor, [n_parts, n_heads, seq_q, 2], DType::F32);
    let mut first = 0;
    for at in 0..problem.spans.len() {
        let mut intervals = Intervals::of(&problem.spans[at..=at], problem.first_query, seq_q, problem.score);
        intervals.place(0, [0, (key.head_stride / 4) as u32]);
        let launch = Launch {
            query: &rotated_queries(problem, at..at + 1, DType::F32),
            n_heads,
            seq_q,
            key: &key.tensor,
            key_stride: key.row_stride,
            value: &value,
            intervals: &intervals,
            n_spans: 1,
            cap: problem.score.soft_cap,
            table: Some(&Table::of(&problem.rotary[at].key)),
        };
        launch.run(&Parts { n_splits: splits(at), first, out: &part, lse: &sums });
        first += splits(at);
    }
    merge(n_parts, &part, &sums, problem.query.dtype())
}

/// One launch of attention over intervals of keys.
pub(crate) struct Launch<'a, R: CubeRuntime> {
    /// `[spans, n_heads, seq_q, head_dim]`, rotated.
    pub query: &'a CubeTensor<R>,
    pub n_heads: usize,
    pub seq_q: usize,
    /// Where [`Intervals`] say, rotated unless there is a table.
    pub key: &'a CubeTensor<R>,
    /// Numbers from one key of a head to the next.
    pub key_stride: usize,
    /// `[n_kv_heads, seq_k, head_dim]`.
    pub value: &'a Rows<R>,
    pub intervals: &'a Intervals,
    pub n_spans: usize,
    /// Bound of scores.
    pub cap: Option<f64>,
    /// What rotates keys as they are read: row `j` is token `j`.
    pub table: Option<&'a Table<R>>,
}

/// Where a launch writes.
struct Parts<'a, R: CubeRuntime> {
    /// Cubes that share out the keys of a block of queries.
    n_splits: usize,
    /// The part of the first of them.
    first: usize,
    out: &'a CubeTensor<R>,
    lse: &'a CubeTensor<R>,
}

impl<R: CubeRuntime> Launch<'_, R> {
    /// What a kernel for it is compiled for.
    pub fn tile(&self) -> Tile {
        let n_rep = self.n_heads / self.value.heads;
        Tile {
            has_cap: self.cap.is_some(),
            has_holes: self.intervals.has_holes,
            half: self.table.map_or(0, |table| table.half),
            ..Tile::of(self.value.width, self.seq_q * n_rep, n_rep)
        }
    }

    pub fn sizes(&self, first_part: usize) -> SizesLaunch<R> {
        SizesLaunch::new(
            self.seq_q as u32,
            self.n_heads as u32,
            self.n_spans as u32,
            (self.key_stride / 4) as u32,
            (self.value.head_stride / 4) as u32,
            (self.value.row_stride / 4) as u32,
            self.table.map_or(0, |table| table.stride) as u32,
            first_part as u32,
            self.cap.unwrap_or(1.0) as f32,
        )
    }

    /// `out`, of a type, and `lse`, by one cube per block of queries and key head.
    pub fn attend<BT: BoolElement>(&self, dtype: DType) -> Attended<Gpu<R, BT>> {
        let out = empty(self.query, [self.seq_q, self.n_heads, self.value.width], dtype);
        let lse = empty(self.query, [self.n_heads, self.seq_q], DType::F32);
        self.run(&Parts { n_splits: 1, first: 0, out: &out, lse: &lse });
        Attended { out: tensor::<R, BT, 3>(out).swap_dims(0, 1), lse: tensor(lse) }
    }

    fn run(&self, parts: &Parts<'_, R>) {
        let tile = Tile { is_split: parts.out.meta.num_dims() == 4, ..self.tile() };
        let client = &self.query.client;
        let plan = upload_once::<R>(client, &self.query.device, &self.intervals.numbers);
        // where nothing is rotated any buffer stands for the tables, and nobody reads it
        let unused = || array(self.query);
        let (cos, sin) = self.table.map_or_else(|| (unused(), unused()), Table::args);
        let n_blocks = (self.seq_q * tile.n_rep).div_ceil(tile.rows);
        // SAFETY: every index is below the lengths that the shapes give; keys outside an interval are read as its ends
        unsafe {
            kernel::attend_spans::launch_unchecked::<R>(
                client,
                CubeCount::Static(n_blocks as u32, self.value.heads as u32, parts.n_splits as u32),
                tile.cube_dim(),
                array(self.query),
                array(self.key),
                self.value.arg(),
                handle_array(&plan, size_of::<u32>()),
                cos,
                sin,
                array(parts.out),
                array(parts.lse),
                self.sizes(parts.first),
                tile,
                self.key.dtype.into(),
                self.value.storage(),
                parts.out.dtype.into(),
            );
        }
    }
}

/// Parts `[n_parts, n_heads, seq_q, head_dim]` of the same queries as one softmax.
pub(crate) fn merge<R: GpuRuntime, BT: BoolElement>(
    n_parts: usize,
    part: &CubeTensor<R>,
    sums: &CubeTensor<R>,
    dtype: DType,
) -> Attended<Gpu<R, BT>> {
    let [n_heads, seq_q, head_dim] = [1, 2, 3].map(|at| part.meta.shape()[at]);
    let out = empty(part, [seq_q, n_heads, head_dim], dtype);
    let lse = empty(part, [n_heads, seq_q], DType::F32);
    let n = n_heads * seq_q * head_dim;
    // SAFETY: every index is below the lengths that the shapes give
    unsafe {
        kernel::merge_parts::launch_unchecked::<R>(
            &part.client,
            cubes_for(n, MERGE_UNITS as usize),
            CubeDim::new_1d(MERGE_UNITS),
            array(part),
            array(sums),
            array(&out),
            array(&lse),
            n as u32,
            n_parts as u32,
            n_heads as u32,
            seq_q as u32,
            head_dim,
            dtype.into(),
        );
    }
    Attended { out: tensor::<R, BT, 3>(out).swap_dims(0, 1), lse: tensor(lse) }
}

const MERGE_UNITS: u32 = 64;
