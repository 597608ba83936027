//! Matrices in registers: `mma`, `ldmatrix`, `stmatrix`, `movmatrix`.
//!
//! Letters as in the manual: a lane has a group `g = lane / 4` and a place in it `t = lane % 4`.

use half::f16;

use super::access::{Place, named_thread};
use crate::Error;
use crate::block::Block;
use crate::lanes::{FULL, Lanes, WARP};
use crate::lower::bytes_of;
use crate::op::{Addr, Element, Mma, Slot, Src};
use crate::race::Access;
use crate::report::{Mistake, Report};
use crate::warp::Warp;

/// The value of an element.
#[inline]
pub(super) fn decode(element: Element, bits: u32) -> f32 {
    match element {
        Element::F16 => f16::from_bits(bits as u16).to_f32(),
        Element::Bf16 => f32::from_bits(bits << 16),
        // the lower bits of a register are not read
        Element::Tf32 => f32::from_bits(bits & 0xffff_e000),
        Element::S8 => f32::from(bits as i8),
        Element::U8 => f32::from(bits as u8),
    }
}

/// A of a warp's product, 16 rows of `k`.
///
/// A register holds neighboring columns; registers go through rows `g`, `g + 8` first, then to the right half.
pub(super) fn rows_of_a(registers: &[Lanes], element: Element, k: usize) -> Vec<f32> {
    let per = 4 / bytes_of(element);
    unpack(registers, element, 16 * k, |index, lane, next| {
        let row = lane / 4 + 8 * (index % 2);
        row * k + lane % 4 * per + 4 * per * (index / 2) + next
    })
}

/// B of a warp's product, `k` rows of 8.
fn rows_of_b(registers: &[Lanes], element: Element, k: usize) -> Vec<f32> {
    let per = 4 / bytes_of(element);
    unpack(registers, element, 8 * k, |index, lane, next| (lane % 4 * per + 4 * per * index + next) * 8 + lane / 4)
}

/// The elements of registers, lowest first, each at the place that `place` gives for register, lane and element.
fn unpack(registers: &[Lanes], element: Element, n: usize, place: impl Fn(usize, usize, usize) -> usize) -> Vec<f32> {
    fn fill<const PER: usize>(
        registers: &[Lanes],
        n: usize,
        place: impl Fn(usize, usize, usize) -> usize,
        value: impl Fn(u32) -> f32,
    ) -> Vec<f32> {
        let mut values = vec![0.0; n];
        for (index, register) in registers.iter().enumerate() {
            for (lane, bits) in register.iter().enumerate() {
                for next in 0..PER {
                    values[place(index, lane, next)] = value(*bits as u32 >> (32 / PER * next));
                }
            }
        }
        values
    }
    match element {
        Element::Bf16 => fill::<2>(registers, n, place, |bits| decode(Element::Bf16, bits)),
        Element::F16 => fill::<2>(registers, n, place, |bits| decode(Element::F16, bits)),
        Element::Tf32 => fill::<1>(registers, n, place, |bits| decode(Element::Tf32, bits)),
        Element::S8 => fill::<4>(registers, n, place, |bits| decode(Element::S8, bits)),
        Element::U8 => fill::<4>(registers, n, place, |bits| decode(Element::U8, bits)),
    }
}

/// `sum += a · b` for 16 rows, `k`, and 8 columns.
pub(super) fn accumulate(a: &[f32], b: &[f32], k: usize, sum: &mut [[f32; 8]; 16]) {
    for (row, sum) in a.chunks_exact(k).zip(sum) {
        for (value, b) in row.iter().zip(b.chunks_exact(8)) {
            for (sum, b) in sum.iter_mut().zip(b) {
                *sum += value * b;
            }
        }
    }
}

pub(super) fn multiply(report: &mut Report, warp: &mut Warp, mma: &Mma) {
    report.mma += 1;
    let mut read = |sources: &[Src]| sources.iter().map(|src| warp.registers.read(*src, FULL)).collect::<Vec<Lanes>>();
    let (a, b, c) = (read(&mma.a), read(&mma.b), read(&mma.c));
    if matches!(mma.a_type, Element::S8 | Element::U8) {
        return multiply_integers(warp, mma, &a, &b, &c);
    }
    let (a, b) = (rows_of_a(&a, mma.a_type, mma.k), rows_of_b(&b, mma.b_type, mma.k));
    let mut product = [[0.0; 8]; 16];
    accumulate(&a, &b, mma.k, &mut product);
    for (index, slot) in mma.d.iter().enumerate() {
        let values = std::array::from_fn(|lane| add_accumulator(&product, c[index][lane], index, lane, mma.wide));
        warp.registers.write(*slot, FULL, &values);
    }
}

/// The accumulator register of a lane with the product added: one f32, or two f16.
pub(super) fn add_accumulator(product: &[[f32; 8]; 16], old: u64, index: usize, lane: usize, wide: bool) -> u64 {
    let (g, t) = (lane / 4, lane % 4);
    if wide {
        let sum = f32::from_bits(old as u32) + product[g + 8 * (index / 2 % 2)][2 * t + index % 2];
        return u64::from(sum.to_bits());
    }
    let row = &product[g + 8 * (index % 2)];
    let half = |place: usize| {
        let sum = f16::from_bits((old >> (16 * place)) as u16).to_f32() + row[2 * t + place];
        u64::from(f16::from_f32(sum).to_bits())
    };
    half(0) | half(1) << 16
}

