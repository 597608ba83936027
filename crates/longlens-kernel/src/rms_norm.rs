//! RMSNorm: `y = x / sqrt(mean(x^2) + eps) * gamma`, row by row (Zhang and Sennrich, 2019, arXiv:1910.07467).
//!
//! The kernel agrees with the sum in f64 to 1e-6 relative.

use burn_tensor::Tensor;
use burn_tensor::backend::Backend;

#[cfg(feature = "flex")]
pub mod cpu;
#[cfg(feature = "cube")]
pub mod cube;

/// `x`: `[seq, width]`, `gamma`: `[width]`; returns `[seq, width]`.
pub fn reference<B: Backend>(x: Tensor<B, 2>, gamma: &Tensor<B, 1>, eps: f64) -> Tensor<B, 2> {
    let root = x.clone().square().mean_dim(1).add_scalar(eps).sqrt(); // [seq, 1]
    x / root * gamma.clone().unsqueeze()
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn_flex::{Flex, FlexDevice};
    use burn_tensor::{Distribution, TensorData};

    use super::*;
    use crate::cpu::simd::{arches, name};

    #[test]
    fn the_kernel_and_the_reference_match_the_definition() {
        for (n_rows, width) in [(1, 1), (3, 31), (2, 64), (5, 300), (140, 2048)] {
            let all = Tensor::<Flex, 2>::random([n_rows + 1, width], Distribution::Normal(0.0, 3.0), &FlexDevice);
            let x = all.slice([1..n_rows + 1]);
            let gamma = Tensor::<Flex, 1>::random([width], Distribution::Normal(1.0, 0.3), &FlexDevice);
            let numbers: Vec<f32> = x.to_data().to_vec().unwrap();
            let factors: Vec<f32> = gamma.to_data().to_vec().unwrap();
            let expected = numbers.chunks(width).flat_map(|row| {
                let mean = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / width as f64;
                let scale = (mean + 1e-5).sqrt().recip();
                let of = move |(x, gamma): (&f32, &f32)| f64::from(*x) * scale * f64::from(*gamma);
                row.iter().zip(&factors).map(of).collect::<Vec<_>>()
            });
            let expected: Vec<f64> = expected.collect();
            let check = |name: &str, y: Tensor<Flex, 2>| {
                let y: Vec<f32> = y.into_data().to_vec().unwrap();
                assert_eq!(y.len(), expected.len());
                for (y, expected) in y.iter().zip(&expected) {
                    let off = (f64::from(*y) - expected).abs();
                    assert!(off <= 1e-6 * expected.abs(), "{name}, {n_rows} x {width}: {y} for {expected}");
                }
            };
            check("reference", reference(x.clone(), &gamma, 1e-5));
            for arch in arches() {
                check(name(arch), cpu::rms_norm(arch, x.clone(), &gamma, 1e-5));
            }
        }
    }

    #[test]
    fn what_is_not_a_number_stays_in_its_row() {
        for arch in arches() {
            let mut numbers = vec![1.0; 3 * 50];
            numbers[50 + 49] = f32::NAN;
            let x = Tensor::<Flex, 2>::from_data(TensorData::new(numbers, [3, 50]), &FlexDevice);
            let y: Vec<f32> =
                cpu::rms_norm(arch, x, &Tensor::ones([50], &FlexDevice), 1e-5).into_data().to_vec().unwrap();
            assert!(y.iter().enumerate().all(|(at, y)| y.is_nan() == (50..100).contains(&at)));
        }
    }
}
