//! In place on a GPU, one unit for every number: rows may lie anyhow and have another type than the store.

use burn_cubecl::element::BoolElement;
use burn_tensor::{Shape, Tensor};
use cubecl::prelude::*;
use cubecl::zspace::metadata::Metadata;

use crate::cube::{Gpu, GpuRuntime, Rows, array, buffer, cubes_for, empty, tensor};

const UNITS: u32 = 128;

/// Returns what [`reference`](super::reference) returns. A store with another owner is copied.
pub fn write<R: GpuRuntime, BT: BoolElement>(
    store: Tensor<Gpu<R, BT>, 3>,
    at: usize,
    rows: Tensor<Gpu<R, BT>, 3>,
) -> Tensor<Gpu<R, BT>, 3> {
    let [n_heads, capacity, head_dim] = store.dims();
    let rows = Rows::of(rows, 1);
    assert!(rows.heads == n_heads && rows.width == head_dim && at + rows.seq <= capacity, "rows that fit the store");
    let mut store = buffer(store);
    if !store.can_mut() || store.meta.strides()[2] != 1 {
        store = store.copy();
    }
    let n = n_heads * rows.seq * head_dim;
    // SAFETY: every index is below the lengths that the shapes give
    unsafe {
        write_numbers::launch_unchecked::<R>(
            &store.client,
            cubes_for(n, UNITS as usize),
            CubeDim::new_1d(UNITS),
            rows.arg(),
            array(&store),
            n as u32,
            rows.seq as u32,
            rows.head_stride as u32,
            rows.row_stride as u32,
            store.meta.strides()[0] as u32,
            store.meta.strides()[1] as u32,
            at as u32,
            head_dim,
            rows.storage(),
            store.dtype.into(),
        );
    }
    tensor(store)
}

/// Room for a store of the type of `like`, all zeros; its rows follow one another, whatever a device prefers.
pub fn store<R: GpuRuntime, BT: BoolElement>(shape: [usize; 3], like: &Tensor<Gpu<R, BT>, 3>) -> Tensor<Gpu<R, BT>, 3> {
    let like = buffer(like.clone());
    let (store, n) = (empty(&like, shape, like.dtype), shape.iter().product::<usize>());
    // SAFETY: numbers beyond the store's are left alone
    unsafe {
        fill_with_zeros::launch_unchecked::<R>(
            &store.client,
            cubes_for(n, UNITS as usize),
            CubeDim::new_1d(UNITS),
            array(&store),
            n as u32,
            store.dtype.into(),
        );
    }
    tensor(store)
}

#[cube(launch_unchecked)]
fn fill_with_zeros<S: Float>(store: &mut Array<S>, n: u32, #[define(S)] _dtype: StorageType) {
    let at = ABSOLUTE_POS;
    if at < n as usize {
        store[at] = S::cast_from(0.0f32);
    }
}

/// The first `n_rows` rows of a store, where they lie: a slice is copied on devices where rows do not end at whole lines.
pub fn first<R: GpuRuntime, BT: BoolElement>(store: &Tensor<Gpu<R, BT>, 3>, n_rows: usize) -> Tensor<Gpu<R, BT>, 3> {
    let [n_heads, capacity, head_dim] = store.dims();
    assert!(n_rows <= capacity, "rows of the store");
    let mut view = buffer(store.clone());
    *view.meta = Metadata::new(Shape::from([n_heads, n_rows, head_dim]), view.meta.strides().clone());
    tensor(view)
}

#[cube(launch_unchecked)]
fn write_numbers<E: Float, S: Float>(
    rows: &Array<E>,
    store: &mut Array<S>,
    n: u32,
    n_rows: u32,
    head_stride: u32,
    row_stride: u32,
    store_head_stride: u32,
    store_row_stride: u32,
    first: u32,
    #[comptime] head_dim: usize,
    #[define(E)] _in: StorageType,
    #[define(S)] _out: StorageType,
) {
    let at = ABSOLUTE_POS;
    if at < n as usize {
        let (dim, rest) = (at % head_dim, at / head_dim);
        let (row, head) = (rest % n_rows as usize, rest / n_rows as usize);
        let from = head * head_stride as usize + row * row_stride as usize + dim;
        let to = head * store_head_stride as usize + (first as usize + row) * store_row_stride as usize + dim;
        store[to] = S::cast_from(f32::cast_from(rows[from]));
    }
}
