//! Safetensors: a header in JSON, then the numbers (<https://huggingface.co/docs/safetensors>).

use std::fmt;
use std::sync::Arc;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::cut;
use crate::source::{LFS_POINTER, Mapped};
use crate::weights::numbers::Format;
use crate::weights::stored::{Stored, Tensors};

/// The tensors of a file, or what is wrong with it.
pub(super) fn read(part: &Arc<Mapped>) -> Result<Tensors, String> {
    let (start, header) = read_header(part)?;
    let mut tensors = Tensors::new();
    for (name, info) in header.tensors {
        let Some(format) = Format::named(&info.dtype) else {
            return Err(format!("gives `{}` the number format `{}`, which is unknown", cut(&name), cut(&info.dtype)));
        };
        let stored = Stored::new(part, format, info.shape, start + info.data_offsets.0);
        let stored = stored.filter(|stored| stored.n_bytes() == info.data_offsets.1 - info.data_offsets.0);
        let Some(stored) = stored else {
            return Err(format!("has a damaged header: the bytes of `{}` are not those of its shape", cut(&name)));
        };
        if tensors.insert(name.clone(), stored).is_some() {
            return Err(format!("holds `{}` twice", cut(&name)));
        }
    }
    Ok(tensors)
}

/// Tensors in the order of their numbers.
struct Header {
    tensors: Vec<(String, TensorInfo)>,
}

#[derive(Deserialize)]
struct TensorInfo {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

/// Where the numbers start, and what they are: every byte after the header belongs to one tensor.
fn read_header(bytes: &[u8]) -> Result<(usize, Header), String> {
    let has = bytes.len();
    if bytes.starts_with(LFS_POINTER) {
        return Err("is a Git LFS pointer, not the weights; `git lfs pull` fetches them".into());
    }
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(format!("is cut short: it has {has} bytes"));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER {
        return Err(format!("is no safetensors file: its header would take {length} bytes"));
    }
    let length = length as usize;
    let Some(header) = rest.get(..length) else {
        return Err(format!("is cut short: its header takes {length} bytes, and the file has {has}"));
    };
    let mut header: Header =
        serde_json::from_slice(header).map_err(|error| format!("has a damaged header: {error}"))?;
    header.tensors.sort_by_key(|(_, info)| info.data_offsets);
    let mut end = 0;
    for (name, info) in &header.tensors {
        if info.data_offsets.0 != end || info.data_offsets.1 < end {
            return Err(format!("has a damaged header: the bytes of `{}` do not begin where others end", cut(name)));
        }
        end = info.data_offsets.1;
    }
    let needs = (8 + length).saturating_add(end);
    if has < needs {
        return Err(format!("is cut short: it has {has} of {needs} bytes"));
    }
    if has > needs {
        return Err(format!("has {} bytes that belong to no tensor", has - needs));
    }
    Ok((8 + length, header))
}

/// The limit of the format's own library.
const MAX_HEADER: u64 = 100_000_000;

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Entries)
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut tensors = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
            } else {
                tensors.push((name, map.next_value()?));
            }
        }
        Ok(Header { tensors })
    }
}
