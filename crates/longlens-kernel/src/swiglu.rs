//! SwiGLU without its products: `y = silu(gate) * up`, with `silu(x) = x / (1 + e^-x)` (Shazeer, 2020, arXiv:2002.05202).
//!
//! The kernel agrees with f64 to 1e-6 relative.

use burn::tensor::Tensor;
use burn::tensor::activation::silu;
use burn::tensor::backend::Backend;

#[cfg(feature = "flex")]
pub mod cpu;

/// Tensors of one shape; returns the same shape.
pub fn reference<B: Backend>(gate: Tensor<B, 2>, up: Tensor<B, 2>) -> Tensor<B, 2> {
    silu(gate) * up
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::backend::Flex;
    use burn::backend::flex::FlexDevice;
    use burn::tensor::TensorData;

    use super::*;
    use crate::cpu::simd::{arches, name};

    fn tensor(numbers: Vec<f32>) -> Tensor<Flex, 2> {
        let n = numbers.len();
        Tensor::from_data(TensorData::new(numbers, [1, n]), &FlexDevice)
    }

    #[test]
    fn the_kernel_and_the_reference_match_the_definition() {
        for n in [1, 15, 16, 33, 140_000] {
            let gate: Vec<f32> = (0..n).map(|at| at as f32 * 200.0 / n as f32 - 100.0).collect();
            let up: Vec<f32> = (0..n).map(|at| (at % 7) as f32 - 2.5).collect();
            let check = |name: &str, y: Tensor<Flex, 2>| {
                let y: Vec<f32> = y.into_data().to_vec().unwrap();
                assert_eq!(y.len(), n);
                for ((y, x), u) in y.iter().zip(&gate).zip(&up) {
                    let (x, u) = (f64::from(*x), f64::from(*u));
                    let expected = x * u / (1.0 + (-x).exp());
                    let off = (f64::from(*y) - expected).abs();
                    assert!(off <= 1e-6 * (x * u).abs(), "{name}: {y} for {expected}");
                }
            };
            check("reference", reference(tensor(gate.clone()), tensor(up.clone())));
            for arch in arches() {
                check(name(arch), cpu::swiglu(arch, tensor(gate.clone()), tensor(up.clone())));
                // views of larger tensors, and a gate that somebody else holds
                let wide = |numbers: &[f32]| tensor([&[9.0], numbers].concat()).slice([0..1, 1..n + 1]);
                let held = wide(&gate);
                check(name(arch), cpu::swiglu(arch, held.clone(), wide(&up)));
                check(name(arch), cpu::swiglu(arch, held, wide(&up)));
            }
        }
    }

    #[test]
    fn ends_are_those_of_the_definition() {
        for arch in arches() {
            let gate = vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1e30, 1e30, 0.0];
            let y: Vec<f32> = cpu::swiglu(arch, tensor(gate), tensor(vec![1.0; 6])).into_data().to_vec().unwrap();
            assert!(y[0].is_nan() && y[2].is_nan(), "{y:?}");
            assert_eq!((y[1], y[3], y[4], y[5]), (f32::INFINITY, 0.0, 1e30, 0.0), "{}", name(arch));
        }
    }
}
