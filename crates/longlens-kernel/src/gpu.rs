//! The operations of every GPU that CubeCL reaches; what no kernel covers takes the reference.

use burn_cubecl::element::BoolElement;
use burn_tensor::backend::DeviceOps;
use burn_tensor::{Int, Tensor};
use cubecl::server::{ComputeServer, ServerError};

use crate::chunk_attention::{self, ChunkAttention};
use crate::chunk_scores::{self, ChunkScores};
use crate::chunk_summary::{self, ChunkSummary};
use crate::cube::{Choice, Gpu, GpuRuntime, has_tensor_cores, known, refused_device};
use crate::experts::{self, Routes};
use crate::gated::{self, Activation};
use crate::key_bounds::{self, KeyBounds};
use crate::linear::cube::OnDevice;
use crate::linear::{self, Matrix};
use crate::pooled::{self, Cells, Pooled};
use crate::rotary::{self, Rotary};
use crate::span_attention::{self, SpanAttention};
use crate::{Attended, Body, DeviceMemory, Kernels, Operation, layer_norm, rms_norm, write_rows};

/// What computes an operation: a text, unless there is none or none takes it; then the kernel for every GPU, unless that refuses.
fn of_kernels(text: Choice<&'static str>, refused: Option<&'static str>) -> Body {
    match (text, refused) {
        (Some(Ok(name)), _) => Body::Text(name),
        (_, Some(why)) => Body::Reference(why),
        (Some(Err(why)), None) => Body::Portable(why),
        (None, None) => Body::Kernel("every GPU"),
    }
}

/// The text that attends over spans.
fn text_of_spans<R: GpuRuntime, BT: BoolElement>(problem: &SpanAttention<'_, Gpu<R, BT>>) -> Choice<&'static str> {
    #[cfg(feature = "cuda-text")]
    return Some(span_attention::cuda::takes(problem)?.map(span_attention::cuda::Kernel::name));
    #[cfg(not(feature = "cuda-text"))]
    return no_text(problem);
}

/// What the environment says about the choice of texts.
fn told_of_texts(capability: u32) -> Option<String> {
    #[cfg(feature = "cuda-text")]
    return span_attention::cuda::told(capability);
    #[cfg(not(feature = "cuda-text"))]
    return no_text(&capability);
}

/// The text that attends over chosen chunks.
fn text_of_chunks<R: GpuRuntime, BT: BoolElement>(problem: &ChunkAttention<'_, Gpu<R, BT>>) -> Choice<&'static str> {
    #[cfg(feature = "cuda-text")]
    return Some(chunk_attention::cuda::takes(problem)?.map(|()| "mma"));
    #[cfg(not(feature = "cuda-text"))]
    return no_text(problem);
}

/// The text that chooses chunks.
fn text_of_scores<R: GpuRuntime, BT: BoolElement>(problem: &ChunkScores<Gpu<R, BT>>) -> Choice<&'static str> {
    #[cfg(feature = "cuda-text")]
    return Some(chunk_scores::cuda::takes(problem)?.map(|()| "choose"));
    #[cfg(not(feature = "cuda-text"))]
    return no_text(problem);
}

/// The text that rotates.
fn text_of_rotation<R: GpuRuntime, BT: BoolElement>(
    rotary: &Rotary<Gpu<R, BT>>,
    x: &Tensor<Gpu<R, BT>, 3>,
) -> Choice<&'static str> {
    #[cfg(feature = "cuda-text")]
    return Some(rotary::takes(rotary, x)?.map(|()| "turn_rows"));
    #[cfg(not(feature = "cuda-text"))]
    return no_text(&(rotary, x));
}

/// Nothing: no text is built in.
#[cfg(not(feature = "cuda-text"))]
fn no_text<T, U>(_: &T) -> Option<U> {
    None
}

/// What a reference gave, of the type of the queries, as kernels give it.
fn as_query<R: GpuRuntime, BT: BoolElement>(
    attended: Attended<Gpu<R, BT>>,
    query: &Tensor<Gpu<R, BT>, 3>,
) -> Attended<Gpu<R, BT>> {
    Attended { out: attended.out.cast(query.dtype()), lse: attended.lse }
}

/// What failed first: what came later met what it left.
fn first_reason(error: &ServerError) -> String {
    match error {
        ServerError::ServerUnhealthy { errors, .. } => errors.first().map_or_else(|| error.to_string(), first_reason),
        ServerError::Io(error) => error.to_string(),
        ServerError::Launch(error) => error.to_string(),
        ServerError::Generic { reason, .. } => reason.clone(),
        ServerError::Profile(error) => error.to_string(),
    }
}

