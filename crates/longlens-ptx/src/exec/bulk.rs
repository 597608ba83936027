//! The copy engine: boxes of tensors and plain ranges between global and shared memory.

use super::access::Place;
use super::is_in;
use crate::Error;
use crate::block::Block;
use crate::lanes::lanes_of;
use crate::lower::PARAM_WINDOW;
use crate::mbarrier::PendingLoad;
use crate::op::{Addr, Bulk, Space, Src};
use crate::race::Access;
use crate::race::clock::Work;
use crate::report::Mistake;
use crate::tensor_map::TensorMap;
use crate::warp::{PendingStore, Warp};

/// A piece of a box that lies in one row of the tensor: global address, shared address, bytes. No address: outside.
struct Piece {
    global: Option<u64>,
    shared: u32,
    bytes: u32,
}

impl Block<'_, '_> {
    pub(super) fn bulk(&mut self, warp: &mut Warp, pc: u32, bulk: &Bulk, mask: u32) -> Result<(), Error> {
        for lane in lanes_of(mask) {
            match bulk {
                Bulk::Load { to, from, bytes, barrier } => {
                    let (to, from) = (lane_address(warp, *to, lane), lane_address(warp, *from, lane));
                    let bytes = warp.registers.lane(*bytes, lane) as u32;
                    self.load_bulk(warp, pc, lane, (to, from, bytes), None, *barrier)?;
                }
                Bulk::TensorLoad { to, map, coordinates, barrier } => {
                    let to = lane_address(warp, *to, lane);
                    let map = self.map_at(warp, pc, lane, *map, coordinates.len())?;
                    let coordinates = lane_coordinates(warp, coordinates, lane);
                    let bytes = self.device.maps[map].1.box_bytes();
                    self.load_bulk(warp, pc, lane, (to, 0, bytes), Some((map, coordinates)), *barrier)?;
                }
                Bulk::Store { .. } | Bulk::TensorStore { .. } => self.start_store(warp, pc, lane, bulk)?,
                Bulk::Commit => warp.stores[lane].committed += 1,
                Bulk::Wait { pending } => self.wait_stores(warp, lane, *pending)?,
            }
        }
        warp.clock.touch();
        Ok(())
    }

    fn load_bulk(
        &mut self,
        warp: &mut Warp,
        pc: u32,
        lane: usize,
        (to, from, bytes): (u64, u64, u32),
        map: Option<(usize, Vec<i32>)>,
        barrier: Addr,
    ) -> Result<(), Error> {
        let to = self.shared_range(warp, pc, lane, to, bytes, if map.is_some() { 128 } else { 16 })?;
        let barrier = lane_address(warp, barrier, lane) as u32;
        let thread = warp.thread(lane);
        self.start_load(warp, lane, barrier, PendingLoad { pc, thread, to, bytes, from, map })
    }

    /// A shared range of the copy engine, checked.
    fn shared_range(
        &self,
        warp: &Warp,
        pc: u32,
        lane: usize,
        address: u64,
        bytes: u32,
        align: u32,
    ) -> Result<u32, Error> {
        let at = address as u32;
        let thread = warp.thread(lane);
        if !at.is_multiple_of(align) || !bytes.is_multiple_of(16) {
            let detail = format!("shared address {at} and {bytes} bytes have to be multiples of {align} and 16");
            return Err(self.fault(thread, pc, Mistake::Misaligned, detail));
        }
        if !self.is_shared(at, bytes) {
            let detail = format!("{bytes} bytes at shared address {at}; the block has 1024 to {}", self.shared_end());
            return Err(self.fault(thread, pc, Mistake::OutOfBounds, detail));
        }
        Ok(at)
    }

    /// The tensor map that a parameter's address names.
    fn map_at(&self, warp: &mut Warp, pc: u32, lane: usize, addr: Addr, rank: usize) -> Result<usize, Error> {
        let address = lane_address(warp, addr, lane);
        let found = self
            .device
            .maps
            .iter()
            .position(|(offset, _)| is_in(PARAM_WINDOW, address) && address - PARAM_WINDOW == *offset as u64);
        let thread = warp.thread(lane);
        let Some(map) = found else {
            return Err(self.fault(thread, pc, Mistake::Misuse, format!("no tensor map is at {address:#x}")));
        };
        let map_rank = self.device.maps[map].1.dims.len();
        if map_rank != rank {
            let detail = format!("{rank} coordinates for a tensor map of {map_rank} dimensions");
            return Err(self.fault(thread, pc, Mistake::Misuse, detail));
        }
        Ok(map)
    }

