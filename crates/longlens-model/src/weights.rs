//! Weights of a checkpoint become the parameters of a burn module.
//!
//! Fields of the module carry the names of the checkpoint, so a parameter's path is its tensor's name, but for two habits
//! of burn: the weight of a norm is called `gamma`, and the weight of a [`Linear`](burn::nn::Linear) is stored transposed.
//! Everything that can be known from the headers is checked before anything is read; then each tensor is read, checked
//! and converted in one pass, and only one of them is in flight at a time.

mod files;
mod numbers;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, get_device_settings};
use burn_store::{ApplyError, ModuleSnapshot, TensorSnapshot, TensorSnapshotError};
use serde::Serialize;

use crate::error::{OpenError, WeightProblem};
use files::Stored;
pub use files::WeightFiles;
use numbers::Format;

/// What was loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoadReport {
    /// Tensors of the module.
    pub n_tensors: usize,
    /// Numbers in them; a tied output matrix counts once.
    pub n_parameters: usize,
    /// Bytes they take in the files.
    pub n_bytes: usize,
    /// Number formats in the files, sorted, such as `bf16`.
    pub dtypes: Vec<String>,
    /// Number format of the loaded module, such as `f32`.
    pub loaded_as: String,
    /// Tensors of the files that the module does not use, sorted.
    pub unused: Vec<String>,
}

/// Fills every parameter of `module` from `files`, in the device's own number format. After an error the module may be
/// half loaded.
///
/// A linear layer must have burn's default layout, `[d_input, d_output]`.
pub fn load<B: Backend, M: Module<B>>(module: &mut M, files: &WeightFiles) -> Result<LoadReport, OpenError> {
    let mut wanted = Wanted::default();
    module.visit(&mut wanted);
    let tensors = wanted.tensors;
    refuse(files, tensors.iter().filter_map(|tensor| tensor.check(files)).collect())?;

    let problems = Rc::default();
    let snapshots = tensors.iter().filter_map(|tensor| Some(tensor.snapshot(files.get(&tensor.name)?, &problems)));
    let applied = module.apply(snapshots.collect(), None, None, false);
    let mut problems = problems.take();
    problems.extend(applied.errors.iter().filter_map(refusal));
    refuse(files, problems)?;

    let stored: Vec<&Stored> = tensors.iter().filter_map(|tensor| files.get(&tensor.name)).collect();
    let used: HashSet<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    let dtypes: BTreeSet<String> = stored.iter().map(|tensor| tensor.dtype().to_string().to_lowercase()).collect();
    Ok(LoadReport {
        n_tensors: tensors.len(),
        n_parameters: tensors.iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum(),
        n_bytes: stored.iter().map(|tensor| tensor.bytes().len()).sum(),
        dtypes: dtypes.into_iter().collect(),
        loaded_as: tensors.first().map_or_else(String::new, |tensor| tensor.dtype.name().into()),
        unused: files.names().filter(|name| !used.contains(name)).map(Into::into).collect(),
    })
}

fn refuse(files: &WeightFiles, problems: Vec<WeightProblem>) -> Result<(), OpenError> {
    if problems.is_empty() { Ok(()) } else { Err(OpenError::Weights { file: files.shown().into(), problems }) }
}

/// What burn-store could not apply; tensors whose numbers were refused are on our own list already.
fn refusal(error: &ApplyError) -> Option<WeightProblem> {
    match error {
        ApplyError::LoadError { .. } => None,
        ApplyError::ShapeMismatch { path, .. }
        | ApplyError::DTypeMismatch { path, .. }
        | ApplyError::AdapterError { path, .. } => {
            Some(WeightProblem::Refused { name: path.clone(), problem: error.to_string() })
        }
    }
}

/// The parameters of a module, by the names of a checkpoint. No parameter is initialized to learn its shape.
#[derive(Default)]
struct Wanted {
    path: Vec<String>,
    containers: Vec<String>,
    tensors: Vec<WantedTensor>,
}

struct WantedTensor {
    /// Place in the module.
    path: Vec<String>,
    /// Name in the checkpoint.
    name: String,
    /// Shape in the checkpoint.
    shape: Vec<usize>,
    /// Whether the module wants it transposed.
    transposed: bool,
    /// Format in the module.
    dtype: DType,
}

impl<B: Backend> ModuleVisitor<B> for Wanted {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let container = self.containers.last().map_or("", String::as_str);
        let mut name = self.path.clone();
        if container == "Struct:RmsNorm"
            && let Some(last) = name.last_mut().filter(|last| *last == "gamma")
        {
            *last = "weight".into();
        }
        let transposed = container == "Struct:Linear" && D == 2;
        let mut shape = param.lazy_shape().to_vec();
        if transposed {
            shape.reverse();
        }
        self.tensors.push(WantedTensor {
            path: self.path.clone(),
            name: name.join("."),
            shape,
            transposed,
            dtype: get_device_settings::<B>(&param.lazy_device()).float_dtype.into(),
        });
    }

    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push(name.into());
        self.containers.push(container_type.into());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
        self.containers.pop();
    }
}

impl WantedTensor {
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

    /// The tensor as the module wants it, read when it is asked for. Unusable numbers go to `problems`.
    fn snapshot(&self, stored: &Stored, problems: &Rc<RefCell<Vec<WeightProblem>>>) -> TensorSnapshot {
        let (name, stored, problems) = (self.name.clone(), stored.clone(), Rc::clone(problems));
        let (transposed, dtype) = (self.transposed, self.dtype);
        let read = move || {
            numbers::read(stored.bytes(), stored.dtype(), stored.shape(), transposed, dtype).map_err(|unusable| {
                let index = place(unusable.first, stored.shape());
                let (value, count) = (unusable.value, unusable.count);
                problems.borrow_mut().push(WeightProblem::NotFinite { name: name.clone(), index, value, count });
                TensorSnapshotError::DataError("unusable numbers".into())
            })
        };
        let mut shape = self.shape.clone();
        if transposed {
            shape.reverse();
        }
        TensorSnapshot::from_closure(Rc::new(read), dtype, shape.into(), self.path.clone(), Vec::new(), ParamId::new())
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
