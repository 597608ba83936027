//! The one place that names concrete backends.

mod ceiling;
mod device_lens;
mod hush;

use longlens_core::lens::{Lens, ModelInfo};
use longlens_core::memory::OnDevice;
use longlens_kernel::Kernels;
use longlens_kernel::cpu::simd;
use longlens_kernel::linear::{Matrix, Storage};
use longlens_kernel::selfcheck::{self, Checked};
use longlens_model::shapes::{self, Shape};
use longlens_model::source::Source;
use longlens_model::weights::Keep;
use longlens_model::{Options, attention_only};
use longlens_notebook::memory::{Machine, Room};

use crate::args::Device;
use crate::failure::Failure;
use crate::memory;
pub use ceiling::Ceilings;
use device_lens::{Asks, DeviceLens};
pub use hush::prepare;
use longlens_app::bytes::text as size;

/// Opens a model on the device the user asked for.
pub fn open(model: &str, device: Device, options: Options) -> Result<Box<dyn Lens>, Failure> {
    check_offload(device, options.kv_offload)?;
    let source = Source::resolve(model).map_err(refused)?;
    if let Some(place) = place(device)? {
        let outline = |weights| longlens_model::outline(&source, Options { weights, ..options.clone() }, place.takes);
        let weight_bytes = |weights| outline(weights).map_or(usize::MAX, |info| info.weight_bytes);
        check_room(&outline(options.weights).map_err(refused)?, &place, options.kv_offload, weight_bytes)?;
    }
    on(device, Open { source, options }).inspect(|_| memory::give_back_freed_pages())
}

/// Refuses keys and values in the host's memory where there is no other.
fn check_offload(device: Device, kv_offload: bool) -> Result<(), Failure> {
    if device != Device::Cpu || !kv_offload {
        return Ok(());
    }
    Err(Failure::usage(
        "kv_offload is for devices with memory of their own: the processor's keys and values are in the host's memory",
        "leave it out, or give such a --device".to_owned(),
    ))
}

/// Memory that models are put into.
struct Place {
    room: Room,
    /// Which forms of matrices stay what they are there; others become numbers of 32 bits.
    takes: fn(Storage) -> bool,
    /// Whether a device has it for itself.
    is_device: bool,
    /// Bytes of a number of a model's cache there.
    number: Box<dyn Fn(&ModelInfo) -> usize>,
}

/// The memory of a device, where the system or its driver tells.
fn place(device: Device) -> Result<Option<Place>, Failure> {
    if device == Device::Cpu {
        return Ok(Machine::here().room().map(|room| Place {
            room,
            takes: |_| true,
            is_device: false,
            number: Box::new(|_| size_of::<f32>()),
        }));
    }
    on(device, FindPlace)
}

/// Refuses a model whose weights, with the cache of a short prompt, are more than the memory that is left: an allocation
/// that fails ends the program.
fn check_room(
    model: &ModelInfo,
    Place { room, number, is_device, .. }: &Place,
    kv_offload: bool,
    weight_bytes: impl Fn(Keep) -> usize,
) -> Result<(), Failure> {
    let spec = &model.spec;
    // prompts may be shorter than the longest, which is not held against a model
    let n_cached = if kv_offload { 0 } else { spec.trained_context.min(LEAST_CONTEXT) };
    let cache = spec.cache_numbers(n_cached) * number(model);
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
        None if *is_device && !kv_offload && model.weight_bytes as u64 <= room.bytes => {
            "leave keys and values in the host's memory with --kv-offload, or use a smaller model".to_owned()
        }
        None if *is_device => "use a smaller model, or a device with more memory".to_owned(),
        None => "use a smaller model, or a machine with more memory".to_owned(),
    };
    let (needed, left) = (size(needed), size(room.bytes as usize));
    let with_cache = if n_cached > 0 { format!(", and a cache of {n_cached} tokens,") } else { String::new() };
    Err(Failure::failed(
        format!(
            "the weights of {} as {}{with_cache} take {needed}, and {} has {left} left",
            model.name, model.dtype, room.bound
        ),
        Some(help),
    ))
}

/// Tokens that a model must have room for.
const LEAST_CONTEXT: usize = 1024;

/// A model of a named shape with random weights.
#[derive(Debug, Clone, Copy)]
pub struct Made {
    /// The shape.
    pub shape: &'static Shape,
    /// Its first layers alone, where that is given.
    pub n_layers: Option<usize>,
    /// What its numbers are drawn from.
    pub seed: u64,
    /// How its matrices are kept.
    pub weights: Keep,
    /// Whether keys and values stay in the host's memory.
    pub kv_offload: bool,
    /// Whether its layers are nothing but attention, of random queries, keys and values.
    pub attention_only: bool,
}

impl Made {
    /// What it is, without making its weights.
    pub fn describe(self) -> ModelInfo {
        let Self { shape, n_layers, weights, .. } = self;
        let info = shape.info(n_layers, weights.without_file(), "not loaded");
        if self.attention_only { attention_only::describe(info) } else { info }
    }

    /// Makes it on the device the user asked for.
    pub fn open(self, device: Device) -> Result<Box<dyn Lens>, Failure> {
        check_offload(device, self.kv_offload)?;
        // of the processor it was said before
        if let Some(place) = place(device)?.filter(|_| device != Device::Cpu) {
            let weight_bytes = |weights| Self { weights, ..self }.describe().weight_bytes;
            check_room(&self.describe(), &place, self.kv_offload, weight_bytes)?;
        }
        on(device, self)
    }
}

