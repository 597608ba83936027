//! GGUF: one file that holds config, tokenizer and weights of a model, as llama.cpp reads it.
//!
//! Layout (<https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>), little endian: `GGUF`, version, number of tensors, number
//! of metadata entries; the entries (key, type, value); the tensors (name, dimensions, the fastest first, type, offset); then the
//! numbers, each tensor at a multiple of `general.alignment`. Counts have 64 bits; version 1, where they had
//! 32, is not read.
//!
//! A count is only what the file says: nothing is reserved that the rest of the file could not hold.

mod config;
mod cursor;
pub(crate) mod families;
mod metadata;
mod rope;
pub(crate) mod write;

use std::ops::Range;

use longlens_kernel::blocks::BlockType;

use crate::error::{OpenError, WeightProblem, cut};
pub(crate) use config::{config, n_parts, part_of};
use cursor::Cursor;
pub use metadata::{Metadata, Texts, Value};
pub(crate) use rope::{FREQS, LONG, SHORT};
pub(crate) use write::Entries;

/// The header of a GGUF file.
#[derive(Debug, Clone)]
pub struct Gguf {
    metadata: Metadata,
    pub(crate) tensors: Vec<TensorInfo>,
}

/// A tensor as the header describes it.
#[derive(Debug, Clone)]
pub(crate) struct TensorInfo {
    pub name: String,
    /// Row-major, the fastest dimension last.
    pub shape: Vec<usize>,
    /// The number that stands for its format.
    pub kind: u32,
    /// Where its numbers start in the file.
    pub start: usize,
}

impl TensorInfo {
    /// Bytes of its numbers; nothing for a format that is not read, or sizes that no memory holds.
    fn bytes(&self) -> Option<usize> {
        let kind = BlockType::of_gguf(self.kind)?;
        let n_numbers = self.shape.iter().try_fold(1_usize, |n, size| n.checked_mul(*size))?;
        (n_numbers / kind.weights()).checked_mul(kind.bytes())
    }
}

/// How such a file begins.
const MAGIC: &[u8; 4] = b"GGUF";

impl Gguf {
    /// Reads the header of the file with these bytes; errors call it `shown`.
    pub fn parse(shown: &str, bytes: &[u8]) -> Result<Self, OpenError> {
        let (entries, tensors) = read_header(bytes).map_err(|problem| damaged(shown, problem))?;
        Ok(Self { metadata: Metadata::new(shown.into(), entries), tensors })
    }

    /// What the file says of the model: config, tokenizer, chat template.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Every tensor: its name, the number of its type, and where its numbers lie in the file. Those of a type that is not read are
    /// left out.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, u32, Range<usize>)> {
        self.tensors.iter().filter_map(|tensor| {
            Some((tensor.name.as_str(), tensor.kind, tensor.start..tensor.start + tensor.bytes()?))
        })
    }

    /// The tensor of this name.
    fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }
}

/// An error that says what is wrong with a file.
pub(crate) fn damaged(shown: &str, problem: String) -> OpenError {
    let file = shown.rsplit(['/', '\\']).next().unwrap_or(shown).to_owned();
    OpenError::Weights { file: shown.into(), problems: vec![WeightProblem::Damaged { file, problem }] }
}

type Header = (metadata::Entries, Vec<TensorInfo>);

