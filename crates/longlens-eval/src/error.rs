//! What can go wrong while generating and measuring.

use std::path::PathBuf;

use longlens_core::lens::LensError;
use longlens_core::setting::SettingError;

/// What can go wrong while generating and measuring.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// The model refused or failed.
    #[error(transparent)]
    Lens(#[from] LensError),
    /// A value outside its range.
    #[error("{name} = {value} is not {expected}")]
    Value {
        /// Name of the value.
        name: &'static str,
        /// What was given.
        value: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// Nothing to do.
    #[error("there are no {what}")]
    Nothing {
        /// What is missing.
        what: &'static str,
    },
    /// No template has this name.
    #[error("unknown passkey template `{name}`")]
    UnknownTemplate {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The prompt without any filler is longer than asked for.
    #[error("a `{template}` prompt cannot be {length} tokens long: without filler it already has {shortest}")]
    TooShort {
        /// Name of the template.
        template: &'static str,
        /// Tokens asked for, question and answer included.
        length: usize,
        /// Tokens of the shortest prompt.
        shortest: usize,
    },
    /// Too few tokens to measure.
    #[error("no document has {needed} tokens: the longest has {longest}")]
    ShortDocuments {
        /// Tokens needed.
        needed: usize,
        /// Tokens of the longest document.
        longest: usize,
    },
    /// A file that cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A token file with half a token.
    #[error("{} has {n_bytes} bytes, not a whole number of 16-bit tokens", path.display())]
    OddBytes {
        /// The file.
        path: PathBuf,
        /// Its length.
        n_bytes: usize,
    },
    /// A token file for another vocabulary.
    #[error("token {token} at position {position} of {} is outside the vocabulary of {vocab_size}", path.display())]
    TokenOutOfRange {
        /// The file.
        path: PathBuf,
        /// The first such token.
        token: u16,
        /// Its place in the file.
        position: usize,
        /// Tokens in the vocabulary.
        vocab_size: usize,
    },
    /// A line of a fixture file that is not a prompt.
    #[error("line {line} of {}: {reason}", path.display())]
    Fixture {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

impl EvalError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Lens(error) => error.help(),
            Self::Nothing { what } => Some(format!("give at least one of the {what}")),
            Self::UnknownTemplate { known, .. } => Some(format!("one of: {known}")),
            Self::TooShort { shortest, .. } => Some(format!("ask for at least {shortest} tokens")),
            Self::ShortDocuments { longest, .. } => Some(format!("measure at most {longest} tokens, or longer text")),
            Self::OddBytes { .. } => Some("token files hold unsigned 16-bit numbers, lowest byte first".into()),
            Self::TokenOutOfRange { .. } => {
                Some("the file was made with another tokenizer, or is not a token file".into())
            }
            Self::Fixture { .. } => {
                Some("each line is a JSON object with id, length, depth, prompt, answer and prompt_tokens".into())
            }
            Self::Value { .. } | Self::Io { .. } => None,
        }
    }
}

impl From<SettingError> for EvalError {
    fn from(error: SettingError) -> Self {
        Self::Lens(error.into())
    }
}

/// An error when `value` is not accepted.
pub(crate) fn expect(
    accepted: bool,
    name: &'static str,
    value: impl std::fmt::Display,
    expected: &'static str,
) -> Result<(), EvalError> {
    if accepted { Ok(()) } else { Err(EvalError::Value { name, value: value.to_string(), expected }) }
}
