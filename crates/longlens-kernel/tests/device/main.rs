//! Every kernel of a GPU against the processor's, which `definition` holds to the formulas, on whatever Vulkan device there is;
//! a software one will do.

use burn_wgpu::{Wgpu, WgpuDevice};

mod chunks;
mod common;
mod dense;
mod experts;
mod products;
mod rows;
mod selfcheck;
mod spans;

/// The GPU's backend.
type Gpu = Wgpu;

fn gpu() -> WgpuDevice {
    WgpuDevice::default()
}

/// Whether there is nothing to test on.
fn is_absent() -> bool {
    false
}

/// Whether products of many rows round their rows to 16 bits, where weights have 16.
fn rounds_rows() -> bool {
    false
}

/// Every one of how many cases is tried.
fn step() -> usize {
    1
}

#[test]
fn a_block_that_a_device_has_not_is_told() {
    use burn_tensor::Tensor;
    use longlens_kernel::Kernels;

    let most = Gpu::facts(&gpu()).into_iter().find_map(|(name, value)| (name == "largest buffer").then_some(value));
    let mib: usize = most.and_then(|text| text.split(' ').next()?.parse().ok()).unwrap();
    if mib > 1 << 20 {
        return; // no bound that could be passed here
    }
    assert_eq!(Gpu::check(&gpu()), Ok(()));
    let numbers = Tensor::<Gpu, 2>::zeros([mib << 1, 1 << 18], &gpu()); // twice as many bytes
    drop(numbers * 2.0);
    assert!(Gpu::check(&gpu()).is_err());
    assert_eq!(Gpu::check(&gpu()), Ok(()), "it is told once");
    drop(Tensor::<Gpu, 2>::zeros([mib << 1, 1 << 18], &gpu()) * 2.0);
    assert!(Gpu::wait(&gpu()).is_err());
    let numbers = Tensor::<Gpu, 1>::ones([3], &gpu()) * 2.0;
    assert_eq!((common::numbers(numbers.reshape([1, 3])), Gpu::wait(&gpu())), (vec![2.0; 3], Ok(())));
}
