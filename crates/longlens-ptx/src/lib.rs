//! Runs CUDA kernels on the processor, for tests: what a card hides is reported.
//!
//! CUDA C++ text becomes PTX ([`Nvrtc`], loaded at run time from the folder that `LONGLENS_NVRTC` names), PTX becomes a [`Module`],
//! and a [`Launch`] interprets one of its kernels on the buffers of a [`Memory`]. Out comes a [`Report`]: what was executed and moved,
//! and every [`Finding`]: races, reads of what nobody wrote, missing waits and fences. An access out of bounds, a deadlock or
//! a trap ends the launch with [`Error::Fault`].
//!
//! Asynchronous copies and products take effect as late as the rules allow, so that a missing wait shows in the numbers too.
//!
//! Read [`Launch`] and [`Report`] first.

mod banks;
mod barrier;
mod block;
mod error;
mod exec;
mod lanes;
mod launch;
mod lower;
mod mbarrier;
mod memory;
mod module;
mod nvrtc;
mod op;
mod race;
mod registers;
mod report;
mod syntax;
mod warp;

pub use error::Error;
pub use launch::{Arg, Launch, Swizzle, TensorMap};
pub use memory::{Buffer, Memory, Plain, bytes_of};
pub use module::Module;
pub use nvrtc::{Compiled, EntryUse, Nvrtc};
pub use report::{Conflicts, Finding, Line, Mistake, Report, Site, Traffic};
