//! Where the parameters of a model come from.
//!
//! A [`Blueprint`] asks for its parameters by the names of a checkpoint, one after another. It is asked twice: first by
//! somebody who only takes down names and shapes, so that everything that can be known from the headers is checked before
//! anything is read; then each tensor is read, checked and packed in one pass, a few rows at a time.

mod adapter;
mod containers;
mod files;
mod gguf;
mod keep;
mod leftover;
mod names;
mod numbers;
mod random;
mod request;
mod save;
mod save_gguf;
mod stored;
mod wanted;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashSet};
use std::sync::Mutex;

use burn_tensor::{DType, Tensor, TensorData, get_device_settings};
use longlens_kernel::Kernels;
use longlens_kernel::blocks::BlockType;
use longlens_kernel::linear::{Matrix, Storage, StoredWeights, Weights};

use crate::error::{OpenError, WeightProblem};
pub use files::WeightFiles;
pub use keep::{Keep, Kept};
use numbers::Unusable;
pub use random::random;
pub use request::{LayerNorm, Linear, Parameters};
pub use save::Written;
pub(crate) use save_gguf::GgufParts;
use stored::Stored;
pub use wanted::Counts;
use wanted::{Wanted, WantedTensor};

/// A model that can be built from parameters.
pub trait Blueprint {
    /// What is built of matrices `M` and vectors `V`.
    type Model<M, V>;

    /// Asks for every parameter once, in the same order each time.
    fn build<P: Parameters>(&self, from: &mut P) -> Self::Model<P::Matrix, P::Vector>;
}

/// What a blueprint builds on a backend.
pub type Built<B, D> = <D as Blueprint>::Model<<B as Kernels>::Matrix, Tensor<B, 1>>;

/// What was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadReport {
    /// Tensors of the model.
    pub n_tensors: usize,
    /// Numbers in them; a tied output matrix counts once.
    pub n_parameters: usize,
    /// Bytes they take in the files.
    pub n_bytes: usize,
    /// Number formats in the files, sorted, such as `bf16`.
    pub dtypes: Vec<String>,
    /// What the parameters take in memory.
    pub kept: Kept,
    /// Tensors of the files that the model does not use, and need not, sorted.
    pub unused: Vec<String>,
    /// What a user should know of the files.
    pub warnings: Vec<String>,
}

/// Builds a model from `files`, its matrices kept as `keep` says.
pub fn load<B: Kernels, D: Blueprint>(
    blueprint: &D,
    files: &WeightFiles,
    keep: impl Into<Keep>,
    device: &B::Device,
) -> Result<(Built<B, D>, LoadReport), OpenError> {
    let keep = keep.into();
    if let Keep::As(storage) = keep {
        B::Matrix::check(storage)?;
    }
    let Wanted { tensors, counts, .. } = Wanted::of(blueprint);
    let warnings = check_headers(files, &tensors)?;

    let format = DType::from(get_device_settings::<B>(device).float_dtype);
    let limit = format.finfo().map_or(f64::from(f32::MAX), |info| info.max) as f32;
    let mut reader = Reader { files, keep, device, limit, problems: Vec::new() };
    let model = blueprint.build::<Reader<'_, B>>(&mut reader);
    refuse(files, reader.problems)?;

    let stored: Vec<&Stored> = tensors.iter().filter_map(|tensor| files.get(&tensor.name)).collect();
    let used: HashSet<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    let dtypes: BTreeSet<String> = stored.iter().map(|tensor| tensor.format().name().to_lowercase()).collect();
    let report = LoadReport {
        n_tensors: tensors.len(),
        n_parameters: counts.n_parameters,
        n_bytes: stored.iter().map(|tensor| tensor.n_bytes()).sum(),
        dtypes: dtypes.into_iter().collect(),
        kept: Kept::of(blueprint, files, keep, |storage| B::Matrix::check(storage).is_ok()),
        unused: files.names().filter(|name| !used.contains(name)).map(Into::into).collect(),
        warnings,
    };
    Ok((model, report))
}

/// Checks everything that the headers say, without reading a weight; returns what a user should know of the files.
pub fn check(blueprint: &impl Blueprint, files: &WeightFiles) -> Result<Vec<String>, OpenError> {
    check_headers(files, &Wanted::of(blueprint).tensors)
}

