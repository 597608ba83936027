//! Attention over chosen chunks on a GPU: eight units for every query and head, which read the keys of its chunks where they lie.
//!
//! Launch: one cube per eight queries of a head; those of a few queries share out their slots to several, as in span attention. Memory: for many queries all keys once more, rotated to where they stand; for a few,
//! keys are rotated as they are read. Agrees with the definition to 1e-5 in f32.

use burn_cubecl::CubeRuntime;
use burn_cubecl::element::BoolElement;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use burn_tensor::DType;
use cubecl::prelude::*;
use cubecl::server::Handle;

use super::{ChunkAttention, QueryRows};
use crate::Attended;
use crate::cube::known::upload_once;
use crate::cube::{
    Four, Gpu, GpuRuntime, LANES, Rows, array, cubes_for, dot, empty, handle_array, lanes_max, lanes_sum, tensor,
};
use crate::rotary::cube::{Table, rotate_into};
use crate::span_attention::LOWEST;
use crate::span_attention::cube::tile::{HIDDEN, rotated};
use crate::span_attention::cube::{BUSY, merge, refused_head};

/// Units of a cube.
const UNITS: usize = 64;
/// Queries of a cube.
const QUERIES: usize = UNITS / LANES as usize;
/// Keys of a chunk that a unit scores before its sums are brought to a new largest score.
const OWN_KEYS: usize = 4;
/// Queries for which all keys are rotated first.
const MANY: usize = 8;
/// Numbers of [`Inputs::of_queries`] for every query.
pub(crate) const OF_QUERY: usize = 3;

/// Why no kernel here computes a problem, if none does.
pub fn refused<R: GpuRuntime, BT: BoolElement>(problem: &ChunkAttention<'_, Gpu<R, BT>>) -> Option<&'static str> {
    if !problem.query_rotary.cos.dims()[1].is_multiple_of(4) {
        return Some("pairs of dimensions that rotate are no multiple of 4");
    }
    refused_head::<R>(problem.query.dims()[2], &problem.query.device())
}

/// A problem's tensors as kernels read them.
pub(crate) struct Inputs<R: CubeRuntime> {
    pub query: Rows<R>,
    pub key: Rows<R>,
    /// `[n_heads, seq_q, n_slots]`.
    pub chunks: CubeTensor<R>,
    /// [`of_queries`].
    pub of_queries: Handle,
    pub query_table: Table<R>,
    pub key_table: Table<R>,
    pub options: Options,
}

/// What a kernel is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Options {
    pub head_dim: usize,
    /// Pairs of dimensions that rotate.
    pub half: usize,
    pub has_cap: bool,
    /// Whether keys are rotated as they are read.
    pub rotates_keys: bool,
    /// Whether the slots of a query are shared out to several cubes.
    pub is_split: bool,
}

impl Options {
    pub fn fours(&self) -> usize {
        self.head_dim / 4
    }
}

/// Sizes that change from launch to launch.
#[derive(CubeType, CubeLaunch, Clone)]
pub(crate) struct Sizes {
    pub n_heads: u32,
    pub seq_q: u32,
    pub seq_k: u32,
    /// Query heads of a key head.
    pub n_rep: u32,
    pub n_slots: u32,
    pub chunk_len: u32,
    /// Rows of the queries' table from one slot to the one before.
    pub step: u32,
    /// Vectors from one head or row to the next.
    pub query_head_stride: u32,
    pub query_stride: u32,
    pub key_head_stride: u32,
    pub key_stride: u32,
    /// Numbers from one row of a table to the next.
    pub query_table_stride: u32,
    pub key_table_stride: u32,
    /// Bound of scores.
    pub cap: f32,
}

impl<R: GpuRuntime> Inputs<R> {
    pub fn of<BT: BoolElement>(problem: &ChunkAttention<'_, Gpu<R, BT>>) -> Self {
        let (query, mut key) = (Rows::of(problem.query.clone(), 4), Rows::of(problem.key.clone(), 4));
        let (query_table, key_table) = (Table::of(problem.query_rotary), Table::of(problem.key_rotary));
        let rotates_keys = query.seq < MANY;
        if !rotates_keys {
            let out = empty(&key.tensor, [key.heads, key.seq, key.width], key.tensor.dtype);
            rotate_into(&key_table, 0, &key, 0..key.seq, &out, 0);
            key = Rows { tensor: out, head_stride: key.seq * key.width, row_stride: key.width, ..key };
        }
        let options = Options {
            head_dim: query.width,
            half: query_table.half,
            has_cap: problem.score.soft_cap.is_some(),
            rotates_keys,
            is_split: false,
        };
        let of_queries = upload_once::<R>(&query.tensor.client, &query.tensor.device, &of_queries(problem));
        let chunks = Self::chunks(problem);
        Self { query, key, chunks, of_queries, query_table, key_table, options }
    }

