//! Layer norm on a GPU: one cube per row, which is read three times: for the mean, the variance about it, and the result.

use burn_cubecl::element::BoolElement;
use burn_cubecl::kernel::into_contiguous;
use burn_tensor::Tensor;
use cubecl::prelude::*;

use crate::cube::{Gpu, GpuRuntime, ROW_UNITS, array, buffer, cubes_for, empty, row_sum, tensor};

/// Returns what [`reference`](super::reference) returns.
pub fn layer_norm<R: GpuRuntime, BT: BoolElement>(
    x: Tensor<Gpu<R, BT>, 2>,
    gamma: &Tensor<Gpu<R, BT>, 1>,
    beta: Option<&Tensor<Gpu<R, BT>, 1>>,
    eps: f64,
) -> Tensor<Gpu<R, BT>, 2> {
    let [n_rows, width] = x.dims();
    let (x, gamma) = (into_contiguous(buffer(x)), buffer(gamma.clone()));
    let beta = beta.map(|beta| buffer(beta.clone()));
    let out = empty(&x, [n_rows, width], x.dtype);
    // SAFETY: every index is below the lengths that the shapes give
    unsafe {
        norm_rows::launch_unchecked::<R>(
            &x.client,
            cubes_for(n_rows, 1),
            CubeDim::new_1d(ROW_UNITS),
            array(&x),
            array(&gamma),
            array(beta.as_ref().unwrap_or(&gamma)),
            array(&out),
            n_rows as u32,
            width as u32,
            eps as f32,
            beta.is_some(),
            x.dtype.into(),
        );
    }
    tensor(out)
}

#[cube(launch_unchecked)]
fn norm_rows<E: Float>(
    x: &Array<E>,
    gamma: &Array<f32>,
    beta: &Array<f32>,
    out: &mut Array<E>,
    n_rows: u32,
    width: u32,
    eps: f32,
    #[comptime] has_beta: bool,
    #[define(E)] _dtype: StorageType,
) {
    let row = min(CUBE_POS, n_rows as usize - 1);
    let n = f32::cast_from(width);
    let (first, width) = (row * width as usize, width as usize);
    let mut own = f32::new(0.0);
    let mut at = UNIT_POS as usize;
    while at < width {
        own += f32::cast_from(x[first + at]);
        at += ROW_UNITS as usize;
    }
    let mean = row_sum(own) / n;
    own = f32::new(0.0);
    at = UNIT_POS as usize;
    while at < width {
        let off = f32::cast_from(x[first + at]) - mean;
        own += off * off;
        at += ROW_UNITS as usize;
    }
    let scale = (row_sum(own) / n + eps).sqrt();
    at = UNIT_POS as usize;
    while at < width {
        let mut number = (f32::cast_from(x[first + at]) - mean) / scale * gamma[at];
        if has_beta {
            number += beta[at];
        }
        out[first + at] = E::cast_from(number);
        at += ROW_UNITS as usize;
    }
}
