//! Experts on the processor: a group's rows lie together, so its expert's panels are read once for all of them, where they lie.

use burn_flex::Flex;
use burn_tensor::{Tensor, TensorPrimitive};

use super::Routes;
use crate::cpu::simd::{Arch, Simd, WithSimd};
use crate::cpu::{RowTensor, tensor};
use crate::linear::Matrix;
use crate::linear::cpu::{Packed, blank};

/// Returns what [`products`](super::products) returns.
pub fn products(experts: &[Packed], x: Tensor<Flex, 2>, routes: &Routes) -> Tensor<Flex, 2> {
    let ([n_pairs, _], [d_out, _]) = (x.dims(), experts[0].shape());
    let mut out = blank(n_pairs * d_out);
    Packed::grouped(experts, x, &routes.groups, &mut out);
    tensor(out, [n_pairs, d_out])
}

/// Returns what [`sum`](super::sum) returns; the residual is written in place where nobody else holds it.
pub fn sum(arch: Arch, y: Tensor<Flex, 2>, routes: &Routes, residual: Tensor<Flex, 2>) -> Tensor<Flex, 2> {
    let ([n_pairs, d], [seq, width]) = (y.dims(), residual.dims());
    assert_eq!((n_pairs, d), (routes.rows.len(), width), "a row for every pair");
    let y = RowTensor::new(y);
    let y = y.rows();
    let mut residual = residual.into_primitive().tensor();
    if !residual.is_contiguous() || residual.storage::<f32>().len() != seq * d {
        residual = residual.to_contiguous();
    }
    let out = residual.storage_mut::<f32>();
    for (pair, (row, weight)) in routes.rows.iter().zip(&routes.weights).enumerate() {
        let out = &mut out[*row as usize * d..][..d];
        arch.dispatch(AddScaled { y: y.of(0, pair, d), weight: *weight, out });
    }
    Tensor::from_primitive(TensorPrimitive::Float(residual))
}

struct AddScaled<'a> {
    y: &'a [f32],
    weight: f32,
    out: &'a mut [f32],
}

impl WithSimd for AddScaled<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let weight = simd.splat_f32s(self.weight);
        for (out, y) in self.out.chunks_mut(S::F32_LANES).zip(self.y.chunks(S::F32_LANES)) {
            let sum = simd.mul_add_e_f32s(weight, simd.partial_load_f32s(y), simd.partial_load_f32s(out));
            simd.partial_store_f32s(out, sum);
        }
    }
}
