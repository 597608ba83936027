//! Blocks of 256 weights of a file, in words: the scale of scales, the scales of groups, then the fields of the weights in order, the upper
//! bits of a weight before all lower ones.

use super::small::{chosen, five_bits};
use super::{Format, Repack, Scale, eight, fields, half, moved, words};
use crate::blocks::{BlockType, packed};
use crate::cpu::simd::Simd;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Q2K;
#[derive(Debug, Clone, Copy)]
pub(crate) struct Q3K;
#[derive(Debug, Clone, Copy)]
pub(crate) struct Q4K;
#[derive(Debug, Clone, Copy)]
pub(crate) struct Q5K;
#[derive(Debug, Clone, Copy)]
pub(crate) struct Q6K;
#[derive(Debug, Clone, Copy)]
pub(crate) struct Iq4Xs;

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The whole number in a field of up to 8 bits that starts at a bit which is only known at run time.
#[inline(always)]
fn whole<S: Simd>(simd: S, word: S::u32s, low: usize, n: usize) -> S::f32s {
    let bits =
        simd.and_u32s(simd.wrapping_dyn_shr_u32s(word, simd.splat_u32s(low as u32)), simd.splat_u32s((1 << n) - 1));
    // in the low bits of 2^23, whose fraction is whole numbers
    let above = simd.transmute_f32s_u32s(simd.or_u32s(bits, simd.splat_u32s(8_388_608.0f32.to_bits())));
    simd.sub_f32s(above, simd.splat_f32s(8_388_608.0))
}

impl Format for Q2K {
    const WEIGHTS: usize = 256;
    const WORDS: usize = 21;

    #[inline(always)]
    unsafe fn decode<S: Simd>(simd: S, block: *const u32, stride: usize, mut put: impl FnMut(usize, [S::f32s; 8])) {
        // SAFETY: inside the block
        unsafe {
            let both = words(simd, block);
            let (scales, minima) = (half(simd, both, 0), half(simd, both, 16));
            for group in 0..16 {
                let of_group = words(simd, block.add((1 + group / 4) * stride));
                let scale = simd.mul_f32s(scales, whole(simd, of_group, group % 4 * 8, 4));
                let minimum = simd.mul_f32s(minima, whole(simd, of_group, group % 4 * 8 + 4, 4));
                let scale = Scale::from(simd, scale, simd.neg_f32s(minimum), 2);
                let low = words(simd, block.add((5 + group) * stride));
                put(2 * group, eight(simd, scale, |at| moved(simd, low, 2 * at, 2, 21)));
                put(2 * group + 1, eight(simd, scale, |at| moved(simd, low, 16 + 2 * at, 2, 21)));
            }
        }
    }
}

impl Repack for Q2K {
    const TYPE: BlockType = BlockType::Q2K;

    #[inline(always)]
    fn repack(block: &[u8], mut put: impl FnMut(usize, u32)) {
        put(0, word(block, 80));
        (0..4).for_each(|at| put(1 + at, word(block, 4 * at)));
        fields(2, 256, |at| packed::two_bits(&block[16..80], at), |at, word| put(5 + at, word));
    }
}

impl Format for Q3K {
    const WEIGHTS: usize = 256;
    const WORDS: usize = 28;

    #[inline(always)]
    unsafe fn decode<S: Simd>(simd: S, block: *const u32, stride: usize, mut put: impl FnMut(usize, [S::f32s; 8])) {
        // SAFETY: inside the block
        unsafe {
            let scales = half(simd, words(simd, block), 0);
            for pair in 0..8 {
                let third = words(simd, block.add((4 + pair) * stride));
                for second in 0..2 {
                    // five scales of six bits in a word, the sixteenth beside the scale of scales
                    let group = 2 * pair + second;
                    let (at, low) = if group < 15 { (1 + group / 5, group % 5 * 6) } else { (0, 16) };
                    let scale = whole(simd, words(simd, block.add(at * stride)), low, 6);
                    let scale = simd.mul_f32s(scales, simd.sub_f32s(scale, simd.splat_f32s(32.0)));
                    let scale = Scale::around(simd, scale, 3, 4);
                    let low = words(simd, block.add((12 + group) * stride));
                    for part in 0..2 {
                        let bits = |at| {
                            let third = moved(simd, third, 16 * second + 8 * part + at, 1, 22);
                            simd.or_u32s(moved(simd, low, 16 * part + 2 * at, 2, 20), third)
                        };
                        put(2 * group + part, eight(simd, scale, bits));
                    }
                }
            }
        }
    }
}

