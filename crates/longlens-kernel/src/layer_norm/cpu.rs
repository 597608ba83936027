//! Layer norm on the processor: each row is read three times while it is near, and written once.

use burn_flex::Flex;
use burn_tensor::Tensor;
use rayon::prelude::*;

use crate::cpu::simd::{Arch, Simd, WithSimd};
use crate::cpu::{RowTensor, tensor};
use crate::linear::cpu::blank;

/// Fewer numbers than this are one thread's: waking others would take longer.
const PARALLEL: usize = 1 << 18;

/// Returns what [`reference`](super::reference) returns.
pub fn layer_norm(
    arch: Arch,
    x: Tensor<Flex, 2>,
    gamma: &Tensor<Flex, 1>,
    beta: Option<&Tensor<Flex, 1>>,
    eps: f64,
) -> Tensor<Flex, 2> {
    let [n_rows, width] = x.dims();
    assert_eq!(gamma.dims(), [width], "a factor for every dimension");
    assert!(beta.is_none_or(|beta| beta.dims() == [width]), "a shift for every dimension");
    let row_tensor = |vector: &Tensor<Flex, 1>| RowTensor::new(vector.clone().unsqueeze::<2>());
    let (x, gamma, beta) = (RowTensor::new(x), row_tensor(gamma), beta.map(row_tensor));
    let (x, gamma) = (x.rows(), gamma.rows().of(0, 0, width));
    let beta = beta.as_ref().map(|beta| beta.rows().of(0, 0, width));
    let mut out = blank(n_rows * width);
    let norm = |(row, out): (usize, &mut [f32])| {
        arch.dispatch(Norm { x: x.of(0, row, width), gamma, beta, eps, out });
    };
    if out.len() < PARALLEL {
        out.chunks_exact_mut(width).enumerate().for_each(norm);
    } else {
        out.par_chunks_exact_mut(width).with_min_len(8).enumerate().for_each(norm);
    }
    tensor(out, [n_rows, width])
}

struct Norm<'a> {
    x: &'a [f32],
    gamma: &'a [f32],
    beta: Option<&'a [f32]>,
    eps: f64,
    out: &'a mut [f32],
}

impl WithSimd for Norm<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, gamma, beta, eps, out } = self;
        let (lanes, n) = (S::F32_LANES, x.len() as f64);
        let mut sum = simd.splat_f32s(0.0);
        for x in x.chunks(lanes) {
            sum = simd.add_f32s(sum, simd.partial_load_f32s(x));
        }
        let mean = (f64::from(simd.reduce_sum_f32s(sum)) / n) as f32;
        // from the deviations themselves: the difference of two means of squares would lose digits where the mean is large
        let (means, mut squares) = (simd.splat_f32s(mean), simd.splat_f32s(0.0));
        let whole = x.len() / lanes * lanes;
        for x in x[..whole].chunks_exact(lanes) {
            let off = simd.sub_f32s(simd.partial_load_f32s(x), means);
            squares = simd.mul_add_e_f32s(off, off, squares);
        }
        let rest: f64 = x[whole..].iter().map(|x| f64::from(*x - mean).powi(2)).sum();
        let variance = (f64::from(simd.reduce_sum_f32s(squares)) + rest) / n;
        let scale = simd.splat_f32s((variance + eps).sqrt().recip() as f32);
        for (at, out) in out.chunks_mut(lanes).enumerate() {
            let part = at * lanes..at * lanes + out.len();
            let off = simd.sub_f32s(simd.partial_load_f32s(&x[part.clone()]), means);
            let mut y = simd.mul_f32s(simd.mul_f32s(off, scale), simd.partial_load_f32s(&gamma[part.clone()]));
            if let Some(beta) = beta {
                y = simd.add_f32s(y, simd.partial_load_f32s(&beta[part]));
            }
            simd.partial_store_f32s(out, y);
        }
    }
}
