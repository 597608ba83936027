//! Formats whose text a library takes out.

use serde::{Deserialize, Serialize};

use super::{html, pdf};

/// A format whose text has to be taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// HTML.
    Html,
    /// PDF.
    Pdf,
}

/// The text of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extracted {
    /// The text of every page, in order; of HTML there is one.
    pub pages: Vec<String>,
    /// What a user should know of it, as sentences.
    pub warnings: Vec<String>,
}

/// What is wrong with a file, and what to do about it.
pub type Refused = (String, String);

impl Foreign {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Html, Self::Pdf];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Html => "html",
            Self::Pdf => "pdf",
        }
    }

    /// The text of a file, taken out in this process: a hostile file may take any time and memory.
    pub fn read(self, bytes: &[u8]) -> Result<Extracted, Refused> {
        match self {
            Self::Html => html::read(bytes),
            Self::Pdf => pdf::read(bytes),
        }
    }
}
