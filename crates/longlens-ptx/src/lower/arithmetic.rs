//! Arithmetic on integers and floats.

use super::{Lower, bits};
use crate::Error;
use crate::lanes::float::{Float, Rounding, sum_to_odd, to_f32};
use crate::lanes::{AluFn, by_float, by_integer, lanes};
use crate::op::{Alu, Carry, CarryKind, FourFn, Op, Src};
use crate::syntax::{Operand, Type};

/// The type an instruction ends with, and the words between name and type.
pub(super) fn type_of(parts: &[&str]) -> Option<Type> {
    parts.iter().rev().find_map(|part| Type::parse(part))
}

impl<'t> Lower<'t> {
    pub(super) fn arithmetic(&mut self, parts: &[&str], operands: &'t [Operand]) -> Result<Option<Op>, Error> {
        let Some(kind) = type_of(parts) else { return self.unknown() };
        if parts.contains(&"cc") || matches!(parts[0], "addc" | "subc" | "madc") {
            return self.carry(parts, kind, operands).map(Some);
        }
        if matches!(parts[0], "bfi" | "lop3") {
            return self.four(parts[0], kind, operands).map(Some);
        }
        let run = if operands.len() == 4 && matches!(parts[0], "min" | "max") {
            best_of_three(parts, kind)
        } else if kind.is_float() {
            float_function(parts, kind)
        } else {
            integer_function(parts, kind).or_else(|| bits::function(parts, kind))
        };
        let Some(run) = run else { return self.unknown() };
        self.alu(parts, run, operands).map(Some)
    }

    /// An instruction whose first operand is the result and whose others are read.
    pub(super) fn alu(&mut self, parts: &[&str], run: AluFn, operands: &'t [Operand]) -> Result<Op, Error> {
        let d = self.at(operands, 0)?;
        let d = self.dst(d)?;
        let mut read = [Src::Imm(0); 3];
        for (place, operand) in read.iter_mut().zip(operands.iter().skip(1)) {
            *place = self.src(operand)?;
        }
        let [a, b, c] = read;
        let single = type_of(parts) == Some(Type::F32);
        let flush = single && parts.contains(&"ftz");
        Ok(Op::Alu(Alu { run, d, a, b, c, flush, saturate: single && parts.contains(&"sat") }))
    }

    fn four(&mut self, name: &str, kind: Type, operands: &'t [Operand]) -> Result<Op, Error> {
        let run: FourFn = match (name, kind.bytes()) {
            ("lop3", 4) => |a, b, c, table| u64::from(bits::look_up(a as u32, b as u32, c as u32, table as u32)),
            ("bfi", 4) => |a, b, start, length| bits::insert(a, b, start, length, 32) & 0xffff_ffff,
            ("bfi", 8) => |a, b, start, length| bits::insert(a, b, start, length, 64),
            _ => return self.unknown(),
        };
        let d = self.at(operands, 0)?;
        let d = self.dst(d)?;
        let mut read = [Src::Imm(0); 4];
        for (index, place) in read.iter_mut().enumerate() {
            let operand = self.at(operands, index + 1)?;
            *place = self.src(operand)?;
        }
        Ok(Op::Four { run, d, operands: read })
    }

    fn carry(&mut self, parts: &[&str], kind: Type, operands: &'t [Operand]) -> Result<Op, Error> {
        let carry = match (parts[0], parts.get(1).copied()) {
            ("add" | "addc", _) => CarryKind::Add,
            ("sub" | "subc", _) => CarryKind::Sub,
            ("mad" | "madc", Some("lo")) => CarryKind::MadLo,
            ("mad" | "madc", Some("hi")) => CarryKind::MadHi,
            _ => return self.unknown(),
        };
        let Op::Alu(alu) = self.alu(parts, lanes!(u64: a, _b, _c => a), operands)? else { return self.unknown() };
        Ok(Op::Carry(Carry {
            kind: carry,
            d: alu.d,
            a: alu.a,
            b: alu.b,
            c: alu.c,
            reads: parts[0].ends_with('c'),
            writes: parts.contains(&"cc"),
            bytes: kind.bytes(),
        }))
    }
}

