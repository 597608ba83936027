//! Turning queries and keys to positions.
//!
//! `x'[m] = x[m] cos - x[m + d/2] sin`, `x'[m + d/2] = x[m + d/2] cos + x[m] sin`: the half-split layout of Hugging Face
//! checkpoints (Su et al., 2021, arXiv:2104.09864, equation 34). Dimensions past `d` pass through.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use longlens_core::rope::RotaryTable;

/// Cosines and sines of consecutive rows, each `[n_rows, rotary_dim / 2]`.
#[derive(Debug, Clone)]
pub struct Rotary<B: Backend> {
    cos: Tensor<B, 2>,
    sin: Tensor<B, 2>,
}

impl<B: Backend> Rotary<B> {
    /// Moves a table to the device.
    pub fn new(table: RotaryTable, rotary_dim: usize, device: &B::Device) -> Self {
        let half = rotary_dim / 2;
        let upload = |numbers: Vec<f32>| {
            let n_rows = numbers.len() / half;
            Tensor::from_data(TensorData::new(numbers, [n_rows, half]), device)
        };
        Self { cos: upload(table.cos), sin: upload(table.sin) }
    }

    /// Rows `start .. end`.
    pub fn rows(&self, start: usize, end: usize) -> Self {
        Self { cos: self.cos.clone().slice([start..end]), sin: self.sin.clone().slice([start..end]) }
    }

    /// Rows of the table.
    pub fn n_rows(&self) -> usize {
        self.cos.dims()[0]
    }

    /// `x`: `[n_heads, n_rows, head_dim]`; returns the same shape.
    pub fn rotate(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        let [n_heads, n_rows, head_dim] = x.dims();
        let [rows, half] = self.cos.dims();
        assert_eq!(n_rows, rows, "one table row per token");
        let part = |from: usize, to: usize| x.clone().slice([0..n_heads, 0..n_rows, from..to]);
        let (first, second) = (part(0, half), part(half, 2 * half));
        let (cos, sin) = (self.cos.clone().unsqueeze::<3>(), self.sin.clone().unsqueeze::<3>());
        let mut parts = vec![
            first.clone() * cos.clone() - second.clone() * sin.clone(), // [n_heads, n_rows, half]
            second * cos + first * sin,
        ];
        if 2 * half < head_dim {
            parts.push(part(2 * half, head_dim));
        }
        Tensor::cat(parts, 2)
    }
}
