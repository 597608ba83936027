//! Instructions that lanes of a warp execute together: they wait for each other.

use crate::Error;
use crate::block::{Block, Flow};
use crate::lanes::{AluFn, Lanes, WARP, first_lane, lanes_of};
use crate::op::{Collective, CollectiveKind, Pred, Shuffle, Slot, Src, Vote};
use crate::report::Mistake;
use crate::warp::Warp;

impl Block<'_, '_> {
    pub(super) fn collective(
        &mut self,
        warp: &mut Warp,
        pc: u32,
        op: &Collective,
        mask: u32,
        active: u32,
    ) -> Result<Flow, Error> {
        let here = warp.held_at(pc);
        let present = mask | here;
        let members = warp.registers.read(op.members, present);
        let (mut left, mut done) = (present, 0);
        while left != 0 {
            let named = members[first_lane(left)] as u32;
            let group =
                lanes_of(left).filter(|lane| members[*lane] as u32 == named).fold(0, |g, lane| g | 1u32 << lane);
            left &= !group;
            if group & !named != 0 {
                let thread = warp.thread(first_lane(group));
                self.note(thread, pc, Mistake::Misuse, format!("the mask {named:#010x} does not name the lane itself"));
            }
            if named & warp.live & !group == 0 {
                if !self.together(warp, pc, &op.kind, group)? {
                    return Ok(self.try_again(warp, pc, active));
                }
                done |= group;
            }
        }
        if done == present {
            warp.held &= !here;
            return Ok(Flow::Join(here));
        }
        let waits = present & !done;
        warp.held = warp.held & !here | waits;
        warp.set_pc(waits, pc);
        warp.set_pc((active | here) & !waits, pc + 1);
        Ok(Flow::Set)
    }

    /// The lanes stay at their instruction until the warp's next turn.
    pub(crate) fn try_again(&mut self, warp: &mut Warp, pc: u32, active: u32) -> Flow {
        self.uncount(pc, active);
        warp.stalled |= active;
        warp.set_pc(active, pc);
        Flow::Set
    }

    /// Executes for a group of lanes that is complete; false if the warp has to wait for others.
    fn together(&mut self, warp: &mut Warp, pc: u32, kind: &CollectiveKind, mask: u32) -> Result<bool, Error> {
        match kind {
            CollectiveKind::LoadMatrix { d, addr, transposed } => self.load_matrix(warp, pc, d, *addr, *transposed)?,
            CollectiveKind::StoreMatrix { values, addr, transposed } => {
                self.store_matrix(warp, pc, values, *addr, *transposed)?;
            }
            CollectiveKind::MoveMatrix { d, a } => super::matrix::transpose(warp, *d, *a),
            CollectiveKind::Mma(mma) => super::matrix::multiply(&mut self.device.report, warp, mma),
            CollectiveKind::Wgmma(wgmma) => self.issue_product(warp, pc, wgmma)?,
            CollectiveKind::WgmmaFence => warp.registers.pass_fence(),
            CollectiveKind::WgmmaCommit => warp.products.committed += 1,
            CollectiveKind::WgmmaWait { pending } => return Ok(self.wait_products(warp, *pending)),
            CollectiveKind::SetMaxRegisters | CollectiveKind::WarpSync => {}
            CollectiveKind::Shuffle { mode, d, p, a, b, c } => shuffle(warp, (*mode, *d, *p), [*a, *b, *c], mask),
            CollectiveKind::Vote { mode, d, p } => vote(warp, *mode, *d, *p, mask),
            CollectiveKind::Match { all, d, p, a } => find_equal(warp, *all, (*d, *p), *a, mask),
            CollectiveKind::Redux { run, d, a } => reduce(warp, *run, *d, *a, mask),
            CollectiveKind::Elect { d, p } => {
                let leader = first_lane(mask);
                warp.registers.write(*d, mask, &[leader as u64; WARP]);
                warp.registers.set_predicate(*p, mask, 1 << leader);
            }
        }
        warp.clock.synchronize(mask);
        Ok(true)
    }
}

fn shuffle(warp: &mut Warp, (mode, d, p): (Shuffle, Slot, Slot), [a, b, c]: [Src; 3], mask: u32) {
    let (b, c) = (warp.registers.read(b, mask), warp.registers.read(c, mask));
    let mut sources = [0usize; WARP];
    let (mut valid, mut read) = (0, 0);
    for lane in lanes_of(mask) {
        let (source, inside) = source_lane(mode, lane as u32, b[lane] as u32, c[lane] as u32);
        sources[lane] = source as usize;
        valid |= u32::from(inside) << lane;
        read |= 1u32 << source;
    }
    // a lane outside the group gives an undefined value: its register counts as not written
    let a = warp.registers.read(a, read & mask);
    let values: Lanes = std::array::from_fn(|lane| if mask >> sources[lane] & 1 == 1 { a[sources[lane]] } else { 0 });
    warp.registers.write(d, mask, &values);
    warp.registers.set_predicate(p, mask, valid);
}

/// The lane that a shuffle reads, and whether it is inside the segment; otherwise it is the lane itself.
fn source_lane(mode: Shuffle, lane: u32, b: u32, c: u32) -> (u32, bool) {
    let (b, clamp, segment) = (b & 31, c & 31, c >> 8 & 31);
    let max = lane & segment | clamp & !segment;
    let min = lane & segment;
    let (source, inside) = match mode {
        Shuffle::Up => (lane.wrapping_sub(b), lane.cast_signed() - b.cast_signed() >= max.cast_signed()),
        Shuffle::Down => (lane + b, lane + b <= max),
        Shuffle::Butterfly => (lane ^ b, lane ^ b <= max),
        Shuffle::Index => (min | b & !segment, (min | b & !segment) <= max),
    };
    if inside { (source & 31, true) } else { (lane, false) }
}

fn vote(warp: &mut Warp, mode: Vote, d: Slot, p: Pred, mask: u32) {
    let yes = warp.registers.predicate(p, mask) & mask;
    let all_ones = |answer: bool| u32::from(answer).wrapping_neg();
    match mode {
        Vote::Ballot => warp.registers.write(d, mask, &[u64::from(yes); WARP]),
        Vote::Any => warp.registers.set_predicate(d, mask, all_ones(yes != 0)),
        Vote::All => warp.registers.set_predicate(d, mask, all_ones(yes == mask)),
        Vote::Uniform => warp.registers.set_predicate(d, mask, all_ones(yes == mask || yes == 0)),
    }
}

fn find_equal(warp: &mut Warp, all: bool, (d, p): (Slot, Slot), a: Src, mask: u32) {
    let a = warp.registers.read(a, mask);
    let equal = |lane: usize| lanes_of(mask).filter(|other| a[*other] == a[lane]).fold(0u32, |m, other| m | 1 << other);
    if all {
        let same = equal(first_lane(mask)) == mask;
        warp.registers.write(d, mask, &[if same { u64::from(mask) } else { 0 }; WARP]);
        warp.registers.set_predicate(p, mask, u32::from(same).wrapping_neg());
    } else {
        let values = std::array::from_fn(|lane| u64::from(equal(lane)));
        warp.registers.write(d, mask, &values);
    }
}

fn reduce(warp: &mut Warp, run: AluFn, d: Slot, a: Src, mask: u32) {
    let a = warp.registers.read(a, mask);
    let mut lanes = lanes_of(mask);
    let first = lanes.next().map_or(0, |lane| a[lane]);
    let result = lanes.fold(first, |sum, lane| run(&[sum; WARP], &[a[lane]; WARP], &[0; WARP])[0]);
    warp.registers.write(d, mask, &[result; WARP]);
}
