//! What the kernels share that are written once for every GPU (`<operation>/cube.rs`): tensors as buffers with strides, new
//! buffers, and what the device allows.
//!
//! They are CubeCL functions: WGSL on wgpu, CUDA C++ on NVIDIA. Units of one row of work exchange numbers by shuffles among
//! [`LANES`] neighbours. That asks for planes of at least as many units, whose numbers follow those of the cube's units, as on all known
//! drivers: planes of 8 (software Vulkan), 32 (NVIDIA, Apple) or 64 (AMD) all do.

use burn_cubecl::element::BoolElement;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, CubeRuntime};
use burn_tensor::{DType, Int, Shape, Tensor, TensorPrimitive};
use cubecl::client::ComputeClient;
use cubecl::prelude::*;
use cubecl::server::Handle;

pub(crate) mod known;

/// A runtime of GPUs.
pub trait GpuRuntime: CubeRuntime {
    /// Compute capability for which the device compiles CUDA text, ten times the major number plus the minor one; nothing where it
    /// does not.
    fn cuda_capability(_device: &Self::Device) -> Option<u32> {
        None
    }

    /// Bytes of the device's memory that nobody holds, and all there are, where its driver tells.
    fn free_memory(_device: &Self::Device) -> Option<(u64, u64)> {
        None
    }

    /// Launches CUDA text; only devices with a capability are asked.
    #[cfg(feature = "cuda-text")]
    fn launch_text(
        _client: &cubecl::client::ComputeClient<Self>,
        _text: crate::cuda::Text,
        _grid: [usize; 3],
        _maps: &[crate::cuda::TensorMap],
        _buffers: &[&cubecl::server::Handle],
        _info: &crate::cuda::Info,
    ) {
        unreachable!("devices without a capability take no CUDA text");
    }
}

/// What computes a problem on a device that takes texts: a text, or why none does. Nothing on other devices.
pub(crate) type Choice<T> = Option<Result<T, &'static str>>;

/// The backend of a runtime: numbers are f32 unless a tensor says otherwise.
pub type Gpu<R, BT> = CubeBackend<R, f32, i32, BT>;

/// Four numbers that are loaded together.
pub(crate) type Four<E> = Vector<E, Const<4>>;

/// Neighbouring units that exchange numbers by shuffles.
pub(crate) const LANES: u32 = 8;

/// A float tensor's buffer.
pub(crate) fn buffer<R: CubeRuntime, BT: BoolElement, const D: usize>(tensor: Tensor<Gpu<R, BT>, D>) -> CubeTensor<R> {
    tensor.into_primitive().tensor()
}

/// The tensor of a buffer.
pub(crate) fn tensor<R: CubeRuntime, BT: BoolElement, const D: usize>(buffer: CubeTensor<R>) -> Tensor<Gpu<R, BT>, D> {
    Tensor::from_primitive(TensorPrimitive::Float(buffer))
}

/// The tensor of a buffer of whole numbers.
pub(crate) fn int_tensor<R: CubeRuntime, BT: BoolElement, const D: usize>(
    buffer: CubeTensor<R>,
) -> Tensor<Gpu<R, BT>, D, Int> {
    Tensor::from_primitive(buffer)
}

/// A tensor `[heads, rows, width]` as kernels read it: consecutive numbers in a row, any distance between rows and heads.
pub(crate) struct Rows<R: CubeRuntime> {
    pub tensor: CubeTensor<R>,
    pub heads: usize,
    /// Rows of a head.
    pub seq: usize,
    pub width: usize,
    /// Numbers from one head to the next.
    pub head_stride: usize,
    /// Numbers from one row to the next.
    pub row_stride: usize,
}

impl<R: CubeRuntime> Rows<R> {
    /// Of a tensor; one whose rows or distances are not whole vectors of `vector` numbers is copied.
    pub fn of<BT: BoolElement>(tensor: Tensor<Gpu<R, BT>, 3>, vector: usize) -> Self {
        let [heads, seq, width] = tensor.dims();
        let mut tensor = buffer(tensor);
        let strides = |tensor: &CubeTensor<R>| [0, 1, 2].map(|at| tensor.meta.strides()[at]);
        let [head_stride, row_stride, step] = strides(&tensor);
        if step != 1 || !head_stride.is_multiple_of(vector) || !row_stride.is_multiple_of(vector) {
            tensor = into_contiguous(tensor);
        }
        let [head_stride, row_stride, _] = strides(&tensor);
        Self { tensor, heads, seq, width, head_stride, row_stride }
    }

    /// What launches take.
    pub fn arg(&self) -> ArrayArg<R> {
        array(&self.tensor)
    }

    /// The type of its numbers.
    pub fn storage(&self) -> StorageType {
        self.tensor.dtype.into()
    }
}

/// A whole buffer as what launches take.
pub(crate) fn array<R: CubeRuntime>(tensor: &CubeTensor<R>) -> ArrayArg<R> {
    handle_array(&tensor.handle, tensor.dtype.size())
}

/// A handle to numbers of `size` bytes as what launches take.
pub(crate) fn handle_array<R: CubeRuntime>(handle: &Handle, size: usize) -> ArrayArg<R> {
    // SAFETY: the length is the buffer's own
    unsafe { ArrayArg::from_raw_parts(handle.clone(), handle.size_in_used() as usize / size) }
}

