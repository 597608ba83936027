//! Metadata: what a GGUF file says of its model, by key, with types.

use std::collections::BTreeMap;
use std::fmt;

use super::cursor::Cursor;
use crate::error::{OpenError, cut};

/// Metadata by key, such as `llama.block_count` and `tokenizer.ggml.tokens`. Getters return `None` where a key is absent, and an
/// error that names file and key where its value is something else than asked for.
#[derive(Debug, Clone)]
pub struct Metadata {
    file: String,
    entries: Entries,
}

pub(super) type Entries = BTreeMap<String, Value>;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A whole number of any width.
    Whole(i128),
    /// A number of 64 bits, or of 32 bits as the shortest decimal that names it, which is how configs write it.
    Real(f64),
    /// A truth value.
    Flag(bool),
    /// A text.
    Text(String),
    /// A list of whole numbers of any width.
    Wholes(Vec<i64>),
    /// A list of numbers, rounded to 32 bits.
    Reals(Vec<f32>),
    /// A list of truth values.
    Flags(Vec<bool>),
    /// A list of texts.
    Texts(Texts),
}

/// A list of texts, one behind the other in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    joined: String,
    ends: Vec<u32>,
}

impl Texts {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// One of them.
    pub fn get(&self, at: usize) -> Option<&str> {
        let end = *self.ends.get(at)? as usize;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        Some(&self.joined[start..end])
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.len()).map(|at| self.get(at).expect("counted"))
    }
}

impl<'a> FromIterator<&'a str> for Texts {
    fn from_iter<I: IntoIterator<Item = &'a str>>(texts: I) -> Self {
        let mut all = Self::default();
        for text in texts {
            all.joined.push_str(text);
            all.ends.push(u32::try_from(all.joined.len()).expect("a vocabulary has less than 4 GiB"));
        }
        all
    }
}

impl Metadata {
    pub(crate) fn new(file: String, entries: Entries) -> Self {
        Self { file, entries }
    }

    /// How the file is called in errors.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// All keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// A value of any type.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.get(key)
    }

    /// A text.
    pub fn text(&self, key: &str) -> Result<Option<&str>, OpenError> {
        self.read(key, "a text", |value| if let Value::Text(text) = value { Some(text.as_str()) } else { None })
    }

    /// A whole number that is not below zero.
    pub fn whole(&self, key: &str) -> Result<Option<u64>, OpenError> {
        self.read(key, "a whole number of at least 0", |value| match value {
            Value::Whole(n) => u64::try_from(*n).ok(),
            _ => None,
        })
    }

    /// A number, whole or not.
    pub fn real(&self, key: &str) -> Result<Option<f64>, OpenError> {
        self.read(key, "a number", |value| match value {
            Value::Real(x) => Some(*x).filter(|x| x.is_finite()),
            Value::Whole(n) => Some(*n as f64),
            _ => None,
        })
    }

    /// A truth value.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, OpenError> {
        self.read(key, "true or false", |value| if let Value::Flag(flag) = value { Some(*flag) } else { None })
    }

    /// A list of texts.
    pub fn texts(&self, key: &str) -> Result<Option<&Texts>, OpenError> {
        self.read(key, "a list of texts", |value| if let Value::Texts(texts) = value { Some(texts) } else { None })
    }

    /// A list of whole numbers.
    pub fn wholes(&self, key: &str) -> Result<Option<&[i64]>, OpenError> {
        self.read(key, "a list of whole numbers", |value| {
            if let Value::Wholes(wholes) = value { Some(wholes.as_slice()) } else { None }
        })
    }

    /// A list of numbers.
    pub fn reals(&self, key: &str) -> Result<Option<&[f32]>, OpenError> {
        self.read(
            key,
            "a list of numbers",
            |value| {
                if let Value::Reals(reals) = value { Some(reals.as_slice()) } else { None }
            },
        )
    }

    /// An error about the value of `key`.
    pub fn error(&self, key: &str, expected: &str) -> OpenError {
        OpenError::Field {
            file: self.file.clone(),
            field: key.into(),
            expected: expected.into(),
            found: self.get(key).map_or_else(|| "missing".into(), ToString::to_string),
        }
    }

    /// An error about a value that is well formed and not supported.
    pub fn unsupported(&self, key: &str, help: &str) -> OpenError {
        OpenError::Unsupported {
            file: self.file.clone(),
            field: key.into(),
            value: self.get(key).map_or_else(|| "missing".into(), ToString::to_string),
            help: help.into(),
        }
    }

    fn read<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, OpenError> {
        self.get(key).map(|value| read(value).ok_or_else(|| self.error(key, expected))).transpose()
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(n) => write!(f, "{n}"),
            Self::Real(x) => write!(f, "{x}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Text(text) => write!(f, "\"{}\"", cut(text)),
            Self::Wholes(list) => write!(f, "a list of {} whole numbers", list.len()),
            Self::Reals(list) => write!(f, "a list of {} numbers", list.len()),
            Self::Flags(list) => write!(f, "a list of {} truth values", list.len()),
            Self::Texts(list) => write!(f, "a list of {} texts", list.len()),
        }
    }
}

