//! Safetensors files on disk: one, or several with an index. Files are mapped, not read; only headers are looked at here.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::ops::{Deref, Range};
use std::path::{Component, Path};
use std::sync::Arc;

use memmap2::Mmap;
use safetensors::Dtype;
use safetensors::tensor::Metadata;

use super::names;
use super::numbers::Table;
use crate::error::{OpenError, WeightProblem, cut};
use crate::fields::{self, Fields};
use crate::source::{LFS_POINTER, Located, Source};

/// The weights of a checkpoint, not read yet.
#[derive(Debug, Clone)]
pub struct WeightFiles {
    shown: String,
    tensors: Tensors,
    /// What was left out of names.
    renamed: Option<String>,
}

/// A tensor in a file.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    part: Arc<Part>,
    dtype: Dtype,
    shape: Vec<usize>,
    range: Range<usize>,
}

#[derive(Debug)]
enum Part {
    Mapped(Mmap),
    Bytes(&'static [u8]),
}

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Ends of file names that weights under other names or in other formats have.
const FOREIGN: &[&str] = &["safetensors", "bin", "pth", "pt", "gguf"];

impl WeightFiles {
    /// Maps `model.safetensors`, else the parts of `model.safetensors.index.json`, else all of `…-00001-of-00002.safetensors`,
    /// and reads their headers.
    pub fn open(source: &Source) -> Result<Self, OpenError> {
        if let Some(located) = source.locate(SINGLE)? {
            let shown = source.shown(SINGLE);
            return match read_part(&shown, located)? {
                Ok(tensors) => Self::new(shown, tensors),
                Err(problem) => Err(OpenError::Weights { file: shown, problems: vec![named(problem, SINGLE)] }),
            };
        }
        if let Some(index) = source.read(INDEX)? {
            return Self::open_parts(source, &index);
        }
        let files = source.files();
        if let Some(parts) = unindexed(&files) {
            return Self::open_unindexed(source, &parts);
        }
        let foreign = |name: &String| FOREIGN.iter().any(|end| Path::new(name).extension() == Some(OsStr::new(end)));
        Err(source.missing(SINGLE, files.into_iter().filter(foreign).collect()))
    }

    fn new(shown: String, tensors: Tensors) -> Result<Self, OpenError> {
        match names::canonical(tensors) {
            Ok((tensors, renamed)) => Ok(Self { shown, tensors, renamed }),
            Err(problem) => Err(OpenError::Weights { file: shown, problems: vec![problem] }),
        }
    }

    fn open_parts(source: &Source, index: &[u8]) -> Result<Self, OpenError> {
        let shown = source.shown(INDEX);
        let parts = read_index(&shown, index)?;
        let (mut tensors, mut beside, mut problems) = (BTreeMap::new(), Vec::new(), Vec::new());
        for (part, names) in parts {
            let Some(located) = source.locate(&part)? else {
                problems.push(WeightProblem::MissingPart { file: part });
                continue;
            };
            match read_part(&source.shown(&part), located)? {
                Err(problem) => problems.push(named(problem, &part)),
                Ok(mut found) => {
                    for name in names {
                        if let Some(stored) = found.remove(&name) {
                            tensors.insert(name, stored);
                        } else {
                            let problem = format!("does not hold `{}`, which the index says it does", cut(&name));
                            problems.push(WeightProblem::Damaged { file: part.clone(), problem });
                        }
                    }
                    beside.extend(found.into_iter().map(|(name, stored)| (part.clone(), name, stored)));
                }
            }
        }
        for (part, name, stored) in beside {
            if tensors.get(&name).is_some_and(|other| !stored.is_same(other)) {
                let problem = format!("holds `{}`, and another part holds it with other numbers", cut(&name));
                problems.push(WeightProblem::Damaged { file: part, problem });
            }
            // what a part holds beside the index is judged like everything that nobody asked for
            tensors.entry(name).or_insert(stored);
        }
        if problems.is_empty() { Self::new(shown, tensors) } else { Err(OpenError::Weights { file: shown, problems }) }
    }

