//! Files of token ids: unsigned numbers of 16, 32 or 64 bits, lowest byte first, `.npy`, or JSON.
//!
//! The scripts of dual chunk attention store PG19 in 16 bits, and write 32 for vocabularies beyond 65,536. Such files do not
//! say what they are. Read too narrow, every second number (or three of four) is zero or nearly so; no text is like that, so
//! the widest format in which all ids fit is the one, where there are enough of them to tell.

use std::collections::HashSet;
use std::path::Path;
use std::str::FromStr;

use crate::error::EvalError;
use crate::token_ids;

mod npy;

/// Ids of a file, and how they stood in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFile {
    /// The ids of every sequence, all of them in the vocabulary: rows of JSON and `.npy`; plain numbers are one.
    pub documents: Vec<Vec<u32>>,
    /// What was read: `u16`, `u32`, `i64`, `npy` or `JSON`.
    pub format: &'static str,
}

/// How wide the numbers of a token file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenFormat {
    /// Unsigned, 16 bits.
    U16,
    /// Unsigned, 32 bits.
    U32,
    /// Signed, 64 bits, as `PyTorch` keeps ids.
    I64,
}

impl TokenFormat {
    /// All of them, the narrowest first.
    pub const ALL: [Self; 3] = [Self::U16, Self::U32, Self::I64];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::I64 => "i64",
        }
    }

    /// Bytes of a number.
    pub fn width(self) -> usize {
        match self {
            Self::U16 => 2,
            Self::U32 => 4,
            Self::I64 => 8,
        }
    }

    fn numbers(self, bytes: &[u8]) -> impl Iterator<Item = i64> {
        bytes.chunks_exact(self.width()).map(move |bytes| {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            i64::from_le_bytes(whole)
        })
    }

    /// The ids of `bytes`; what is wrong with them otherwise.
    fn read(self, bytes: &[u8], vocab_size: usize) -> Result<Vec<u32>, String> {
        if !bytes.len().is_multiple_of(self.width()) {
            let bits = 8 * self.width();
            return Err(format!("its {} bytes are no whole number of {bits}-bit tokens", bytes.len()));
        }
        ids(self.numbers(bytes), vocab_size)
    }
}

impl FromStr for TokenFormat {
    type Err = EvalError;

    fn from_str(name: &str) -> Result<Self, EvalError> {
        let known = match name {
            "u16" | "uint16" => Self::U16,
            "u32" | "uint32" => Self::U32,
            "i64" | "int64" => Self::I64,
            _ => {
                let (value, expected) = (format!("`{name}`"), "one of u16, u32, i64");
                return Err(EvalError::Value { name: "token_format", value, expected });
            }
        };
        Ok(known)
    }
}

/// Numbers of either half that are enough to tell two formats apart.
const TELLING: usize = 8;
/// What to think of ids that are not in the vocabulary.
const OTHER: &str = "the file was made with another tokenizer, is cut short, or is not a token file";
/// What to do about numbers that are too narrow.
const WIDER: &str = "write the file again, whole and with the model's own tokenizer; where it is right as it is, say so with \
                     `token_format`";
const NONE: &str = "it holds no tokens";
const NAME: &str = "name a file with token ids";
/// Tokens that are looked at for repetitions.
const SAMPLE: usize = 4096;

/// The ids in the bytes of a file, all of them in the vocabulary; `format` where the file does not say enough.
///
/// Errors name `path`, what is wrong in it and where.
pub fn token_file(
    path: &Path,
    bytes: &[u8],
    vocab_size: usize,
    format: Option<TokenFormat>,
) -> Result<TokenFile, EvalError> {
    let refuse = |problem: String, help: &str| EvalError::File { path: path.to_owned(), problem, help: help.into() };
    if bytes.is_empty() {
        return Err(refuse(NONE.into(), NAME));
    }
    if let Some(format) = format {
        let read = format.read(bytes, vocab_size);
        let read = read.map_err(|problem| refuse(format!("read as {}, {problem}", format.name()), OTHER))?;
        return Ok(TokenFile { documents: vec![read], format: format.name() });
    }
    if let Some(held) = npy::numbers(bytes) {
        let rows =
            held.map_err(|problem| refuse(problem, "save rows of whole numbers, as `numpy.save` writes them"))?;
        return of_rows(rows, vocab_size, "npy").map_err(|(problem, help)| refuse(problem, help));
    }
    if let Some(kind) = other_kind(bytes) {
        let help = "give a file of ids as numbers of 16, 32 or 64 bits, .npy or JSON; text is given as `file`";
        return Err(refuse(format!("it is {kind}, not a token file"), help));
    }
    if let Some(text) = text(bytes) {
        if !text.trim_start().starts_with(['[', '{']) {
            let help = "give text as `file`, or say with `token_format` how these are ids";
            return Err(refuse("it holds text, not token ids".into(), help));
        }
        let rows = token_ids::rows_from_json(text).map_err(|problem| refuse(problem, token_ids::HELP))?;
        let rows = rows.into_iter().map(|row| row.into_iter().map(i64::from).collect()).collect();
        return of_rows(rows, vocab_size, "JSON").map_err(|(problem, help)| refuse(problem, help));
    }
    let (format, tokens) = tell(path, bytes, vocab_size)?;
    if let Some(problem) = looks_wider(format, bytes, vocab_size) {
        return Err(refuse(problem, WIDER));
    }
    let sample = &tokens[..tokens.len().min(SAMPLE)];
    let n_different = sample.iter().collect::<HashSet<_>>().len();
    if sample.len() >= SAMPLE / 4 && n_different * 10 > sample.len() * 9 {
        return Err(refuse(
            format!(
                "read as {}, {n_different} of its first {} ids are different, as in no text",
                format.name(),
                sample.len()
            ),
            "it is probably no token file; where it is, say so with `token_format`",
        ));
    }
    Ok(TokenFile { documents: vec![tokens], format: format.name() })
}