/// Names of all stored tensors that a blueprint asks for, each once, in the order in which it does.
pub(crate) fn names(blueprint: &impl Blueprint) -> Vec<String> {
    Wanted::of(blueprint).tensors.into_iter().map(|tensor| tensor.name).collect()
}

fn check_headers(files: &WeightFiles, tensors: &[WantedTensor]) -> Result<Vec<String>, OpenError> {
    let is_there = |tensor: &&WantedTensor| files.get(&tensor.name).is_some();
    if !tensors.iter().filter(|tensor| tensor.layer().is_some()).any(|tensor| is_there(&tensor)) {
        refuse(files, vec![names::other_names(&files.names())])?;
    }
    if let Some(problem) = tensors.iter().find_map(|tensor| quantized(files, &tensor.name)) {
        refuse(files, vec![problem])?;
    }
    refuse(files, missing_layers(tensors.iter().filter_map(|tensor| tensor.check(files)).collect(), tensors))?;
    let used: HashSet<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    let unused: Vec<&str> = files.names().filter(|name| !used.contains(name)).collect();
    let (problems, beside) = leftover::judge(files, &unused);
    refuse(files, problems)?;
    Ok(files.renamed().map(str::to_owned).into_iter().chain(beside).collect())
}

/// What stands in the file for or beside a matrix whose numbers other programs packed into whole ones.
fn quantized(files: &WeightFiles, name: &str) -> Option<WeightProblem> {
    let stem = name.strip_suffix("weight")?;
    let has = |end: &str| Some(format!("{stem}{end}")).filter(|name| files.get(name).is_some());
    let found = |name: Option<String>, format| name.map(|name| WeightProblem::Quantized { name, format });
    found(has("qweight"), if has("g_idx").is_some() { "GPTQ" } else { "AWQ or GPTQ" })
        .or_else(|| found(has("weight_packed"), "compressed-tensors"))
        .or_else(|| found(has("weight_quantized"), "Quanto"))
        .or_else(|| found(has("weight.absmax").and(has("weight")), "bitsandbytes"))
        .or_else(|| found(has("SCB").and(has("weight")), "bitsandbytes"))
}

/// Makes one problem of the last layers, where nothing of them is there.
fn missing_layers(mut problems: Vec<WeightProblem>, tensors: &[WantedTensor]) -> Vec<WeightProblem> {
    let Some(last) = tensors.iter().filter_map(WantedTensor::layer).max() else { return problems };
    let mut n_missing = vec![0; last + 1];
    for problem in &problems {
        if let WeightProblem::MissingTensor { name } = problem
            && let Some(layer) = wanted::layer_of(name)
        {
            n_missing[layer] += 1;
        }
    }
    let n_tensors = tensors.iter().filter(|tensor| tensor.layer() == Some(0)).count();
    let n_gone = n_missing.iter().rev().take_while(|n| **n == n_tensors).count();
    let first = last + 1 - n_gone;
    if n_gone == 0 || first == 0 {
        return problems;
    }
    problems.retain(|problem| {
        !matches!(problem, WeightProblem::MissingTensor { name } if wanted::layer_of(name).is_some_and(|layer| layer >= first))
    });
    problems.push(WeightProblem::MissingLayers { first, last });
    problems
}

fn refuse(files: &WeightFiles, problems: Vec<WeightProblem>) -> Result<(), OpenError> {
    if problems.is_empty() { Ok(()) } else { Err(OpenError::Weights { file: files.shown().into(), problems }) }
}

/// Reads tensors that were checked against their headers.
struct Reader<'a, B: Kernels> {
    files: &'a WeightFiles,
    keep: Keep,
    device: &'a B::Device,
    /// The largest number that the backend takes.
    limit: f32,
    problems: Vec<WeightProblem>,
}

/// Takes down numbers that cannot be used, from any thread.
type Found<'a> = dyn Fn(Option<Unusable>) + Sync + 'a;