    /// Parts that no index lists, by their numbers.
    fn open_unindexed(source: &Source, parts: &Parts) -> Result<Self, OpenError> {
        let (shown, n_parts) = (source.shown(&parts.name(1)), parts.n_all);
        let (mut tensors, mut problems) = (BTreeMap::new(), Vec::new());
        for number in 1..=n_parts {
            let part = parts.name(number);
            let Some(located) = source.locate(&part)? else {
                problems.push(WeightProblem::AbsentPart { file: part, n_parts, n_found: parts.n_found });
                continue;
            };
            match read_part(&source.shown(&part), located)? {
                Err(problem) => problems.push(named(problem, &part)),
                Ok(found) => {
                    for (name, stored) in found {
                        if tensors.contains_key(&name) {
                            let problem = format!("holds `{}`, as another part does", cut(&name));
                            problems.push(WeightProblem::Damaged { file: part.clone(), problem });
                        }
                        tensors.insert(name, stored);
                    }
                }
            }
        }
        if problems.is_empty() { Self::new(shown, tensors) } else { Err(OpenError::Weights { file: shown, problems }) }
    }

    /// What a user should know of the names in the files.
    pub(super) fn renamed(&self) -> Option<&str> {
        self.renamed.as_deref()
    }

    /// Whether two tensors hold the same numbers, in whatever formats; `None` where one is not there.
    pub fn same(&self, a: &str, b: &str) -> Option<bool> {
        Some(self.get(a)?.is_same(self.get(b)?))
    }

    /// The numbers of a small tensor; `None` where it is not there, is larger than `most`, or has no readable format.
    pub fn numbers(&self, name: &str, most: usize) -> Option<Vec<f32>> {
        let stored = self.get(name)?;
        let n_numbers = stored.shape().iter().product();
        let mut numbers = vec![0.0; Some(n_numbers).filter(|n| *n <= most)?];
        Table::of(stored.bytes(), stored.dtype())?.read(0, &mut numbers, f32::MAX);
        Some(numbers)
    }

    /// Gives a tensor a second name, where it is there and the name is free.
    pub fn alias(&mut self, name: &str, also: &str) {
        if let (Some(stored), None) = (self.tensors.get(name).cloned(), self.tensors.get(also)) {
            self.tensors.insert(also.into(), stored);
        }
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
        let dtypes: BTreeSet<_> =
            self.tensors.values().map(|tensor| tensor.dtype().to_string().to_lowercase()).collect();
        dtypes.into_iter().collect()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Stored> {
        self.tensors.get(name)
    }
}

impl Stored {
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Whether both hold the same numbers, in whatever formats.
    fn is_same(&self, other: &Self) -> bool {
        if self.shape != other.shape || self.dtype == other.dtype {
            return self.shape == other.shape && self.bytes() == other.bytes();
        }
        match (Table::of(self.bytes(), self.dtype), Table::of(other.bytes(), other.dtype)) {
            (Some(ours), Some(theirs)) => ours.is_equal(&theirs, self.shape.iter().product()),
            _ => false,
        }
    }

    /// The numbers, little endian, at any alignment.
    pub fn bytes(&self) -> &[u8] {
        &self.part[self.range.clone()]
    }