/// A runtime that compiles CUDA text.
#[cfg(feature = "cuda-text")]
macro_rules! takes_text {
    ($runtime:ty, $capability:expr, $free:expr) => {
        impl GpuRuntime for $runtime {
            fn cuda_capability(device: &Self::Device) -> Option<u32> {
                $capability(device)
            }

            fn free_memory(device: &Self::Device) -> Option<(u64, u64)> {
                $free(device)
            }

            fn launch_text(
                client: &cubecl::client::ComputeClient<Self>,
                text: crate::cuda::Text,
                grid: [usize; 3],
                maps: &[crate::cuda::TensorMap],
                buffers: &[&cubecl::server::Handle],
                info: &crate::cuda::Info,
            ) {
                text.launch(client, grid, maps, buffers, info);
            }
        }
    };
}

#[cfg(feature = "cuda")]
takes_text!(
    cubecl::cuda::CudaRuntime,
    |device| crate::cuda::capability(&<cubecl::cuda::CudaRuntime as cubecl::Runtime>::client(device)),
    crate::cuda::free_memory
);
#[cfg(feature = "simulated")]
takes_text!(
    crate::simulated::SimulatedRuntime,
    |device: &crate::simulated::SimulatedDevice| Some(u32::from(device.capability)),
    |_| None
);

#[cfg(feature = "wgpu")]
pub use burn_wgpu::{Wgpu, WgpuDevice};

#[cfg(feature = "wgpu")]
impl GpuRuntime for burn_wgpu::WgpuRuntime {}

