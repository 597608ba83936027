//! Values of the 32 lanes of a warp, and functions on them that a decoded instruction points to.

pub(crate) mod float;

use half::{bf16, f16};

/// Lanes of a warp.
pub(crate) const WARP: usize = 32;
/// All lanes of a warp.
pub(crate) const FULL: u32 = u32::MAX;

/// A register of every lane: its bits, zero-extended.
pub(crate) type Lanes = [u64; WARP];
/// What an arithmetic instruction computes from up to three operands.
pub(crate) type AluFn = fn(&Lanes, &Lanes, &Lanes) -> Lanes;
/// What a comparison answers: a bit per lane.
pub(crate) type CompareFn = fn(&Lanes, &Lanes) -> u32;

/// A type that a register's bits are read as.
pub(crate) trait Lane: Copy {
    /// The bits it takes.
    const BITS: u32;

    fn from_bits64(bits: u64) -> Self;
    fn bits64(self) -> u64;
}

macro_rules! integer_lane {
    ($($integer:ty as $unsigned:ty),*) => {$(
        impl Lane for $integer {
            const BITS: u32 = <$integer>::BITS;

            fn from_bits64(bits: u64) -> Self { bits as $integer }
            fn bits64(self) -> u64 { u64::from(self as $unsigned) }
        }
    )*};
}

integer_lane!(u8 as u8, u16 as u16, u32 as u32, u64 as u64, i8 as u8, i16 as u16, i32 as u32, i64 as u64);

macro_rules! float_lane {
    ($($float:ty as $bits:ty),*) => {$(
        impl Lane for $float {
            const BITS: u32 = <$bits>::BITS;

            fn from_bits64(bits: u64) -> Self { <$float>::from_bits(bits as $bits) }
            fn bits64(self) -> u64 { u64::from(self.to_bits()) }
        }
    )*};
}

float_lane!(f32 as u32, f64 as u64, f16 as u16, bf16 as u16);

/// Two floats in one register, the lower half first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair<T>(pub T, pub T);

impl<T: Lane> Lane for Pair<T> {
    const BITS: u32 = 2 * T::BITS;

    fn from_bits64(bits: u64) -> Self {
        Self(T::from_bits64(bits), T::from_bits64(bits >> T::BITS))
    }

    fn bits64(self) -> u64 {
        self.0.bits64() | self.1.bits64() << T::BITS
    }
}

/// A function on all lanes from an expression on one: `lanes!(u32: a, b, c => a + b)`.
macro_rules! lanes {
    ($lane:ty: $a:ident, $b:ident, $c:ident => $value:expr) => {{
        fn run(x: &$crate::lanes::Lanes, y: &$crate::lanes::Lanes, z: &$crate::lanes::Lanes) -> $crate::lanes::Lanes {
            use $crate::lanes::Lane as _;
            std::array::from_fn(|lane| {
                let $a = <$lane>::from_bits64(x[lane]);
                let $b = <$lane>::from_bits64(y[lane]);
                let $c = <$lane>::from_bits64(z[lane]);
                let _ = ($a, $b, $c);
                ($value).bits64()
            })
        }
        run as $crate::lanes::AluFn
    }};
}

/// The same for a comparison: `compare!(u32: a, b => a < b)`.
macro_rules! compare {
    ($lane:ty: $a:ident, $b:ident => $value:expr) => {{
        fn run(x: &$crate::lanes::Lanes, y: &$crate::lanes::Lanes) -> u32 {
            use $crate::lanes::Lane as _;
            let mut mask = 0;
            for lane in 0..$crate::lanes::WARP {
                let $a = <$lane>::from_bits64(x[lane]);
                let $b = <$lane>::from_bits64(y[lane]);
                mask |= u32::from($value) << lane;
            }
            mask
        }
        run as $crate::lanes::CompareFn
    }};
}

/// One expression for every integer type; untyped bits count as unsigned.
macro_rules! by_integer {
    ($kind:expr, $macro:ident, $($rest:tt)*) => {
        match $kind {
            Type::U8 | Type::B8 => Some($macro!(u8: $($rest)*)),
            Type::U16 | Type::B16 => Some($macro!(u16: $($rest)*)),
            Type::U32 | Type::B32 => Some($macro!(u32: $($rest)*)),
            Type::U64 | Type::B64 => Some($macro!(u64: $($rest)*)),
            Type::S16 => Some($macro!(i16: $($rest)*)),
            Type::S32 => Some($macro!(i32: $($rest)*)),
            Type::S64 => Some($macro!(i64: $($rest)*)),
            _ => None,
        }
    };
}

/// One expression for every float type, pairs included.
macro_rules! by_float {
    ($kind:expr, $macro:ident, $($rest:tt)*) => {
        match $kind {
            Type::F16 => Some($macro!(half::f16: $($rest)*)),
            Type::Bf16 => Some($macro!(half::bf16: $($rest)*)),
            Type::F16x2 => Some($macro!($crate::lanes::Pair<half::f16>: $($rest)*)),
            Type::Bf16x2 => Some($macro!($crate::lanes::Pair<half::bf16>: $($rest)*)),
            Type::F32x2 => Some($macro!($crate::lanes::Pair<f32>: $($rest)*)),
            Type::F32 => Some($macro!(f32: $($rest)*)),
            Type::F64 => Some($macro!(f64: $($rest)*)),
            _ => None,
        }
    };
}

pub(crate) use {by_float, by_integer, compare, lanes};

/// The lanes of a mask, lowest first.
pub(crate) fn lanes_of(mask: u32) -> impl Iterator<Item = usize> {
    let mut left = mask;
    std::iter::from_fn(move || {
        let lane = left.trailing_zeros() as usize;
        left &= left.wrapping_sub(1);
        (lane < WARP).then_some(lane)
    })
}

/// The lowest lane of a mask that is not empty.
pub(crate) fn first_lane(mask: u32) -> usize {
    mask.trailing_zeros() as usize % WARP
}