    /// The bytes of a load arrive.
    pub(crate) fn land_load(&mut self, load: &PendingLoad) -> Result<(), Error> {
        for piece in self.pieces(load.map.as_ref(), load.from, load.to, load.bytes) {
            let mut bytes = vec![0; piece.bytes as usize];
            if let Some(address) = piece.global {
                let Some((allocation, offset)) = self.device.memory.locate(address, bytes.len()) else {
                    let detail = self.device.memory.describe(address, bytes.len());
                    return Err(self.fault(load.thread, load.pc, Mistake::OutOfBounds, detail));
                };
                let source = &mut self.device.memory.allocations[allocation];
                bytes.copy_from_slice(&source.data[offset..offset + piece.bytes as usize]);
                source.loaded += u64::from(piece.bytes);
                if source.written[offset..offset + piece.bytes as usize].contains(&0) {
                    self.note_uninitialized(load.thread, load.pc, Place::Global { allocation, offset });
                }
            }
            self.write_shared(piece.shared, &bytes);
        }
        Ok(())
    }

    fn pieces(&self, map: Option<&(usize, Vec<i32>)>, global: u64, shared: u32, bytes: u32) -> Vec<Piece> {
        match map {
            Some((map, coordinates)) => box_pieces(&self.device.maps[*map].1, coordinates, shared),
            None => vec![Piece { global: Some(global), shared, bytes }],
        }
    }

    fn start_store(&mut self, warp: &mut Warp, pc: u32, lane: usize, store: &Bulk) -> Result<(), Error> {
        let (from, to, bytes, coordinates, align) = match store {
            Bulk::Store { to, from, bytes } => {
                let bytes = warp.registers.lane(*bytes, lane) as u32;
                (*from, lane_address(warp, *to, lane), bytes, Vec::new(), 16)
            }
            Bulk::TensorStore { map, coordinates, from } => {
                let map = self.map_at(warp, pc, lane, *map, coordinates.len())?;
                let bytes = self.device.maps[map].1.box_bytes();
                (*from, map as u64, bytes, lane_coordinates(warp, coordinates, lane), 128)
            }
            _ => unreachable!("the caller sends stores only"),
        };
        let from = lane_address(warp, from, lane);
        let from = self.shared_range(warp, pc, lane, from, bytes, align)?;
        warp.store_time += 1;
        let (time, thread) = (warp.store_time, warp.thread(lane));
        let stamp = warp.stamp(pc, lane, self.agent(Work::Stores { warp: warp.index }), time);
        if let Some(conflict) = self.shared_shadow.access_range(from, bytes, &stamp, Access::ProxyRead, true) {
            self.note_conflict(thread, pc, Place::Shared(from), conflict);
        }
        let group = warp.stores[lane].committed + 1;
        let store = PendingStore { pc, store: store.clone(), from, to, bytes, coordinates, group, time };
        warp.stores[lane].pending.push_back(store);
        Ok(())
    }

    /// The stores of all but the last `pending` groups happen.
    fn wait_stores(&mut self, warp: &mut Warp, lane: usize, pending: u32) -> Result<(), Error> {
        let done = warp.stores[lane].committed.saturating_sub(pending);
        while warp.stores[lane].pending.front().is_some_and(|store| store.group <= done) {
            if let Some(store) = warp.stores[lane].pending.pop_front() {
                let agent = self.agent(Work::Stores { warp: warp.index });
                warp.clock.learn(1 << lane, agent, store.time);
                self.finish_store(warp.thread(lane), &store)?;
            }
        }
        Ok(())
    }

