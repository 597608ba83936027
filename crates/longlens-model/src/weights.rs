//! Where the parameters of a model come from.
//!
//! A [`Blueprint`] asks for its parameters by the names of a checkpoint, one after another. It is asked twice: first by
//! somebody who only takes down names and shapes, so that everything that can be known from the headers is checked before
//! anything is read; then each tensor is read, checked and packed in one pass, a few rows at a time.

mod files;
mod leftover;
mod names;
mod numbers;
mod random;

use std::collections::{BTreeSet, HashSet};
use std::sync::Mutex;

use burn::tensor::{DType, Tensor, TensorData, get_device_settings};
use longlens_kernel::Kernels;
use longlens_kernel::linear::{Matrix, Storage, Weights};
use serde::Serialize;

use crate::error::{OpenError, WeightProblem};
use files::Stored;
pub use files::WeightFiles;
use numbers::{Format, Table, Unusable};
pub use random::random;

/// A model that can be built from parameters.
pub trait Blueprint {
    /// What is built of matrices `M` and vectors `V`.
    type Model<M, V>;

    /// Asks for every parameter once, in the same order each time.
    fn build<P: Parameters>(&self, from: &mut P) -> Self::Model<P::Matrix, P::Vector>;
}

/// Gives parameters by name.
pub trait Parameters {
    /// Weights of a linear layer or an embedding.
    type Matrix;
    /// Factors of a norm.
    type Vector;

    /// `<name>.weight`, `[d_out, d_in]`, and `<name>.bias`, `[d_out]`, where there is one.
    fn matrix(&mut self, name: &str, shape: [usize; 2], bias: bool) -> Self::Matrix;

    /// `<name>.weight`, `[len]`.
    fn vector(&mut self, name: &str, len: usize) -> Self::Vector;
}

/// What a blueprint builds on a backend.
pub type Built<B, D> = <D as Blueprint>::Model<<B as Kernels>::Matrix, Tensor<B, 1>>;

/// What was loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoadReport {
    /// Tensors of the model.
    pub n_tensors: usize,
    /// Numbers in them; a tied output matrix counts once.
    pub n_parameters: usize,
    /// Bytes they take in the files.
    pub n_bytes: usize,
    /// Number formats in the files, sorted, such as `bf16`.
    pub dtypes: Vec<String>,
    /// Number format of the loaded matrices, such as `f32`.
    pub loaded_as: String,
    /// Tensors of the files that the model does not use, and need not, sorted.
    pub unused: Vec<String>,
    /// What a user should know of the files.
    pub warnings: Vec<String>,
}

/// Builds a model from `files`, its matrices kept as `storage`.
pub fn load<B: Kernels, D: Blueprint>(
    blueprint: &D,
    files: &WeightFiles,
    storage: Storage,
    device: &B::Device,
) -> Result<(Built<B, D>, LoadReport), OpenError> {
    B::Matrix::check(storage)?;
    let Wanted { tensors } = Wanted::of(blueprint);
    let warnings = check_headers(files, &tensors)?;

    let format = DType::from(get_device_settings::<B>(device).float_dtype);
    let limit = storage.limit().min(format.finfo().map_or(f64::from(f32::MAX), |info| info.max) as f32);
    let mut reader = Reader { files, storage, device, limit, problems: Vec::new() };
    let model = blueprint.build::<Reader<'_, B>>(&mut reader);
    refuse(files, reader.problems)?;

    let stored: Vec<&Stored> = tensors.iter().filter_map(|tensor| files.get(&tensor.name)).collect();
    let used: HashSet<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    let dtypes: BTreeSet<String> = stored.iter().map(|tensor| tensor.dtype().to_string().to_lowercase()).collect();
    let report = LoadReport {
        n_tensors: tensors.len(),
        n_parameters: tensors.iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum(),
        n_bytes: stored.iter().map(|tensor| tensor.bytes().len()).sum(),
        dtypes: dtypes.into_iter().collect(),
        loaded_as: if storage == Storage::F32 { format.name() } else { storage.name() }.into(),
        unused: files.names().filter(|name| !used.contains(name)).map(Into::into).collect(),
        warnings,
    };
    Ok((model, report))
}

/// Checks everything that the headers say, without reading a weight; returns what a user should know of the files.
pub fn check(blueprint: &impl Blueprint, files: &WeightFiles) -> Result<Vec<String>, OpenError> {
    check_headers(files, &Wanted::of(blueprint).tensors)
}

fn check_headers(files: &WeightFiles, tensors: &[WantedTensor]) -> Result<Vec<String>, OpenError> {
    let is_there = |tensor: &&WantedTensor| files.get(&tensor.name).is_some();
    if !tensors.iter().filter(|tensor| tensor.layer().is_some()).any(|tensor| is_there(&tensor)) {
        refuse(files, vec![names::other_names(&files.names())])?;
    }
    if let Some(name) = tensors.iter().find_map(|tensor| quantized(files, &tensor.name)) {
        refuse(files, vec![WeightProblem::Quantized { name }])?;
    }
    refuse(files, missing_layers(tensors.iter().filter_map(|tensor| tensor.check(files)).collect(), tensors))?;
    let used: HashSet<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    let unused: Vec<&str> = files.names().filter(|name| !used.contains(name)).collect();
    let (problems, beside) = leftover::judge(files, &unused);
    refuse(files, problems)?;
    Ok(files.renamed().map(str::to_owned).into_iter().chain(beside).collect())
}

/// What stands in the file for a missing matrix whose numbers are packed into whole ones.
fn quantized(files: &WeightFiles, name: &str) -> Option<String> {
    let stem = name.strip_suffix("weight").filter(|_| files.get(name).is_none())?;
    let packed = ["qweight", "qzeros", "weight_packed", "weight_quantized"].map(|end| format!("{stem}{end}"));
    packed.into_iter().find(|name| files.get(name).is_some())
}

