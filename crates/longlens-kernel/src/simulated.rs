//! A CubeCL runtime without a device, for tests: every launch is compiled as for an NVIDIA card and interpreted on the processor
//! ([`longlens_ptx`]).
//!
//! Kernels written once for every GPU and kernels of CUDA text both come here, with the parameters, buffers and sizes that a card would
//! get. What the interpreter finds wrong (a race, a read of shared memory or a register that nobody wrote, an access out of bounds) ends
//! the program with where it happened. Tensors lie without gaps between rows, where a card may leave some.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use burn_tensor::backend::DeviceOps;
use cubecl::bytes::Bytes;
use cubecl::client::ComputeClient;
use cubecl::device::{Device, DeviceId, DeviceService};
use cubecl::features::{Features, Plane};
use cubecl::future::DynFut;
use cubecl::ir::{
    ContiguousElements, DeviceProperties, HardwareProperties, MatrixLayout, MemoryDeviceProperties, MmaProperties,
    TargetProperties, VectorSize,
};
use cubecl::prelude::*;
use cubecl::profile::{ProfileDuration, TimingMethod};
use cubecl::server::{
    Binding, ComputeServer, CopyDescriptor, KernelArguments, ProfileError, ProfilingToken, ServerCommunication,
    ServerError, ServerUtilities, TensorMapMeta,
};
use cubecl::stream_id::StreamId;
use cubecl::zspace::{Shape, Strides};
use cubecl::{CubeTask, MemoryAllocationMode, MemoryConfiguration, MemoryUsage, Runtime};
use cubecl_cpp::cuda::mma::contiguous_elements_cuda;
use cubecl_cpp::register_supported_types;
use cubecl_cpp::shared::{CompilationOptions, ComputeKernel, CppSupportedFeatures};
use cubecl_runtime::allocator::ContiguousMemoryLayoutPolicy;
use cubecl_runtime::logging::ServerLogger;
use cubecl_runtime::memory_management::{ManagedMemoryHandle, MemoryManagement, MemoryManagementOptions};
use cubecl_runtime::storage::{BytesResource, BytesStorage, ManagedResource};
use cubecl_runtime::timestamp_profiler::TimestampProfiler;
use cubecl_runtime::tma::{TensorMapFormat, TensorMapSwizzle, TiledArgs};
use longlens_ptx::{Arg, Launch, Memory, Module, Nvrtc, Swizzle, TensorMap};

use crate::cuda::CudaCompiler;

/// The backend of simulated devices.
pub type Simulated = burn_cubecl::CubeBackend<SimulatedRuntime, f32, i32, u8>;

/// The runtime.
#[derive(Debug, Clone)]
pub struct SimulatedRuntime;

/// A card of some compute capability.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SimulatedDevice {
    /// Ten times the major number plus the minor one: 80 or 90.
    pub capability: u16,
}

impl SimulatedDevice {
    /// The architecture that kernels are compiled for.
    fn architecture(&self) -> &'static str {
        if self.capability == 90 { "sm_90a" } else { "sm_80" }
    }
}

impl Default for SimulatedDevice {
    fn default() -> Self {
        Self { capability: 90 }
    }
}

/// What holds buffers and runs kernels.
#[derive(Debug)]
pub struct SimulatedServer {
    memory: MemoryManagement<BytesStorage>,
    timestamps: TimestampProfiler,
    utilities: Arc<ServerUtilities<Self>>,
    architecture: &'static str,
}

/// Whether kernels can be compiled here: NVRTC is where `LONGLENS_NVRTC` says.
pub fn is_available() -> bool {
    nvrtc().is_some()
}

fn nvrtc() -> Option<&'static Nvrtc> {
    static NVRTC: OnceLock<Option<Nvrtc>> = OnceLock::new();
    NVRTC.get_or_init(|| Nvrtc::from_env().expect("NVRTC can be loaded")).as_ref()
}