    /// Gives back the memory that holds what was read of it, where the system offers that.
    pub fn forget(&self) {
        #[cfg(unix)]
        if let Part::Mapped(map) = &*self.part {
            // SAFETY: the map is only read, so pages given back come again from the file
            let done = unsafe {
                map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, self.range.start, self.range.len())
            };
            // it is only advice
            drop(done);
        }
    }
}

impl Deref for Part {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// Parts by name, each with its tensors.
fn read_index(shown: &str, index: &[u8]) -> Result<BTreeMap<String, Vec<String>>, OpenError> {
    let map = fields::parse(shown, index)?;
    let fields = Fields::new(shown, &map);
    let weight_map = fields.require("weight_map", fields.object("weight_map", "weight_map."), "an object")?;
    let mut parts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in weight_map.names() {
        let part = weight_map.require(name, weight_map.text(name), "the name of a file")?;
        // an index never leads out of its folder
        if !Path::new(part).components().all(|component| matches!(component, Component::Normal(_))) {
            return Err(weight_map.error(name, "the name of a file beside the index"));
        }
        parts.entry(part.into()).or_default().push(name.into());
    }
    Ok(parts)
}

/// Parts of one model that say by their names how many they are.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    stem: String,
    n_all: usize,
    n_found: usize,
}

impl Parts {
    fn name(&self, number: usize) -> String {
        format!("{}-{number:05}-of-{:05}.safetensors", self.stem, self.n_all)
    }
}

/// The largest set of files called `stem-00001-of-00003.safetensors`.
fn unindexed(files: &[String]) -> Option<Parts> {
    let mut sets: BTreeMap<(&str, usize), usize> = BTreeMap::new();
    for file in files {
        let parsed = file.strip_suffix(".safetensors").and_then(|name| {
            let (rest, n_parts) = name.rsplit_once("-of-")?;
            let (stem, number) = rest.rsplit_once('-')?;
            let (number, n_parts): (usize, usize) = (number.parse().ok()?, n_parts.parse().ok()?);
            (1..=n_parts).contains(&number).then_some((stem, n_parts))
        });
        if let Some(set) = parsed {
            *sets.entry(set).or_default() += 1;
        }
    }
    let ((stem, n_parts), n_found) = sets.into_iter().max_by_key(|(_, n_found)| *n_found)?;
    (n_parts <= MAX_PARTS).then(|| Parts { stem: stem.into(), n_all: n_parts, n_found })
}

/// No model has more.
const MAX_PARTS: usize = 9999;

type Tensors = BTreeMap<String, Stored>;

/// Maps a file and reads its header. The outer error is the system's, the inner one the file's.
fn read_part(shown: &str, located: Located) -> Result<Result<Tensors, WeightProblem>, OpenError> {
    let part = match located {
        Located::Bytes(bytes) => Part::Bytes(bytes),
        Located::File(file) => {
            let failed = |source| OpenError::Io { file: shown.into(), source };
            if file.metadata().map_err(failed)?.len() == 0 {
                Part::Bytes(&[])
            } else {
                // SAFETY: the map is only read. Should another process cut the file meanwhile, the system ends this one;
                // every reader of mapped weights accepts that, and checkpoints are not edited in place.
                Part::Mapped(unsafe { Mmap::map(&file) }.map_err(failed)?)
            }
        }
    };
    Ok(read_header(&part).map(|(start, metadata)| {
        let part = Arc::new(part);
        let stored = |info: &safetensors::tensor::TensorInfo| Stored {
            part: Arc::clone(&part),
            dtype: info.dtype,
            shape: info.shape.clone(),
            range: start + info.data_offsets.0..start + info.data_offsets.1,
        };
        metadata.tensors().into_iter().map(|(name, info)| (name, stored(info))).collect()
    }))
}

/// Gives a problem the name of its file.
fn named(problem: WeightProblem, part: &str) -> WeightProblem {
    match problem {
        WeightProblem::Damaged { problem, .. } => WeightProblem::Damaged { file: part.into(), problem },
        other => other,
    }
}

/// Where the numbers start, and what they are. Every range of the result lies inside `bytes`.
fn read_header(bytes: &[u8]) -> Result<(usize, Metadata), WeightProblem> {
    let damaged = |problem: String| WeightProblem::Damaged { file: String::new(), problem };
    let has = bytes.len();
    if bytes.starts_with(LFS_POINTER) {
        return Err(damaged("is a Git LFS pointer, not the weights; `git lfs pull` fetches them".into()));
    }
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(damaged(format!("is cut short: it has {has} bytes")));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER {
        return Err(damaged(format!("is no safetensors file: its header would take {length} bytes")));
    }
    let length = length as usize;
    let Some(header) = rest.get(..length) else {
        return Err(damaged(format!("is cut short: its header takes {length} bytes, and the file has {has}")));
    };
    let metadata: Metadata =
        serde_json::from_slice(header).map_err(|error| damaged(format!("has a damaged header: {error}")))?;
    let needs = (8 + length).saturating_add(metadata.data_len());
    if has < needs {
        return Err(damaged(format!("is cut short: it has {has} of {needs} bytes")));
    }
    if has > needs {
        return Err(damaged(format!("has {} bytes that belong to no tensor", has - needs)));
    }
    Ok((8 + length, metadata))
}

/// The limit of the format's own library.
const MAX_HEADER: u64 = 100_000_000;
