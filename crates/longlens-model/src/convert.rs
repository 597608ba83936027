//! A checkpoint in any format becomes a folder in Hugging Face's layout, or a GGUF file.

use std::fs;
use std::path::{Path, PathBuf};

use longlens_core::lens::Control;
use serde_json::Value;

use crate::config::Config;
use crate::error::OpenError;
use crate::fields;
use crate::source::Source;
use crate::tokenizer;
use crate::weights::{self, WeightFiles, Written};

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// Files, in the order in which they were written.
    pub files: Vec<PathBuf>,
    /// Bytes of the weights with their header.
    pub weight_bytes: u64,
    /// What a user should know.
    pub warnings: Vec<String>,
}

/// Files that go along as they are.
const BESIDE: &[&str] = &[
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
];
const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";

mod describe;
mod gguf;

/// Writes config, weights and tokenizer of `source` to the folder `to`, which is made where it is missing, and in which no file is
/// replaced; or to a GGUF file, where `to` ends in `.gguf`. `adapter` is merged into the weights. `control` counts in KiB.
pub fn convert(
    source: &Source,
    adapter: Option<&Source>,
    written: Written,
    to: &Path,
    control: &mut dyn Control,
) -> Result<Converted, OpenError> {
    if to.extension().is_some_and(|end| end == "gguf") {
        return gguf::write(source, adapter, written, to, control);
    }
    let mut config = fields::parse(&source.shown(CONFIG), &source.require(CONFIG)?)?;
    let mut files = WeightFiles::open(source)?;
    if let Some(adapter) = adapter {
        files.adapt(adapter)?;
    }
    if let Some(dtype) = written.torch_dtype() {
        let name = if config.contains_key("dtype") { "dtype" } else { "torch_dtype" };
        config.insert(name.into(), dtype.into());
    }
    let mut warnings = judged(source, &files);
    fs::create_dir_all(to).map_err(|error| failed(to, error))?;
    for file in [CONFIG, WEIGHTS].iter().chain(BESIDE) {
        let path = to.join(file);
        if path.exists() {
            return Err(failed(&path, std::io::ErrorKind::AlreadyExists.into()));
        }
    }
    let mut made = Vec::new();
    let mut put = |file: &str, bytes: &[u8]| {
        let path = to.join(file);
        fs::write(&path, bytes).map_err(|error| failed(&path, error))?;
        made.push(path);
        Ok::<_, OpenError>(())
    };
    put(CONFIG, &serde_json::to_vec_pretty(&Value::Object(config)).expect("it was read as JSON"))?;
    for file in BESIDE {
        if let Some(bytes) = source.read(file)? {
            put(file, &bytes)?;
        }
    }
    if let Some(gguf) = source.gguf()? {
        let (of_tokenizer, problem) = tokenizer::files(gguf.metadata())?;
        of_tokenizer.iter().try_for_each(|(file, bytes)| put(file, bytes))?;
        warnings.extend(problem);
    }
    // under another name until it is whole
    let (path, part) = (to.join(WEIGHTS), to.join(format!("{WEIGHTS}.part")));
    let saved = files.save(&part, written, control).and_then(|n_bytes| {
        fs::rename(&part, &path).map_err(|error| failed(&path, error))?;
        Ok(n_bytes)
    });
    // a folder without weights is no checkpoint
    let weight_bytes =
        saved.inspect_err(|_| made.iter().chain([&part]).for_each(|file| drop(fs::remove_file(file))))?;
    made.push(path);
    Ok(Converted { files: made, weight_bytes, warnings })
}

/// What a user should know of a checkpoint before another one is made of it; that it cannot be opened, among others.
fn judged(source: &Source, files: &WeightFiles) -> Vec<String> {
    let opened = Config::open(source).and_then(|mut config| {
        let mut files = files.clone();
        config.follow(&mut files);
        weights::check(&config, &files)
    });
    opened.unwrap_or_else(|error| {
        let renamed = files.renamed().map(str::to_owned);
        renamed
            .into_iter()
            .chain([format!("what is written cannot be opened, as little as what it is made of: {error}")])
            .collect()
    })
}

fn failed(path: &Path, source: std::io::Error) -> OpenError {
    OpenError::Unwritable { file: path.display().to_string(), source }
}
