//! Asynchronous copies and the barriers that count them.

use super::Lower;
use super::memory::space_of;
use crate::Error;
use crate::op::{Addr, Bulk, CopyAsync, MBarrier, MBarrierKind, Op, SINK, Space, Src};
use crate::syntax::Operand;

impl<'t> Lower<'t> {
    pub(super) fn copies(&mut self, parts: &[&str], operands: &'t [Operand]) -> Result<Option<Op>, Error> {
        if parts[0] == "mbarrier" {
            return self.mbarrier(parts, operands).map(Some);
        }
        match parts.get(2).copied() {
            Some("commit_group") => Ok(Some(Op::CopyCommit)),
            Some("wait_group") => Ok(Some(Op::CopyWait { pending: self.count(operands)? })),
            Some("wait_all") => {
                self.push(Op::CopyCommit);
                Ok(Some(Op::CopyWait { pending: 0 }))
            }
            Some("mbarrier") => {
                let addr = self.at(operands, 0)?;
                let addr = self.addr(addr, space_of(parts))?;
                let kind = MBarrierKind::CopiesArrive { increment: !parts.contains(&"noinc") };
                Ok(Some(Op::MBarrier(MBarrier { addr, kind })))
            }
            Some("bulk") => self.bulk(parts, operands).map(Some),
            Some("ca" | "cg") => {
                // a cache policy at the end only hints
                let hints = usize::from(parts.contains(&"L2::cache_hint"));
                self.copy_async(&operands[..operands.len() - hints]).map(Some)
            }
            _ => self.unknown(),
        }
    }

    fn count(&self, operands: &[Operand]) -> Result<u32, Error> {
        match operands {
            [Operand::Number(count)] => Ok(*count as u32),
            _ => Err(self.bad("expected a number of groups")),
        }
    }

    fn copy_async(&mut self, operands: &'t [Operand]) -> Result<Op, Error> {
        let [to, from, Operand::Number(bytes), rest @ ..] = operands else { return self.unknown() };
        let (to, from) = (self.addr(to, Space::Shared)?, self.addr(from, Space::Global)?);
        let (mut source_bytes, mut ignore) = (None, None);
        if let Some(operand) = rest.first() {
            if self.is_pred(operand) {
                ignore = Some(self.pred(operand)?);
            } else {
                source_bytes = Some(self.src(operand)?);
            }
        }
        Ok(Op::CopyAsync(CopyAsync { to, from, bytes: *bytes as usize, source_bytes, ignore }))
    }

    fn bulk(&mut self, parts: &[&str], operands: &'t [Operand]) -> Result<Op, Error> {
        match parts.get(3).copied() {
            Some("commit_group") => return Ok(Op::Bulk(Bulk::Commit)),
            Some("wait_group") => return Ok(Op::Bulk(Bulk::Wait { pending: self.count(operands)? })),
            Some("prefetch") => return Ok(Op::Prefetch),
            _ => {}
        }
        let from_shared = parts.contains(&"bulk_group");
        let tensor = parts.get(3) == Some(&"tensor");
        if parts
            .iter()
            .any(|part| part.starts_with("im2col") || part.starts_with("tile::") || *part == "multicast::cluster")
        {
            return self.unknown();
        }
        Ok(Op::Bulk(match (tensor, from_shared, operands) {
            (true, false, [to, from, barrier, ..]) => Bulk::TensorLoad {
                to: self.addr(to, Space::Shared)?,
                map: self.addr(from, Space::Generic)?,
                coordinates: self.coordinates(from)?,
                barrier: self.addr(barrier, Space::Shared)?,
            },
            (true, true, [to, from, ..]) => Bulk::TensorStore {
                map: self.addr(to, Space::Generic)?,
                coordinates: self.coordinates(to)?,
                from: self.addr(from, Space::Shared)?,
            },
            (false, false, [to, from, bytes, barrier, ..]) => Bulk::Load {
                to: self.addr(to, Space::Shared)?,
                from: self.addr(from, Space::Global)?,
                bytes: self.src(bytes)?,
                barrier: self.addr(barrier, Space::Shared)?,
            },
            (false, true, [to, from, bytes, ..]) => Bulk::Store {
                to: self.addr(to, Space::Global)?,
                from: self.addr(from, Space::Shared)?,
                bytes: self.src(bytes)?,
            },
            _ => return self.unknown(),
        }))
    }

    fn coordinates(&mut self, operand: &'t Operand) -> Result<Vec<Src>, Error> {
        let Operand::Address(address) = operand else { return Err(self.bad("expected coordinates")) };
        address.coordinates.iter().map(|coordinate| self.src(coordinate)).collect()
    }

    fn mbarrier(&mut self, parts: &[&str], operands: &'t [Operand]) -> Result<Op, Error> {
        let space = space_of(parts);
        let name = parts.get(1).copied().unwrap_or_default();
        if name == "pending_count" {
            let [d, state] = operands else { return self.unknown() };
            let addr = Addr { space, base: Src::Imm(0), offset: 0 };
            let kind = MBarrierKind::PendingCount { d: self.dst(d)?, state: self.src(state)? };
            return Ok(Op::MBarrier(MBarrier { addr, kind }));
        }
        let place = operands.iter().position(|operand| matches!(operand, Operand::Address(_)));
        let place = place.ok_or_else(|| self.bad("expected the barrier's address"))?;
        let addr = self.addr(&operands[place], space)?;
        let value = operands.get(place + 1).map(|operand| self.src(operand)).transpose()?;
        let kind = match (name, value) {
            ("init", Some(count)) => MBarrierKind::Init { count },
            ("inval", _) => MBarrierKind::Invalidate,
            ("arrive" | "arrive_drop", value) => {
                let state = if place == 0 { SINK } else { self.dst(&operands[0])? };
                let expects = parts.contains(&"expect_tx");
                let count = if expects { None } else { value };
                let count = count.unwrap_or(Src::Imm(1));
                let bytes = if expects { value } else { None };
                MBarrierKind::Arrive { state, count, bytes, drop: name == "arrive_drop" }
            }
            ("expect_tx", Some(bytes)) => MBarrierKind::ExpectTx { bytes },
            ("test_wait" | "try_wait", Some(phase)) => MBarrierKind::Wait {
                p: self.pred_dst(&operands[0])?,
                phase,
                parity: parts.contains(&"parity"),
                blocks: name == "try_wait",
            },
            _ => return self.unknown(),
        };
        Ok(Op::MBarrier(MBarrier { addr, kind }))
    }
}
