//! What a command reads: a file or stdin, and never what it writes over.

use std::path::{Path, PathBuf};

use longlens_eval::text::{read_bytes, read_stream};
use longlens_model::source::{EMBEDDED, Source};
use same_file::is_same_file;

use crate::config::RunConfig;
use crate::failure::Failure;

/// What stands for stdin where a file is named.
const STDIN: &str = "-";

/// The bytes of a file, or of stdin where `path` is `-`.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let read =
        if path == Path::new(STDIN) { read_stream(shown(path), std::io::stdin().lock()) } else { read_bytes(path) };
    Ok(read?)
}

/// What errors call a file that [`read`] reads.
pub fn shown(path: &Path) -> &Path {
    if path == Path::new(STDIN) { Path::new("stdin") } else { path }
}

/// Refuses outputs that are, by any name or link, the config, a file of the model, or one of `read`.
pub fn spare(config: &RunConfig, outputs: &[PathBuf], read: &[Option<&Path>]) -> Result<(), Failure> {
    let mut inputs: Vec<PathBuf> = read.iter().flatten().map(|path| (*path).to_owned()).collect();
    inputs.extend(config.config.clone());
    if config.model != EMBEDDED
        && let Ok(source) = Source::resolve(&config.model)
    {
        let entries = std::fs::read_dir(source.place()).into_iter().flatten().flatten();
        inputs.extend(entries.map(|entry| entry.path()));
    }
    let inputs: Vec<&Path> = inputs.iter().map(PathBuf::as_path).collect();
    outputs.iter().try_for_each(|output| spare_files(output, &inputs))
}

/// Refuses an output that is, by any name or link, one of these files.
pub fn spare_files(output: &Path, inputs: &[&Path]) -> Result<(), Failure> {
    let is_output = |input: &&&Path| is_same_file(input, output).unwrap_or(false);
    match inputs.iter().filter(|input| input.is_file()).find(is_output) {
        None => Ok(()),
        Some(input) => Err(Failure::usage(
            format!("{} is read by this command, and would be written over as {}", input.display(), output.display()),
            "write somewhere else".to_owned(),
        )),
    }
}
