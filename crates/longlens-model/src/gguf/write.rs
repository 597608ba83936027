//! A GGUF file written: everything before the numbers.

use longlens_kernel::blocks::BlockType;

use super::metadata::{self, Value};
use super::{DEFAULT_ALIGNMENT, MAGIC, MAX_VERSION};

/// Metadata in the order in which they are written.
pub(crate) type Entries = Vec<(String, Value)>;

/// A tensor as the header describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TensorHeader {
    pub name: String,
    /// Row-major, the fastest dimension last.
    pub shape: Vec<usize>,
    pub kind: BlockType,
}

impl TensorHeader {
    /// Bytes of its numbers, and of what lies between them and the next tensor's.
    pub fn n_bytes(&self) -> (usize, usize) {
        let n_numbers: usize = self.shape.iter().product();
        let n_bytes = n_numbers / self.kind.weights() * self.kind.bytes();
        (n_bytes, n_bytes.next_multiple_of(DEFAULT_ALIGNMENT) - n_bytes)
    }
}

/// The header; the numbers of the tensors follow it, each filled up to a multiple of the alignment.
pub(crate) fn header(entries: &[(String, Value)], tensors: &[TensorHeader]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend(MAX_VERSION.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((entries.len() as u64).to_le_bytes());
    for (key, value) in entries {
        metadata::put_text(key, &mut out);
        metadata::put(value, &mut out);
    }
    let mut offset = 0;
    for tensor in tensors {
        metadata::put_text(&tensor.name, &mut out);
        out.extend((tensor.shape.len() as u32).to_le_bytes());
        out.extend(tensor.shape.iter().rev().flat_map(|size| (*size as u64).to_le_bytes()));
        out.extend(tensor.kind.gguf().to_le_bytes());
        out.extend((offset as u64).to_le_bytes());
        let (n_bytes, filled) = tensor.n_bytes();
        offset += n_bytes + filled;
    }
    out.resize(out.len().next_multiple_of(DEFAULT_ALIGNMENT), 0);
    out
}
