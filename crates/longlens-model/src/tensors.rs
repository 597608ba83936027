//! Tensors taken apart, put together, and read.

use std::ops::Range;

use burn_tensor::Tensor;
use longlens_kernel::Kernels;

/// Some heads of `t`, `[heads, rows, width]`.
pub fn heads_of<B: Kernels>(t: &Tensor<B, 3>, heads: Range<usize>) -> Tensor<B, 3> {
    if heads == (0..t.dims()[0]) { t.clone() } else { t.clone().slice([heads]) }
}

/// Parts side by side along `dim`; one part is itself.
pub fn cat<B: Kernels>(mut parts: Vec<Tensor<B, 3>>, dim: usize) -> Tensor<B, 3> {
    if parts.len() == 1 { parts.swap_remove(0) } else { Tensor::cat(parts, dim) }
}

/// `[seq, heads * head_dim]` to `[heads, seq, head_dim]`.
pub fn split_heads<B: Kernels>(t: Tensor<B, 2>, heads: usize) -> Tensor<B, 3> {
    let [seq, width] = t.dims();
    t.reshape([seq, heads, width / heads]).swap_dims(0, 1)
}

/// A tensor's numbers on this side.
pub fn numbers<B: Kernels, const D: usize>(t: Tensor<B, D>) -> Vec<f32> {
    t.into_data().convert::<f32>().into_vec().expect("converted to f32 above")
}
