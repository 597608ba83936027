//! Operations row by row: rotation.

use burn_flex::{Flex, FlexDevice};
use longlens_core::plan::PosMap;
use longlens_kernel::Kernels;
use longlens_kernel::gated::Activation;

use crate::common::{both, close, numbers, rotary, rule};
use crate::{Gpu, gpu, is_absent};

#[test]
fn rotation_matches_on_any_strides() {
    if is_absent() {
        return;
    }
    for (heads, rows, head_dim, rotary_dim, start) in
        [(1, 1, 16, 16, 0), (4, 37, 16, 16, 5), (3, 300, 24, 16, 1), (2, 5, 7, 6, 0)]
    {
        let (_, rope) = rule("full", head_dim, rotary_dim);
        let (cpu, on_gpu) = both([rows + start, heads, head_dim]);
        let expected = Kernels::rotate(
            &rotary(&rope, &PosMap::identity(), 0..rows, &FlexDevice),
            cpu.slice([start..start + rows]).swap_dims(0, 1),
        );
        let table = rotary::<Gpu>(&rope, &PosMap::identity(), 0..rows, &gpu());
        let got = Kernels::rotate(&table, on_gpu.slice([start..start + rows]).swap_dims(0, 1));
        close(&numbers(got), &numbers(expected), 1e-6, &format!("{heads} x {rows} x {head_dim}"));
    }
}

#[test]
fn norms_match_at_every_width() {
    if is_absent() {
        return;
    }
    for (n_rows, width) in [(1, 1), (3, 31), (2, 64), (5, 300), (140, 2048)] {
        let (x, on_gpu) = both([n_rows, width]);
        let ((gamma, gamma_gpu), (beta, beta_gpu)) = (both([width]), both([width]));
        let what = format!("{n_rows} x {width}");
        let expected = numbers(<Flex as Kernels>::rms_norm(x.clone() * 3.0, &gamma, 1e-5));
        close(&numbers(<Gpu as Kernels>::rms_norm(on_gpu.clone() * 3.0, &gamma_gpu, 1e-5)), &expected, 1e-6, &what);
        for biased in [false, true] {
            let (beta, beta_gpu) = (biased.then_some(&beta), biased.then_some(&beta_gpu));
            let expected = numbers(<Flex as Kernels>::layer_norm(x.clone() + 2.0, &gamma, beta, 1e-5));
            let got = numbers(<Gpu as Kernels>::layer_norm(on_gpu.clone() + 2.0, &gamma_gpu, beta_gpu, 1e-5));
            close(&got, &expected, 3e-6, &what);
        }
    }
}

#[test]
fn activations_match() {
    if is_absent() {
        return;
    }
    for activation in Activation::ALL {
        let ((gate, gate_gpu), (up, up_gpu)) = (both([7, 333]), both([7, 333]));
        let (gate, gate_gpu) = (gate * 4.0, gate_gpu * 4.0);
        let expected = numbers(Flex::activated(activation, gate.clone()));
        close(&numbers(Gpu::activated(activation, gate_gpu.clone())), &expected, 1e-6, &format!("{activation:?}"));
        let expected = numbers(Flex::gated(activation, gate, up));
        close(&numbers(Gpu::gated(activation, gate_gpu, up_gpu)), &expected, 1e-6, &format!("{activation:?}, gated"));
    }
}

#[test]
fn rows_go_where_they_belong_in_a_store_and_nowhere_else() {
    if is_absent() {
        return;
    }
    for (heads, capacity, head_dim, at, rows) in [(1, 4, 8, 0, 4), (3, 40, 16, 7, 12), (2, 300, 5, 299, 1)] {
        let ((store, store_gpu), (new, new_gpu)) = (both([heads, capacity, head_dim]), both([rows, heads, head_dim]));
        let expected = numbers(Flex::write_rows(store.clone(), at, new.swap_dims(0, 1)));
        let kept = store_gpu.clone(); // another owner
        let got = Gpu::write_rows(store_gpu, at, new_gpu.clone().swap_dims(0, 1));
        assert_eq!(numbers(got), expected);
        assert_eq!(numbers(kept.clone()), numbers(store), "the other owner's numbers stay");
        assert_eq!(numbers(Gpu::write_rows(kept, at, new_gpu.swap_dims(0, 1))), expected);
    }
}
