//! Numbers rounded to blocks: the types whose scale one look at a block gives, as ggml's reference rounds them
//! (`quantize_row_q4_0_ref` and its like in `ggml-quants.c`, and the Python package `gguf`, which give the same bytes but for numbers
//! that lie between two values up to the last bit).

use half::{bf16, f16};

use super::BlockType;

impl BlockType {
    /// Types that numbers can be rounded to; the others are searched for, block by block, and are read only.
    pub const WRITTEN: [Self; 8] =
        [Self::F32, Self::F16, Self::Bf16, Self::Q8_0, Self::Q5_1, Self::Q5_0, Self::Q4_1, Self::Q4_0];

    /// Adds the blocks of `numbers`, which are whole ones, to `out`. The type is one of [`Self::WRITTEN`].
    pub fn encode(self, numbers: &[f32], out: &mut Vec<u8>) {
        assert!(numbers.len().is_multiple_of(self.weights()), "whole blocks of {}", self.name());
        for numbers in numbers.chunks_exact(self.weights()) {
            match self {
                Self::F32 => out.extend(numbers[0].to_le_bytes()),
                Self::F16 => out.extend(f16::from_f32(numbers[0]).to_le_bytes()),
                Self::Bf16 => out.extend(bf16::from_f32(numbers[0]).to_le_bytes()),
                Self::Q8_0 => q8_0(numbers, out),
                Self::Q4_0 => around(4, numbers, out),
                Self::Q5_0 => around(5, numbers, out),
                Self::Q4_1 => above(4, numbers, out),
                Self::Q5_1 => above(5, numbers, out),
                _ => panic!("numbers are not rounded to {}", self.name()),
            }
        }
    }
}

/// A scale, then whole numbers of 8 bits with a sign.
fn q8_0(numbers: &[f32], out: &mut Vec<u8>) {
    let scale = numbers.iter().fold(0.0f32, |most, x| most.max(x.abs())) / 127.0;
    let inverse = inverse(scale);
    put_half(scale, out);
    out.extend(numbers.iter().map(|x| (x * inverse).round() as i8 as u8));
}

/// A scale, then whole numbers of so many bits around the middle of their range; the number farthest from zero gets the lowest.
fn around(bits: u32, numbers: &[f32], out: &mut Vec<u8>) {
    let middle = f64::from(1 << (bits - 1));
    let farthest = numbers.iter().fold(0.0f32, |far, x| if x.abs() > far.abs() { *x } else { far });
    let scale = farthest / -middle as f32;
    let inverse = f64::from(inverse(scale));
    put_half(scale, out);
    let highest = 2.0 * middle - 1.0;
    put_digits(bits, numbers.iter().map(|x| (f64::from(*x) * inverse + middle + 0.5).clamp(0.0, highest) as u8), out);
}

/// A scale and the least number, then whole numbers of so many bits above it.
fn above(bits: u32, numbers: &[f32], out: &mut Vec<u8>) {
    let highest = ((1 << bits) - 1) as f32;
    let least = numbers.iter().copied().fold(f32::MAX, f32::min);
    let most = numbers.iter().copied().fold(f32::MIN, f32::max);
    let scale = (most - least) / highest;
    let inverse = inverse(scale);
    put_half(scale, out);
    put_half(least, out);
    put_digits(bits, numbers.iter().map(|x| ((x - least) * inverse + 0.5).clamp(0.0, highest) as u8), out);
}

fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { scale.recip() }
}

fn put_half(x: f32, out: &mut Vec<u8>) {
    out.extend(f16::from_f32(x).to_le_bytes());
}

/// 32 whole numbers of 4 or 5 bits: the fifth bits of all, then the lower halves of the first 16 with those of the last 16 above them.
fn put_digits(bits: u32, digits: impl Iterator<Item = u8>, out: &mut Vec<u8>) {
    let mut all = [0u8; 32];
    all.iter_mut().zip(digits).for_each(|(place, digit)| *place = digit);
    if bits == 5 {
        let fifth = (0..32).fold(0u32, |fifth, at| fifth | u32::from(all[at] >> 4) << at);
        out.extend(fifth.to_le_bytes());
    }
    out.extend((0..16).map(|at| all[at] & 15 | (all[at + 16] & 15) << 4));
}
