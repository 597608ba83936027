//! Matrix instructions: `mma`, `wgmma`, `ldmatrix`, `stmatrix`, `movmatrix`.

use super::Lower;
use super::memory::space_of;
use crate::Error;
use crate::lanes::FULL;
use crate::op::{Collective, CollectiveKind, Element, Mma, Op, Pred, Space, Src, Wgmma, WgmmaA};
use crate::syntax::Operand;

impl<'t> Lower<'t> {
    pub(super) fn matrix(&mut self, parts: &[&str], operands: &'t [Operand]) -> Result<Option<Op>, Error> {
        let kind = match parts[0] {
            "mma" => CollectiveKind::Mma(Box::new(self.mma(parts, operands)?)),
            "wgmma" => self.warpgroup(parts, operands)?,
            "setmaxnreg" => CollectiveKind::SetMaxRegisters,
            "movmatrix" => {
                let [d, a] = operands else { return self.unknown() };
                CollectiveKind::MoveMatrix { d: self.dst(d)?, a: self.src(a)? }
            }
            _ => self.matrix_memory(parts, operands)?,
        };
        Ok(Some(Op::Collective(Collective { members: Src::Imm(u64::from(FULL)), kind })))
    }

    fn matrix_memory(&mut self, parts: &[&str], operands: &'t [Operand]) -> Result<CollectiveKind, Error> {
        if !parts.contains(&"m8n8") || !parts.contains(&"b16") {
            return self.unknown();
        }
        let transposed = parts.contains(&"trans");
        let space = match space_of(parts) {
            Space::Shared => Space::Shared,
            _ => Space::Generic,
        };
        let [first, second] = operands else { return self.unknown() };
        if parts[0] == "ldmatrix" {
            return Ok(CollectiveKind::LoadMatrix {
                d: self.dsts(first)?,
                addr: self.addr(second, space)?,
                transposed,
            });
        }
        Ok(CollectiveKind::StoreMatrix { values: self.srcs(second)?, addr: self.addr(first, space)?, transposed })
    }

    /// `mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 d, a, b, c;`
    fn mma(&mut self, parts: &[&str], operands: &'t [Operand]) -> Result<Mma, Error> {
        let [d, a, b, c] = operands else { return self.unknown() };
        let (Some(shape), [.., d_type, a_type, b_type, c_type]) = (parts.get(3), parts) else { return self.unknown() };
        let k = shape.strip_prefix("m16n8k").and_then(|k| k.parse::<usize>().ok());
        let types = (element(a_type), element(b_type));
        let (Some(k), (Some(a_type), Some(b_type))) = (k, types) else { return self.unknown() };
        let wide = matches!(*d_type, "f32" | "s32");
        if d_type != c_type || parts.contains(&"satfinite") {
            return self.unknown();
        }
        let mma =
            Mma { k, a_type, b_type, wide, d: self.dsts(d)?, a: self.srcs(a)?, b: self.srcs(b)?, c: self.srcs(c)? };
        let per_register = 4 / bytes_of(a_type);
        if mma.a.len() * per_register * 32 != 16 * k || mma.b.len() * per_register * 32 != 8 * k {
            return Err(self.bad("the number of registers does not fit the shape"));
        }
        Ok(mma)
    }

    fn warpgroup(&mut self, parts: &[&str], operands: &'t [Operand]) -> Result<CollectiveKind, Error> {
        Ok(match parts[1] {
            "fence" => CollectiveKind::WgmmaFence,
            "commit_group" => CollectiveKind::WgmmaCommit,
            "wait_group" => match operands {
                [Operand::Number(pending)] => CollectiveKind::WgmmaWait { pending: *pending as u32 },
                _ => return self.unknown(),
            },
            "mma_async" => CollectiveKind::Wgmma(Box::new(self.wgmma(parts, operands)?)),
            _ => return self.unknown(),
        })
    }

    /// `wgmma.mma_async.sync.aligned.m64nNk16.f32.bf16.bf16 d, a, b, scale-d, imm-a, imm-b[, trans-a], trans-b;`
    fn wgmma(&mut self, parts: &[&str], operands: &'t [Operand]) -> Result<Wgmma, Error> {
        let [d, a, b, rest @ ..] = operands else { return self.unknown() };
        let shape = parts.get(4).and_then(|shape| shape.strip_prefix("m64n")?.strip_suffix("k16"));
        let n = shape.and_then(|n| n.parse::<usize>().ok()).filter(|n| n % 8 == 0 && (8..=256).contains(n));
        let (Some(n), Some(element)) = (n, parts.get(6).and_then(|name| element(name))) else { return self.unknown() };
        if !matches!(element, Element::F16 | Element::Bf16) {
            return self.unknown();
        }
        let wide = parts[5] == "f32";
        let mut wgmma = Wgmma {
            n,
            element,
            wide,
            d: self.dsts(d)?,
            a: match a {
                Operand::Vector(_) => WgmmaA::Registers(self.srcs(a)?),
                a => WgmmaA::Shared(self.src(a)?),
            },
            b: self.src(b)?,
            scale_d: rest.first().map_or(Ok(Pred::Const(true)), |operand| self.pred(operand))?,
            negate: false,
            transpose: [false; 2],
        };
        let flags: Vec<u64> = rest.iter().skip(1).map(flag).collect();
        wgmma.negate = is_negative(flags.first()) != is_negative(flags.get(1));
        let transposes = flags.get(2..).unwrap_or(&[]);
        let is_one = |at: usize| transposes.get(at) == Some(&1);
        wgmma.transpose = match &wgmma.a {
            WgmmaA::Registers(_) => [false, is_one(0)],
            WgmmaA::Shared(_) => [is_one(0), is_one(1)],
        };
        if wgmma.d.len() != n / if wide { 2 } else { 4 } {
            return Err(self.bad("the number of accumulators does not fit the shape"));
        }
        Ok(wgmma)
    }
}

fn flag(operand: &Operand) -> u64 {
    match operand {
        Operand::Number(value) => *value,
        _ => 0,
    }
}

/// Whether an immediate scale is -1.
fn is_negative(flag: Option<&u64>) -> bool {
    flag.is_some_and(|value| value.cast_signed() < 0)
}

fn element(name: &str) -> Option<Element> {
    Some(match name {
        "f16" => Element::F16,
        "bf16" => Element::Bf16,
        "tf32" => Element::Tf32,
        "s8" => Element::S8,
        "u8" => Element::U8,
        _ => return None,
    })
}

/// Bytes of an element in a register.
pub(crate) fn bytes_of(element: Element) -> usize {
    match element {
        Element::Tf32 => 4,
        Element::F16 | Element::Bf16 => 2,
        Element::S8 | Element::U8 => 1,
    }
}
