//! Blocks of 32 weights of a file, in words: the scales first, one word for two of them, then the fields of the weights in order.

use super::{Format, Repack, Scale, eight, fields, half, moved, words};
use crate::blocks::{BlockType, IQ4_VALUES};
use crate::cpu::simd::Simd;

/// Numbers of half precision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct F16;
#[derive(Debug, Clone, Copy)]
pub(crate) struct Q4_0;
#[derive(Debug, Clone, Copy)]
pub(crate) struct Q4_1;
#[derive(Debug, Clone, Copy)]
pub(crate) struct Q5_0;
#[derive(Debug, Clone, Copy)]
pub(crate) struct Q5_1;
#[derive(Debug, Clone, Copy)]
pub(crate) struct Q8_0;
#[derive(Debug, Clone, Copy)]
pub(crate) struct Iq4Nl;

/// The word of two bytes in each half.
fn pair(lower: &[u8], upper: &[u8]) -> u32 {
    u32::from_le_bytes([lower[0], lower[1], upper[0], upper[1]])
}

/// The scales of up to two blocks, which start them.
fn scales(blocks: &[u8], bytes: usize) -> u32 {
    pair(blocks, blocks.get(bytes..).filter(|second| !second.is_empty()).unwrap_or(&[0, 0]))
}

/// The nibble of weight `at` in 16 bytes: the lower halves are the first 16 weights.
fn nibble(bytes: &[u8], at: usize) -> u8 {
    bytes[at % 16] >> (at / 16 * 4) & 15
}

impl Format for F16 {
    const WORDS: usize = 16;

    #[inline(always)]
    unsafe fn decode<S: Simd>(simd: S, block: *const u32, stride: usize, mut put: impl FnMut(usize, [S::f32s; 8])) {
        for part in 0..4 {
            let mut out = [simd.splat_f32s(0.0); 8];
            for two in 0..4 {
                // SAFETY: inside the block
                let word = unsafe { words(simd, block.add((4 * part + two) * stride)) };
                out[2 * two] = half(simd, word, 0);
                out[2 * two + 1] = half(simd, word, 16);
            }
            put(part, out);
        }
    }
}

impl Repack for F16 {
    const TYPE: BlockType = BlockType::F16;

    #[inline(always)]
    fn repack(blocks: &[u8], mut put: impl FnMut(usize, u32)) {
        for (at, two) in blocks.chunks(4).enumerate() {
            put(at, pair(two, two.get(2..4).unwrap_or(&[0, 0])));
        }
    }
}

/// A block of 64 weights of four bits in nine words, each by `weights(scale, word)`.
///
/// # Safety
/// As [`Format::decode`].
#[inline(always)]
unsafe fn twice_four_bits<S: Simd>(
    simd: S,
    block: *const u32,
    stride: usize,
    weights: impl Fn(S::f32s, S::u32s) -> [S::f32s; 8],
    mut put: impl FnMut(usize, [S::f32s; 8]),
) {
    // SAFETY: inside the block
    unsafe {
        let both = words(simd, block);
        for (second, scale) in [half(simd, both, 0), half(simd, both, 16)].into_iter().enumerate() {
            for part in 4 * second..4 * second + 4 {
                put(part, weights(scale, words(simd, block.add((1 + part) * stride))));
            }
        }
    }
}

/// Puts up to two blocks of a scale and 16 bytes.
#[inline(always)]
fn put_twice_four_bits(blocks: &[u8], mut put: impl FnMut(usize, u32)) {
    put(0, scales(blocks, 18));
    for (second, block) in blocks.chunks_exact(18).enumerate() {
        fields(4, 32, |at| nibble(&block[2..], at), |at, word| put(1 + 4 * second + at, word));
    }
}

impl Format for Q4_0 {
    const WEIGHTS: usize = 64;
    const WORDS: usize = 9;

    #[inline(always)]
    unsafe fn decode<S: Simd>(simd: S, block: *const u32, stride: usize, put: impl FnMut(usize, [S::f32s; 8])) {
        let weights =
            |scale, word| eight(simd, Scale::around(simd, scale, 4, 8), |at| moved(simd, word, 4 * at, 4, 19));
        // SAFETY: as the caller promises
        unsafe { twice_four_bits(simd, block, stride, weights, put) }
    }
}

impl Repack for Q4_0 {
    const TYPE: BlockType = BlockType::Q4_0;

    #[inline(always)]
    fn repack(blocks: &[u8], put: impl FnMut(usize, u32)) {
        put_twice_four_bits(blocks, put);
    }
}

impl Format for Iq4Nl {
    const WEIGHTS: usize = 64;
    const WORDS: usize = 9;

    #[inline(always)]
    unsafe fn decode<S: Simd>(simd: S, block: *const u32, stride: usize, put: impl FnMut(usize, [S::f32s; 8])) {
        // SAFETY: as the caller promises
        unsafe { twice_four_bits(simd, block, stride, |scale, word| chosen(simd, scale, word), put) }
    }
}

impl Repack for Iq4Nl {
    const TYPE: BlockType = BlockType::Iq4Nl;

    #[inline(always)]
    fn repack(blocks: &[u8], put: impl FnMut(usize, u32)) {
        put_twice_four_bits(blocks, put);
    }
}

/// Eight weights, each `scale` times the value that four bits choose: a tree of choices, a bit each.
#[inline(always)]
pub(super) fn chosen<S: Simd>(simd: S, scale: S::f32s, word: S::u32s) -> [S::f32s; 8] {
    let mut out = [simd.splat_f32s(0.0); 8];
    for (at, out) in out.iter_mut().enumerate() {
        let is_set = |bit: usize| {
            let bit = moved(simd, word, 4 * at + bit, 1, 0);
            simd.greater_than_u32s(bit, simd.splat_u32s(0))
        };
        let mut values = IQ4_VALUES.map(|value| simd.splat_f32s(f32::from(value)));
        for bit in 0..4 {
            let is_set = is_set(bit);
            for pair in 0..8 >> bit {
                values[pair] = simd.select_f32s(is_set, values[2 * pair + 1], values[2 * pair]);
            }
        }
        *out = simd.mul_f32s(scale, values[0]);
    }
    out
}

