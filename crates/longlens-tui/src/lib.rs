//! The terminal workbench: swap a method or a size, see every head change.
//!
//! In: a [`longlens_core::lens::Lens`] to be opened, and the user's keys. Out: frames and files. State changes in
//! [`app::App::update`] alone; views are functions of it. Read [`app`] first, then [`screen`] and any file of `panes`.

pub mod app;
pub mod command;
pub mod dialogs;
pub mod export;
pub mod fields;
pub mod headless;
pub mod images;
pub mod keys;
pub mod panes;
pub mod pen;
pub mod screen;
pub mod shot;
pub mod terminal;
pub mod theme;
pub mod view;