/// Bytes of the shortest entry: a key, a type and a value of one byte.
pub(super) const MIN_ENTRY: usize = 8 + 4 + 1;

/// Entries of all lists together: a small vocabulary of a thousandth of them is common, and no model has more.
const MAX_LISTED: usize = 1 << 25;

pub(super) fn read(cursor: &mut Cursor<'_>, n_entries: usize) -> Result<Entries, String> {
    let (mut entries, mut n_listed) = (Entries::new(), 0);
    for number in 0..n_entries {
        let key = cursor.text(&format!("the key of metadata entry {number}"))?;
        let what = format!("`{}`", cut(key));
        let kind = cursor.u32(&what)?;
        let value = if kind == LIST { list(cursor, &what, &mut n_listed)? } else { single(cursor, kind, &what)? };
        if entries.insert(key.to_owned(), value).is_some() {
            return Err(format!("has two metadata entries {what}"));
        }
    }
    Ok(entries)
}

const FLAG: u32 = 7;
const TEXT: u32 = 8;
const LIST: u32 = 9;

fn single(cursor: &mut Cursor<'_>, kind: u32, what: &str) -> Result<Value, String> {
    if kind == TEXT {
        return cursor.text(what).map(|text| Value::Text(text.into()));
    }
    let bytes = cursor.take(size(kind, what)?, what)?;
    Ok(match kind {
        FLAG => Value::Flag(flag(bytes[0], what)?),
        6 => Value::Real(decimal(f32::from_le_bytes(fixed(bytes)))),
        12 => Value::Real(f64::from_le_bytes(fixed(bytes))),
        10 => Value::Whole(u64::from_le_bytes(fixed(bytes)).into()),
        _ => Value::Whole(whole(kind, bytes).into()),
    })
}

fn list(cursor: &mut Cursor<'_>, what: &str, n_listed: &mut usize) -> Result<Value, String> {
    let kind = cursor.u32(what)?;
    let size = if kind == TEXT { 8 } else { size(kind, what)? };
    let n = cursor.count(&format!("entries of {what}"), size)?;
    *n_listed += n;
    if *n_listed > MAX_LISTED {
        return Err(format!("has lists of more than {MAX_LISTED} entries in its metadata, {what} among them"));
    }
    if kind == TEXT {
        return texts(cursor, n, what).map(Value::Texts);
    }
    let bytes = cursor.take(n * size, what)?;
    let each = bytes.chunks_exact(size);
    Ok(match kind {
        FLAG => Value::Flags(each.map(|bytes| flag(bytes[0], what)).collect::<Result<_, _>>()?),
        6 => Value::Reals(each.map(|bytes| f32::from_le_bytes(fixed(bytes))).collect()),
        12 => Value::Reals(each.map(|bytes| f64::from_le_bytes(fixed(bytes)) as f32).collect()),
        10 => {
            let whole = |bytes| i64::try_from(u64::from_le_bytes(fixed(bytes)));
            Value::Wholes(
                each.map(whole).collect::<Result<_, _>>().map_err(|_| format!("has a number in {what} beyond 2^63"))?,
            )
        }
        _ => Value::Wholes(each.map(|bytes| whole(kind, bytes)).collect()),
    })
}

