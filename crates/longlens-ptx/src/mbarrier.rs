//! `mbarrier`: barriers in shared memory that count arrivals and bytes of copies.

use crate::Error;
use crate::block::{Block, Flow};
use crate::exec::Place;
use crate::lanes::{WARP, lanes_of};
use crate::op::{MBarrier, MBarrierKind, Src};
use crate::race::Access;
use crate::race::clock::{Agent, Clock, MOST_BARRIERS, Work};
use crate::report::Mistake;
use crate::warp::Warp;

/// A load of the copy engine that has not landed.
#[derive(Debug, Clone)]
pub(crate) struct PendingLoad {
    pub pc: u32,
    pub thread: u32,
    pub to: u32,
    pub bytes: u32,
    /// An address, or a tensor map and coordinates.
    pub from: u64,
    pub map: Option<(usize, Vec<i32>)>,
}

/// Copies of a thread that arrive when they are done.
#[derive(Debug, Clone, Copy)]
struct PendingArrival {
    warp: u32,
    lane: usize,
    group: u32,
}

/// A barrier in shared memory.
#[derive(Debug)]
pub(crate) struct MBarrierState {
    agent: Agent,
    /// Arrivals of a phase.
    count: u32,
    pending: u32,
    /// Bytes expected and not yet on their way.
    bytes: i64,
    /// The phase that is not complete.
    phase: u32,
    arriving: Clock,
    done: Clock,
    loads: Vec<PendingLoad>,
    copies: Vec<PendingArrival>,
}

impl MBarrierState {
    /// Whether everything that the phase waits for has come, or can land now.
    fn can_complete(&self) -> bool {
        self.pending as usize <= self.copies.len() && self.bytes == 0
    }
}

impl Block<'_, '_> {
    pub(crate) fn mbarrier(
        &mut self,
        warp: &mut Warp,
        pc: u32,
        op: &MBarrier,
        mask: u32,
        active: u32,
    ) -> Result<Flow, Error> {
        if let MBarrierKind::PendingCount { d, state } = op.kind {
            let states = warp.registers.read(state, mask);
            warp.registers.write(d, mask, &states.map(|state| state >> 32));
            return Ok(Flow::Next);
        }
        let addresses = warp.addresses(op.addr, mask);
        let mut waits = 0;
        for lane in lanes_of(mask) {
            let Place::Shared(at) = self.place(warp, pc, lane, op.addr.space, addresses[lane], 8)? else {
                return Err(self.misuse(warp, pc, lane, "the barrier is not in shared memory"));
            };
            let creates = matches!(op.kind, MBarrierKind::Init { .. } | MBarrierKind::Invalidate);
            let access = if creates { Access::Write } else { Access::StrongRead };
            self.check_race(warp, pc, lane, (Place::Shared(at), 8), access, false);
            warp.clock.touch();
            if !self.one_mbarrier(warp, pc, lane, at, &op.kind)? {
                waits |= 1 << lane;
            }
        }
        if waits == 0 {
            return Ok(Flow::Next);
        }
        Ok(self.wait_again(warp, pc, op, waits, active))
    }

    /// Lanes whose phase is not complete try again, or, with `test_wait`, go on after the others had a turn.
    fn wait_again(&mut self, warp: &mut Warp, pc: u32, op: &MBarrier, waits: u32, active: u32) -> Flow {
        let blocks = matches!(op.kind, MBarrierKind::Wait { blocks: true, .. });
        warp.stalled |= waits;
        warp.set_pc(active & !waits, pc + 1);
        warp.set_pc(waits, if blocks { pc } else { pc + 1 });
        if blocks && waits == active {
            self.uncount(pc, active);
        }
        Flow::Set
    }

    fn misuse(&self, warp: &Warp, pc: u32, lane: usize, detail: &str) -> Error {
        self.fault(warp.thread(lane), pc, Mistake::Misuse, detail)
    }

    /// One lane's instruction; false if the phase it waits for is not complete.
    fn one_mbarrier(
        &mut self,
        warp: &mut Warp,
        pc: u32,
        lane: usize,
        at: u32,
        kind: &MBarrierKind,
    ) -> Result<bool, Error> {
        if let MBarrierKind::Init { count } = kind {
            let count = warp.registers.lane(*count, lane) as u32;
            return self.init(warp, pc, lane, at, count).map(|()| true);
        }
        if !self.mbarriers.contains_key(&at) {
            return Err(self.misuse(warp, pc, lane, "no barrier was initialized at this address"));
        }
        self.settle(warp, at)?;
        match kind {
            MBarrierKind::Invalidate => drop(self.mbarriers.remove(&at)),
            MBarrierKind::Arrive { state, count, bytes, drop } => {
                let count = warp.registers.lane(*count, lane) as u32;
                let bytes = bytes.map_or(0, |bytes| warp.registers.lane(bytes, lane) as u32);
                let token = self.arrive(warp, pc, lane, at, (count, bytes, *drop))?;
                warp.registers.write(*state, 1 << lane, &[token; WARP]);
            }
            MBarrierKind::ExpectTx { bytes } => {
                let bytes = warp.registers.lane(*bytes, lane) as u32;
                self.state(at).bytes += i64::from(bytes);
            }
            MBarrierKind::CopiesArrive { increment } => {
                let (index, group) = (warp.index, warp.copies[lane].committed + 1);
                let copier = self.agent(Work::Copies { warp: index });
                let state = self.state(at);
                state.pending += u32::from(*increment);
                state.copies.push(PendingArrival { warp: index, lane, group });
                warp.clock.release(1 << lane, &mut state.arriving);
                state.arriving.learn(copier, group);
            }
            MBarrierKind::Wait { p, phase, parity, .. } => return Ok(self.wait(warp, lane, at, (*p, *phase, *parity))),
            MBarrierKind::Init { .. } | MBarrierKind::PendingCount { .. } => {}
        }
        Ok(true)
    }

