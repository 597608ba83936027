//! Where measured tokens come from: text documents, or files of token numbers.

use std::path::Path;

use longlens_core::lens::{LensError, TextCodec};

use crate::error::EvalError;

/// The documents of a text: parts separated by blank lines.
pub fn documents(text: &str) -> Vec<&str> {
    let mut documents = Vec::new();
    let (mut start, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        if line.trim().is_empty() {
            documents.push(&text[start..at]);
            start = at + line.len();
        }
        at += line.len();
    }
    documents.push(&text[start..]);
    documents.into_iter().map(|document| document.trim_end_matches(['\n', '\r'])).filter(|d| !d.is_empty()).collect()
}

/// The tokens of every document of a text, each with the model's own first token.
pub fn encode_documents(codec: &dyn TextCodec, text: &str) -> Result<Vec<Vec<u32>>, LensError> {
    documents(text).into_iter().map(|document| codec.encode(document, true)).collect()
}

/// The tokens of a file of unsigned 16-bit numbers, lowest byte first, as the papers' scripts store PG19.
pub fn read_u16_tokens(path: &Path, vocab_size: usize) -> Result<Vec<u32>, EvalError> {
    let bytes = std::fs::read(path).map_err(|source| EvalError::Io { path: path.to_owned(), source })?;
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(EvalError::OddBytes { path: path.to_owned(), n_bytes: bytes.len() });
    }
    let tokens = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).enumerate();
    let check = |(position, token): (usize, u16)| {
        let is_known = usize::from(token) < vocab_size;
        let error = || EvalError::TokenOutOfRange { path: path.to_owned(), token, position, vocab_size };
        is_known.then_some(u32::from(token)).ok_or_else(error)
    };
    tokens.map(check).collect()
}

#[cfg(test)]
mod tests {
    use longlens_core::scripted::ByteCodec;

    use super::*;

    #[test]
    fn blank_lines_separate_documents() {
        assert_eq!(documents("one\nstill one\n\n \r\n two\r\n\nthree\n"), ["one\nstill one", " two", "three"]);
        assert!(documents("\n\n").is_empty());
        assert_eq!(encode_documents(&ByteCodec, "a\n\nb").unwrap(), [[0, 99], [0, 100]]);
    }

    #[test]
    fn token_files_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.bin");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            read_u16_tokens(&path, 300).map_err(|error| error.to_string().replace(&*path.to_string_lossy(), "FILE"))
        };
        assert_eq!(read(&[1, 0, 43, 1]).unwrap(), [1, 299]);
        insta::assert_snapshot!(read(&[1, 0, 2]).unwrap_err(), @"FILE has 3 bytes, not a whole number of 16-bit tokens");
        insta::assert_snapshot!(read(&[1, 0, 44, 1]).unwrap_err(), @"token 300 at position 1 of FILE is outside the vocabulary of 300");
        assert!(read_u16_tokens(&folder.path().join("none"), 300).unwrap_err().to_string().starts_with("cannot read"));
    }
}
