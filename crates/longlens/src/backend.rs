//! The one place that names concrete backends.

use longlens_core::lens::{Lens, ModelInfo};
use longlens_model::source::Source;

use crate::args::Device;
use crate::failure::Failure;

/// Opens a model on the device the user asked for.
pub fn open(model: &str, device: Device) -> Result<Box<dyn Lens>, Failure> {
    let source = Source::resolve(model).map_err(refused)?;
    match device {
        Device::Cpu => {
            let device = burn::backend::flex::FlexDevice;
            longlens_model::open::<burn::backend::Flex>(&source, device, "cpu, by head").map_err(refused)
        }
        Device::Wgpu => wgpu::open(&source),
        Device::Cuda => cuda::open(&source),
    }
}

/// What a model is, without loading its weights.
pub fn describe(model: &str) -> Result<ModelInfo, Failure> {
    let source = Source::resolve(model).map_err(refused)?;
    longlens_model::describe(&source).map_err(refused)
}

fn refused(error: longlens_model::error::OpenError) -> Failure {
    let help = error.help();
    Failure::failed(error, help)
}

#[cfg(feature = "wgpu")]
mod wgpu {
    use super::{Failure, Lens, Source, refused};

    pub fn open(source: &Source) -> Result<Box<dyn Lens>, Failure> {
        super::on_device("wgpu", "install a Vulkan driver (on Debian: mesa-vulkan-drivers)", || {
            longlens_model::open::<burn::backend::Wgpu>(source, Default::default(), "wgpu, reference").map_err(refused)
        })
    }
}

#[cfg(feature = "cuda")]
mod cuda {
    use super::{Failure, Lens, Source, refused};

    pub fn open(source: &Source) -> Result<Box<dyn Lens>, Failure> {
        super::on_device(
            "cuda",
            "check the NVIDIA driver with nvidia-smi, and that CUDA_PATH names the toolkit",
            || {
                longlens_model::open::<burn::backend::Cuda>(source, Default::default(), "cuda, reference")
                    .map_err(refused)
            },
        )
    }
}

/// A device's runtime panics where there is no device; that becomes an error with advice.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn on_device(
    name: &str,
    advice: &str,
    open: impl FnOnce() -> Result<Box<dyn Lens>, Failure> + std::panic::UnwindSafe,
) -> Result<Box<dyn Lens>, Failure> {
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let opened = std::panic::catch_unwind(open);
    std::panic::set_hook(loud);
    opened.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        let text = text.unwrap_or("no reason given");
        Err(Failure::failed(format!("--device {name} does not work here: {text}"), Some(advice.to_owned())))
    })
}

#[cfg(not(feature = "wgpu"))]
mod wgpu {
    use super::{Failure, Lens, Source};

    pub fn open(_: &Source) -> Result<Box<dyn Lens>, Failure> {
        super::not_built("wgpu")
    }
}

#[cfg(not(feature = "cuda"))]
mod cuda {
    use super::{Failure, Lens, Source};

    pub fn open(_: &Source) -> Result<Box<dyn Lens>, Failure> {
        super::not_built("cuda")
    }
}

#[cfg(not(all(feature = "wgpu", feature = "cuda")))]
fn not_built(name: &str) -> Result<Box<dyn Lens>, Failure> {
    Err(Failure::failed(
        format!("this longlens was built without {name}"),
        Some(format!("rebuild with `cargo build --release --features {name}`")),
    ))
}
