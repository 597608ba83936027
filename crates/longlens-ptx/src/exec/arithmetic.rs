//! Arithmetic, comparisons and packing.

use super::combine;
use crate::lanes::float::flush;
use crate::lanes::{Lanes, lanes_of};
use crate::op::{Alu, Carry, CarryKind, Op, SetP};
use crate::warp::Warp;

pub(super) fn run(warp: &mut Warp, op: &Op, mask: u32) {
    match op {
        Op::Alu(alu) => run_alu(warp, alu, mask),
        Op::SetP(setp) => set_predicate(warp, setp, mask),
        Op::Carry(carry) => with_carry(warp, carry, mask),
        Op::Four { run, d, operands } => {
            let [a, b, c, e] = operands.map(|operand| warp.registers.read(operand, mask));
            let values = std::array::from_fn(|lane| run(a[lane], b[lane], c[lane], e[lane]));
            warp.registers.write(*d, mask, &values);
        }
        Op::Convert { conversion, d, a, b } => {
            let (a, b) = (warp.registers.read(*a, mask), warp.registers.read(*b, mask));
            let mut values = [0; 32];
            lanes_of(mask).for_each(|lane| values[lane] = conversion.run(a[lane], b[lane]));
            warp.registers.write(*d, mask, &values);
        }
        _ => unreachable!("the caller sends arithmetic only"),
    }
}

fn run_alu(warp: &mut Warp, alu: &Alu, mask: u32) {
    let registers = &mut warp.registers;
    let (mut a, mut b, mut c) = (registers.read(alu.a, mask), registers.read(alu.b, mask), registers.read(alu.c, mask));
    if alu.flush {
        (a, b, c) = (a.map(flush), b.map(flush), c.map(flush));
    }
    let mut values = (alu.run)(&a, &b, &c);
    if alu.flush {
        values = values.map(flush);
    }
    if alu.saturate {
        values = values.map(saturate);
    }
    registers.write(alu.d, mask, &values);
}

/// An f32 between 0 and 1; NaN becomes 0.
fn saturate(bits: u64) -> u64 {
    let value = f32::from_bits(bits as u32);
    u64::from(if value.is_nan() { 0.0f32 } else { value.clamp(0.0, 1.0) }.to_bits())
}

fn set_predicate(warp: &mut Warp, setp: &SetP, mask: u32) {
    let (mut a, mut b) = (warp.registers.read(setp.a, mask), warp.registers.read(setp.b, mask));
    if setp.flush {
        (a, b) = (a.map(flush), b.map(flush));
    }
    let answer = (setp.run)(&a, &b);
    let (mut value, mut complement) = (answer, !answer);
    if let Some((logic, pred)) = setp.combine {
        let other = warp.registers.predicate(pred, mask);
        (value, complement) = (combine(logic, value, other), combine(logic, complement, other));
    }
    warp.registers.set_predicate(setp.d, mask, value);
    warp.registers.set_predicate(setp.complement, mask, complement);
}

/// Sums with a carry from and to the lane's flag.
fn with_carry(warp: &mut Warp, op: &Carry, mask: u32) {
    let [a, b, c] = [op.a, op.b, op.c].map(|operand| warp.registers.read(operand, mask));
    let bits = 8 * op.bytes as u32;
    let ones = u128::from(u64::MAX >> (64 - bits));
    let mut values: Lanes = [0; 32];
    for lane in lanes_of(mask) {
        let [a, b, c] = [a, b, c].map(|operand| u128::from(operand[lane]) & ones);
        let carry = u128::from(op.reads && warp.carry >> lane & 1 == 1);
        let sum = match op.kind {
            CarryKind::Add => a + b + carry,
            // the flag of a subtraction is a borrow
            CarryKind::Sub => a.wrapping_sub(b).wrapping_sub(carry),
            CarryKind::MadLo => ((a * b) & ones) + c + carry,
            CarryKind::MadHi => ((a * b) >> bits) + c + carry,
        };
        values[lane] = (sum & ones) as u64;
        if op.writes {
            warp.carry = warp.carry & !(1 << lane) | u32::from(sum >> bits != 0) << lane;
        }
    }
    warp.registers.write(op.d, mask, &values);
}

pub(super) fn repack(warp: &mut Warp, op: &Op, mask: u32) {
    match op {
        Op::Pack { d, parts, bits } => {
            let mut values: Lanes = [0; 32];
            let ones = u64::MAX >> (64 - bits);
            for (index, part) in parts.iter().enumerate() {
                let part = warp.registers.read(*part, mask);
                let shift = index as u32 * bits;
                for (value, part) in values.iter_mut().zip(part) {
                    *value |= (part & ones) << shift;
                }
            }
            warp.registers.write(*d, mask, &values);
        }
        Op::Unpack { d, a, bits } => {
            let a = warp.registers.read(*a, mask);
            let ones = u64::MAX >> (64 - bits);
            for (index, slot) in d.iter().enumerate() {
                let shift = index as u32 * bits;
                warp.registers.write(*slot, mask, &a.map(|value| value >> shift & ones));
            }
        }
        _ => unreachable!("the caller sends packing only"),
    }
}
