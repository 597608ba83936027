//! Logic, shifts and other work on bits.

use crate::lanes::{AluFn, by_integer, lanes};
use crate::syntax::Type;

/// The function of an instruction on untyped or integer bits.
pub(super) fn function(parts: &[&str], kind: Type) -> Option<AluFn> {
    match parts[0] {
        "and" => Some(lanes!(u64: a, b, _c => a & b)),
        "or" => Some(lanes!(u64: a, b, _c => a | b)),
        "xor" => Some(lanes!(u64: a, b, _c => a ^ b)),
        "not" => by_integer!(kind, lanes, a, _b, _c => !a),
        "cnot" => by_integer!(kind, lanes, a, _b, _c => u64::from(a == 0)),
        "shl" => shift_left(kind),
        "shr" => shift_right(kind),
        "popc" => by_integer!(kind, lanes, a, _b, _c => a.count_ones()),
        "clz" => by_integer!(kind, lanes, a, _b, _c => a.leading_zeros()),
        "brev" => by_integer!(kind, lanes, a, _b, _c => a.reverse_bits()),
        "bfind" if parts.contains(&"shiftamt") => find_bit(kind, true),
        "bfind" => find_bit(kind, false),
        "bfe" => extract(kind),
        "prmt" => permute(parts),
        "shf" => funnel(parts),
        "dp4a" => dot_product(parts),
        // a cluster is one block, and cache policies only hint
        "mapa" => Some(lanes!(u64: a, _b, _c => a)),
        "getctarank" | "createpolicy" => Some(lanes!(u64: _a, _b, _c => 0u32)),
        _ => None,
    }
}

// amounts are 32-bit whatever the type, and clamp at the width
fn shift_left(kind: Type) -> Option<AluFn> {
    Some(match kind.bytes() {
        2 => lanes!(u64: a, b, _c => if b as u32 > 15 { 0 } else { (a as u16) << b as u32 }),
        4 => lanes!(u64: a, b, _c => (a as u32).checked_shl(b as u32).unwrap_or(0)),
        8 => lanes!(u64: a, b, _c => a.checked_shl(b as u32).unwrap_or(0)),
        _ => return None,
    })
}

fn shift_right(kind: Type) -> Option<AluFn> {
    Some(match (kind.bytes(), kind.is_signed()) {
        (2, false) => lanes!(u64: a, b, _c => (a as u16).checked_shr(b as u32).unwrap_or(0)),
        (2, true) => lanes!(u64: a, b, _c => (a as i16) >> (b as u32).min(15)),
        (4, false) => lanes!(u64: a, b, _c => (a as u32).checked_shr(b as u32).unwrap_or(0)),
        (4, true) => lanes!(u64: a, b, _c => (a as i32) >> (b as u32).min(31)),
        (8, false) => lanes!(u64: a, b, _c => a.checked_shr(b as u32).unwrap_or(0)),
        (8, true) => lanes!(u64: a, b, _c => (a as i64) >> (b as u32).min(63)),
        _ => return None,
    })
}

/// The place of the highest bit that differs from the sign, or, `shift`, the shift that brings it to the top.
fn find_bit(kind: Type, shift: bool) -> Option<AluFn> {
    fn place(bits: u64, width: u32, shift: bool) -> u32 {
        let place = 63u32.wrapping_sub(bits.leading_zeros());
        if bits == 0 {
            u32::MAX
        } else if shift {
            width - 1 - place
        } else {
            place
        }
    }
    Some(match (kind, shift) {
        (Type::U32, false) => lanes!(u32: a, _b, _c => place(u64::from(a), 32, false)),
        (Type::U32, true) => lanes!(u32: a, _b, _c => place(u64::from(a), 32, true)),
        (Type::S32, false) => lanes!(i32: a, _b, _c => place(u64::from((a ^ (a >> 31)) as u32), 32, false)),
        (Type::S32, true) => lanes!(i32: a, _b, _c => place(u64::from((a ^ (a >> 31)) as u32), 32, true)),
        (Type::U64, false) => lanes!(u64: a, _b, _c => place(a, 64, false)),
        (Type::U64, true) => lanes!(u64: a, _b, _c => place(a, 64, true)),
        (Type::S64, false) => lanes!(i64: a, _b, _c => place((a ^ (a >> 63)) as u64, 64, false)),
        (Type::S64, true) => lanes!(i64: a, _b, _c => place((a ^ (a >> 63)) as u64, 64, true)),
        _ => return None,
    })
}

/// `length` bits from `start`; a signed field repeats its highest bit.
fn field(value: u64, start: u64, length: u64, width: u32, signed: bool) -> u64 {
    let (start, length) = ((start & 0xff) as u32, (length & 0xff) as u32);
    if length == 0 {
        return 0;
    }
    let last = (start + length - 1).min(width - 1);
    let sign = signed && value >> last & 1 == 1;
    let mut result = if sign { u64::MAX } else { 0 };
    for place in 0..length.min(width).min(width.saturating_sub(start)) {
        let bit = value >> (start + place) & 1;
        result = result & !(1 << place) | bit << place;
    }
    result
}

