//! Barriers of a block: `bar.sync`, `bar.arrive`, `bar.red`.

use crate::block::{Block, Flow};
use crate::lanes::Lanes;
use crate::op::{Barrier, BarrierKind, Reduce, ReduceKind};
use crate::race::clock::Clock;
use crate::report::Mistake;
use crate::warp::Warp;
use crate::{Error, lanes};

/// One of the numbered barriers.
#[derive(Debug)]
pub(crate) struct NamedBarrier {
    arrived: u32,
    /// Threads that it waits for; all that have not ended where absent.
    expected: Option<u32>,
    /// Warps and lanes to wake, with the results they want.
    waiting: Vec<(u32, u32, Option<Reduce>)>,
    /// What those who arrived know.
    clock: Clock,
    votes: u32,
    voters: u32,
}

impl NamedBarrier {
    pub(crate) fn new(threads: u32) -> Self {
        let clock = Clock::new(threads);
        Self { arrived: 0, expected: None, waiting: Vec::new(), clock, votes: 0, voters: 0 }
    }
}

impl Block<'_, '_> {
    pub(crate) fn barrier(
        &mut self,
        warp: &mut Warp,
        pc: u32,
        op: &Barrier,
        mask: u32,
        active: u32,
    ) -> Result<Flow, Error> {
        // lanes that stand elsewhere only because of the order of execution may still come
        let here = warp.held_at(pc);
        let (mask, active) = (mask | here, active | here);
        warp.held &= !here;
        if op.aligned && mask != warp.live && warp.ready() & !active != 0 {
            warp.held |= mask;
            warp.awaited |= warp.live;
            warp.set_pc(mask, pc);
            warp.set_pc(active & !mask, pc + 1);
            return Ok(Flow::Set);
        }
        let wanted = warp.live | std::mem::take(&mut warp.awaited);
        if op.aligned && mask != wanted {
            let detail = format!("lanes {mask:#010x} of {wanted:#010x} reached it");
            self.note(warp.thread(lanes::first_lane(mask)), pc, Mistake::DivergentBarrier, detail);
        }
        warp.set_pc(active, pc + 1);
        self.arrive_at(warp, pc, op, mask)?;
        Ok(Flow::Set)
    }

    /// Counts lanes at a barrier and, if it waits for no more, wakes those who wait.
    fn arrive_at(&mut self, warp: &mut Warp, pc: u32, op: &Barrier, mask: u32) -> Result<(), Error> {
        let first = lanes::first_lane(mask);
        let thread = warp.thread(first);
        let id = warp.registers.lane(op.id, first) as usize;
        let expected = op.threads.map(|threads| warp.registers.lane(threads, first) as u32);
        let ballot = op.reduce.map_or(0, |reduce| warp.registers.predicate(reduce.p, mask) & mask);
        let Some(barrier) = self.barriers.get_mut(id) else {
            return Err(self.fault(thread, pc, Mistake::Misuse, format!("there is no barrier {id}")));
        };
        // with a number of threads, a warp counts whole even if lanes of it have ended
        let whole = expected.is_some() && mask == warp.live;
        barrier.arrived += if whole { 32 } else { mask.count_ones() };
        barrier.expected = barrier.expected.or(expected);
        warp.clock.release(mask, &mut barrier.clock);
        barrier.votes += ballot.count_ones();
        barrier.voters += mask.count_ones();
        if op.kind == BarrierKind::Sync {
            barrier.waiting.push((warp.index, mask, op.reduce));
            warp.parked |= mask;
        }
        let (known, arrived) = (barrier.expected, barrier.arrived);
        if expected != known || known.is_some_and(|known| arrived > known) {
            let detail = format!("barrier {id} with different numbers of threads, or more threads than it has");
            return Err(self.fault(thread, pc, Mistake::Misuse, detail));
        }
        if known == Some(arrived) {
            self.wake(id, Some(warp));
        }
        Ok(())
    }

    /// Wakes those who wait at barriers that all have reached who have not ended.
    pub(crate) fn complete_barriers(&mut self) {
        let live: u32 = self.warps.iter().flatten().map(|warp| warp.live.count_ones()).sum();
        for id in 0..self.barriers.len() {
            let barrier = &self.barriers[id];
            if barrier.arrived > 0 && barrier.arrived >= barrier.expected.unwrap_or(live) {
                self.wake(id, None);
            }
        }
    }

    /// Wakes all who wait at a barrier. `current`: the warp that runs, which is not among the others.
    fn wake(&mut self, id: usize, mut current: Option<&mut Warp>) {
        let next = NamedBarrier::new(self.clock_threads());
        let barrier = std::mem::replace(&mut self.barriers[id], next);
        for (index, mask, reduce) in barrier.waiting {
            let warp = match &mut current {
                Some(warp) if warp.index == index => Some(&mut **warp),
                _ => self.warps[index as usize].as_deref_mut(),
            };
            let Some(warp) = warp else { continue };
            warp.parked &= !mask;
            warp.clock.acquire(mask, &barrier.clock);
            if let Some(reduce) = reduce {
                finish_reduction(warp, mask, reduce, barrier.votes, barrier.voters);
            }
        }
    }
}

fn finish_reduction(warp: &mut Warp, mask: u32, reduce: Reduce, votes: u32, voters: u32) {
    let all_ones = |answer: bool| u32::from(answer).wrapping_neg();
    match reduce.kind {
        ReduceKind::Popc => {
            let values: Lanes = [u64::from(votes); lanes::WARP];
            warp.registers.write(reduce.d, mask, &values);
        }
        ReduceKind::And => warp.registers.set_predicate(reduce.d, mask, all_ones(votes == voters)),
        ReduceKind::Or => warp.registers.set_predicate(reduce.d, mask, all_ones(votes > 0)),
    }
}
