//! How GGUF files store weights: every type as blocks of bytes, and the numbers that a block stands for.
//!
//! Layouts are those of ggml (`ggml-common.h`, `ggml-quants.c`; GGUF's specification in the ggml repository, `docs/gguf.md`).
//! All numbers are little endian, and `f16` is the half precision of IEEE 754. A weight is `scale * q`, or `scale * q + minimum`, with a
//! whole number `q` of a few bits; the types of 256 weights (`K`, `XS`) keep a scale of 4 to 8 bits for every 16 or 32 weights, and one
//! `f16` by which all of these are multiplied.

mod decode;
mod encode;
pub(crate) mod packed;

#[cfg(test)]
mod tests;

/// A type of stored weights. Each row of a matrix is whole blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BlockType {
    /// One number of 32 bits.
    F32,
    /// One number of 16 bits, half precision.
    F16,
    /// One number of 16 bits, the upper half of one of 32.
    Bf16,
    /// 4 bits around 8, a scale for 32.
    Q4_0,
    /// 4 bits, a scale and a minimum for 32.
    Q4_1,
    /// 5 bits around 16, a scale for 32.
    Q5_0,
    /// 5 bits, a scale and a minimum for 32.
    Q5_1,
    /// 8 bits with a sign, a scale for 32.
    Q8_0,
    /// 2 bits, a scale and a minimum of 4 bits for 16.
    Q2K,
    /// 3 bits around 4, a scale of 6 bits for 16.
    Q3K,
    /// 4 bits, a scale and a minimum of 6 bits for 32.
    Q4K,
    /// 5 bits, a scale and a minimum of 6 bits for 32.
    Q5K,
    /// 6 bits around 32, a scale of 8 bits for 16.
    Q6K,
    /// 4 bits that choose one of 16 values, a scale for 32.
    Iq4Nl,
    /// 4 bits that choose one of 16 values, a scale of 6 bits for 32.
    Iq4Xs,
}

/// What `q` of 4 bits stands for in [`BlockType::Iq4Nl`] and [`BlockType::Iq4Xs`].
pub const IQ4_VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

impl BlockType {
    /// Every type.
    pub const ALL: [Self; 15] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2K,
        Self::Q3K,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
        Self::Iq4Nl,
        Self::Iq4Xs,
    ];

    /// Number in the tensor table of a GGUF file, weights and bytes of a block, name.
    const fn facts(self) -> (u32, usize, usize, &'static str) {
        match self {
            Self::F32 => (0, 1, 4, "F32"),
            Self::F16 => (1, 1, 2, "F16"),
            Self::Q4_0 => (2, 32, 18, "Q4_0"),
            Self::Q4_1 => (3, 32, 20, "Q4_1"),
            Self::Q5_0 => (6, 32, 22, "Q5_0"),
            Self::Q5_1 => (7, 32, 24, "Q5_1"),
            Self::Q8_0 => (8, 32, 34, "Q8_0"),
            Self::Q2K => (10, 256, 84, "Q2_K"),
            Self::Q3K => (11, 256, 110, "Q3_K"),
            Self::Q4K => (12, 256, 144, "Q4_K"),
            Self::Q5K => (13, 256, 176, "Q5_K"),
            Self::Q6K => (14, 256, 210, "Q6_K"),
            Self::Iq4Nl => (20, 32, 18, "IQ4_NL"),
            Self::Iq4Xs => (23, 256, 136, "IQ4_XS"),
            Self::Bf16 => (30, 1, 2, "BF16"),
        }
    }

    /// The type with this number in the tensor table of a GGUF file (`ggml_type`), if it is one of these.
    pub fn of_gguf(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.gguf() == number)
    }

    /// Its number in the tensor table of a GGUF file.
    pub const fn gguf(self) -> u32 {
        self.facts().0
    }

    /// Weights of a block.
    pub const fn weights(self) -> usize {
        self.facts().1
    }

    /// Bytes of a block.
    pub const fn bytes(self) -> usize {
        self.facts().2
    }

    /// What ggml calls it, such as `Q4_K`.
    pub const fn name(self) -> &'static str {
        self.facts().3
    }

    /// Bits of a weight, scales included.
    pub fn bits(self) -> f64 {
        (8 * self.bytes()) as f64 / self.weights() as f64
    }

    /// Bytes of a row of `width` weights, if that is whole blocks and can be counted.
    pub fn row_bytes(self, width: usize) -> Option<usize> {
        width.is_multiple_of(self.weights()).then(|| (width / self.weights()).checked_mul(self.bytes())).flatten()
    }

    /// Whether all weights of whole blocks are finite numbers: those of 16 and 32 bits, and the scales of others.
    pub fn is_finite(self, blocks: &[u8]) -> bool {
        match self {
            Self::F32 => blocks.chunks_exact(4).all(|x| u16::from_le_bytes([x[2], x[3]]) & 0x7F80 != 0x7F80),
            Self::Bf16 => blocks.chunks_exact(2).all(|x| u16::from_le_bytes([x[0], x[1]]) & 0x7F80 != 0x7F80),
            _ => {
                let is_finite =
                    |block: &[u8], at: usize| u16::from_le_bytes([block[at], block[at + 1]]) & 0x7C00 != 0x7C00;
                blocks.chunks_exact(self.bytes()).all(|block| self.halves().iter().all(|at| is_finite(block, *at)))
            }
        }
    }

    /// Where the numbers of half precision stand in a block.
    pub fn halves(self) -> &'static [usize] {
        match self {
            Self::F32 | Self::Bf16 => &[],
            Self::F16 | Self::Q4_0 | Self::Q5_0 | Self::Q8_0 | Self::Iq4Nl | Self::Iq4Xs => &[0],
            Self::Q4_1 | Self::Q5_1 | Self::Q4K | Self::Q5K => &[0, 2],
            Self::Q2K => &[80, 82],
            Self::Q3K => &[108],
            Self::Q6K => &[208],
        }
    }

    /// Writes the weights of whole blocks, `weights()` numbers for every `bytes()` bytes, as ggml computes them: the product of scales
    /// first, then `q`, then the minimum, each rounded to `f32`.
    pub fn decode(self, blocks: &[u8], out: &mut [f32]) {
        let (n_blocks, rest) = (blocks.len() / self.bytes(), blocks.len() % self.bytes());
        assert_eq!((rest, n_blocks * self.weights()), (0, out.len()), "whole blocks of {}", self.name());
        let blocks = blocks.chunks_exact(self.bytes());
        for (block, out) in blocks.zip(out.chunks_exact_mut(self.weights())) {
            decode::block(self, block, out);
        }
    }
}

impl std::fmt::Display for BlockType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A number of half precision as `f32`, exactly; infinities and what is not a number included.
#[inline(always)]
pub fn half(bits: u16) -> f32 {
    let (sign, rest) = (u32::from(bits & 0x8000) << 16, u32::from(bits & 0x7FFF) << 13);
    // the exponent moves from 5 bits to 8 by a multiplication, which also brings subnormal numbers into place
    let size =
        if rest >= 0x7C00 << 13 { rest | 0x7F80_0000 } else { (f32::from_bits(rest) * 2f32.powi(112)).to_bits() };
    f32::from_bits(sign | size)
}
