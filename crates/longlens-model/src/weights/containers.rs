//! Files that hold the tensors of a checkpoint in Hugging Face's layout: one, several with an index, or several by their numbers.

mod pickle;
mod safetensors;

use std::collections::BTreeMap;
use std::path::{Component, Path};
use std::sync::Arc;

use super::stored::Tensors;
use crate::error::{OpenError, WeightProblem, cut};
use crate::fields::{self, Fields};
use crate::source::{Located, Mapped, Source};

/// A kind of files.
pub(super) struct Container {
    /// What the only file of a checkpoint is called.
    single: &'static str,
    /// What lists the tensors of several.
    index: &'static str,
    /// Ends of file names.
    ends: &'static [&'static str],
    /// Reads the header of a file; an error is what is wrong with it, to stand behind its name.
    read: fn(&Arc<Mapped>) -> Result<Tensors, String>,
}

/// Every kind, the one that is preferred first.
pub(super) const CONTAINERS: &[Container] = &[
    Container {
        single: "model.safetensors",
        index: "model.safetensors.index.json",
        ends: &["safetensors"],
        read: safetensors::read,
    },
    Container {
        single: "pytorch_model.bin",
        index: "pytorch_model.bin.index.json",
        ends: &["bin", "pt", "pth"],
        read: pickle::read,
    },
];

/// Tensors, and what they are called in errors: the file, or the index.
pub(super) type Found = (String, Tensors);

/// The tensors of `file`, with all parts that its name speaks of.
pub(super) fn open_file(source: &Source, file: &str) -> Result<Option<Found>, OpenError> {
    let Some(container) = CONTAINERS.iter().find(|container| container.end_of(file).is_some()) else { return Ok(None) };
    if let Some(parts) = container.numbered(&source.files(), file) {
        return container.open_numbered(source, &parts).map(Some);
    }
    container.open_single(source, file)
}

impl Container {
    /// The tensors of a checkpoint, if it has files of this kind.
    pub fn open(&self, source: &Source) -> Result<Option<Found>, OpenError> {
        if let Some(found) = self.open_single(source, self.single)? {
            return Ok(Some(found));
        }
        if let Some(index) = source.read(self.index)? {
            return self.open_indexed(source, &index).map(Some);
        }
        match self.largest_set(&source.files()) {
            Some(parts) => self.open_numbered(source, &parts).map(Some),
            None => Ok(None),
        }
    }

    /// The tensors of a checkpoint's only file, if it is there.
    pub fn open_single(&self, source: &Source, file: &str) -> Result<Option<Found>, OpenError> {
        let Some(located) = source.locate(file)? else { return Ok(None) };
        let shown = source.shown(file);
        match self.read_part(&shown, file, located)? {
            Ok(tensors) => Ok(Some((shown, tensors))),
            Err(problem) => Err(OpenError::Weights { file: shown, problems: vec![problem] }),
        }
    }