fn integer_function(parts: &[&str], kind: Type) -> Option<AluFn> {
    match (parts[0], parts.get(1).copied().unwrap_or("")) {
        ("add", _) if parts.contains(&"sat") => Some(lanes!(i32: a, b, _c => a.saturating_add(b))),
        ("sub", _) if parts.contains(&"sat") => Some(lanes!(i32: a, b, _c => a.saturating_sub(b))),
        ("add", _) => by_integer!(kind, lanes, a, b, _c => a.wrapping_add(b)),
        ("sub", _) => by_integer!(kind, lanes, a, b, _c => a.wrapping_sub(b)),
        ("mul", "lo") => by_integer!(kind, lanes, a, b, _c => a.wrapping_mul(b)),
        ("mad", "lo") => by_integer!(kind, lanes, a, b, c => a.wrapping_mul(b).wrapping_add(c)),
        ("mul" | "mad", "hi") => high(kind),
        ("mul" | "mad", "wide") => wide(kind),
        ("mul24" | "mad24", "lo") if kind == Type::U32 => {
            Some(lanes!(u32: a, b, c => (a & 0xff_ffff).wrapping_mul(b & 0xff_ffff).wrapping_add(c)))
        }
        ("mul24" | "mad24", "lo") => {
            Some(lanes!(i32: a, b, c => (a << 8 >> 8).wrapping_mul(b << 8 >> 8).wrapping_add(c)))
        }
        ("sad", _) => by_integer!(kind, lanes, a, b, c => c.wrapping_add(a.abs_diff(b) as _)),
        // a division by zero gives all ones, as cards do
        ("div", _) => by_integer!(kind, lanes, a, b, _c => if b == 0 { !b } else { a.wrapping_div(b) }),
        ("rem", _) => by_integer!(kind, lanes, a, b, _c => if b == 0 { a } else { a.wrapping_rem(b) }),
        ("min", _) => by_integer!(kind, lanes, a, b, _c => a.min(b)),
        ("max", _) => by_integer!(kind, lanes, a, b, _c => a.max(b)),
        ("neg", _) => by_integer!(kind, lanes, a, _b, _c => a.wrapping_neg()),
        ("abs", _) => match kind {
            Type::S16 => Some(lanes!(i16: a, _b, _c => a.wrapping_abs())),
            Type::S32 => Some(lanes!(i32: a, _b, _c => a.wrapping_abs())),
            Type::S64 => Some(lanes!(i64: a, _b, _c => a.wrapping_abs())),
            _ => None,
        },
        _ => None,
    }
}

/// The upper half of a product, with the third operand added for `mad` (it is zero otherwise).
fn high(kind: Type) -> Option<AluFn> {
    Some(match kind {
        Type::U16 => lanes!(u16: a, b, c => ((u32::from(a) * u32::from(b)) >> 16).wrapping_add(u32::from(c)) as u16),
        Type::S16 => lanes!(i16: a, b, c => ((i32::from(a) * i32::from(b)) >> 16).wrapping_add(i32::from(c)) as i16),
        Type::U32 => lanes!(u32: a, b, c => (((u64::from(a) * u64::from(b)) >> 32) as u32).wrapping_add(c)),
        Type::S32 => lanes!(i32: a, b, c => (((i64::from(a) * i64::from(b)) >> 32) as i32).wrapping_add(c)),
        Type::U64 => lanes!(u64: a, b, c => (((u128::from(a) * u128::from(b)) >> 64) as u64).wrapping_add(c)),
        Type::S64 => lanes!(i64: a, b, c => (((i128::from(a) * i128::from(b)) >> 64) as i64).wrapping_add(c)),
        _ => return None,
    })
}

/// A product of twice the width; the sum of `mad.wide` has that width too.
fn wide(kind: Type) -> Option<AluFn> {
    Some(match kind {
        Type::U16 => lanes!(u64: a, b, c => (u32::from(a as u16) * u32::from(b as u16)).wrapping_add(c as u32)),
        Type::S16 => lanes!(u64: a, b, c => (i32::from(a as i16) * i32::from(b as i16)).wrapping_add(c as i32)),
        Type::U32 => lanes!(u64: a, b, c => (u64::from(a as u32) * u64::from(b as u32)).wrapping_add(c)),
        Type::S32 => lanes!(u64: a, b, c => (i64::from(a as i32) * i64::from(b as i32)).wrapping_add(c as i64)),
        _ => return None,
    })
}

