//! A warp: 32 threads with a program counter each, which run together where these are equal.

use std::collections::VecDeque;

use crate::lanes::{Lanes, WARP, lanes_of};
use crate::lower::Program;
use crate::op::{Bulk, Slot, Src, Wgmma};
use crate::race::Stamp;
use crate::race::clock::{Agent, WarpClock};
use crate::registers::Registers;

/// A `cp.async` whose bytes have not landed.
#[derive(Debug, Clone)]
pub(crate) struct PendingCopy {
    pub to: u32,
    pub bytes: [u8; 16],
    pub length: usize,
    /// The group that the copy belongs to, counted from 1.
    pub group: u32,
}

/// The copies of one thread.
#[derive(Debug, Clone, Default)]
pub(crate) struct Copies {
    pub pending: VecDeque<PendingCopy>,
    /// Groups that were closed.
    pub committed: u32,
}

/// A store of the copy engine that has not happened.
#[derive(Debug, Clone)]
pub(crate) struct PendingStore {
    pub pc: u32,
    pub store: Bulk,
    /// Addresses and coordinates when it was issued.
    pub from: u32,
    pub to: u64,
    pub bytes: u32,
    pub coordinates: Vec<i32>,
    pub group: u32,
    pub time: u32,
}

/// The stores of the copy engine for one thread.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stores {
    pub pending: VecDeque<PendingStore>,
    pub committed: u32,
}

/// What a warp has issued to the tensor cores and not waited for.
#[derive(Debug, Clone)]
pub(crate) enum Deferred {
    Product {
        pc: u32,
        wgmma: Box<Wgmma>,
        a: u64,
        b: u64,
        add: bool,
        group: u32,
    },
    /// A move of an accumulator that is not finished.
    Move {
        d: Slot,
        a: Src,
        group: u32,
    },
}

impl Deferred {
    pub(crate) fn group(&self) -> u32 {
        match self {
            Self::Product { group, .. } | Self::Move { group, .. } => *group,
        }
    }
}

/// The asynchronous matrix products of a warp.
#[derive(Debug, Clone, Default)]
pub(crate) struct Products {
    /// What has not been computed.
    pub queue: VecDeque<Deferred>,
    /// What has been computed and not been waited for by this warp.
    pub computed: VecDeque<Deferred>,
    /// Groups that were closed.
    pub committed: u32,
}

/// A warp: its lanes' states and registers, and what it has started and not waited for.
#[derive(Debug)]
pub(crate) struct Warp {
    pub index: u32,
    /// Lanes that have not ended.
    pub live: u32,
    /// Lanes that wait at a barrier of the block.
    pub parked: u32,
    /// Lanes whose wait failed and will be tried again.
    pub stalled: u32,
    /// Lanes that wait for others of the warp at a collective instruction.
    pub held: u32,
    /// Lanes that had not ended when others began to wait for them at a barrier.
    pub awaited: u32,
    pub pc: [u32; WARP],
    pub registers: Registers,
    pub clock: WarpClock,
    pub local: Vec<u8>,
    pub local_written: Vec<u8>,
    pub frame: Vec<u8>,
    /// Where each lane goes on after its calls.
    pub calls: Vec<Vec<u32>>,
    pub copies: Vec<Copies>,
    pub stores: Vec<Stores>,
    /// How many stores of the copy engine the warp has issued.
    pub store_time: u32,
    pub products: Products,
    pub carry: u32,
    /// Whether the warp has passed a memory fence, after which its atomic operations pass knowledge on.
    pub fenced: bool,
    /// Counts executed instructions.
    pub instance: u32,
}

impl Warp {
    pub(crate) fn new(program: &Program, index: u32, threads: u32) -> Self {
        Self::with(program, index, threads, Registers::new(&program.widths, program.predicates))
    }

    fn with(program: &Program, index: u32, threads: u32, registers: Registers) -> Self {
        let first = index * WARP as u32;
        let count = (threads - first).min(WARP as u32);
        let lanes = u32::MAX >> (WARP as u32 - count);
        Self {
            index,
            live: lanes,
            parked: 0,
            stalled: 0,
            held: 0,
            awaited: 0,
            pc: [program.entry; WARP],
            registers,
            clock: WarpClock::new(index, threads.next_multiple_of(WARP as u32)),
            local: vec![0xff; WARP * program.local_bytes],
            local_written: vec![0; WARP * program.local_bytes],
            frame: vec![0xff; WARP * program.frame_bytes],
            calls: vec![Vec::new(); WARP],
            copies: vec![Copies::default(); WARP],
            stores: vec![Stores::default(); WARP],
            store_time: 0,
            products: Products::default(),
            carry: 0,
            fenced: false,
            instance: 0,
        }
    }

    /// The warp at the start of another block; the registers keep their room.
    pub(crate) fn restart(&mut self, program: &Program, threads: u32) {
        let mut registers = std::mem::replace(&mut self.registers, Registers::new(&[], 0));
        registers.clear();
        *self = Self::with(program, self.index, threads, registers);
    }

    /// An access of a lane now, by the lane itself or by work that it started.
    pub(crate) fn stamp(&self, pc: u32, lane: usize, agent: Agent, time: u32) -> Stamp<'_> {
        let instance = self.instance.wrapping_mul(64).wrapping_add(self.index);
        Stamp { agent, thread: self.thread(lane), time, pc, instance, clock: self.clock.lane(lane) }
    }

    pub(crate) fn thread(&self, lane: usize) -> u32 {
        self.index * WARP as u32 + lane as u32
    }

    /// Lanes that can execute something now.
    pub(crate) fn ready(&self) -> u32 {
        self.live & !(self.parked | self.stalled | self.held)
    }

    /// Lanes that wait for others at an instruction.
    pub(crate) fn held_at(&self, pc: u32) -> u32 {
        lanes_of(self.held).filter(|lane| self.pc[*lane] == pc).fold(0, |here, lane| here | 1 << lane)
    }

    pub(crate) fn set_pc(&mut self, mask: u32, pc: u32) {
        lanes_of(mask).for_each(|lane| self.pc[lane] = pc);
    }

    /// Of these lanes, the lowest program counter, the lanes that stand there, and the next counter above.
    pub(crate) fn lowest(&self, ready: u32) -> (u32, u32, u32) {
        let pc = lanes_of(ready).map(|lane| self.pc[lane]).min().unwrap_or(0);
        let (mut active, mut other) = (0, u32::MAX);
        for lane in lanes_of(ready) {
            if self.pc[lane] == pc {
                active |= 1 << lane;
            } else {
                other = other.min(self.pc[lane]);
            }
        }
        (pc, active, other)
    }

    /// Addresses of the lanes: base and offset.
    pub(crate) fn addresses(&mut self, addr: crate::op::Addr, mask: u32) -> Lanes {
        let base = self.registers.read(addr.base, mask);
        base.map(|base| base.wrapping_add_signed(addr.offset))
    }
}
