//! The choice of chunks on a GPU: scores as a product, then one row of them for every eight units, which find the least score that
//! is still chosen bit by bit and write the chunks down in ascending order. Nothing is read back.
//!
//! Memory: scores of a block of queries. Agrees with the reference wherever scores are no closer than their rounding.

use burn_cubecl::element::BoolElement;
use burn_cubecl::tensor::CubeTensor;
use burn_tensor::{DType, Int, Tensor};
use cubecl::prelude::*;
use cubecl::server::Handle;

use super::ChunkScores;
use crate::cube::known::upload_once;
use crate::cube::{Gpu, GpuRuntime, LANES, Rows, array, cubes_for, empty, handle_array, int_tensor, refused_device};
use crate::in_f32;
use crate::linear::cube::products_of_heads;

/// Scores held at once, in numbers.
const BLOCK: usize = 1 << 24;
/// Units of a cube.
const UNITS: u32 = 64;
/// Numbers that say what one query chooses from.
const SLOTS: usize = 5;

/// Why no kernel here computes a problem, if none does.
pub fn refused<R: GpuRuntime, BT: BoolElement>(problem: &ChunkScores<Gpu<R, BT>>) -> Option<&'static str> {
    if let Some(reason) = problem.refused() {
        return Some(reason);
    }
    if !problem.query.dims()[2].is_multiple_of(8) {
        return Some("what chunks are scored by is no multiple of 8 numbers");
    }
    refused_device(&R::client(&problem.query.device()))
}

/// Returns what [`reference`](super::reference) returns.
pub fn choose<R: GpuRuntime, BT: BoolElement>(problem: &ChunkScores<Gpu<R, BT>>) -> Tensor<Gpu<R, BT>, 3, Int> {
    let [n_heads, seq, width] = problem.query.dims();
    let n_chunks = problem.chunks.dims()[1];
    let step = (BLOCK / (n_heads * n_chunks).max(1)).clamp(1, seq.max(1));
    let chunks = Rows::of(in_f32(problem.chunks.clone()), 4);
    let parts = (0..seq).step_by(step).map(|start| {
        let rows = start..(start + step).min(seq);
        let query = Rows::of(problem.query.clone().slice([0..n_heads, rows.clone(), 0..width]), 4);
        let slots = upload_once::<R>(&query.tensor.client, &query.tensor.device, &slots(problem, rows));
        pick(problem, &products_of_heads(&query, &chunks), &slots)
    });
    let mut parts: Vec<_> = parts.collect();
    if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(parts, 1) }
}

/// Of every query: its candidates, its newest chunks, and the tail's chunk.
fn slots<R: GpuRuntime, BT: BoolElement>(problem: &ChunkScores<Gpu<R, BT>>, rows: std::ops::Range<usize>) -> Vec<u32> {
    let of_row = |row: usize| {
        let slots = problem.slots(row);
        let ends = [slots.candidates.start, slots.candidates.end, slots.newest.start, slots.newest.end];
        ends.map(|end| end as u32).into_iter().chain([problem.tail(&slots)])
    };
    rows.flat_map(of_row).collect()
}

fn pick<R: GpuRuntime, BT: BoolElement>(
    problem: &ChunkScores<Gpu<R, BT>>,
    scores: &CubeTensor<R>,
    slots: &Handle,
) -> Tensor<Gpu<R, BT>, 3, Int> {
    let [n_heads, seq, n_chunks] = [0, 1, 2].map(|at| scores.meta.shape()[at]);
    let n_slots = problem.choice.n_slots;
    let out = empty(scores, [n_heads, seq, n_slots], DType::I32);
    // SAFETY: candidates are complete chunks, which have scores
    unsafe {
        pick_best::launch_unchecked::<R>(
            &scores.client,
            cubes_for(n_heads * seq, (UNITS / LANES) as usize),
            CubeDim::new_1d(UNITS),
            array(scores),
            handle_array(slots, size_of::<u32>()),
            array(&out),
            (n_heads * seq) as u32,
            seq as u32,
            n_chunks as u32,
            problem.choice.n_picks() as u32,
            n_slots as u32,
        );
    }
    int_tensor(out)
}

#[cube(launch_unchecked)]
fn pick_best(
    scores: &Array<f32>,
    slots: &Array<u32>,
    out: &mut Array<i32>,
    n_rows: u32,
    seq: u32,
    n_chunks: u32,
    n_picks: u32,
    n_slots: u32,
) {
    let lane = UNIT_POS % LANES;
    let place = ABSOLUTE_POS as u32 / LANES;
    let row = min(place, n_rows - 1);
    let slot = ((row % seq) * SLOTS as u32) as usize;
    let (start, end) = (slots[slot], slots[slot + 1]);
    let share = (end - start).div_ceil(LANES);
    let (from, to) = (min(start + lane * share, end), min(start + (lane + 1) * share, end));
    let first = row * n_chunks;

    // the largest key that at least `n_picks` candidates reach
    let mut least = 0u32.runtime();
    for bit in 0..32u32 {
        let higher = least | (1u32 << (31 - bit));
        let mut n = 0u32.runtime();
        for chunk in from..to {
            n += select(ordered(scores[(first + chunk) as usize]) >= higher, 1u32, 0u32);
        }
        if lanes_count(n) >= n_picks {
            least = higher;
        }
    }
    let mut above = 0u32.runtime();
    let mut equal = 0u32.runtime();
    for chunk in from..to {
        let key = ordered(scores[(first + chunk) as usize]);
        above += select(key > least, 1u32, 0u32);
        equal += select(key == least, 1u32, 0u32);
    }
    // of equal ones the lowest, as many as are left
    let mut equal_left = n_picks - lanes_count(above);
    let mut to_slot = start;
    let mut own_equal = 0u32.runtime();
    let first_lane = UNIT_POS_PLANE - lane;
    for other in 0..LANES {
        let its_above = plane_shuffle(above, first_lane + other);
        let its_equal = min(plane_shuffle(equal, first_lane + other), equal_left);
        if other < lane {
            to_slot += its_above + its_equal;
        }
        if other == lane {
            own_equal = its_equal;
        }
        equal_left -= its_equal;
    }
    if place < n_rows {
        let first_slot = row * n_slots;
        for chunk in from..to {
            let key = ordered(scores[(first + chunk) as usize]);
            let mut is_chosen = key > least;
            if key == least && own_equal > 0 {
                is_chosen = true;
                own_equal -= 1;
            }
            if is_chosen {
                out[(first_slot + to_slot) as usize] = chunk as i32;
                to_slot += 1;
            }
        }
        if lane == 0 {
            for chunk in 0..start {
                out[(first_slot + chunk) as usize] = chunk as i32;
            }
            let (newest, newest_end) = (slots[slot + 2], slots[slot + 3]);
            for chunk in newest..newest_end {
                out[(first_slot + start + n_picks + chunk - newest) as usize] = chunk as i32;
            }
            out[(first_slot + n_slots - 1) as usize] = slots[slot + 4] as i32;
        }
    }
}

/// A whole number that is larger for a larger score.
#[cube]
fn ordered(score: f32) -> u32 {
    let bits = u32::reinterpret(score + 0.0); // no negative zero
    select(bits >> 31 == 1, !bits, bits | 0x8000_0000u32)
}

/// The sum of a count over the [`LANES`] units of a row.
#[cube]
fn lanes_count(n: u32) -> u32 {
    let mut sum = n + plane_shuffle_xor(n, 1u32);
    sum += plane_shuffle_xor(sum, 2u32);
    sum + plane_shuffle_xor(sum, 4u32)
}
