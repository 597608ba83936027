//! Operands: registers and symbols, numbers, vectors, addresses.

use super::Cursor;
use crate::Error;

/// An operand as it is written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operand {
    /// A register, special register, label, variable or function.
    Name(String),
    /// A number: an integer in two's complement, or the bits of a float.
    Number(u64),
    /// `{a, b}`
    Vector(Vec<Operand>),
    /// `(a, b)`, the arguments of a call.
    Group(Vec<Operand>),
    /// `[a + 4]`
    Address(Box<Address>),
    /// `!p`
    Not(Box<Operand>),
    /// `d|p`
    Pair(Box<Operand>, Box<Operand>),
}

/// `[base + offset]` or `[base, {coordinates}]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Address {
    pub base: Operand,
    pub offset: i64,
    pub coordinates: Vec<Operand>,
}

impl Operand {
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            _ => None,
        }
    }
}

/// Operands up to the semicolon, which is taken.
pub(crate) fn list(cursor: &mut Cursor) -> Result<Vec<Operand>, Error> {
    let mut operands = Vec::new();
    while !cursor.accept(";") {
        operands.push(operand(cursor)?);
        cursor.accept(",");
    }
    Ok(operands)
}

fn operand(cursor: &mut Cursor) -> Result<Operand, Error> {
    let first = match cursor.peek_text() {
        "{" => Operand::Vector(inside(cursor, "}")?),
        "(" => Operand::Group(inside(cursor, ")")?),
        "[" => Operand::Address(Box::new(address(cursor)?)),
        "!" => {
            cursor.take()?;
            Operand::Not(Box::new(operand(cursor)?))
        }
        text if text == "-" || text.starts_with(|c: char| c.is_ascii_digit()) => Operand::Number(number(cursor)?),
        _ => Operand::Name(cursor.take()?.text.to_string()),
    };
    if cursor.accept("|") {
        return Ok(Operand::Pair(Box::new(first), Box::new(operand(cursor)?)));
    }
    // `mov.u64 %rd1, table+8;`
    if cursor.peek_text() == "+" && matches!(first, Operand::Name(_)) {
        let offset = offset(cursor)?;
        return Ok(Operand::Address(Box::new(Address { base: first, offset, coordinates: Vec::new() })));
    }
    Ok(first)
}

fn inside(cursor: &mut Cursor, end: &str) -> Result<Vec<Operand>, Error> {
    cursor.take()?;
    let mut operands = Vec::new();
    while !cursor.accept(end) {
        operands.push(operand(cursor)?);
        cursor.accept(",");
    }
    Ok(operands)
}

fn address(cursor: &mut Cursor) -> Result<Address, Error> {
    cursor.expect("[")?;
    let base = match operand(cursor)? {
        Operand::Address(sum) => *sum,
        base => Address { base, offset: 0, coordinates: Vec::new() },
    };
    let mut address = base;
    if matches!(cursor.peek_text(), "+" | "-") {
        address.offset = offset(cursor)?;
    }
    while !cursor.accept("]") {
        cursor.expect(",")?;
        match operand(cursor)? {
            Operand::Vector(parts) => address.coordinates = parts,
            other => address.coordinates.push(other),
        }
    }
    Ok(address)
}

/// A sum of signed numbers: `+12`, `+-8`, `-4`.
fn offset(cursor: &mut Cursor) -> Result<i64, Error> {
    let mut sum = 0;
    while matches!(cursor.peek_text(), "+" | "-") {
        cursor.accept("+");
        sum += number(cursor)?.cast_signed();
    }
    Ok(sum)
}

/// An integer (decimal, hexadecimal, octal, binary) or the bits of a float (`0f3F800000`, `0d…`, `1.5`).
pub(crate) fn number(cursor: &mut Cursor) -> Result<u64, Error> {
    let negative = cursor.accept("-");
    let text = cursor.take()?.text;
    let digits = text.trim_end_matches('U');
    let value = match digits.as_bytes() {
        [b'0', b'f' | b'F' | b'd' | b'D' | b'x' | b'X', ..] => u64::from_str_radix(&digits[2..], 16).ok(),
        [b'0', b'b' | b'B', ..] => u64::from_str_radix(&digits[2..], 2).ok(),
        [b'0', _, ..] if !digits.contains('.') => u64::from_str_radix(&digits[1..], 8).ok(),
        _ if digits.contains('.') => digits.parse::<f64>().ok().map(f64::to_bits),
        _ => digits.parse().ok(),
    };
    let value = value.ok_or_else(|| cursor.error(format!("`{text}` is not a number")))?;
    Ok(if negative { value.wrapping_neg() } else { value })
}
