//! What can be produced and measured through a [`longlens_core::lens::Lens`]: generated text, passkey retrieval,
//! perplexity; and how answers are scored.
//!
//! In: an open model and a method. Out: text, and results that say how they were made. Read [`generate::generate`]
//! first, then [`passkey::run`]; [`scorers`] and [`random`] know texts and numbers alone.

#![warn(missing_docs)]

pub mod batch;
pub mod dialogue;
pub mod document;
pub mod error;
pub mod evaluate;
pub mod files;
pub mod generate;
pub mod ledger;
mod packed;
pub mod passkey;
pub mod perplexity;
pub mod predictions;
mod prefix;
pub mod progress;
pub mod published;
pub mod punkt;
pub mod random;
pub mod rows;
pub mod sample;
pub mod sampling;
pub mod scorers;
pub mod setup;
pub mod stats;
pub mod tasks;
pub mod text;
pub mod token_ids;
pub mod verify;
mod words;

pub use error::EvalError;