impl Repack for Q3K {
    const TYPE: BlockType = BlockType::Q3K;

    #[inline(always)]
    fn repack(block: &[u8], mut put: impl FnMut(usize, u32)) {
        let scale = |group: usize| (i32::from(packed::q3_scale(&block[96..108], group)) + 32) as u32;
        put(0, u32::from(block[108]) | u32::from(block[109]) << 8 | scale(15) << 16);
        (0..3).for_each(|at| put(1 + at, (0..5).fold(0, |all, group| all | scale(5 * at + group) << (6 * group))));
        fields(1, 256, |at| block[at % 32] >> (at / 32) & 1, |at, word| put(4 + at, word));
        fields(2, 256, |at| packed::two_bits(&block[32..96], at), |at, word| put(12 + at, word));
    }
}

/// The scale of a group of 32: eight scales of six bits in words 1 and 2 (four times eight bits, of which each holds six), whose upper two
/// hold the lower two bits of a minimum each; the upper four bits of all minima in word 3.
#[inline(always)]
unsafe fn scale_and_minimum<S: Simd>(
    simd: S,
    block: *const u32,
    stride: usize,
    group: usize,
    of_all: (S::f32s, S::f32s),
    n: usize,
) -> Scale<S::f32s> {
    // SAFETY: inside the block
    let (of_four, minima) =
        unsafe { (words(simd, block.add((1 + group / 4) * stride)), words(simd, block.add(3 * stride))) };
    let low = group % 4 * 8;
    let upper = simd.mul_f32s(whole(simd, minima, 4 * group, 4), simd.splat_f32s(4.0));
    let minimum = simd.add_f32s(upper, whole(simd, of_four, low + 6, 2));
    let scale = simd.mul_f32s(of_all.0, whole(simd, of_four, low, 6));
    Scale::from(simd, scale, simd.neg_f32s(simd.mul_f32s(of_all.1, minimum)), n)
}

/// Puts the words that [`scale_and_minimum`] reads.
#[inline(always)]
fn put_scales_and_minima(block: &[u8], mut put: impl FnMut(usize, u32)) {
    put(0, word(block, 0));
    let of_group = |group| packed::scale_and_minimum(&block[4..16], group);
    for half in 0..2 {
        let byte = |group: usize| {
            let (scale, minimum) = of_group(4 * half + group);
            u32::from(scale | minimum << 6)
        };
        put(1 + half, (0..4).fold(0, |all, group| all | byte(group) << (8 * group)));
    }
    put(3, (0..8).fold(0, |all, group| all | u32::from(of_group(group).1 >> 2) << (4 * group)));
}

impl Format for Q4K {
    const WEIGHTS: usize = 256;
    const WORDS: usize = 36;

    #[inline(always)]
    unsafe fn decode<S: Simd>(simd: S, block: *const u32, stride: usize, mut put: impl FnMut(usize, [S::f32s; 8])) {
        // SAFETY: inside the block
        unsafe {
            let both = words(simd, block);
            let both = (half(simd, both, 0), half(simd, both, 16));
            for group in 0..8 {
                let scale = scale_and_minimum(simd, block, stride, group, both, 4);
                for part in 0..4 {
                    let low = words(simd, block.add((4 + 4 * group + part) * stride));
                    put(4 * group + part, eight(simd, scale, |at| moved(simd, low, 4 * at, 4, 19)));
                }
            }
        }
    }
}

impl Repack for Q4K {
    const TYPE: BlockType = BlockType::Q4K;

    #[inline(always)]
    fn repack(block: &[u8], mut put: impl FnMut(usize, u32)) {
        put_scales_and_minima(block, &mut put);
        fields(4, 256, |at| packed::q45_low(&block[16..], at), |at, word| put(4 + at, word));
    }
}

impl Format for Q5K {
    const WEIGHTS: usize = 256;
    const WORDS: usize = 44;

