//! Attention over chosen chunks on NVIDIA's tensor cores, for queries, keys and values of 16 bits: `cuda/mma.cu`, whose head says how it is
//! launched, what it needs and how far it agrees.

use burn_cubecl::element::BoolElement;
use burn_tensor::DType;

use super::ChunkAttention;
use super::cube::{Inputs, OF_QUERY, of_queries};
use crate::Attended;
use crate::cube::known::upload_once;
use crate::cube::{Choice, Gpu, GpuRuntime, Rows, empty, tensor};
use crate::cuda::{Info, Text, Variant, pack_of, refused_heads};
use crate::rotary::cube::Table;
use crate::rotary::{Strides, turn_rows};

/// Slots of a query, at most.
const MOST_SLOTS: usize = 128;
/// Chunks, at most: a number with 16 bits stands for none.
const MOST_CHUNKS: usize = 65_535;
/// Rows of a block.
const ROWS: usize = 64;
/// Threads of a block.
const THREADS: usize = 128;
/// Queries of a call from which the text pays: it rotates all keys first.
const MANY: usize = 8;

/// Whether the text computes the problem on its device, and why not.
pub fn takes<R: GpuRuntime, BT: BoolElement>(problem: &ChunkAttention<'_, Gpu<R, BT>>) -> Choice<()> {
    let device = problem.key.device();
    let capability = R::cuda_capability(&device)?;
    let [_, seq_q, head_dim] = problem.query.dims();
    let (half, n_slots) = (problem.query_rotary.cos.dims()[1], problem.choice.n_slots);
    let dtypes = [problem.query.dtype(), problem.key.dtype(), problem.value.dtype()];
    let n_chunks = problem.key.dims()[1].div_ceil(problem.choice.chunk_len);
    let shared = R::client(&device).properties().hardware.max_shared_memory_size;
    let refused = refused_heads(capability, dtypes, head_dim)
        .or_else(|| (!half.is_multiple_of(8)).then_some("rotated dimensions are no multiple of 16"))
        .or_else(|| (seq_q < MANY).then_some("few queries rotate the keys of their chunks alone"))
        .or_else(|| (n_slots > MOST_SLOTS).then_some("a query chooses more than 128 chunks"))
        .or_else(|| (n_chunks >= MOST_CHUNKS).then_some("more than 65534 chunks"))
        .or_else(|| {
            let needed = shared_bytes(head_dim, 2 * half, n_slots) + STATIC_BYTES;
            (needed > shared).then_some("what is chosen does not fit the shared memory of a block")
        });
    Some(refused.map_or(Ok(()), Err))
}

/// Shared memory that the text declares by itself.
const STATIC_BYTES: usize = 512;

/// Numbers of the list that a block sorts.
fn n_sorted(n_slots: usize) -> usize {
    (ROWS * n_slots).next_power_of_two()
}

fn shared_bytes(head_dim: usize, rotary_dim: usize, n_slots: usize) -> usize {
    let local = 2 * rotary_dim.div_ceil(64) + (head_dim - rotary_dim).div_ceil(32);
    let tiles = if head_dim <= 128 { 2 } else { 1 };
    4 * tiles * local * 1024 + ROWS * (head_dim / 8).next_multiple_of(8) * 32 + 4 * n_sorted(n_slots)
}

/// The text for heads of a size and type, launched for so many slots.
pub(crate) fn text(variant: &Variant, n_slots: usize) -> Text {
    let files = [include_str!("../cuda/direct.cu"), include_str!("cuda/mma.cu")];
    let shared = shared_bytes(variant.head_dim, variant.rotary_dim, n_slots);
    Text::new("chunk_attention_mma", &files, &variant.defines(&[]), THREADS, shared)
}

/// `out`, of the type of keys, and `lse` of every query; [`takes`] says where.
pub fn attend<R: GpuRuntime, BT: BoolElement>(problem: &ChunkAttention<'_, Gpu<R, BT>>) -> Attended<Gpu<R, BT>> {
    let [n_heads, seq_q, head_dim] = problem.query.dims();
    let (key, value) = (Rows::of(problem.key.clone(), 8), Rows::of(problem.value.clone(), 8));
    let (query, client) = (Rows::of(problem.query.clone(), 8), value.tensor.client.clone());
    let (n_rep, n_slots, n_keys) = (n_heads / key.heads, problem.choice.n_slots, key.seq);
    let rotated = empty(&key.tensor, [key.heads, n_keys, head_dim], key.tensor.dtype);
    let strides = Strides { n_rep: 1, group: n_keys * head_dim, head: 0, row: head_dim };
    turn_rows(&Table::of(problem.key_rotary), 0, &key, (0, n_keys), &rotated, 0, strides);
    let out = empty(&value.tensor, [seq_q, n_heads, head_dim], value.tensor.dtype);
    let lse = empty(&value.tensor, [n_heads, seq_q], DType::F32);

    let table = Table::of(problem.query_rotary);
    let pack = pack_of(n_rep);
    let variant = Variant {
        head_dim,
        rotary_dim: 2 * table.half,
        dtype: key.tensor.dtype,
        pack,
        soft_cap: problem.score.soft_cap,
        has_holes: false,
    };
    let text = text(&variant, n_slots);
    let wide =
        [query.head_stride, query.row_stride, n_keys * head_dim, value.head_stride, head_dim, n_heads * head_dim];
    let info = wide.into_iter().fold(Info::default(), Info::wide);
    let words = [head_dim, value.row_stride, seq_q, n_keys, n_heads, n_rep, n_slots, n_sorted(n_slots)];
    let words = words.into_iter().chain([problem.choice.chunk_len, Inputs::step(problem), table.stride, 1, seq_q]);
    let info = words.fold(info, Info::word);
    let of_queries = of_queries(problem);
    let part = |at: usize| {
        let numbers: Vec<u32> = of_queries.chunks(OF_QUERY).map(|numbers| numbers[at]).collect();
        upload_once::<R>(&client, &out.device, &numbers)
    };
    let (first_row, tail_len, factors) = (part(0), part(1), part(2));
    let chunks = Inputs::chunks(problem);
    let (cos, sin) = table.handles();
    let inputs = [&query.tensor.handle, &rotated.handle, &value.tensor.handle, &chunks.handle, &first_row, &tail_len];
    let buffers = [&inputs[..], &[&factors, cos, sin, &out.handle, &lse.handle]].concat();
    let grid = [(seq_q * pack).div_ceil(ROWS), n_heads / pack, 1];
    R::launch_text(&client, text, grid, &[], &buffers, &info);
    Attended { out: tensor::<R, BT, 3>(out).swap_dims(0, 1), lse: tensor(lse) }
}
