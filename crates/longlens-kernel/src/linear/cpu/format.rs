//! How weights are written down: blocks along `d_in`, one lane per output.
//!
//! | format | bits a weight | a block of one output | error of a weight |
//! |---|---|---|---|
//! | `F32` | 32 | 32 numbers | none |
//! | `Bf16` | 16 | 16 words of two | 2^-8 of it |
//! | `Q8` | 9 | a scale, 8 words of four | 1/254 of the block's largest magnitude |
//! | `Q4` | 5 | scale and minimum, 4 words of eight | 1/29 of the block's range |
//!
//! These are made of numbers ([`numbers`]). Weights that a file stores in blocks ([`crate::blocks`]) keep their bits, in words of their
//! own order ([`small`], [`large`]), and stand for exactly the numbers of the file's type:
//!
//! | formats | weights of a block | words |
//! |---|---|---|
//! | `F16`, `Q4_1`, `Q5_1` | 32 | as many as in the file |
//! | `Q4_0`, `Q5_0`, `Q8_0`, `Iq4Nl` | 64: two of the file's, whose scales share a word | as many as in the file |
//! | `Q2K`, `Q4K`, `Q5K`, `Iq4Xs` | 256 | as many as in the file |
//! | `Q3K`, `Q6K` | 256 | half a word more: the scale has a word of its own |
//!
//! Words stand lane by lane, so one load serves all outputs of a panel. A field of a few bits becomes a number by moving it
//! to the top of the fraction of 1.0; one multiplication and addition brings it to scale. Scales that are made here are cut to a few
//! digits, always outward, so that this is exact: every instruction set multiplies the same weights. Those of files have up to 19 digits, so
//! the 1 is taken off first.

use std::cmp::Ordering;

use crate::blocks::BlockType;
use crate::cpu::simd::{Simd, load};
use crate::linear::Storage;

mod large;
mod numbers;
mod small;

pub(crate) use large::{Iq4Xs, Q2K, Q3K, Q4K, Q5K, Q6K};
pub(crate) use numbers::{Bf16, F32, Q4, Q8};
pub(crate) use small::{F16, Iq4Nl, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};

/// A way to write weights down.
pub(crate) trait Format: Copy + Send + Sync + 'static {
    /// Weights of a block, a power of two from 32 to 256.
    const WEIGHTS: usize = 32;
    /// Words of a block, per lane.
    const WORDS: usize;
    /// Rows up to which a product decodes weights in registers, row by row of the matrix.
    const FEW_ROWS: usize = 1;

    /// Calls `eight(part, weights)` for weights `8 part .. 8 part + 8` of a block, each a vector of outputs, in order.
    ///
    /// # Safety
    /// `block` holds [`Self::WORDS`] vectors of words, `stride` words apart.
    unsafe fn decode<S: Simd>(simd: S, block: *const u32, stride: usize, eight: impl FnMut(usize, [S::f32s; 8]));
}

/// A format that numbers are rounded to.
pub(crate) trait Encode: Format {
    /// Calls `put(at, word)` for every word of one output's block.
    fn encode(weights: &[f32], put: impl FnMut(usize, u32));
}

/// A format that keeps the bits of a file's blocks.
pub(crate) trait Repack: Format {
    /// The file's type.
    const TYPE: BlockType;

    /// Calls `put(at, word)` for the words of one output's block, from the bytes of the file's blocks that it holds. The last block of a
    /// row may have fewer; what they would be is not put.
    fn repack(blocks: &[u8], put: impl FnMut(usize, u32));
}

/// Evaluates an expression with the format of a storage.
macro_rules! with_format {
    ($storage:expr, $format:ident => $value:expr) => {{
        use $crate::blocks::BlockType as Type;
        use $crate::linear::Storage as Kept;
        use $crate::linear::cpu::format as of;
        macro_rules! with {
            ($name:ident) => {{
                type $format = of::$name;
                $value
            }};
        }
        match $storage {
            Kept::F32 | Kept::Blocks(Type::F32) => with!(F32),
            Kept::Bf16 | Kept::Blocks(Type::Bf16) => with!(Bf16),
            Kept::Q8 => with!(Q8),
            Kept::Q4 => with!(Q4),
            Kept::Blocks(Type::F16) => with!(F16),
            Kept::Blocks(Type::Q4_0) => with!(Q4_0),
            Kept::Blocks(Type::Q4_1) => with!(Q4_1),
            Kept::Blocks(Type::Q5_0) => with!(Q5_0),
            Kept::Blocks(Type::Q5_1) => with!(Q5_1),
            Kept::Blocks(Type::Q8_0) => with!(Q8_0),
            Kept::Blocks(Type::Q2K) => with!(Q2K),
            Kept::Blocks(Type::Q3K) => with!(Q3K),
            Kept::Blocks(Type::Q4K) => with!(Q4K),
            Kept::Blocks(Type::Q5K) => with!(Q5K),
            Kept::Blocks(Type::Q6K) => with!(Q6K),
            Kept::Blocks(Type::Iq4Nl) => with!(Iq4Nl),
            Kept::Blocks(Type::Iq4Xs) => with!(Iq4Xs),
        }
    }};
}
pub(super) use with_format;

