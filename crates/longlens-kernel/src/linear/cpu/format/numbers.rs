//! Formats that numbers are rounded to, blocks of 32.

use super::{Encode, Format, UPPER, field, load, lower, upper, words};
use crate::cpu::simd::Simd;
use crate::linear::cpu::few;

/// As they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct F32;
/// The upper halves, rounded to the nearest, ties to even.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bf16;
/// `scale * q` with `q` in -127..=127.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Q8;
/// `minimum + scale * q` with `q` in 0..=15.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Q4;

impl Format for F32 {
    const WORDS: usize = 32;
    // tiles need not decode these
    const FEW_ROWS: usize = 2;

    #[inline(always)]
    unsafe fn decode<S: Simd>(simd: S, block: *const u32, stride: usize, mut eight: impl FnMut(usize, [S::f32s; 8])) {
        for part in 0..4 {
            let mut out = [simd.splat_f32s(0.0); 8];
            for (at, out) in out.iter_mut().enumerate() {
                // SAFETY: inside the block
                *out = unsafe { load(simd, block.add((8 * part + at) * stride).cast()) };
            }
            eight(part, out);
        }
    }
}

impl Encode for F32 {
    #[inline(always)]
    fn encode(weights: &[f32], mut put: impl FnMut(usize, u32)) {
        for (at, weight) in weights.iter().enumerate() {
            put(at, weight.to_bits());
        }
    }
}

impl Format for Bf16 {
    const WORDS: usize = 16;
    const FEW_ROWS: usize = few::ROWS;

    #[inline(always)]
    unsafe fn decode<S: Simd>(simd: S, block: *const u32, stride: usize, mut eight: impl FnMut(usize, [S::f32s; 8])) {
        for part in 0..4 {
            let mut out = [simd.splat_f32s(0.0); 8];
            for pair in 0..4 {
                // SAFETY: inside the block
                let word = unsafe { words(simd, block.add((4 * part + pair) * stride)) };
                out[2 * pair] = lower(simd, word);
                out[2 * pair + 1] = upper(simd, word);
            }
            eight(part, out);
        }
    }
}

impl Encode for Bf16 {
    #[inline(always)]
    fn encode(weights: &[f32], mut put: impl FnMut(usize, u32)) {
        let half = |x: f32| {
            let bits = x.to_bits();
            if x.is_nan() { bits >> 16 | 0x40 } else { (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 }
        };
        for (at, pair) in weights.chunks(2).enumerate() {
            put(at, half(pair[0]) | pair.get(1).map_or(0, |x| half(*x)) << 16);
        }
    }
}

impl Format for Q8 {
    const WORDS: usize = 9;
    const FEW_ROWS: usize = few::ROWS;

    #[inline(always)]
    unsafe fn decode<S: Simd>(simd: S, block: *const u32, stride: usize, mut eight: impl FnMut(usize, [S::f32s; 8])) {
        // SAFETY: inside the block
        unsafe {
            let scale = load(simd, block.cast());
            let (scale, shift) =
                (simd.mul_f32s(simd.splat_f32s(256.0), scale), simd.mul_f32s(simd.splat_f32s(-384.0), scale));
            for part in 0..4 {
                let mut out = [simd.splat_f32s(0.0); 8];
                for four in 0..2 {
                    let word = words(simd, block.add((1 + 2 * part + four) * stride));
                    for byte in 0..4 {
                        // 1 + (q + 128) / 256
                        out[4 * four + byte] = simd.mul_add_e_f32s(field(simd, word, 8 * byte, 8), scale, shift);
                    }
                }
                eight(part, out);
            }
        }
    }
}

impl Encode for Q8 {
    #[inline(always)]
    fn encode(weights: &[f32], mut put: impl FnMut(usize, u32)) {
        let scale = outward::<13>(weights.iter().fold(0.0, |max: f32, x| max.max(x.abs())) / 127.0);
        let inverse = inverse(scale);
        put(0, scale.to_bits());
        for (at, four) in weights.chunks(4).enumerate() {
            let byte = |x: &f32| (nearest(x * inverse) + 128) as u32;
            put(1 + at, four.iter().rev().fold(0, |word, x| word << 8 | byte(x)));
        }
    }
}

impl Format for Q4 {
    const WORDS: usize = 5;
    const FEW_ROWS: usize = few::ROWS;

    #[inline(always)]
    unsafe fn decode<S: Simd>(simd: S, block: *const u32, stride: usize, mut eight: impl FnMut(usize, [S::f32s; 8])) {
        // SAFETY: inside the block
        unsafe {
            let both = words(simd, block);
            let scale = simd.mul_f32s(simd.splat_f32s(16.0), upper(simd, both));
            let shift = simd.sub_f32s(lower(simd, both), scale);
            for part in 0..4 {
                let mut out = [simd.splat_f32s(0.0); 8];
                let word = words(simd, block.add((1 + part) * stride));
                for (at, out) in out.iter_mut().enumerate() {
                    // 1 + q / 16
                    *out = simd.mul_add_e_f32s(field(simd, word, 4 * at, 4), scale, shift);
                }
                eight(part, out);
            }
        }
    }
}

impl Encode for Q4 {
    /// The minimum is cut to a bf16, like the scale, to share a word with it; where all of a block lies far from zero, that costs a
    /// range of 1/128 of the minimum more.
    #[inline(always)]
    fn encode(weights: &[f32], mut put: impl FnMut(usize, u32)) {
        let (min, max) = weights.iter().fold((f32::MAX, f32::MIN), |(min, max), x| (min.min(*x), max.max(*x)));
        // both are rounded so that the range still covers every weight
        let min = if min < 0.0 { outward::<8>(min) } else { f32::from_bits(min.to_bits() & UPPER) };
        let scale = outward::<8>((max - min) / 15.0);
        let inverse = inverse(scale);
        put(0, scale.to_bits() | min.to_bits() >> 16);
        for (at, eight) in weights.chunks(8).enumerate() {
            let nibble = |x: &f32| nearest((x - min) * inverse).clamp(0, 15) as u32;
            put(1 + at, eight.iter().rev().fold(0, |word, x| word << 4 | nibble(x)));
        }
    }
}

/// The nearest number of `DIGITS` binary digits that is not nearer to zero.
#[inline(always)]
fn outward<const DIGITS: usize>(x: f32) -> f32 {
    let below = (1u32 << (24 - DIGITS)) - 1;
    f32::from_bits((x.to_bits() + below) & !below)
}

/// `1 / scale`; 0 where that would not be finite, so that a block of zeros stays one.
#[inline(always)]
fn inverse(scale: f32) -> f32 {
    let inverse = 1.0 / scale;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// The nearest whole number, for numbers up to 2^21 (what is not a number gives any).
#[inline(always)]
fn nearest(x: f32) -> i32 {
    // adding it leaves the whole part in the low bits
    const ROUND: f32 = 12_582_912.0;
    ((x + ROUND).to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32)
}
