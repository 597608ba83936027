//! Weights: safetensors files mapped into memory, checked whole, then handed to the model one tensor at a time.
//!
//! Everything that is wrong is found before anything is loaded, and all of it is named.

use std::collections::BTreeMap;
use std::rc::Rc;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Shape, Tensor, TensorData};
use burn_store::{ModuleSnapshot, PyTorchToBurnAdapter, TensorSnapshot, TensorSnapshotError};
use half::{bf16, f16};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde::Deserialize;

use crate::error::{OpenError, WeightProblem};
use crate::source::{FileBytes, Source};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// A checkpoint's mapped weights.
#[derive(Debug)]
pub struct WeightFiles {
    /// What errors call the whole.
    file: String,
    parts: Vec<Rc<FileBytes>>,
    tensors: BTreeMap<String, Stored>,
}

/// Where a tensor lies.
#[derive(Debug, Clone)]
struct Stored {
    part: usize,
    bytes: std::ops::Range<usize>,
    dtype: Dtype,
    shape: Vec<usize>,
}

/// What was loaded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoadReport {
    /// Numbers loaded.
    pub n_parameters: usize,
    /// Tensors in the files that the model does not use.
    pub unused: Vec<String>,
    /// Number formats of the files.
    pub stored_as: Vec<String>,
}

impl WeightFiles {
    /// Maps `model.safetensors`, or the parts that `model.safetensors.index.json` names.
    pub fn open(source: &Source) -> Result<Self, OpenError> {
        let (file, names) = if source.has(SINGLE) {
            (source.shown(SINGLE), vec![SINGLE.to_owned()])
        } else if source.has(INDEX) {
            (source.shown(INDEX), parts_of_index(source)?)
        } else {
            return Err(source.missing(SINGLE));
        };
        let mut files = Self { file, parts: Vec::new(), tensors: BTreeMap::new() };
        let mut problems = Vec::new();
        for name in names {
            let shown = source.shown(&name);
            match source.map(&name)? {
                None => problems.push(WeightProblem::MissingPart { file: shown }),
                Some(bytes) => problems.extend(files.add(shown, bytes).err()),
            }
        }
        files.unless(problems).map(|()| files)
    }

    fn add(&mut self, file: String, bytes: FileBytes) -> Result<(), WeightProblem> {
        let damaged = |problem: String| WeightProblem::Damaged { file: file.clone(), problem };
        let (header_len, header) =
            SafeTensors::read_metadata(&bytes).map_err(|error| damaged(explain(&bytes, &error)))?;
        let start = header_len + 8; // the length itself comes first
        for (name, info) in header.tensors() {
            let bytes = start + info.data_offsets.0..start + info.data_offsets.1;
            let stored = Stored { part: self.parts.len(), bytes, dtype: info.dtype, shape: info.shape.clone() };
            self.tensors.insert(name, stored);
        }
        self.parts.push(Rc::new(bytes));
        Ok(())
    }

    fn unless(&self, problems: Vec<WeightProblem>) -> Result<(), OpenError> {
        if problems.is_empty() { Ok(()) } else { Err(OpenError::Weights { file: self.file.clone(), problems }) }
    }

    /// What is wrong with a tensor's shape, format or numbers.
    fn check(&self, name: &str, expected: &[usize]) -> Option<WeightProblem> {
        let Some(stored) = self.tensors.get(name) else {
            return Some(WeightProblem::MissingTensor { name: name.into() });
        };
        if stored.shape != expected {
            let (expected, found) = (expected.to_vec(), stored.shape.clone());
            return Some(WeightProblem::WrongShape { name: name.into(), expected, found });
        }
        if !matches!(stored.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            return Some(WeightProblem::UnsupportedDtype { name: name.into(), dtype: format!("{:?}", stored.dtype) });
        }
        let bad = |(_, number): &(usize, f32)| !number.is_finite();
        let mut unusable = numbers(self.bytes(stored), stored.dtype).enumerate().filter(bad);
        let (at, value) = unusable.next()?;
        let index = place(at, &stored.shape);
        Some(WeightProblem::NotFinite { name: name.into(), index, value, count: 1 + unusable.count() })
    }

    fn bytes(&self, stored: &Stored) -> &[u8] {
        &self.parts[stored.part][stored.bytes.clone()]
    }
}

