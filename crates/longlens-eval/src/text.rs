//! Text files: UTF-8, or refused with the byte that is none and its place.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use crate::error::EvalError;

/// A file beyond this is not read whole.
const MAX_BYTES: u64 = 4 << 30;
/// A pipe says neither how much it holds nor whether it ends, so it is given up sooner.
const MAX_STREAMED: u64 = 256 << 20;

/// The text of a file, without the mark that may begin it.
pub fn read_text(path: &Path) -> Result<String, EvalError> {
    text_of(path, read_bytes(path)?)
}

/// The bytes of a file of at most 4 GiB, or of a pipe of at most 256 MiB. Devices are refused by their kind and files by their
/// size, before a byte is read.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, EvalError> {
    let failed = |source| EvalError::Io { path: path.to_owned(), source };
    // looked at before it is opened, since opening a device can do things
    let there = fs::metadata(path).map_err(failed)?;
    if is_device(there.file_type()) {
        return Err(EvalError::File {
            path: path.to_owned(),
            problem: "it is a device, not a file".into(),
            help: "name a file, or a pipe that ends".into(),
        });
    }
    let limit = if there.is_file() { MAX_BYTES } else { MAX_STREAMED };
    if there.is_file() && there.len() > limit {
        return Err(too_large(path, limit));
    }
    bounded(path, fs::File::open(path).map_err(failed)?, limit)
}

/// All bytes of a stream such as stdin, which errors call `name`; refused beyond 256 MiB.
pub fn read_stream(name: &Path, stream: impl Read) -> Result<Vec<u8>, EvalError> {
    bounded(name, stream, MAX_STREAMED)
}

/// A file may grow while it is read, so its size alone bounds nothing.
fn bounded(path: &Path, from: impl Read, limit: u64) -> Result<Vec<u8>, EvalError> {
    let mut bytes = Vec::new();
    let read: io::Result<usize> = from.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|source| EvalError::Io { path: path.to_owned(), source })?;
    if bytes.len() as u64 > limit { Err(too_large(path, limit)) } else { Ok(bytes) }
}

fn too_large(path: &Path, limit: u64) -> EvalError {
    EvalError::File {
        path: path.to_owned(),
        problem: format!("it has more than {} MiB", limit >> 20),
        help: "cut it into smaller files".into(),
    }
}

#[cfg(unix)]
fn is_device(kind: fs::FileType) -> bool {
    use std::os::unix::fs::FileTypeExt;
    kind.is_char_device() || kind.is_block_device()
}

#[cfg(not(unix))]
fn is_device(_: fs::FileType) -> bool {
    false
}

/// What the bytes of a file say as text.
pub fn text_of(path: &Path, bytes: Vec<u8>) -> Result<String, EvalError> {
    decode(bytes).map_err(|error| EvalError::File {
        path: path.to_owned(),
        problem: error.to_string(),
        help: error.help(&path.display().to_string()),
    })
}

/// Bytes as text, without a byte order mark.
pub fn decode(bytes: Vec<u8>) -> Result<String, NotText> {
    if let Some(other) = Other::of(&bytes) {
        return Err(NotText { other: Some(other), ..NotText::at(&bytes, 0) });
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)),
        Err(error) => Err(NotText::at(error.as_bytes(), error.utf8_error().valid_up_to())),
    }
}

/// Why bytes are no text in UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotText {
    /// The first byte that is none; 0 where there is none.
    pub byte: u8,
    /// Bytes before it.
    pub offset: usize,
    /// Its line, from 1.
    pub line: usize,
    /// Its place in the line in bytes, from 1.
    pub column: usize,
    other: Option<Other>,
}

/// What the bytes are instead, where they say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Other {
    Encoded(&'static str),
    Packed(&'static str, &'static str),
    /// What it is, and what to do.
    Kind(&'static str, &'static str),
}