    fn finish_store(&mut self, thread: u32, store: &PendingStore) -> Result<(), Error> {
        let map = match store.store {
            Bulk::TensorStore { .. } => Some((store.to as usize, store.coordinates.clone())),
            _ => None,
        };
        for piece in self.pieces(map.as_ref(), store.to, store.from, store.bytes) {
            let (at, n) = (piece.shared as usize, piece.bytes as usize);
            if self.shared_written[at..at + n].contains(&0) {
                self.note_uninitialized(thread, store.pc, Place::Shared(piece.shared));
            }
            let Some(address) = piece.global else { continue };
            let Some((allocation, offset)) = self.device.memory.locate(address, n) else {
                let detail = self.device.memory.describe(address, n);
                return Err(self.fault(thread, store.pc, Mistake::OutOfBounds, detail));
            };
            let target = &mut self.device.memory.allocations[allocation];
            if !target.writable {
                let detail = format!("`{}` is an input", target.name);
                return Err(self.fault(thread, store.pc, Mistake::ReadOnly, detail));
            }
            target.data[offset..offset + n].copy_from_slice(&self.shared[at..at + n]);
            target.written[offset..offset + n].fill(1);
            target.stored += n as u64;
        }
        Ok(())
    }

    /// Threads that end while their stores still read shared memory.
    pub(crate) fn check_open_stores(&mut self, warp: &mut Warp, pc: u32, mask: u32) {
        for lane in lanes_of(mask) {
            let Some(store) = warp.stores[lane].pending.front() else { continue };
            let at = store.pc;
            self.note_pair(warp.thread(lane), at, pc, Mistake::UnfinishedStore, "not waited for".into());
        }
    }
}

fn lane_address(warp: &mut Warp, addr: Addr, lane: usize) -> u64 {
    let base = warp.registers.lane(addr.base, lane);
    let address = base.wrapping_add_signed(addr.offset);
    if addr.space == Space::Shared { address & 0xffff_ffff } else { address }
}

fn lane_coordinates(warp: &mut Warp, coordinates: &[Src], lane: usize) -> Vec<i32> {
    coordinates.iter().map(|coordinate| warp.registers.lane(*coordinate, lane) as i32).collect()
}

/// The pieces of a box: the first dimension is contiguous, and what is outside the tensor is filled with zeros.
fn box_pieces(map: &TensorMap, coordinates: &[i32], shared: u32) -> Vec<Piece> {
    let row_bytes = map.box_dims[0] * map.element_bytes;
    let rows: u32 = map.box_dims[1..].iter().product();
    let mut pieces = Vec::new();
    for row in 0..rows {
        let mut rest = row;
        let (mut address, mut inside) = (map.address, true);
        for (axis, extent) in map.box_dims.iter().enumerate().skip(1) {
            let at = i64::from(coordinates[axis]) + i64::from(rest % extent);
            rest /= extent;
            inside &= (0..map.dims[axis].cast_signed()).contains(&at);
            address = address.wrapping_add_signed(at * map.strides[axis - 1].cast_signed());
        }
        for offset in (0..row_bytes).step_by(16) {
            push_pieces(&mut pieces, map, (coordinates[0], address, inside), shared + row * row_bytes, offset);
        }
    }
    pieces
}

/// The pieces of 16 bytes of a row: what is in the tensor as one, what is not as zeros.
fn push_pieces(
    pieces: &mut Vec<Piece>,
    map: &TensorMap,
    (first, address, inside): (i32, u64, bool),
    row: u32,
    offset: u32,
) {
    let element = map.element_bytes;
    let target = map.swizzle.apply(row + offset);
    let bytes = 16.min(map.box_dims[0] * element - offset);
    let in_tensor = |at: u32| {
        let column = i64::from(first) + i64::from((offset + at) / element);
        inside && (0..map.dims[0].cast_signed()).contains(&column)
    };
    let mut at = 0;
    while at < bytes {
        let is_in = in_tensor(at);
        let end = (at..bytes).step_by(element as usize).find(|next| in_tensor(*next) != is_in).unwrap_or(bytes);
        let start = i64::from(first) * i64::from(element) + i64::from(offset + at);
        let global = is_in.then(|| address.wrapping_add_signed(start));
        pieces.push(Piece { global, shared: target + at, bytes: end - at });
        at = end;
    }
}
