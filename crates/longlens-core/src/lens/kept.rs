//! What a file holds of a sequence, so that it can go on in another process.

use std::fmt;

/// One tensor of a sequence, `[heads, rows, width]`, little-endian and row-major in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptTensor {
    /// What it is.
    pub part: KeptPart,
    /// Number format as safetensors names it: `F32`, `F16` or `BF16`.
    pub format: &'static str,
    /// Heads, tokens or chunks, and numbers of each.
    pub shape: [usize; 3],
}

/// Which tensor of a sequence. Displayed as its name in a file, `layers.3.key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptPart {
    /// Keys of a layer, before rotation.
    Key(usize),
    /// Values of a layer.
    Value(usize),
    /// Queries of a layer, before rotation.
    Query(usize),
    /// What represents the complete chunks, of a layer's group of heads with one rule.
    Chunks(usize, usize),
    /// Queries of the chunk that is not complete yet, likewise.
    Pending(usize, usize),
}

impl KeptPart {
    /// The layer it is of.
    pub fn layer(self) -> usize {
        let (Self::Key(layer)
        | Self::Value(layer)
        | Self::Query(layer)
        | Self::Chunks(layer, _)
        | Self::Pending(layer, _)) = self;
        layer
    }
}

impl KeptTensor {
    /// Bytes of its numbers.
    pub fn n_bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * if self.format == "F32" { 4 } else { 2 }
    }
}

impl fmt::Display for KeptPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(layer) => write!(f, "layers.{layer}.key"),
            Self::Value(layer) => write!(f, "layers.{layer}.value"),
            Self::Query(layer) => write!(f, "layers.{layer}.query"),
            Self::Chunks(layer, group) => write!(f, "layers.{layer}.groups.{group}.chunks"),
            Self::Pending(layer, group) => write!(f, "layers.{layer}.groups.{group}.pending"),
        }
    }
}
