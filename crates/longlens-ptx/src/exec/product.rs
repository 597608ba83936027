//! `wgmma`: products of a warpgroup, computed when a warp waits for them.

use std::collections::HashMap;

use super::access::Place;
use super::matrix::{accumulate, add_accumulator, decode, rows_of_a};
use crate::Error;
use crate::block::Block;
use crate::lanes::{FULL, Lanes, WARP};
use crate::op::{Element, Slot, Src, Wgmma, WgmmaA};
use crate::race::Access;
use crate::race::clock::Work;
use crate::report::Mistake;
use crate::tensor_map::Swizzle;
use crate::warp::{Deferred, Warp};

/// Columns of A and rows of B of one product.
const K: usize = 16;

/// B of the products that a warpgroup waits for, by descriptor, transposition, columns and type: all its warps read the same.
type Operands = HashMap<(u64, bool, usize, Element), Vec<f32>>;

/// A matrix in shared memory, as a descriptor of 64 bits gives it.
#[derive(Debug, Clone, Copy)]
struct Descriptor {
    start: u32,
    leading: u32,
    stride: u32,
    swizzle: Swizzle,
    /// Rows are contiguous rather than the `K` elements of a row.
    transposed: bool,
}

impl Descriptor {
    fn new(bits: u64, transposed: bool) -> Self {
        let field = |shift: u32| (bits >> shift & 0x3fff) as u32 * 16;
        let swizzle = match bits >> 62 {
            0 => Swizzle::None,
            1 => Swizzle::Bytes128,
            2 => Swizzle::Bytes64,
            _ => Swizzle::Bytes32,
        };
        Self { start: field(0), leading: field(16), stride: field(32), swizzle, transposed }
    }

    /// The shared address of the 16-bit element in a row (of A, or column of B) and place `k`.
    fn address(&self, row: u32, k: u32) -> u32 {
        let span = self.swizzle.span();
        let offset = match (self.transposed, self.swizzle) {
            (false, Swizzle::None) => row / 8 * self.stride + row % 8 * 16 + k / 8 * self.leading + k % 8 * 2,
            (false, _) => row / 8 * self.stride + row % 8 * span + k * 2,
            (true, Swizzle::None) => row / 8 * self.stride + row % 8 * 2 + k / 8 * self.leading + k % 8 * 16,
            (true, _) => {
                let per_span = span / 2;
                row / per_span * self.leading + row % per_span * 2 + k / 8 * self.stride + k % 8 * span
            }
        };
        self.swizzle.apply(self.start + offset)
    }

    /// Pieces of 16 bytes that rows from `first` on take.
    fn pieces(&self, first: u32, rows: u32) -> Vec<u32> {
        let mut pieces = Vec::new();
        if self.transposed {
            for k in 0..K as u32 {
                pieces.extend((first..first + rows).step_by(8).map(|row| self.address(row, k)));
            }
        } else {
            for row in first..first + rows {
                pieces.extend([self.address(row, 0), self.address(row, 8)]);
            }
        }
        pieces
    }
}

impl Block<'_, '_> {
    pub(super) fn issue_product(&mut self, warp: &mut Warp, pc: u32, wgmma: &Wgmma) -> Result<(), Error> {
        let thread = warp.thread(0);
        let add = warp.registers.predicate(wgmma.scale_d, FULL) & 1 == 1;
        let (a, b) = match wgmma.a {
            WgmmaA::Shared(a) => (warp.registers.lane(a, 0), warp.registers.lane(wgmma.b, 0)),
            WgmmaA::Registers(_) => (0, warp.registers.lane(wgmma.b, 0)),
        };
        let group = warp.products.committed + 1;
        let first = 16 * (warp.index % 4);
        let mut pieces = Descriptor::new(b, wgmma.transpose[1]).pieces(0, wgmma.n as u32);
        if let WgmmaA::Shared(_) = wgmma.a {
            pieces.extend(Descriptor::new(a, wgmma.transpose[0]).pieces(first, 16));
        }
        self.check_operands(warp, pc, &pieces, group)?;
        if warp.index.is_multiple_of(4) {
            self.device.report.wgmma += 1;
        }
        self.occupy_registers(warp, pc, thread, wgmma, add);
        warp.products.queue.push_back(Deferred::Product { pc, wgmma: Box::new(wgmma.clone()), a, b, add, group });
        Ok(())
    }

