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