impl Other {
    fn of(bytes: &[u8]) -> Option<Self> {
        let known: [(&[u8], Self); 13] = [
            // the marks of UTF-32 begin or end like those of UTF-16
            (&[0xff, 0xfe, 0, 0], Self::Encoded("UTF-32")),
            (&[0, 0, 0xfe, 0xff], Self::Encoded("UTF-32")),
            (&[0xff, 0xfe], Self::Encoded("UTF-16")),
            (&[0xfe, 0xff], Self::Encoded("UTF-16")),
            (&[0x1f, 0x8b], Self::Packed("gzip", "gunzip -c")),
            (&[0x28, 0xb5, 0x2f, 0xfd], Self::Packed("zstd", "zstdcat")),
            (b"PK\x03\x04", Self::Packed("zip", "unzip -p")),
            (b"\xfd7zXZ\0", Self::Packed("xz", "xzcat")),
            (b"BZh", Self::Packed("bzip2", "bzcat")),
            (b"%PDF-", Self::Kind("a PDF", "take its text out first, as with `pdftotext`")),
            (b"\x93NUMPY", Self::Kind("an array of numpy", "token ids are given as `tokens`")),
            (b"PAR1", Self::Kind("a Parquet table", "write its texts as JSON lines with a `text` each")),
            (b"ARROW1", Self::Kind("an Arrow table", "write its texts as JSON lines with a `text` each")),
        ];
        // a text may begin with the letters of some marks
        let is_text = || !bytes.starts_with(b"%PDF-") && std::str::from_utf8(bytes).is_ok();
        let fits = |mark: &[u8]| bytes.starts_with(mark) && !(mark.iter().all(u8::is_ascii_graphic) && is_text());
        let marked = known.into_iter().find(|(mark, _)| fits(mark)).map(|(_, other)| other);
        marked.or_else(|| {
            // Latin letters of UTF-16 without a mark have a zero beside each
            let start = &bytes[..bytes.len().min(4096)];
            if bytes.len() < 4 || !bytes.len().is_multiple_of(2) {
                return None;
            }
            let half = |odd: usize| start.iter().skip(odd).step_by(2).filter(|byte| **byte == 0).count();
            let most = |n: usize| n > 0 && n * 10 >= start.len() / 2 * 9;
            match (half(0), half(1)) {
                (0, high) if most(high) => Some(Self::Encoded("UTF-16LE")),
                (high, 0) if most(high) => Some(Self::Encoded("UTF-16BE")),
                _ => None,
            }
        })
    }
}

impl NotText {
    fn at(bytes: &[u8], offset: usize) -> Self {
        let before = &bytes[..offset];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let line = before.split(|byte| *byte == b'\n').count();
        let byte = bytes.get(offset).copied().unwrap_or_default();
        Self { byte, offset, line, column: offset - line_start + 1, other: None }
    }

    /// What to do about it; `file` is what it is called.
    pub fn help(&self, file: &str) -> String {
        // what is piped in has no name that a program could open
        let through = |program: &str| match file {
            "stdin" => format!("`{program}` in the pipe"),
            file => format!("`{program} {file} > NEW`"),
        };
        match self.other {
            Some(Other::Packed(_, unpack)) => format!("unpack it first: {}", through(unpack)),
            Some(Other::Kind(_, what)) => what.to_owned(),
            Some(Other::Encoded(from)) => format!("convert it: {}", through(&format!("iconv -f {from} -t UTF-8"))),
            None => {
                let converts = through("iconv -f ISO-8859-1 -t UTF-8");
                format!("text is read as UTF-8; from Latin-1, {converts} converts it")
            }
        }
    }
}

impl std::fmt::Display for NotText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { byte, offset, line, column, .. } = self;
        match self.other {
            Some(Other::Packed(kind, _)) => write!(f, "it is packed ({kind}), not text"),
            Some(Other::Kind(kind, _)) => write!(f, "it is {kind}, not text"),
            Some(Other::Encoded(encoding)) => {
                write!(f, "it is {encoding}, not UTF-8 (byte 0x{byte:02x} in line {line}, offset {offset})")
            }
            None => write!(f, "byte 0x{byte:02x} in line {line}, column {column} (offset {offset}) is not UTF-8"),
        }
    }
}

impl std::error::Error for NotText {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn say(bytes: &[u8]) -> String {
        match decode(bytes.to_vec()) {
            Ok(text) => format!("{text:?}"),
            Err(error) => format!("{error} | {}", error.help("FILE")),
        }
    }