    fn open_indexed(&self, source: &Source, index: &[u8]) -> Result<Found, OpenError> {
        let shown = source.shown(self.index);
        let parts = read_index(&shown, index)?;
        let (mut tensors, mut beside, mut problems) = (Tensors::new(), Vec::new(), Vec::new());
        for (part, names) in parts {
            let Some(located) = source.locate(&part)? else {
                problems.push(WeightProblem::MissingPart { file: part });
                continue;
            };
            match self.read_part(&source.shown(&part), &part, located)? {
                Err(problem) => problems.push(problem),
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
        if problems.is_empty() { Ok((shown, tensors)) } else { Err(OpenError::Weights { file: shown, problems }) }
    }

    /// Parts that no index lists, by their numbers.
    fn open_numbered(&self, source: &Source, parts: &Parts) -> Result<Found, OpenError> {
        let (shown, n_parts) = (source.shown(&parts.name(1)), parts.n_all);
        let (mut tensors, mut problems) = (Tensors::new(), Vec::new());
        for number in 1..=n_parts {
            let part = parts.name(number);
            let Some(located) = source.locate(&part)? else {
                problems.push(WeightProblem::AbsentPart { file: part, n_parts, n_found: parts.n_found });
                continue;
            };
            match self.read_part(&source.shown(&part), &part, located)? {
                Err(problem) => problems.push(problem),
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
        if problems.is_empty() { Ok((shown, tensors)) } else { Err(OpenError::Weights { file: shown, problems }) }
    }

    /// Maps a file and reads its header. The outer error is the system's, the inner one the file's.
    fn read_part(
        &self,
        shown: &str,
        part: &str,
        located: Located,
    ) -> Result<Result<Tensors, WeightProblem>, OpenError> {
        let bytes = Arc::new(Mapped::new(shown, located)?);
        Ok((self.read)(&bytes).map_err(|problem| WeightProblem::Damaged { file: part.into(), problem }))
    }

    /// What stands before the dot of a file of this kind.
    fn end_of<'a>(&self, file: &'a str) -> Option<(&'a str, &'static str)> {
        let (name, end) = file.rsplit_once('.')?;
        self.ends.iter().find(|known| **known == end).map(|end| (name, *end))
    }

    /// The largest set of files called `stem-00001-of-00003.end`.
    fn largest_set(&self, files: &[String]) -> Option<Parts> {
        let mut sets: BTreeMap<(&str, &str, usize), usize> = BTreeMap::new();
        for set in files.iter().filter_map(|file| self.set_of(file)) {
            *sets.entry(set).or_default() += 1;
        }
        let ((stem, end, n_parts), n_found) = sets.into_iter().max_by_key(|(_, n_found)| *n_found)?;
        Some(Parts { stem: stem.into(), end: end.into(), n_all: n_parts, n_found })
    }

    /// The set that `file` belongs to.
    fn numbered(&self, files: &[String], file: &str) -> Option<Parts> {
        let (stem, end, n_all) = self.set_of(file)?;
        let n_found = files.iter().filter(|other| self.set_of(other) == Some((stem, end, n_all))).count();
        Some(Parts { stem: stem.into(), end: end.into(), n_all, n_found })
    }

    /// Stem, end and number of parts of a set, by the name of one of them.
    fn set_of<'a>(&self, file: &'a str) -> Option<(&'a str, &'static str, usize)> {
        let (name, end) = self.end_of(file)?;
        let (stem, _, n_parts) = numbers_of(name)?;
        Some((stem, end, n_parts))
    }
}

/// Stem, number and number of parts of a name such as `stem-00001-of-00003`.
pub(super) fn numbers_of(name: &str) -> Option<(&str, usize, usize)> {
    let (rest, n_parts) = name.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    let (number, n_parts): (usize, usize) = (number.parse().ok()?, n_parts.parse().ok()?);
    ((1..=n_parts).contains(&number) && n_parts <= MAX_PARTS).then_some((stem, number, n_parts))
}

/// Parts of one model that say by their names how many they are.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    stem: String,
    end: String,
    n_all: usize,
    n_found: usize,
}

impl Parts {
    fn name(&self, number: usize) -> String {
        format!("{}-{number:05}-of-{:05}.{}", self.stem, self.n_all, self.end)
    }
}

/// No model has more.
const MAX_PARTS: usize = 9999;
/// Bytes of a name that no file system goes beyond.
const MAX_NAME: usize = 255;

/// Parts by name, each with its tensors.
fn read_index(shown: &str, index: &[u8]) -> Result<BTreeMap<String, Vec<String>>, OpenError> {
    let map = fields::parse(shown, index)?;
    let fields = Fields::new(shown, &map);
    let weight_map = fields.require("weight_map", fields.object("weight_map", "weight_map."), "an object")?;
    let mut parts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in weight_map.names() {
        let part = weight_map.require(name, weight_map.text(name), "the name of a file")?;
        // an index never leads out of its folder
        let is_inside = Path::new(part).components().all(|component| matches!(component, Component::Normal(_)));
        if !is_inside || part.is_empty() || part.len() > MAX_NAME || part.contains('\0') {
            return Err(weight_map.error(name, "the name of a file beside the index"));
        }
        parts.entry(part.into()).or_default().push(name.into());
    }
    Ok(parts)
}
