//! How the copy engine and `wgmma` mix up addresses in shared memory, so that rows fall on different banks.

use crate::launch::Swizzle;

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
