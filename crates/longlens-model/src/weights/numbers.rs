//! Stored numbers become f32, checked on the way.

use half::f16;
use half::slice::HalfFloatSliceExt;
use longlens_kernel::blocks::BlockType;

/// A number format of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    F64,
    F32,
    F16,
    Bf16,
    /// 4 bits of exponent and 3 of fraction, without infinities.
    F8E4m3,
    /// 5 bits of exponent and 2 of fraction: the upper half of an `F16`.
    F8E5m2,
    /// Blocks of GGUF files; of single numbers the formats above are meant.
    Block(BlockType),
    /// One that is not read, of so many bits a number.
    Other(&'static str, usize),
}

/// Numbers that cannot be used: NaN, infinity, or too large for the target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Unusable {
    /// Flat index of the first one, in the stored order.
    pub first: usize,
    pub value: f32,
    pub count: usize,
}

/// Numbers as they are stored, row-major.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    bytes: &'a [u8],
    format: Format,
}

/// Numbers decoded at a time: few enough to be near when they are looked at.
const PIECE: usize = 256;

impl<'a> Table<'a> {
    pub fn new(bytes: &'a [u8], format: Format) -> Self {
        assert!(format.is_readable(), "{} was to be refused before", format.name());
        Self { bytes, format }
    }

    /// Writes the numbers from `first` on to `out`; returns those whose magnitude is not up to `limit`.
    pub fn read(&self, first: usize, out: &mut [f32], limit: f32) -> Option<Unusable> {
        let mut unusable = None;
        if let Format::Block(block) = self.format {
            self.blocks(block, first, out);
            for (piece, out) in out.chunks(PIECE).enumerate() {
                unusable = Unusable::merge(unusable, check(out, limit, first + piece * PIECE));
            }
            return unusable;
        }
        let size = self.format.size();
        let bytes = self.bytes[first * size..(first + out.len()) * size].chunks(PIECE * size);
        for (piece, (out, bytes)) in out.chunks_mut(PIECE).zip(bytes).enumerate() {
            self.format.decode(bytes, out);
            unusable = Unusable::merge(unusable, check(out, limit, first + piece * PIECE));
        }
        unusable
    }

    /// Decodes whole blocks where they belong, and those at the ends of what is asked for beside it.
    fn blocks(&self, block: BlockType, first: usize, out: &mut [f32]) {
        let (n, size) = (block.weights(), block.bytes());
        let of = |at: usize, n_blocks: usize| &self.bytes[at * size..(at + n_blocks) * size];
        let (mut at, mut rest) = (first, out);
        while !rest.is_empty() {
            let inside = at % n;
            let n_whole = rest.len() / n;
            let (piece, after) = if inside == 0 && n_whole > 0 {
                let (piece, after) = rest.split_at_mut(n_whole * n);
                block.decode(of(at / n, n_whole), piece);
                (piece, after)
            } else {
                let mut numbers = [0.0; MAX_BLOCK];
                block.decode(of(at / n, 1), &mut numbers[..n]);
                let (piece, after) = rest.split_at_mut((n - inside).min(rest.len()));
                piece.copy_from_slice(&numbers[inside..][..piece.len()]);
                (piece, after)
            };
            at += piece.len();
            rest = after;
        }
    }
}

/// Numbers of the largest block.
const MAX_BLOCK: usize = 256;

/// Names and bits of the formats of safetensors that hold no weights, or are not read.
const OTHERS: &[(&str, usize)] = &[
    ("BOOL", 8),
    ("U8", 8),
    ("I8", 8),
    ("U16", 16),
    ("I16", 16),
    ("U32", 32),
    ("I32", 32),
    ("U64", 64),
    ("I64", 64),
    ("F4", 4),
    ("F6_E2M3", 6),
    ("F6_E3M2", 6),
    ("F8_E8M0", 8),
    ("F8_E4M3FNUZ", 8),
    ("F8_E5M2FNUZ", 8),
    ("C64", 64),
];

/// Types of GGUF files that are not read: number, name, and as many bits as a weight takes at least.
const UNREAD: &[(u32, &str, usize)] = &[
    (9, "Q8_1", 9),
    (15, "Q8_K", 9),
    (16, "IQ2_XXS", 2),
    (17, "IQ2_XS", 2),
    (18, "IQ3_XXS", 3),
    (19, "IQ1_S", 1),
    (21, "IQ3_S", 3),
    (22, "IQ2_S", 2),
    (24, "I8", 8),
    (25, "I16", 16),
    (26, "I32", 32),
    (27, "I64", 64),
    (29, "IQ1_M", 1),
    (34, "TQ1_0", 1),
    (35, "TQ2_0", 2),
    (39, "MXFP4", 4),
    (40, "NVFP4", 4),
];