/// Weights and words of a block, and rows up to which [`Format::FEW_ROWS`] says to decode in registers.
pub(super) fn facts(storage: Storage) -> (usize, usize, usize) {
    with_format!(storage, F => (F::WEIGHTS, F::WORDS, F::FEW_ROWS))
}

/// Words of a row of weights, block after block, where one lane is all there is.
#[cfg(feature = "cube")]
pub(in crate::linear) fn row_words(storage: Storage, d_in: usize) -> usize {
    let (weights, words, _) = facts(storage);
    d_in.div_ceil(weights) * words
}

/// Writes the words of a row of numbers, all zeros before; `storage` is no file's blocks that have scales.
#[cfg(feature = "cube")]
pub(in crate::linear) fn encode_row(storage: Storage, row: &[f32], words: &mut [u32]) {
    fn encode<F: Encode>(row: &[f32], words: &mut [u32]) {
        for (block, words) in row.chunks(F::WEIGHTS).zip(words.chunks_exact_mut(F::WORDS)) {
            F::encode(block, |at, word| words[at] = word);
        }
    }
    match storage {
        Storage::F32 | Storage::Blocks(BlockType::F32) => encode::<F32>(row, words),
        Storage::Bf16 | Storage::Blocks(BlockType::Bf16) => encode::<Bf16>(row, words),
        Storage::Q8 => encode::<Q8>(row, words),
        Storage::Q4 => encode::<Q4>(row, words),
        Storage::Blocks(kind) => unreachable!("{kind} comes in blocks"),
    }
}

/// Writes the words of a row of a file's blocks, all zeros before.
#[cfg(feature = "cube")]
pub(in crate::linear) fn repack_row(kind: BlockType, bytes: &[u8], words: &mut [u32]) {
    fn repack<F: Repack>(bytes: &[u8], words: &mut [u32]) {
        let block_bytes = F::WEIGHTS / F::TYPE.weights() * F::TYPE.bytes();
        for (block, words) in bytes.chunks(block_bytes).zip(words.chunks_exact_mut(F::WORDS)) {
            F::repack(block, |at, word| words[at] = word);
        }
    }
    match kind {
        BlockType::F16 => repack::<F16>(bytes, words),
        BlockType::Q4_0 => repack::<Q4_0>(bytes, words),
        BlockType::Q4_1 => repack::<Q4_1>(bytes, words),
        BlockType::Q8_0 => repack::<Q8_0>(bytes, words),
        _ => unreachable!("{kind} is kept as numbers"),
    }
}

/// A vector of words.
///
/// # Safety
/// As many words as `simd` has lanes are readable at `from`.
#[inline(always)]
unsafe fn words<S: Simd>(_: S, from: *const u32) -> S::u32s {
    // SAFETY: readable by the caller's promise; any bits are words
    unsafe { from.cast::<S::u32s>().read_unaligned() }
}

/// The upper half of a word.
const UPPER: u32 = 0xFFFF_0000;

/// The bf16 in the lower halves.
#[inline(always)]
fn lower<S: Simd>(simd: S, word: S::u32s) -> S::f32s {
    simd.transmute_f32s_u32s(simd.wrapping_dyn_shl_u32s(word, simd.splat_u32s(16)))
}

/// The bf16 in the upper halves.
#[inline(always)]
fn upper<S: Simd>(simd: S, word: S::u32s) -> S::f32s {
    simd.transmute_f32s_u32s(simd.and_u32s(word, simd.splat_u32s(UPPER)))
}