impl<R: GpuRuntime, BT: BoolElement> Kernels for Gpu<R, BT>
where
    R::Server: ComputeServer,
    R::Device: DeviceOps,
{
    type Matrix = OnDevice<R, BT>;
    type ChunkKeys = ();

    fn facts(device: &R::Device) -> Vec<(&'static str, String)> {
        let client = R::client(device);
        let hardware = &client.properties().hardware;
        let (least, most) = (hardware.plane_size_min, hardware.plane_size_max);
        let planes = if least == most { format!("{least} units") } else { format!("{least} to {most} units") };
        let mut facts = vec![
            ("runtime", R::name(&client).to_owned()),
            ("planes", planes),
            ("shared memory of a cube", format!("{} KiB", hardware.max_shared_memory_size >> 10)),
            ("largest buffer", format!("{} MiB", client.properties().memory.max_page_size >> 20)),
        ];
        if let Some(count) = hardware.num_streaming_multiprocessors {
            facts.push(("multiprocessors", count.to_string()));
        }
        if let Some(capability) = R::cuda_capability(device) {
            facts.push((
                "CUDA text",
                format!("compiled for compute capability {}.{} and later", capability / 10, capability % 10),
            ));
            facts.extend(told_of_texts(capability).map(|told| ("choice of texts", told)));
        }
        facts
    }

    fn check(device: &R::Device) -> Result<(), String> {
        R::client(device).flush().map_err(|error| first_reason(&error))
    }

    fn wait(device: &R::Device) -> Result<(), String> {
        cubecl::future::block_on(R::client(device).sync()).map_err(|error| first_reason(&error))
    }

    fn release() {
        known::forget::<R>();
    }

    fn memory(device: &R::Device) -> Option<DeviceMemory> {
        let usage = R::client(device).memory_usage().ok()?;
        let free = R::free_memory(device);
        Some(DeviceMemory { free, held: usage.bytes_reserved, used: usage.bytes_in_use })
    }

    fn attention_bytes(device: &R::Device, weights_have_32_bits: bool) -> usize {
        if has_tensor_cores::<R>(device) && !weights_have_32_bits { 2 } else { size_of::<f32>() }
    }

    fn body(operation: &Operation<'_, Self>) -> Body {
        match operation {
            Operation::Product(matrix, n_rows) if matrix.on_tensor_cores(*n_rows) => {
                Body::Kernel(linear::ON_TENSOR_CORES)
            }
            Operation::Embedding(matrix) | Operation::Linear(matrix) | Operation::Product(matrix, _) => {
                of_kernels(None, matrix.refused())
            }
            Operation::Rotate(rotary, x) => of_kernels(text_of_rotation(rotary, x), None),
            Operation::WriteRows | Operation::Activated(_) | Operation::Gated(_) | Operation::KeyBounds(_) => {
                of_kernels(None, None)
            }
            Operation::RmsNorm | Operation::LayerNorm => {
                of_kernels(None, refused_device::<R>(&R::client(&R::Device::default())))
            }
            Operation::SpanAttention(problem) => {
                of_kernels(text_of_spans(problem), span_attention::cube::refused(problem))
            }
            Operation::PoolSpans(problem) => of_kernels(None, span_attention::cube::refused(problem)),
            Operation::ChunkSummary(problem) => of_kernels(None, chunk_summary::cube::refused(problem)),
            Operation::ChunkScores(problem) => {
                of_kernels(text_of_scores(problem), chunk_scores::cube::refused(problem))
            }
            Operation::ChunkAttention(problem) => {
                of_kernels(text_of_chunks(problem), chunk_attention::cube::refused(problem))
            }
            Operation::PoolChunks(problem) => of_kernels(None, pooled::cube::refused_chunks(problem)),
            Operation::Experts(experts) => of_kernels(None, experts::cube::refused(experts)),
        }
    }

    fn rms_norm(x: Tensor<Self, 2>, gamma: &Tensor<Self, 1>, eps: f64) -> Tensor<Self, 2> {
        match refused_device::<R>(&R::client(&x.device())) {
            None => rms_norm::cube::rms_norm(x, gamma, eps),
            Some(_) => rms_norm::reference(x, gamma, eps),
        }
    }

    fn layer_norm(
        x: Tensor<Self, 2>,
        gamma: &Tensor<Self, 1>,
        beta: Option<&Tensor<Self, 1>>,
        eps: f64,
    ) -> Tensor<Self, 2> {
        match refused_device::<R>(&R::client(&x.device())) {
            None => layer_norm::cube::layer_norm(x, gamma, beta, eps),
            Some(_) => layer_norm::reference(x, gamma, beta, eps),
        }
    }

    fn activated(activation: Activation, x: Tensor<Self, 2>) -> Tensor<Self, 2> {
        gated::cube::gated(activation, x, None)
    }

    fn gated(activation: Activation, gate: Tensor<Self, 2>, up: Tensor<Self, 2>) -> Tensor<Self, 2> {
        gated::cube::gated(activation, gate, Some(up))
    }

    fn expert_rows(x: Tensor<Self, 2>, routes: &Routes) -> Tensor<Self, 2> {
        match experts::cube::refused_rows(routes.rows.len(), x.dims()[1]) {
            None => experts::cube::rows(x, routes),
            Some(_) => routes.gather(x),
        }
    }

    fn expert_products(experts: &[OnDevice<R, BT>], x: Tensor<Self, 2>, routes: &Routes) -> Tensor<Self, 2> {
        let [n_pairs, d_in] = x.dims();
        let d = experts.iter().fold(d_in, |most, expert| most.max(expert.shape()[0]));
        match experts::cube::refused(experts).or_else(|| experts::cube::refused_rows(n_pairs, d)) {
            None => experts::cube::products(experts, x, routes),
            Some(_) => experts::products(experts, &x, routes),
        }
    }

    fn expert_sum(y: Tensor<Self, 2>, routes: &Routes, residual: Tensor<Self, 2>) -> Tensor<Self, 2> {
        let [n_pairs, d] = y.dims();
        match experts::cube::refused_rows(n_pairs, d) {
            None => experts::cube::sum(y, routes, residual),
            Some(_) => experts::sum(y, routes, residual),
        }
    }

    fn rotate(rotary: &Rotary<Self>, x: Tensor<Self, 3>) -> Tensor<Self, 3> {
        #[cfg(feature = "cuda-text")]
        if let Some(Ok(())) = rotary::takes(rotary, &x) {
            return rotary::rotate(rotary, x);
        }
        rotary::cube::rotate(rotary, x)
    }

    fn store(shape: [usize; 3], like: &Tensor<Self, 3>) -> Tensor<Self, 3> {
        write_rows::cube::store(shape, like)
    }

    fn write_rows(store: Tensor<Self, 3>, at: usize, rows: Tensor<Self, 3>) -> Tensor<Self, 3> {
        write_rows::cube::write(store, at, rows)
    }

    fn first_rows(store: &Tensor<Self, 3>, n_rows: usize) -> Tensor<Self, 3> {
        write_rows::cube::first(store, n_rows)
    }

    fn span_attention(problem: &SpanAttention<'_, Self>) -> Attended<Self> {
        problem.check_tables();
        #[cfg(feature = "cuda-text")]
        if let Some(Ok(kernel)) = span_attention::cuda::takes(problem) {
            return span_attention::cuda::attend(kernel, problem);
        }
        match span_attention::cube::refused(problem) {
            None => span_attention::cube::attend(problem),
            Some(_) => as_query(span_attention::reference(problem), &problem.query),
        }
    }

    fn chunk_summary(problem: &ChunkSummary<Self>) -> Tensor<Self, 3> {
        let summaries = match chunk_summary::cube::refused(problem) {
            None => chunk_summary::cube::summarise(problem),
            Some(_) => chunk_summary::reference(problem),
        };
        summaries.cast(problem.query.dtype()) // what queries are scored with has their type
    }

    fn key_bounds(problem: &KeyBounds<Self>) -> Tensor<Self, 3> {
        key_bounds::cube::bounds(problem).cast(problem.key.dtype()) // what queries are scored with has their type
    }

    fn choose_chunks(problem: &ChunkScores<Self>) -> Tensor<Self, 3, Int> {
        #[cfg(feature = "cuda-text")]
        if let Some(Ok(())) = chunk_scores::cuda::takes(problem) {
            return chunk_scores::cuda::choose(problem);
        }
        match chunk_scores::cube::refused(problem) {
            None => chunk_scores::cube::choose(problem),
            Some(_) => chunk_scores::reference(problem),
        }
    }

    fn chunk_attention(problem: &ChunkAttention<'_, Self>, (): &mut ()) -> Attended<Self> {
        problem.check_tables();
        #[cfg(feature = "cuda-text")]
        if let Some(Ok(())) = chunk_attention::cuda::takes(problem) {
            return chunk_attention::cuda::attend(problem);
        }
        match chunk_attention::cube::refused(problem) {
            None => chunk_attention::cube::attend(problem),
            Some(_) => as_query(chunk_attention::reference(problem), &problem.query),
        }
    }

    fn pool_spans(problem: &SpanAttention<'_, Self>, head: usize, lse: &Tensor<Self, 2>, cells: &Cells) -> Pooled {
        match span_attention::cube::refused(problem) {
            None => pooled::cube::of_spans(problem, head, lse, cells),
            Some(_) => pooled::of_spans(problem, head, cells),
        }
    }

    fn pool_chunks(
        problem: &ChunkAttention<'_, Self>,
        (): &mut (),
        head: usize,
        lse: &Tensor<Self, 2>,
        cells: &Cells,
    ) -> Pooled {
        match pooled::cube::refused_chunks(problem) {
            None => pooled::cube::of_chunks(problem, head, lse, cells),
            Some(_) => pooled::of_chunks(problem, head, cells),
        }
    }
}