/// Whether the device is there and keeps matrices this way.
pub fn check(device: Device, weights: Keep) -> Result<(), Failure> {
    on(device, Check { weights })
}

/// What the device can do at most.
pub fn ceilings(device: Device, how: Option<OnDevice>) -> Result<Ceilings, Failure> {
    on(device, Measure { how })
}

/// How a device with memory of its own keeps what a run of a model makes.
pub fn on_device_of(device: Device, model: &ModelInfo, offloads: bool) -> Result<Option<OnDevice>, Failure> {
    on(device, FindOnDevice { has_32_bits: model.has_32_bits(), offloads })
}

/// What a model is, without loading its weights.
pub fn describe(model: &str, options: Options) -> Result<ModelInfo, Failure> {
    let source = Source::resolve(model).map_err(refused)?;
    longlens_model::describe(&source, options).map_err(refused)
}

/// The same at once: without a look at the tokenizer.
pub fn outline(model: &str, options: Options) -> Result<ModelInfo, Failure> {
    let source = Source::resolve(model).map_err(refused)?;
    longlens_model::outline(&source, options, |_| true).map_err(refused)
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

struct FindPlace;

impl Task for FindPlace {
    type Output = Option<Place>;

    fn run<B: Kernels>(self, device: B::Device, _: &str) -> Result<Self::Output, Failure> {
        let free = B::memory(&device).and_then(|memory| memory.available());
        let number = move |model: &ModelInfo| B::attention_bytes(&device, model.has_32_bits());
        let place = |bytes| Place {
            room: Room { bytes, bound: "the device" },
            takes: is_kept::<B>,
            is_device: true,
            number: Box::new(number),
        };
        Ok(free.map(place))
    }
}

fn is_kept<B: Kernels>(storage: Storage) -> bool {
    B::Matrix::check(storage).is_ok()
}

struct Open {
    source: Source,
    options: Options,
}

impl Task for Open {
    type Output = Box<dyn Lens>;

    fn run<B: Kernels>(self, device: B::Device, kernel_path: &str) -> Result<Self::Output, Failure> {
        let kv_offload = self.options.kv_offload;
        let lens = longlens_model::open::<B>(&self.source, self.options, device.clone(), kernel_path);
        guarded::<B>(lens.map_err(refused)?, device, kv_offload)
    }
}

impl Task for Made {
    type Output = Box<dyn Lens>;

    fn run<B: Kernels>(self, device: B::Device, kernel_path: &str) -> Result<Self::Output, Failure> {
        let Self { shape, n_layers, seed, weights, kv_offload, attention_only } = self;
        let lens = if attention_only {
            attention_only::open::<B>(self.describe(), seed, kv_offload, device.clone(), kernel_path)
        } else {
            let storage = weights.without_file();
            shapes::random_on::<B>(shape, n_layers, seed, storage, kv_offload, device.clone(), kernel_path)
                .map_err(refused)?
        };
        guarded::<B>(lens, device, kv_offload)
    }
}

/// A model on a device that has memory of its own, watched; on the processor as it is.
fn guarded<B: Kernels>(lens: Box<dyn Lens>, device: B::Device, offloads: bool) -> Result<Box<dyn Lens>, Failure> {
    let Some(how) = how_on::<B>(&device, lens.model().has_32_bits(), offloads) else { return Ok(lens) };
    let loaded = B::check(&device);
    loaded.map_err(|reason| {
        let help = "keep it in fewer bits (--weights bf16, q8 or q4): one matrix may be more than the device gives in one block, \
                    which `longlens doctor` names";
        Failure::failed(device_lens::failure(&hush::said().unwrap_or(reason)), Some(help.to_owned()))
    })?;
    let host = || Machine::here().room().map(|room| room.bytes);
    let asks = Asks { device: Box::new(move || B::memory(&device)), host };
    Ok(Box::new(DeviceLens::new(lens, how, asks)))
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
        let memory = B::memory(&device).and_then(|memory| memory.free);
        let memory =
            memory.map(|(free, all)| ("memory left", format!("{} of {}", size(free as usize), size(all as usize))));
        let facts =
            [vec![("kernels", kernel_path.to_owned())], B::facts(&device), memory.into_iter().collect()].concat();
        Ok(Examined { facts, checked: selfcheck::check::<B>(&device) })
    }
}

struct FindOnDevice {
    has_32_bits: bool,
    offloads: bool,
}

impl Task for FindOnDevice {
    type Output = Option<OnDevice>;

    fn run<B: Kernels>(self, device: B::Device, _: &str) -> Result<Self::Output, Failure> {
        Ok(how_on::<B>(&device, self.has_32_bits, self.offloads))
    }
}

fn how_on<B: Kernels>(device: &B::Device, has_32_bits: bool, offloads: bool) -> Option<OnDevice> {
    let number = B::attention_bytes(device, has_32_bits);
    B::memory(device).map(|_| OnDevice { number, offloads, keeps_queries: false })
}

struct Measure {
    how: Option<OnDevice>,
}

impl Task for Measure {
    type Output = Ceilings;

    fn run<B: Kernels>(self, device: B::Device, _: &str) -> Result<Self::Output, Failure> {
        let (flops_per_s, bytes_per_s) = match self.how {
            None => (ceiling::flops::<B>(&device), ceiling::memory()),
            Some(OnDevice { number, .. }) => {
                (ceiling::device_flops::<B>(&device, number == 2), ceiling::device_memory::<B>(&device))
            }
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
    done.unwrap_or_else(|reason| {
        let reason = reason.lines().next().unwrap_or_default();
        Err(Failure::failed(format!("--device {name} does not work here: {reason}"), Some(advice.to_owned())))
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
