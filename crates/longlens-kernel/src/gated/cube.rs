//! Activations on a GPU, one unit for every number.

use burn_cubecl::element::BoolElement;
use burn_cubecl::kernel::into_contiguous;
use burn_tensor::Tensor;
use cubecl::prelude::*;

use super::{Activation, TANH_CUBIC, TANH_SCALE};
use crate::cube::{Gpu, GpuRuntime, array, buffer, cubes_for, empty, tensor};

const UNITS: u32 = 128;

/// Returns what [`reference`](super::reference) returns, or where there is no `up` what [`activated`](super::activated) does.
pub fn gated<R: GpuRuntime, BT: BoolElement>(
    activation: Activation,
    gate: Tensor<Gpu<R, BT>, 2>,
    up: Option<Tensor<Gpu<R, BT>, 2>>,
) -> Tensor<Gpu<R, BT>, 2> {
    let (shape, gate) = (gate.dims(), into_contiguous(buffer(gate)));
    let up = up.map(|up| into_contiguous(buffer(up)));
    let (out, n) = (empty(&gate, shape, gate.dtype), shape[0] * shape[1]);
    // SAFETY: every index is below the lengths that the shapes give
    unsafe {
        activate::launch_unchecked::<R>(
            &gate.client,
            cubes_for(n, UNITS as usize),
            CubeDim::new_1d(UNITS),
            array(&gate),
            array(up.as_ref().unwrap_or(&gate)),
            array(&out),
            n as u32,
            activation,
            up.is_some(),
            gate.dtype.into(),
        );
    }
    tensor(out)
}

#[cube(launch_unchecked)]
fn activate<E: Float>(
    gate: &Array<E>,
    up: &Array<E>,
    out: &mut Array<E>,
    n: u32,
    #[comptime] activation: Activation,
    #[comptime] has_up: bool,
    #[define(E)] _dtype: StorageType,
) {
    let at = ABSOLUTE_POS;
    if at < n as usize {
        let x = f32::cast_from(gate[at]);
        let mut y = match activation {
            Activation::Silu => x / (1.0 + (-x).exp()),
            Activation::Gelu => 0.5 * x * (1.0 + Erf::erf(x * f32::new(std::f32::consts::FRAC_1_SQRT_2))),
            Activation::GeluTanh => {
                let k = f32::new(TANH_SCALE) * (x + f32::new(TANH_CUBIC) * x * x * x);
                x / (1.0 + (-2.0 * k).exp())
            }
        };
        if has_up {
            y *= f32::cast_from(up[at]);
        }
        out[at] = E::cast_from(y);
    }
}
