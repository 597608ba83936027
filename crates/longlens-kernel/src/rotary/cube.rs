//! Rotation on a GPU: one unit for every pair of dimensions, or dimension that passes through.
//!
//! Memory: reads every number and table entry once, writes every number once. Agrees with the reference to rounding.

use burn_cubecl::CubeRuntime;
use burn_cubecl::element::BoolElement;
use burn_cubecl::tensor::CubeTensor;
use burn_tensor::Tensor;
use cubecl::prelude::*;
#[cfg(feature = "cuda-text")]
use cubecl::server::Handle;

use super::Rotary;
use crate::cube::{Gpu, GpuRuntime, Rows, array, buffer, cubes_for, empty, tensor};

/// `x`: `[n_heads, n_rows, head_dim]`; returns the same shape and type, rows one after the other.
pub fn rotate<R: GpuRuntime, BT: BoolElement>(
    rotary: &Rotary<Gpu<R, BT>>,
    x: Tensor<Gpu<R, BT>, 3>,
) -> Tensor<Gpu<R, BT>, 3> {
    let x = Rows::of(x, 1);
    let out = empty(&x.tensor, [x.heads, x.seq, x.width], x.tensor.dtype);
    rotate_into(&Table::of(rotary), 0, &x, 0..x.seq, &out, 0);
    tensor(out)
}

/// Cosines and sines as kernels read them.
pub(crate) struct Table<R: CubeRuntime> {
    cos: CubeTensor<R>,
    sin: CubeTensor<R>,
    pub half: usize,
    pub stride: usize,
}

impl<R: CubeRuntime> Table<R> {
    pub fn of<BT: BoolElement>(rotary: &Rotary<Gpu<R, BT>>) -> Self {
        let half = rotary.cos.dims()[1];
        let (cos, sin) = (buffer(rotary.cos.clone()), buffer(rotary.sin.clone()));
        let stride = cos.meta.strides()[0];
        assert_eq!(cos.meta.strides(), sin.meta.strides(), "both tables are uploaded alike");
        Self { cos, sin, half, stride }
    }

    /// Cosines and sines.
    #[cfg(feature = "cuda-text")]
    pub fn handles(&self) -> (&Handle, &Handle) {
        (&self.cos.handle, &self.sin.handle)
    }

    /// What launches take.
    pub fn args(&self) -> (ArrayArg<R>, ArrayArg<R>) {
        (array(&self.cos), array(&self.sin))
    }
}

/// Rotates rows `rows` of `x` by the table's rows from `first` on, into `out` from number `at` on, heads after one another.
pub(crate) fn rotate_into<R: CubeRuntime>(
    table: &Table<R>,
    first: usize,
    x: &Rows<R>,
    rows: std::ops::Range<usize>,
    out: &CubeTensor<R>,
    at: usize,
) {
    let width = x.width - table.half; // units of a row
    let n = x.heads * rows.len() * width;
    let (cos, sin) = table.args();
    // SAFETY: every index is below the lengths that the shapes give
    unsafe {
        rotate_rows::launch_unchecked::<R>(
            &out.client,
            cubes_for(n, UNITS as usize),
            CubeDim::new_1d(UNITS),
            x.arg(),
            cos,
            sin,
            array(out),
            n as u32,
            rows.len() as u32,
            (rows.start * x.row_stride) as u32,
            x.head_stride as u32,
            x.row_stride as u32,
            first as u32,
            table.stride as u32,
            at as u32,
            x.width,
            table.half,
            x.storage(),
            out.dtype.into(),
        );
    }
}

const UNITS: u32 = 128;

#[cube(launch_unchecked)]
fn rotate_rows<E: Float, O: Float>(
    x: &Array<E>,
    cos: &Array<f32>,
    sin: &Array<f32>,
    out: &mut Array<O>,
    n: u32,
    n_rows: u32,
    x_first: u32,
    head_stride: u32,
    row_stride: u32,
    table_first: u32,
    table_stride: u32,
    out_first: u32,
    #[comptime] head_dim: usize,
    #[comptime] half: usize,
    #[define(E)] _in: StorageType,
    #[define(O)] _out: StorageType,
) {
    let width = comptime!(head_dim - half);
    let at = ABSOLUTE_POS;
    if at < n as usize {
        let (unit, rest) = (at % width, at / width);
        let (row, head) = (rest % n_rows as usize, rest / n_rows as usize);
        let from = x_first as usize + head * head_stride as usize + row * row_stride as usize;
        let to = out_first as usize + rest * head_dim;
        if unit < half {
            let angle = (table_first as usize + row) * table_stride as usize + unit;
            let (c, s) = (cos[angle], sin[angle]);
            let a = f32::cast_from(x[from + unit]);
            let b = f32::cast_from(x[from + unit + half]);
            out[to + unit] = O::cast_from(a * c - b * s);
            out[to + unit + half] = O::cast_from(b * c + a * s);
        } else {
            out[to + unit + half] = O::cast_from(f32::cast_from(x[from + unit + half]));
        }
    }
}