    #[inline(always)]
    unsafe fn decode<S: Simd>(simd: S, block: *const u32, stride: usize, mut put: impl FnMut(usize, [S::f32s; 8])) {
        // SAFETY: inside the block
        unsafe {
            let both = words(simd, block);
            let both = (half(simd, both, 0), half(simd, both, 16));
            for group in 0..8 {
                let scale = scale_and_minimum(simd, block, stride, group, both, 5);
                let high = words(simd, block.add((4 + group) * stride));
                for part in 0..4 {
                    let low = words(simd, block.add((12 + 4 * group + part) * stride));
                    put(4 * group + part, eight(simd, scale, |at| five_bits(simd, low, high, part, at)));
                }
            }
        }
    }
}

impl Repack for Q5K {
    const TYPE: BlockType = BlockType::Q5K;

    #[inline(always)]
    fn repack(block: &[u8], mut put: impl FnMut(usize, u32)) {
        put_scales_and_minima(block, &mut put);
        fields(1, 256, |at| block[16 + at % 32] >> (at / 32) & 1, |at, word| put(4 + at, word));
        fields(4, 256, |at| packed::q45_low(&block[48..], at), |at, word| put(12 + at, word));
    }
}

impl Format for Q6K {
    const WEIGHTS: usize = 256;
    const WORDS: usize = 53;

    #[inline(always)]
    unsafe fn decode<S: Simd>(simd: S, block: *const u32, stride: usize, mut put: impl FnMut(usize, [S::f32s; 8])) {
        // SAFETY: inside the block
        unsafe {
            let scales = half(simd, words(simd, block), 0);
            for group in 0..16 {
                // 128 more than the scale
                let scale = whole(simd, words(simd, block.add((1 + group / 4) * stride)), group % 4 * 8, 8);
                let scale = simd.mul_f32s(scales, simd.sub_f32s(scale, simd.splat_f32s(128.0)));
                let scale = Scale::around(simd, scale, 6, 32);
                let high = words(simd, block.add((5 + group) * stride));
                for part in 0..2 {
                    let low = words(simd, block.add((21 + 2 * group + part) * stride));
                    let bits = |at| {
                        simd.or_u32s(moved(simd, low, 4 * at, 4, 17), moved(simd, high, 16 * part + 2 * at, 2, 21))
                    };
                    put(2 * group + part, eight(simd, scale, bits));
                }
            }
        }
    }
}

impl Repack for Q6K {
    const TYPE: BlockType = BlockType::Q6K;

    #[inline(always)]
    fn repack(block: &[u8], mut put: impl FnMut(usize, u32)) {
        put(0, u32::from(block[208]) | u32::from(block[209]) << 8);
        (0..4).for_each(|at| put(1 + at, word(block, 192 + 4 * at) ^ 0x8080_8080));
        fields(2, 256, |at| packed::q6(block, at) >> 4, |at, word| put(5 + at, word));
        fields(4, 256, |at| packed::q6(block, at), |at, word| put(21 + at, word));
    }
}

impl Format for Iq4Xs {
    const WEIGHTS: usize = 256;
    const WORDS: usize = 34;

    #[inline(always)]
    unsafe fn decode<S: Simd>(simd: S, block: *const u32, stride: usize, mut put: impl FnMut(usize, [S::f32s; 8])) {
        // SAFETY: inside the block
        unsafe {
            let first = words(simd, block);
            let (scales, low) = (half(simd, first, 0), words(simd, block.add(stride)));
            for group in 0..8 {
                let upper = simd.mul_f32s(whole(simd, first, 16 + 2 * group, 2), simd.splat_f32s(16.0));
                let scale = simd.add_f32s(upper, whole(simd, low, 4 * group, 4));
                let scale = simd.mul_f32s(scales, simd.sub_f32s(scale, simd.splat_f32s(32.0)));
                for part in 4 * group..4 * group + 4 {
                    put(part, chosen(simd, scale, words(simd, block.add((2 + part) * stride))));
                }
            }
        }
    }
}

impl Repack for Iq4Xs {
    const TYPE: BlockType = BlockType::Iq4Xs;

    #[inline(always)]
    fn repack(block: &[u8], mut put: impl FnMut(usize, u32)) {
        put(0, word(block, 0));
        put(1, word(block, 4));
        let nibble = |at: usize| block[8 + at / 32 * 16 + at % 16] >> (at % 32 / 16 * 4) & 15;
        fields(4, 256, nibble, |at, word| put(2 + at, word));
    }
}
