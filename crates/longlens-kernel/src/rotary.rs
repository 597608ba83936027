//! Turning queries and keys to positions.
//!
//! `x'[m] = x[m] cos - x[m + d/2] sin`, `x'[m + d/2] = x[m + d/2] cos + x[m] sin`: the half-split layout of Hugging Face
//! checkpoints (Su et al., 2021, arXiv:2104.09864, equation 34). Dimensions past `d` pass through.

use burn_tensor::backend::Backend;
use burn_tensor::{Int, Tensor, TensorData};
use longlens_core::rope::RotaryTable;

#[cfg(feature = "flex")]
pub mod cpu;
#[cfg(feature = "cube")]
pub mod cube;
#[cfg(feature = "cuda-text")]
mod cuda;
#[cfg(feature = "cuda-text")]
pub(crate) use cuda::{OFFSETS, Strides, rotate, takes, text as turn_rows_text, turn_rows};

/// Cosines and sines of consecutive rows, each `[n_rows, rotary_dim / 2]`.
#[derive(Debug, Clone)]
pub struct Rotary<B: Backend> {
    pub(crate) cos: Tensor<B, 2>,
    pub(crate) sin: Tensor<B, 2>,
    /// What leads from row to row, if rows compose and are those of a whole table.
    #[cfg(feature = "cuda-text")]
    pub(crate) steps: Option<std::sync::Arc<cuda::RowSteps>>,
}

impl<B: Backend> Rotary<B> {
    /// Moves a table to the device.
    pub fn new(table: RotaryTable, rotary_dim: usize, device: &B::Device) -> Self {
        let half = rotary_dim / 2;
        let upload = |numbers: Vec<f32>| {
            let n_rows = numbers.len() / half;
            Tensor::from_data(TensorData::new(numbers, [n_rows, half]), device)
        };
        Self {
            cos: upload(table.cos),
            sin: upload(table.sin),
            #[cfg(feature = "cuda-text")]
            steps: table.steps.map(|steps| cuda::RowSteps::new(steps).into()),
        }
    }

    /// Rows of the tables.
    pub fn n_rows(&self) -> usize {
        self.cos.dims()[0]
    }

    /// Rows `start .. end`.
    #[must_use]
    pub fn rows(&self, start: usize, end: usize) -> Self {
        Self::alone(self.cos.clone().slice([start..end]), self.sin.clone().slice([start..end]))
    }

    /// These rows.
    #[must_use]
    pub fn select(&self, rows: Tensor<B, 1, Int>) -> Self {
        Self::alone(self.cos.clone().select(0, rows.clone()), self.sin.clone().select(0, rows))
    }

    /// Rows of which it is not said how they follow from one another.
    fn alone(cos: Tensor<B, 2>, sin: Tensor<B, 2>) -> Self {
        Self {
            cos,
            sin,
            #[cfg(feature = "cuda-text")]
            steps: None,
        }
    }
}

/// `x`: `[n_heads, n_rows, head_dim]`; returns the same shape.
pub fn reference<B: Backend>(rotary: &Rotary<B>, x: &Tensor<B, 3>) -> Tensor<B, 3> {
    let [n_heads, n_rows, head_dim] = x.dims();
    let [rows, half] = rotary.cos.dims();
    assert_eq!(n_rows, rows, "one table row per token");
    let part = |from: usize, to: usize| x.clone().slice([0..n_heads, 0..n_rows, from..to]);
    let (first, second) = (part(0, half), part(half, 2 * half));
    let (cos, sin) = (rotary.cos.clone().unsqueeze::<3>(), rotary.sin.clone().unsqueeze::<3>());
    let mut parts = vec![
        first.clone() * cos.clone() - second.clone() * sin.clone(), // [n_heads, n_rows, half]
        second * cos + first * sin,
    ];
    if 2 * half < head_dim {
        parts.push(part(2 * half, head_dim));
    }
    Tensor::cat(parts, 2)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn_flex::Flex;
    use burn_tensor::Distribution;
    use longlens_core::plan::{PosMap, Prefill};
    use longlens_core::rope::RopeScaling;
    use longlens_core::spec::ModelSpec;

    use super::*;
    use crate::cpu::simd;

    #[test]
    fn the_kernel_matches_the_reference_on_any_strides() {
        // 16 dimensions rotate; the others pass through
        let rope = RopeScaling::none().resolve(&ModelSpec::tiny(64)).unwrap();
        let device = burn_flex::FlexDevice;
        for (n_heads, n_rows, head_dim, start) in [(1, 1, 16, 0), (4, 37, 16, 5), (3, 700, 24, 1), (2, 5, 40, 0)] {
            let table = rope.table(&PosMap::identity(), 0..n_rows, Prefill { n_tokens: n_rows }, n_rows, |_| 1.0);
            let rotary = Rotary::<Flex>::new(table, 16, &device);
            let whole = Tensor::random([n_rows + start, n_heads, head_dim], Distribution::Default, &device);
            // heads interleaved, as a projection leaves them, and a slice of a longer cache
            let interleaved = whole.clone().slice([start..start + n_rows]).swap_dims(0, 1);
            let cached = whole.swap_dims(0, 1).reshape([n_heads, n_rows + start, head_dim]);
            let cached = cached.slice([0..n_heads, start..start + n_rows, 0..head_dim]);
            for x in [interleaved.clone(), cached, interleaved.swap_dims(1, 2).clone().swap_dims(1, 2)] {
                let expected = reference(&rotary, &x).into_data();
                for arch in simd::arches() {
                    let got = cpu::rotate(arch, &rotary, x.clone()).into_data();
                    got.assert_approx_eq::<f32>(&expected, burn_tensor::Tolerance::absolute(1e-6));
                }
            }
        }
    }
}
