//! A block of threads: its warps in turn, each until it waits or ends.

use std::collections::HashMap;

use crate::Error;
use crate::barrier::NamedBarrier;
use crate::lanes::lanes_of;
use crate::launch::Options;
use crate::lower::{Program, SHARED_START};
use crate::mbarrier::MBarrierState;
use crate::memory::Memory;
use crate::op::{CLUSTER_BARRIER, Op};
use crate::race::Shadow;
use crate::race::blocks::Blocks;
use crate::race::clock::{Agent, Clock, Work};
use crate::report::{Finding, Mistake, Report};
use crate::tensor_map::TensorMap;
use crate::warp::Warp;

/// Instructions that a warp executes before others get their turn.
const SLICE: u64 = 20_000;

/// Where a warp goes on after an instruction.
pub(crate) enum Flow {
    /// To the next instruction.
    Next,
    /// All active lanes to another one.
    Jump(u32),
    /// The lanes' program counters and states have been set.
    Set,
    /// To the next instruction, together with lanes that had waited here.
    Join(u32),
}

/// Counters of an instruction.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Count {
    pub warps: u64,
    pub lanes: u64,
    pub shared_accesses: u64,
    pub extra_passes: u64,
}

impl Count {
    pub(crate) fn add(&mut self, other: &Self) {
        self.warps += other.warps;
        self.lanes += other.lanes;
        self.shared_accesses += other.shared_accesses;
        self.extra_passes += other.extra_passes;
    }
}

/// What all blocks of a launch share.
pub(crate) struct Device<'a> {
    pub program: &'a Program,
    pub memory: &'a mut Memory,
    pub options: Options,
    pub grid: [u32; 3],
    pub threads: [u32; 3],
    pub dynamic_shared: u32,
    pub parameters: Vec<u8>,
    /// Tensor maps by the offset of their parameter.
    pub maps: Vec<(usize, TensorMap)>,
    pub counts: Vec<Count>,
    pub report: Report,
    /// What blocks that have ended wrote, where there are several.
    pub blocks: Blocks,
}

/// A block that runs: its shared memory, barriers and warps.
pub(crate) struct Block<'d, 'a> {
    pub device: &'d mut Device<'a>,
    pub program: &'a Program,
    pub index: [u32; 3],
    /// The number of the block in the grid.
    pub number: u64,
    pub n_threads: u32,
    pub shared: Vec<u8>,
    pub shared_written: Vec<u8>,
    pub shared_shadow: Shadow,
    /// One for each buffer that was accessed.
    pub global_shadows: Vec<Shadow>,
    pub barriers: Vec<NamedBarrier>,
    pub mbarriers: HashMap<u32, MBarrierState>,
    /// Barriers that were initialized, invalidated ones included.
    pub n_mbarriers: u32,
    /// What threads handed on through strong accesses to an address.
    pub signals: HashMap<u64, Clock>,
    /// Absent while the warp runs.
    pub warps: Vec<Option<Box<Warp>>>,
    pub executed: u64,
}

impl<'d, 'a> Block<'d, 'a> {
    pub(crate) fn new(device: &'d mut Device<'a>) -> Self {
        let program = device.program;
        let n_threads = device.threads.iter().product::<u32>();
        let shared = (program.dynamic_start + device.dynamic_shared) as usize;
        let warps = (0..n_threads.div_ceil(32)).map(|index| Some(Box::new(Warp::new(program, index, n_threads))));
        Self {
            program,
            index: [0; 3],
            number: 0,
            n_threads,
            shared: vec![0xff; shared],
            shared_written: vec![0; shared],
            shared_shadow: Shadow::default(),
            global_shadows: Vec::new(),
            barriers: Vec::new(),
            mbarriers: HashMap::new(),
            n_mbarriers: 0,
            signals: HashMap::new(),
            warps: warps.collect(),
            executed: 0,
            device,
        }
    }

