//! Loads, stores and atomic operations, with all checks of addresses.

use super::is_in;
use crate::Error;
use crate::block::Block;
use crate::lanes::{Lanes, WARP, first_lane, lanes_of};
use crate::lower::{LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW};
use crate::op::{Atomic, Load, Order, Space, Store};
use crate::race::Access;
use crate::race::clock::{Clock, Cover};
use crate::report::Mistake;
use crate::warp::Warp;

/// The most bytes that a thread moves with one instruction.
pub(super) const WIDEST: usize = 32;

/// Where an address leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Global { allocation: usize, offset: usize },
    Shared(u32),
    Local(usize),
    Param(usize),
    Frame(usize),
}

impl Block<'_, '_> {
    /// Checks an address and finds what it leads to.
    pub(crate) fn place(
        &mut self,
        warp: &Warp,
        pc: u32,
        lane: usize,
        space: Space,
        address: u64,
        bytes: usize,
    ) -> Result<Place, Error> {
        if !address.is_multiple_of(bytes.next_power_of_two() as u64) {
            let detail = format!("address {address:#x} is no multiple of {bytes}");
            return Err(self.fault(warp.thread(lane), pc, Mistake::Misaligned, detail));
        }
        let found = match space {
            Space::Shared => self.shared_place(address, bytes),
            Space::Local => self.local_place(address, bytes),
            Space::Param => self.param_place(address, bytes),
            Space::Frame => Some(Place::Frame(address as usize)),
            Space::Generic if is_in(SHARED_WINDOW, address) => self.shared_place(address - SHARED_WINDOW, bytes),
            Space::Generic if is_in(LOCAL_WINDOW, address) => self.local_place(address - LOCAL_WINDOW, bytes),
            Space::Generic | Space::Global if is_in(PARAM_WINDOW, address) => self.param_place(address, bytes),
            Space::Generic | Space::Global => {
                let found = self.device.memory.locate(address, bytes);
                found.map(|(allocation, offset)| Place::Global { allocation, offset })
            }
        };
        found.ok_or_else(|| {
            let detail = self.describe(space, address, bytes);
            self.fault(warp.thread(lane), pc, Mistake::OutOfBounds, detail)
        })
    }

    fn shared_place(&self, address: u64, bytes: usize) -> Option<Place> {
        let address = u32::try_from(address).ok()?;
        self.is_shared(address, bytes as u32).then_some(Place::Shared(address))
    }

    fn local_place(&self, address: u64, bytes: usize) -> Option<Place> {
        let inside = address.checked_add(bytes as u64)? <= self.program.local_bytes as u64;
        inside.then_some(Place::Local(address as usize))
    }

    fn param_place(&self, address: u64, bytes: usize) -> Option<Place> {
        let offset = address.checked_sub(PARAM_WINDOW)? as usize;
        (offset + bytes <= self.device.parameters.len()).then_some(Place::Param(offset))
    }

    fn describe(&self, space: Space, address: u64, bytes: usize) -> String {
        let is_shared = space == Space::Shared || space == Space::Generic && is_in(SHARED_WINDOW, address);
        if is_shared {
            let address = if space == Space::Shared { address } else { address - SHARED_WINDOW };
            return format!("{bytes} bytes at shared address {address}; the block has 1024 to {}", self.shared_end());
        }
        match space {
            Space::Local => format!("{bytes} bytes at local address {address} of {}", self.program.local_bytes),
            Space::Param => format!("{bytes} bytes at {address:#x}, outside the parameters"),
            _ => self.device.memory.describe(address, bytes),
        }
    }

    /// Reads bytes of a place; says whether all of them were written before.
    pub(crate) fn read_bytes(&mut self, warp: &Warp, lane: usize, place: Place, out: &mut [u8]) -> bool {
        let n = out.len();
        match place {
            Place::Global { allocation, offset } => {
                let allocation = &mut self.device.memory.allocations[allocation];
                out.copy_from_slice(&allocation.data[offset..offset + n]);
                all_written(&allocation.written[offset..offset + n])
            }
            Place::Shared(at) => {
                let at = at as usize;
                out.copy_from_slice(&self.shared[at..at + n]);
                all_written(&self.shared_written[at..at + n])
            }
            Place::Local(at) => {
                let at = lane * self.program.local_bytes + at;
                out.copy_from_slice(&warp.local[at..at + n]);
                all_written(&warp.local_written[at..at + n])
            }
            Place::Param(at) => {
                out.copy_from_slice(&self.device.parameters[at..at + n]);
                true
            }
            Place::Frame(at) => {
                let at = lane * self.program.frame_bytes + at;
                out.copy_from_slice(&warp.frame[at..at + n]);
                true
            }
        }
    }

