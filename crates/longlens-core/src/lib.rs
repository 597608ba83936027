//! Index arithmetic and vocabulary of longlens: what a method is, what a run leaves behind. No tensors, no I/O.
//!
//! In: a method's text form and a model's numbers. Out: a [`plan::Plan`] that kernels execute, and the
//! [`trace::Trace`] that views read. Read [`plan::Plan`] first, then [`lens::Lens`].

#![warn(missing_docs)]

pub mod brief;
pub mod lens;
pub mod memory;
pub mod methods;
pub mod nearest;
pub mod panics;
pub mod picture;
pub mod plan;
mod positions;
pub mod printable;
mod ranges;
pub mod rope;
mod ropes;
pub mod scripted;
pub mod setting;
pub mod spec;
pub mod trace;
pub mod work;
pub mod written;
