//! The one place that names concrete backends.

mod ceiling;
mod hush;

use longlens_core::lens::{Lens, ModelInfo};
use longlens_kernel::Kernels;
use longlens_kernel::cpu::simd;
use longlens_kernel::linear::{Matrix, Storage};
use longlens_kernel::selfcheck::{self, Checked};
use longlens_model::Options;
use longlens_model::shapes::{self, Shape};
use longlens_model::source::Source;
use longlens_model::weights::Keep;
use longlens_notebook::memory::Machine;

use crate::args::Device;
use crate::failure::Failure;
use crate::memory;
pub use ceiling::Ceilings;
pub use hush::prepare;
use longlens_app::bytes::text as size;

/// Opens a model on the device the user asked for.
pub fn open(model: &str, device: Device, options: Options) -> Result<Box<dyn Lens>, Failure> {
    let source = Source::resolve(model).map_err(refused)?;
    if matches!(device, Device::Cpu) {
        let outline = |weights| longlens_model::outline(&source, Options { weights, ..options.clone() });
        let weight_bytes = |weights| outline(weights).map_or(usize::MAX, |info| info.weight_bytes);
        check_room(&outline(options.weights).map_err(refused)?, weight_bytes)?;
    }
    on(device, Open { source, options }).inspect(|_| memory::give_back_freed_pages())
}

/// Refuses a model whose weights, with the cache of a short prompt, are more than the memory that is left: an allocation
/// that fails ends the program.
fn check_room(model: &ModelInfo, weight_bytes: impl Fn(Keep) -> usize) -> Result<(), Failure> {
    let Some(room) = Machine::here().room() else { return Ok(()) };
    let spec = &model.spec;
    // prompts may be shorter than the longest, which is not held against a model
    let n_cached = spec.trained_context.min(LEAST_CONTEXT);
    let cache = spec.cache_numbers(n_cached) * size_of::<f32>();
    let needed = model.weight_bytes.saturating_add(cache);
    if needed as u64 <= room.bytes {
        return Ok(());
    }
    let bytes = |keep: Keep| weight_bytes(keep).saturating_add(cache);
    let smaller = [Keep::File, Keep::As(Storage::Bf16), Keep::As(Storage::Q8), Keep::As(Storage::Q4)];
    let fitting = smaller.into_iter().find(|keep| bytes(*keep) as u64 <= room.bytes);
    let help = match fitting {
        Some(kept) => format!(
            "keep them in fewer bits: start with `--weights {}`, which takes {}",
            kept.name(),
            size(bytes(kept))
        ),
        None => "use a smaller model, or a machine with more memory".to_owned(),
    };
    let (needed, left) = (size(needed), size(room.bytes as usize));
    Err(Failure::failed(
        format!(
            "the weights of {} as {}, and a cache of {n_cached} tokens, take {needed}, and {} has {left} left",
            model.name, model.dtype, room.bound
        ),
        Some(help),
    ))
}

/// Tokens that a model must have room for.
const LEAST_CONTEXT: usize = 1024;

/// A model of a named shape with random weights, on the device the user asked for.
pub fn random(
    shape: &'static Shape,
    n_layers: Option<usize>,
    seed: u64,
    device: Device,
    weights: Keep,
) -> Result<Box<dyn Lens>, Failure> {
    on(device, Random { shape, n_layers, seed, weights: weights.without_file() })
}

/// Whether the device is there and keeps matrices this way.
pub fn check(device: Device, weights: Keep) -> Result<(), Failure> {
    on(device, Check { weights })
}

/// What the device can do at most.
pub fn ceilings(device: Device) -> Result<Ceilings, Failure> {
    on(device, Measure { device })
}

/// What a random model of a named shape is, without making its weights.
pub fn describe_random(shape: &Shape, n_layers: Option<usize>, weights: Keep) -> ModelInfo {
    shape.info(n_layers, weights.without_file(), "not loaded")
}

/// What a model is, without loading its weights.
pub fn describe(model: &str, options: Options) -> Result<ModelInfo, Failure> {
    let source = Source::resolve(model).map_err(refused)?;
    longlens_model::describe(&source, options).map_err(refused)
}

/// The same at once: without a look at the tokenizer.
pub fn outline(model: &str, options: Options) -> Result<ModelInfo, Failure> {
    let source = Source::resolve(model).map_err(refused)?;
    longlens_model::outline(&source, options).map_err(refused)
}

/// Something to do on whichever backend serves a device.
trait Task {
    type Output;

    /// `kernel_path` names device and kernel bodies.
    fn run<B: Kernels>(self, device: B::Device, kernel_path: &str) -> Result<Self::Output, Failure>;
}

fn on<T: Task>(device: Device, task: T) -> Result<T::Output, Failure> {
    match device {
        Device::Cpu => {
            if let Some(asked) = simd::absent() {
                let names: Vec<_> = simd::arches().into_iter().map(simd::name).collect();
                return Err(Failure::usage(
                    format!("{}={asked} is no instruction set of this machine", simd::VARIABLE),
                    format!("it has {}; without the variable the first is used", names.join(", ")),
                ));
            }
            let path = format!("cpu, {}", simd::name(simd::arch()));
            task.run::<burn_flex::Flex>(burn_flex::FlexDevice, &path)
        }
        Device::Wgpu => wgpu::run(task),
        Device::Cuda => cuda::run(task),
    }
}

