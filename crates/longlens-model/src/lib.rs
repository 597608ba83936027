//! A checkpoint on disk becomes a [`longlens_core::lens::Lens`].
//!
//! In: a folder, a name in the Hugging Face cache, or the embedded model. Out: `Box<dyn Lens>`; the generic over burn's
//! backend ends here. Read [`families::llama`] first, then [`lens`].

#![warn(missing_docs)]

pub mod attention_only;
pub mod cache;
pub mod config;
pub mod decoder;
pub mod error;
pub mod families;
mod fields;
pub mod gguf;
pub mod lens;
pub mod shapes;
pub mod source;
pub mod tokenizer;
pub mod weights;

mod attention;
mod convert;
mod inspect;
mod layers;
mod observe;
mod open;
mod positions;
mod record;
mod tensors;

pub use convert::{Converted, convert};
pub use open::{Options, describe, open, outline};
pub use record::peak_memory;
