//! The tests of `device` with every kernel compiled for an NVIDIA card and interpreted on the processor. Passed over without NVRTC
//! (`scripts/fetch-nvrtc`).

#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

use std::cell::Cell;

use longlens_kernel::simulated::{self, Simulated, SimulatedDevice};

#[path = "../device/chunks.rs"]
mod chunks;
#[path = "../device/common.rs"]
mod common;
#[path = "../device/dense.rs"]
mod dense;
#[path = "../device/experts.rs"]
mod experts;
#[path = "../device/products.rs"]
mod products;
mod resources;
#[path = "../device/rows.rs"]
mod rows;
#[path = "../device/selfcheck.rs"]
mod selfcheck;
mod sixteen_bits;
#[path = "../device/spans.rs"]
mod spans;

/// The backend of simulated cards.
type Gpu = Simulated;

thread_local! {
    static CAPABILITY: Cell<u16> = const { Cell::new(90) };
}

/// The card of this thread's tests.
fn gpu() -> SimulatedDevice {
    SimulatedDevice { capability: CAPABILITY.get() }
}

/// Runs tests on a card of each generation that texts differ by.
fn on_every_card(test: impl Fn()) {
    for capability in [80, 90] {
        CAPABILITY.set(capability);
        test();
    }
    CAPABILITY.set(90);
}

/// Whether nothing can be compiled here.
fn is_absent() -> bool {
    let is_absent = !simulated::is_available();
    if is_absent {
        println!("NOT RUN: LONGLENS_NVRTC does not name NVRTC's folder");
    }
    is_absent
}

/// Whether products of many rows round their rows to 16 bits, where weights have 16.
fn rounds_rows() -> bool {
    true
}

/// Every one of how many cases is tried: interpreting takes longer.
fn step() -> usize {
    3
}
