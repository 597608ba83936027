//! Random weights: how fast a shape runs does not depend on what its weights say.

use burn::tensor::Tensor;
use longlens_kernel::Kernels;
use longlens_kernel::linear::{Matrix, Storage, Weights};

use super::{Blueprint, Built, Linear, Parameters};
use crate::error::OpenError;

/// Builds a model of random weights, its matrices kept as `storage`: mean 0 and standard deviation 0.02, norms 1 without shifts. The same
/// seed gives the same model on any number of threads.
pub fn random<B: Kernels, D: Blueprint>(
    blueprint: &D,
    seed: u64,
    storage: Storage,
    device: &B::Device,
) -> Result<Built<B, D>, OpenError> {
    B::Matrix::check(storage)?;
    Ok(blueprint.build::<Random<'_, B>>(&mut Random { state: mix(seed), storage, device }))
}

struct Random<'a, B: Kernels> {
    state: u64,
    storage: Storage,
    device: &'a B::Device,
}

impl<B: Kernels> Random<'_, B> {
    /// Where the numbers of the next tensor start.
    fn next(&mut self) -> u64 {
        self.state = mix(self.state);
        self.state
    }
}

impl<B: Kernels> Parameters for Random<'_, B> {
    type Matrix = B::Matrix;
    type Vector = Tensor<B, 1>;

    fn matrix(&mut self, ask: Linear<'_>) -> B::Matrix {
        let [d_out, d_in] = ask.shape;
        let (weights, biases) = (self.next(), self.next());
        let rows = &|first: usize, out: &mut [f32]| fill(weights, first * d_in, out);
        let bias = ask.bias.then(|| {
            let mut numbers = vec![0.0; d_out];
            fill(biases, 0, &mut numbers);
            numbers
        });
        B::Matrix::pack(&Weights { d_out, d_in, rows, bias }, self.storage, self.device)
    }

    fn norm_weight(&mut self, _: &str, len: usize, _: f32) -> Tensor<B, 1> {
        Tensor::ones([len], self.device)
    }

    fn norm_bias(&mut self, _: &str, len: usize) -> Tensor<B, 1> {
        Tensor::zeros([len], self.device)
    }
}

/// Numbers `first ..` of a sequence: nearly normal, each the sum of four 16-bit parts of one hash.
fn fill(key: u64, first: usize, out: &mut [f32]) {
    const DEVIATION: f32 = 0.02;
    // four uniform numbers from 0 to 2^16 have the standard deviation 2^16 sqrt(4 / 12)
    let scale = DEVIATION / (65_536.0 * (4.0f32 / 12.0).sqrt());
    for (at, out) in (first as u64..).zip(out) {
        let hash = mix(key.wrapping_add(at));
        let sum: u32 = (0..4).map(|part| (hash >> (16 * part)) as u32 & 0xFFFF).sum();
        *out = (sum as f32 - 2.0 * 65_535.0) * scale;
    }
}

/// One step of SplitMix64 (Steele, Lea and Flood, 2014).
fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_mean_and_deviation_and_do_not_depend_on_where_a_piece_starts() {
        let mut numbers = vec![0.0; 1 << 16];
        fill(7, 0, &mut numbers);
        let n = numbers.len() as f64;
        let mean = numbers.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
        let deviation = (numbers.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / n).sqrt();
        assert!(mean.abs() < 3e-4 && (deviation - 0.02).abs() < 3e-4, "{mean} {deviation}");
        let mut piece = vec![0.0; 100];
        fill(7, 1000, &mut piece);
        assert_eq!(piece, numbers[1000..1100]);
        fill(8, 1000, &mut piece);
        assert_ne!(piece, numbers[1000..1100]);
    }
}
