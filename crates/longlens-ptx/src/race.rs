//! Races: accesses to one word without an order between them.
//!
//! Every thread has a clock: how far it knows that other threads have come. Barriers, warp-wide instructions and `mbarrier`
//! phases pass this knowledge on. An access is in order after another one if its thread's clock has reached the time
//! of the other. Asynchronous work (`cp.async`, the copy engine, `wgmma`) keeps time of its own, which a thread learns
//! only when it waits for that work. A second half of each clock holds what a `fence.proxy.async` has covered.

pub(crate) mod clock;
mod shadow;

use clock::{Agent, Clock};
pub(crate) use shadow::Shadow;

/// What an access does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    /// Meant to be shared between threads: it races only with ordinary accesses.
    StrongRead,
    StrongWrite,
    /// A read by the copy engine or by `wgmma`, through another path to shared memory (the asynchronous proxy).
    ProxyRead,
    /// A write by the copy engine.
    ProxyWrite,
}

impl Access {
    fn writes(self) -> bool {
        matches!(self, Self::Write | Self::StrongWrite | Self::ProxyWrite)
    }

    fn is_strong(self) -> bool {
        matches!(self, Self::StrongRead | Self::StrongWrite)
    }
}

/// Who accesses, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp<'a> {
    /// The agent whose time the access counts in.
    pub agent: Agent,
    /// The thread, for its own order, even if the agent is asynchronous.
    pub thread: u32,
    pub time: u32,
    pub pc: u32,
    /// Equal for the lanes of a warp that execute one instruction together.
    pub instance: u32,
    /// What the thread knows.
    pub clock: &'a Clock,
}

/// An access that happened.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    agent: Agent,
    /// Threads of the warp, from the agent on; 1 for other agents.
    lanes: u32,
    time: u32,
    pc: u32,
    instance: u32,
    strong: bool,
    proxy: bool,
}

impl Entry {
    /// Whether a thread that knows this clock comes after the access.
    fn is_before(&self, stamp: &Stamp, fenced: bool) -> bool {
        let own = |agent: Agent| agent == stamp.thread && !fenced;
        if self.lanes == 1 {
            return own(self.agent) || stamp.clock.knows(self.agent, self.time, fenced);
        }
        crate::lanes::lanes_of(self.lanes).all(|lane| {
            let agent = self.agent + lane as Agent;
            own(agent) || stamp.clock.knows(agent, self.time, fenced)
        })
    }
}

/// The accesses to a word that later ones have to come after.
#[derive(Debug, Clone, Default)]
struct Cell {
    write: Option<Entry>,
    reads: Vec<Entry>,
}

/// A conflict: with which instruction, and whether only the proxy fence is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub pc: u32,
    pub proxy: bool,
}

impl Cell {
    fn access(&mut self, stamp: &Stamp, access: Access, same_value: bool) -> Option<Conflict> {
        let mut conflict = None;
        let race = |pc| Some(Conflict { pc, proxy: false });
        if let Some(write) = &self.write {
            let together = write.instance == stamp.instance && (same_value || !access.writes());
            let both_strong = write.strong && access.is_strong();
            if !together && !both_strong {
                if !write.is_before(stamp, false) {
                    conflict = race(write.pc);
                } else if access == Access::ProxyRead && !write.proxy && !write.is_before(stamp, true) {
                    conflict = Some(Conflict { pc: write.pc, proxy: true });
                }
            }
        }
        if access.writes() {
            for read in &self.reads {
                let both_strong = read.strong && access.is_strong();
                if conflict.is_none() && !both_strong && !read.is_before(stamp, false) {
                    conflict = race(read.pc);
                }
            }
            self.reads.clear();
            self.write = Some(Self::entry(stamp, access));
        } else {
            self.add_read(stamp, access);
        }
        conflict
    }

    fn entry(stamp: &Stamp, access: Access) -> Entry {
        let proxy = matches!(access, Access::ProxyRead | Access::ProxyWrite);
        let Stamp { agent, time, pc, instance, .. } = *stamp;
        Entry { agent, lanes: 1, time, pc, instance, strong: access.is_strong(), proxy }
    }

    fn add_read(&mut self, stamp: &Stamp, access: Access) {
        let entry = Self::entry(stamp, access);
        if stamp.agent == stamp.thread {
            // lanes of a warp at one time share an entry
            let (first, lane) = (stamp.thread & !31, stamp.thread & 31);
            for read in &mut self.reads {
                let is_warp = read.agent & !31 == first && read.agent < stamp.clock.threads();
                if is_warp && read.time == entry.time && read.strong == entry.strong {
                    read.lanes = read.lanes << (read.agent - first) | 1 << lane;
                    read.agent = first;
                    return;
                }
            }
        } else if self.reads.iter().any(|read| read.agent == entry.agent && read.time == entry.time) {
            return;
        }
        // what comes before this read need not be remembered beside it
        self.reads.retain(|read| read.strong != entry.strong || !read.is_before(stamp, false));
        self.reads.push(entry);
    }
}
