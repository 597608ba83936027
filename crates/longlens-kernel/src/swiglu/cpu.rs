//! SwiGLU on the processor, in one pass; the result takes the place of `gate` where nobody else holds it.

use burn::backend::Flex;
use burn::tensor::{Tensor, TensorPrimitive};
use rayon::prelude::*;

use crate::cpu::simd::{Arch, Simd, WithSimd, exp2, load, store};

/// Numbers of one task; waking a thread for fewer would take longer.
const TASK: usize = 1 << 16;

/// Returns what [`reference`](super::reference) returns.
pub fn swiglu(arch: Arch, gate: Tensor<Flex, 2>, up: Tensor<Flex, 2>) -> Tensor<Flex, 2> {
    assert_eq!(gate.dims(), up.dims(), "a gate for every number");
    let n: usize = gate.dims().iter().product();
    let mut gate = gate.into_primitive().tensor();
    if !gate.is_contiguous() || gate.storage::<f32>().len() != n {
        gate = gate.to_contiguous();
    }
    let up = up.into_primitive().tensor().to_contiguous();
    let (out, up) = (gate.storage_mut::<f32>(), up.storage::<f32>());
    let parts = out.par_chunks_mut(TASK).zip(up.par_chunks(TASK));
    parts.for_each(|(out, up)| arch.dispatch(Gate { out, up }));
    Tensor::from_primitive(TensorPrimitive::Float(gate))
}

struct Gate<'a> {
    out: &'a mut [f32],
    up: &'a [f32],
}

impl WithSimd for Gate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { out, up } = self;
        let (mut outs, ups) = (out.chunks_exact_mut(S::F32_LANES), up.chunks_exact(S::F32_LANES));
        let last = ups.remainder();
        for (out, up) in outs.by_ref().zip(ups) {
            // SAFETY: a chunk is a vector
            unsafe { store(simd, out.as_mut_ptr(), gated(simd, load(simd, out.as_ptr()), load(simd, up.as_ptr()))) };
        }
        let out = outs.into_remainder();
        let y = gated(simd, simd.partial_load_f32s(out), simd.partial_load_f32s(last));
        simd.partial_store_f32s(out, y);
    }
}

/// `x u / (1 + e^-x)`, with the exponential of `-|x|` so that it cannot overflow.
#[inline(always)]
fn gated<S: Simd>(simd: S, x: S::f32s, u: S::f32s) -> S::f32s {
    let (zero, one) = (simd.splat_f32s(0.0), simd.splat_f32s(1.0));
    let e = exp2(simd, simd.mul_f32s(simd.splat_f32s(-std::f32::consts::LOG2_E), simd.abs_f32s(x)));
    let above = simd.select_f32s(simd.less_than_f32s(x, zero), e, one);
    simd.mul_f32s(simd.mul_f32s(x, u), simd.div_f32s(above, simd.add_f32s(one, e)))
}
