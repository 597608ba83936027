//! Activations on the processor, in one pass; the result takes the place of `gate` where nobody else holds it.

use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E};
use std::marker::PhantomData;

use burn_flex::Flex;
use burn_tensor::{Tensor, TensorPrimitive};
use rayon::prelude::*;

use super::{Activation, TANH_CUBIC, TANH_SCALE};
use crate::cpu::simd::{Arch, Simd, WithSimd, exp2, load, store};

/// Numbers of one task; waking a thread for fewer would take longer.
const TASK: usize = 1 << 16;

/// Returns what [`reference`](super::reference) returns.
pub fn gated(arch: Arch, activation: Activation, gate: Tensor<Flex, 2>, up: Tensor<Flex, 2>) -> Tensor<Flex, 2> {
    assert_eq!(gate.dims(), up.dims(), "a gate for every number");
    let up = up.into_primitive().tensor().to_contiguous();
    in_place(gate, |out| {
        let parts = out.par_chunks_mut(TASK).zip(up.storage::<f32>().par_chunks(TASK));
        parts.for_each(|(out, up)| run(arch, activation, out, Some(up)));
    })
}

/// Returns what [`activated`](super::activated) returns.
pub fn activated(arch: Arch, activation: Activation, x: Tensor<Flex, 2>) -> Tensor<Flex, 2> {
    in_place(x, |out| out.par_chunks_mut(TASK).for_each(|out| run(arch, activation, out, None)))
}

/// Calls `change` with the numbers of `x`, copied where somebody else holds them.
fn in_place(x: Tensor<Flex, 2>, change: impl FnOnce(&mut [f32])) -> Tensor<Flex, 2> {
    let n: usize = x.dims().iter().product();
    let mut x = x.into_primitive().tensor();
    if !x.is_contiguous() || x.storage::<f32>().len() != n {
        x = x.to_contiguous();
    }
    change(x.storage_mut::<f32>());
    Tensor::from_primitive(TensorPrimitive::Float(x))
}

fn run(arch: Arch, activation: Activation, out: &mut [f32], up: Option<&[f32]>) {
    match activation {
        Activation::Silu => arch.dispatch(Gate { out, up, curve: PhantomData::<Silu> }),
        Activation::Gelu => arch.dispatch(Gate { out, up, curve: PhantomData::<Gelu> }),
        Activation::GeluTanh => arch.dispatch(Gate { out, up, curve: PhantomData::<GeluTanh> }),
    }
}

struct Gate<'a, C> {
    out: &'a mut [f32],
    up: Option<&'a [f32]>,
    curve: PhantomData<C>,
}

impl<C: Curve> WithSimd for Gate<'_, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { out, up, .. } = self;
        let Some(up) = up else {
            for out in out.chunks_mut(S::F32_LANES) {
                let x = simd.partial_load_f32s(out);
                simd.partial_store_f32s(out, simd.mul_f32s(x, C::factor(simd, x)));
            }
            return;
        };
        let (mut outs, ups) = (out.chunks_exact_mut(S::F32_LANES), up.chunks_exact(S::F32_LANES));
        let last = ups.remainder();
        for (out, up) in outs.by_ref().zip(ups) {
            // SAFETY: a chunk is a vector
            unsafe {
                let (x, up) = (load(simd, out.as_ptr()), load(simd, up.as_ptr()));
                store(simd, out.as_mut_ptr(), simd.mul_f32s(simd.mul_f32s(x, up), C::factor(simd, x)));
            }
        }
        let out = outs.into_remainder();
        let (x, up) = (simd.partial_load_f32s(out), simd.partial_load_f32s(last));
        simd.partial_store_f32s(out, simd.mul_f32s(simd.mul_f32s(x, up), C::factor(simd, x)));
    }
}

/// An activation divided by its argument.
trait Curve {
    fn factor<S: Simd>(simd: S, x: S::f32s) -> S::f32s;
}

struct Silu;
struct Gelu;
struct GeluTanh;

impl Curve for Silu {
    #[inline(always)]
    fn factor<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        sigmoid(simd, x)
    }
}

impl Curve for GeluTanh {
    #[inline(always)]
    fn factor<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        let one = simd.splat_f32s(1.0);
        let cubic = simd.mul_f32s(x, simd.mul_add_e_f32s(simd.splat_f32s(TANH_CUBIC), simd.mul_f32s(x, x), one));
        sigmoid(simd, simd.mul_f32s(simd.splat_f32s(2.0 * TANH_SCALE), cubic))
    }
}

impl Curve for Gelu {
    /// `Φ(-|x|) = t (a1 + t (a2 + …)) e^(-x²/2) / 2`, `t = 1 / (1 + p |x| / sqrt 2)`, off by 1e-7 at most (Abramowitz and
    /// Stegun, 1964, 7.1.26).
    #[inline(always)]
    fn factor<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        const P: f32 = 0.327_591_1 * FRAC_1_SQRT_2;
        const A: [f32; 5] = [0.254_829_6, -0.284_496_72, 1.421_413_8, -1.453_152_1, 1.061_405_4];
        let (zero, one) = (simd.splat_f32s(0.0), simd.splat_f32s(1.0));
        let t = simd.div_f32s(one, simd.mul_add_e_f32s(simd.splat_f32s(P), simd.abs_f32s(x), one));
        let mut p = simd.splat_f32s(A[4]);
        for a in A[..4].iter().rev() {
            p = simd.mul_add_e_f32s(p, t, simd.splat_f32s(*a));
        }
        let e = exp2(simd, simd.mul_f32s(simd.splat_f32s(-0.5 * LOG2_E), simd.mul_f32s(x, x)));
        let below = simd.mul_f32s(simd.mul_f32s(simd.splat_f32s(0.5), e), simd.mul_f32s(t, p));
        simd.select_f32s(simd.less_than_f32s(x, zero), below, simd.sub_f32s(one, below))
    }
}

/// `1 / (1 + e^-x)`, with the exponential of `-|x|` so that it cannot overflow.
#[inline(always)]
fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let (zero, one) = (simd.splat_f32s(0.0), simd.splat_f32s(1.0));
    let e = exp2(simd, simd.mul_f32s(simd.splat_f32s(-LOG2_E), simd.abs_f32s(x)));
    let above = simd.select_f32s(simd.less_than_f32s(x, zero), e, one);
    simd.div_f32s(above, simd.add_f32s(one, e))
}
