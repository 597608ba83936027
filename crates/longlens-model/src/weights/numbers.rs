//! Stored numbers become f32, checked on the way.

use half::f16;
use half::slice::HalfFloatSliceExt;
use safetensors::Dtype;

/// A stored format that can be read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Format {
    F64,
    F32,
    F16,
    Bf16,
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
    pub fn new(bytes: &'a [u8], dtype: Dtype) -> Self {
        Self::of(bytes, dtype).unwrap_or_else(|| panic!("{dtype} was to be refused before"))
    }

    /// The same, where the format can be read.
    pub fn of(bytes: &'a [u8], dtype: Dtype) -> Option<Self> {
        Format::of(dtype).map(|format| Self { bytes, format })
    }

    /// Whether both hold the same `n_numbers`, as f32.
    pub fn is_equal(&self, other: &Self, n_numbers: usize) -> bool {
        let (mut ours, mut theirs) = ([0.0; PIECE], [0.0; PIECE]);
        (0..n_numbers).step_by(PIECE).all(|first| {
            let n = PIECE.min(n_numbers - first);
            self.read(first, &mut ours[..n], f32::MAX);
            other.read(first, &mut theirs[..n], f32::MAX);
            ours[..n].iter().zip(&theirs[..n]).all(|(a, b)| a.to_bits() == b.to_bits())
        })
    }

    /// Writes the numbers from `first` on to `out`; returns those whose magnitude is not up to `limit`.
    pub fn read(&self, first: usize, out: &mut [f32], limit: f32) -> Option<Unusable> {
        let size = self.format.size();
        let bytes = self.bytes[first * size..(first + out.len()) * size].chunks(PIECE * size);
        let mut unusable = None;
        for (piece, (out, bytes)) in out.chunks_mut(PIECE).zip(bytes).enumerate() {
            self.format.decode(bytes, out);
            unusable = Unusable::merge(unusable, check(out, limit, first + piece * PIECE));
        }
        unusable
    }
}

impl Format {
    pub fn of(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F64 => Some(Self::F64),
            Dtype::F32 => Some(Self::F32),
            Dtype::F16 => Some(Self::F16),
            Dtype::BF16 => Some(Self::Bf16),
            _ => None,
        }
    }

    fn size(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
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
        }
    }
}

/// Looks at all numbers without a branch; only a tile with a bad one is looked at again.
fn check(numbers: &[f32], limit: f32, at: usize) -> Option<Unusable> {
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

    fn bytes_of(numbers: &[f32], dtype: Dtype) -> Vec<u8> {
        match dtype {
            Dtype::F64 => numbers.iter().flat_map(|x| f64::from(*x).to_le_bytes()).collect(),
            Dtype::F32 => numbers.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Dtype::F16 => numbers.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect(),
            _ => numbers.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect(),
        }
    }

    #[test]
    fn every_format_keeps_its_numbers_from_any_place() {
        // small whole numbers are exact in every format
        let numbers: Vec<f32> = (0..3000).map(|n| (n % 251) as f32 - 125.0).collect();
        for dtype in [Dtype::F64, Dtype::F32, Dtype::F16, Dtype::BF16] {
            let bytes = bytes_of(&numbers, dtype);
            for (first, len) in [(0, 3000), (0, 0), (3000, 0), (1, 255), (7, 256), (500, 257), (2999, 1)] {
                let mut out = vec![f32::NAN; len];
                assert_eq!(Table::new(&bytes, dtype).read(first, &mut out, f32::MAX), None);
                assert_eq!(out, numbers[first..first + len], "{dtype}, {len} from {first}");
            }
        }
    }

    #[test]
    fn unusable_numbers_are_found_wherever_they_are() {
        for (bad, limit) in [(f32::NAN, f32::MAX), (f32::NEG_INFINITY, f32::MAX), (1e30, 65_504.0)] {
            let mut numbers = vec![0.5; 2000];
            for at in [700, 1999] {
                numbers[at] = bad;
            }
            let bytes = bytes_of(&numbers, Dtype::F32);
            let mut out = vec![0.0; 1900];
            let found = Table::new(&bytes, Dtype::F32).read(100, &mut out, limit).unwrap();
            assert_eq!((found.first, found.count, found.value.to_bits()), (700, 2, bad.to_bits()));
            assert_eq!(Table::new(&bytes, Dtype::F32).read(0, &mut out[..700], limit), None);
        }
    }
}
