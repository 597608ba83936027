//! The weights of a checkpoint, in whatever files they are. Files are mapped, not read; only headers are looked at here.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::adapter::{self, Delta};
use super::containers::{self, CONTAINERS};
use super::gguf;
use super::names;
use super::stored::{Stored, Tensors};
use crate::error::OpenError;
use crate::source::Source;

/// The weights of a checkpoint, not read yet.
#[derive(Debug, Clone)]
pub struct WeightFiles {
    shown: String,
    tensors: Tensors,
    /// What was left out of names.
    renamed: Option<String>,
}

/// Ends of file names that weights under other names or in other formats have.
const FOREIGN: &[&str] = &["safetensors", "bin", "pth", "pt", "gguf"];

/// Numbers of a row that stand for it where weights are told apart.
const SAMPLED: usize = 64;

/// What a checkpoint in its authors' own layout is called; a few hold the usual names all the same.
const CONSOLIDATED: &str = "consolidated.safetensors";

impl WeightFiles {
    /// Maps the weights of a checkpoint and reads their headers: the file that the source names, else `model.safetensors`, else the
    /// parts of `model.safetensors.index.json`, else all of `…-00001-of-00002.safetensors`, else the same of `pytorch_model.bin`.
    pub fn open(source: &Source) -> Result<Self, OpenError> {
        if let Some(file) = source.gguf_file() {
            let (shown, tensors) = gguf::open(source, file)?;
            return Ok(Self { shown, tensors, renamed: None });
        }
        if let Some(file) = source.weights() {
            let found = containers::open_file(source, file)?;
            let (shown, tensors) = found.ok_or_else(|| source.missing(file, Vec::new()))?;
            return Self::new(shown, tensors);
        }
        for container in CONTAINERS {
            if let Some((shown, tensors)) = container.open(source)? {
                return Self::new(shown, tensors);
            }
        }
        if let Some((shown, tensors)) = containers::open_file(source, CONSOLIDATED)? {
            return Self::new(shown, tensors);
        }
        let foreign = |name: &String| FOREIGN.iter().any(|end| Path::new(name).extension() == Some(OsStr::new(end)));
        Err(source.missing("model.safetensors", source.files().into_iter().filter(foreign).collect()))
    }

    fn new(shown: String, tensors: Tensors) -> Result<Self, OpenError> {
        match names::canonical(tensors) {
            Ok((tensors, renamed)) => Ok(Self { shown, tensors, renamed }),
            Err(problem) => Err(OpenError::Weights { file: shown, problems: vec![problem] }),
        }
    }

    /// What a user should know of the names in the files.
    pub(crate) fn renamed(&self) -> Option<&str> {
        self.renamed.as_deref()
    }

    /// Whether two tensors hold the same numbers, in whatever formats; `None` where one is not there.
    pub fn same(&self, a: &str, b: &str) -> Option<bool> {
        Some(self.get(a)?.is_same(self.get(b)?))
    }

    /// The numbers of a small tensor; `None` where it is not there, is larger than `most`, or has no readable format.
    pub fn numbers(&self, name: &str, most: usize) -> Option<Vec<f32>> {
        let stored = self.get(name).filter(|stored| stored.format().is_readable())?;
        let mut numbers = vec![0.0; Some(stored.n_numbers()).filter(|n| *n <= most)?];
        stored.read(0, &mut numbers, f32::MAX);
        Some(numbers)
    }

    /// Gives a tensor a second name, where it is there and the name is free.
    pub fn alias(&mut self, name: &str, also: &str) {
        if let (Some(stored), None) = (self.tensors.get(name).cloned(), self.tensors.get(also)) {
            self.tensors.insert(also.into(), stored);
        }
    }

    /// Adds what an adapter adds to a tensor, which is there.
    pub(super) fn change(&mut self, name: &str, delta: Arc<Delta>) {
        if let Some(stored) = self.tensors.remove(name) {
            self.tensors.insert(name.into(), stored.changed(delta));
        }
    }

    /// Adds the low-rank matrices of the adapter in `source` to the weights that it was trained on.
    pub fn adapt(&mut self, source: &Source) -> Result<(), OpenError> {
        adapter::apply(self, source)
    }

    /// Forgets a tensor that says nothing of its own.
    pub fn remove(&mut self, name: &str) {
        self.tensors.remove(name);
    }

    /// How the file, or the index, is called in errors.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.tensors.keys().map(String::as_str)
    }

    /// Number formats of all tensors, sorted, such as `bf16`.
    pub fn dtypes(&self) -> Vec<String> {
        let dtypes: BTreeSet<_> = self.tensors.values().map(|tensor| tensor.format().name().to_lowercase()).collect();
        dtypes.into_iter().collect()
    }

    /// Tells weights apart by what they hold, wherever and in whichever container they lie: 16 hexadecimal digits of names, shapes
    /// and some numbers of every tensor, from its first, middle and last row.
    pub fn content(&self) -> String {
        let mut hash = Sha256::new();
        for (name, tensor) in self.tensors() {
            hash.update(name.as_bytes());
            tensor.shape().iter().for_each(|n| hash.update((*n as u64).to_le_bytes()));
            if !tensor.format().is_readable() || tensor.n_numbers() == 0 {
                continue;
            }
            let (width, n) = (tensor.width().max(1), tensor.n_numbers());
            let mut numbers = vec![0.0; width.min(SAMPLED).min(n)];
            for row in [0, n / width / 2, n / width - 1] {
                tensor.read(row * width, &mut numbers, f32::MAX);
                for number in &numbers {
                    hash.update(number.to_le_bytes());
                }
            }
        }
        let digest: [u8; 8] = hash.finalize()[..8].try_into().expect("a digest has 32 bytes");
        format!("{:016x}", u64::from_be_bytes(digest))
    }

    /// All tensors by name, sorted.
    pub(super) fn tensors(&self) -> impl Iterator<Item = (&str, &Stored)> {
        self.tensors.iter().map(|(name, stored)| (name.as_str(), stored))
    }

    pub(super) fn get(&self, name: &str) -> Option<&Stored> {
        self.tensors.get(name)
    }
}
