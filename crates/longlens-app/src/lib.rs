//! What sits between an open model and every way to look at it: settings, prompts, runs, the thread that computes them,
//! and the views of what comes out. It knows nothing of screens.
//!
//! In: a [`longlens_core::lens::Lens`] and what is asked of it. Out: [`worker::Event`]s with results, [`runs::Runs`] that
//! are kept, files that are written whole. Read [`settings::Settings`] first, then [`worker::Worker`].

pub mod bytes;
pub mod distinct;
pub mod export;
pub mod heads;
pub mod kept;
pub mod npz;
pub mod pace;
pub mod parquet;
pub mod problem;
pub mod prompt;
pub mod report;
pub mod results;
pub mod runs;
pub mod session;
pub mod settings;
pub mod steps;
pub mod sweep;
pub mod turns;
pub mod views;
pub mod worker;

pub use longlens_plot::whole::{check_writable, part_name, write_private, write_whole, write_whole_with};
pub use problem::Problem;
