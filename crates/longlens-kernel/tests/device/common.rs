//! What the tests of all GPUs share: problems on both backends, and how results are compared.

use std::ops::Range;

use burn_flex::{Flex, FlexDevice};
use burn_tensor::backend::Backend;
use burn_tensor::{DType, Distribution, Tensor};
use longlens_core::methods::Method;
use longlens_core::plan::{HeadPlan, PosMap, Prefill};
use longlens_core::rope::{Rope, RopeScaling};
use longlens_core::spec::ModelSpec;
use longlens_kernel::Kernels;
use longlens_kernel::pooled::{Cells, Pooled};
use longlens_kernel::rotary::Rotary;

use crate::{Gpu, gpu};

/// Random numbers, the same on both backends.
pub fn both<const D: usize>(shape: [usize; D]) -> (Tensor<Flex, D>, Tensor<Gpu, D>) {
    let cpu = Tensor::<Flex, D>::random(shape, Distribution::Normal(0.0, 1.0), &FlexDevice);
    let gpu = Tensor::from_data(cpu.to_data(), &gpu());
    (cpu, gpu)
}

/// Random numbers of a type, the same on both backends; the processor's are f32.
pub fn both_as<const D: usize>(shape: [usize; D], dtype: DType) -> (Tensor<Flex, D>, Tensor<Gpu, D>) {
    let (cpu, on_gpu) = both(shape);
    if dtype == DType::F32 {
        return (cpu, on_gpu);
    }
    let data = cpu.into_data().convert_dtype(dtype);
    let cpu = Tensor::from_data(data.clone().convert::<f32>(), &FlexDevice);
    (cpu, Tensor::from_data(data, (&gpu(), dtype)))
}

pub fn numbers<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().into_vec().unwrap()
}

/// Largest difference between two lists, as a part of the largest number.
pub fn difference(got: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(got.len(), expected.len());
    let largest = expected.iter().fold(1e-30, |most: f32, x| most.max(x.abs()));
    got.iter().zip(expected).fold(0.0, |most: f32, (a, b)| most.max((a - b).abs())) / largest
}

/// How far numbers may be off, as a part of the largest: tensors of 16 bits are rounded once more when they are rotated, and weights
/// too.
pub fn tolerance(dtype: DType) -> f32 {
    match dtype {
        DType::BF16 => 2e-2,
        DType::F16 => 3e-3,
        _ => 1e-5,
    }
}

pub fn close(got: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert!(got.iter().all(|x| x.is_finite()), "{what}: not finite");
    let off = difference(got, expected);
    assert!(off <= tolerance, "{what}: off by {off:e}");
}

/// The last layer's rule of a method on a model with this head size, and its frequencies.
pub fn rule(method: &str, head_dim: usize, rotary_dim: usize) -> (HeadPlan, Rope) {
    let mut spec = ModelSpec::tiny(64);
    (spec.head_dim, spec.rotary_dim) = (head_dim, rotary_dim);
    let rule = Method::parse(method).unwrap().plan(&spec).unwrap().of(spec.n_layers - 1, 0).clone();
    (rule, RopeScaling::none().resolve(&spec).unwrap())
}

pub fn rotary<B: Kernels>(rope: &Rope, map: &PosMap, tokens: Range<usize>, device: &B::Device) -> Rotary<B> {
    let prompt = Prefill { n_tokens: tokens.end };
    Rotary::new(rope.table(map, tokens, prompt, prompt.n_tokens, |_| 1.0), rope.dim(), device)
}

/// Cells of all tokens, and of windows inside, across the diagonal and past the last token.
pub fn cells_of(n: usize) -> Vec<Cells> {
    let cells = |queries, keys, query_stride, key_stride| Cells { queries, keys, query_stride, key_stride };
    vec![
        cells(0..n, 0..n, 1, 3),
        cells(0..n, 0..n, 64, 64),
        cells(n / 3..n - n / 4, n / 5..n / 2, 7, 7),
        cells(n / 2..n + 9, n / 2..n + 9, 1, 1),
        cells(n / 4..n, 16..n.max(16), 32, 16),
        cells(n - 1..n + 4, 0..n, 2, 48),
    ]
}

pub fn same_cells(got: &Pooled, expected: &Pooled, what: &str) {
    let shape = |pooled: &Pooled| (pooled.queries.clone(), pooled.rows.clone(), pooled.n_columns, pooled.sum.len());
    assert_eq!(shape(got), shape(expected), "{what}");
    if !got.sum.is_empty() {
        close(&got.sum, &expected.sum, 1e-5, &format!("{what}, sums"));
        close(&got.max, &expected.max, 1e-5, &format!("{what}, maxima"));
    }
}