/// The number of half precision that starts at bit `low`, 0 or 16; what is not finite becomes a large number.
#[inline(always)]
fn half<S: Simd>(simd: S, word: S::u32s, low: usize) -> S::f32s {
    // exponent and fraction in the places of `f32`, brought to size by a multiplication that also gets subnormal numbers right
    let size = simd.transmute_f32s_u32s(moved(simd, word, low, 15, 13));
    let sign = simd.transmute_f32s_u32s(moved(simd, word, low + 15, 1, 31));
    simd.or_f32s(simd.mul_f32s(size, simd.splat_f32s(f32::from_bits((127 + 112) << 23))), sign)
}

/// The field of `n` bits that starts at bit `low`, moved to bit `to`; the other bits are 0.
#[inline(always)]
fn moved<S: Simd>(simd: S, word: S::u32s, low: usize, n: usize, to: usize) -> S::u32s {
    let by = simd.splat_u32s(low.abs_diff(to) as u32);
    let word = match low.cmp(&to) {
        Ordering::Less => simd.wrapping_dyn_shl_u32s(word, by),
        Ordering::Equal => word,
        Ordering::Greater => simd.wrapping_dyn_shr_u32s(word, by),
    };
    simd.and_u32s(word, simd.splat_u32s((((1u64 << n) - 1) << to) as u32))
}

/// `1 + f / 2^n` for the field `f` of `n` bits that starts at bit `low`.
#[inline(always)]
fn field<S: Simd>(simd: S, word: S::u32s, low: usize, n: usize) -> S::f32s {
    above_one(simd, moved(simd, word, low, n, 23 - n))
}

/// The number whose fraction these bits are, from 1 to 2.
#[inline(always)]
fn above_one<S: Simd>(simd: S, fraction: S::u32s) -> S::f32s {
    simd.transmute_f32s_u32s(simd.or_u32s(fraction, simd.splat_u32s(1.0f32.to_bits())))
}

/// What turns `1 + q / 2^n` into a weight, with one rounding whether or not the instruction set multiplies and adds at once.
#[derive(Clone, Copy)]
enum Scale<V> {
    /// `scale (q - zero)`, with `1 + zero / 2^n` as `zero`.
    Around { scale: V, zero: V },
    /// `scale q + minimum`.
    From { scale: V, minimum: V },
}

impl<V: Copy> Scale<V> {
    #[inline(always)]
    fn around<S: Simd<f32s = V>>(simd: S, scale: V, n: usize, zero: usize) -> Self {
        let whole = (1 << n) as f32;
        let scale = simd.mul_f32s(scale, simd.splat_f32s(whole));
        Self::Around { scale, zero: simd.splat_f32s(1.0 + zero as f32 / whole) }
    }

    /// The product of `scale` and `q` needs no rounding.
    #[inline(always)]
    fn from<S: Simd<f32s = V>>(simd: S, scale: V, minimum: V, n: usize) -> Self {
        Self::From { scale: simd.mul_f32s(scale, simd.splat_f32s((1 << n) as f32)), minimum }
    }

    /// The weight.
    #[inline(always)]
    fn weight<S: Simd<f32s = V>>(self, simd: S, field: V) -> V {
        match self {
            Self::Around { scale, zero } => simd.mul_f32s(simd.sub_f32s(field, zero), scale),
            Self::From { scale, minimum } => {
                simd.mul_add_e_f32s(simd.sub_f32s(field, simd.splat_f32s(1.0)), scale, minimum)
            }
        }
    }
}

/// Eight weights of `q` given as fractions: `bits(at)` has those of weight `at` at the top of the fraction.
#[inline(always)]
fn eight<S: Simd>(simd: S, scale: Scale<S::f32s>, bits: impl Fn(usize) -> S::u32s) -> [S::f32s; 8] {
    let mut out = [simd.splat_f32s(0.0); 8];
    for (at, out) in out.iter_mut().enumerate() {
        *out = scale.weight(simd, above_one(simd, bits(at)));
    }
    out
}

/// Puts words of fields of `bits` bits, the first in the lowest, for the `q(at)` of `n` weights, cut to so many bits.
fn fields(bits: usize, n: usize, q: impl Fn(usize) -> u8, mut put: impl FnMut(usize, u32)) {
    let of_word = 32 / bits;
    for word in 0..n / of_word {
        let field = |at: usize| u32::from(q(word * of_word + at)) & ((1 << bits) - 1);
        put(word, (0..of_word).fold(0, |all, at| all | field(at) << (bits * at)));
    }
}