/// Texts as they are launched for heads of some sizes, with what they are called: what their use of registers is written down of.
#[cfg(feature = "cuda-text")]
pub fn texts() -> Vec<(String, crate::cuda::Text)> {
    use crate::cuda::Variant;
    let mut texts = Vec::new();
    for head_dim in [64, 80, 96, 128, 256] {
        let plain = Variant {
            head_dim,
            rotary_dim: head_dim,
            dtype: burn_tensor::DType::BF16,
            pack: 4,
            soft_cap: None,
            has_holes: false,
        };
        let full = Variant { dtype: burn_tensor::DType::F16, pack: 7, soft_cap: Some(50.0), has_holes: true, ..plain };
        texts.push((format!("{head_dim}: rotation"), rotary::turn_rows_text(&plain)));
        for (name, variant) in [("bf16", &plain), ("f16, capped, with holes", &full)] {
            texts.push((
                format!("{head_dim}: span attention, {name}"),
                span_attention::cuda::warps_text(variant, H100_SHARED),
            ));
            let chunks = chunk_attention::cuda::text(variant, 16);
            texts.push((format!("{head_dim}: chunk attention, {name}"), chunks));
            let n_picks = if variant.has_holes { 64 } else { 13 };
            let numbers = Variant { head_dim: 2 * head_dim, rotary_dim: 0, ..*variant };
            texts.push((
                format!("{head_dim}: choice by bounds, {name}"),
                chunk_scores::cuda::text(&numbers, 32, n_picks),
            ));
            texts.push((
                format!("{head_dim}: span attention by warpgroups, {name}"),
                span_attention::cuda::groups_text(variant),
            ));
            let n_spans = if variant.has_holes { 3 } else { 1 };
            texts.push((
                format!("{head_dim}: span attention of a token, {name}"),
                span_attention::cuda::decode_text(variant, n_spans, n_spans.div_ceil(2)),
            ));
        }
    }
    texts
}

/// Shared memory of a block on an H100.
#[cfg(feature = "cuda-text")]
const H100_SHARED: usize = 227 << 10;
