//! One language for three places: the terminal prompt, notebook files and Jupyter.
//!
//! In: cells of Rhai code, and a way to open models ([`host::Models`]). Out: what cells print and show, in text, HTML and
//! PNG. Read [`interpreter::Interpreter`] first, all that the three places know of the language; then [`session::Session`],
//! which is the language.

#![allow(clippy::wildcard_imports)] // the macros of `rhai::plugin` need all of it
#![allow(clippy::unnecessary_box_returns)] // errors of the language are boxed everywhere

pub mod docs;
pub mod document;
mod hash;
pub mod host;
pub mod interpreter;
pub mod kernel;
pub mod lexer;
pub mod memory;
pub mod options;
pub mod repl;
pub mod runner;
mod running;
pub mod session;
pub mod shown;
pub mod steps;
pub mod table;
pub mod types;
pub mod values;

mod functions;
