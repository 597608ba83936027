//! Tensors as the copy engine sees them: boxes, and how their addresses are mixed up in shared memory.

/// A tensor in global memory, for loads and stores of boxes (a `CUtensorMap`). The first dimension is contiguous.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorMap {
    /// The device address of the first element.
    pub address: u64,
    pub element_bytes: u32,
    /// Elements of each dimension.
    pub dims: Vec<u64>,
    /// Bytes from one index to the next, for all dimensions but the first.
    pub strides: Vec<u64>,
    /// Elements of a box in each dimension.
    pub box_dims: Vec<u32>,
    pub swizzle: Swizzle,
}

impl TensorMap {
    pub(crate) fn box_bytes(&self) -> u32 {
        self.box_dims.iter().product::<u32>() * self.element_bytes
    }

    /// Why the driver would refuse the map.
    pub(crate) fn check(&self) -> Result<(), String> {
        let rank = self.dims.len();
        let row = self.box_dims.first().map_or(0, |first| first * self.element_bytes);
        let wrong = if !(1..=5).contains(&rank) || self.box_dims.len() != rank || self.strides.len() + 1 != rank {
            "1 to 5 dimensions, a box of as many, and one stride less"
        } else if !self.address.is_multiple_of(16) || !self.strides.iter().all(|stride| stride.is_multiple_of(16)) {
            "address and strides that are multiples of 16 bytes"
        } else if self.box_dims.iter().any(|extent| !(1..=256).contains(extent)) || !row.is_multiple_of(16) {
            "boxes of 1 to 256 elements a dimension, with rows of a multiple of 16 bytes"
        } else if self.swizzle != Swizzle::None && row > self.swizzle.span() {
            "rows of a box that fit the swizzle"
        } else {
            return Ok(());
        };
        Err(format!("a tensor map needs {wrong}: {self:?}"))
    }
}

/// How the copy engine and `wgmma` mix up addresses in shared memory, so that rows fall on different banks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swizzle {
    None,
    Bytes32,
    Bytes64,
    Bytes128,
}

impl Swizzle {
    /// The address where a byte lies that an unmixed layout has at `address`: bits from 7 on are mixed into bits from 4 on.
    pub(crate) fn apply(self, address: u32) -> u32 {
        let mask = match self {
            Self::None => 0,
            Self::Bytes32 => 1,
            Self::Bytes64 => 3,
            Self::Bytes128 => 7,
        };
        address ^ ((address >> 7 & mask) << 4)
    }

    /// Bytes of a row that is mixed as one.
    pub(crate) fn span(self) -> u32 {
        match self {
            Self::None => 16,
            Self::Bytes32 => 32,
            Self::Bytes64 => 64,
            Self::Bytes128 => 128,
        }
    }
}