impl Format for Q4_1 {
    const WORDS: usize = 5;

    #[inline(always)]
    unsafe fn decode<S: Simd>(simd: S, block: *const u32, stride: usize, mut put: impl FnMut(usize, [S::f32s; 8])) {
        // SAFETY: inside the block
        unsafe {
            let both = words(simd, block);
            let scale = Scale::from(simd, half(simd, both, 0), half(simd, both, 16), 4);
            for part in 0..4 {
                let word = words(simd, block.add((1 + part) * stride));
                put(part, eight(simd, scale, |at| moved(simd, word, 4 * at, 4, 19)));
            }
        }
    }
}

impl Repack for Q4_1 {
    const TYPE: BlockType = BlockType::Q4_1;

    #[inline(always)]
    fn repack(blocks: &[u8], mut put: impl FnMut(usize, u32)) {
        put(0, pair(blocks, &blocks[2..]));
        fields(4, 32, |at| nibble(&blocks[4..], at), |at, word| put(1 + at, word));
    }
}

/// The bits of weight `at` of a part of eight, of five bits: four in a word of the part, the fifth in a word of four parts.
#[inline(always)]
pub(super) fn five_bits<S: Simd>(simd: S, low: S::u32s, high: S::u32s, part: usize, at: usize) -> S::u32s {
    simd.or_u32s(moved(simd, low, 4 * at, 4, 18), moved(simd, high, 8 * (part % 4) + at, 1, 22))
}

impl Format for Q5_0 {
    const WEIGHTS: usize = 64;
    const WORDS: usize = 11;

    #[inline(always)]
    unsafe fn decode<S: Simd>(simd: S, block: *const u32, stride: usize, mut put: impl FnMut(usize, [S::f32s; 8])) {
        // SAFETY: inside the block
        unsafe {
            let both = words(simd, block);
            for (second, scale) in [half(simd, both, 0), half(simd, both, 16)].into_iter().enumerate() {
                let scale = Scale::around(simd, scale, 5, 16);
                let high = words(simd, block.add((1 + second) * stride));
                for part in 0..4 {
                    let low = words(simd, block.add((3 + 4 * second + part) * stride));
                    put(4 * second + part, eight(simd, scale, |at| five_bits(simd, low, high, part, at)));
                }
            }
        }
    }
}

impl Repack for Q5_0 {
    const TYPE: BlockType = BlockType::Q5_0;

    #[inline(always)]
    fn repack(blocks: &[u8], mut put: impl FnMut(usize, u32)) {
        put(0, scales(blocks, 22));
        for (second, block) in blocks.chunks_exact(22).enumerate() {
            put(1 + second, pair(&block[2..], &block[4..]));
            fields(4, 32, |at| nibble(&block[6..], at), |at, word| put(3 + 4 * second + at, word));
        }
    }
}

impl Format for Q5_1 {
    const WORDS: usize = 6;

    #[inline(always)]
    unsafe fn decode<S: Simd>(simd: S, block: *const u32, stride: usize, mut put: impl FnMut(usize, [S::f32s; 8])) {
        // SAFETY: inside the block
        unsafe {
            let both = words(simd, block);
            let scale = Scale::from(simd, half(simd, both, 0), half(simd, both, 16), 5);
            let high = words(simd, block.add(stride));
            for part in 0..4 {
                let low = words(simd, block.add((2 + part) * stride));
                put(part, eight(simd, scale, |at| five_bits(simd, low, high, part, at)));
            }
        }
    }
}

impl Repack for Q5_1 {
    const TYPE: BlockType = BlockType::Q5_1;

    #[inline(always)]
    fn repack(blocks: &[u8], mut put: impl FnMut(usize, u32)) {
        put(0, pair(blocks, &blocks[2..]));
        put(1, pair(&blocks[4..], &blocks[6..]));
        fields(4, 32, |at| nibble(&blocks[8..], at), |at, word| put(2 + at, word));
    }
}

impl Format for Q8_0 {
    const WEIGHTS: usize = 64;
    const WORDS: usize = 17;

    #[inline(always)]
    unsafe fn decode<S: Simd>(simd: S, block: *const u32, stride: usize, mut put: impl FnMut(usize, [S::f32s; 8])) {
        // SAFETY: inside the block
        unsafe {
            let both = words(simd, block);
            for (second, scale) in [half(simd, both, 0), half(simd, both, 16)].into_iter().enumerate() {
                let scale = Scale::around(simd, scale, 8, 128);
                for part in 4 * second..4 * second + 4 {
                    let two = [1, 2].map(|word| words(simd, block.add((2 * part + word) * stride)));
                    put(part, eight(simd, scale, |at| moved(simd, two[at / 4], 8 * (at % 4), 8, 15)));
                }
            }
        }
    }
}

impl Repack for Q8_0 {
    const TYPE: BlockType = BlockType::Q8_0;

    /// Bytes without a sign: 128 more.
    #[inline(always)]
    fn repack(blocks: &[u8], mut put: impl FnMut(usize, u32)) {
        put(0, scales(blocks, 34));
        for (second, block) in blocks.chunks_exact(34).enumerate() {
            fields(8, 32, |at| block[2 + at] ^ 128, |at, word| put(1 + 8 * second + at, word));
        }
    }
}
