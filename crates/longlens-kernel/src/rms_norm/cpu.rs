//! RMSNorm on the processor: each row is read twice while it is near, and written once.

use burn_flex::Flex;
use burn_tensor::Tensor;
use rayon::prelude::*;

use crate::cpu::simd::{Arch, Simd, WithSimd, load, store};
use crate::cpu::{RowTensor, tensor};
use crate::linear::cpu::blank;

/// Fewer numbers than this are one thread's: waking others would take longer.
const PARALLEL: usize = 1 << 18;

/// Returns what [`reference`](super::reference) returns.
pub fn rms_norm(arch: Arch, x: Tensor<Flex, 2>, gamma: &Tensor<Flex, 1>, eps: f64) -> Tensor<Flex, 2> {
    let [n_rows, width] = x.dims();
    assert_eq!(gamma.dims(), [width], "a factor for every dimension");
    let (x, gamma) = (RowTensor::new(x), RowTensor::new(gamma.clone().unsqueeze::<2>()));
    let (x, gamma) = (x.rows(), gamma.rows().of(0, 0, width));
    let mut out = blank(n_rows * width);
    let norm = |(row, out): (usize, &mut [f32])| {
        arch.dispatch(Norm { x: x.of(0, row, width), gamma, eps, out });
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
    eps: f64,
    out: &'a mut [f32],
}

impl WithSimd for Norm<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, gamma, eps, out } = self;
        let lanes = S::F32_LANES;
        let mut sums = [simd.splat_f32s(0.0); 4];
        let four = x.chunks_exact(4 * lanes);
        for x in four.remainder().chunks(lanes) {
            let x = simd.partial_load_f32s(x);
            sums[0] = simd.mul_add_e_f32s(x, x, sums[0]);
        }
        for x in four {
            for (at, sum) in sums.iter_mut().enumerate() {
                // SAFETY: a chunk holds four vectors
                let x = unsafe { load(simd, x.as_ptr().add(at * lanes)) };
                *sum = simd.mul_add_e_f32s(x, x, *sum);
            }
        }
        let sum = simd.add_f32s(simd.add_f32s(sums[0], sums[1]), simd.add_f32s(sums[2], sums[3]));
        let mean = f64::from(simd.reduce_sum_f32s(sum)) / x.len() as f64;
        let scale = simd.splat_f32s((mean + eps).sqrt().recip() as f32);
        let whole = x.len() / lanes * lanes;
        for at in (0..whole).step_by(lanes) {
            // SAFETY: a vector before the end of each
            unsafe {
                let y = simd
                    .mul_f32s(simd.mul_f32s(load(simd, x.as_ptr().add(at)), scale), load(simd, gamma.as_ptr().add(at)));
                store(simd, out.as_mut_ptr().add(at), y);
            }
        }
        let (x, gamma) = (simd.partial_load_f32s(&x[whole..]), simd.partial_load_f32s(&gamma[whole..]));
        simd.partial_store_f32s(&mut out[whole..], simd.mul_f32s(simd.mul_f32s(x, scale), gamma));
    }
}
