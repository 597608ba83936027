//! Instructions that the lanes of a warp execute together.

use super::Lower;
use super::arithmetic::type_of;
use crate::Error;
use crate::lanes::{AluFn, FULL, by_integer, lanes};
use crate::op::{Collective, CollectiveKind, Op, Pred, SINK, Shuffle, Src, Vote};
use crate::syntax::{Operand, Type};

impl<'t> Lower<'t> {
    pub(super) fn warp_wide(&mut self, parts: &[&str], operands: &'t [Operand]) -> Result<Option<Op>, Error> {
        let kind = match parts[0] {
            "activemask" => {
                let d = self.at(operands, 0)?;
                return Ok(Some(Op::ActiveMask { d: self.dst(d)? }));
            }
            "shfl" => self.shuffle(parts, operands)?,
            "vote" => self.vote(parts, operands)?,
            "match" => {
                let (d, p) = self.value_and_pred(operands)?;
                let a = self.at(operands, 1)?;
                CollectiveKind::Match { all: parts.contains(&"all"), d, p, a: self.src(a)? }
            }
            "redux" => {
                let Some(run) = reduction(parts) else { return self.unknown() };
                let [d, a, _] = operands else { return self.unknown() };
                CollectiveKind::Redux { run, d: self.dst(d)?, a: self.src(a)? }
            }
            _ => {
                let (d, p) = self.value_and_pred(operands)?;
                CollectiveKind::Elect { d, p }
            }
        };
        let members = match operands.last() {
            Some(operand) if parts.contains(&"sync") => self.src(operand)?,
            _ => return self.unknown(),
        };
        Ok(Some(Op::Collective(Collective { members, kind })))
    }

    pub(super) fn warp_barrier(&mut self, operands: &'t [Operand]) -> Result<Op, Error> {
        let members = operands.first().map_or(Ok(Src::Imm(u64::from(FULL))), |operand| self.src(operand))?;
        Ok(Op::Collective(Collective { members, kind: CollectiveKind::WarpSync }))
    }

    /// The destination `d` or `d|p`.
    fn value_and_pred(&mut self, operands: &'t [Operand]) -> Result<(u32, u32), Error> {
        match self.at(operands, 0)? {
            Operand::Pair(d, p) => Ok((self.dst(d)?, self.pred_dst(p)?)),
            d => Ok((self.dst(d)?, SINK)),
        }
    }

    fn shuffle(&mut self, parts: &[&str], operands: &'t [Operand]) -> Result<CollectiveKind, Error> {
        let mode = match parts.get(2).copied() {
            Some("up") => Shuffle::Up,
            Some("down") => Shuffle::Down,
            Some("bfly") => Shuffle::Butterfly,
            Some("idx") => Shuffle::Index,
            _ => return self.unknown(),
        };
        let (d, p) = self.value_and_pred(operands)?;
        let [_, a, b, c, _] = operands else { return self.unknown() };
        Ok(CollectiveKind::Shuffle { mode, d, p, a: self.src(a)?, b: self.src(b)?, c: self.src(c)? })
    }

    fn vote(&mut self, parts: &[&str], operands: &'t [Operand]) -> Result<CollectiveKind, Error> {
        let (d, p) = (self.at(operands, 0)?, self.at(operands, 1)?);
        let p: Pred = self.pred(p)?;
        let (mode, d) = match parts.get(2).copied() {
            Some("ballot") => (Vote::Ballot, self.dst(d)?),
            Some("any") => (Vote::Any, self.pred_dst(d)?),
            Some("all") => (Vote::All, self.pred_dst(d)?),
            Some("uni") => (Vote::Uniform, self.pred_dst(d)?),
            _ => return self.unknown(),
        };
        Ok(CollectiveKind::Vote { mode, d, p })
    }
}

fn reduction(parts: &[&str]) -> Option<AluFn> {
    let kind = type_of(parts)?;
    match parts.get(2).copied()? {
        "add" => by_integer!(kind, lanes, a, b, _c => a.wrapping_add(b)),
        "min" if kind == Type::F32 => Some(lanes!(f32: a, b, _c => a.min(b))),
        "max" if kind == Type::F32 => Some(lanes!(f32: a, b, _c => a.max(b))),
        "min" => by_integer!(kind, lanes, a, b, _c => a.min(b)),
        "max" => by_integer!(kind, lanes, a, b, _c => a.max(b)),
        "and" => Some(lanes!(u64: a, b, _c => a & b)),
        "or" => Some(lanes!(u64: a, b, _c => a | b)),
        "xor" => Some(lanes!(u64: a, b, _c => a ^ b)),
        _ => None,
    }
}