    /// Looks for races and missing fences of what a product reads from shared memory.
    fn check_operands(&mut self, warp: &Warp, pc: u32, pieces: &[u32], group: u32) -> Result<(), Error> {
        let thread = warp.thread(0);
        let work = Work::Products { warpgroup: warp.index / 4 };
        let stamp = warp.stamp(pc, 0, self.agent(work), group);
        for at in pieces {
            if !self.is_shared(*at, 16) {
                let detail = format!("the operand reaches shared address {at}, of 1024 to {}", self.shared_end());
                return Err(self.fault(thread, pc, Mistake::OutOfBounds, detail));
            }
            let conflict = self.shared_shadow.access_range(*at, 16, &stamp, Access::ProxyRead, true);
            if let Some(conflict) = conflict {
                self.note_conflict(thread, pc, Place::Shared(*at), conflict);
            }
        }
        Ok(())
    }

    fn occupy_registers(&mut self, warp: &mut Warp, pc: u32, thread: u32, wgmma: &Wgmma, add: bool) {
        let mut fence_missing = wgmma.d.iter().any(|slot| warp.registers.needs_fence(*slot));
        if let WgmmaA::Registers(sources) = &wgmma.a {
            for slot in slots(sources) {
                fence_missing |= warp.registers.needs_fence(slot);
                if !warp.registers.is_busy(Src::Reg(slot)) {
                    warp.registers.read(Src::Reg(slot), FULL);
                }
                warp.registers.occupy(slot);
            }
        }
        for slot in &wgmma.d {
            if add && !warp.registers.is_busy(Src::Reg(*slot)) {
                warp.registers.read(Src::Reg(*slot), FULL);
            }
            warp.registers.occupy(*slot);
        }
        if fence_missing {
            self.note(
                thread,
                pc,
                Mistake::MissingWgmmaFence,
                "a register was written after the last `wgmma.fence`, or there was none",
            );
        }
    }

    /// A plain move; one of an unfinished accumulator moves what will be there.
    pub(super) fn move_register(warp: &mut Warp, d: Slot, a: Src, mask: u32) {
        let writer = |deferred: &Deferred| match (deferred, a) {
            (Deferred::Product { wgmma, .. }, Src::Reg(a)) => wgmma.d.contains(&a),
            (Deferred::Move { d, .. }, Src::Reg(a)) => *d == a,
            _ => false,
        };
        let products = &warp.products;
        let group = products.computed.iter().chain(&products.queue).rev().find(|deferred| writer(deferred));
        match group.map(Deferred::group) {
            Some(group) if mask == FULL && warp.registers.is_busy(a) => {
                warp.registers.occupy(d);
                warp.products.queue.push_back(Deferred::Move { d, a, group });
            }
            _ => warp.registers.copy(d, a, mask),
        }
    }

    /// Waits until at most `pending` groups are open; false if other warps of the warpgroup have not issued theirs.
    pub(super) fn wait_products(&mut self, warp: &mut Warp, pending: u32) -> bool {
        let done = warp.products.committed.saturating_sub(pending);
        let first = warp.index / 4 * 4;
        let others: Vec<usize> = (first..first + 4).filter(|index| *index != warp.index).map(|i| i as usize).collect();
        let issued = |block: &Self, index: usize| {
            block.warps.get(index).and_then(Option::as_ref).is_none_or(|warp| warp.products.committed >= done)
        };
        if !others.iter().all(|index| issued(self, *index)) {
            return false;
        }
        let mut read = Operands::new();
        self.compute(warp, done, &mut read);
        for index in others {
            if let Some(mut other) = self.warps.get_mut(index).and_then(Option::take) {
                self.compute(&mut other, done, &mut read);
                self.warps[index] = Some(other);
            }
        }
        deliver(warp, done);
        let agent = self.agent(Work::Products { warpgroup: warp.index / 4 });
        warp.clock.learn(FULL, agent, done);
        true
    }

    /// Computes the products of a warp's groups up to `done`; the results cannot be read yet.
    fn compute(&mut self, warp: &mut Warp, done: u32, read: &mut Operands) {
        let queue = std::mem::take(&mut warp.products.queue);
        let (ready, later) = queue.into_iter().partition(|deferred| deferred.group() <= done);
        warp.products.queue = later;
        let ready: std::collections::VecDeque<Deferred> = ready;
        for deferred in &ready {
            match deferred {
                Deferred::Product { pc, wgmma, a, b, add, .. } => self.product(warp, *pc, wgmma, (*a, *b), *add, read),
                Deferred::Move { d, a: Src::Reg(a), .. } => {
                    let values = *warp.registers.peek(*a);
                    warp.registers.poke(*d, &values);
                }
                Deferred::Move { .. } => {}
            }
        }
        warp.products.computed.extend(ready);
    }

