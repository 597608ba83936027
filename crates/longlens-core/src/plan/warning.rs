//! What a plan means for a model that was trained on so many positions.

use std::fmt;

/// The longest prompt whose positions stay trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capacity {
    /// This many tokens.
    Tokens(usize),
    /// Positions never leave the trained range.
    Unlimited,
}

/// Worth knowing, and no reason to refuse.
#[derive(Debug, Clone, PartialEq)]
pub enum Warning {
    /// Some relative positions were never trained.
    BeyondCapacity {
        /// Longest prompt inside the trained range.
        capacity: usize,
        /// Tokens asked for.
        n_tokens: usize,
        /// Highest relative position used.
        highest: f64,
        /// Trained positions.
        trained: usize,
    },
    /// The prompt is squeezed into few of the trained positions.
    SparsePositions {
        /// Highest relative position used.
        highest: f64,
        /// Trained positions.
        trained: usize,
    },
    /// Some layers of the model have a window of their own, which the method leaves alone.
    WindowsKept {
        /// Newest keys that these layers see; the longest of their windows.
        window: usize,
        /// Those layers, as `layers 0-4`.
        windowed: String,
        /// The others, on which the method acts.
        whole: String,
        /// Whether only one layer has a window.
        is_one: bool,
    },
    /// Some or all layers of the model have a window of their own, which the run does without.
    WindowsIgnored {
        /// Newest keys that these layers saw in training; the longest of their windows.
        window: usize,
        /// Those layers, as `layers 0-4`.
        windowed: String,
        /// Whether only one layer has a window.
        is_one: bool,
    },
    /// All layers of the model have a window of their own, and none of them under the method.
    WindowsReplaced {
        /// Newest keys that a query saw in training.
        window: usize,
    },
    /// Some heads have keys hidden, or chunks forced, that the run does not have.
    NotThere {
        /// What: `hidden keys` or `forced chunks`.
        what: &'static str,
        /// The first and the last token of them that is not there.
        tokens: (usize, usize),
        /// Tokens of the run.
        n_tokens: usize,
    },
    /// Positions jump where two spans meet.
    UnevenSeam {
        /// Distance of the seam.
        distance: usize,
        /// Relative position just inside.
        inside: f64,
        /// Relative position just outside.
        outside: f64,
    },
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tokens(n_tokens) => write!(f, "{n_tokens} tokens"),
            Self::Unlimited => f.write_str("unlimited"),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeyondCapacity { capacity, n_tokens, highest, trained } => write!(
                f,
                "{n_tokens} tokens are beyond the capacity of {capacity}: relative positions reach {highest}, the model \
                 was trained below {trained}"
            ),
            Self::SparsePositions { highest, trained } => write!(
                f,
                "sparse positions: the whole prompt is squeezed into positions up to {highest} of {trained} trained ones; \
                 smaller groups would tell tokens apart better"
            ),
            Self::WindowsKept { window, windowed, whole, is_one } => {
                let keep = if *is_one { "keeps its" } else { "keep their" };
                write!(f, "{windowed} {keep} own window of {window} tokens; the method acts on {whole}")
            }
            Self::WindowsIgnored { window, windowed, is_one } => {
                let (have, were) = if *is_one { ("has", "it was") } else { ("have", "they were") };
                write!(
                    f,
                    "{windowed} {have} a window of {window} tokens, which layer_windows = off leaves out: {were} trained to see \
                     no further"
                )
            }
            Self::WindowsReplaced { window } => write!(
                f,
                "every layer of this model has a window of {window} tokens, which the method takes the place of: it was trained \
                 to see no further"
            ),
            Self::NotThere { what, tokens: (first, last), n_tokens } => {
                let tokens = if first == last { format!("token {first}") } else { format!("tokens {first}-{last}") };
                write!(f, "{what} lie beyond these {n_tokens} tokens: {tokens}, counted from 0")
            }
            Self::UnevenSeam { distance, inside, outside } => write!(
                f,
                "uneven seam: at distance {distance} the relative position jumps from {inside} to {outside} for some \
                 queries; it is even when group_size divides neighbor_window"
            ),
        }
    }
}
