//! Products of a mixture of experts.

use burn_flex::{Flex, FlexDevice};
use burn_tensor::DType;
use longlens_kernel::experts::Routes;
use longlens_kernel::linear::{Matrix, Storage, Weights};
use longlens_kernel::{Kernels, Operation};

use crate::common::{both, close, numbers, tolerance};
use crate::products::{OnCpu, OnGpu};
use crate::{Gpu, gpu, is_absent, rounds_rows, step};

#[test]
fn rows_meet_the_experts_that_were_chosen_for_them() {
    if is_absent() {
        return;
    }
    // rows, experts, those of a row, sizes: a token, few rows and many of an expert, experts without rows
    let sizes = [(1, 4, 2, 32, 17), (7, 6, 3, 64, 65), (40, 4, 2, 40, 70), (3, 64, 1, 32, 8), (150, 2, 1, 32, 33)];
    for storage in Storage::ALL {
        for (seq, n_experts, n_used, d_in, d_out) in sizes.into_iter().step_by(step()) {
            let choose = |at: usize| ((at / n_used * 7 + at % n_used) % n_experts) as u32;
            let chosen: Vec<u32> = (0..seq * n_used).map(choose).collect();
            let weights: Vec<f32> = chosen.iter().enumerate().map(|(at, _)| (at % 5) as f32 / 4.0 - 0.2).collect();
            let routes = Routes::new(&chosen, &weights, n_used);
            let (on_cpu, on_gpu): (Vec<_>, Vec<_>) = (0..n_experts)
                .map(|_| {
                    let (weights, bias) = (numbers(both([d_out, d_in]).0), Some(numbers(both([d_out]).0)));
                    let rows =
                        &|first: usize, out: &mut [f32]| out.copy_from_slice(&weights[first * d_in..][..out.len()]);
                    let weights = Weights { d_out, d_in, rows, bias };
                    (OnCpu::pack(&weights, storage, &FlexDevice), OnGpu::pack(&weights, storage, &gpu()))
                })
                .unzip();
            assert!(!Gpu::body(&Operation::Experts(&on_gpu)).is_reference());
            let ((x, x_gpu), (residual, residual_gpu)) = (both([seq, d_in]), both([seq, d_out]));
            let what = format!("{storage}, {seq} rows, {n_used} of {n_experts} experts, {d_in} x {d_out}");
            let (x, x_gpu) = (Flex::expert_rows(x, &routes), Gpu::expert_rows(x_gpu, &routes));
            assert_eq!(numbers(x_gpu.clone()), numbers(x.clone()), "{what}");
            let (y, y_gpu) =
                (Flex::expert_products(&on_cpu, x, &routes), Gpu::expert_products(&on_gpu, x_gpu, &routes));
            let rounds = rounds_rows() && storage != Storage::F32;
            let limit = if rounds { tolerance(DType::BF16) } else { 2e-6 };
            close(&numbers(y_gpu), &numbers(y.clone()), limit, &what);
            let same = burn_tensor::Tensor::from_data(y.to_data(), &gpu());
            let sum = Gpu::expert_sum(same, &routes, residual_gpu);
            close(&numbers(sum), &numbers(Flex::expert_sum(y, &routes, residual)), 1e-6, &what);
        }
    }
}
