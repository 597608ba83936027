//! Perplexity: how surprised a model is by text it is given.
//!
//! Numbers of different protocols do not compare, so each result names its own: [`by_length()`] follows one document
//! as it grows, [`sliding()`] averages windows as the papers do.

use longlens_core::lens::{Control, Lens, LensError, Rows, Setup};
use longlens_core::trace::{RunRecord, Watch};
use serde::{Deserialize, Serialize};

pub use self::by_length::{ByLength, DocumentLoss, LengthReport, LengthRow, LossLedger, by_length, depends_on_length};
pub use self::sliding::{Sliding, SlidingReport, WindowLedger, sliding};
pub use self::source::{Documents, Texts, encode_documents, encode_joined, split_at_blank_lines, texts};
pub use self::token_file::{TokenFile, TokenFormat, token_file};
use crate::error::EvalError;

mod by_length;
mod sliding;
mod source;
mod token_file;

/// Mean loss over tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Tokens whose loss counts; the first of a text has none.
    pub n_tokens: usize,
    /// Mean negative log-likelihood of a token, in nats.
    pub mean_nll: f64,
    /// `exp(mean_nll)`.
    pub perplexity: f64,
}

impl Score {
    /// The mean over all tokens of these runs of losses.
    fn of<'a>(runs: impl IntoIterator<Item = &'a [f32]>) -> Self {
        let (mut n_tokens, mut sum) = (0, 0.0);
        for losses in runs {
            n_tokens += losses.len();
            sum += losses.iter().map(|loss| f64::from(*loss)).sum::<f64>();
        }
        let mean_nll = sum / n_tokens as f64;
        Self { n_tokens, mean_nll, perplexity: mean_nll.exp() }
    }
}

/// Losses of all tokens but the first, from one prefill; `None` when cancelled.
fn losses(
    lens: &mut dyn Lens,
    setup: Setup,
    tokens: &[u32],
    control: &mut dyn Control,
) -> Result<Option<(Vec<f32>, RunRecord)>, EvalError> {
    let watch = Watch { nll: true, ..Watch::default() };
    lens.begin(&Setup { n_prompt: tokens.len(), watch, ..setup })?;
    match lens.feed(tokens, Rows::None, control) {
        Err(LensError::Cancelled) => return Ok(None),
        fed => fed?,
    };
    let trace = lens.trace();
    assert_eq!(trace.nll.len() + 1, tokens.len(), "a lens that watches losses keeps one per token but the first");
    Ok(Some((trace.nll, trace.run)))
}
