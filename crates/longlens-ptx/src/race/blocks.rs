//! Order between blocks, which run one after the other here and at the same time on a card.
//!
//! What a block wrote to a buffer may be read by another one only if a fence for the device covered the write, an atomic
//! operation (or volatile store) handed that on, and one on the same address took it up.

use std::collections::HashMap;

use super::clock::{Clock, Cover, FastHash};
use super::shadow::Part;
use super::{Access, Conflict, Shadow, Stamp};

/// The last ordinary write of a word or byte by a block that has ended.
#[derive(Debug, Clone, Copy)]
struct Writer {
    block: u64,
    thread: u32,
    time: u32,
    pc: u32,
}

/// What a thread knew when it handed it on.
#[derive(Debug)]
struct Release {
    block: u64,
    clock: Clock,
}

/// What blocks that have ended leave behind.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    /// By buffer, and word or byte.
    writers: Vec<HashMap<Part, Writer, FastHash>>,
    releases: HashMap<u64, Vec<Release>>,
}

impl Blocks {
    /// Takes up what others handed on through an address.
    pub(crate) fn take_up(&self, address: u64, clock: &mut Clock) {
        let Some(releases) = self.releases.get(&address) else { return };
        clock.learn_handed_on(address, releases.len());
        for release in releases {
            for (address, count) in release.clock.handed_on() {
                clock.learn_handed_on(*address, *count);
            }
        }
    }

    pub(crate) fn has_releases(&self, address: u64) -> bool {
        self.releases.contains_key(&address)
    }

    /// Hands on through an address what a thread of a block knows.
    pub(crate) fn hand_on(&mut self, address: u64, block: u64, clock: Clock) {
        self.releases.entry(address).or_default().push(Release { block, clock });
    }

    /// Keeps what a block wrote to a buffer.
    pub(crate) fn keep(&mut self, block: u64, buffer: usize, shadow: &Shadow) {
        if self.writers.len() <= buffer {
            self.writers.resize_with(buffer + 1, HashMap::default);
        }
        for (part, (thread, time, pc)) in shadow.writers() {
            self.writers[buffer].insert(part, Writer { block, thread, time, pc });
        }
    }

    /// A conflict of an access with a write of another block: the instruction there.
    pub(crate) fn conflict(
        &self,
        buffer: usize,
        (start, bytes): (u32, u32),
        stamp: &Stamp,
        access: Access,
        same_value: bool,
    ) -> Option<Conflict> {
        let writers = self.writers.get(buffer).filter(|writers| !writers.is_empty())?;
        if access.writes() && same_value {
            return None;
        }
        let words = (start / 4..(start + bytes).div_ceil(4)).map(Part::Word);
        let parts = words.chain((start..start + bytes).map(Part::Byte));
        let unknown = parts.filter_map(|part| writers.get(&part)).find(|writer| !self.is_known(writer, stamp.clock))?;
        Some(Conflict { pc: unknown.pc, proxy: false })
    }

    fn is_known(&self, writer: &Writer, clock: &Clock) -> bool {
        clock.handed_on().iter().any(|(address, count)| {
            let releases = self.releases.get(address).map_or(&[][..], |releases| &releases[..*count]);
            releases.iter().any(|release| {
                release.block == writer.block && release.clock.knows(writer.thread, writer.time, Cover::Device)
            })
        })
    }
}