impl<'a, B: Kernels> Reader<'a, B> {
    /// Calls `read` with a tensor; what it finds unusable goes to the problems.
    fn tensor<T>(&mut self, name: String, read: impl FnOnce(&'a Stored, &Found<'_>) -> T) -> T {
        let stored = self.files.get(&name).unwrap_or_else(|| panic!("`{name}` was asked for before"));
        let found: Mutex<Option<Unusable>> = Mutex::default();
        let done = read(stored, &|unusable| {
            if unusable.is_some() {
                let mut found = found.lock().expect("no holder panics");
                *found = Unusable::merge(*found, unusable);
            }
        });
        stored.forget();
        if let Some(Unusable { first, value, count }) = found.into_inner().expect("no holder panics") {
            let index = place(first, stored.shape());
            self.problems.push(WeightProblem::NotFinite { name, index, value, count });
        }
        done
    }

    /// Calls `read` with the numbers of a tensor, which are not to be larger than `limit`.
    fn numbers<T>(
        &mut self,
        name: String,
        limit: f32,
        read: impl FnOnce(&(dyn Fn(usize, &mut [f32]) + Sync)) -> T,
    ) -> T {
        self.tensor(name, |stored, found| read(&|first, out| found(stored.read(first, out, limit))))
    }

    /// How a matrix is kept: what a device does not take is kept as numbers of 32 bits.
    fn form(&self, ask: &Linear<'_>) -> Storage {
        let stored = self.files.get(&ask.weight_name()).expect("asked for before");
        Some(self.keep.of(stored, ask)).filter(|form| B::Matrix::check(*form).is_ok()).unwrap_or_default()
    }

    /// A matrix in the blocks of its file.
    fn blocks(&mut self, ask: &Linear<'_>, kind: BlockType, bias: Option<Vec<f32>>) -> B::Matrix {
        let ([d_out, d_in], device, limit) = (ask.shape, self.device, self.limit);
        let row_bytes = kind.row_bytes(d_in).expect("whole blocks, or it is kept otherwise");
        self.tensor(ask.weight_name(), |stored, found| {
            let rows = &|first: usize, out: &mut [u8]| {
                for (row, out) in (first..).zip(out.chunks_mut(row_bytes)) {
                    let row = ask.stored_row(row);
                    stored.copy_row(row, out);
                    if !kind.is_finite(out) {
                        found(stored.read(row * d_in, &mut vec![0.0; d_in], limit));
                    }
                }
            };
            B::Matrix::pack_stored(&StoredWeights { kind, d_out, d_in, rows, bias }, device)
        })
    }

    fn vector(&mut self, name: String, len: usize, offset: f32) -> Tensor<B, 1> {
        let mut numbers = vec![0.0; len];
        // one shift may undo the other, which no number should notice
        let offset = offset + self.files.get(&name).map_or(0.0, Stored::offset);
        self.numbers(name, self.limit, |read| read(0, &mut numbers));
        if offset != 0.0 {
            for number in &mut numbers {
                *number += offset;
            }
        }
        Tensor::from_data(TensorData::new(numbers, [len]), self.device)
    }
}

impl<B: Kernels> Parameters for Reader<'_, B> {
    type Matrix = B::Matrix;
    type Vector = Tensor<B, 1>;

    fn matrix(&mut self, ask: Linear<'_>) -> B::Matrix {
        let [d_out, d_in] = ask.shape;
        let bias = ask.bias.then(|| {
            let mut numbers = vec![0.0; d_out];
            self.numbers(ask.bias_name(), self.limit, |read| ask.read(1, read, 0, &mut numbers));
            numbers
        });
        let (storage, device) = (self.form(&ask), self.device);
        if let Storage::Blocks(kind) = storage {
            return self.blocks(&ask, kind, bias);
        }
        self.numbers(ask.weight_name(), storage.limit().min(self.limit), |read| {
            let rows = &|first: usize, out: &mut [f32]| ask.read(d_in, read, first, out);
            B::Matrix::pack(&Weights { d_out, d_in, rows, bias }, storage, device)
        })
    }

    fn norm_weight(&mut self, name: &str, len: usize, offset: f32) -> Tensor<B, 1> {
        self.vector(request::weight(name), len, offset)
    }

    fn norm_bias(&mut self, name: &str, len: usize) -> Tensor<B, 1> {
        self.vector(request::bias(name), len, 0.0)
    }
}

/// Row-major place of a flat index.
fn place(flat: usize, shape: &[usize]) -> Vec<usize> {
    let mut rest = flat;
    let mut index: Vec<usize> = Vec::with_capacity(shape.len());
    for size in shape.iter().rev() {
        index.push(rest % size);
        rest /= size;
    }
    index.reverse();
    index
}
