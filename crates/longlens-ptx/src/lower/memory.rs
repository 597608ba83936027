//! Moves, loads, stores and atomic operations.

use super::arithmetic::type_of;
use super::{LOCAL_WINDOW, Lower, SHARED_WINDOW, special};
use crate::Error;
use crate::lanes::float::Float as _;
use crate::lanes::{AluFn, by_float, by_integer, lanes};
use crate::op::{Addr, Atomic, Load, Op, Order, SINK, Space, Src, Store};
use crate::syntax::{Operand, Type};

impl<'t> Lower<'t> {
    pub(super) fn moves(&mut self, parts: &[&str], operands: &'t [Operand]) -> Result<Option<Op>, Error> {
        if parts[0] == "isspacep" {
            let [d, a] = operands else { return self.unknown() };
            let (d, a) = (self.pred_dst(d)?, self.src(a)?);
            return Ok(Some(Op::IsSpace { d, a, space: space_of(parts) }));
        }
        if parts[0] == "cvta" {
            let run = match (parts.contains(&"to"), space_of(parts)) {
                (true, Space::Shared) => lanes!(u64: a, _b, _c => a.wrapping_sub(SHARED_WINDOW)),
                (true, Space::Local) => lanes!(u64: a, _b, _c => a.wrapping_sub(LOCAL_WINDOW)),
                (false, Space::Shared) => lanes!(u64: a, _b, _c => a.wrapping_add(SHARED_WINDOW)),
                (false, Space::Local) => lanes!(u64: a, _b, _c => a.wrapping_add(LOCAL_WINDOW)),
                _ => lanes!(u64: a, _b, _c => a),
            };
            return self.alu(&["cvta", "b64"], run, operands).map(Some);
        }
        let [d, a] = operands else { return self.unknown() };
        if self.is_pred(d) {
            return self.predicates(&["mov", "pred"], operands);
        }
        let bytes = type_of(parts).map_or(8, Type::bytes);
        match (d, a) {
            (Operand::Vector(into), _) => {
                let d = self.dsts(d)?;
                let a = self.src(a)?;
                Ok(Some(Op::Unpack { d, a, bits: (8 * bytes / into.len()) as u32 }))
            }
            (_, Operand::Vector(from)) => {
                let (d, parts) = (self.dst(d)?, self.srcs(a)?);
                Ok(Some(Op::Pack { d, parts, bits: (8 * bytes / from.len()) as u32 }))
            }
            (_, Operand::Name(name)) if special(name).is_some() => {
                let d = self.dst(d)?;
                Ok(special(name).map(|which| Op::Special { d, which }))
            }
            _ => {
                let (d, a) = (self.dst(d)?, self.src(a)?);
                Ok(Some(Op::Move { d, a }))
            }
        }
    }

    pub(super) fn memory(&mut self, parts: &[&str], operands: &'t [Operand]) -> Result<Option<Op>, Error> {
        match parts[0] {
            "ld" | "ldu" => self.load(parts, operands).map(Some),
            "st" => self.store(parts, operands).map(Some),
            "atom" | "red" => self.atomic(parts, operands).map(Some),
            _ => Ok(Some(Op::Prefetch)),
        }
    }

    /// An address whose space may be that of the variable in the brackets.
    fn place(&mut self, parts: &[&str], operand: &'t Operand) -> Result<Addr, Error> {
        let mut space = space_of(parts);
        if space == Space::Param
            && let Operand::Address(address) = operand
            && let Some((Space::Frame, _)) = address.base.name().and_then(|name| self.symbol(name))
        {
            space = Space::Frame;
        }
        self.addr(operand, space)
    }

    fn load(&mut self, parts: &[&str], operands: &'t [Operand]) -> Result<Op, Error> {
        let (Some(kind), [d, from, ..]) = (type_of(parts), operands) else { return self.unknown() };
        let addr = self.place(parts, from)?;
        let d = self.dsts(d)?;
        let (bytes, signed, read_only) = (kind.bytes(), kind.is_signed(), parts.contains(&"nc"));
        Ok(Op::Load(Load { addr, d, bytes, signed, read_only, order: order(parts) }))
    }

