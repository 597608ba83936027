//! From words to weights, eight at a time. Formats, and the exactness of their scales, are those of
//! [`format`](crate::linear::cpu::format).

use cubecl::prelude::*;

use crate::blocks::BlockType;
use crate::cube::Four;
use crate::linear::Storage;

/// A format that kernels decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kept {
    F32,
    Bf16,
    F16,
    /// A scale of 32 bits, 32 bytes that are 128 more than the whole number.
    Q8,
    /// A scale and a minimum of 16 bits, 32 fields of four bits.
    Q4,
    /// Two of a file's blocks: two scales of half precision, 64 bytes that are 128 more.
    Q8_0,
    /// Two of a file's blocks: two scales of half precision, 64 fields of four bits that are 8 more.
    Q4_0,
    /// A scale and a minimum of half precision, 32 fields of four bits.
    Q4_1,
}

impl Kept {
    /// The format of a storage, if kernels decode it.
    pub fn of(storage: Storage) -> Option<Self> {
        Some(match storage {
            Storage::F32 | Storage::Blocks(BlockType::F32) => Self::F32,
            Storage::Bf16 | Storage::Blocks(BlockType::Bf16) => Self::Bf16,
            Storage::Blocks(BlockType::F16) => Self::F16,
            Storage::Q8 => Self::Q8,
            Storage::Q4 => Self::Q4,
            Storage::Blocks(BlockType::Q8_0) => Self::Q8_0,
            Storage::Blocks(BlockType::Q4_0) => Self::Q4_0,
            Storage::Blocks(BlockType::Q4_1) => Self::Q4_1,
            Storage::Blocks(_) => return None,
        })
    }

    /// Weights and words of a block.
    fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (32, 32),
            Self::Bf16 | Self::F16 => (32, 16),
            Self::Q8 => (32, 9),
            Self::Q4 | Self::Q4_1 => (32, 5),
            Self::Q8_0 => (64, 17),
            Self::Q4_0 => (64, 9),
        }
    }
}

/// Words of a row of the matrix.
#[cube]
pub(super) fn row_words(d_in: usize, #[comptime] kept: Kept) -> usize {
    let (weights, words) = comptime!(kept.block());
    d_in.div_ceil(weights) * words
}

/// Weights `8 part .. 8 part + 8` of the row that begins at word `row`.
#[cube]
pub(super) fn eight_weights(
    words: &Array<u32>,
    row: usize,
    part: usize,
    #[comptime] kept: Kept,
) -> (Four<f32>, Four<f32>) {
    let parts = comptime!(kept.block().0 / 8);
    let n_words = comptime!(kept.block().1);
    let (block, part) = (row + part / parts * n_words, part % parts);
    let mut a = Four::<f32>::empty();
    let mut b = Four::<f32>::empty();
    match kept {
        Kept::F32 =>
        {
            #[unroll]
            for i in 0..4usize {
                a[i] = f32::reinterpret(words[block + 8 * part + i]);
                b[i] = f32::reinterpret(words[block + 8 * part + 4 + i]);
            }
        }
        Kept::Bf16 =>
        {
            #[unroll]
            for i in 0..2usize {
                let (x, y) = (words[block + 4 * part + i], words[block + 4 * part + 2 + i]);
                a[2 * i] = f32::reinterpret(x << 16);
                a[2 * i + 1] = f32::reinterpret(x & 0xFFFF_0000u32);
                b[2 * i] = f32::reinterpret(y << 16);
                b[2 * i + 1] = f32::reinterpret(y & 0xFFFF_0000u32);
            }
        }
        Kept::F16 =>
        {
            #[unroll]
            for i in 0..2usize {
                let (x, y) = (words[block + 4 * part + i], words[block + 4 * part + 2 + i]);
                a[2 * i] = half(x & 0xFFFF);
                a[2 * i + 1] = half(x >> 16);
                b[2 * i] = half(y & 0xFFFF);
                b[2 * i + 1] = half(y >> 16);
            }
        }
        Kept::Q8 => {
            let scale = f32::reinterpret(words[block]);
            a = bytes(words[block + 1 + 2 * part], scale);
            b = bytes(words[block + 2 + 2 * part], scale);
        }
        Kept::Q4 => {
            let both = words[block];
            let (scale, least) = (f32::reinterpret(both & 0xFFFF_0000u32), f32::reinterpret(both << 16));
            let word = words[block + 1 + part];
            a = nibbles(word, scale, least);
            b = nibbles(word >> 16, scale, least);
        }
        Kept::Q8_0 => {
            let scale = half((words[block] >> (16 * (part / 4) as u32)) & 0xFFFF);
            a = bytes(words[block + 1 + 2 * part], scale);
            b = bytes(words[block + 2 + 2 * part], scale);
        }
        Kept::Q4_0 => {
            let scale = half((words[block] >> (16 * (part / 4) as u32)) & 0xFFFF);
            let word = words[block + 1 + part];
            a = nibbles(word, scale, -8.0 * scale);
            b = nibbles(word >> 16, scale, -8.0 * scale);
        }
        Kept::Q4_1 => {
            let both = words[block];
            let (scale, least) = (half(both & 0xFFFF), half(both >> 16));
            let word = words[block + 1 + part];
            a = nibbles(word, scale, least);
            b = nibbles(word >> 16, scale, least);
        }
    }
    (a, b)
}

/// `scale * (byte - 128)` of four bytes.
#[cube]
fn bytes(word: u32, scale: f32) -> Four<f32> {
    let mut out = Four::<f32>::empty();
    #[unroll]
    for i in 0..4u32 {
        out[i as usize] = scale * (f32::cast_from((word >> (8 * i)) & 0xFF) - 128.0);
    }
    out
}

/// `least + scale * field` of the four lowest fields of four bits.
#[cube]
fn nibbles(word: u32, scale: f32, least: f32) -> Four<f32> {
    let mut out = Four::<f32>::empty();
    #[unroll]
    for i in 0..4u32 {
        out[i as usize] = least + scale * f32::cast_from((word >> (4 * i)) & 15);
    }
    out
}

/// A number of half precision, from its bits.
#[cube]
fn half(bits: u32) -> f32 {
    let (exponent, fraction) = ((bits >> 10) & 31, bits & 0x3FF);
    // below the least exponent devices may flush to zero what is computed with floats
    let small = f32::cast_from(fraction) * f32::new(LEAST_HALF);
    let normal = f32::reinterpret(((exponent + 112) << 23) | (fraction << 13));
    let magnitude = select(exponent == 0, small, normal);
    select(bits >= 0x8000u32, -magnitude, magnitude)
}

/// 2^-24.
const LEAST_HALF: f32 = 5.960_464_5e-8;
