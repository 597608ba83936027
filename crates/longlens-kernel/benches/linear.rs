//! Products with weights, beside the library that burn-flex multiplies with, and the two passes between them.
//!
//! `cargo bench -p longlens-kernel --bench linear -- prefill`; items are floating-point operations, `2 rows d_in d_out`, and
//! bytes are those of the weights as they are stored. `LONGLENS_SIMD=avx2` measures another instruction set.

use burn_flex::{Flex, FlexDevice};
use burn_tensor::{Distribution, Tensor};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use longlens_kernel::gated::{self, Activation};
use longlens_kernel::linear::cpu::Packed;
use longlens_kernel::linear::{Dense, Matrix, Storage, Weights};
use longlens_kernel::{Kernels, rms_norm};

fn main() {
    divan::main();
}

/// Rows, `d_in`, `d_out`.
type Size = (usize, usize, usize);

/// The MLP of a 1B and of a 7B model, and of the embedded one at two lengths.
const PREFILL: [Size; 5] =
    [(512, 2048, 8192), (4096, 2048, 8192), (512, 4096, 11_008), (4096, 128, 256), (512, 256, 128)];
const DECODE: [Size; 4] = [(1, 2048, 8192), (1, 4096, 11_008), (1, 128, 256), (4, 4096, 11_008)];

fn random<const D: usize>(shape: [usize; D]) -> Tensor<Flex, D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &FlexDevice)
}

fn matrix<M: Matrix<Flex>>((_, d_in, d_out): Size, storage: Storage) -> M {
    let rows = &|first: usize, out: &mut [f32]| {
        for (at, out) in (first * d_in..).zip(out) {
            *out = (at * 7919 % 1009) as f32 / 504.0 - 1.0;
        }
    };
    M::pack(&Weights { d_out, d_in, rows, bias: None }, storage, &FlexDevice)
}

fn measure<M: Matrix<Flex>>(bencher: Bencher<'_, '_>, size: Size, storage: Storage) {
    let (rows, d_in, d_out) = size;
    let (matrix, x) = (matrix::<M>(size, storage), random([rows, d_in]));
    bencher
        .counter(ItemsCount::new(2 * rows * d_in * d_out))
        .counter(BytesCount::new(storage.bytes(d_in * d_out)))
        .bench_local(|| matrix.product(black_box(x.clone())));
}

#[divan::bench(args = PREFILL, sample_count = 7, sample_size = 1)]
fn prefill_library(bencher: Bencher<'_, '_>, size: Size) {
    measure::<Dense<Flex>>(bencher, size, Storage::F32);
}

#[divan::bench(args = PREFILL, consts = [0, 1, 2, 3], sample_count = 7, sample_size = 1)]
fn prefill<const STORAGE: usize>(bencher: Bencher<'_, '_>, size: Size) {
    measure::<Packed>(bencher, size, Storage::ALL[STORAGE]);
}

#[divan::bench(args = DECODE, sample_count = 20)]
fn decode_library(bencher: Bencher<'_, '_>, size: Size) {
    measure::<Dense<Flex>>(bencher, size, Storage::F32);
}

#[divan::bench(args = DECODE, consts = [0, 1, 2, 3], sample_count = 20)]
fn decode<const STORAGE: usize>(bencher: Bencher<'_, '_>, size: Size) {
    measure::<Packed>(bencher, size, Storage::ALL[STORAGE]);
}

/// Rows and width.
const PASSES: [(usize, usize); 3] = [(1, 4096), (512, 128), (512, 8192)];

#[divan::bench(args = PASSES, consts = [false, true], sample_count = 20)]
fn norm<const KERNEL: bool>(bencher: Bencher<'_, '_>, (rows, width): (usize, usize)) {
    let (x, gamma) = (random([rows, width]), random([width]));
    bencher.counter(ItemsCount::new(rows * width)).bench_local(|| {
        let x = black_box(x.clone());
        if KERNEL { Flex::rms_norm(x, &gamma, 1e-5) } else { rms_norm::reference(x, &gamma, 1e-5) }
    });
}

#[divan::bench(args = PASSES, consts = [false, true], sample_count = 20)]
fn gate<const KERNEL: bool>(bencher: Bencher<'_, '_>, (rows, width): (usize, usize)) {
    let up = random([rows, width]);
    bencher.counter(ItemsCount::new(rows * width)).with_inputs(|| random([rows, width])).bench_local_values(|gate| {
        let up = black_box(up.clone());
        if KERNEL { Flex::gated(Activation::Silu, gate, up) } else { gated::reference(Activation::Silu, gate, up) }
    });
}
