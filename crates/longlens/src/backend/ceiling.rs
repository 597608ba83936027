//! What this machine can do at most, measured: the numbers beside which `longlens bench` puts a model's own.
//!
//! They are ceilings of plain operations, not laws: kernels may be faster than the library's matrix product, and data that
//! stays in the caches is read faster than memory.

use std::hint::black_box;
use std::time::Instant;

use burn_tensor::backend::Backend;
use burn_tensor::{Distribution, FloatDType, Tensor};
use rayon::prelude::*;
use serde::Serialize;

/// The most that was measured of each.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ceilings {
    /// Operations a second of a matrix product.
    pub flops_per_s: f64,
    /// Bytes a second read from memory.
    pub bytes_per_s: f64,
}

/// Rows and columns of the matrices.
const SIDE: usize = 1024;
/// Bytes read from memory: far more than caches hold.
const BUFFER: usize = 256 << 20;
/// Each is measured at least this often, and until [`SECONDS`] are over.
const ROUNDS: usize = 5;
const SECONDS: f64 = 0.2;

/// Operations a second of products of two square f32 matrices, one product on every thread at once.
pub fn flops<B: Backend>(device: &B::Device) -> f64 {
    let product = product::<B>(device);
    let best = best_of(|| drop(rayon::broadcast(|_| product())));
    rayon::current_num_threads() as f64 * PRODUCT / best
}

/// Operations a second of one product on a device that divides it by itself: of numbers of 16 bits, where it attends to such, and of
/// matrices as large as take a device a while, or [`LARGEST`].
pub fn device_flops<B: Backend>(device: &B::Device, in_sixteen_bits: bool) -> f64 {
    let dtype = if in_sixteen_bits { FloatDType::BF16 } else { FloatDType::F32 };
    let mut side = SIDE;
    loop {
        let matrix = || Tensor::<B, 2>::random([side, side], Distribution::Default, device).cast(dtype);
        let (a, b) = (matrix(), matrix());
        let seconds = best_of(|| {
            black_box(a.clone().matmul(b.clone()).slice([0..1, 0..1]).into_data());
        });
        if seconds > A_WHILE || side == LARGEST {
            return 2.0 * (side as f64).powi(3) / seconds;
        }
        side *= 2;
    }
}

/// Rows of the largest product of a device.
const LARGEST: usize = 8192;
/// Seconds beside which starting something on a device and hearing of its end count for little.
const A_WHILE: f64 = 5e-3;

/// Operations of one product.
const PRODUCT: f64 = 2.0 * (SIDE * SIDE * SIDE) as f64;

fn product<B: Backend>(device: &B::Device) -> impl Fn() + Sync {
    let matrix = || Tensor::<B, 2>::random([SIDE, SIDE], Distribution::Default, device);
    let (a, b) = (matrix(), matrix());
    move || {
        let corner = a.clone().matmul(b.clone()).slice([0..1, 0..1]);
        black_box(corner.into_data()); // nothing is done on some devices before somebody looks
    }
}

/// Bytes a second that all threads together read from the processor's memory.
pub fn memory() -> f64 {
    let buffer = vec![1u64; BUFFER / size_of::<u64>()];
    let share = buffer.len().div_ceil(4 * rayon::current_num_threads());
    let best = best_of(|| {
        let part = |part: &[u64]| part.iter().fold(0u64, |sum, number| sum.wrapping_add(*number));
        black_box(buffer.par_chunks(share).map(part).sum::<u64>());
    });
    BUFFER as f64 / best
}

/// Bytes a second that the device reads from and writes to its own memory together.
pub fn device_memory<B: Backend>(device: &B::Device) -> f64 {
    let buffer = Tensor::<B, 1>::ones([BUFFER / size_of::<f32>()], device);
    let seconds = |n_copies: usize| {
        best_of(|| {
            let mut last = buffer.clone();
            for _ in 0..n_copies {
                last = buffer.clone().add_scalar(1.0); // the one before is given back
            }
            black_box(last.slice([0..1]).into_data());
        })
    };
    // what starting and waiting take is in both
    let (few, many) = (seconds(1), seconds(1 + COPIES));
    2.0 * (BUFFER * COPIES) as f64 / (many - few).max(1e-9)
}

/// Copies of the buffer, one after the other.
const COPIES: usize = 8;

/// Seconds of the fastest run; the first one, which may compile or touch memory, does not count.
fn best_of(mut run: impl FnMut()) -> f64 {
    run();
    let (begun, mut rounds, mut best) = (Instant::now(), 0, f64::INFINITY);
    while rounds < ROUNDS || begun.elapsed().as_secs_f64() < SECONDS {
        let started = Instant::now();
        run();
        best = best.min(started.elapsed().as_secs_f64());
        rounds += 1;
    }
    best
}