fn read_header(bytes: &[u8]) -> Result<Header, String> {
    if bytes.starts_with(b"version https://git-lfs") {
        return Err("is a Git LFS pointer, not the weights; `git lfs pull` fetches them".into());
    }
    if !bytes.starts_with(MAGIC) {
        return Err("is no GGUF file: it does not begin with `GGUF`".into());
    }
    let mut cursor = Cursor::new(bytes, MAGIC.len());
    let version = cursor.u32("the version")?;
    if version.swap_bytes() <= MAX_VERSION && version > MAX_VERSION {
        return Err("is a big endian GGUF file, which is not read".into());
    }
    if !(2..=MAX_VERSION).contains(&version) {
        return Err(format!("is a GGUF file of version {version}; versions 2 and 3 are read"));
    }
    let n_tensors = cursor.count("tensors", MIN_TENSOR)?;
    let n_entries = cursor.count("metadata entries", metadata::MIN_ENTRY)?;
    for (n, most, things) in [(n_tensors, MAX_TENSORS, "tensors"), (n_entries, MAX_ENTRIES, "metadata entries")] {
        if n > most {
            return Err(format!("says that it has {n} {things}, and no model has more than {most}"));
        }
    }
    let entries = metadata::read(&mut cursor, n_entries)?;
    let alignment = match entries.get("general.alignment") {
        None => DEFAULT_ALIGNMENT,
        Some(Value::Whole(n)) if (1..=1 << 20).contains(n) && (n & (n - 1)) == 0 => *n as usize,
        Some(other) => return Err(format!("has a `general.alignment` of {other}, which must be a power of two")),
    };
    let mut tensors = Vec::new();
    for number in 0..n_tensors {
        tensors.push(read_tensor(&mut cursor, number)?);
    }
    let base = cursor.at().next_multiple_of(alignment);
    for tensor in &mut tensors {
        if !tensor.start.is_multiple_of(alignment) {
            let (name, start) = (cut(&tensor.name), tensor.start);
            return Err(format!(
                "says that `{name}` begins at byte {base} + {start}, which is no multiple of {alignment}"
            ));
        }
        let start = base.checked_add(tensor.start).filter(|start| *start <= bytes.len());
        tensor.start = start.ok_or_else(|| {
            let (name, start, has) = (cut(&tensor.name), tensor.start, bytes.len());
            format!("is cut short: `{name}` begins at byte {base} + {start}, and the file has {has}")
        })?;
    }
    apart(&tensors)?;
    Ok((entries, tensors))
}

/// Refuses tensors that lie in each other: one of them would have the numbers of the other.
fn apart(tensors: &[TensorInfo]) -> Result<(), String> {
    let mut placed: Vec<&TensorInfo> = tensors.iter().collect();
    placed.sort_by_key(|tensor| tensor.start);
    let inside = placed.windows(2).find(|pair| pair[0].bytes().is_some_and(|n| n > pair[1].start - pair[0].start));
    inside.map_or(Ok(()), |pair| {
        let [first, second] = [pair[0], pair[1]].map(|tensor| cut(&tensor.name));
        Err(format!("says that `{second}` begins inside `{first}`"))
    })
}

fn read_tensor(cursor: &mut Cursor<'_>, number: usize) -> Result<TensorInfo, String> {
    let name = cursor.text(&format!("the name of tensor {number}"))?.to_owned();
    let what = |what: &str| format!("{what} of `{}`", cut(&name));
    let n_dims = cursor.u32(&what("the dimensions"))?;
    if n_dims > MAX_DIMS {
        return Err(format!("says that `{}` has {n_dims} dimensions, and at most {MAX_DIMS} are possible", cut(&name)));
    }
    let mut shape = Vec::with_capacity(n_dims as usize);
    for _ in 0..n_dims {
        let size = cursor.u64(&what("the dimensions"))?;
        shape.push(usize::try_from(size).map_err(|_| format!("says that `{}` has a dimension of {size}", cut(&name)))?);
    }
    shape.reverse();
    let kind = cursor.u32(&what("the type"))?;
    let offset = cursor.u64(&what("the place"))?;
    let start = usize::try_from(offset).map_err(|_| format!("says that `{}` begins at byte {offset}", cut(&name)))?;
    Ok(TensorInfo { name, shape, kind, start })
}

/// Hundreds of layers have thousands of tensors; metadata have some dozens of entries.
const MAX_TENSORS: usize = 1 << 20;
const MAX_ENTRIES: usize = 1 << 16;
const MAX_VERSION: u32 = 3;
const DEFAULT_ALIGNMENT: usize = 32;
/// The limit of the format's own library.
const MAX_DIMS: u32 = 4;
/// Bytes of the shortest description of a tensor.
const MIN_TENSOR: usize = 8 + 4 + 4 + 8;
