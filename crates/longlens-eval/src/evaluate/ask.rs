//! Feeding a prompt, without the tokens that it shares with the one before, and continuing it greedily.

use std::time::Instant;

use longlens_core::lens::{Control, Lens, LensError, Rows, Setup};

use crate::error::EvalError;
use crate::generate::{Generated, Generation, Stop, StopReason};
use crate::prefix::{LEAST_SHARED, Prefix};
use crate::progress::Part;
use crate::sample::Answering;
use crate::sampling::{Sampler, Sampling};

/// A prompt, how its answer is had, and the prompt after it.
pub(super) struct Asked<'a> {
    pub tokens: &'a [u32],
    pub answering: &'a Answering,
    pub next: Option<&'a [u32]>,
}

/// A prompt to be fed, and the prefix that earlier prompts left.
pub(super) struct Begun<'a> {
    pub lens: &'a mut dyn Lens,
    pub prefix: &'a mut Prefix,
    pub setup: &'a Setup,
    pub tokens: &'a [u32],
}

impl Begun<'_> {
    /// Feeds the prompt and keeps what the `next` one begins alike with; returns how many tokens were shared, and the logits of the
    /// last one. `None` when cancelled.
    pub fn feed(
        &mut self,
        next: Option<&[u32]>,
        control: &mut dyn Control,
    ) -> Result<Option<(usize, Vec<f32>)>, EvalError> {
        let Self { lens, prefix, setup, tokens } = self;
        if setup.watch.nll {
            // losses of shared tokens would be missing
            **prefix = Prefix::default();
            lens.begin(setup)?;
            return cancelled_or(lens.feed(tokens, Rows::None, control)).map(|fed| fed.map(|fed| (0, fed)));
        }
        let alike = next.map_or(0, |next| tokens.iter().zip(next).take_while(|(a, b)| a == b).count());
        // both prompts have a token of their own behind it, for the logits that their answers begin with
        let most = tokens.len().min(next.map_or(0, <[u32]>::len)).saturating_sub(1);
        let until = setup.plan.whole_blocks(alike.min(most));
        let n_shared = prefix.begin(*lens, setup, tokens)?;
        let mut n_fed = n_shared;
        if until >= LEAST_SHARED && until > n_shared && Prefix::fits(*lens, setup, tokens.len(), until) {
            let mut part =
                Part { control: &mut *control, before: n_shared, size: until - n_shared, total: tokens.len() };
            match prefix.keep(*lens, tokens, (n_shared, until), &mut part) {
                Err(LensError::Cancelled) => return Ok(None),
                kept => kept?,
            }
            n_fed = until;
        }
        let mut part = Part { control, before: n_fed, size: tokens.len() - n_fed, total: tokens.len() };
        let fed = lens.feed(&tokens[n_fed..], Rows::Last, &mut part);
        Ok(cancelled_or(fed)?.map(|logits| (n_shared, logits)))
    }
}

fn cancelled_or<T>(fed: Result<T, LensError>) -> Result<Option<T>, EvalError> {
    match fed {
        Err(LensError::Cancelled) => Ok(None),
        fed => Ok(Some(fed?)),
    }
}

/// Continues a prompt greedily; `None` when cancelled.
pub fn ask(
    lens: &mut dyn Lens,
    setup: &Setup,
    asked: &Asked<'_>,
    prefix: &mut Prefix,
    control: &mut dyn Control,
) -> Result<Option<(Generated, usize)>, EvalError> {
    let Asked { tokens, answering, next } = *asked;
    let started = Instant::now();
    let mut begun = Begun { lens: &mut *lens, prefix, setup, tokens };
    let Some((n_shared, mut logits)) = begun.feed(next, control)? else { return Ok(None) };
    if answering.min_tokens > 0 {
        for token in ends(lens, answering)? {
            logits[token as usize] = f32::NEG_INFINITY;
        }
    }
    let stop = Stop { max_tokens: answering.max_tokens, strings: answering.stop.clone(), eos: answering.eos };
    let mut generation = Generation::new(lens, tokens, Sampler::new(&Sampling::default())?, &stop, started)?;
    generation.take(Ok(logits))?;
    while generation.step(lens, control)?.is_some() {}
    generation.flush(lens)?;
    let generated = generation.finish(lens);
    Ok((generated.stop != StopReason::Cancelled).then_some((generated, n_shared)))
}

/// Tokens that an answer may not begin with where it has to have some: the model's end tokens, and the last one of every text that ends
/// an answer, as the scripts name them.
fn ends(lens: &dyn Lens, answering: &Answering) -> Result<Vec<u32>, EvalError> {
    let model = lens.model();
    let mut tokens = model.eos_tokens.clone();
    for text in &answering.stop {
        tokens.extend(lens.text()?.encode(text, false)?.last());
    }
    tokens.retain(|token| (*token as usize) < model.spec.vocab_size);
    Ok(tokens)
}
