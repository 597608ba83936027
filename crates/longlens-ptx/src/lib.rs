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
//!
//! ```
//! use longlens_ptx::{Launch, Memory, Module};
//!
//! // what NVRTC makes of `out[threadIdx.x] = in[threadIdx.x] + 1;`, shortened
//! let module = Module::parse(
//!     ".version 9.0
//!     .target sm_80
//!     .address_size 64
//!     .visible .entry next(.param .u64 in, .param .u64 out) {
//!         .reg .b32 %r<3>; .reg .b64 %rd<6>;
//!         ld.param.u64 %rd1, [in];  ld.param.u64 %rd2, [out];
//!         mov.u32 %r1, %tid.x;
//!         mad.wide.u32 %rd3, %r1, 4, %rd1;
//!         mad.wide.u32 %rd4, %r1, 4, %rd2;
//!         ld.global.u32 %r2, [%rd3];
//!         add.u32 %r2, %r2, 1;
//!         st.global.u32 [%rd4], %r2;
//!         ret;
//!     }",
//! )?;
//! let mut memory = Memory::new();
//! let numbers = memory.input("numbers", &[5u32, 6, 7, 8]);
//! let out = memory.output::<u32>("out", 4);
//! let launch = Launch::new(&module, "next").block(4, 1, 1).arg(numbers).arg(out);
//! launch.run(&mut memory)?.assert_clean();
//! assert_eq!(memory.read::<u32>(out), [6, 7, 8, 9]);
//!
//! let too_many = Launch::new(&module, "next").block(5, 1, 1).arg(numbers).arg(out);
//! let error = too_many.run(&mut memory).expect_err("the fifth thread reads past the end");
//! assert!(error.to_string().contains("4 bytes at offset 16 of `numbers`, which has 16"), "{error}");
//! # Ok::<(), longlens_ptx::Error>(())
//! ```

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
mod tensor_map;
mod warp;

pub use error::Error;
pub use launch::{Arg, Launch};
pub use memory::{Buffer, Memory, Plain, bytes_of};
pub use module::Module;
pub use nvrtc::{Compiled, EntryUse, Nvrtc};
pub use report::{Conflicts, Finding, Line, Mistake, Report, Site, Traffic};
pub use tensor_map::{Swizzle, TensorMap};