    /// The 16 rows of a product that are this warp's.
    fn product(&mut self, warp: &mut Warp, pc: u32, wgmma: &Wgmma, (a, b): (u64, u64), add: bool, read: &mut Operands) {
        let mut left = match &wgmma.a {
            WgmmaA::Registers(sources) => {
                let registers: Vec<Lanes> = slots(sources).map(|slot| *warp.registers.peek(slot)).collect();
                rows_of_a(&registers, wgmma.element, K)
            }
            WgmmaA::Shared(_) => {
                let descriptor = Descriptor::new(a, wgmma.transpose[0]);
                self.read_matrix(warp, pc, &descriptor, (16 * (warp.index % 4), 16), wgmma.element)
            }
        };
        if wgmma.negate {
            for value in &mut left {
                *value = -*value;
            }
        }
        let right = read.entry((b, wgmma.transpose[1], wgmma.n, wgmma.element)).or_insert_with(|| {
            let descriptor = Descriptor::new(b, wgmma.transpose[1]);
            blocks_of_columns(&self.read_matrix(warp, pc, &descriptor, (0, wgmma.n as u32), wgmma.element))
        });
        let per_block = if wgmma.wide { 4 } else { 2 };
        for (columns, slots) in right.chunks(8 * K).zip(wgmma.d.chunks(per_block)) {
            let mut sum = [[0.0; 8]; 16];
            accumulate(&left, columns, K, &mut sum);
            for (index, slot) in slots.iter().enumerate() {
                let old = if add { *warp.registers.peek(*slot) } else { [0; WARP] };
                let new: Lanes = std::array::from_fn(|lane| add_accumulator(&sum, old[lane], index, lane, wgmma.wide));
                warp.registers.poke(*slot, &new);
            }
        }
    }

    /// Rows of a matrix in shared memory, as they are now.
    fn read_matrix(
        &mut self,
        warp: &Warp,
        pc: u32,
        descriptor: &Descriptor,
        (first, rows): (u32, u32),
        element: Element,
    ) -> Vec<f32> {
        let mut values = Vec::with_capacity(rows as usize * K);
        let mut unwritten = None;
        for row in first..first + rows {
            for k in 0..K as u32 {
                let at = descriptor.address(row, k) as usize;
                let bits = u16::from_le_bytes([self.shared[at], self.shared[at + 1]]);
                if self.shared_written[at] & self.shared_written[at + 1] == 0 {
                    unwritten.get_or_insert(at as u32);
                }
                values.push(decode(element, u32::from(bits)));
            }
        }
        if let Some(at) = unwritten {
            self.note_uninitialized(warp.thread(0), pc, Place::Shared(at));
        }
        values
    }

    /// A warp that ends with products it never waited for.
    pub(crate) fn end_warp(&mut self, warp: &mut Warp) {
        if let Some(Deferred::Product { pc, .. }) = warp.products.queue.front() {
            let (pc, thread) = (*pc, warp.thread(0));
            self.note(thread, pc, Mistake::UnfinishedWgmma, "the warp ended without waiting for it");
        }
    }
}

/// From columns of B as they were read, `K` elements each, to `K` rows of 8 columns, block after block.
fn blocks_of_columns(columns: &[f32]) -> Vec<f32> {
    let block = |block: &[f32]| (0..8 * K).map(|at| block[at % 8 * K + at / 8]).collect::<Vec<f32>>();
    columns.chunks(8 * K).flat_map(block).collect()
}

fn slots(sources: &[Src]) -> impl Iterator<Item = Slot> + '_ {
    sources.iter().filter_map(|src| match src {
        Src::Reg(slot) => Some(*slot),
        Src::Imm(_) => None,
    })
}

/// Makes the registers of groups up to `done` readable, unless a later group uses them.
fn deliver(warp: &mut Warp, done: u32) {
    let computed = std::mem::take(&mut warp.products.computed);
    let (ready, later): (std::collections::VecDeque<Deferred>, std::collections::VecDeque<Deferred>) =
        computed.into_iter().partition(|deferred| deferred.group() <= done);
    warp.products.computed = later;
    for deferred in &ready {
        match deferred {
            Deferred::Product { wgmma, .. } => {
                wgmma.d.iter().for_each(|slot| warp.registers.deliver(*slot));
                if let WgmmaA::Registers(sources) = &wgmma.a {
                    slots(sources).for_each(|slot| warp.registers.deliver(slot));
                }
            }
            Deferred::Move { d, .. } => warp.registers.deliver(*d),
        }
    }
    let open: Vec<Slot> = warp
        .products
        .computed
        .iter()
        .chain(&warp.products.queue)
        .flat_map(|deferred| match deferred {
            Deferred::Product { wgmma, .. } => {
                let a = match &wgmma.a {
                    WgmmaA::Registers(sources) => slots(sources).collect(),
                    WgmmaA::Shared(_) => Vec::new(),
                };
                [wgmma.d.clone(), a].concat()
            }
            Deferred::Move { d, .. } => vec![*d],
        })
        .collect();
    if open.is_empty() {
        warp.registers.all_delivered();
    }
    for slot in open {
        warp.registers.occupy(slot);
    }
}