    fn restart(&mut self, index: [u32; 3]) {
        self.index = index;
        let [x, y, z] = index.map(u64::from);
        self.number = x + u64::from(self.device.grid[0]) * (y + u64::from(self.device.grid[1]) * z);
        self.shared.fill(0xff);
        self.shared_written.fill(0);
        self.shared_shadow.clear();
        self.global_shadows.iter_mut().for_each(Shadow::clear);
        let threads = self.clock_threads();
        self.barriers = (0..=CLUSTER_BARRIER).map(|_| NamedBarrier::new(threads)).collect();
        self.mbarriers.clear();
        self.signals.clear();
        self.n_mbarriers = 0;
        self.executed = 0;
        for warp in self.warps.iter_mut().flatten() {
            warp.restart(self.program, self.n_threads);
        }
    }

    /// Runs one block to its end.
    pub(crate) fn run(&mut self, index: [u32; 3]) -> Result<(), Error> {
        self.restart(index);
        let backward = self.device.options.backward;
        let n_warps = self.warps.len();
        while self.warps.iter().flatten().any(|warp| warp.live != 0) {
            let before = self.executed;
            for turn in 0..n_warps {
                let at = if backward { n_warps - 1 - turn } else { turn };
                let mut warp = self.warps[at].take().expect("a warp that does not run is there");
                let result = self.run_warp(&mut warp);
                self.warps[at] = Some(warp);
                result?;
                self.complete_barriers();
            }
            if self.executed == before {
                return Err(self.deadlock());
            }
            if self.executed > self.device.options.max_instructions {
                return Err(self.too_long());
            }
        }
        self.finish();
        Ok(())
    }

    fn run_warp(&mut self, warp: &mut Warp) -> Result<(), Error> {
        warp.stalled = 0;
        let end = self.executed + SLICE;
        while self.executed < end {
            let mut ready = warp.ready();
            if ready == 0 {
                ready = self.held_at_barrier(warp);
                warp.held &= !ready;
            }
            if ready == 0 {
                break;
            }
            let (pc, active, other) = warp.lowest(ready);
            self.run_together(warp, pc, active, other, end)?;
        }
        Ok(())
    }

    /// Lanes that waited at a barrier for lanes of their warp which will not come.
    fn held_at_barrier(&self, warp: &Warp) -> u32 {
        let at_barrier = |lane: &usize| matches!(self.program.code[warp.pc[*lane] as usize].op, Op::Barrier(_));
        let held = lanes_of(warp.held).filter(at_barrier).fold(0, |held, lane| held | 1 << lane);
        if warp.stalled == 0 { held } else { 0 }
    }

    /// Runs lanes that stand at one instruction until they part, wait, or come to where others stand.
    fn run_together(&mut self, warp: &mut Warp, start: u32, lanes: u32, other: u32, end: u64) -> Result<(), Error> {
        let program = self.program;
        let (mut pc, mut active) = (start, lanes);
        loop {
            let instruction = &program.code[pc as usize];
            let mask = match instruction.guard {
                Some(guard) => active & warp.registers.predicate(guard, active),
                None => active,
            };
            self.count(pc, active);
            warp.instance = warp.instance.wrapping_add(1);
            let flow = if mask == 0 { Flow::Next } else { self.execute(warp, pc, &instruction.op, mask, active)? };
            if let Some(mistake) = warp.registers.take_trouble() {
                self.register_mistake(warp, pc, mask, mistake);
            }
            match flow {
                Flow::Next => pc += 1,
                Flow::Jump(target) => pc = target,
                Flow::Join(lanes) => (pc, active) = (pc + 1, active | lanes),
                Flow::Set => return Ok(()),
            }
            if pc >= other || self.executed >= end {
                warp.set_pc(active, pc);
                return Ok(());
            }
        }
    }

    fn count(&mut self, pc: u32, active: u32) {
        self.executed += 1;
        let count = &mut self.device.counts[pc as usize];
        count.warps += 1;
        count.lanes += u64::from(active.count_ones());
    }

    /// Takes back the count of an instruction that could not be executed yet.
    pub(crate) fn uncount(&mut self, pc: u32, active: u32) {
        self.executed -= 1;
        let count = &mut self.device.counts[pc as usize];
        count.warps -= 1;
        count.lanes -= u64::from(active.count_ones());
    }

