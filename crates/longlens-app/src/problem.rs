//! What went wrong, in words that can be kept and shown.

use std::fmt;

use longlens_core::lens::LensError;
use longlens_core::setting::SettingError;
use longlens_eval::EvalError;
use serde::{Deserialize, Serialize};

/// What went wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What and where.
    pub message: String,
    /// What next.
    pub help: Option<String>,
}

impl Problem {
    /// A problem with advice.
    pub fn new(message: impl Into<String>, help: impl Into<Option<String>>) -> Self {
        Self { message: message.into(), help: help.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, " ({help})"))
    }
}

impl From<LensError> for Problem {
    fn from(error: LensError) -> Self {
        Self::new(error.to_string(), error.help())
    }
}

impl From<EvalError> for Problem {
    fn from(error: EvalError) -> Self {
        Self::new(error.to_string(), error.help())
    }
}

impl From<SettingError> for Problem {
    fn from(error: SettingError) -> Self {
        Self::new(error.to_string(), error.help())
    }
}
