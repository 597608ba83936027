//! `cvt`: conversions between types.

use half::{bf16, f16};

use super::Lower;
use crate::Error;
use crate::lanes::float::{Rounding, round_even, to_f32};
use crate::lanes::{AluFn, Pair, lanes};
use crate::op::{Op, Src};
use crate::syntax::{Operand, Type};

/// A conversion of one lane; `Op::Convert` carries it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conversion {
    from: Type,
    to: Type,
    /// A float becomes a whole number first (`.rni` and its like).
    whole: Option<fn(f64) -> f64>,
    rounding: Rounding,
    /// `.sat` of floats: into 0..=1.
    saturate: bool,
    relu: bool,
    flush: bool,
}

impl<'t> Lower<'t> {
    pub(super) fn conversion(&mut self, parts: &[&str], operands: &'t [Operand]) -> Result<Option<Op>, Error> {
        let types: Vec<Type> = parts.iter().filter_map(|part| Type::parse(part)).collect();
        let [to, from] = types[..] else { return self.unknown() };
        if !parts.contains(&"sat")
            && !parts.contains(&"pack")
            && let Some(run) = fast(to, from, parts)
        {
            return self.alu(&["cvt", "b64"], run, operands).map(Some);
        }
        let conversion = Conversion {
            from,
            to,
            whole: parts.iter().find_map(|part| whole(part)),
            rounding: parts.iter().find_map(|part| rounding(part)).unwrap_or(Rounding::Nearest),
            saturate: parts.contains(&"sat") && to.is_float(),
            relu: parts.contains(&"relu"),
            flush: parts.contains(&"ftz") && (from == Type::F32 || to == Type::F32),
        };
        let d = self.at(operands, 0)?;
        let d = self.dst(d)?;
        let a = self.at(operands, 1)?;
        let a = self.src(a)?;
        let b = operands.get(2).map_or(Ok(Src::Imm(0)), |operand| self.src(operand))?;
        Ok(Some(Op::Convert { conversion, d, a, b }))
    }
}

fn whole(part: &str) -> Option<fn(f64) -> f64> {
    Some(match part {
        "rni" => round_even,
        "rzi" => f64::trunc,
        "rmi" => f64::floor,
        "rpi" => f64::ceil,
        _ => return None,
    })
}

fn rounding(part: &str) -> Option<Rounding> {
    Some(match part {
        "rz" => Rounding::Zero,
        "rm" => Rounding::Down,
        "rp" => Rounding::Up,
        _ => return None,
    })
}

/// Conversions between integers, and the frequent ones of floats, without the way through f64.
fn fast(to: Type, from: Type, parts: &[&str]) -> Option<AluFn> {
    use Type::{B32, Bf16, Bf16x2, F16, F16x2, F32, S8, S16, S32, S64, U8, U16, U32, U64};
    let plain = parts.len() == 4 && parts[1] == "rn";
    Some(match (to, from) {
        (U8, from) if !from.is_float() => lanes!(u64: a, _b, _c => a as u8),
        (U64 | S64 | U32 | S32 | U16 | S16, U8) => lanes!(u64: a, _b, _c => a as u8),
        (U64 | S64 | U32 | S32 | U16 | S16, U16) => lanes!(u64: a, _b, _c => a as u16),
        (U64 | S64 | U32 | S32, U32 | B32) => lanes!(u64: a, _b, _c => a as u32),
        (U32 | S32, S32 | U64 | S64) => lanes!(u64: a, _b, _c => a as u32),
        (U64 | S64, U64 | S64) => lanes!(u64: a, _b, _c => a),
        (U64 | S64, S32) => lanes!(i32: a, _b, _c => i64::from(a)),
        (U64 | S64, S16) => lanes!(i16: a, _b, _c => i64::from(a)),
        (U64 | S64, S8) => lanes!(i8: a, _b, _c => i64::from(a)),
        (U32 | S32, S16) => lanes!(i16: a, _b, _c => i32::from(a)),
        (U32 | S32, S8) => lanes!(i8: a, _b, _c => i32::from(a)),
        (U16 | S16, S8) => lanes!(i8: a, _b, _c => i16::from(a)),
        (S8, from) if !from.is_float() => lanes!(u64: a, _b, _c => i64::from(a as i8)),
        (U16 | S16, S16 | U32 | S32 | U64 | S64) => lanes!(u64: a, _b, _c => a as u16),
        (Bf16, F32) if plain => lanes!(f32: a, _b, _c => bf16::from_f32(a)),
        (F16, F32) if plain => lanes!(f32: a, _b, _c => f16::from_f32(a)),
        // the first operand becomes the upper half
        (Bf16x2, F32) if plain => lanes!(f32: a, b, _c => Pair(bf16::from_f32(b), bf16::from_f32(a))),
        (F16x2, F32) if plain => lanes!(f32: a, b, _c => Pair(f16::from_f32(b), f16::from_f32(a))),
        (F32, Bf16) => lanes!(u64: a, _b, _c => (a as u32) << 16),
        (F32, F16) => lanes!(f16: a, _b, _c => a.to_f32()),
        (F32, S32) if parts.contains(&"rn") => lanes!(i32: a, _b, _c => a as f32),
        (F32, U32) if parts.contains(&"rn") => lanes!(u32: a, _b, _c => a as f32),
        (F32, S64) if parts.contains(&"rn") => lanes!(i64: a, _b, _c => a as f32),
        (F32, U64) if parts.contains(&"rn") => lanes!(u64: a, _b, _c => a as f32),
        _ => return None,
    })
}

