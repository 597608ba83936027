//! `longlens extract-text`: the process in which PDF and HTML files are read.

use longlens_eval::document::{Foreign, serve};

use crate::failure::Failure;
use crate::memory;

/// Reads stdin, answers on stdout, and takes 2 GiB of memory at most where the system can limit it.
pub fn run(format: &str) -> Result<(), Failure> {
    let Some(format) = Foreign::ALL.into_iter().find(|known| known.name() == format) else {
        return Err(Failure::usage(format!("no text is taken out of `{format}` files"), "give html or pdf".to_owned()));
    };
    memory::limit(2 << 30);
    serve(format).map_err(|error| Failure::io("pass on", std::path::Path::new("stdin"), &error))
}