    /// Writes bytes to a place.
    pub(crate) fn write_bytes(
        &mut self,
        warp: &mut Warp,
        pc: u32,
        lane: usize,
        place: Place,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let n = bytes.len();
        match place {
            Place::Global { allocation, offset } => {
                let allocation = &mut self.device.memory.allocations[allocation];
                if !allocation.writable {
                    let detail = format!("`{}` is an input", allocation.name);
                    return Err(self.fault(warp.thread(lane), pc, Mistake::ReadOnly, detail));
                }
                allocation.data[offset..offset + n].copy_from_slice(bytes);
                allocation.written[offset..offset + n].fill(1);
            }
            Place::Shared(at) => self.write_shared(at, bytes),
            Place::Local(at) => {
                let at = lane * self.program.local_bytes + at;
                warp.local[at..at + n].copy_from_slice(bytes);
                warp.local_written[at..at + n].fill(1);
            }
            Place::Frame(at) => {
                let at = lane * self.program.frame_bytes + at;
                warp.frame[at..at + n].copy_from_slice(bytes);
            }
            Place::Param(_) => {
                return Err(self.fault(warp.thread(lane), pc, Mistake::ReadOnly, "a parameter of the kernel"));
            }
        }
        Ok(())
    }

    pub(crate) fn write_shared(&mut self, at: u32, bytes: &[u8]) {
        let at = at as usize;
        self.shared[at..at + bytes.len()].copy_from_slice(bytes);
        self.shared_written[at..at + bytes.len()].fill(1);
    }

    pub(crate) fn load(&mut self, warp: &mut Warp, pc: u32, load: &Load, mask: u32) -> Result<(), Error> {
        let addresses = warp.addresses(load.addr, mask);
        let total = load.bytes * load.d.len();
        let mut values = [[0u64; WARP]; 8];
        let access = if load.order == Order::Weak { Access::Read } else { Access::StrongRead };
        let (mut shared, mut global) = (Vec::new(), Vec::new());
        for lane in lanes_of(mask) {
            let place = self.place(warp, pc, lane, load.addr.space, addresses[lane], total)?;
            let mut bytes = [0; WIDEST];
            if !self.read_bytes(warp, lane, place, &mut bytes[..total]) {
                self.note_uninitialized(warp.thread(lane), pc, place);
            }
            self.check_race(warp, pc, lane, (place, total), access, true);
            match place {
                Place::Shared(at) => shared.push(at),
                Place::Global { allocation, offset } => {
                    global.push((allocation, offset));
                    if load.read_only {
                        self.check_read_only(warp.thread(lane), pc, (allocation, offset), total);
                    }
                }
                _ => {}
            }
            for (value, chunk) in values.iter_mut().zip(bytes.chunks(load.bytes)).take(load.d.len()) {
                value[lane] = number(chunk, load.signed);
            }
        }
        self.count_conflicts(pc, &shared, total);
        self.count_traffic(&mut global, total, false);
        warp.clock.touch();
        self.pass_order(warp, load.order, mask, &addresses);
        for (slot, values) in load.d.iter().zip(&values) {
            warp.registers.write(*slot, mask, values);
        }
        Ok(())
    }

    pub(crate) fn store(&mut self, warp: &mut Warp, pc: u32, store: &Store, mask: u32) -> Result<(), Error> {
        let addresses = warp.addresses(store.addr, mask);
        let total = store.bytes * store.values.len();
        let values: Vec<Lanes> = store.values.iter().map(|value| warp.registers.read(*value, mask)).collect();
        let access = if store.order == Order::Weak { Access::Write } else { Access::StrongWrite };
        self.pass_order(warp, store.order, mask, &addresses);
        let (mut shared, mut global) = (Vec::new(), Vec::new());
        for lane in lanes_of(mask) {
            let place = self.place(warp, pc, lane, store.addr.space, addresses[lane], total)?;
            let mut bytes = [0; WIDEST];
            for (value, chunk) in values.iter().zip(bytes.chunks_mut(store.bytes)) {
                chunk.copy_from_slice(&value[lane].to_le_bytes()[..store.bytes.min(8)]);
            }
            let mut old = [0; WIDEST];
            if matches!(place, Place::Shared(_) | Place::Global { .. }) {
                self.peek(place, &mut old[..total]);
                self.check_race(warp, pc, lane, (place, total), access, old == bytes);
            }
            match place {
                Place::Shared(at) => shared.push(at),
                Place::Global { allocation, offset } => global.push((allocation, offset)),
                _ => {}
            }
            self.write_bytes(warp, pc, lane, place, &bytes[..total])?;
        }
        self.count_conflicts(pc, &shared, total);
        self.count_traffic(&mut global, total, true);
        warp.clock.touch();
        Ok(())
    }

