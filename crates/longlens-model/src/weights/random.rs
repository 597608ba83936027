//! Random weights: how fast a shape runs does not depend on what its weights say.

use burn_tensor::Tensor;
use longlens_kernel::Kernels;
use longlens_kernel::linear::{Matrix, Storage, Weights};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

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
    Ok(blueprint.build::<Random<'_, B>>(&mut Random { seed, n_tensors: 0, storage, device }))
}

struct Random<'a, B: Kernels> {
    seed: u64,
    /// Tensors so far.
    n_tensors: u64,
    storage: Storage,
    device: &'a B::Device,
}

impl<B: Kernels> Random<'_, B> {
    /// The stream of the next tensor's numbers.
    fn next(&mut self) -> u64 {
        self.n_tensors += 1;
        self.n_tensors
    }
}

impl<B: Kernels> Parameters for Random<'_, B> {
    type Matrix = B::Matrix;
    type Vector = Tensor<B, 1>;

    fn matrix(&mut self, ask: Linear<'_>) -> B::Matrix {
        let [d_out, d_in] = ask.shape;
        let (seed, weights, biases) = (self.seed, self.next(), self.next());
        let rows = &|first: usize, out: &mut [f32]| fill(seed, weights, first * d_in, out);
        let bias = ask.bias.then(|| {
            let mut numbers = vec![0.0; d_out];
            fill(seed, biases, 0, &mut numbers);
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

/// Numbers `first ..` of a tensor, whose random numbers are a stream of their own: nearly normal, each the sum of four parts of
/// 16 bits.
fn fill(seed: u64, tensor: u64, first: usize, out: &mut [f32]) {
    const DEVIATION: f32 = 0.02;
    // four uniform numbers from 0 to 2^16 have the standard deviation 2^16 sqrt(4 / 12)
    let scale = DEVIATION / (65_536.0 * (4.0f32 / 12.0).sqrt());
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(tensor);
    random.set_word_pos(2 * first as u128);
    for out in out {
        let bits = random.next_u64();
        let sum: u32 = (0..4).map(|part| (bits >> (16 * part)) as u32 & 0xFFFF).sum();
        *out = (sum as f32 - 2.0 * 65_535.0) * scale;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_mean_and_deviation_and_do_not_depend_on_where_a_piece_starts() {
        let mut numbers = vec![0.0; 1 << 16];
        fill(7, 1, 0, &mut numbers);
        let n = numbers.len() as f64;
        let mean = numbers.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
        let deviation = (numbers.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / n).sqrt();
        assert!(mean.abs() < 3e-4 && (deviation - 0.02).abs() < 3e-4, "{mean} {deviation}");
        let mut piece = vec![0.0; 100];
        fill(7, 1, 1000, &mut piece);
        assert_eq!(piece, numbers[1000..1100]);
        for (seed, tensor) in [(8, 1), (7, 2)] {
            fill(seed, tensor, 1000, &mut piece);
            assert_ne!(piece, numbers[1000..1100]);
        }
    }
}