/// Loads every parameter of `module`, whose fields carry the names of the checkpoint.
pub fn load<B: Backend, M: Module<B> + ModuleSnapshot<B>>(
    module: &mut M,
    files: &WeightFiles,
) -> Result<LoadReport, OpenError> {
    let mut needs = Needs::default();
    module.visit(&mut needs);
    let problems = needs.list.iter().filter_map(|need| files.check(&need.name(), &need.shape()));
    files.unless(problems.collect())?;

    let mut report = LoadReport::default();
    let mut snapshots = Vec::new();
    for need in &needs.list {
        let stored = &files.tensors[&need.name()];
        report.n_parameters += stored.shape.iter().product::<usize>();
        let format = format!("{:?}", stored.dtype).to_lowercase();
        if !report.stored_as.contains(&format) {
            report.stored_as.push(format);
        }
        snapshots.push(need.snapshot(files.parts[stored.part].clone(), stored.clone()));
    }
    let used: Vec<_> = needs.list.iter().map(Need::name).collect();
    report.unused = files.tensors.keys().filter(|name| !used.contains(name)).cloned().collect();

    let result = module.apply(snapshots, None, Some(Box::new(PyTorchToBurnAdapter)), false);
    let refused =
        result.errors.iter().map(|error| WeightProblem::Refused { name: "weights".into(), problem: error.to_string() });
    let missing = result.missing.iter().map(|(name, _)| WeightProblem::MissingTensor { name: name.clone() });
    files.unless(refused.chain(missing).collect())?;
    Ok(report)
}

/// The parameters of a module: names and shapes, without making their tensors.
#[derive(Default)]
struct Needs {
    path: Vec<String>,
    containers: Vec<String>,
    list: Vec<Need>,
}

struct Need {
    path: Vec<String>,
    containers: Vec<String>,
    id: ParamId,
    /// Shape in burn.
    shape: Vec<usize>,
}

impl<B: Backend> ModuleVisitor<B> for Needs {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.list.push(Need {
            path: self.path.clone(),
            containers: self.containers.clone(),
            id: param.id,
            shape: param.lazy_shape().to_vec(),
        });
    }

    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push(name.into());
        self.containers.push(container_type.into());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
        self.containers.pop();
    }
}

impl Need {
    /// Name in the checkpoint: burn calls a norm's weight `gamma`.
    fn name(&self) -> String {
        let path = self.path.join(".");
        path.strip_suffix(".gamma").map_or(path.clone(), |norm| format!("{norm}.weight"))
    }

    /// Shape in the checkpoint: linear layers are stored as `[to, from]`.
    fn shape(&self) -> Vec<usize> {
        let mut shape = self.shape.clone();
        let is_linear = self.containers.iter().rev().any(|container| container == "Struct:Linear");
        if is_linear && shape.len() == 2 {
            shape.reverse();
        }
        shape
    }

    /// The tensor, to be read when the module takes it.
    fn snapshot(&self, part: Rc<FileBytes>, stored: Stored) -> TensorSnapshot {
        let shape = Shape::from(stored.shape.clone());
        let read = move || -> Result<TensorData, TensorSnapshotError> {
            let numbers: Vec<f32> = numbers(&part[stored.bytes.clone()], stored.dtype).collect();
            Ok(TensorData::new(numbers, stored.shape.clone()))
        };
        let (path, containers) = (self.path.clone(), self.containers.clone());
        TensorSnapshot::from_closure(Rc::new(read), DType::F32, shape, path, containers, self.id)
    }
}

/// Numbers of a checked format, as f32.
fn numbers(bytes: &[u8], dtype: Dtype) -> Box<dyn Iterator<Item = f32> + '_> {
    let pair = |b: &[u8]| [b[0], b[1]];
    match dtype {
        Dtype::F16 => Box::new(bytes.chunks_exact(2).map(move |b| f16::from_le_bytes(pair(b)).to_f32())),
        Dtype::BF16 => Box::new(bytes.chunks_exact(2).map(move |b| bf16::from_le_bytes(pair(b)).to_f32())),
        _ => Box::new(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))),
    }
}

/// Index of the `at`-th number.
fn place(mut at: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (place, size) in index.iter_mut().zip(shape).rev() {
        (*place, at) = (at % size, at / size);
    }
    index
}

/// The parts that an index names, each once.
fn parts_of_index(source: &Source) -> Result<Vec<String>, OpenError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let unreadable = |problem: String| OpenError::Unreadable { file: source.shown(INDEX), problem };
    let index: Index =
        serde_json::from_slice(&source.require(INDEX)?).map_err(|error| unreadable(error.to_string()))?;
    let mut parts: Vec<String> = index.weight_map.into_values().collect();
    parts.sort();
    parts.dedup();
    match parts.iter().find(|part| part.contains(['/', '\\']) || part.as_str() == "..") {
        Some(outside) => Err(unreadable(format!("the part `{outside}` lies outside the folder"))),
        None => Ok(parts),
    }
}

/// What is wrong with a file that has no readable header.
fn explain(bytes: &[u8], error: &safetensors::SafeTensorError) -> String {
    use safetensors::SafeTensorError as E;
    match error {
        E::HeaderTooSmall => format!("is cut short: it has {} bytes, not even a header", bytes.len()),
        E::InvalidHeaderLength | E::MetadataIncompleteBuffer => {
            format!("is cut short or no safetensors file: it ends after {} bytes", bytes.len())
        }
        error => format!("is no safetensors file: {error}"),
    }
}