    fn state(&mut self, at: u32) -> &mut MBarrierState {
        self.mbarriers.get_mut(&at).expect("the barrier was found before")
    }

    fn init(&mut self, warp: &Warp, pc: u32, lane: usize, at: u32, count: u32) -> Result<(), Error> {
        if self.mbarriers.contains_key(&at) {
            return Err(self.misuse(warp, pc, lane, "a barrier is there already, and was not invalidated"));
        }
        let work = Work::Barrier { number: self.n_mbarriers };
        self.n_mbarriers += 1;
        if self.n_mbarriers > MOST_BARRIERS {
            return Err(self.misuse(warp, pc, lane, "more barriers than the interpreter keeps apart"));
        }
        let (agent, threads) = (self.agent(work), self.clock_threads());
        let (arriving, done) = (Clock::new(threads), Clock::new(threads));
        let (loads, copies) = (Vec::new(), Vec::new());
        let state = MBarrierState { agent, count, pending: count, bytes: 0, phase: 0, arriving, done, loads, copies };
        self.mbarriers.insert(at, state);
        self.shared_written[at as usize..at as usize + 8].fill(1);
        Ok(())
    }

    /// Arrives `count` times, expecting `bytes` more; gives the phase as a token.
    fn arrive(
        &mut self,
        warp: &mut Warp,
        pc: u32,
        lane: usize,
        at: u32,
        (count, bytes, drop): (u32, u32, bool),
    ) -> Result<u64, Error> {
        let state = self.state(at);
        state.bytes += i64::from(bytes);
        if state.pending < count {
            return Err(self.misuse(warp, pc, lane, "more arrivals than the barrier counts in a phase"));
        }
        state.pending -= count;
        state.count -= u32::from(drop) * count;
        warp.clock.release(1 << lane, &mut state.arriving);
        let token = u64::from(state.phase) | u64::from(state.pending) << 32;
        Ok(token)
    }

    fn wait(&mut self, warp: &mut Warp, lane: usize, at: u32, (p, phase, parity): (u32, Src, bool)) -> bool {
        let wanted = warp.registers.lane(phase, lane) as u32;
        let state = &self.mbarriers[&at];
        let complete = if parity { state.phase & 1 != wanted & 1 } else { state.phase > wanted };
        if complete {
            warp.clock.acquire(1 << lane, &state.done);
        }
        warp.registers.set_predicate(p, 1 << lane, u32::from(complete).wrapping_neg());
        complete
    }

    /// Completes the phase if all it waits for has come: copies land as late as this.
    fn settle(&mut self, warp: &mut Warp, at: u32) -> Result<(), Error> {
        let state = self.state(at);
        if !state.can_complete() {
            return Ok(());
        }
        let (loads, copies) = (std::mem::take(&mut state.loads), std::mem::take(&mut state.copies));
        for load in &loads {
            self.land_load(load)?;
        }
        for copy in copies {
            if copy.warp == warp.index {
                self.land(warp, copy.lane, copy.group);
            } else {
                self.land_for_barrier(copy.warp, copy.lane, copy.group);
            }
        }
        let threads = self.clock_threads();
        let state = self.state(at);
        state.phase += 1;
        state.pending = state.count;
        state.done = std::mem::replace(&mut state.arriving, Clock::new(threads));
        state.done.learn(state.agent, state.phase);
        Ok(())
    }

    /// A load of the copy engine that a barrier counts. `barrier`: its shared address.
    pub(crate) fn start_load(
        &mut self,
        warp: &mut Warp,
        lane: usize,
        barrier: u32,
        load: PendingLoad,
    ) -> Result<(), Error> {
        if !self.mbarriers.contains_key(&barrier) {
            return Err(self.misuse(warp, load.pc, lane, "no barrier was initialized at this address"));
        }
        self.settle(warp, barrier)?;
        let (pc, to, bytes) = (load.pc, load.to, load.bytes);
        let thread = load.thread;
        let state = self.state(barrier);
        state.bytes -= i64::from(bytes);
        let (agent, time) = (state.agent, state.phase + 1);
        state.loads.push(load);
        let stamp = warp.stamp(pc, lane, agent, time);
        if let Some(conflict) = self.shared_shadow.access_range(to, bytes, &stamp, Access::ProxyWrite, false) {
            self.note_conflict(thread, pc, Place::Shared(to), conflict);
        }
        Ok(())
    }
}
