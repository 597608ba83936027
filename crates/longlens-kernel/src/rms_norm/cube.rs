//! RMS norm on a GPU: one cube per row, which is read twice.

use burn_cubecl::element::BoolElement;
use burn_cubecl::kernel::into_contiguous;
use burn_tensor::Tensor;
use cubecl::prelude::*;

use crate::cube::{Gpu, GpuRuntime, ROW_UNITS, array, buffer, cubes_for, empty, row_sum, tensor};

/// Returns what [`reference`](super::reference) returns.
pub fn rms_norm<R: GpuRuntime, BT: BoolElement>(
    x: Tensor<Gpu<R, BT>, 2>,
    gamma: &Tensor<Gpu<R, BT>, 1>,
    eps: f64,
) -> Tensor<Gpu<R, BT>, 2> {
    let [n_rows, width] = x.dims();
    let (x, gamma) = (into_contiguous(buffer(x)), buffer(gamma.clone()));
    let out = empty(&x, [n_rows, width], x.dtype);
    // SAFETY: every index is below the lengths that the shapes give
    unsafe {
        norm_rows::launch_unchecked::<R>(
            &x.client,
            cubes_for(n_rows, 1),
            CubeDim::new_1d(ROW_UNITS),
            array(&x),
            array(&gamma),
            array(&out),
            n_rows as u32,
            width as u32,
            eps as f32,
            x.dtype.into(),
        );
    }
    tensor(out)
}

#[cube(launch_unchecked)]
fn norm_rows<E: Float>(
    x: &Array<E>,
    gamma: &Array<f32>,
    out: &mut Array<E>,
    n_rows: u32,
    width: u32,
    eps: f32,
    #[define(E)] _dtype: StorageType,
) {
    let row = min(CUBE_POS, n_rows as usize - 1);
    let (first, width) = (row * width as usize, width as usize);
    let mut own = f32::new(0.0);
    let mut at = UNIT_POS as usize;
    while at < width {
        let number = f32::cast_from(x[first + at]);
        own += number * number;
        at += ROW_UNITS as usize;
    }
    let scale = (row_sum(own) / f32::cast_from(width as u32) + eps).sqrt();
    at = UNIT_POS as usize;
    while at < width {
        out[first + at] = E::cast_from(f32::cast_from(x[first + at]) / scale * gamma[at]);
        at += ROW_UNITS as usize;
    }
}
