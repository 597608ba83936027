//! The registers of a warp, with a note of which were written.

use crate::lanes::{FULL, Lanes, WARP, lanes_of};
use crate::op::{Pred, SINK, Slot, Src};
use crate::report::Mistake;

/// The registers of a warp.
#[derive(Debug)]
pub(crate) struct Registers {
    data: Vec<Lanes>,
    /// The bits that each register has.
    widths: Vec<u64>,
    /// Lanes in which a register was written.
    written: Vec<u32>,
    predicates: Vec<u32>,
    predicates_written: Vec<u32>,
    /// Registers of unfinished `wgmma` instructions.
    busy: Vec<bool>,
    any_busy: bool,
    /// After which `wgmma.fence` a register was last written.
    fence_of: Vec<u32>,
    fence: u32,
    /// The first mistake since it was last asked for.
    trouble: Option<Mistake>,
}

impl Registers {
    pub(crate) fn new(widths: &[u64], predicates: usize) -> Self {
        let data = widths.len();
        Self {
            widths: widths.to_vec(),
            data: vec![[0; WARP]; data],
            written: vec![0; data],
            predicates: vec![0; predicates],
            predicates_written: vec![0; predicates],
            busy: vec![false; data],
            any_busy: false,
            fence_of: vec![0; data],
            fence: 1,
            trouble: None,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.written.fill(0);
        self.predicates_written.fill(0);
        self.busy.fill(false);
        self.fence_of.fill(0);
        (self.any_busy, self.fence, self.trouble) = (false, 1, None);
    }

    pub(crate) fn read(&mut self, src: Src, mask: u32) -> Lanes {
        match src {
            Src::Imm(value) => [value; WARP],
            Src::Reg(slot) => {
                let slot = slot as usize;
                if self.written[slot] & mask != mask {
                    self.note(slot, Mistake::UninitializedRegister);
                }
                self.data[slot]
            }
        }
    }

    /// The value of one lane.
    pub(crate) fn lane(&mut self, src: Src, lane: usize) -> u64 {
        match src {
            Src::Imm(value) => value,
            Src::Reg(slot) => {
                if self.written[slot as usize] >> lane & 1 == 0 {
                    self.note(slot as usize, Mistake::UninitializedRegister);
                }
                self.data[slot as usize][lane]
            }
        }
    }

    pub(crate) fn write(&mut self, slot: Slot, mask: u32, values: &Lanes) {
        if slot == SINK {
            return;
        }
        let slot = slot as usize;
        if self.any_busy && self.busy[slot] {
            self.note(slot, Mistake::UnfinishedWgmma);
        }
        let (data, width) = (&mut self.data[slot], self.widths[slot]);
        if mask == FULL {
            *data = values.map(|value| value & width);
        } else {
            lanes_of(mask).for_each(|lane| data[lane] = values[lane] & width);
        }
        self.written[slot] |= mask;
        self.fence_of[slot] = self.fence;
    }

    /// Copies a register, unwritten lanes included: a move alone uses nothing.
    pub(crate) fn copy(&mut self, slot: Slot, from: Src, mask: u32) {
        let Src::Reg(source) = from else {
            let values = self.read(from, mask);
            self.write(slot, mask, &values);
            self.inherit_fence(slot, from);
            return;
        };
        let (values, written) = (self.data[source as usize], self.written[source as usize]);
        if self.busy[source as usize] {
            self.note(source as usize, Mistake::UnfinishedWgmma);
        }
        self.write(slot, mask, &values);
        if slot != SINK {
            self.written[slot as usize] &= written | !mask;
        }
        self.inherit_fence(slot, from);
    }

    pub(crate) fn predicate(&mut self, pred: Pred, mask: u32) -> u32 {
        match pred {
            Pred::Const(value) => u32::from(value).wrapping_neg(),
            Pred::Reg { slot, negated } => {
                let slot = slot as usize;
                if self.predicates_written[slot] & mask != mask {
                    self.trouble.get_or_insert(Mistake::UninitializedRegister);
                }
                if negated { !self.predicates[slot] } else { self.predicates[slot] }
            }
        }
    }

    pub(crate) fn set_predicate(&mut self, slot: Slot, mask: u32, values: u32) {
        if slot == SINK {
            return;
        }
        let slot = slot as usize;
        self.predicates[slot] = self.predicates[slot] & !mask | values & mask;
        self.predicates_written[slot] |= mask;
    }

    fn note(&mut self, slot: usize, mistake: Mistake) {
        let mistake = if self.busy[slot] { Mistake::UnfinishedWgmma } else { mistake };
        self.trouble.get_or_insert(mistake);
    }

    /// The first mistake since the last time this was asked.
    pub(crate) fn take_trouble(&mut self) -> Option<Mistake> {
        self.trouble.take()
    }

    // ---- registers of asynchronous matrix products ----

    pub(crate) fn pass_fence(&mut self) {
        self.fence += 1;
    }

    /// Whether a register was written after the last `wgmma.fence`, or there was none.
    pub(crate) fn needs_fence(&self, slot: Slot) -> bool {
        self.fence == 1 || self.fence_of[slot as usize] == self.fence
    }

    /// Marks a copy as written when its source was: a move alone needs no new fence.
    fn inherit_fence(&mut self, slot: Slot, from: Src) {
        if slot != SINK {
            self.fence_of[slot as usize] = match from {
                Src::Reg(source) => self.fence_of[source as usize],
                Src::Imm(_) => 0,
            };
        }
    }

    pub(crate) fn is_busy(&self, src: Src) -> bool {
        self.any_busy && matches!(src, Src::Reg(slot) if self.busy[slot as usize])
    }

    /// Marks a register as one of an unfinished product: reading it is a mistake until `deliver`.
    pub(crate) fn occupy(&mut self, slot: Slot) {
        if slot != SINK {
            self.busy[slot as usize] = true;
            self.written[slot as usize] = 0;
            self.any_busy = true;
        }
    }

    /// The value without a check, for what the tensor cores read.
    pub(crate) fn peek(&self, slot: Slot) -> &Lanes {
        &self.data[slot as usize]
    }

    /// The value that a product leaves, not yet readable.
    pub(crate) fn poke(&mut self, slot: Slot, values: &Lanes) {
        if slot != SINK {
            self.data[slot as usize] = *values;
        }
    }

    /// Makes a register readable again.
    pub(crate) fn deliver(&mut self, slot: Slot) {
        if slot != SINK {
            self.busy[slot as usize] = false;
            self.written[slot as usize] = FULL;
            self.fence_of[slot as usize] = 0;
        }
    }

    pub(crate) fn all_delivered(&mut self) {
        self.any_busy = false;
    }
}
