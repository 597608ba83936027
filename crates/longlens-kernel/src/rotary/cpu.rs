//! Rotation on the processor: one pass over rows in memory, whatever their strides.
//!
//! The reference slices halves out of every row, and burn-flex walks such slices one element at a time.

use burn_flex::Flex;
use burn_tensor::Tensor;
use rayon::prelude::*;

use super::Rotary;
use crate::cpu::rotate::rotate_row;
use crate::cpu::simd::{Arch, Simd, WithSimd, output};
use crate::cpu::{AngleTensors, Angles, RowTensor, Rows, tensor};

/// Rows of a task: fewer are rotated sooner than another thread wakes.
const TASK: usize = 256;

/// `x`: `[n_heads, n_rows, head_dim]`; returns the same shape.
pub fn rotate(arch: Arch, rotary: &Rotary<Flex>, x: Tensor<Flex, 3>) -> Tensor<Flex, 3> {
    let [n_heads, n_rows, head_dim] = x.dims();
    assert_eq!(n_rows, rotary.cos.dims()[0], "one table row per token");
    let (x, angles) = (RowTensor::new(x), AngleTensors::new(rotary));
    let mut out = output(n_heads * n_rows * head_dim);
    out.par_chunks_mut((TASK * head_dim).max(1)).enumerate().for_each(|(task, out)| {
        arch.dispatch(Rotate { x: x.rows(), angles: angles.rows(), first: task * TASK, n_rows, head_dim, out });
    });
    tensor(out, [n_heads, n_rows, head_dim])
}

/// Consecutive rows of all heads' rows.
struct Rotate<'a> {
    x: Rows<'a>,
    angles: Angles<'a>,
    first: usize,
    n_rows: usize,
    head_dim: usize,
    out: &'a mut [f32],
}

impl WithSimd for Rotate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, angles, first, n_rows, head_dim, out } = self;
        for (at, out) in (first..).zip(out.chunks_exact_mut(head_dim)) {
            let (head, row) = (at / n_rows, at % n_rows);
            rotate_row(simd, x.of(head, row, head_dim), angles.row(row), 1.0, out);
        }
    }
}
