//! Numbers of one block.

use super::packed::{iq4_scale, q3_scale, q6, q45_low, scale_and_minimum, two_bits};
use super::{BlockType, IQ4_VALUES, half};

/// Writes the weights of one block.
pub(super) fn block(kind: BlockType, bytes: &[u8], out: &mut [f32]) {
    match kind {
        BlockType::F32 => out[0] = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
        BlockType::F16 => out[0] = half_at(bytes, 0),
        BlockType::Bf16 => out[0] = f32::from_bits(u32::from(word(bytes, 0)) << 16),
        BlockType::Q4_0 => nibbles(&bytes[2..], |at, q| out[at] = half_at(bytes, 0) * (f32::from(q) - 8.0)),
        BlockType::Q4_1 => {
            nibbles(&bytes[4..], |at, q| out[at] = half_at(bytes, 0) * f32::from(q) + half_at(bytes, 2));
        }
        BlockType::Q5_0 => {
            let fifth = fifth_bits(&bytes[2..]);
            nibbles(&bytes[6..], |at, q| out[at] = half_at(bytes, 0) * (f32::from(q | fifth(at)) - 16.0));
        }
        BlockType::Q5_1 => {
            let fifth = fifth_bits(&bytes[4..]);
            nibbles(&bytes[8..], |at, q| {
                out[at] = half_at(bytes, 0) * f32::from(q | fifth(at)) + half_at(bytes, 2);
            });
        }
        BlockType::Q8_0 => {
            for (out, q) in out.iter_mut().zip(&bytes[2..]) {
                *out = half_at(bytes, 0) * f32::from(*q as i8);
            }
        }
        BlockType::Q2K => q2_k(bytes, out),
        BlockType::Q3K => q3_k(bytes, out),
        BlockType::Q4K => q45_k(bytes, &bytes[16..], |_, _| 0, out),
        BlockType::Q5K => {
            let high = &bytes[16..48];
            q45_k(bytes, &bytes[48..], |group, at| (high[at] >> group & 1) << 4, out);
        }
        BlockType::Q6K => q6_k(bytes, out),
        BlockType::Iq4Nl => {
            nibbles(&bytes[2..], |at, q| out[at] = half_at(bytes, 0) * f32::from(IQ4_VALUES[usize::from(q)]));
        }
        BlockType::Iq4Xs => iq4_xs(bytes, out),
    }
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn half_at(bytes: &[u8], at: usize) -> f32 {
    half(word(bytes, at))
}

/// Calls `put(at, q)` for 32 weights in 16 bytes: the lower halves are the first 16.
fn nibbles(bytes: &[u8], mut put: impl FnMut(usize, u8)) {
    for (at, byte) in bytes[..16].iter().enumerate() {
        put(at, byte & 15);
        put(at + 16, byte >> 4);
    }
}

/// The fifth bit of each of 32 weights, in its place.
fn fifth_bits(bytes: &[u8]) -> impl Fn(usize) -> u8 {
    let bits = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    move |at| (bits >> at & 1) as u8 * 16
}

/// 16 bytes of scales and minima, 64 of `q`, scale of scales, scale of minima.
fn q2_k(bytes: &[u8], out: &mut [f32]) {
    let (scale, minimum) = (half_at(bytes, 80), half_at(bytes, 82));
    for (group, out) in out.chunks_exact_mut(16).enumerate() {
        let (scale, minimum) = (scale * f32::from(bytes[group] & 15), minimum * f32::from(bytes[group] >> 4));
        for (at, out) in out.iter_mut().enumerate() {
            *out = scale * f32::from(two_bits(&bytes[16..80], 16 * group + at)) - minimum;
        }
    }
}

/// 32 bytes of third bits, 64 of `q`, 12 of scales, scale of scales. Where the third bit is 0, `q` is 4 less.
fn q3_k(bytes: &[u8], out: &mut [f32]) {
    let scale = half_at(bytes, 108);
    for (group, out) in out.chunks_exact_mut(16).enumerate() {
        let scale = scale * f32::from(q3_scale(&bytes[96..108], group));
        for (at, out) in out.iter_mut().enumerate() {
            let third = bytes[group % 2 * 16 + at] >> (group / 2) & 1;
            *out = scale * (f32::from(two_bits(&bytes[32..96], 16 * group + at) | third << 2) - 4.0);
        }
    }
}

/// Scale of scales, scale of minima, 12 bytes of both, then `q`: each 32 bytes hold 64 weights, the lower halves first.
fn q45_k(bytes: &[u8], low: &[u8], fifth: impl Fn(usize, usize) -> u8, out: &mut [f32]) {
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        let (scale, minimum) = scale_and_minimum(&bytes[4..16], group);
        let (scale, minimum) = (half_at(bytes, 0) * f32::from(scale), half_at(bytes, 2) * f32::from(minimum));
        for (at, out) in out.iter_mut().enumerate() {
            let q = q45_low(low, 32 * group + at) | fifth(group, at);
            *out = scale * f32::from(q) - minimum;
        }
    }
}

/// 128 bytes of the lower four bits, 64 of the upper two, 16 scales, scale of scales.
fn q6_k(bytes: &[u8], out: &mut [f32]) {
    for (group, out) in out.chunks_exact_mut(16).enumerate() {
        let scale = half_at(bytes, 208) * f32::from(bytes[192 + group] as i8);
        for (at, out) in out.iter_mut().enumerate() {
            *out = scale * (f32::from(q6(bytes, 16 * group + at)) - 32.0);
        }
    }
}

/// Scale of scales, 2 bytes of upper and 4 of lower bits of the scales, then `q`.
fn iq4_xs(bytes: &[u8], out: &mut [f32]) {
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        let scale = half_at(bytes, 0) * f32::from(iq4_scale(bytes, group));
        nibbles(&bytes[8 + 16 * group..], |at, q| out[at] = scale * f32::from(IQ4_VALUES[usize::from(q)]));
    }
}
