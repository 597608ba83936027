//! Layer norm: `y = (x - mean(x)) / sqrt(var(x) + eps) * gamma + beta`, row by row, with the variance over all numbers of the row
//! (Ba, Kiros and Hinton, 2016, arXiv:1607.06450).
//!
//! The kernel agrees with f64 to 2e-6 of the largest magnitude of the row, or of the result where that is larger.

use burn_tensor::Tensor;
use burn_tensor::backend::Backend;

#[cfg(feature = "flex")]
pub mod cpu;
#[cfg(feature = "cube")]
pub mod cube;

/// `x`: `[seq, width]`, `gamma` and `beta`: `[width]`; returns `[seq, width]`.
pub fn reference<B: Backend>(
    x: Tensor<B, 2>,
    gamma: &Tensor<B, 1>,
    beta: Option<&Tensor<B, 1>>,
    eps: f64,
) -> Tensor<B, 2> {
    let x = x.clone() - x.mean_dim(1); // [seq, width]
    let root = x.clone().square().mean_dim(1).add_scalar(eps).sqrt(); // [seq, 1]
    let y = x / root * gamma.clone().unsqueeze();
    match beta {
        Some(beta) => y + beta.clone().unsqueeze(),
        None => y,
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn_flex::{Flex, FlexDevice};
    use burn_tensor::Distribution;

    use super::*;
    use crate::cpu::simd::{arches, name};

    #[test]
    fn the_kernel_and_the_reference_match_the_definition() {
        for (n_rows, width, mean) in [(1, 1, 0.0), (3, 31, 0.0), (2, 64, 20.0), (5, 300, -3.0), (140, 2048, 1.0)] {
            let all = Tensor::<Flex, 2>::random([n_rows + 1, width], Distribution::Normal(mean, 3.0), &FlexDevice);
            let x = all.slice([1..n_rows + 1]);
            let vector = |mean| Tensor::<Flex, 1>::random([width], Distribution::Normal(mean, 0.3), &FlexDevice);
            let (gamma, beta) = (vector(1.0), vector(0.0));
            let numbers = |vector: &Tensor<Flex, 1>| vector.to_data().to_vec::<f32>().unwrap();
            let (factors, shifts) = (numbers(&gamma), numbers(&beta));
            let rows: Vec<f32> = x.to_data().to_vec().unwrap();
            for biased in [false, true] {
                let check = |name: &str, y: Tensor<Flex, 2>| {
                    let y: Vec<f32> = y.into_data().to_vec().unwrap();
                    assert_eq!(y.len(), rows.len());
                    for (y, row) in y.chunks(width).zip(rows.chunks(width)) {
                        let row: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
                        let mean = row.iter().sum::<f64>() / width as f64;
                        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
                        let scale = (variance + 1e-5).sqrt().recip();
                        let largest = row.iter().fold(0.0, |most: f64, x| most.max(x.abs())) * scale;
                        for at in 0..width {
                            let shift = if biased { f64::from(shifts[at]) } else { 0.0 };
                            let expected = (row[at] - mean) * scale * f64::from(factors[at]) + shift;
                            let off = (f64::from(y[at]) - expected).abs();
                            let limit = 2e-6 * largest.max(expected.abs());
                            assert!(off <= limit, "{name}, {n_rows} x {width}: {} for {expected}", y[at]);
                        }
                    }
                };
                let beta = biased.then_some(&beta);
                check("reference", reference(x.clone(), &gamma, beta, 1e-5));
                for arch in arches() {
                    check(name(arch), cpu::layer_norm(arch, x.clone(), &gamma, beta, 1e-5));
                }
            }
        }
    }
}