impl Format {
    /// The format that safetensors files call `name`.
    pub fn named(name: &str) -> Option<Self> {
        let known = [Self::F64, Self::F32, Self::F16, Self::Bf16, Self::F8E4m3, Self::F8E5m2];
        let other = || OTHERS.iter().find(|(other, _)| *other == name).map(|(name, bits)| Self::Other(name, *bits));
        known.into_iter().find(|format| format.name() == name).or_else(other)
    }

    /// The format with this number in the tensor table of a GGUF file.
    pub fn of_gguf(kind: u32) -> Option<Self> {
        Some(match (BlockType::of_gguf(kind), kind) {
            (Some(BlockType::F32), _) => Self::F32,
            (Some(BlockType::F16), _) => Self::F16,
            (Some(BlockType::Bf16), _) => Self::Bf16,
            (Some(block), _) => Self::Block(block),
            (None, 28) => Self::F64,
            (None, kind) => {
                UNREAD.iter().find(|(known, ..)| *known == kind).map(|(_, name, bits)| Self::Other(name, *bits))?
            }
        })
    }

    /// As safetensors and GGUF call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::F8E4m3 => "F8_E4M3",
            Self::F8E5m2 => "F8_E5M2",
            Self::Block(block) => block.name(),
            Self::Other(name, _) => name,
        }
    }

    /// Whether numbers can be made of it.
    pub fn is_readable(self) -> bool {
        !matches!(self, Self::Other(..))
    }

    /// Bytes of `n` numbers; `None` where they are no whole bytes, or too many.
    pub fn n_bytes(self, n: usize) -> Option<usize> {
        match self {
            Self::Block(block) => block.row_bytes(n),
            Self::Other(_, bits) => n.checked_mul(bits).filter(|bits| bits.is_multiple_of(8)).map(|bits| bits / 8),
            _ => n.checked_mul(self.size()),
        }
    }

    fn size(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::F8E4m3 | Self::F8E5m2 => 1,
            Self::Block(_) | Self::Other(..) => panic!("{} has no numbers of whole bytes", self.name()),
        }
    }

    fn decode(self, bytes: &[u8], numbers: &mut [f32]) {
        match self {
            // rounded to the nearest; a number beyond f32 becomes infinite and is found below
            Self::F64 => {
                for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks().0) {
                    *number = f64::from_le_bytes(*bytes) as f32;
                }
            }
            Self::F32 => {
                for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks().0) {
                    *number = f32::from_le_bytes(*bytes);
                }
            }
            Self::Bf16 => {
                for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks().0) {
                    *number = f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
                }
            }
            Self::F16 => {
                let mut halves = [f16::ZERO; PIECE];
                for (numbers, bytes) in numbers.chunks_mut(PIECE).zip(bytes.chunks(2 * PIECE)) {
                    for (half, bytes) in halves.iter_mut().zip(bytes.as_chunks().0) {
                        *half = f16::from_le_bytes(*bytes);
                    }
                    halves[..numbers.len()].convert_to_f32_slice(numbers);
                }
            }
            Self::F8E4m3 => {
                for (number, byte) in numbers.iter_mut().zip(bytes) {
                    *number = f8_e4m3(*byte);
                }
            }
            Self::F8E5m2 => {
                for (number, byte) in numbers.iter_mut().zip(bytes) {
                    *number = f16::from_bits(u16::from(*byte) << 8).to_f32();
                }
            }
            Self::Block(_) | Self::Other(..) => panic!("{} has no single numbers", self.name()),
        }
    }
}

/// Micikevicius et al., 2022, arXiv:2209.05433: exponents are biased by 7, and all ones are NaN.
fn f8_e4m3(byte: u8) -> f32 {
    let (exponent, fraction) = (i32::from(byte >> 3 & 15), f32::from(byte & 7));
    let size = match (exponent, byte & 7) {
        (15, 7) => f32::NAN,
        (0, _) => fraction / 512.0,
        _ => (1.0 + fraction / 8.0) * 2.0f32.powi(exponent - 7),
    };
    if byte & 0x80 == 0 { size } else { -size }
}