/// Makes one problem of the last layers, where nothing of them is there.
fn missing_layers(mut problems: Vec<WeightProblem>, tensors: &[WantedTensor]) -> Vec<WeightProblem> {
    let Some(last) = tensors.iter().filter_map(WantedTensor::layer).max() else { return problems };
    let mut n_missing = vec![0; last + 1];
    for problem in &problems {
        if let WeightProblem::MissingTensor { name } = problem
            && let Some(layer) = layer_of(name)
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
        !matches!(problem, WeightProblem::MissingTensor { name } if layer_of(name).is_some_and(|layer| layer >= first))
    });
    problems.push(WeightProblem::MissingLayers { first, last });
    problems
}

/// The layer that a tensor belongs to.
fn layer_of(name: &str) -> Option<usize> {
    name.strip_prefix("model.layers.")?.split('.').next()?.parse().ok()
}

/// Numbers in the parameters of a blueprint; a tied output matrix counts once.
pub fn n_parameters(blueprint: &impl Blueprint) -> usize {
    Wanted::of(blueprint).tensors.iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum()
}

fn refuse(files: &WeightFiles, problems: Vec<WeightProblem>) -> Result<(), OpenError> {
    if problems.is_empty() { Ok(()) } else { Err(OpenError::Weights { file: files.shown().into(), problems }) }
}

/// Takes down names and shapes.
#[derive(Default)]
struct Wanted {
    tensors: Vec<WantedTensor>,
}

struct WantedTensor {
    name: String,
    shape: Vec<usize>,
}

impl Wanted {
    fn of(blueprint: &impl Blueprint) -> Self {
        let mut wanted = Self::default();
        blueprint.build(&mut wanted);
        wanted
    }

    fn push(&mut self, name: String, shape: &[usize]) {
        self.tensors.push(WantedTensor { name, shape: shape.into() });
    }
}

impl Parameters for Wanted {
    type Matrix = ();
    type Vector = ();

    fn matrix(&mut self, name: &str, shape: [usize; 2], bias: bool) {
        self.push(weight(name), &shape);
        if bias {
            self.push(self::bias(name), &shape[..1]);
        }
    }

    fn vector(&mut self, name: &str, len: usize) {
        self.push(weight(name), &[len]);
    }
}

fn weight(name: &str) -> String {
    format!("{name}.weight")
}

fn bias(name: &str) -> String {
    format!("{name}.bias")
}

impl WantedTensor {
    fn layer(&self) -> Option<usize> {
        layer_of(&self.name)
    }

    /// What the headers say against this tensor.
    fn check(&self, files: &WeightFiles) -> Option<WeightProblem> {
        let name = self.name.clone();
        let Some(stored) = files.get(&name) else { return Some(WeightProblem::MissingTensor { name }) };
        if stored.shape() != self.shape {
            let (expected, found) = (self.shape.clone(), stored.shape().to_vec());
            return Some(WeightProblem::WrongShape { name, expected, found });
        }
        let dtype = stored.dtype();
        Format::of(dtype).is_none().then(|| WeightProblem::UnsupportedDtype { name, dtype: dtype.to_string() })
    }
}

/// Reads tensors that were checked against their headers.
struct Reader<'a, B: Kernels> {
    files: &'a WeightFiles,
    storage: Storage,
    device: &'a B::Device,
    /// The largest number that can be used.
    limit: f32,
    problems: Vec<WeightProblem>,
}

impl<B: Kernels> Reader<'_, B> {
    /// Calls `read` with the numbers of a tensor; unusable ones go to the problems.
    fn tensor<T>(&mut self, name: String, read: impl FnOnce(&(dyn Fn(usize, &mut [f32]) + Sync)) -> T) -> T {
        let stored = self.files.get(&name).unwrap_or_else(|| panic!("`{name}` was asked for before"));
        let table = Table::new(stored.bytes(), stored.dtype());
        let found: Mutex<Option<Unusable>> = Mutex::default();
        let done = read(&|first, out| {
            if let Some(unusable) = table.read(first, out, self.limit) {
                let mut found = found.lock().expect("no holder panics");
                *found = Unusable::merge(*found, Some(unusable));
            }
        });
        stored.forget();
        if let Some(Unusable { first, value, count }) = found.into_inner().expect("no holder panics") {
            let index = place(first, stored.shape());
            self.problems.push(WeightProblem::NotFinite { name, index, value, count });
        }
        done
    }

    fn numbers(&mut self, name: String, len: usize) -> Vec<f32> {
        let mut numbers = vec![0.0; len];
        self.tensor(name, |read| read(0, &mut numbers));
        numbers
    }
}

impl<B: Kernels> Parameters for Reader<'_, B> {
    type Matrix = B::Matrix;
    type Vector = Tensor<B, 1>;

    fn matrix(&mut self, name: &str, [d_out, d_in]: [usize; 2], bias: bool) -> B::Matrix {
        let bias = bias.then(|| self.numbers(self::bias(name), d_out));
        let (storage, device) = (self.storage, self.device);
        self.tensor(weight(name), |read| {
            let rows = &|first: usize, out: &mut [f32]| read(first * d_in, out);
            B::Matrix::pack(&Weights { d_out, d_in, rows, bias }, storage, device)
        })
    }

    fn vector(&mut self, name: &str, len: usize) -> Tensor<B, 1> {
        let numbers = self.numbers(weight(name), len);
        Tensor::from_data(TensorData::new(numbers, [len]), self.device)
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
