//! Races: accesses to one word without an order between them.
//!
//! Every thread has a clock: how far it knows that other threads have come. Barriers, warp-wide instructions and `mbarrier`
//! phases pass this knowledge on. An access is in order after another one if its thread's clock has reached the time
//! of the other. Asynchronous work (`cp.async`, the copy engine, `wgmma`) keeps time of its own, which a thread learns
//! only when it waits for that work. A second half of each clock holds what a `fence.proxy.async` has covered.

pub(crate) mod clock;

use std::collections::HashMap;

use clock::{Agent, Clock};

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

/// The accesses to a piece of memory.
#[derive(Debug, Default)]
pub(crate) struct Shadow {
    cells: HashMap<u32, Box<[Cell; PAGE]>, clock::FastHash>,
    /// Words whose bytes were accessed apart, byte by byte.
    bytes: HashMap<u32, [Cell; 4], clock::FastHash>,
}

/// Words of a page, which is made when it is first touched.
const PAGE: usize = 64;

impl Shadow {
    pub(crate) fn clear(&mut self) {
        self.cells.clear();
        self.bytes.clear();
    }

    /// An access to the bytes of one word (`mask`: which of the four).
    pub(crate) fn access(
        &mut self,
        word: u32,
        mask: u8,
        stamp: &Stamp,
        access: Access,
        same_value: bool,
    ) -> Option<Conflict> {
        let page = self.cells.entry(word / PAGE as u32).or_insert_with(|| Box::new(std::array::from_fn(|_| Cell::default())));
        let cell = &mut page[word as usize % PAGE];
        if self.bytes.is_empty() && mask == 0xf {
            return cell.access(stamp, access, same_value);
        }
        if mask == 0xf && !self.bytes.contains_key(&word) {
            return cell.access(stamp, access, same_value);
        }
        let split = self.bytes.entry(word).or_insert_with(|| std::array::from_fn(|_| cell.clone()));
        let mut conflict = None;
        for (_, byte) in split.iter_mut().enumerate().filter(|(index, _)| mask >> index & 1 == 1) {
            conflict = conflict.or(byte.access(stamp, access, same_value));
        }
        if mask == 0xf && access.writes() {
            *cell = split[0].clone();
            self.bytes.remove(&word);
        }
        conflict
    }

    /// An access to a range of bytes, word by word; the first conflict.
    pub(crate) fn access_range(
        &mut self,
        start: u32,
        bytes: u32,
        stamp: &Stamp,
        access: Access,
        same_value: bool,
    ) -> Option<Conflict> {
        let mut conflict = None;
        let mut at = start;
        while at < start + bytes {
            let word = at / 4;
            let end = (start + bytes).min(4 * word + 4);
            let mask = (at..end).fold(0u8, |mask, byte| mask | 1 << (byte % 4));
            conflict = conflict.or(self.access(word, mask, stamp, access, same_value));
            at = end;
        }
        conflict
    }
}