fn multiply_integers(warp: &mut Warp, mma: &Mma, a: &[Lanes], b: &[Lanes], c: &[Lanes]) {
    // bytes and their products are exact in f32 up to the sum of 32 of them
    let (a, b) = (rows_of_a(a, mma.a_type, mma.k), rows_of_b(b, mma.b_type, mma.k));
    let mut product = [[0.0; 8]; 16];
    accumulate(&a, &b, mma.k, &mut product);
    for (index, slot) in mma.d.iter().enumerate() {
        let values = std::array::from_fn(|lane| {
            let sum = product[lane / 4 + 8 * (index / 2)][2 * (lane % 4) + index % 2] as i32;
            u64::from((c[index][lane] as i32).wrapping_add(sum).cast_unsigned())
        });
        warp.registers.write(*slot, FULL, &values);
    }
}

/// `movmatrix.trans`: an 8 × 8 matrix of 16-bit elements in one register, transposed.
pub(super) fn transpose(warp: &mut Warp, d: Slot, a: Src) {
    let a = warp.registers.read(a, FULL);
    let element = |row: usize, column: usize| a[4 * row + column / 2] >> (16 * (column % 2)) & 0xffff;
    let values = std::array::from_fn(|lane| {
        let (row, column) = (lane / 4, 2 * (lane % 4));
        element(column, row) | element(column + 1, row) << 16
    });
    warp.registers.write(d, FULL, &values);
}

impl Block<'_, '_> {
    /// Shared addresses of the matrices' rows, checked.
    fn matrix_rows(&mut self, warp: &mut Warp, pc: u32, addr: Addr, n: usize) -> Result<Vec<u32>, Error> {
        let used = FULL >> (WARP - 8 * n);
        let addresses = warp.addresses(addr, used);
        let mut rows = Vec::with_capacity(8 * n);
        for (lane, address) in addresses.iter().enumerate().take(8 * n) {
            let Place::Shared(at) = self.place(warp, pc, lane, addr.space, *address, 16)? else {
                return Err(self.fault(warp.thread(lane), pc, Mistake::Misuse, "a matrix outside shared memory"));
            };
            rows.push(at);
        }
        self.count_conflicts(pc, &rows, 16);
        warp.clock.touch();
        Ok(rows)
    }

    pub(super) fn load_matrix(
        &mut self,
        warp: &mut Warp,
        pc: u32,
        d: &[Slot],
        addr: Addr,
        transposed: bool,
    ) -> Result<(), Error> {
        let rows = self.matrix_rows(warp, pc, addr, d.len())?;
        let mut matrix = [[0u16; 8]; 8];
        for (index, slot) in d.iter().enumerate() {
            for (at, values) in rows[8 * index..8 * index + 8].iter().zip(&mut matrix) {
                self.load_row(warp, pc, *at, values);
            }
            let pick = |row: usize, column: usize| {
                u64::from(if transposed { matrix[column][row] } else { matrix[row][column] })
            };
            let values = std::array::from_fn(|lane| {
                let (row, column) = (lane / 4, 2 * (lane % 4));
                pick(row, column) | pick(row, column + 1) << 16
            });
            warp.registers.write(*slot, FULL, &values);
        }
        Ok(())
    }

    fn load_row(&mut self, warp: &Warp, pc: u32, at: u32, values: &mut [u16; 8]) {
        let mut bytes = [0; 16];
        let place = Place::Shared(at);
        if !self.read_bytes(warp, 0, place, &mut bytes) {
            self.note_uninitialized(named_thread(warp, FULL), pc, place);
        }
        self.check_race(warp, pc, 0, (place, 16), Access::Read, true);
        for (value, pair) in values.iter_mut().zip(bytes.chunks_exact(2)) {
            *value = u16::from_le_bytes([pair[0], pair[1]]);
        }
    }

    pub(super) fn store_matrix(
        &mut self,
        warp: &mut Warp,
        pc: u32,
        values: &[Src],
        addr: Addr,
        transposed: bool,
    ) -> Result<(), Error> {
        let rows = self.matrix_rows(warp, pc, addr, values.len())?;
        for (index, value) in values.iter().enumerate() {
            let register = warp.registers.read(*value, FULL);
            let element = |row: usize, column: usize| (register[4 * row + column / 2] >> (16 * (column % 2))) as u16;
            for (row, at) in rows[8 * index..8 * index + 8].iter().enumerate() {
                let pick = |column: usize| if transposed { element(column, row) } else { element(row, column) };
                let bytes: Vec<u8> = (0..8).flat_map(|column| pick(column).to_le_bytes()).collect();
                self.check_race(warp, pc, 0, (Place::Shared(*at), 16), Access::Write, false);
                self.write_shared(*at, &bytes);
            }
        }
        Ok(())
    }
}