    #[test]
    fn what_is_no_utf8_is_named_with_its_place() {
        assert_eq!(say("\u{feff}á\n".as_bytes()), r#""á\n""#);
        assert_eq!(say(b""), r#""""#);
        assert_eq!(say(b"a\0b"), r#""a\0b""#, "a zero alone says nothing");
        insta::assert_snapshot!(say(b"one\ncaf\xe9\n"), @"byte 0xe9 in line 2, column 4 (offset 7) is not UTF-8 | text is read as UTF-8; from Latin-1, `iconv -f ISO-8859-1 -t UTF-8 FILE > NEW` converts it");
        insta::assert_snapshot!(say(b"\xff\xfea\0"), @"it is UTF-16, not UTF-8 (byte 0xff in line 1, offset 0) | convert it: `iconv -f UTF-16 -t UTF-8 FILE > NEW`");
        let piped = decode(b"\xff\xfea\0".to_vec()).unwrap_err();
        assert_eq!(piped.help("stdin"), "convert it: `iconv -f UTF-16 -t UTF-8` in the pipe");
        insta::assert_snapshot!(say(b"\xff\xfe\0\0a\0\0\0"), @"it is UTF-32, not UTF-8 (byte 0xff in line 1, offset 0) | convert it: `iconv -f UTF-32 -t UTF-8 FILE > NEW`");
        insta::assert_snapshot!(say(b"t\0e\0x\0t\0"), @"it is UTF-16LE, not UTF-8 (byte 0x74 in line 1, offset 0) | convert it: `iconv -f UTF-16LE -t UTF-8 FILE > NEW`");
        insta::assert_snapshot!(say(b"\x1f\x8b\x08rest"), @"it is packed (gzip), not text | unpack it first: `gunzip -c FILE > NEW`");
        insta::assert_snapshot!(say(b"\xfd7zXZ\0\0\x04"), @"it is packed (xz), not text | unpack it first: `xzcat FILE > NEW`");
        insta::assert_snapshot!(say(b"%PDF-1.7\n"), @"it is a PDF, not text | take its text out first, as with `pdftotext`");
        insta::assert_snapshot!(say(b"\x93NUMPY\x01\0v\0{"), @"it is an array of numpy, not text | token ids are given as `tokens`");
        insta::assert_snapshot!(say(b"PAR1\x15\xff"), @"it is a Parquet table, not text | write its texts as JSON lines with a `text` each");
        assert_eq!(say(b"PAR1S is a town"), r#""PAR1S is a town""#);
    }

    #[test]
    fn files_that_cannot_be_read_say_so() {
        let error = read_text(Path::new("/nowhere/at/all")).unwrap_err();
        assert!(error.to_string().starts_with("cannot read /nowhere/at/all"), "{error}");
        assert!(read_text(Path::new("/")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn what_never_ends_is_refused_by_kind_and_size() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("book.txt");
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        let error = read_bytes(&link).unwrap_err();
        assert!(error.to_string().ends_with("it is a device, not a file"), "{error}");
        let large = folder.path().join("large");
        fs::File::create(&large).unwrap().set_len(MAX_BYTES + 1).unwrap();
        let error = read_bytes(&large).unwrap_err();
        assert!(error.to_string().ends_with("it has more than 4096 MiB"), "{error}");
        let error = bounded(Path::new("stdin"), io::repeat(0), 1 << 20).unwrap_err();
        assert_eq!(error.to_string(), "stdin: it has more than 1 MiB");
        assert_eq!(bounded(Path::new("stdin"), &b"text"[..], 4).unwrap(), b"text");
    }

    proptest! {
        #[test]
        fn any_bytes_are_text_or_refused(bytes: Vec<u8>) {
            match decode(bytes.clone()) {
                Ok(text) => prop_assert!(bytes.ends_with(text.as_bytes())),
                Err(error) => prop_assert!(error.offset < bytes.len() && error.line > 0, "{}", error.help("x")),
            }
        }

        #[test]
        fn any_text_is_read_as_it_is(text in "\\PC{0,40}") {
            prop_assert_eq!(decode(text.clone().into_bytes()).unwrap(), text.strip_prefix('\u{feff}').unwrap_or(&text));
        }
    }
}
