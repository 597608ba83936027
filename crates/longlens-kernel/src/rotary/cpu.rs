//! Rotation on the processor: one pass over rows in memory, whatever their strides.
//!
//! The reference slices halves out of every row, and burn-flex walks such slices one element at a time.

use burn::backend::Flex;
use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType, Shape, Tensor, TensorPrimitive};
use rayon::prelude::*;

use super::Rotary;

/// Rows below this many numbers are turned by one thread: waking others would take longer.
const PARALLEL: usize = 1 << 14;

/// `x`: `[n_heads, n_rows, head_dim]`; returns the same shape.
pub fn rotate(rotary: &Rotary<Flex>, x: Tensor<Flex, 3>) -> Tensor<Flex, 3> {
    let [n_heads, n_rows, head_dim] = x.dims();
    let half = rotary.cos.dims()[1];
    let (x, cos, sin) = (primitive(x), primitive(rotary.cos.clone()), primitive(rotary.sin.clone()));
    let (cos, sin) = (rows(&cos), rows(&sin));
    let x = if x.layout().strides()[2] == 1 { x } else { x.to_contiguous() };
    let (source, strides) = (x.storage::<f32>(), x.layout().strides());
    let offset = x.layout().start_offset() as isize;

    let mut out = vec![0.0f32; n_heads * n_rows * head_dim];
    let turn = |(at, out): (usize, &mut [f32])| {
        let (head, row) = (at / n_rows, at % n_rows);
        let start = (offset + head as isize * strides[0] + row as isize * strides[1]) as usize;
        let from = &source[start..start + head_dim];
        let (cos, sin) = (&cos[row * half..(row + 1) * half], &sin[row * half..(row + 1) * half]);
        let (first, second) = from.split_at(half);
        let (out_first, out_second) = out.split_at_mut(half);
        for m in 0..half {
            out_first[m] = first[m] * cos[m] - second[m] * sin[m];
            out_second[m] = second[m] * cos[m] + first[m] * sin[m];
        }
        out_second[half..].copy_from_slice(&second[half..]);
    };
    if out.len() < PARALLEL {
        out.chunks_mut(head_dim).enumerate().for_each(turn);
    } else {
        out.par_chunks_mut(head_dim).with_min_len(64).enumerate().for_each(turn);
    }
    let shape = Shape::from(vec![n_heads, n_rows, head_dim]);
    let out = FlexTensor::new(Bytes::from_elems(out), Layout::contiguous(shape), DType::F32);
    Tensor::from_primitive(TensorPrimitive::Float(out))
}

fn primitive<const D: usize>(t: Tensor<Flex, D>) -> FlexTensor {
    t.into_primitive().tensor()
}

/// The numbers of a table, whose row ranges lie in one piece.
fn rows(table: &FlexTensor) -> &[f32] {
    table.as_slice::<f32>().expect("a range of rows is contiguous")
}