    /// The chunks of every slot, one row after the other.
    pub fn chunks<BT: BoolElement>(problem: &ChunkAttention<'_, Gpu<R, BT>>) -> CubeTensor<R> {
        into_contiguous(problem.chunks.clone().into_primitive())
    }

    /// Rows of the queries' table from one slot to the one before.
    pub fn step<BT: BoolElement>(problem: &ChunkAttention<'_, Gpu<R, BT>>) -> usize {
        QueryRows::of(&problem.slots(0)).step
    }

    pub fn sizes<BT: BoolElement>(&self, problem: &ChunkAttention<'_, Gpu<R, BT>>) -> SizesLaunch<R> {
        SizesLaunch::new(
            self.query.heads as u32,
            self.query.seq as u32,
            self.key.seq as u32,
            (self.query.heads / self.key.heads) as u32,
            problem.choice.n_slots as u32,
            problem.choice.chunk_len as u32,
            Self::step(problem) as u32,
            (self.query.head_stride / 4) as u32,
            (self.query.row_stride / 4) as u32,
            (self.key.head_stride / 4) as u32,
            (self.key.row_stride / 4) as u32,
            self.query_table.stride as u32,
            self.key_table.stride as u32,
            problem.score.soft_cap.unwrap_or(1.0) as f32,
        )
    }
}

/// Of every query: its row of the table in slot 0, the keys that it sees in its last slot, and the bits of the factor on its products.
pub(crate) fn of_queries<R: GpuRuntime, BT: BoolElement>(problem: &ChunkAttention<'_, Gpu<R, BT>>) -> Vec<u32> {
    let of_row = |row: usize| {
        let slots = problem.slots(row);
        let first = QueryRows::of(&slots).first as u32;
        [first, slots.tail.len() as u32, problem.score.factor(problem.first_query + row).to_bits()]
    };
    (0..problem.query.dims()[1]).flat_map(of_row).collect()
}

/// Returns what [`reference`](super::reference) returns.
pub fn attend<R: GpuRuntime, BT: BoolElement>(problem: &ChunkAttention<'_, Gpu<R, BT>>) -> Attended<Gpu<R, BT>> {
    let inputs = Inputs::of(problem);
    let value = Rows::of(problem.value.clone(), 4);
    let (n_heads, seq_q) = (inputs.query.heads, inputs.query.seq);
    let (width, dtype, n_cubes) = (value.width, inputs.query.tensor.dtype, (n_heads * seq_q).div_ceil(QUERIES));
    let n_parts = (BUSY / n_cubes).clamp(1, problem.choice.n_slots);
    let part = |shape: &[usize], dtype| empty(&inputs.query.tensor, shape.to_vec(), dtype);
    if n_parts > 1 {
        let out = part(&[n_parts, n_heads, seq_q, width], DType::F32);
        let sums = part(&[n_parts, n_heads, seq_q, 2], DType::F32);
        launch(problem, &inputs, &value, (n_cubes, n_parts), &out, &sums);
        return merge(n_parts, &out, &sums, dtype);
    }
    let (out, lse) = (part(&[seq_q, n_heads, width], dtype), part(&[n_heads, seq_q], DType::F32));
    launch(problem, &inputs, &value, (n_cubes, 1), &out, &lse);
    Attended { out: tensor::<R, BT, 3>(out).swap_dims(0, 1), lse: tensor(lse) }
}

/// Launches so many cubes of queries, for each of so many parts of the slots. `out` and `lse` are as
/// [`attend_spans`](crate::span_attention::cube) has them.
fn launch<R: GpuRuntime, BT: BoolElement>(
    problem: &ChunkAttention<'_, Gpu<R, BT>>,
    inputs: &Inputs<R>,
    value: &Rows<R>,
    (n_cubes, n_parts): (usize, usize),
    out: &CubeTensor<R>,
    lse: &CubeTensor<R>,
) {
    let count = match cubes_for(n_cubes, 1) {
        CubeCount::Static(x, y, _) => CubeCount::Static(x, y, n_parts as u32),
        dynamic @ CubeCount::Dynamic(_) => dynamic,
    };
    let ((query_cos, query_sin), (key_cos, key_sin)) = (inputs.query_table.args(), inputs.key_table.args());
    // SAFETY: chosen chunks are chunks of the sequence; keys past its end are read as its last
    unsafe {
        attend_chunks::launch_unchecked::<R>(
            &out.client,
            count,
            CubeDim::new_1d(UNITS as u32),
            inputs.query.arg(),
            inputs.key.arg(),
            value.arg(),
            array(&inputs.chunks),
            handle_array(&inputs.of_queries, size_of::<u32>()),
            query_cos,
            query_sin,
            key_cos,
            key_sin,
            array(out),
            array(lse),
            inputs.sizes(problem),
            (value.head_stride / 4) as u32,
            (value.row_stride / 4) as u32,
            Options { is_split: n_parts > 1, ..inputs.options },
            inputs.query.storage(),
            inputs.key.storage(),
            value.storage(),
            out.dtype.into(),
        );
    }
}