/// A new tensor beside `like`, without content; its rows follow one another.
pub(crate) fn empty<R: CubeRuntime>(like: &CubeTensor<R>, shape: impl Into<Shape>, dtype: DType) -> CubeTensor<R> {
    let shape = shape.into();
    let handle = like.client.empty(shape.num_elements().max(1) * dtype.size());
    CubeTensor::new_contiguous(like.client.clone(), like.device.clone(), shape, handle, dtype)
}

/// Whole numbers on the device.
pub(crate) fn upload<R: CubeRuntime>(client: &ComputeClient<R>, numbers: &[u32]) -> Handle {
    client.create_from_slice(u32::as_bytes(numbers))
}

/// Cubes of `units` that cover `n` units of work, in a grid that every device takes.
pub(crate) fn cubes_for(n: usize, units: usize) -> CubeCount {
    let n_cubes = n.div_ceil(units).max(1);
    let y = n_cubes.div_ceil(MOST_CUBES);
    CubeCount::Static(n_cubes.div_ceil(y) as u32, y as u32, 1)
}

/// Cubes in one direction of a grid, at most.
pub(crate) const MOST_CUBES: usize = 65_535;

/// Why a device cannot run these kernels, if it cannot: units exchange numbers, tiles lie in shared memory, and a kernel reads
/// several buffers.
pub(crate) fn refused_device<R: CubeRuntime>(client: &ComputeClient<R>) -> Option<&'static str> {
    let hardware = &client.properties().hardware;
    if hardware.plane_size_min < LANES {
        return Some("the device's planes have fewer than 8 units");
    }
    if hardware.max_shared_memory_size < SHARED_BYTES {
        return Some("the device has less than 32 KiB of shared memory");
    }
    (hardware.max_bindings < BINDINGS).then_some("the device gives a kernel fewer than 12 buffers")
}

/// Shared memory that tiles may take.
const SHARED_BYTES: usize = 32 << 10;
/// Buffers of a kernel, at most, sizes included.
const BINDINGS: u32 = 12;

/// Why a tensor of so many numbers is too large, if it is: kernels count them with 32 bits.
pub(crate) fn refused_numbers(n: usize) -> Option<&'static str> {
    (n > u32::MAX as usize).then_some("more than 2^32 numbers in one buffer")
}

/// Whether the device multiplies numbers of 16 bits on tensor cores, from CUDA text of ours.
pub(crate) fn has_tensor_cores<R: GpuRuntime>(device: &R::Device) -> bool {
    R::cuda_capability(device).is_some_and(|capability| capability >= 80)
}

/// The sum of a number over the [`LANES`] units of a row; every one of them gets it.
#[cube]
pub(crate) fn lanes_sum(x: f32) -> f32 {
    let mut sum = x + plane_shuffle_xor(x, 1u32);
    sum += plane_shuffle_xor(sum, 2u32);
    sum + plane_shuffle_xor(sum, 4u32)
}

/// The largest of a number over the [`LANES`] units of a row; every one of them gets it.
#[cube]
pub(crate) fn lanes_max(x: f32) -> f32 {
    let mut most = max(x, plane_shuffle_xor(x, 1u32));
    most = max(most, plane_shuffle_xor(most, 2u32));
    max(most, plane_shuffle_xor(most, 4u32))
}

/// The sum of the products of four numbers each.
#[cube]
pub(crate) fn dot(a: Four<f32>, b: Four<f32>) -> f32 {
    let product = a * b;
    (product[0] + product[1]) + (product[2] + product[3])
}

/// Units of a cube that share one row of numbers.
pub(crate) const ROW_UNITS: u32 = 128;

/// The sum of a number over the [`ROW_UNITS`] units of a cube; every one of them gets it.
#[cube]
pub(crate) fn row_sum(x: f32) -> f32 {
    let mut sums = SharedMemory::<f32>::new(comptime!((ROW_UNITS / LANES) as usize));
    let sum = lanes_sum(x);
    sync_cube(); // an earlier sum of the same kernel may still be read
    if UNIT_POS % LANES == 0 {
        sums[(UNIT_POS / LANES) as usize] = sum;
    }
    sync_cube();
    let mut total = f32::new(0.0);
    #[unroll]
    for at in 0..comptime!((ROW_UNITS / LANES) as usize) {
        total += sums[at];
    }
    total
}

/// The largest of a number over the [`ROW_UNITS`] units of a cube; every one of them gets it.
#[cube]
pub(crate) fn row_max(x: f32) -> f32 {
    let mut all = SharedMemory::<f32>::new(comptime!((ROW_UNITS / LANES) as usize));
    let own = lanes_max(x);
    sync_cube(); // an earlier maximum of the same kernel may still be read
    if UNIT_POS % LANES == 0 {
        all[(UNIT_POS / LANES) as usize] = own;
    }
    sync_cube();
    let mut most = all[0];
    #[unroll]
    for at in 1..comptime!((ROW_UNITS / LANES) as usize) {
        most = max(most, all[at]);
    }
    most
}
