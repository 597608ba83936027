//! Pictures of what a run leaves behind: PNG, SVG and plain pixels, the same bytes for the same data.
//!
//! In: plain numbers (most can be taken straight from a trace or a plan). Out: a file, or pixels for a terminal. A plot turns
//! its data into a [`scene::Scene`], a list of shapes in pixels; the [`canvas`] is the only part that knows plotters. A terminal's
//! frame becomes a picture the same way ([`screen::Screen`]). A [`page::Page`] is a document that answers to mouse and keys. Read [`canvas::Figure`] first, then
//! [`plots::needle_grid::NeedleGrid`].

#![warn(missing_docs)]

pub mod canvas;
pub mod color;
mod fallback;
mod frame;
pub mod ground;
mod legend;
pub mod page;
pub mod plots;
pub mod scene;
pub mod screen;
mod script;
mod svg;
pub mod terminal;
mod text;
mod ticks;
pub mod whole;

pub use canvas::{Canvas, Figure, Pixels, PlotError, save};
pub use frame::Heading;
pub use ground::Ground;
pub use scene::Face;
pub use screen::{Screen, ScreenCell};
pub use whole::write_whole;
