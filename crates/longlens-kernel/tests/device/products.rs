//! Products with weights in every form that the device keeps.

use burn_flex::{Flex, FlexDevice};
use burn_tensor::DType;
use longlens_kernel::blocks::BlockType;
use longlens_kernel::linear::{Matrix, Storage, StoredWeights, Weights};
use longlens_kernel::{Kernels, Operation};

use crate::common::{both, close, numbers, tolerance};
use crate::{Gpu, gpu, is_absent, rounds_rows};

pub type OnCpu = <Flex as Kernels>::Matrix;
pub type OnGpu = <Gpu as Kernels>::Matrix;

/// Rows that take the kernel for few and the one for many, and ragged numbers of outputs.
const SHAPES: [[usize; 3]; 6] = [[1, 64, 40], [3, 96, 7], [8, 32, 130], [9, 64, 65], [70, 160, 33], [130, 8, 64]];

pub fn check(cpu: &OnCpu, on_gpu: &OnGpu, has_sixteen_bits: bool, seq: usize, what: &str) {
    let tolerance = if has_sixteen_bits && rounds_rows() { tolerance(DType::BF16) } else { 2e-6 };
    let [d_out, d_in] = on_gpu.shape();
    let ((x, x_gpu), (residual, residual_gpu)) = (both([seq, d_in]), both([seq, d_out]));
    let expected = numbers(cpu.product(x.clone()));
    close(&numbers(on_gpu.product(x_gpu.clone())), &expected, tolerance, what);
    let expected = numbers(cpu.product_add(x, residual));
    close(&numbers(on_gpu.product_add(x_gpu, residual_gpu)), &expected, tolerance, what);
    let rows: Vec<u32> = (0..seq).map(|at| (at * 7 % d_out) as u32).collect();
    close(&numbers(on_gpu.rows(&rows)), &numbers(cpu.rows(&rows)), 1e-6, what);
}

#[test]
fn products_match_in_every_storage() {
    if is_absent() {
        return;
    }
    for storage in Storage::ALL {
        for [seq, d_in, d_out] in SHAPES {
            for has_bias in [false, true] {
                let weights = numbers(both([d_out, d_in]).0);
                let bias = has_bias.then(|| numbers(both([d_out]).0));
                let rows = &|first: usize, out: &mut [f32]| out.copy_from_slice(&weights[first * d_in..][..out.len()]);
                let weights = Weights { d_out, d_in, rows, bias };
                let on_gpu = OnGpu::pack(&weights, storage, &gpu());
                assert!(!Gpu::body(&Operation::Linear(&on_gpu)).is_reference());
                let what = format!("{storage}, {seq} x {d_in} x {d_out}");
                let cpu = OnCpu::pack(&weights, storage, &FlexDevice);
                // many rows meet weights of few bits as bf16 where there are tensor cores
                let rounds = storage == Storage::Bf16 || storage != Storage::F32 && seq >= 128;
                check(&cpu, &on_gpu, rounds, seq, &what);
            }
        }
    }
}

#[test]
fn products_match_in_the_blocks_of_a_file() {
    if is_absent() {
        return;
    }
    for kind in BlockType::ALL {
        let [d_out, d_in] = [37, 256];
        let row_bytes = kind.row_bytes(d_in).unwrap();
        // numbers of 16 and 32 bits stay finite
        let mut bytes: Vec<u8> = (0..row_bytes * d_out).map(|at| noise(at) & 0xBF).collect();
        for block in bytes.chunks_exact_mut(kind.bytes()) {
            for at in kind.halves() {
                block[at + 1] = block[at + 1] & 0x83 | (6 + block[*at] % 9) << 2; // scales from 2^-9 to 1
            }
        }
        let rows = &|first: usize, out: &mut [u8]| out.copy_from_slice(&bytes[first * row_bytes..][..out.len()]);
        let weights = StoredWeights { kind, d_out, d_in, rows, bias: None };
        let (cpu, on_gpu) = (OnCpu::pack_stored(&weights, &FlexDevice), OnGpu::pack_stored(&weights, &gpu()));
        for seq in [2, 20] {
            let has_sixteen_bits = matches!(kind, BlockType::Bf16 | BlockType::F16);
            check(&cpu, &on_gpu, has_sixteen_bits, seq, &format!("{kind}, {seq} rows"));
        }
    }
}

/// Bytes without an order (SplitMix64).
fn noise(at: usize) -> u8 {
    let mut z = (at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (z ^ (z >> 27)) as u8
}
