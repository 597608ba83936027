//! Tensors of GGUF files, under the names that the family has in Hugging Face's layout.

use std::sync::Arc;

use super::numbers::Format;
use super::stored::{Stored, Tensors};
use crate::error::{OpenError, WeightProblem, cut};
use crate::gguf::families::{Architecture, Layout, TensorMapping};
use crate::gguf::{Gguf, damaged, n_parts, part_of};
use crate::source::{Mapped, Source};

/// The tensors of a GGUF file and of its other parts, and what the file is called in errors.
pub(super) fn open(source: &Source, file: &str) -> Result<(String, Tensors), OpenError> {
    let shown = source.shown(file);
    let part = Arc::new(source.map(file)?);
    let gguf = Gguf::parse(&shown, &part)?;
    let architecture = Architecture::of(&gguf)?;
    let mut tensors = Tensors::new();
    add(&mut tensors, &shown, (&gguf, &gguf), architecture, &part)?;
    let n_parts = n_parts(gguf.metadata())?;
    let stem =
        file.strip_suffix(".gguf").and_then(|name| name.rsplit_once("-of-")?.0.rsplit_once('-')).map(|(stem, _)| stem);
    let mut problems = Vec::new();
    for number in 2..=n_parts {
        let part = match stem {
            Some(stem) if part_of(file).is_some() => format!("{stem}-{number:05}-of-{n_parts:05}.gguf"),
            _ => {
                return Err(damaged(&shown, format!("is one of {n_parts} parts, and its name does not say which")));
            }
        };
        if source.locate(&part)?.is_none() {
            problems.push(WeightProblem::AbsentPart { file: part, n_parts, n_found: n_parts - problems.len() - 1 });
            continue;
        }
        let (shown, mapped) = (source.shown(&part), Arc::new(source.map(&part)?));
        let other = Gguf::parse(&shown, &mapped)?;
        add(&mut tensors, &shown, (&gguf, &other), architecture, &mapped)?;
    }
    if problems.is_empty() { Ok((shown, tensors)) } else { Err(OpenError::Weights { file: shown, problems }) }
}

/// Adds the tensors of one part; `first` describes the model, `of` the part.
fn add(
    tensors: &mut Tensors,
    shown: &str,
    (first, of): (&Gguf, &Gguf),
    architecture: Architecture,
    part: &Arc<Mapped>,
) -> Result<(), OpenError> {
    for info in &of.tensors {
        let refuse = |problem: String| damaged(shown, format!("{problem}: `{}`", cut(&info.name)));
        let Some(format) = Format::of_gguf(info.kind) else {
            return Err(refuse(format!("has a tensor of type {}, which is unknown", info.kind)));
        };
        let Some(stored) = Stored::new(part, format, info.shape.clone(), info.start) else {
            let (shape, has) = (&info.shape, part.len());
            return Err(refuse(format!(
                "is cut short: from byte {} on there are no {} numbers of shape {shape:?} in {has} bytes",
                info.start,
                format.name()
            )));
        };
        for TensorMapping { name, layout, shift } in architecture.mappings(first, &info.name)? {
            let stored = match layout {
                Layout::Whole => Some(stored.clone()),
                Layout::Interleaved { head_dim } => {
                    let fits = head_dim % 2 == 0 && stored.shape().first().is_some_and(|rows| rows % head_dim == 0);
                    fits.then(|| stored.clone().interleaved(head_dim))
                }
                Layout::Part { index, n } => stored.part(index, n),
                Layout::Rows { first, n } => stored.rows_of(first, n),
                Layout::Row => Some(stored.clone().reshaped([&[1], stored.shape()].concat())),
            };
            let Some(stored) = stored else {
                return Err(refuse(format!("has a tensor whose shape {:?} is not that of its metadata", info.shape)));
            };
            if tensors.insert(name.clone(), stored.shifted(shift)).is_some() {
                return Err(damaged(shown, format!("holds `{}` twice", cut(&name))));
            }
        }
    }
    Ok(())
}
