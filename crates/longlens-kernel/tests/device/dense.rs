//! Weights that no kernel of ours decodes: the library multiplies them.

use burn_flex::FlexDevice;
use longlens_kernel::linear::{Matrix, Storage, Weights};
use longlens_kernel::{Kernels, Operation};

use crate::common::{both, numbers};
use crate::products::{OnCpu, OnGpu, check};
use crate::{Gpu, gpu, is_absent};

#[test]
fn rows_that_are_no_whole_vectors_are_kept_as_numbers() {
    if is_absent() {
        return;
    }
    let weights = numbers(both([30, 33]).0);
    let rows = &|first: usize, out: &mut [f32]| out.copy_from_slice(&weights[first * 33..][..out.len()]);
    let weights = Weights { d_out: 30, d_in: 33, rows, bias: None };
    let on_gpu = OnGpu::pack(&weights, Storage::Q8, &gpu());
    assert!(Gpu::body(&Operation::Linear(&on_gpu)).is_reference());
    check(&OnCpu::pack(&weights, Storage::F32, &FlexDevice), &on_gpu, false, 3, "33 inputs");
}
