//! Executes one instruction for the lanes of a warp.

mod access;
mod arithmetic;
mod bulk;
mod checks;
mod collective;
mod control;
mod copy;
mod matrix;
mod product;

pub(crate) use access::Place;

use crate::Error;
use crate::block::{Block, Flow};
use crate::lanes::{Lanes, WARP, first_lane, lanes_of};
use crate::lower::{LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW};
use crate::op::{Fence, LaneMask, Logic, Op, Space, Special};
use crate::race::clock::Cover;
use crate::report::Mistake;
use crate::warp::Warp;

/// Bytes of a window of generic addresses.
const WINDOW: u64 = 1 << 32;

/// Whether a generic address lies in a window.
fn is_in(window: u64, address: u64) -> bool {
    (window..window + WINDOW).contains(&address)
}

impl Block<'_, '_> {
    /// `mask`: the lanes that execute; `active`: those and the ones whose guard forbids it.
    pub(crate) fn execute(&mut self, warp: &mut Warp, pc: u32, op: &Op, mask: u32, active: u32) -> Result<Flow, Error> {
        match op {
            Op::Alu(_) | Op::Four { .. } | Op::Carry(_) | Op::Convert { .. } | Op::SetP(_) => {
                arithmetic::run(warp, op, mask);
            }
            Op::Logic { .. } | Op::Select { .. } | Op::IsSpace { .. } => choose(warp, op, mask),
            Op::Move { d, a } => Self::move_register(warp, *d, *a, mask),
            Op::Special { d, which } => {
                let values = self.special(warp, *which);
                warp.registers.write(*d, mask, &values);
            }
            Op::Pack { .. } | Op::Unpack { .. } => arithmetic::repack(warp, op, mask),
            Op::Load(load) => self.load(warp, pc, load, mask)?,
            Op::Store(store) => self.store(warp, pc, store, mask)?,
            Op::Atomic(atomic) => self.atomic(warp, pc, atomic, mask)?,
            Op::Fence(fence) => pass_fence(warp, *fence, mask),
            Op::ActiveMask { d } => warp.registers.write(*d, mask, &[u64::from(mask); WARP]),
            Op::Collective(collective) => return self.collective(warp, pc, collective, mask, active),
            Op::Barrier(barrier) => return self.barrier(warp, pc, barrier, mask, active),
            Op::CopyAsync(copy) => self.copy_async(warp, pc, copy, mask)?,
            Op::CopyCommit => lanes_of(mask).for_each(|lane| warp.copies[lane].committed += 1),
            Op::CopyWait { pending } => self.copy_wait(warp, mask, *pending),
            Op::MBarrier(mbarrier) => return self.mbarrier(warp, pc, mbarrier, mask, active),
            Op::Bulk(bulk) => self.bulk(warp, pc, bulk, mask)?,
            Op::Branch { .. } | Op::BranchIndex { .. } | Op::Call(_) | Op::Return | Op::Exit => {
                return self.go(warp, pc, op, mask, active);
            }
            Op::Trap => {
                return Err(self.fault(warp.thread(first_lane(mask)), pc, Mistake::Trap, "the kernel stops itself"));
            }
            Op::Prefetch | Op::Nop => {}
        }
        Ok(Flow::Next)
    }

    fn special(&self, warp: &Warp, which: Special) -> Lanes {
        let [x, y, _] = self.device.threads;
        let of_thread = |thread: u32| [thread % x, thread / x % y, thread / (x * y)];
        let uniform = |value: u32| [u64::from(value); WARP];
        let by_lane = |value: &dyn Fn(u32) -> u32| std::array::from_fn(|lane| u64::from(value(lane as u32)));
        match which {
            Special::Tid(axis) => by_lane(&|lane| of_thread(warp.thread(lane as usize))[axis as usize]),
            Special::Ntid(axis) => uniform(self.device.threads[axis as usize]),
            Special::Ctaid(axis) => uniform(self.index[axis as usize]),
            Special::Nctaid(axis) => uniform(self.device.grid[axis as usize]),
            Special::LaneId => by_lane(&|lane| lane),
            Special::WarpId => uniform(warp.index),
            Special::NWarpId => uniform(self.warps.len() as u32),
            Special::Clock => [self.executed; WARP],
            Special::DynamicShared => uniform(self.device.dynamic_shared),
            Special::TotalShared => uniform(self.shared_end()),
            Special::LaneMask(mask) => by_lane(&|lane| lane_mask(mask, lane)),
            Special::Constant(value) => uniform(value),
        }
    }
}

/// Instructions on predicates and the choice between two values.
fn choose(warp: &mut Warp, op: &Op, mask: u32) {
    let registers = &mut warp.registers;
    match op {
        Op::Logic { logic, d, a, b } => {
            let (a, b) = (registers.predicate(*a, mask), registers.predicate(*b, mask));
            registers.set_predicate(*d, mask, combine(*logic, a, b));
        }
        Op::Select { d, a, b, p } => {
            let (p, a, b) = (registers.predicate(*p, mask), registers.read(*a, mask), registers.read(*b, mask));
            let values = std::array::from_fn(|lane| if p >> lane & 1 == 1 { a[lane] } else { b[lane] });
            registers.write(*d, mask, &values);
        }
        Op::IsSpace { d, a, space } => {
            let addresses = registers.read(*a, mask);
            let answers = lanes_of(mask).filter(|lane| lies_in(addresses[*lane], *space));
            registers.set_predicate(*d, mask, answers.fold(0, |answers, lane| answers | 1 << lane));
        }
        _ => unreachable!("the caller sends choices only"),
    }
}

fn pass_fence(warp: &mut Warp, fence: Fence, mask: u32) {
    match fence {
        Fence::Proxy => warp.clock.fence(mask, Cover::Proxy),
        Fence::Device => warp.clock.fence(mask, Cover::Device),
        Fence::Block => {}
    }
    warp.fenced |= fence != Fence::Proxy;
}

fn lane_mask(mask: LaneMask, lane: u32) -> u32 {
    let bit = 1u32 << lane;
    match mask {
        LaneMask::Eq => bit,
        LaneMask::Lt => bit - 1,
        LaneMask::Le => bit | (bit - 1),
        LaneMask::Gt => !(bit | (bit - 1)),
        LaneMask::Ge => !(bit - 1),
    }
}

fn lies_in(address: u64, space: Space) -> bool {
    match space {
        Space::Shared => is_in(SHARED_WINDOW, address),
        Space::Local => is_in(LOCAL_WINDOW, address),
        Space::Param => is_in(PARAM_WINDOW, address),
        _ => address < PARAM_WINDOW,
    }
}

/// Logic of predicates, lane by lane.
pub(crate) fn combine(logic: Logic, a: u32, b: u32) -> u32 {
    match logic {
        Logic::And => a & b,
        Logic::Or => a | b,
        Logic::Xor => a ^ b,
        Logic::Move => a,
        Logic::Not => !a,
    }
}