struct Open {
    source: Source,
    options: Options,
}

impl Task for Open {
    type Output = Box<dyn Lens>;

    fn run<B: Kernels>(self, device: B::Device, kernel_path: &str) -> Result<Self::Output, Failure> {
        longlens_model::open::<B>(&self.source, self.options, device, kernel_path).map_err(refused)
    }
}

struct Random {
    shape: &'static Shape,
    n_layers: Option<usize>,
    seed: u64,
    weights: Storage,
}

impl Task for Random {
    type Output = Box<dyn Lens>;

    fn run<B: Kernels>(self, device: B::Device, kernel_path: &str) -> Result<Self::Output, Failure> {
        let Self { shape, n_layers, seed, weights } = self;
        shapes::random::<B>(shape, n_layers, seed, weights, device, kernel_path).map_err(refused)
    }
}

struct Check {
    weights: Keep,
}

impl Task for Check {
    type Output = ();

    fn run<B: Kernels>(self, _: B::Device, _: &str) -> Result<Self::Output, Failure> {
        // what a device does not take of a file it keeps as numbers of 32 bits
        let Keep::As(storage) = self.weights else { return Ok(()) };
        B::Matrix::check(storage).map_err(|unsupported| refused(unsupported.into()))
    }
}

/// What a device is, and how far each of its operations is from the processor's.
pub fn examine(device: Device) -> Result<Examined, Failure> {
    on(device, Examine)
}

/// What [`examine`] found.
pub struct Examined {
    /// Names and values.
    pub facts: Vec<(&'static str, String)>,
    /// Every operation.
    pub checked: Vec<Checked>,
}

struct Examine;

impl Task for Examine {
    type Output = Examined;

    fn run<B: Kernels>(self, device: B::Device, kernel_path: &str) -> Result<Self::Output, Failure> {
        let facts = [vec![("kernels", kernel_path.to_owned())], B::facts(&device)].concat();
        Ok(Examined { facts, checked: selfcheck::check::<B>(&device) })
    }
}

struct Measure {
    device: Device,
}

impl Task for Measure {
    type Output = Ceilings;

    fn run<B: Kernels>(self, device: B::Device, _: &str) -> Result<Self::Output, Failure> {
        let (flops_per_s, bytes_per_s) = match self.device {
            Device::Cpu => (ceiling::flops::<B>(&device), ceiling::memory()),
            Device::Wgpu | Device::Cuda => (ceiling::device_flops::<B>(&device), ceiling::device_memory::<B>(&device)),
        };
        Ok(Ceilings { flops_per_s, bytes_per_s })
    }
}

fn refused(error: longlens_model::error::OpenError) -> Failure {
    let help = error.help();
    Failure::failed(error, help)
}

#[cfg(feature = "wgpu")]
mod wgpu {
    use super::{Failure, Task};

    pub fn run<T: Task>(task: T) -> Result<T::Output, Failure> {
        super::on_device("wgpu", "install a Vulkan driver (on Debian: mesa-vulkan-drivers)", || {
            task.run::<burn_wgpu::Wgpu>(burn_wgpu::WgpuDevice::default(), "wgpu")
        })
    }
}

#[cfg(feature = "cuda")]
mod cuda {
    use super::{Failure, Task};

    pub fn run<T: Task>(task: T) -> Result<T::Output, Failure> {
        super::on_device(
            "cuda",
            "check the NVIDIA driver with nvidia-smi, and that CUDA_PATH names the toolkit",
            || task.run::<burn_cuda::Cuda>(burn_cuda::CudaDevice::default(), "cuda"),
        )
    }
}

/// A device's runtime panics where there is no device; that becomes an error with advice.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn on_device<T>(name: &str, advice: &str, run: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    // whatever the task was building is dropped with it
    let done = hush::caught(std::panic::AssertUnwindSafe(run));
    done.unwrap_or_else(|panic| {
        let text = longlens_core::panics::message(panic.as_ref());
        Err(Failure::failed(format!("--device {name} does not work here: {text}"), Some(advice.to_owned())))
    })
}

#[cfg(not(feature = "wgpu"))]
mod wgpu {
    use super::{Failure, Task};

    pub fn run<T: Task>(_: T) -> Result<T::Output, Failure> {
        super::not_built("wgpu")
    }
}

#[cfg(not(feature = "cuda"))]
mod cuda {
    use super::{Failure, Task};

    pub fn run<T: Task>(_: T) -> Result<T::Output, Failure> {
        super::not_built("cuda")
    }
}

#[cfg(not(all(feature = "wgpu", feature = "cuda")))]
fn not_built<T>(name: &str) -> Result<T, Failure> {
    Err(Failure::failed(
        format!("this longlens was built without {name}"),
        Some(format!("rebuild with `cargo build --release --features {name}`")),
    ))
}