    /// What a place holds, without counting it as a read.
    fn peek(&self, place: Place, out: &mut [u8]) {
        let n = out.len();
        match place {
            Place::Global { allocation, offset } => {
                out.copy_from_slice(&self.device.memory.allocations[allocation].data[offset..offset + n]);
            }
            Place::Shared(at) => out.copy_from_slice(&self.shared[at as usize..at as usize + n]),
            _ => {}
        }
    }

    pub(crate) fn atomic(&mut self, warp: &mut Warp, pc: u32, atomic: &Atomic, mask: u32) -> Result<(), Error> {
        let addresses = warp.addresses(atomic.addr, mask);
        let (b, c) = (warp.registers.read(atomic.b, mask), warp.registers.read(atomic.c, mask));
        self.pass_order(warp, atomic.order, mask, &addresses);
        let mut values = [0; WARP];
        for lane in lanes_of(mask) {
            let place = self.place(warp, pc, lane, atomic.addr.space, addresses[lane], atomic.bytes)?;
            let mut old = [0; 8];
            if !self.read_bytes(warp, lane, place, &mut old[..atomic.bytes]) {
                self.note_uninitialized(warp.thread(lane), pc, place);
            }
            self.check_race(warp, pc, lane, (place, atomic.bytes), Access::StrongWrite, true);
            let old = u64::from_le_bytes(old);
            let new = (atomic.run)(&[old; WARP], &[b[lane]; WARP], &[c[lane]; WARP])[0];
            values[lane] = old;
            if let Place::Global { allocation, offset } = place {
                self.count_traffic(&mut vec![(allocation, offset)], atomic.bytes, true);
            }
            self.write_bytes(warp, pc, lane, place, &new.to_le_bytes()[..atomic.bytes])?;
        }
        warp.clock.touch();
        warp.registers.write(atomic.d, mask, &values);
        Ok(())
    }

    /// Accesses meant to be shared take up what others handed on through their address and, after a fence, hand on what
    /// the thread knows: inside the block, and between blocks.
    fn pass_order(&mut self, warp: &mut Warp, order: Order, mask: u32, addresses: &Lanes) {
        if order == Order::Weak {
            return;
        }
        if order == Order::Ordered {
            warp.clock.fence(mask, Cover::Device);
        }
        let hands_on = order == Order::Ordered || warp.fenced;
        let many_blocks = self.device.grid != [1; 3];
        for lane in lanes_of(mask) {
            let address = addresses[lane];
            if many_blocks && self.device.blocks.has_releases(address) {
                let mut known = Clock::new(self.clock_threads());
                self.device.blocks.take_up(address, &mut known);
                warp.clock.acquire(1 << lane, &known);
            }
            if hands_on {
                let threads = self.clock_threads();
                let clock = self.signals.entry(address).or_insert_with(|| Clock::new(threads));
                warp.clock.acquire(1 << lane, clock);
                if many_blocks {
                    self.device.blocks.hand_on(address, self.number, warp.clock.snapshot(lane));
                }
                warp.clock.release(1 << lane, clock);
            }
        }
    }
}

fn all_written(flags: &[u8]) -> bool {
    flags.iter().fold(1, |all, flag| all & flag) == 1
}

fn number(bytes: &[u8], signed: bool) -> u64 {
    let mut whole = [0; 8];
    whole[..bytes.len().min(8)].copy_from_slice(&bytes[..bytes.len().min(8)]);
    let value = u64::from_le_bytes(whole);
    let unused = 64 - 8 * bytes.len().min(8) as u32;
    // a register of 32 bits holds the lower half of the extended number
    if signed { ((value << unused).cast_signed() >> unused).cast_unsigned() } else { value }
}

/// The thread that a message names for a warp-wide access.
pub(super) fn named_thread(warp: &Warp, mask: u32) -> u32 {
    warp.thread(first_lane(mask))
}