#[cube(launch_unchecked)]
fn attend_chunks<Q: Float, K: Float, V: Float, O: Float>(
    query: &Array<Four<Q>>,
    key: &Array<Four<K>>,
    value: &Array<Four<V>>,
    chunks: &Array<i32>,
    of_queries: &Array<u32>,
    query_cos: &Array<f32>,
    query_sin: &Array<f32>,
    key_cos: &Array<f32>,
    key_sin: &Array<f32>,
    out: &mut Array<Four<O>>,
    lse: &mut Array<f32>,
    sizes: &Sizes,
    value_head_stride: u32,
    value_stride: u32,
    #[comptime] options: Options,
    #[define(Q)] _query: StorageType,
    #[define(K)] _key: StorageType,
    #[define(V)] _value: StorageType,
    #[define(O)] _out: StorageType,
) {
    let fours = comptime!(options.fours());
    let own_fours = comptime!(options.fours().div_ceil(LANES as usize));
    let mut q_tile = SharedMemory::<Four<f32>>::new(comptime!(QUERIES * options.fours()));
    let lane = UNIT_POS % LANES;
    let first_lane = UNIT_POS_PLANE - lane;
    let cube = CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X;
    let place = cube * comptime!(QUERIES as u32) + UNIT_POS / LANES; // head * seq_q + query
    let row = min(place, sizes.n_heads * sizes.seq_q - 1);
    let (head, token) = (row / sizes.seq_q, row % sizes.seq_q);
    let first_row = of_queries[(token * OF_QUERY as u32) as usize];
    let tail_len = of_queries[(token * OF_QUERY as u32 + 1) as usize];
    let factor = f32::reinterpret(of_queries[(token * OF_QUERY as u32 + 2) as usize]);
    let q_first = (UNIT_POS / LANES) as usize * fours;
    let q_from = (head * sizes.query_head_stride + token * sizes.query_stride) as usize;
    let kv_head = head / sizes.n_rep;

    let mut most = f32::new(LOWEST);
    let mut sum = f32::new(0.0);
    let mut scores = Array::<f32>::new(OWN_KEYS);
    let mut acc = Array::<Four<f32>>::new(comptime!(options.fours().div_ceil(LANES as usize)));
    #[unroll]
    for c in 0..own_fours {
        acc[c] = Four::<f32>::new(0.0f32);
    }
    let share = sizes.n_slots.div_ceil(CUBE_COUNT_Z);
    let end = min((CUBE_POS_Z + 1) * share, sizes.n_slots);
    for slot in CUBE_POS_Z * share..end {
        sync_cube();
        let angle = ((first_row - slot * sizes.step) * sizes.query_table_stride) as usize;
        rotate_query::<Q>(query, query_cos, query_sin, &mut q_tile, q_from, q_first, angle, lane, LANES, options);
        sync_cube();
        let first_key = chunks[(row * sizes.n_slots + slot) as usize] as u32 * sizes.chunk_len;
        let n_keys = select(slot == sizes.n_slots - 1, tail_len, sizes.chunk_len);
        let mut at = 0u32.runtime();
        while at < sizes.chunk_len {
            let mut top = most;
            #[unroll]
            for j in 0..OWN_KEYS {
                let offset = at + lane + j as u32 * LANES;
                let token = min(first_key + offset, sizes.seq_k - 1);
                let product = key_product::<K>(key, key_cos, key_sin, &q_tile, q_first, kv_head, token, sizes, options);
                let score = capped(product * factor, sizes.cap, comptime!(options.has_cap));
                scores[j] = select(offset < n_keys, score, f32::new(HIDDEN));
                top = max(top, scores[j]);
            }
            top = lanes_max(top);
            let kept = (most - top).exp(); // what the sums so far are worth now
            most = top;
            sum *= kept;
            #[unroll]
            for c in 0..own_fours {
                acc[c] *= Four::<f32>::new(kept);
            }
            #[unroll]
            for j in 0..OWN_KEYS {
                let own = (scores[j] - top).exp();
                sum += own;
                #[unroll]
                for other in 0..LANES {
                    let weight = plane_shuffle(own, first_lane + other);
                    let token = min(first_key + at + other + j as u32 * LANES, sizes.seq_k - 1);
                    let from = (kv_head * value_head_stride + token * value_stride) as usize;
                    #[unroll]
                    for c in 0..own_fours {
                        let column = lane as usize + c * LANES as usize;
                        if column < fours {
                            acc[c] += Four::<f32>::cast_from(value[from + column]) * Four::<f32>::new(weight);
                        }
                    }
                }
            }
            at += comptime!(OWN_KEYS as u32 * LANES);
        }
    }
    let mut total = lanes_sum(sum);
    if place < sizes.n_heads * sizes.seq_q {
        let mut to = token * sizes.n_heads + head;
        if comptime!(options.is_split) {
            to = (CUBE_POS_Z * sizes.n_heads + head) * sizes.seq_q + token;
            if lane == 0 {
                lse[(to * 2) as usize] = most;
                lse[(to * 2 + 1) as usize] = total;
            }
            total = f32::new(1.0);
        } else {
            total = max(total, f32::new(f32::MIN_POSITIVE));
            if lane == 0 {
                lse[row as usize] = most + total.ln();
            }
        }
        #[unroll]
        for c in 0..own_fours {
            let column = lane as usize + c * LANES as usize;
            if column < fours {
                out[to as usize * fours + column] = Four::<O>::cast_from(acc[c] / Four::<f32>::new(total));
            }
        }
    }
}