/// Rows of numbers as documents; what is wrong, and what to do, otherwise.
fn of_rows(rows: Vec<Vec<i64>>, vocab_size: usize, format: &'static str) -> Result<TokenFile, (String, &'static str)> {
    let n_rows = rows.len();
    let document = |(at, row): (usize, Vec<i64>)| {
        let read = ids(row.into_iter(), vocab_size);
        read.map_err(|problem| (if n_rows > 1 { format!("row {}: {problem}", at + 1) } else { problem }, OTHER))
    };
    let documents: Vec<_> = rows.into_iter().enumerate().map(document).collect::<Result<_, _>>()?;
    if documents.iter().all(Vec::is_empty) { Err((NONE.into(), NAME)) } else { Ok(TokenFile { documents, format }) }
}

/// What is wrong where numbers read as `format` are halves of wider ones: every second is zero or nearly so, as above all ids
/// of a vocabulary below a million, and in no text. The wider numbers do not fit, or they would have been read.
fn looks_wider(format: TokenFormat, bytes: &[u8], vocab_size: usize) -> Option<String> {
    const SMALL: i64 = 16;
    let wider = TokenFormat::ALL.into_iter().find(|wider| wider.width() == 2 * format.width())?;
    let small = |odd: usize| format.numbers(bytes).skip(odd).step_by(2).filter(|number| *number < SMALL).count();
    let n_pairs = bytes.len() / wider.width();
    let is_wider = n_pairs >= TELLING && small(1) >= n_pairs && small(0) * 2 < n_pairs;
    let why = || {
        let beyond = bytes.len() % wider.width();
        let whole = wider.read(&bytes[..bytes.len() - beyond], vocab_size);
        match whole {
            Err(problem) => format!("; read as {}, {problem}", wider.name()),
            Ok(_) => format!("; it looks like {} cut short, {beyond} bytes into a number", wider.name()),
        }
    };
    is_wider.then(|| format!("read as {}, every second id is below {SMALL}, as in no text{}", format.name(), why()))
}

/// The format in which `bytes` make sense, and their ids.
fn tell(path: &Path, bytes: &[u8], vocab_size: usize) -> Result<(TokenFormat, Vec<u32>), EvalError> {
    let mut fitting: Vec<(TokenFormat, Vec<u32>)> = Vec::new();
    let mut problems = Vec::new();
    for format in TokenFormat::ALL {
        match format.read(bytes, vocab_size) {
            Ok(tokens) => fitting.push((format, tokens)),
            Err(problem) => problems.push((format, problem)),
        }
    }
    let Some((widest, tokens)) = fitting.pop() else {
        let said = problems.iter().filter(|(format, _)| bytes.len().is_multiple_of(format.width()));
        let mut said: Vec<_> = said.map(|(format, problem)| format!("read as {}, {problem}", format.name())).collect();
        if said.is_empty() {
            said.extend(problems.into_iter().take(1).map(|(_, problem)| problem));
        }
        return Err(EvalError::File { path: path.to_owned(), problem: said.join("; "), help: OTHER.into() });
    };
    // narrower numbers fit as well wherever wider ones do; then zeros between the ids tell, if the ids themselves are none
    let is_telling = tokens.len() >= TELLING && tokens.iter().filter(|id| **id != 0).count() * 2 >= tokens.len();
    if fitting.is_empty() || is_telling {
        return Ok((widest, tokens));
    }
    let formats = fitting.iter().map(|(format, _)| format.name()).chain([widest.name()]).collect();
    Err(EvalError::AmbiguousTokens { path: path.to_owned(), formats })
}

/// Numbers as ids of a vocabulary; the first that is none otherwise.
fn ids(numbers: impl Iterator<Item = i64>, vocab_size: usize) -> Result<Vec<u32>, String> {
    let id = |(at, number): (usize, i64)| {
        let id = u32::try_from(number).ok().filter(|id| (*id as usize) < vocab_size);
        id.ok_or_else(|| format!("token {number} at position {at} is outside the vocabulary of {vocab_size}"))
    };
    numbers.enumerate().map(id).collect()
}

/// The bytes as text, where they read as such: JSON, or enough of anything without control characters.
fn text(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let text = text.trim_start_matches('\u{feff}');
    let is_json = text.trim_start().starts_with(['[', '{']) && text.trim_end().ends_with([']', '}']);
    let is_written = bytes.len() >= 2 * TELLING && !text.contains(|c: char| c.is_control() && !c.is_whitespace());
    (is_json || is_written).then_some(text)
}

/// What a file is that says so.
fn other_kind(bytes: &[u8]) -> Option<&'static str> {
    // a pickle begins with its protocol and ends with a full stop; two bytes alone may be an id
    if let [0x80, 2..=5, .., b'.'] = bytes {
        return Some("a pickle");
    }
    let known: [(&[u8], &str); 5] = [
        (b"PK\x03\x04", "a zip archive (.npz, .pt)"),
        (b"\x1f\x8b\x08", "packed with gzip"),
        (b"\x28\xb5\x2f\xfd", "packed with zstd"),
        (b"PAR1", "a Parquet table"),
        (b"ARROW1", "an Arrow table"),
    ];
    known.into_iter().find(|(mark, _)| bytes.starts_with(mark)).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests;
