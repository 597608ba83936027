//! Comparisons, selection, and logic of predicates.

use std::cmp::Ordering;

use super::Lower;
use super::arithmetic::type_of;
use crate::Error;
use crate::lanes::{CompareFn, by_integer, compare, lanes};
use crate::op::{Logic, Op, Pred, SINK, SetP, Src};
use crate::syntax::{Operand, Type};

impl<'t> Lower<'t> {
    pub(super) fn predicates(&mut self, parts: &[&str], operands: &'t [Operand]) -> Result<Option<Op>, Error> {
        match parts[0] {
            "setp" => self.set_predicate(parts, operands).map(Some),
            "set" => self.set_value(parts, operands).map(Some),
            "testp" => self.test(parts, operands).map(Some),
            "slct" => self.select_by_sign(parts, operands).map(Some),
            "selp" => {
                let [d, a, b, p] = operands else { return self.unknown() };
                let (d, a, b, p) = (self.dst(d)?, self.src(a)?, self.src(b)?, self.pred(p)?);
                Ok(Some(Op::Select { d, a, b, p }))
            }
            name => {
                let logic = match name {
                    "and" => Logic::And,
                    "or" => Logic::Or,
                    "xor" => Logic::Xor,
                    "not" => Logic::Not,
                    "mov" => Logic::Move,
                    _ => return self.unknown(),
                };
                let d = self.at(operands, 0)?;
                let d = self.pred_dst(d)?;
                let a = self.at(operands, 1)?;
                let a = self.pred(a)?;
                let b = operands.get(2).map_or(Ok(Pred::Const(false)), |operand| self.pred(operand))?;
                Ok(Some(Op::Logic { logic, d, a, b }))
            }
        }
    }

    /// `setp.cmp[.bool].type p|q, a, b[, c]`
    fn set_predicate(&mut self, parts: &[&str], operands: &'t [Operand]) -> Result<Op, Error> {
        let Some(kind) = type_of(parts) else { return self.unknown() };
        // of two f16 in one register, each half has its own answer
        let halves = matches!(kind, Type::F16x2 | Type::Bf16x2);
        let (target, a, b) = (self.at(operands, 0)?, self.at(operands, 1)?, self.at(operands, 2)?);
        let (d, complement) = match target {
            Operand::Pair(d, complement) => (self.pred_dst(d)?, self.pred_dst(complement)?),
            d => (self.pred_dst(d)?, SINK),
        };
        let (a, b) = (self.src(a)?, self.src(b)?);
        let flush = kind == Type::F32 && parts.contains(&"ftz");
        if halves {
            return self.set_predicate_halves(parts[1], kind, d, complement, a, b);
        }
        let Some(run) = comparison(parts[1], kind) else { return self.unknown() };
        let combine = match (parts[2], operands.get(3)) {
            ("and", Some(operand)) => Some((Logic::And, self.pred(operand)?)),
            ("or", Some(operand)) => Some((Logic::Or, self.pred(operand)?)),
            ("xor", Some(operand)) => Some((Logic::Xor, self.pred(operand)?)),
            (_, Some(_)) => return self.unknown(),
            (_, None) => None,
        };
        Ok(Op::SetP(SetP { run, d, complement, a, b, flush, combine }))
    }

    fn set_predicate_halves(
        &mut self,
        name: &str,
        kind: Type,
        low: u32,
        high: u32,
        a: Src,
        b: Src,
    ) -> Result<Op, Error> {
        let element = if kind == Type::F16x2 { Type::F16 } else { Type::Bf16 };
        let Some(run) = comparison(name, element) else { return self.unknown() };
        let (a_high, b_high) = (self.scratch(), self.scratch());
        let (a_low, b_low) = (self.scratch(), self.scratch());
        self.push(Op::Unpack { d: vec![a_low, a_high], a, bits: 16 });
        self.push(Op::Unpack { d: vec![b_low, b_high], a: b, bits: 16 });
        let compare = |d, a, b| {
            Op::SetP(SetP { run, d, complement: SINK, a: Src::Reg(a), b: Src::Reg(b), flush: false, combine: None })
        };
        self.push(compare(low, a_low, b_low));
        Ok(compare(high, a_high, b_high))
    }

    /// `set.cmp.dtype.stype d, a, b`: ones or 1.0 where the comparison holds.
    fn set_value(&mut self, parts: &[&str], operands: &'t [Operand]) -> Result<Op, Error> {
        let types: Vec<Type> = parts.iter().filter_map(|part| Type::parse(part)).collect();
        let ([to, from], [d, a, b]) = (&types[..], operands) else { return self.unknown() };
        let (d, a, b) = (self.dst(d)?, self.src(a)?, self.src(b)?);
        if matches!(from, Type::F16x2 | Type::Bf16x2) {
            let one = if *to == Type::F16x2 {
                0x3c00
            } else if *to == Type::Bf16x2 {
                0x3f80
            } else {
                0xffff
            };
            return self.set_halves(parts[1], *from, one, (d, a, b));
        }
        let Some(run) = comparison(parts[1], *from) else { return self.unknown() };
        self.out.predicates += 1;
        let p = self.out.predicates as u32 - 1;
        self.push(Op::SetP(SetP { run, d: p, complement: SINK, a, b, flush: false, combine: None }));
        let one = match to {
            Type::F32 => u64::from(1f32.to_bits()),
            Type::F16 => 0x3c00,
            Type::Bf16 => 0x3f80,
            Type::U16 | Type::S16 => 0xffff,
            _ => 0xffff_ffff,
        };
        Ok(Op::Select { d, a: Src::Imm(one), b: Src::Imm(0), p: Pred::Reg { slot: p, negated: false } })
    }

