//! Branches, calls and ends.

use crate::Error;
use crate::block::{Block, Flow};
use crate::lanes::lanes_of;
use crate::op::{Call, Op};
use crate::report::Mistake;
use crate::warp::Warp;

impl Block<'_, '_> {
    pub(super) fn go(&mut self, warp: &mut Warp, pc: u32, op: &Op, mask: u32, active: u32) -> Result<Flow, Error> {
        match op {
            Op::Branch { target } if mask == active => return Ok(Flow::Jump(*target)),
            Op::Branch { target } => warp.set_pc(mask, *target),
            Op::BranchIndex { index, targets } => {
                let index = warp.registers.read(*index, mask);
                for lane in lanes_of(mask) {
                    let target = targets.get(index[lane] as usize).copied();
                    let thread = warp.thread(lane);
                    warp.pc[lane] = target
                        .ok_or_else(|| self.fault(thread, pc, Mistake::Misuse, "the index is past the targets"))?;
                }
            }
            Op::Call(call) => {
                for lane in lanes_of(mask) {
                    warp.calls[lane].push(pc);
                    self.pass(warp, lane, &call.arguments);
                }
                warp.set_pc(mask, call.target);
            }
            Op::Return => self.go_back(warp, mask),
            _ => {
                warp.live &= !mask;
                // lanes that waited for these look again at whom they wait for
                warp.held = 0;
                self.check_open_stores(warp, pc, mask);
            }
        }
        warp.set_pc(active & !mask, pc + 1);
        Ok(Flow::Set)
    }

    fn go_back(&mut self, warp: &mut Warp, mask: u32) {
        let program = self.program;
        for lane in lanes_of(mask) {
            let from = warp.calls[lane].pop().unwrap_or(program.entry);
            if let Op::Call(call) = &program.code[from as usize].op {
                let call: &Call = call;
                self.pass(warp, lane, &call.results);
            }
            warp.pc[lane] = from + 1;
        }
    }

    /// Copies parameters of a lane from one place of its frame to another.
    fn pass(&self, warp: &mut Warp, lane: usize, moves: &[(u32, u32, u32)]) {
        let base = lane * self.program.frame_bytes;
        for (from, to, bytes) in moves {
            let from = base + *from as usize;
            warp.frame.copy_within(from..from + *bytes as usize, base + *to as usize);
        }
    }
}