impl Conversion {
    /// The result of one lane.
    pub(crate) fn run(&self, a: u64, b: u64) -> u64 {
        match self.to {
            // the first operand becomes the upper half
            Type::F16x2 => self.one(Type::F16, b) | self.one(Type::F16, a) << 16,
            Type::Bf16x2 => self.one(Type::Bf16, b) | self.one(Type::Bf16, a) << 16,
            to => self.one(to, a),
        }
    }

    fn one(&self, to: Type, bits: u64) -> u64 {
        if !self.from.is_float() && !to.is_float() {
            return clamp_integer(integer(self.from, bits), to);
        }
        let bits = if self.flush { crate::lanes::float::flush(bits) } else { bits };
        let mut value = if self.from.is_float() { float(self.from, bits) } else { integer(self.from, bits) as f64 };
        if let Some(whole) = self.whole {
            value = whole(value);
        }
        if self.saturate {
            value = if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) };
        }
        if self.relu {
            // NaN becomes zero as well
            value = value.max(0.0);
        }
        if !to.is_float() {
            return clamp_integer(value as i128, to);
        }
        encode(to, value, self.rounding)
    }
}

fn integer(kind: Type, bits: u64) -> i128 {
    match kind {
        Type::S8 => i128::from(bits as i8),
        Type::S16 => i128::from(bits as i16),
        Type::S32 => i128::from(bits as i32),
        Type::S64 => i128::from(bits as i64),
        _ => i128::from(bits & (u64::MAX >> (64 - 8 * kind.bytes()))),
    }
}

/// The nearest value that the type holds.
fn clamp_integer(value: i128, to: Type) -> u64 {
    let bits = 8 * to.bytes() as u32;
    let (low, high) =
        if to.is_signed() { (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1) } else { (0, (1i128 << bits) - 1) };
    value.clamp(low, high) as u64 & (u64::MAX >> (64 - bits.max(if to == Type::S8 { 32 } else { bits })))
}

fn float(kind: Type, bits: u64) -> f64 {
    match kind {
        Type::F16 => f16::from_bits(bits as u16).to_f64(),
        Type::Bf16 => bf16::from_bits(bits as u16).to_f64(),
        Type::F64 => f64::from_bits(bits),
        _ => f64::from(f32::from_bits(bits as u32)),
    }
}

fn encode(to: Type, value: f64, rounding: Rounding) -> u64 {
    match to {
        Type::F64 => value.to_bits(),
        Type::F32 => u64::from(to_f32(value, rounding).to_bits()),
        Type::F16 => u64::from(half_toward(f16::from_f64(value), value, rounding)),
        // toward zero is a cut, as bfloat16 is the upper half of f32
        Type::Bf16 if rounding == Rounding::Zero => u64::from((value as f32).to_bits() >> 16),
        Type::Bf16 => u64::from(bf16::from_f64(value).to_bits()),
        // 10 bits of fraction, ties away from zero
        Type::Tf32 => u64::from((value as f32).to_bits().wrapping_add(0x1000) & 0xffff_e000),
        _ => 0,
    }
}

fn half_toward(nearest: f16, value: f64, rounding: Rounding) -> u16 {
    let too_large = nearest.to_f64().abs() > value.abs();
    nearest.to_bits() - u16::from(rounding == Rounding::Zero && too_large)
}
