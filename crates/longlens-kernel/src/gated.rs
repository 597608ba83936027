//! Activations of an MLP, alone and as a gate: `y = f(gate) * up` (Shazeer, 2020, arXiv:2002.05202).
//!
//! | activation | `f(x)` |
//! |---|---|
//! | `Silu` | `x / (1 + e^-x)` |
//! | `Gelu` | `x Φ(x)`, with the normal distribution `Φ` (Hendrycks and Gimpel, 2016, arXiv:1606.08415) |
//! | `GeluTanh` | `x / (1 + e^-2k)`, `k = sqrt(2 / π) (x + 0.044715 x^3)`, the same paper's approximation |
//!
//! The kernel agrees with f64 to 1e-6 of `|x * up|`.

use burn_tensor::Tensor;
use burn_tensor::activation::{gelu, sigmoid, silu};
use burn_tensor::backend::Backend;

#[cfg(feature = "flex")]
pub mod cpu;
#[cfg(feature = "cube")]
pub mod cube;

/// A function of one number, `hidden_act` in `config.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `silu` and `swish`.
    Silu,
    /// `gelu`: with the error function.
    Gelu,
    /// `gelu_pytorch_tanh` and `gelu_new`: with the hyperbolic tangent.
    GeluTanh,
}

impl Activation {
    /// Every activation.
    pub const ALL: [Self; 3] = [Self::Silu, Self::Gelu, Self::GeluTanh];
}

/// Applied to each number; any shape, which it returns.
pub fn activated<B: Backend>(activation: Activation, x: Tensor<B, 2>) -> Tensor<B, 2> {
    match activation {
        Activation::Silu => silu(x),
        Activation::Gelu => gelu(x),
        Activation::GeluTanh => {
            let cubic = x.clone() * x.clone().square().mul_scalar(TANH_CUBIC).add_scalar(1.0);
            x * sigmoid(cubic.mul_scalar(2.0 * TANH_SCALE))
        }
    }
}

/// Tensors of one shape; returns the same shape.
pub fn reference<B: Backend>(activation: Activation, gate: Tensor<B, 2>, up: Tensor<B, 2>) -> Tensor<B, 2> {
    activated(activation, gate) * up
}

/// `sqrt(2 / π)`.
const TANH_SCALE: f32 = 0.797_884_6;
const TANH_CUBIC: f32 = 0.044_715;

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn_flex::{Flex, FlexDevice};
    use burn_tensor::TensorData;

    use super::*;
    use crate::cpu::simd::{arches, name};

    fn tensor(numbers: Vec<f32>) -> Tensor<Flex, 2> {
        let n = numbers.len();
        Tensor::from_data(TensorData::new(numbers, [1, n]), &FlexDevice)
    }

    /// `f(x) / x` in f64; `Φ` as the integral of its density by Simpson's rule.
    fn factor(activation: Activation, x: f64) -> f64 {
        match activation {
            Activation::Silu => 1.0 / (1.0 + (-x).exp()),
            Activation::GeluTanh => {
                let k = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
                f64::midpoint(1.0, k.tanh())
            }
            Activation::Gelu => {
                let to = x.clamp(-12.0, 12.0);
                let density = |t: f64| (-t * t / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
                let h = to / 2000.0;
                let inner: f64 =
                    (1..2000).map(|n| density(f64::from(n) * h) * if n % 2 == 1 { 4.0 } else { 2.0 }).sum();
                0.5 + h / 3.0 * (density(0.0) + inner + density(to))
            }
        }
    }

    #[test]
    fn the_kernel_and_the_reference_match_the_definition() {
        for activation in Activation::ALL {
            for n in [1usize, 15, 16, 33, 5_000, 140_000] {
                let range = if n == 5_000 { 12.0 } else { 200.0 };
                let gate: Vec<f32> = (0..n).map(|at| (at as f32 / n as f32 - 0.5) * range).collect();
                let up: Vec<f32> = (0..n).map(|at| (at % 7) as f32 - 2.5).collect();
                // the long case is about threads: a part of it is looked at
                let step = n.div_ceil(5_000);
                let check = |name: &str, y: Tensor<Flex, 2>, up: &[f32]| {
                    let y: Vec<f32> = y.into_data().to_vec().unwrap();
                    assert_eq!(y.len(), n);
                    for ((y, x), u) in y.iter().zip(&gate).zip(up).step_by(step) {
                        let (x, u) = (f64::from(*x), f64::from(*u));
                        let expected = x * u * factor(activation, x);
                        let off = (f64::from(*y) - expected).abs();
                        assert!(off <= 1e-6 * (x * u).abs(), "{activation:?}, {name}: {y} for {expected} of {x}");
                    }
                };
                let ones = vec![1.0; n];
                check("reference", reference(activation, tensor(gate.clone()), tensor(up.clone())), &up);
                check("reference", activated(activation, tensor(gate.clone())), &ones);
                for arch in arches() {
                    check(name(arch), cpu::gated(arch, activation, tensor(gate.clone()), tensor(up.clone())), &up);
                    check(name(arch), cpu::activated(arch, activation, tensor(gate.clone())), &ones);
                    // views of larger tensors, and a gate that somebody else holds
                    let wide = |numbers: &[f32]| tensor([&[9.0], numbers].concat()).slice([0..1, 1..n + 1]);
                    let held = wide(&gate);
                    check(name(arch), cpu::gated(arch, activation, held.clone(), wide(&up)), &up);
                    check(name(arch), cpu::gated(arch, activation, held, wide(&up)), &up);
                }
            }
        }
    }

    #[test]
    fn ends_are_those_of_the_definition() {
        for (arch, activation) in arches().into_iter().flat_map(|arch| Activation::ALL.map(|it| (arch, it))) {
            let gate = vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1e30, 1e30, 0.0];
            let y = cpu::gated(arch, activation, tensor(gate), tensor(vec![1.0; 6]));
            let y: Vec<f32> = y.into_data().to_vec().unwrap();
            assert!(y[0].is_nan() && y[2].is_nan(), "{activation:?}: {y:?}");
            assert_eq!((y[1], y[3], y[4], y[5]), (f32::INFINITY, 0.0, 1e30, 0.0), "{activation:?}, {}", name(arch));
        }
    }
}
