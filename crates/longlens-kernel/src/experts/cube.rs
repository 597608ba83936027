//! Experts on a GPU: every expert that was chosen reads its rows of one buffer and writes its rows of another, so nothing is cut or put
//! together; the weighted sum is one launch.
//!
//! The matrices of experts are buffers of their own, since all of them together are most of a model and would be there twice while they
//! are packed, and a kernel takes no list of buffers. So a layer costs a launch for every expert that has rows, and no other is read.
//!
//! Launch: products as in [`linear`](crate::linear::cube); of the sum one unit per number. Agreement as in [`experts`](super).

use burn_cubecl::element::BoolElement;
use burn_cubecl::kernel::into_contiguous;
use burn_tensor::{DType, Tensor};
use cubecl::prelude::*;

use super::Routes;
use crate::cube::{Gpu, GpuRuntime, array, buffer, cubes_for, empty, handle_array, refused_numbers, tensor, upload};
use crate::in_f32;
use crate::linear::Matrix;
use crate::linear::cube::OnDevice;

const UNITS: u32 = 128;

/// Why no kernel here multiplies by these experts, if none does.
pub fn refused<R: GpuRuntime, BT: BoolElement>(experts: &[OnDevice<R, BT>]) -> Option<&'static str> {
    experts.iter().find_map(OnDevice::refused)
}

/// Why so many rows of so many numbers are not computed here, if they are not.
pub fn refused_rows(n_rows: usize, d: usize) -> Option<&'static str> {
    refused_numbers(n_rows * d)
}

/// Returns what [`Routes::gather`] returns; [`refused_rows`] says where.
pub fn rows<R: GpuRuntime, BT: BoolElement>(x: Tensor<Gpu<R, BT>, 2>, routes: &Routes) -> Tensor<Gpu<R, BT>, 2> {
    let (x, n_pairs) = (into_contiguous(buffer(x)), routes.rows.len());
    let d = x.meta.shape()[1];
    let (out, n) = (empty(&x, [n_pairs, d], x.dtype), n_pairs * d);
    let rows = upload(&out.client, &routes.rows);
    // SAFETY: rows are those of `x`
    unsafe {
        copy_rows::launch_unchecked::<R>(
            &out.client,
            cubes_for(n, UNITS as usize),
            CubeDim::new_1d(UNITS),
            array(&x),
            handle_array(&rows, size_of::<u32>()),
            array(&out),
            n as u32,
            d as u32,
            x.dtype.into(),
        );
    }
    tensor(out)
}

/// Returns what [`products`](super::products) returns; [`refused`] and [`refused_rows`] say where.
pub fn products<R: GpuRuntime, BT: BoolElement>(
    experts: &[OnDevice<R, BT>],
    x: Tensor<Gpu<R, BT>, 2>,
    routes: &Routes,
) -> Tensor<Gpu<R, BT>, 2> {
    let ([n_pairs, _], [d_out, _]) = (x.dims(), experts[0].shape());
    let x = into_contiguous(buffer(x));
    let out = empty(&x, [n_pairs, d_out], DType::F32);
    for (expert, pairs) in &routes.groups {
        experts[*expert].product_of_rows(&x, pairs.clone(), &out);
    }
    tensor(out)
}

/// Returns what [`sum`](super::sum) returns; [`refused_rows`] says where.
pub fn sum<R: GpuRuntime, BT: BoolElement>(
    y: Tensor<Gpu<R, BT>, 2>,
    routes: &Routes,
    residual: Tensor<Gpu<R, BT>, 2>,
) -> Tensor<Gpu<R, BT>, 2> {
    let [seq, d] = residual.dims();
    if seq == 0 {
        return residual;
    }
    let [y, residual] = [y, residual].map(|rows| into_contiguous(buffer(in_f32(rows))));
    let pairs = of_rows(routes, seq);
    let (out, n) = (empty(&residual, [seq, d], DType::F32), seq * d);
    let uploaded = upload(&out.client, &pairs);
    // SAFETY: every index is below the lengths that the shapes give
    unsafe {
        add_weighted::launch_unchecked::<R>(
            &out.client,
            cubes_for(n, UNITS as usize),
            CubeDim::new_1d(UNITS),
            array(&y),
            handle_array(&uploaded, size_of::<u32>()),
            array(&residual),
            array(&out),
            n as u32,
            d as u32,
            (routes.rows.len() / seq) as u32,
        );
    }
    tensor(out)
}

/// The pairs of every row one after the other, each with its weight's bits.
fn of_rows(routes: &Routes, seq: usize) -> Vec<u32> {
    let n_used = routes.rows.len() / seq;
    let (mut all, mut n) = (vec![0; 2 * routes.rows.len()], vec![0; seq]);
    for (pair, (row, weight)) in routes.rows.iter().zip(&routes.weights).enumerate() {
        let row = *row as usize;
        let at = 2 * (row * n_used + n[row]);
        (all[at], all[at + 1]) = (pair as u32, weight.to_bits());
        n[row] += 1;
    }
    assert!(n.into_iter().all(|n| n == n_used), "as many experts for every row");
    all
}

#[cube(launch_unchecked)]
fn copy_rows<E: Float>(
    x: &Array<E>,
    rows: &Array<u32>,
    out: &mut Array<E>,
    n: u32,
    d: u32,
    #[define(E)] _dtype: StorageType,
) {
    let at = ABSOLUTE_POS;
    if at < n as usize {
        out[at] = x[rows[at / d as usize] as usize * d as usize + at % d as usize];
    }
}

#[cube(launch_unchecked)]
fn add_weighted(
    y: &Array<f32>,
    pairs: &Array<u32>,
    residual: &Array<f32>,
    out: &mut Array<f32>,
    n: u32,
    d: u32,
    n_used: u32,
) {
    let at = ABSOLUTE_POS;
    if at < n as usize {
        let (row, column) = (at / d as usize, at % d as usize);
        let mut sum = residual[at];
        for i in 0..n_used as usize {
            let pair = 2 * (row * n_used as usize + i);
            sum += f32::reinterpret(pairs[pair + 1]) * y[pairs[pair] as usize * d as usize + column];
        }
        out[at] = sum;
    }
}
