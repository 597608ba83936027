//! Arithmetic on floats as the instructions define it.

use half::{bf16, f16};

use super::Pair;

/// A float type, or a pair of floats.
pub(crate) trait Float: Copy {
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    /// `self * b + c`, rounded once.
    fn fma(self, b: Self, c: Self) -> Self;
    /// The smaller one; a number wins over NaN.
    fn min(self, other: Self) -> Self;
    fn max(self, other: Self) -> Self;
    fn abs(self) -> Self;
    fn neg(self) -> Self;
    fn is_nan(self) -> bool;
    /// A function of one number, computed in f64.
    fn map(self, function: fn(f64) -> f64) -> Self;

    /// The smaller one; NaN wins over a number (`min.NaN`).
    fn min_nan(self, other: Self) -> Self {
        if self.is_nan() || other.is_nan() { self.map(|_| f64::NAN) } else { self.min(other) }
    }

    fn max_nan(self, other: Self) -> Self {
        if self.is_nan() || other.is_nan() { self.map(|_| f64::NAN) } else { self.max(other) }
    }

    /// Negative numbers and NaN become zero (`.relu`).
    fn relu(self) -> Self {
        self.max(self.map(|_| 0.0))
    }
}

macro_rules! native_float {
    ($($float:ty),*) => {$(
        impl Float for $float {
            fn add(self, other: Self) -> Self { self + other }
            fn sub(self, other: Self) -> Self { self - other }
            fn mul(self, other: Self) -> Self { self * other }
            fn div(self, other: Self) -> Self { self / other }
            fn fma(self, b: Self, c: Self) -> Self { self.mul_add(b, c) }
            fn min(self, other: Self) -> Self { <$float>::min(self, other) }
            fn max(self, other: Self) -> Self { <$float>::max(self, other) }
            fn abs(self) -> Self { <$float>::abs(self) }
            fn neg(self) -> Self { -self }
            fn is_nan(self) -> bool { <$float>::is_nan(self) }
            fn map(self, function: fn(f64) -> f64) -> Self { function(f64::from(self)) as $float }
        }
    )*};
}

native_float!(f32, f64);

// one operation of two 16-bit floats in f32, rounded to 16 bits, is rounded as if once
macro_rules! half_float {
    ($($float:ty),*) => {$(
        impl Float for $float {
            fn add(self, other: Self) -> Self { Self::from_f32(self.to_f32() + other.to_f32()) }
            fn sub(self, other: Self) -> Self { Self::from_f32(self.to_f32() - other.to_f32()) }
            fn mul(self, other: Self) -> Self { Self::from_f32(self.to_f32() * other.to_f32()) }
            fn div(self, other: Self) -> Self { Self::from_f32(self.to_f32() / other.to_f32()) }
            fn fma(self, b: Self, c: Self) -> Self { Self::from_f64(self.to_f64() * b.to_f64() + c.to_f64()) }
            fn min(self, other: Self) -> Self { Self::from_f32(self.to_f32().min(other.to_f32())) }
            fn max(self, other: Self) -> Self { Self::from_f32(self.to_f32().max(other.to_f32())) }
            fn abs(self) -> Self { Self::from_bits(self.to_bits() & 0x7fff) }
            fn neg(self) -> Self { Self::from_bits(self.to_bits() ^ 0x8000) }
            fn is_nan(self) -> bool { <$float>::is_nan(self) }
            fn map(self, function: fn(f64) -> f64) -> Self { Self::from_f64(function(self.to_f64())) }
        }
    )*};
}

half_float!(f16, bf16);

impl<T: Float> Float for Pair<T> {
    fn add(self, other: Self) -> Self {
        Self(self.0.add(other.0), self.1.add(other.1))
    }

    fn sub(self, other: Self) -> Self {
        Self(self.0.sub(other.0), self.1.sub(other.1))
    }

    fn mul(self, other: Self) -> Self {
        Self(self.0.mul(other.0), self.1.mul(other.1))
    }

    fn div(self, other: Self) -> Self {
        Self(self.0.div(other.0), self.1.div(other.1))
    }

    fn fma(self, b: Self, c: Self) -> Self {
        Self(self.0.fma(b.0, c.0), self.1.fma(b.1, c.1))
    }

    fn min(self, other: Self) -> Self {
        Self(self.0.min(other.0), self.1.min(other.1))
    }

    fn max(self, other: Self) -> Self {
        Self(self.0.max(other.0), self.1.max(other.1))
    }

    fn abs(self) -> Self {
        Self(self.0.abs(), self.1.abs())
    }

    fn neg(self) -> Self {
        Self(self.0.neg(), self.1.neg())
    }

    fn is_nan(self) -> bool {
        self.0.is_nan() || self.1.is_nan()
    }

    fn map(self, function: fn(f64) -> f64) -> Self {
        Self(self.0.map(function), self.1.map(function))
    }

    fn min_nan(self, other: Self) -> Self {
        Self(self.0.min_nan(other.0), self.1.min_nan(other.1))
    }

    fn max_nan(self, other: Self) -> Self {
        Self(self.0.max_nan(other.0), self.1.max_nan(other.1))
    }
}

/// Zero in place of numbers too small for a normal f32 (`.ftz`).
pub(crate) fn flush(bits: u64) -> u64 {
    if bits & 0x7f80_0000 == 0 { bits & 0x8000_0000 } else { bits }
}

/// How a result is rounded that is no whole number of last places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounding {
    Nearest,
    Zero,
    Down,
    Up,
}

/// The f32 that a number is rounded to.
pub(crate) fn to_f32(value: f64, rounding: Rounding) -> f32 {
    let nearest = value as f32;
    let is_above = f64::from(nearest) > value;
    let is_below = f64::from(nearest) < value;
    match rounding {
        Rounding::Down if is_above => nearest.next_down(),
        Rounding::Up if is_below => nearest.next_up(),
        Rounding::Zero if is_above && value > 0.0 => nearest.next_down(),
        Rounding::Zero if is_below && value < 0.0 => nearest.next_up(),
        _ => nearest,
    }
}

/// A sum whose last bit is set where it is not exact, so that rounding it once more, in any direction, gives what
/// rounding the exact sum would.
pub(crate) fn sum_to_odd(a: f64, b: f64) -> f64 {
    let sum = a + b;
    let rounded = sum - a;
    let error = (a - (sum - rounded)) + (b - rounded);
    if error == 0.0 || !error.is_finite() || sum.to_bits() & 1 == 1 {
        return sum;
    }
    if error > 0.0 { sum.next_up() } else { sum.next_down() }
}

/// Round half to even, as `cvt.rni` does.
pub(crate) fn round_even(value: f64) -> f64 {
    value.round_ties_even()
}
