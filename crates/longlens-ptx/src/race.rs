//! Races: accesses to one word without an order between them.
//!
//! Every thread has a clock: how far it knows that other threads have come. Barriers, warp-wide instructions and `mbarrier`
//! phases pass this knowledge on. An access is in order after another one if its thread's clock has reached the time
//! of the other. Asynchronous work (`cp.async`, the copy engine, `wgmma`) keeps time of its own, which a thread learns
//! only when it waits for that work. Further parts of each clock hold what fences have covered.

pub(crate) mod blocks;
pub(crate) mod clock;
mod shadow;

use clock::{Agent, Clock, Cover};
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
    writes: bool,
    strong: bool,
    proxy: bool,
}

impl Entry {
    fn new(stamp: &Stamp, access: Access) -> Self {
        let Stamp { agent, time, pc, instance, .. } = *stamp;
        let proxy = matches!(access, Access::ProxyRead | Access::ProxyWrite);
        Self { agent, lanes: 1, time, pc, instance, writes: access.writes(), strong: access.is_strong(), proxy }
    }

    /// How an access collides with this ordinary write.
    fn conflict(&self, stamp: &Stamp, access: Access, same_value: bool) -> Option<Conflict> {
        let together = self.instance == stamp.instance && same_value && access.writes();
        if together {
            return None;
        }
        if !self.is_before(stamp, Cover::Order) {
            return Some(Conflict { pc: self.pc, proxy: false });
        }
        let by_proxy = matches!(access, Access::ProxyRead | Access::ProxyWrite);
        let unfenced = by_proxy && !self.proxy && !self.is_before(stamp, Cover::Proxy);
        unfenced.then_some(Conflict { pc: self.pc, proxy: true })
    }

    /// Whether a thread that knows this clock comes after the access.
    fn is_before(&self, stamp: &Stamp, cover: Cover) -> bool {
        let own = |agent: Agent| agent == stamp.thread && cover == Cover::Order;
        if self.lanes == 1 {
            return own(self.agent) || stamp.clock.knows(self.agent, self.time, cover);
        }
        crate::lanes::lanes_of(self.lanes).all(|lane| {
            let agent = self.agent + lane as Agent;
            own(agent) || stamp.clock.knows(agent, self.time, cover)
        })
    }
}

/// The accesses to a word that later ones have to come after.
#[derive(Debug, Clone, Default)]
struct Cell {
    /// The last ordinary write.
    write: Option<Entry>,
    /// Reads since then, and accesses meant to be shared.
    others: Vec<Entry>,
}

/// A conflict: with which instruction, and whether only the proxy fence is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub pc: u32,
    pub proxy: bool,
}

impl Cell {
    fn access(&mut self, stamp: &Stamp, access: Access, same_value: bool) -> Option<Conflict> {
        let mut conflict = self.write.as_ref().and_then(|write| write.conflict(stamp, access, same_value));
        for other in &self.others {
            let collides = match (access.is_strong(), other.strong) {
                (true, true) => false,
                (false, true) => access.writes() || other.writes,
                (_, false) => access.writes(),
            };
            if conflict.is_none() && collides && !other.is_before(stamp, Cover::Order) {
                conflict = Some(Conflict { pc: other.pc, proxy: false });
            }
        }
        if access.writes() && !access.is_strong() {
            self.others.clear();
            self.write = Some(Entry::new(stamp, access));
        } else {
            self.add(Entry::new(stamp, access), stamp);
        }
        conflict
    }

    /// The last ordinary write of a thread: thread, time and instruction.
    fn writer(&self) -> Option<(u32, u32, u32)> {
        self.write.as_ref().map(|write| (write.agent, write.time, write.pc))
    }

    fn was_written(&self) -> bool {
        self.write.is_some() || self.others.iter().any(|other| other.writes)
    }

    fn add(&mut self, entry: Entry, stamp: &Stamp) {
        let same_kind = |other: &Entry| other.strong == entry.strong && other.writes == entry.writes;
        if stamp.agent == stamp.thread {
            // lanes of a warp at one time share an entry
            let (first, lane) = (stamp.thread & !31, stamp.thread & 31);
            for other in &mut self.others {
                let is_warp = other.agent & !31 == first && other.agent < stamp.clock.threads();
                if is_warp && other.time == entry.time && same_kind(other) {
                    other.lanes = other.lanes << (other.agent - first) | 1 << lane;
                    other.agent = first;
                    return;
                }
            }
        } else if self.others.iter().any(|other| other.agent == entry.agent && other.time == entry.time) {
            return;
        }
        // what comes after this access comes after those of its kind before it
        self.others.retain(|other| !same_kind(other) || !other.is_before(stamp, Cover::Order));
        self.others.push(entry);
    }
}