/// A query at a row of its table into shared memory, by `n` units of which this is one.
#[cube]
pub(crate) fn rotate_query<Q: Float>(
    query: &Array<Four<Q>>,
    cos: &Array<f32>,
    sin: &Array<f32>,
    q_tile: &mut SharedMemory<Four<f32>>,
    from: usize,
    to: usize,
    angle: usize,
    unit: u32,
    n: u32,
    #[comptime] options: Options,
) {
    let half = comptime!(options.half / 4);
    let mut c = unit as usize;
    while c < comptime!(options.fours() - options.half / 4) {
        if c < half {
            let a = Four::<f32>::cast_from(query[from + c]);
            let b = Four::<f32>::cast_from(query[from + c + half]);
            let (x, y) = rotated(a, b, cos, sin, angle + c * 4);
            q_tile[to + c] = x;
            q_tile[to + c + half] = y;
        } else {
            q_tile[to + c + half] = Four::<f32>::cast_from(query[from + c + half]);
        }
        c += n as usize;
    }
}

/// The product of the query at `q_first` in shared memory with the key of a token.
#[cube]
pub(crate) fn key_product<K: Float>(
    key: &Array<Four<K>>,
    cos: &Array<f32>,
    sin: &Array<f32>,
    q_tile: &SharedMemory<Four<f32>>,
    q_first: usize,
    kv_head: u32,
    token: u32,
    sizes: &Sizes,
    #[comptime] options: Options,
) -> f32 {
    let from = (kv_head * sizes.key_head_stride + token * sizes.key_stride) as usize;
    let mut product = f32::new(0.0);
    if comptime!(options.rotates_keys) {
        let half = comptime!(options.half / 4);
        let angle = (token * sizes.key_table_stride) as usize;
        for c in 0..half {
            let (a, b) = (Four::<f32>::cast_from(key[from + c]), Four::<f32>::cast_from(key[from + c + half]));
            let (x, y) = rotated(a, b, cos, sin, angle + c * 4);
            product += dot(q_tile[q_first + c], x) + dot(q_tile[q_first + c + half], y);
        }
        for c in comptime!(options.half / 2)..comptime!(options.fours()) {
            product += dot(q_tile[q_first + c], Four::<f32>::cast_from(key[from + c]));
        }
    } else {
        for c in 0..comptime!(options.fours()) {
            product += dot(q_tile[q_first + c], Four::<f32>::cast_from(key[from + c]));
        }
    }
    product
}

/// A score below the bound, if there is one.
#[cube]
pub(crate) fn capped(score: f32, cap: f32, #[comptime] has_cap: bool) -> f32 {
    let mut score = score;
    if has_cap {
        score = cap * (score / cap).tanh();
    }
    score
}
