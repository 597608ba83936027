//! Prompts of a series of cells, run and scored one after the other; what they begin with is computed once.

use std::time::Instant;

use longlens_core::lens::{Control, Lens, LensError, Setup, TextCodec};
use longlens_core::trace::RunRecord;

use super::{Cell, CellLedger, Outcome, PasskeyPrompt, Trial};
use crate::error::EvalError;
use crate::generate::{Stop, StopReason, go_on};
use crate::prefix::Prefix;
use crate::progress::Part;
use crate::sampling::Sampling;
use crate::scorers::passkey::reads_as;
use crate::setup::{PromptSize, SetupFor};

/// What cells are run with.
pub(super) struct With<'a, 'b> {
    pub lens: &'a mut dyn Lens,
    pub setup_for: &'a mut SetupFor<'b>,
    pub control: &'a mut dyn Control,
    pub ledger: &'a mut CellLedger<'b>,
}

/// Cells one after the other, with one progress for all, and what an earlier prompt begins with.
#[derive(Debug)]
pub(super) struct Series {
    /// Target tokens so far.
    pub n_done: usize,
    /// Target tokens in all.
    n_tokens: usize,
    /// What an earlier prompt begins with.
    prefix: Prefix,
}

impl Series {
    pub fn new(n_tokens: usize) -> Self {
        Self { n_done: 0, n_tokens, prefix: Prefix::default() }
    }

    /// Runs the prompts of one length and depth, unless that was done before.
    pub fn cell(
        &mut self,
        with: &mut With<'_, '_>,
        (length, depth): (usize, f64),
        n_trials: usize,
        make: &dyn Fn(&dyn TextCodec, usize) -> Result<PasskeyPrompt, EvalError>,
    ) -> Result<Outcome, EvalError> {
        if let Some(cell) = with.ledger.find(&(length, depth)).filter(|cell| cell.trials.len() == n_trials) {
            // what a file says of its trials together is counted anew
            self.n_done += length * n_trials;
            return Ok(Outcome::Whole(Cell::new(length, depth, cell.run, cell.trials)));
        }
        let (mut trials, mut run, n_before) = (Vec::new(), None, self.n_done);
        for trial in 0..n_trials {
            let prompt = make(with.lens.text()?, trial)?;
            let Some((trial, record)) = self.ask(with, &prompt)? else {
                self.n_done = n_before;
                return Ok(Outcome::Cancelled(run.map(|run| Cell::new(length, depth, run, trials))));
            };
            trials.push(trial);
            run.get_or_insert(record);
            self.n_done += prompt.length;
        }
        let cell = Cell::new(length, depth, run.unwrap_or_default(), trials);
        with.ledger.finished(&(length, depth), &cell);
        Ok(Outcome::Whole(cell))
    }

    /// One prompt's outcome; `None` when cancelled.
    fn ask(
        &mut self,
        with: &mut With<'_, '_>,
        prompt: &PasskeyPrompt,
    ) -> Result<Option<(Trial, RunRecord)>, EvalError> {
        let size = PromptSize { target: prompt.length, n_tokens: prompt.tokens.len() };
        let setup = (with.setup_for)(size)?;
        let stop = Stop { max_tokens: prompt.answer.len(), strings: Vec::new(), eos: false };
        let (before, total) = (self.n_done, self.n_tokens);
        let started = Instant::now();
        let n_fed = match self.begin(with, &setup, prompt) {
            Err(EvalError::Lens(LensError::Cancelled)) => return Ok(None),
            n_fed => n_fed?,
        };
        let done = prompt.length * n_fed / prompt.tokens.len();
        let mut control =
            Part { control: &mut *with.control, before: before + done, size: prompt.length - done, total };
        let (tokens, greedy) = ((&prompt.tokens[..], n_fed), Sampling::default());
        let generated = go_on(with.lens, tokens, &greedy, &stop, started, &mut control, &mut |_| {})?;
        if generated.stop == StopReason::Cancelled {
            return Ok(None);
        }
        let trial = Trial {
            key: prompt.key.clone(),
            prompt_tokens: prompt.tokens.len(),
            needle_start: prompt.needle.as_ref().map(|needle| needle.start),
            needle_end: prompt.needle.as_ref().map(|needle| needle.end),
            ok_tokens: generated.tokens == prompt.answer,
            ok_text: reads_as(&generated.text, &prompt.key),
            output_text: generated.text,
            seconds: generated.seconds,
        };
        Ok(Some((trial, generated.run)))
    }

    /// Begins a prompt's sequence; returns how many of its tokens it has. Those before the needle are kept for the next one.
    fn begin(&mut self, with: &mut With<'_, '_>, setup: &Setup, prompt: &PasskeyPrompt) -> Result<usize, EvalError> {
        let tokens = &prompt.tokens;
        let setup = Setup { n_prompt: tokens.len(), ..setup.clone() };
        let n_shared = self.prefix.begin(with.lens, &setup, tokens)?;
        let (before, total) = (self.n_done, self.n_tokens);
        let until = setup.plan.whole_blocks(prompt.needle.as_ref().map_or(0, |needle| needle.start));
        let is_last = before + prompt.length >= total;
        if until <= n_shared || is_last || !Prefix::fits(with.lens, &setup, tokens.len(), until) {
            return Ok(n_shared);
        }
        let share = |n_tokens: usize| prompt.length * n_tokens / tokens.len();
        let (first, size) = (before + share(n_shared), share(until) - share(n_shared));
        let mut control = Part { control: &mut *with.control, before: first, size, total };
        self.prefix.keep(with.lens, tokens, (n_shared, until), &mut control)?;
        Ok(until)
    }
}
