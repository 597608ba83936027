//! Perplexity over sliding windows, as dual chunk attention and `LongLoRA` report it on PG19.
//!
//! Windows start every `stride` tokens; a window's loss is the mean over all its tokens but the first, those with
//! little context included; the result is `exp` of the windows' mean. The authors' script raises 2.71828 instead of
//! e, and leaves out the last one or two whole windows, which this one keeps.

use longlens_core::lens::{Control, Lens};
use longlens_core::trace::RunRecord;
use serde::{Deserialize, Serialize};

use super::{Score, losses};
use crate::error::{EvalError, expect};
use crate::ledger::Ledger;
use crate::progress::Part;
use crate::setup::{PromptSize, SetupFor};

/// What to measure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sliding {
    /// Tokens of a window.
    pub window: usize,
    /// Tokens from one window's start to the next.
    #[serde(default = "papers_stride")]
    pub stride: usize,
    /// Stops after so many windows.
    #[serde(default)]
    pub max_windows: Option<usize>,
}

/// Perplexity over sliding windows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlidingReport {
    /// How it was measured.
    pub protocol: String,
    /// What was run.
    pub run: RunRecord,
    /// Tokens of the text.
    pub n_tokens: usize,
    /// Mean loss of each window, in nats.
    pub window_nll: Vec<f64>,
    /// Mean of the windows' losses.
    pub mean_nll: f64,
    /// `exp(mean_nll)`.
    pub perplexity: f64,
    /// Whether every window asked for was run; false after a cancellation.
    pub complete: bool,
}

impl Sliding {
    /// Windows of `window` tokens, every 256 tokens, over the whole text.
    pub fn new(window: usize) -> Self {
        Self { window, stride: papers_stride(), max_windows: None }
    }

    /// How many windows `n_tokens` have.
    pub fn n_windows(&self, n_tokens: usize) -> usize {
        let n_whole = n_tokens.checked_sub(self.window).map_or(0, |rest| rest / self.stride + 1);
        n_whole.min(self.max_windows.unwrap_or(usize::MAX))
    }
}

fn papers_stride() -> usize {
    256
}

/// Mean losses of finished windows, by tokens and number of the window.
pub type WindowLedger<'a> = dyn Ledger<(usize, usize), (f64, RunRecord)> + 'a;

/// Measures perplexity over the whole windows of `tokens`.
///
/// Progress counts fed tokens. A run cancelled before its first window is an error, later ones return what is finished.
pub fn sliding(
    lens: &mut dyn Lens,
    setup_for: &mut SetupFor,
    tokens: &[u32],
    ask: &Sliding,
    control: &mut dyn Control,
    ledger: &mut WindowLedger,
) -> Result<SlidingReport, EvalError> {
    let Sliding { window, stride, .. } = *ask;
    expect(window >= 2, "window", window, "a whole number of at least 2")?;
    expect(stride >= 1, "stride", stride, "a whole number of at least 1")?;
    expect(ask.max_windows != Some(0), "max_windows", 0, "a whole number of at least 1")?;
    let n_windows = ask.n_windows(tokens.len());
    if n_windows == 0 {
        return Err(EvalError::ShortDocuments { needed: window, longest: tokens.len() });
    }

    let setup = setup_for(PromptSize { target: window, n_tokens: window })?;
    let (mut window_nll, mut run) = (Vec::new(), RunRecord::default());
    for at in 0..n_windows {
        if let Some((nll, record)) = ledger.find(&(window, at)) {
            window_nll.push(nll);
            run = record;
            continue;
        }
        let mut part = Part { control: &mut *control, before: at * window, size: window, total: n_windows * window };
        let fed = &tokens[at * stride..at * stride + window];
        let Some((nll, record)) = losses(lens, setup.clone(), fed, &mut part)? else { break };
        let finished = (Score::of([&nll[..]]).mean_nll, record);
        ledger.finished(&(window, at), &finished);
        window_nll.push(finished.0);
        run = finished.1;
    }
    if window_nll.is_empty() {
        return Err(longlens_core::lens::LensError::Cancelled.into());
    }
    let mean_nll = window_nll.iter().sum::<f64>() / window_nll.len() as f64;
    let n_scored = window_nll.len() * (window - 1);
    Ok(SlidingReport {
        protocol: format!(
            "sliding windows: {window} tokens every {stride}, {n_windows} windows, {n_scored} tokens scored; mean loss of \
             every token but a window's first, mean of the windows"
        ),
        run,
        n_tokens: tokens.len(),
        complete: window_nll.len() == n_windows,
        window_nll,
        mean_nll,
        perplexity: mean_nll.exp(),
    })
}

#[cfg(test)]
mod tests {
    use longlens_core::lens::CancelToken;
    use longlens_core::methods::Method;
    use longlens_core::rope::RopeScaling;
    use longlens_core::scripted::ScriptedLens;

    use super::*;
    use crate::setup::fixed;

    /// Half of the probability on token 9, the other half on token 8.
    fn coin() -> ScriptedLens {
        ScriptedLens::new(|_, logits| {
            logits.fill(-99.0);
            logits[8..10].fill(0.0);
        })
    }

    fn measure(n_tokens: usize, ask: &Sliding, control: &mut dyn Control) -> Result<SlidingReport, EvalError> {
        let mut lens = coin();
        let mut setup_for = fixed(Method::full(), RopeScaling::none(), &lens.model().spec);
        sliding(&mut lens, &mut setup_for, &vec![9; n_tokens], ask, control, &mut ())
    }

    #[test]
    fn a_fair_coin_has_perplexity_two() {
        let report = measure(600, &Sliding::new(64), &mut ()).unwrap();
        assert!((report.perplexity - 2.0).abs() < 1e-6);
        assert_eq!((report.window_nll.len(), report.n_tokens, report.complete), (3, 600, true));
        assert_eq!((report.run.n_prompt, report.run.method.as_str()), (64, "full"));
        insta::assert_snapshot!(report.protocol, @"sliding windows: 64 tokens every 256, 3 windows, 189 tokens scored; mean loss of every token but a window's first, mean of the windows");
    }

    #[test]
    fn whole_windows_are_counted() {
        for (n_tokens, stride, max_windows, expected) in
            [(10, 3, None, 3), (9, 3, None, 2), (4, 1, None, 1), (3, 1, None, 0), (10, 3, Some(2), 2)]
        {
            let ask = Sliding { window: 4, stride, max_windows };
            assert_eq!(ask.n_windows(n_tokens), expected);
            let n_run = measure(n_tokens, &ask, &mut ()).map_or(0, |report| report.window_nll.len());
            assert_eq!(n_run, expected, "{n_tokens} tokens, {ask:?}");
        }
    }

    #[test]
    fn cancelling_keeps_finished_windows() {
        struct AfterTwo(CancelToken);
        impl Control for AfterTwo {
            fn progress(&mut self, done: usize, _: usize) {
                if done == 2 * 4 {
                    self.0.cancel();
                }
            }
            fn cancelled(&self) -> bool {
                self.0.is_cancelled()
            }
        }
        let ask = Sliding { window: 4, stride: 2, max_windows: None };
        let report = measure(20, &ask, &mut AfterTwo(CancelToken::default())).unwrap();
        assert_eq!((report.window_nll.len(), report.complete), (2, false));
        let mut at_once = CancelToken::default();
        at_once.cancel();
        assert!(measure(20, &ask, &mut at_once).is_err());
    }
}