/// Looks at all numbers without a branch; only a tile with a bad one is looked at again.
pub(super) fn check(numbers: &[f32], limit: f32, at: usize) -> Option<Unusable> {
    let usable = |x: f32| x.abs() <= limit; // false for NaN
    if numbers.iter().fold(true, |all, x| all & usable(*x)) {
        return None;
    }
    let first = numbers.iter().position(|x| !usable(*x))?;
    let count = numbers.iter().filter(|x| !usable(**x)).count();
    Some(Unusable { first: at + first, value: numbers[first], count })
}

impl Unusable {
    /// Both together.
    pub fn merge(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => {
                let earlier = if a.first <= b.first { a } else { b };
                Some(Self { count: a.count + b.count, ..earlier })
            }
            (one, None) | (None, one) => one,
        }
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;

    fn bytes_of(numbers: &[f32], format: Format) -> Vec<u8> {
        match format {
            Format::F64 => numbers.iter().flat_map(|x| f64::from(*x).to_le_bytes()).collect(),
            Format::F32 => numbers.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Format::F16 => numbers.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect(),
            _ => numbers.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect(),
        }
    }

    #[test]
    fn every_format_keeps_its_numbers_from_any_place() {
        // small whole numbers are exact in every format
        let numbers: Vec<f32> = (0..3000).map(|n| (n % 251) as f32 - 125.0).collect();
        for format in [Format::F64, Format::F32, Format::F16, Format::Bf16] {
            let bytes = bytes_of(&numbers, format);
            for (first, len) in [(0, 3000), (0, 0), (3000, 0), (1, 255), (7, 256), (500, 257), (2999, 1)] {
                let mut out = vec![f32::NAN; len];
                assert_eq!(Table::new(&bytes, format).read(first, &mut out, f32::MAX), None);
                assert_eq!(out, numbers[first..first + len], "{format:?}, {len} from {first}");
            }
        }
    }

    #[test]
    fn blocks_are_read_from_any_place() {
        let (block, n) = (BlockType::Q4_1, 32);
        let bytes: Vec<u8> = (0..block.bytes() * 9).map(|at| (at * 37 % 59) as u8).collect();
        let mut all = vec![0.0; 9 * n];
        block.decode(&bytes, &mut all);
        for (first, len) in [(0, 288), (0, 0), (32, 64), (1, 286), (31, 2), (40, 8), (250, 38)] {
            let mut out = vec![f32::NAN; len];
            assert_eq!(Table::new(&bytes, Format::Block(block)).read(first, &mut out, f32::MAX), None);
            assert_eq!(out, all[first..first + len], "{len} from {first}");
        }
    }

    #[test]
    fn numbers_of_eight_bits() {
        let read = |format, bytes: &[u8]| {
            let mut out = vec![0.0; bytes.len()];
            Table::new(bytes, format).read(0, &mut out, f32::MAX);
            out
        };
        let e4m3 = read(Format::F8E4m3, &[0x00, 0x01, 0x07, 0x08, 0x38, 0xB8, 0x3C, 0x7E, 0x80]);
        assert_eq!(e4m3, [0.0, 1.0 / 512.0, 7.0 / 512.0, 1.0 / 64.0, 1.0, -1.0, 1.5, 448.0, -0.0]);
        let e5m2 = read(Format::F8E5m2, &[0x00, 0x01, 0x04, 0x3C, 0xBE, 0x7B]);
        assert_eq!(e5m2, [0.0, 2.0f32.powi(-16), 2.0f32.powi(-14), 1.0, -1.5, 57_344.0]);
        for (format, bytes) in [(Format::F8E4m3, [0x7F, 0xFF]), (Format::F8E5m2, [0x7C, 0xFF])] {
            let found = Table::new(&bytes, format).read(0, &mut [0.0; 2], f32::MAX).unwrap();
            assert_eq!((found.first, found.count), (0, 2), "{format:?}");
        }
    }

    #[test]
    fn unusable_numbers_are_found_wherever_they_are() {
        for (bad, limit) in [(f32::NAN, f32::MAX), (f32::NEG_INFINITY, f32::MAX), (1e30, 65_504.0)] {
            let mut numbers = vec![0.5; 2000];
            for at in [700, 1999] {
                numbers[at] = bad;
            }
            let bytes = bytes_of(&numbers, Format::F32);
            let mut out = vec![0.0; 1900];
            let found = Table::new(&bytes, Format::F32).read(100, &mut out, limit).unwrap();
            assert_eq!((found.first, found.count, found.value.to_bits()), (700, 2, bad.to_bits()));
            assert_eq!(Table::new(&bytes, Format::F32).read(0, &mut out[..700], limit), None);
        }
    }
}