    fn set_halves(&mut self, name: &str, kind: Type, one: u64, (d, a, b): (u32, Src, Src)) -> Result<Op, Error> {
        let (low, high) = (self.out.predicates as u32, self.out.predicates as u32 + 1);
        self.out.predicates += 2;
        let last = self.set_predicate_halves(name, kind, low, high, a, b)?;
        self.push(last);
        let mut parts = Vec::new();
        for slot in [low, high] {
            let half = self.scratch();
            self.push(Op::Select { d: half, a: Src::Imm(one), b: Src::Imm(0), p: Pred::Reg { slot, negated: false } });
            parts.push(Src::Reg(half));
        }
        Ok(Op::Pack { d, parts, bits: 16 })
    }

    /// `testp.op.type p, a`
    fn test(&mut self, parts: &[&str], operands: &'t [Operand]) -> Result<Op, Error> {
        let ([d, a], Some(kind)) = (operands, type_of(parts)) else { return self.unknown() };
        let Some(run) = property(parts[1], kind) else { return self.unknown() };
        let (d, a) = (self.pred_dst(d)?, self.src(a)?);
        Ok(Op::SetP(SetP { run, d, complement: SINK, a, b: Src::Imm(0), flush: false, combine: None }))
    }

    fn select_by_sign(&mut self, parts: &[&str], operands: &'t [Operand]) -> Result<Op, Error> {
        let run = match parts.last() {
            Some(&"f32") => lanes!(u64: a, b, c => if f32::from_bits(c as u32) >= 0.0 { a } else { b }),
            Some(&"s32") => lanes!(u64: a, b, c => if (c as u32).cast_signed() >= 0 { a } else { b }),
            _ => return self.unknown(),
        };
        self.alu(&["slct", "b64"], run, operands)
    }
}

/// The function of a property's name.
fn property(name: &str, kind: Type) -> Option<CompareFn> {
    macro_rules! of {
        ($float:ty) => {
            Some(match name {
                "finite" => compare!($float: a, _b => a.is_finite()),
                "infinite" => compare!($float: a, _b => a.is_infinite()),
                "number" => compare!($float: a, _b => !a.is_nan()),
                "notanumber" => compare!($float: a, _b => a.is_nan()),
                "normal" => compare!($float: a, _b => a.is_normal()),
                "subnormal" => compare!($float: a, _b => a.is_subnormal()),
                _ => return None,
            })
        };
    }
    match kind {
        Type::F32 => of!(f32),
        Type::F64 => of!(f64),
        _ => None,
    }
}

/// The function of a comparison's name.
fn comparison(name: &str, kind: Type) -> Option<CompareFn> {
    match kind {
        Type::F32 => float_comparison!(f32, name),
        Type::F64 => float_comparison!(f64, name),
        Type::F16 => float_comparison!(half::f16, name),
        Type::Bf16 => float_comparison!(half::bf16, name),
        _ => integer_comparison(name, kind),
    }
}

fn integer_comparison(name: &str, kind: Type) -> Option<CompareFn> {
    match name {
        "eq" => by_integer!(kind, compare, a, b => a == b),
        "ne" => by_integer!(kind, compare, a, b => a != b),
        "lt" | "lo" => by_integer!(kind, compare, a, b => a < b),
        "le" | "ls" => by_integer!(kind, compare, a, b => a <= b),
        "gt" | "hi" => by_integer!(kind, compare, a, b => a > b),
        "ge" | "hs" => by_integer!(kind, compare, a, b => a >= b),
        _ => None,
    }
}

/// Comparisons of floats: with `u` behind the name, NaN on either side answers yes.
macro_rules! float_comparison {
    ($float:ty, $name:expr) => {
        Some(match $name {
            "eq" => compare!($float: a, b => a.partial_cmp(&b).is_some_and(Ordering::is_eq)),
            "ne" => compare!($float: a, b => a.partial_cmp(&b).is_some_and(Ordering::is_ne)),
            "lt" => compare!($float: a, b => a.partial_cmp(&b).is_some_and(Ordering::is_lt)),
            "le" => compare!($float: a, b => a.partial_cmp(&b).is_some_and(Ordering::is_le)),
            "gt" => compare!($float: a, b => a.partial_cmp(&b).is_some_and(Ordering::is_gt)),
            "ge" => compare!($float: a, b => a.partial_cmp(&b).is_some_and(Ordering::is_ge)),
            "equ" => compare!($float: a, b => a.partial_cmp(&b).is_none_or(Ordering::is_eq)),
            "neu" => compare!($float: a, b => a.partial_cmp(&b).is_none_or(Ordering::is_ne)),
            "ltu" => compare!($float: a, b => a.partial_cmp(&b).is_none_or(Ordering::is_lt)),
            "leu" => compare!($float: a, b => a.partial_cmp(&b).is_none_or(Ordering::is_le)),
            "gtu" => compare!($float: a, b => a.partial_cmp(&b).is_none_or(Ordering::is_gt)),
            "geu" => compare!($float: a, b => a.partial_cmp(&b).is_none_or(Ordering::is_ge)),
            "num" => compare!($float: a, b => a.partial_cmp(&b).is_some()),
            "nan" => compare!($float: a, b => a.partial_cmp(&b).is_none()),
            _ => return None,
        })
    };
}
use float_comparison;
