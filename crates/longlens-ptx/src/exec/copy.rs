//! `cp.async`: copies of single threads, whose bytes land when the thread waits for them.

use super::access::Place;
use crate::Error;
use crate::block::Block;
use crate::lanes::lanes_of;
use crate::op::{CopyAsync, Space};
use crate::race::Access;
use crate::race::clock::Work;
use crate::report::Mistake;
use crate::warp::{PendingCopy, Warp};

impl Block<'_, '_> {
    pub(super) fn copy_async(&mut self, warp: &mut Warp, pc: u32, copy: &CopyAsync, mask: u32) -> Result<(), Error> {
        let (to, from) = (warp.addresses(copy.to, mask), warp.addresses(copy.from, mask));
        let lengths = copy.source_bytes.map(|bytes| warp.registers.read(bytes, mask));
        let ignored = copy.ignore.map_or(0, |pred| warp.registers.predicate(pred, mask));
        let (mut shared, mut global) = (Vec::new(), Vec::new());
        for lane in lanes_of(mask) {
            let wanted = lengths.map_or(copy.bytes, |lengths| lengths[lane] as u32 as usize);
            let length = if ignored >> lane & 1 == 1 { 0 } else { wanted };
            if length > copy.bytes {
                let detail = format!("{length} bytes are to be read into {}", copy.bytes);
                return Err(self.fault(warp.thread(lane), pc, Mistake::Misuse, detail));
            }
            let place = self.place(warp, pc, lane, Space::Shared, to[lane], copy.bytes)?;
            let Place::Shared(at) = place else { unreachable!("a shared address leads to shared memory") };
            shared.push(at);
            let mut bytes = [0; 16];
            if length > 0 {
                let source = self.place(warp, pc, lane, Space::Global, from[lane], copy.bytes)?;
                if !self.read_bytes(warp, lane, source, &mut bytes[..length]) {
                    self.note_uninitialized(warp.thread(lane), pc, source);
                }
                self.check_race(warp, pc, lane, (source, length), Access::Read, true);
                if let Place::Global { allocation, offset } = source {
                    global.push((allocation, offset));
                }
            }
            self.start_copy(warp, pc, lane, &PendingCopy { to: at, bytes, length: copy.bytes, group: 0 });
        }
        self.count_conflicts(pc, &shared, copy.bytes);
        self.count_traffic(&mut global, copy.bytes, false);
        warp.clock.touch();
        Ok(())
    }

    /// The write begins now and ends when the thread has waited: until then it is in order with nothing.
    fn start_copy(&mut self, warp: &mut Warp, pc: u32, lane: usize, copy: &PendingCopy) {
        let thread = warp.thread(lane);
        let group = warp.copies[lane].committed + 1;
        let stamp = warp.stamp(pc, lane, self.agent(Work::Copies { warp: warp.index }), group);
        let conflict = self.shared_shadow.access_range(copy.to, copy.length as u32, &stamp, Access::Write, false);
        if let Some(conflict) = conflict {
            self.note_conflict(thread, pc, Place::Shared(copy.to), conflict);
        }
        warp.copies[lane].pending.push_back(PendingCopy { group, ..copy.clone() });
    }

    /// The bytes of all but the last `pending` groups land.
    pub(super) fn copy_wait(&mut self, warp: &mut Warp, mask: u32, pending: u32) {
        let agent = self.agent(Work::Copies { warp: warp.index });
        for lane in lanes_of(mask) {
            let done = warp.copies[lane].committed.saturating_sub(pending);
            self.land(warp, lane, done);
        }
        let least = lanes_of(mask).map(|lane| warp.copies[lane].committed.saturating_sub(pending)).min().unwrap_or(0);
        warp.clock.learn(mask, agent, least);
    }

    /// Bytes of the groups up to one land in shared memory.
    pub(crate) fn land(&mut self, warp: &mut Warp, lane: usize, group: u32) {
        while warp.copies[lane].pending.front().is_some_and(|copy| copy.group <= group) {
            if let Some(copy) = warp.copies[lane].pending.pop_front() {
                self.write_shared(copy.to, &copy.bytes[..copy.length]);
            }
        }
    }

    /// The thread's copies so far count as waited for by whoever waits at the `mbarrier`.
    pub(crate) fn land_for_barrier(&mut self, warp_index: u32, lane: usize, group: u32) {
        if let Some(mut warp) = self.warps[warp_index as usize].take() {
            self.land(&mut warp, lane, group);
            self.warps[warp_index as usize] = Some(warp);
        }
    }
}
