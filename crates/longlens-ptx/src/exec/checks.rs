//! What is looked at and counted beside an access: races, reads of nothing, bank conflicts, traffic.

use super::access::Place;
use crate::banks;
use crate::block::Block;
use crate::race::{Access, Conflict, Shadow};
use crate::report::Mistake;
use crate::warp::Warp;

impl Block<'_, '_> {
    /// Looks for a race of one lane's access.
    pub(crate) fn check_race(
        &mut self,
        warp: &Warp,
        pc: u32,
        lane: usize,
        (place, bytes): (Place, usize),
        access: Access,
        same_value: bool,
    ) {
        let thread = warp.thread(lane);
        let stamp = warp.stamp(pc, lane, thread, warp.clock.time());
        let conflict = match place {
            Place::Shared(at) => self.shared_shadow.access_range(at, bytes as u32, &stamp, access, same_value),
            Place::Global { allocation, offset } if self.device.memory.allocations[allocation].writable => {
                if self.global_shadows.len() <= allocation {
                    self.global_shadows.resize_with(allocation + 1, Shadow::default);
                }
                let range = (offset as u32, bytes as u32);
                let shadow = &mut self.global_shadows[allocation];
                // what this block has written itself hides what others wrote before
                let others = self.device.blocks.conflict(allocation, range, &stamp, access, same_value);
                let others = others.filter(|_| !shadow.was_written(range.0, range.1));
                shadow.access_range(range.0, range.1, &stamp, access, same_value).or(others)
            }
            _ => None,
        };
        if let Some(conflict) = conflict {
            self.note_conflict(thread, pc, place, conflict);
        }
    }

    /// The read-only cache may hold what was there before the kernel's own stores.
    pub(crate) fn check_read_only(&mut self, thread: u32, pc: u32, (allocation, offset): (usize, usize), bytes: usize) {
        let Some(shadow) = self.global_shadows.get_mut(allocation) else { return };
        if self.device.memory.allocations[allocation].writable && shadow.was_written(offset as u32, bytes as u32) {
            let name = self.device.memory.allocations[allocation].name.clone();
            let detail =
                format!("offset {offset} of `{name}` was written by this block, and is read as if it never changed");
            self.note(thread, pc, Mistake::Misuse, detail);
        }
    }

    pub(crate) fn note_conflict(&mut self, thread: u32, pc: u32, place: Place, conflict: Conflict) {
        let word = match place {
            Place::Shared(at) => format!("shared address {at}"),
            Place::Global { allocation, offset } => {
                format!("offset {offset} of `{}`", self.device.memory.allocations[allocation].name)
            }
            _ => String::new(),
        };
        let (mistake, detail) = if conflict.proxy {
            (Mistake::MissingProxyFence, format!("{word} was written by an ordinary store"))
        } else {
            (Mistake::Race, format!("{word}, with no order between the two"))
        };
        self.note_pair(thread, pc, conflict.pc, mistake, detail);
    }

    pub(crate) fn note_uninitialized(&mut self, thread: u32, pc: u32, place: Place) {
        if self.device.options.permit_uninitialized {
            return;
        }
        let detail = match place {
            Place::Global { allocation, offset } => {
                format!("offset {offset} of `{}`", self.device.memory.allocations[allocation].name)
            }
            Place::Shared(at) => format!("shared address {at}"),
            Place::Local(at) => format!("local address {at}"),
            _ => String::new(),
        };
        self.note(thread, pc, Mistake::UninitializedMemory, detail);
    }

    /// Counts bank conflicts of the lanes' shared addresses.
    pub(crate) fn count_conflicts(&mut self, pc: u32, addresses: &[u32], bytes: usize) {
        if addresses.is_empty() {
            return;
        }
        let extra = banks::extra_passes(addresses, bytes);
        let count = &mut self.device.counts[pc as usize];
        count.shared_accesses += 1;
        count.extra_passes += extra;
    }

    /// Counts what a warp's instruction moves: lanes that share an address move it once.
    pub(crate) fn count_traffic(&mut self, places: &mut Vec<(usize, usize)>, bytes: usize, stores: bool) {
        places.sort_unstable();
        places.dedup();
        for (allocation, _) in places {
            let allocation = &mut self.device.memory.allocations[*allocation];
            *(if stores { &mut allocation.stored } else { &mut allocation.loaded }) += bytes as u64;
        }
    }
}