fn texts(cursor: &mut Cursor<'_>, n: usize, what: &str) -> Result<Texts, String> {
    let mut texts = Texts { joined: String::new(), ends: Vec::with_capacity(n) };
    for number in 0..n {
        let n_bytes = cursor.u64(what)?;
        let bytes = cursor.take(usize::try_from(n_bytes).unwrap_or(usize::MAX), what)?;
        let text =
            std::str::from_utf8(bytes).map_err(|_| format!("has an entry {number} of {what} that is no UTF-8 text"))?;
        texts.joined.push_str(text);
        // a header is far shorter
        texts.ends.push(u32::try_from(texts.joined.len()).map_err(|_| format!("has 4 GiB of texts in {what}"))?);
    }
    texts.joined.shrink_to_fit();
    Ok(texts)
}

/// Bytes of a value whose type says its size.
fn size(kind: u32, what: &str) -> Result<usize, String> {
    match kind {
        0 | 1 | FLAG => Ok(1),
        2 | 3 => Ok(2),
        4..=6 => Ok(4),
        10..=12 => Ok(8),
        LIST => Err(format!("has lists of lists in {what}, which are not read")),
        _ => Err(format!("gives {what} the type {kind}, which is unknown")),
    }
}

fn flag(byte: u8, what: &str) -> Result<bool, String> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(format!("has a truth value of {other} in {what}")),
    }
}

fn whole(kind: u32, bytes: &[u8]) -> i64 {
    match kind {
        0 => bytes[0].into(),
        1 => i8::from_le_bytes(fixed(bytes)).into(),
        2 => u16::from_le_bytes(fixed(bytes)).into(),
        3 => i16::from_le_bytes(fixed(bytes)).into(),
        4 => u32::from_le_bytes(fixed(bytes)).into(),
        5 => i32::from_le_bytes(fixed(bytes)).into(),
        _ => i64::from_le_bytes(fixed(bytes)),
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("as many bytes as the type has")
}

/// The shortest decimal that names `x`, such as 1e-5 for the number of 32 bits nearest to it.
fn decimal(x: f32) -> f64 {
    x.to_string().parse().unwrap_or(f64::from(x))
}

/// Adds a value with its type, in the widths that llama.cpp asks for: whole numbers of 32 bits where they fit, numbers of 32 bits.
pub(super) fn put(value: &Value, out: &mut Vec<u8>) {
    const REAL: u32 = 6;
    let kind = |kind: u32, out: &mut Vec<u8>| out.extend(kind.to_le_bytes());
    let listed = |of: u32, n: usize, out: &mut Vec<u8>| {
        out.extend([LIST.to_le_bytes(), of.to_le_bytes()].concat());
        out.extend((n as u64).to_le_bytes());
    };
    match value {
        Value::Whole(n) => match (u32::try_from(*n), i32::try_from(*n)) {
            (Ok(n), _) => out.extend([4, n].map(u32::to_le_bytes).concat()),
            (_, Ok(n)) => out.extend([5, n].map(i32::to_le_bytes).concat()),
            _ => {
                kind(if *n < 0 { 11 } else { 10 }, out);
                out.extend((*n as u64).to_le_bytes()); // the same bits with a sign
            }
        },
        Value::Real(x) => {
            kind(REAL, out);
            out.extend((*x as f32).to_le_bytes());
        }
        Value::Flag(flag) => {
            kind(FLAG, out);
            out.push(u8::from(*flag));
        }
        Value::Text(text) => {
            kind(TEXT, out);
            put_text(text, out);
        }
        Value::Wholes(list) => {
            if let Ok(short) = list.iter().map(|n| i32::try_from(*n)).collect::<Result<Vec<_>, _>>() {
                listed(5, list.len(), out);
                out.extend(short.iter().flat_map(|n| n.to_le_bytes()));
            } else {
                listed(11, list.len(), out);
                out.extend(list.iter().flat_map(|n| n.to_le_bytes()));
            }
        }
        Value::Reals(list) => {
            listed(REAL, list.len(), out);
            out.extend(list.iter().flat_map(|x| x.to_le_bytes()));
        }
        Value::Flags(list) => {
            listed(FLAG, list.len(), out);
            out.extend(list.iter().map(|flag| u8::from(*flag)));
        }
        Value::Texts(list) => {
            listed(TEXT, list.len(), out);
            list.iter().for_each(|text| put_text(text, out));
        }
    }
}

/// Adds a text with its length before it.
pub(super) fn put_text(text: &str, out: &mut Vec<u8>) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}