fn float_function(parts: &[&str], kind: Type) -> Option<AluFn> {
    let nan = parts.contains(&"NaN");
    let directed = parts.iter().find_map(|part| match *part {
        "rz" => Some(Rounding::Zero),
        "rm" => Some(Rounding::Down),
        "rp" => Some(Rounding::Up),
        _ => None,
    });
    if let Some(rounding) = directed.filter(|_| kind == Type::F32) {
        return directed_function(parts[0], rounding);
    }
    match parts[0] {
        "fma" | "mad" if parts.contains(&"relu") => by_float!(kind, lanes, a, b, c => a.fma(b, c).relu()),
        "add" => by_float!(kind, lanes, a, b, _c => Float::add(a, b)),
        "sub" => by_float!(kind, lanes, a, b, _c => Float::sub(a, b)),
        "mul" => by_float!(kind, lanes, a, b, _c => Float::mul(a, b)),
        "fma" | "mad" => by_float!(kind, lanes, a, b, c => a.fma(b, c)),
        "div" => by_float!(kind, lanes, a, b, _c => Float::div(a, b)),
        "min" if nan => by_float!(kind, lanes, a, b, _c => a.min_nan(b)),
        "max" if nan => by_float!(kind, lanes, a, b, _c => a.max_nan(b)),
        "min" => by_float!(kind, lanes, a, b, _c => Float::min(a, b)),
        "max" => by_float!(kind, lanes, a, b, _c => Float::max(a, b)),
        "abs" => by_float!(kind, lanes, a, _b, _c => Float::abs(a)),
        "neg" => by_float!(kind, lanes, a, _b, _c => Float::neg(a)),
        name => function_of_one(name, kind),
    }
}

/// `min` and `max` of three floats.
fn best_of_three(parts: &[&str], kind: Type) -> Option<AluFn> {
    match (parts[0], parts.contains(&"NaN")) {
        ("min", false) => by_float!(kind, lanes, a, b, c => Float::min(Float::min(a, b), c)),
        ("max", false) => by_float!(kind, lanes, a, b, c => Float::max(Float::max(a, b), c)),
        ("min", true) => by_float!(kind, lanes, a, b, c => a.min_nan(b).min_nan(c)),
        _ => by_float!(kind, lanes, a, b, c => a.max_nan(b).max_nan(c)),
    }
}

/// Functions of one number; the approximate ones are computed exactly and rounded.
fn function_of_one(name: &str, kind: Type) -> Option<AluFn> {
    match name {
        "rcp" => by_float!(kind, lanes, a, _b, _c => a.map(f64::recip)),
        "sqrt" => by_float!(kind, lanes, a, _b, _c => a.map(f64::sqrt)),
        "rsqrt" => by_float!(kind, lanes, a, _b, _c => a.map(|x| x.sqrt().recip())),
        "ex2" if kind == Type::F32 => Some(lanes!(f32: a, _b, _c => a.exp2())),
        "ex2" => by_float!(kind, lanes, a, _b, _c => a.map(f64::exp2)),
        "lg2" => by_float!(kind, lanes, a, _b, _c => a.map(f64::log2)),
        "sin" => by_float!(kind, lanes, a, _b, _c => a.map(f64::sin)),
        "cos" => by_float!(kind, lanes, a, _b, _c => a.map(f64::cos)),
        "tanh" => by_float!(kind, lanes, a, _b, _c => a.map(f64::tanh)),
        "copysign" if kind == Type::F32 => Some(lanes!(f32: a, b, _c => b.copysign(a))),
        "copysign" if kind == Type::F64 => Some(lanes!(f64: a, b, _c => b.copysign(a))),
        _ => None,
    }
}

/// f32 arithmetic that is rounded toward zero, down or up.
fn directed_function(name: &str, rounding: Rounding) -> Option<AluFn> {
    macro_rules! directed {
        ($a:ident, $b:ident, $c:ident => $value:expr) => {
            match rounding {
                Rounding::Zero => lanes!(f32: $a, $b, $c => to_f32($value, Rounding::Zero)),
                Rounding::Down => lanes!(f32: $a, $b, $c => to_f32($value, Rounding::Down)),
                Rounding::Up => lanes!(f32: $a, $b, $c => to_f32($value, Rounding::Up)),
                Rounding::Nearest => lanes!(f32: $a, $b, $c => to_f32($value, Rounding::Nearest)),
            }
        };
    }
    Some(match name {
        "add" => directed!(a, b, _c => sum_to_odd(f64::from(a), f64::from(b))),
        "sub" => directed!(a, b, _c => sum_to_odd(f64::from(a), -f64::from(b))),
        "mul" => directed!(a, b, _c => f64::from(a) * f64::from(b)),
        "fma" | "mad" => directed!(a, b, c => sum_to_odd(f64::from(a) * f64::from(b), f64::from(c))),
        "div" => directed!(a, b, _c => f64::from(a) / f64::from(b)),
        "rcp" => directed!(a, _b, _c => f64::from(a).recip()),
        "sqrt" => directed!(a, _b, _c => f64::from(a).sqrt()),
        _ => return None,
    })
}
