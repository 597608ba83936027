//! The choice of chunks on NVIDIA's tensor cores, for queries and representatives of 16 bits: `cuda/choose.cu`, whose head says how it is
//! launched and what it needs. Scores never leave a block.
//!
//! What represents a chunk is rounded to the type of queries when it is made, once ([`super`]); the choice is that by scores of the rounded
//! numbers, which are summed in f32.

use burn_cubecl::element::BoolElement;
use burn_tensor::{DType, Int, Tensor};

use super::ChunkScores;
use crate::cube::known::upload_lists_once;
use crate::cube::{Choice, Gpu, GpuRuntime, Rows, empty, int_tensor};
use crate::cuda::{Info, Text, Variant, pack_of, refused_types};

/// Numbers that stand for a query or a chunk, at most.
const MOST_NUMBERS: usize = 512;
/// Picks of a query, at most: they stay in the registers of a warp, with the scores of a pass.
const MOST_PICKS: usize = 256;
/// Scores of a pass.
const CAPACITY: usize = 512;
/// Threads of a block.
const THREADS: usize = 128;
/// Rows of a tile of a block, which has one or two.
const TILE: usize = 16;
/// Shared memory that the text declares by itself.
const STATIC_BYTES: usize = 256;

/// Whether the text computes the problem on its device, and why not.
pub fn takes<R: GpuRuntime, BT: BoolElement>(problem: &ChunkScores<Gpu<R, BT>>) -> Choice<()> {
    let device = problem.query.device();
    let capability = R::cuda_capability(&device)?;
    let ([_, seq_q, width], n_picks) = (problem.query.dims(), problem.choice.n_picks());
    let shared = R::client(&device).properties().hardware.max_shared_memory_size;
    // later queries have no fewer candidates
    let has_candidates = || seq_q == 0 || problem.slots(0).candidates.len() >= n_picks;
    let refused = refused_types(capability, &[problem.query.dtype(), problem.chunks.dtype()])
        .or_else(|| problem.refused())
        .or_else(|| (!width.is_multiple_of(8)).then_some("what chunks are scored by is no multiple of 8 numbers"))
        .or_else(|| (width > MOST_NUMBERS).then_some("chunks are scored by more than 512 numbers"))
        .or_else(|| (n_picks == 0).then_some("no chunk is picked by its score"))
        .or_else(|| (n_picks > MOST_PICKS).then_some("more than 256 picks"))
        .or_else(|| (!has_candidates()).then_some("fewer candidates than picks"))
        .or_else(|| {
            let needed = shared_bytes(width, TILE, n_picks) + STATIC_BYTES;
            (needed > shared).then_some("the picks of some queries do not fit the shared memory of a block")
        });
    Some(refused.map_or(Ok(()), Err))
}

/// Picks that a row has room for.
fn room(n_picks: usize) -> usize {
    n_picks.next_multiple_of(32)
}

fn shared_bytes(width: usize, rows: usize, n_picks: usize) -> usize {
    rows * (width.div_ceil(32) * 64 + (CAPACITY + 8) * 4 + room(n_picks) * 8)
}

/// The text for a width, type and pack of heads that `variant` names, launched for blocks of so many rows and so many picks.
pub(crate) fn text(variant: &Variant, rows: usize, n_picks: usize) -> Text {
    let files = [include_str!("../cuda/direct.cu"), include_str!("cuda/choose.cu")];
    let defines = variant.defines(&[("ROWS", rows), ("CAPACITY", CAPACITY), ("PICKS", room(n_picks))]);
    Text::new("choose_chunks", &files, &defines, THREADS, shared_bytes(variant.head_dim, rows, n_picks))
}

/// Returns what [`reference`](super::reference) returns; [`takes`] says where.
pub fn choose<R: GpuRuntime, BT: BoolElement>(problem: &ChunkScores<Gpu<R, BT>>) -> Tensor<Gpu<R, BT>, 3, Int> {
    let [n_heads, seq_q, width] = problem.query.dims();
    let (query, chunks) = (Rows::of(problem.query.clone(), 8), Rows::of(problem.chunks.clone(), 8));
    let (client, choice) = (&query.tensor.client, problem.choice);
    let out = empty(&query.tensor, [n_heads, seq_q, choice.n_slots], DType::I32);
    if seq_q == 0 {
        return int_tensor(out);
    }
    let n_rep = n_heads / chunks.heads;
    let (pack, n_picks) = (pack_of(n_rep), choice.n_picks());
    let fits =
        shared_bytes(width, 2 * TILE, n_picks) + STATIC_BYTES <= client.properties().hardware.max_shared_memory_size;
    let rows = if fits && seq_q * pack > TILE { 2 * TILE } else { TILE };
    let variant = Variant {
        head_dim: width,
        rotary_dim: 0, // nothing is rotated
        dtype: query.tensor.dtype,
        pack,
        soft_cap: None,
        has_holes: false,
    };
    let (ends, tails): (Vec<u32>, Vec<u32>) = (0..seq_q)
        .map(|row| problem.slots(row))
        .map(|slots| (slots.candidates.end as u32, problem.tail(&slots)))
        .unzip();
    let [ends, tails] = upload_lists_once::<R, 2>(client, &out.device, [&ends, &tails]);
    let info = [query.head_stride, query.row_stride, chunks.head_stride].into_iter().fold(Info::default(), Info::wide);
    let words = [chunks.row_stride, seq_q, n_heads, n_rep, chunks.seq, choice.n_slots];
    let info = words.into_iter().chain([choice.n_first, n_picks, choice.n_newest]).fold(info, Info::word);
    let grid = [(seq_q * pack).div_ceil(rows), n_heads / pack, 1];
    let buffers = [&query.tensor.handle, &chunks.tensor.handle, &ends, &tails, &out.handle];
    R::launch_text(client, text(&variant, rows, n_picks), grid, &[], &buffers, &info);
    int_tensor(out)
}