    fn finish(&mut self) {
        if self.device.grid != [1; 3] {
            for (buffer, shadow) in self.global_shadows.iter().enumerate() {
                self.device.blocks.keep(self.number, buffer, shadow);
            }
        }
        for at in 0..self.warps.len() {
            if let Some(mut warp) = self.warps[at].take() {
                self.end_warp(&mut warp);
                self.warps[at] = Some(warp);
            }
        }
    }

    // ---- findings ----

    fn finding(&self, thread: u32, pc: u32, mistake: Mistake, detail: String) -> Finding {
        let site = self.program.sites[pc as usize].clone();
        Finding { mistake, site, other: None, block: self.index, thread, detail, count: 1 }
    }

    /// A mistake after which the launch cannot go on.
    pub(crate) fn fault(&self, thread: u32, pc: u32, mistake: Mistake, detail: impl Into<String>) -> Error {
        Error::Fault(Box::new(self.finding(thread, pc, mistake, detail.into())))
    }

    /// A mistake that is noted, while the launch goes on.
    pub(crate) fn note(&mut self, thread: u32, pc: u32, mistake: Mistake, detail: impl Into<String>) {
        let finding = self.finding(thread, pc, mistake, detail.into());
        self.device.report.add(finding);
    }

    pub(crate) fn note_pair(&mut self, thread: u32, pc: u32, other: u32, mistake: Mistake, detail: String) {
        let mut finding = self.finding(thread, pc, mistake, detail);
        finding.other = Some(self.program.sites[other as usize].clone());
        self.device.report.add(finding);
    }

    fn register_mistake(&mut self, warp: &Warp, pc: u32, mask: u32, mistake: Mistake) {
        let uninitialized = mistake == Mistake::UninitializedRegister;
        if uninitialized && self.device.options.permit_uninitialized {
            return;
        }
        let detail = if uninitialized {
            "an operand was never written"
        } else {
            "a register of a `wgmma` before its `wgmma.wait_group`"
        };
        self.note(warp.thread(crate::lanes::first_lane(mask)), pc, mistake, detail);
    }

    fn deadlock(&self) -> Error {
        let mut waits = Vec::new();
        let mut first = None;
        for warp in self.warps.iter().flatten().filter(|warp| warp.live != 0) {
            let lanes = warp.live;
            let (pc, at, _) = warp.lowest(lanes);
            // a parked lane stands behind its barrier
            let parked = warp.parked & at != 0;
            let pc = if parked { pc.saturating_sub(1) } else { pc };
            first.get_or_insert((warp.thread(crate::lanes::first_lane(at)), pc));
            waits.push(format!("warp {} (lanes {at:#x}) waits at {}", warp.index, self.program.sites[pc as usize]));
        }
        let (thread, pc) = first.unwrap_or((0, 0));
        self.fault(thread, pc, Mistake::Deadlock, waits.join("; "))
    }

    fn too_long(&self) -> Error {
        let warp = self.warps.iter().flatten().find(|warp| warp.live != 0);
        let (thread, pc) = warp.map_or((0, 0), |warp| {
            let (pc, at, _) = warp.lowest(warp.live);
            (warp.thread(crate::lanes::first_lane(at)), pc)
        });
        let detail =
            format!("{} instructions of warps: a loop without end, or a wait for another block", self.executed);
        self.fault(thread, pc, Mistake::TooLong, detail)
    }

    /// Threads that a clock keeps apart: those of whole warps.
    pub(crate) fn clock_threads(&self) -> u32 {
        self.n_threads.next_multiple_of(32)
    }

    /// The agent of asynchronous work.
    pub(crate) fn agent(&self, work: Work) -> Agent {
        work.agent(self.clock_threads())
    }

    /// The first shared address that is not the block's.
    pub(crate) fn shared_end(&self) -> u32 {
        self.shared.len() as u32
    }

    pub(crate) fn is_shared(&self, address: u32, bytes: u32) -> bool {
        address >= SHARED_START && address.checked_add(bytes).is_some_and(|end| end <= self.shared_end())
    }
}
