//! `pytorch_model.bin`: what `torch.save` writes of a model's weights. It is a program for Python's pickle machine; here a machine
//! runs it that can build tensors and what lies between them, and nothing else, so that no code of a stranger's is run.
//!
//! | layout | what it is |
//! |---|---|
//! | since torch 1.6 | a zip archive, not compressed: `data.pkl`, and a file of numbers for every storage in `data/` |
//! | before | one pickle after another (a number, the version, the system, the tensors, the names of storages), then every storage with its length before it |
//!
//! A tensor is a view into a storage: offset, shape and strides. Numbers stay where they are in the file.

mod build;
mod globals;
mod machine;
mod values;

use std::collections::{BTreeMap, HashMap};
use std::io::Cursor;
use std::ops::Range;
use std::sync::Arc;

use values::{Loaded, Storage, View};

use crate::error::cut;
use crate::source::{LFS_POINTER, Mapped};
use crate::weights::stored::{Stored, Tensors};

/// What a step of reading makes, or what is wrong with the file.
type Outcome<T = ()> = Result<T, String>;

/// The tensors of a file, or what is wrong with it.
pub(super) fn read(part: &Arc<Mapped>) -> Result<Tensors, String> {
    let bytes: &[u8] = part;
    if bytes.starts_with(LFS_POINTER) {
        return Err("is a Git LFS pointer, not the weights; `git lfs pull` fetches them".into());
    }
    if bytes.starts_with(b"PK") { zipped(part) } else { legacy(part) }
}

/// Where the storages of a file are, by their keys.
type Storages = HashMap<String, Range<usize>>;

fn zipped(part: &Arc<Mapped>) -> Result<Tensors, String> {
    let damaged = |error: zip::result::ZipError| format!("is a damaged zip archive: {error}");
    let mut archive = zip::ZipArchive::new(Cursor::new(&part[..])).map_err(damaged)?;
    let (mut program, mut storages) = (None, Storages::new());
    for at in 0..archive.len() {
        let entry = archive.by_index_raw(at).map_err(damaged)?;
        let name = entry.name().to_owned();
        let start = entry.data_start().and_then(|start| usize::try_from(start).ok());
        let range = start.zip(usize::try_from(entry.compressed_size()).ok());
        let range = range.and_then(|(start, n)| Some(start..start.checked_add(n).filter(|end| *end <= part.len())?));
        let Some(range) = range else { return Err(format!("is cut short: `{}` is not all there", cut(&name))) };
        if entry.compression() != zip::CompressionMethod::Stored {
            return Err(format!("holds `{}` compressed, which torch does not do", cut(&name)));
        }
        // all lie in a folder that is called after the file
        let inside = name.split_once('/').map_or(name.as_str(), |(_, inside)| inside);
        match inside.strip_prefix("data/") {
            Some(key) => _ = storages.insert(key.to_owned(), range),
            None if inside == "data.pkl" => program = Some(range),
            None if inside == "byteorder" && &part[range.clone()] == b"big" => {
                return Err("holds big endian numbers, which are not read".into());
            }
            None => {}
        }
    }
    let Some(program) = program else {
        return Err("is a zip archive without a `data.pkl`, which torch writes".into());
    };
    let (loaded, _) = machine::run(&part[program])?;
    tensors(part, &loaded, &storages)
}

/// `torch.serialization.MAGIC_NUMBER` as the pickle of a long number writes it.
const MAGIC: [u8; 10] = [0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19];

fn legacy(part: &Arc<Mapped>) -> Result<Tensors, String> {
    let bytes: &[u8] = part;
    let is_magic = bytes.windows(MAGIC.len()).take(8).any(|window| window == MAGIC);
    if !is_magic {
        return Err("is no file of torch: it is neither a zip archive nor a pickle with torch's mark".into());
    }
    let mut at = 0;
    let mut next = || -> Result<Loaded, String> {
        let (loaded, n_bytes) = machine::run(&bytes[at..])?;
        at += n_bytes;
        Ok(loaded)
    };
    next()?; // the mark
    next()?; // the version of the layout
    if next()?.flag("little_endian") == Some(false) {
        return Err("holds big endian numbers, which are not read".into());
    }
    let loaded = next()?;
    let keys = next()?.texts();
    let sizes: HashMap<&str, &Storage> = loaded.storages().map(|storage| (storage.key.as_str(), storage)).collect();
    let mut storages = Storages::new();
    for key in keys {
        let Some(storage) = sizes.get(key.as_str()) else {
            return Err(format!("lists a storage `{}` that no tensor uses", cut(&key)));
        };
        let Some(length) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) else {
            return Err(format!("is cut short: storage `{}` is missing", cut(&key)));
        };
        at += 8;
        let n_numbers = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let end = storage.format.n_bytes(n_numbers).and_then(|n| at.checked_add(n)).filter(|end| *end <= bytes.len());
        let Some(end) = end else {
            return Err(format!(
                "is cut short: storage `{}` would take {n_numbers} numbers from byte {at} on",
                cut(&key)
            ));
        };
        storages.insert(key, at..end);
        at = end;
    }
    tensors(part, &loaded, &storages)
}

fn tensors(part: &Arc<Mapped>, loaded: &Loaded, storages: &Storages) -> Result<Tensors, String> {
    let views: BTreeMap<String, View<'_>> = loaded.tensors()?;
    let mut tensors = Tensors::new();
    for (name, view) in views {
        let View { storage, format, offset, shape, strides } = view;
        let said = || format!("holds a damaged tensor `{}`", cut(&name));
        let Some(range) = storages.get(&storage.key) else {
            return Err(format!("has no storage `{}`, which `{}` is in", cut(&storage.key), cut(&name)));
        };
        // the counts are of numbers, and the bytes of the file decide
        let first = storage.first.checked_add(offset).ok_or_else(said)?;
        let skipped = format.n_bytes(first).ok_or_else(said)?;
        let start = range.start.checked_add(skipped).filter(|start| *start <= range.end).ok_or_else(said)?;
        let n_stored = range.len() / format.n_bytes(1).unwrap_or(1).max(1);
        if !is_of_stored(&shape, n_stored) {
            return Err(format!(
                "makes `{}` of shape {shape:?} out of {n_stored} stored numbers; save a copy of it (`tensor.contiguous()`)",
                cut(&name)
            ));
        }
        let stored = Stored::strided(part, format, shape, strides, start..range.end);
        let Some(stored) = stored else {
            return Err(format!("is cut short: `{}` leaves its storage, which has {} bytes", cut(&name), range.len()));
        };
        tensors.insert(name, stored);
    }
    Ok(tensors)
}

/// Whether a view of this shape is one of stored numbers, and does not make many out of few by repeating them: nobody saves such
/// weights, and a small file of them would take all memory.
fn is_of_stored(shape: &[usize], n_stored: usize) -> bool {
    let n_numbers = shape.iter().try_fold(1usize, |n, size| n.checked_mul(*size));
    n_numbers.is_some_and(|n| n <= n_stored.saturating_mul(2).max(MAX_REPEATED))
}

/// A view of so few numbers may repeat them as often as it likes.
const MAX_REPEATED: usize = 1 << 16;