    fn store(&mut self, parts: &[&str], operands: &'t [Operand]) -> Result<Op, Error> {
        let (Some(kind), [to, value, ..]) = (type_of(parts), operands) else { return self.unknown() };
        let addr = self.place(parts, to)?;
        let values = self.srcs(value)?;
        Ok(Op::Store(Store { addr, values, bytes: kind.bytes(), order: order(parts) }))
    }

    fn atomic(&mut self, parts: &[&str], operands: &'t [Operand]) -> Result<Op, Error> {
        let Some(kind) = type_of(parts) else { return self.unknown() };
        let Some(run) = parts.iter().find_map(|part| atomic_function(part, kind)) else { return self.unknown() };
        let (d, rest) = match parts[0] {
            "atom" => (self.at(operands, 0).and_then(|d| self.dst(d))?, &operands[1..]),
            _ => (SINK, operands),
        };
        let addr = self.at(rest, 0)?;
        let addr = self.addr(addr, space_of(parts))?;
        let b = self.at(rest, 1)?;
        let b = self.src(b)?;
        let c = match rest.get(2) {
            Some(operand) if parts.contains(&"cas") => self.src(operand)?,
            _ => Src::Imm(0),
        };
        let order = if order(parts) == Order::Ordered { Order::Ordered } else { Order::Strong };
        Ok(Op::Atomic(Atomic { addr, run, d, b, c, bytes: kind.bytes(), order }))
    }
}

/// The state space that an instruction names.
pub(super) fn space_of(parts: &[&str]) -> Space {
    parts
        .iter()
        .find_map(|part| match part.split("::").next()? {
            "global" | "const" => Some(Space::Global),
            "shared" => Some(Space::Shared),
            "local" => Some(Space::Local),
            "param" => Some(Space::Param),
            _ => None,
        })
        .unwrap_or(Space::Generic)
}

fn order(parts: &[&str]) -> Order {
    let has = |names: &[&str]| parts.iter().any(|part| names.contains(part));
    if has(&["acquire", "release", "acq_rel"]) {
        Order::Ordered
    } else if has(&["volatile", "relaxed", "mmio"]) {
        Order::Strong
    } else {
        Order::Weak
    }
}

/// The new value of an atomic operation from the old one (`a`) and the operands.
fn atomic_function(name: &str, kind: Type) -> Option<AluFn> {
    match name {
        "add" if kind.is_float() => by_float!(kind, lanes, a, b, _c => a.add(b)),
        "min" if kind.is_float() => by_float!(kind, lanes, a, b, _c => a.min(b)),
        "max" if kind.is_float() => by_float!(kind, lanes, a, b, _c => a.max(b)),
        "add" => by_integer!(kind, lanes, a, b, _c => a.wrapping_add(b)),
        "min" => by_integer!(kind, lanes, a, b, _c => a.min(b)),
        "max" => by_integer!(kind, lanes, a, b, _c => a.max(b)),
        "and" => by_integer!(kind, lanes, a, b, _c => a & b),
        "or" => by_integer!(kind, lanes, a, b, _c => a | b),
        "xor" => by_integer!(kind, lanes, a, b, _c => a ^ b),
        "inc" => Some(lanes!(u32: a, b, _c => if a >= b { 0 } else { a + 1 })),
        "dec" => Some(lanes!(u32: a, b, _c => if a == 0 || a > b { b } else { a - 1 })),
        "exch" => Some(lanes!(u64: _a, b, _c => b)),
        "cas" => match kind.bytes() {
            2 => Some(lanes!(u16: a, b, c => if a == b { c } else { a })),
            4 => Some(lanes!(u32: a, b, c => if a == b { c } else { a })),
            8 => Some(lanes!(u64: a, b, c => if a == b { c } else { a })),
            _ => None,
        },
        _ => None,
    }
}