fn extract(kind: Type) -> Option<AluFn> {
    Some(match kind {
        Type::U32 => lanes!(u64: a, b, c => field(a, b, c, 32, false) as u32),
        Type::S32 => lanes!(u64: a, b, c => field(a, b, c, 32, true) as u32),
        Type::U64 => lanes!(u64: a, b, c => field(a, b, c, 64, false)),
        Type::S64 => lanes!(u64: a, b, c => field(a, b, c, 64, true)),
        _ => return None,
    })
}

/// `b` with `length` bits of `a` put in from `start`.
pub(crate) fn insert(a: u64, b: u64, start: u64, length: u64, width: u32) -> u64 {
    let (start, length) = ((start & 0xff) as u32, (length & 0xff) as u32);
    if start >= width || length == 0 {
        return b;
    }
    let ones = u64::MAX.checked_shr(64 - length.min(64)).unwrap_or(0);
    let mask = ones << start;
    (b & !mask) | (a << start & mask)
}

/// Four bytes chosen from the eight of two registers, each by a nibble whose top bit repeats the sign.
pub(crate) fn permute_bytes(a: u64, b: u64, selector: u64) -> u64 {
    let bytes = (a & 0xffff_ffff) | b << 32;
    (0..4).fold(0, |result, place| {
        let nibble = selector >> (4 * place) & 0xf;
        let byte = bytes >> (8 * (nibble & 7)) & 0xff;
        let byte = if nibble & 8 != 0 { 0xff * (byte >> 7) } else { byte };
        result | byte << (8 * place)
    })
}

fn permute(parts: &[&str]) -> Option<AluFn> {
    fn by(first: u64, step: impl Fn(u64) -> u64) -> u64 {
        (0..4).fold(0, |selector, place| selector | (first.wrapping_add(step(place)) & 7) << (4 * place))
    }
    Some(match parts.get(2).copied() {
        None => lanes!(u64: a, b, c => permute_bytes(a, b, c & 0xffff)),
        Some("f4e") => lanes!(u64: a, b, c => permute_bytes(a, b, by(c & 3, |place| place))),
        Some("b4e") => lanes!(u64: a, b, c => permute_bytes(a, b, by(c & 3, |place| 8 - place))),
        Some("rc8") => lanes!(u64: a, b, c => permute_bytes(a, b, by(c & 3, |_| 0))),
        Some("rc16") => lanes!(u64: a, b, c => permute_bytes(a, b, by(c << 1 & 2, |place| place & 1))),
        Some("ecl") => lanes!(u64: a, b, c => permute_bytes(a, b, by(0, |place| place.max(c & 3)))),
        Some("ecr") => lanes!(u64: a, b, c => permute_bytes(a, b, by(0, |place| place.min(c & 3)))),
        Some(_) => return None,
    })
}

/// 32 bits of the 64 that two registers make, shifted left or right.
fn funnel(parts: &[&str]) -> Option<AluFn> {
    fn joined(a: u64, b: u64) -> u64 {
        a & 0xffff_ffff | b << 32
    }
    Some(match (parts.get(1).copied(), parts.get(2).copied()) {
        (Some("l"), Some("wrap")) => lanes!(u64: a, b, c => ((joined(a, b) << (c & 31)) >> 32) as u32),
        (Some("l"), Some("clamp")) => lanes!(u64: a, b, c => ((joined(a, b) << c.min(32)) >> 32) as u32),
        (Some("r"), Some("wrap")) => lanes!(u64: a, b, c => (joined(a, b) >> (c & 31)) as u32),
        (Some("r"), Some("clamp")) => lanes!(u64: a, b, c => (joined(a, b) >> (c & 0xffff_ffff).min(32)) as u32),
        _ => return None,
    })
}

/// Four products of bytes added to a sum.
fn dot_product(parts: &[&str]) -> Option<AluFn> {
    fn dot(a: u64, b: u64, c: u64, a_signed: bool, b_signed: bool) -> u32 {
        let byte = |word: u64, place: u32, signed: bool| {
            let byte = (word >> (8 * place)) as u8;
            if signed { i32::from(byte.cast_signed()) } else { i32::from(byte) }
        };
        let sum: i32 = (0..4).map(|place| byte(a, place, a_signed) * byte(b, place, b_signed)).sum();
        (c as u32).wrapping_add(sum.cast_unsigned())
    }
    Some(match (parts.get(1).copied(), parts.get(2).copied()) {
        (Some("u32"), Some("u32")) => lanes!(u64: a, b, c => dot(a, b, c, false, false)),
        (Some("s32"), Some("s32")) => lanes!(u64: a, b, c => dot(a, b, c, true, true)),
        (Some("s32"), Some("u32")) => lanes!(u64: a, b, c => dot(a, b, c, true, false)),
        (Some("u32"), Some("s32")) => lanes!(u64: a, b, c => dot(a, b, c, false, true)),
        _ => return None,
    })
}

/// Every bit from a table of eight answers, indexed by the bits of the three operands.
pub(crate) fn look_up(a: u32, b: u32, c: u32, table: u32) -> u32 {
    (0..8).filter(|row| table >> row & 1 == 1).fold(0, |result, row| {
        let pick = |word: u32, bit: u32| if row >> bit & 1 == 1 { word } else { !word };
        result | (pick(a, 2) & pick(b, 1) & pick(c, 0))
    })
}