/// The kernels of every text that was launched so far.
fn module(architecture: &'static str, source: &str) -> Arc<Module> {
    type Known = HashMap<(&'static str, String), Arc<Module>>;
    static MODULES: Mutex<Option<Known>> = Mutex::new(None);
    let name = (architecture, source.to_owned());
    let known = MODULES.lock().expect("no panic while it is held").get_or_insert_default().get(&name).cloned();
    known.unwrap_or_else(|| {
        let nvrtc = nvrtc().expect("LONGLENS_NVRTC names the folder of NVRTC");
        let compiled = nvrtc.compile(source, architecture, &[]).expect("kernels compile");
        let module = Arc::new(Module::parse(&compiled.ptx).expect("the interpreter knows what compilers write"));
        let mut modules = MODULES.lock().expect("no panic while it is held");
        modules.get_or_insert_default().insert(name, Arc::clone(&module));
        module
    })
}

impl Device for SimulatedDevice {
    fn from_id(id: DeviceId) -> Self {
        Self { capability: id.index_id }
    }

    fn to_id(&self) -> DeviceId {
        DeviceId { type_id: 0, index_id: self.capability }
    }
}

impl DeviceOps for SimulatedDevice {}

impl DeviceService for SimulatedServer {
    fn init(id: DeviceId) -> Self {
        let architecture = SimulatedDevice::from_id(id).architecture();
        let properties = properties();
        let logger = Arc::new(ServerLogger::default());
        let memory = MemoryManagement::from_configuration(
            BytesStorage::default(),
            &properties.memory,
            MemoryConfiguration::default(),
            Arc::clone(&logger),
            MemoryManagementOptions::new("simulated"),
        );
        let policy = ContiguousMemoryLayoutPolicy::new(ALIGNMENT);
        let utilities = Arc::new(ServerUtilities::new(properties, logger, (), policy));
        Self { memory, timestamps: TimestampProfiler::default(), utilities, architecture }
    }

    fn utilities(&self) -> Arc<dyn std::any::Any + Send + Sync> {
        Arc::clone(&self.utilities) as _
    }
}

/// Bytes that buffers are aligned to, as on a card.
const ALIGNMENT: usize = 512;

/// What a Hopper card allows, but without the matrix instructions that CubeCL would use by itself.
fn properties() -> DeviceProperties {
    let memory = MemoryDeviceProperties { max_page_size: 1 << 29, alignment: ALIGNMENT as u64 };
    let hardware = HardwareProperties {
        load_width: 128,
        plane_size_min: 32,
        plane_size_max: 32,
        max_bindings: 1024,
        max_shared_memory_size: 232_448,
        max_cube_count: (i32::MAX as u32, 65_535, 65_535),
        max_units_per_cube: 1024,
        max_cube_dim: (1024, 1024, 64),
        num_streaming_multiprocessors: Some(132),
        num_tensor_cores: None,
        min_tensor_cores_dim: None,
        num_cpu_cores: None,
        max_vector_size: VectorSize::MAX,
    };
    let mut properties = DeviceProperties::new(Features::default(), memory, hardware, TimingMethod::System);
    register_supported_types(&mut properties);
    for plane in [Plane::Sync, Plane::Ops, Plane::NonUniformControlFlow] {
        properties.features.plane.insert(plane);
    }
    properties.features.memory_reinterpret = true;
    properties.features.alignment = true;
    properties
}

fn options() -> CompilationOptions {
    let supports_features = CppSupportedFeatures {
        grid_constants: true,
        clusters: true,
        fast_math: true,
        fast_tanh: true,
        elect_sync: true,
    };
    CompilationOptions { warp_size: 32, supports_features }
}

impl SimulatedServer {
    fn resource(&mut self, binding: Binding) -> BytesResource {
        self.memory
            .get_resource(binding.memory, binding.offset_start, binding.offset_end)
            .expect("bindings are of this server")
    }
}

impl ServerCommunication for SimulatedServer {
    const SERVER_COMM_ENABLED: bool = false;
}

impl ComputeServer for SimulatedServer {
    type Kernel = Box<dyn CubeTask<CudaCompiler>>;
    type Storage = BytesStorage;
    type MemoryLayoutPolicy = ContiguousMemoryLayoutPolicy;
    type Info = ();

    fn logger(&self) -> Arc<ServerLogger> {
        Arc::clone(&self.utilities.logger)
    }

    fn utilities(&self) -> Arc<ServerUtilities<Self>> {
        Arc::clone(&self.utilities)
    }

    fn initialize_memory(&mut self, memory: ManagedMemoryHandle, size: u64, _: StreamId) {
        let reserved = self.memory.reserve(size).expect("the processor has memory");
        self.memory.bind(reserved, memory, 0).expect("just reserved");
    }

    fn read(&mut self, descriptors: Vec<CopyDescriptor>, _: StreamId) -> DynFut<Result<Vec<Bytes>, ServerError>> {
        let bytes = descriptors.into_iter().map(|descriptor| {
            let n = descriptor.handle.size_in_used() as usize;
            Bytes::from_bytes_vec(self.resource(descriptor.handle).read()[..n].to_vec())
        });
        let bytes: Vec<_> = bytes.collect();
        Box::pin(async move { Ok(bytes) })
    }

    fn write(&mut self, descriptors: Vec<(CopyDescriptor, Bytes)>, _: StreamId) {
        for (descriptor, bytes) in descriptors {
            self.resource(descriptor.handle).write()[..bytes.len()].copy_from_slice(&bytes);
        }
    }

    fn sync(&mut self, _: StreamId) -> DynFut<Result<(), ServerError>> {
        Box::pin(async { Ok(()) })
    }

    fn get_resource(&mut self, binding: Binding, _: StreamId) -> Result<ManagedResource<BytesResource>, ServerError> {
        let memory = binding.memory.clone();
        Ok(ManagedResource::new(memory, self.resource(binding)))
    }

    unsafe fn launch(
        &mut self,
        kernel: Self::Kernel,
        count: CubeCount,
        arguments: KernelArguments,
        mode: ExecutionMode,
        _: StreamId,
    ) {
        let compiled = kernel
            .compile(&mut CudaCompiler::default(), &options(), mode, kernel.address_type())
            .expect("kernels become CUDA text");
        let shared = compiled.repr.as_ref().map_or(0, ComputeKernel::shared_memory_size);
        let CubeCount::Static(x, y, z) = count else { panic!("grids are known when a kernel is launched") };
        // a map comes with a pointer to what it lies on, before all buffers
        let (maps, lie_on): (Vec<_>, Vec<_>) =
            arguments.tensor_maps.into_iter().map(|map| (map.map, map.binding)).unzip();
        let bindings = lie_on.into_iter().chain(arguments.buffers);
        let mut resources: Vec<_> = bindings.map(|binding| self.resource(binding)).collect();
        let is_ours = kernel.name().starts_with(env!("CARGO_CRATE_NAME"));
        let module = module(self.architecture, &compiled.source);
        let dim = compiled.cube_dim;
        let mut launch = Launch::new(&module, &compiled.entrypoint_name)
            .grid(x, y, z)
            .block(dim.x, dim.y, dim.z)
            .shared(shared as u32);
        let mut memory = Memory::new();
        let mut buffers: Vec<(*const u8, usize, longlens_ptx::Buffer, Vec<u8>)> = Vec::new();
        for resource in &resources {
            let bytes = resource.read();
            // one buffer given twice is one buffer
            let known = buffers.iter().find(|(start, len, ..)| (*start, *len) == (bytes.as_ptr(), bytes.len()));
            let mut content = bytes.to_vec();
            content.resize(bytes.len() + if is_ours { 0 } else { SLACK }, 0);
            let buffer = known.map_or_else(|| memory.in_out("buffer", &content), |(.., buffer, _)| *buffer);
            buffers.push((bytes.as_ptr(), bytes.len(), buffer, content));
        }
        let addresses = || buffers.iter().map(|(.., buffer, _)| *buffer);
        launch = maps.iter().zip(addresses()).fold(launch, |launch, (map, buffer)| launch.arg(tensor_map(map, buffer)));
        launch = addresses().fold(launch, Launch::arg);
        // numbers whose count is known when a kernel is compiled go by value, the others lie in a buffer
        let info = &arguments.info;
        let (fixed, rest) = info.data.split_at(info.dynamic_metadata_offset.min(info.data.len()));
        if !rest.is_empty() {
            launch = launch.arg(memory.input("metadata", rest));
        }
        if !fixed.is_empty() {
            launch = launch.arg(Arg::values(fixed));
        }
        // kernels of the library may read what they do not use
        let launch = if is_ours { launch } else { launch.permit_uninitialized() };
        let report = launch.run(&mut memory).unwrap_or_else(|error| panic!("{}: {error}", compiled.entrypoint_name));
        if is_ours {
            report.assert_clean();
        }
        for (resource, (_, n, buffer, before)) in resources.iter_mut().zip(buffers) {
            let after: Vec<u8> = memory.read(buffer);
            if after != before {
                resource.write().copy_from_slice(&after[..n]);
            }
        }
    }

    fn flush(&mut self, _: StreamId) -> Result<(), ServerError> {
        Ok(())
    }

    fn memory_usage(&mut self, _: StreamId) -> Result<MemoryUsage, ServerError> {
        Ok(self.memory.memory_usage())
    }

    fn memory_cleanup(&mut self, _: StreamId) {
        self.memory.cleanup(true);
    }

    fn start_profile(&mut self, _: StreamId) -> Result<ProfilingToken, ServerError> {
        Ok(self.timestamps.start())
    }

    fn end_profile(&mut self, _: StreamId, token: ProfilingToken) -> Result<ProfileDuration, ProfileError> {
        self.timestamps.stop(token)
    }

    fn allocation_mode(&mut self, mode: MemoryAllocationMode, _: StreamId) {
        self.memory.mode(mode);
    }
}

fn strides_are_contiguous(shape: &Shape, strides: &Strides) -> bool {
    let mut expected = 1;
    shape.iter().zip(strides.iter()).rev().all(|(extent, stride)| {
        let is_expected = *extent == 1 || *stride == expected;
        expected *= extent;
        is_expected
    })
}

/// A map as the interpreter takes it: the innermost dimension comes first.
fn tensor_map(map: &TensorMapMeta, buffer: longlens_ptx::Buffer) -> TensorMap {
    let TensorMapFormat::Tiled(TiledArgs { tile_size }) = &map.format else { panic!("maps of tiles") };
    let bytes = map.storage_ty.size();
    let swizzle = match map.swizzle {
        TensorMapSwizzle::None => Swizzle::None,
        TensorMapSwizzle::B32 => Swizzle::Bytes32,
        TensorMapSwizzle::B64 => Swizzle::Bytes64,
        TensorMapSwizzle::B128 => Swizzle::Bytes128,
        other => panic!("the interpreter has no swizzle {other:?}"),
    };
    TensorMap {
        address: buffer.0,
        element_bytes: bytes as u32,
        dims: map.metadata.shape().iter().rev().map(|extent| *extent as u64).collect(),
        strides: map.metadata.strides().iter().rev().skip(1).map(|stride| (stride * bytes) as u64).collect(),
        box_dims: tile_size.iter().rev().map(|extent| *extent as u32).collect(),
        swizzle,
    }
}

/// Bytes past the end of a buffer that kernels of the library may read: on a card these belong to the same allocation. The one that
/// selects rows reads an index for every column, and uses none of those.
const SLACK: usize = 4 << 10;

impl Runtime for SimulatedRuntime {
    type Compiler = CudaCompiler;
    type Server = SimulatedServer;
    type Device = SimulatedDevice;

    fn client(device: &SimulatedDevice) -> ComputeClient<Self> {
        ComputeClient::load(device)
    }

    fn name(_: &ComputeClient<Self>) -> &'static str {
        "simulated"
    }

    fn require_array_lengths() -> bool {
        true
    }

    fn max_cube_count() -> (u32, u32, u32) {
        (i32::MAX as u32, 65_535, 65_535)
    }

    fn can_read_tensor(shape: &Shape, strides: &Strides) -> bool {
        strides_are_contiguous(shape, strides)
    }

    fn target_properties() -> TargetProperties {
        TargetProperties {
            mma: MmaProperties {
                register_size_bits: 32,
                const_plane_size: 32,
                register_layout_a: MatrixLayout::RowMajor,
                register_layout_b: MatrixLayout::ColMajor,
                register_layout_acc: MatrixLayout::RowMajor,
                register_duplication_a: 1,
                register_duplication_b: 1,
                register_duplication_acc: 1,
                contiguous_elements: ContiguousElements::new(contiguous_elements_cuda),
            },
        }
    }

    fn enumerate_devices(_: u16, (): &()) -> Vec<DeviceId> {
        vec![SimulatedDevice::default().to_id()]
    }
}
