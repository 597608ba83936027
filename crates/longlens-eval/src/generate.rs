//! Text from a model: prefill the prompt, then one token after the other.

use std::time::Instant;

use longlens_core::lens::{Control, Lens, LensError, Rows, Setup};
use longlens_core::trace::{RunRecord, Trace};
use serde::{Deserialize, Serialize};

pub use self::stream::PieceDecoder;
use self::stream::StopCutter;
use crate::error::{EvalError, expect};
use crate::progress::Quiet;
use crate::sampling::{Sampler, Sampling};

mod stream;

/// When to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stop {
    /// Tokens to generate at most.
    pub max_tokens: usize,
    /// Texts that end the generation; they are not part of its text.
    pub strings: Vec<String>,
    /// Whether the model's own end token ends the generation.
    pub eos: bool,
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// As many tokens as asked for.
    MaxTokens,
    /// The model's end token.
    Eos,
    /// The text came to one of [`Stop::strings`].
    StopString,
    /// [`Control`] asked for it; what was generated until then is kept.
    Cancelled,
}

/// What a generation leaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Generated {
    /// Tokens after the prompt; those that spell a stop string are among them, the end token is not.
    pub tokens: Vec<u32>,
    /// Their text, up to the stop string; empty when the model has no tokenizer.
    pub text: String,
    /// Why it ended.
    pub stop: StopReason,
    /// Tokens of the prompt.
    pub n_prompt: usize,
    /// Seconds until the first token was chosen, or until none was asked for; nothing where it was cancelled before.
    pub seconds_to_first_token: Option<f64>,
    /// Seconds in all.
    pub seconds: f64,
    /// What was run.
    pub run: RunRecord,
    /// What was recorded.
    #[serde(skip)]
    pub trace: Trace,
}

impl Default for Stop {
    fn default() -> Self {
        Self { max_tokens: 128, strings: Vec::new(), eos: true }
    }
}

impl Generated {
    /// Prompt tokens per second, of those that were not taken over; `None` when not all of them were computed.
    pub fn prefill_speed(&self) -> Option<f64> {
        let n_computed = self.n_prompt.saturating_sub(self.trace.n_taken);
        Some(n_computed as f64 / self.seconds_to_first_token?.max(f64::MIN_POSITIVE))
    }

    /// Tokens per second after the first; `None` when there was no second.
    pub fn decode_speed(&self) -> Option<f64> {
        let n_later = self.tokens.len().checked_sub(1).filter(|n_later| *n_later > 0)?;
        Some(n_later as f64 / (self.seconds - self.seconds_to_first_token?).max(f64::MIN_POSITIVE))
    }
}

/// Continues `prompt`, showing text to `on_text` as it becomes certain: whole characters, and nothing that may begin a
/// stop string.
///
/// Progress is that of the prefill. A cancelled generation is not an error; it returns what is finished.
pub fn generate(
    lens: &mut dyn Lens,
    setup: &Setup,
    prompt: &[u32],
    sampling: &Sampling,
    stop: &Stop,
    control: &mut dyn Control,
    on_text: &mut dyn FnMut(&str),
) -> Result<Generated, EvalError> {
    let started = Instant::now();
    Sampler::new(sampling)?;
    lens.begin(&Setup { n_prompt: prompt.len(), ..setup.clone() })?;
    go_on(lens, (prompt, 0), sampling, stop, started, control, on_text)
}

/// [`generate`] for a sequence that has the first tokens of its prompt already: how many, stands beside it.
pub fn go_on(
    lens: &mut dyn Lens,
    (prompt, n_fed): (&[u32], usize),
    sampling: &Sampling,
    stop: &Stop,
    started: Instant,
    control: &mut dyn Control,
    on_text: &mut dyn FnMut(&str),
) -> Result<Generated, EvalError> {
    let mut generation = Generation::new(lens, prompt, Sampler::new(sampling)?, stop, started)?;
    let fed = lens.feed(&prompt[n_fed..], Rows::Last, control);
    generation.take(fed)?;
    let mut show = |text: &str| {
        if !text.is_empty() {
            on_text(text);
        }
    };
    while let Some(text) = generation.step(lens, control)? {
        show(&text);
    }
    show(&generation.flush(lens)?);
    Ok(generation.finish(lens))
}

/// A text in the making, one token a step.
///
/// The caller feeds the prompt and hands the logits of its last token to [`Generation::take`].
pub struct Generation {
    sampler: Sampler,
    stop: Stop,
    decoder: Option<PieceDecoder>,
    cutter: StopCutter,
    text: String,
    /// Prompt and generated tokens.
    tokens: Vec<u32>,
    n_prompt: usize,
    /// Of the newest token, until the next one is chosen.
    logits: Vec<f32>,
    started: Instant,
    seconds_to_first_token: Option<f64>,
    reason: Option<StopReason>,
}

impl Generation {
    /// A text that will follow `prompt`, whose prefill begins or began at `started`.
    pub fn new(
        lens: &dyn Lens,
        prompt: &[u32],
        sampler: Sampler,
        stop: &Stop,
        started: Instant,
    ) -> Result<Self, EvalError> {
        expect(stop.strings.iter().all(|string| !string.is_empty()), "stop string", "\"\"", "at least one character")?;
        let decoder = match lens.text() {
            Ok(codec) => Some(PieceDecoder::after(prompt, codec)?),
            // without text no stop string is ever found
            Err(LensError::NoTokenizer { .. }) if stop.strings.is_empty() => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            sampler,
            stop: stop.clone(),
            decoder,
            cutter: StopCutter::new(stop.strings.clone()),
            text: String::new(),
            tokens: prompt.to_vec(),
            n_prompt: prompt.len(),
            logits: Vec::new(),
            started,
            seconds_to_first_token: None,
            reason: None,
        })
    }

    /// Takes the logits of the newest token; a cancellation ends the text, other errors are passed on.
    pub fn take(&mut self, fed: Result<Vec<f32>, LensError>) -> Result<(), LensError> {
        match fed {
            Ok(logits) => self.logits = logits,
            Err(LensError::Cancelled) => self.reason = Some(StopReason::Cancelled),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Chooses a token and feeds it; returns the text that became certain, or nothing once the text is over.
    pub fn step(&mut self, lens: &mut dyn Lens, control: &mut dyn Control) -> Result<Option<String>, EvalError> {
        if self.reason.is_none() && control.cancelled() {
            self.reason = Some(StopReason::Cancelled);
        } else if self.reason.is_none() && self.stop.max_tokens == 0 {
            self.reason = Some(StopReason::MaxTokens);
        }
        if self.reason.is_some() {
            return Ok(None);
        }
        let token = self.sampler.choose(&self.logits, &self.tokens);
        self.seconds_to_first_token.get_or_insert_with(|| self.started.elapsed().as_secs_f64());
        if self.stop.eos && lens.model().eos_tokens.contains(&token) {
            self.reason = Some(StopReason::Eos);
            return Ok(None);
        }
        self.tokens.push(token);
        let mut text = String::new();
        if let Some(decoder) = &mut self.decoder {
            let (piece, stopped) = self.cutter.push(&decoder.push(token, lens.text()?)?);
            text = piece;
            self.reason = stopped.then_some(StopReason::StopString);
        }
        self.text += &text;
        if self.reason.is_none() && self.generated().len() == self.stop.max_tokens {
            self.reason = Some(StopReason::MaxTokens);
        }
        if self.reason.is_none() {
            let fed = lens.feed(&[token], Rows::Last, &mut Quiet(control));
            self.take(fed)?;
        }
        Ok(Some(text))
    }

    /// The text that was held back, once the text is over.
    pub fn flush(&mut self, lens: &dyn Lens) -> Result<String, LensError> {
        let Some(decoder) = self.decoder.as_mut().filter(|_| self.reason != Some(StopReason::StopString)) else {
            return Ok(String::new());
        };
        let (mut text, _) = self.cutter.push(&decoder.flush(lens.text()?)?);
        text += &self.cutter.flush();
        self.text += &text;
        Ok(text)
    }

    /// The generated tokens so far; the last of a finished text was not fed.
    pub fn generated(&self) -> &[u32] {
        &self.tokens[self.n_prompt..]
    }

    /// Tokens per second after the first; nothing while there is no second.
    pub fn speed(&self) -> Option<f64> {
        let n_later = self.generated().len().checked_sub(1).filter(|n_later| *n_later > 0)?;
        let seconds = self.started.elapsed().as_secs_f64() - self.seconds_to_first_token?;
        Some(n_later as f64 / seconds.max(f64::MIN_POSITIVE))
    }

    /// Why the text ended, if it did.
    pub fn reason(&self) -> Option<StopReason> {
        self.reason
    }

    /// What the generation leaves; one that is not over counts as cancelled.
    pub fn finish(mut self, lens: &mut dyn Lens) -> Generated {
        let seconds = self.started.elapsed().as_secs_f64();
        let trace = lens.trace();
        let stop = self.reason.unwrap_or(StopReason::Cancelled);
        let is_cut = stop == StopReason::Cancelled;
        Generated {
            tokens: self.tokens.split_off(self.n_prompt),
            text: self.text,
            stop,
            n_prompt: self.n_prompt,
            seconds_to_first_token: self.seconds_to_first_token.or((!is_cut).then_some(seconds)),
            seconds,
            run: trace.run.clone(),
            trace,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use longlens_core::lens::CancelToken;
    use longlens_core::methods::Method;
    use longlens_core::scripted::ScriptedLens;

    use super::*;

    /// Says `text` after a prompt; returns what came out and the pieces it came in.
    fn say(text: impl Into<Vec<u8>>, stop: &Stop, control: &mut dyn Control) -> (Generated, Vec<String>) {
        let mut lens = ScriptedLens::saying(text);
        let prompt = lens.text().unwrap().encode("Say it:", true).unwrap();
        let setup = Setup::new(&Method::full(), &lens.model().spec, 0).unwrap();
        let mut pieces = Vec::new();
        let mut on_text = |piece: &str| pieces.push(piece.to_owned());
        let said = generate(&mut lens, &setup, &prompt, &Sampling::default(), stop, control, &mut on_text).unwrap();
        assert_eq!(pieces.concat(), said.text);
        (said, pieces)
    }

    #[test]
    fn it_ends_for_each_reason() {
        let stop = |max_tokens, string: &str| Stop {
            max_tokens,
            strings: Some(string.to_owned()).filter(|string| !string.is_empty()).into_iter().collect(),
            eos: true,
        };
        for (stop, reason, text, n_tokens) in [
            (stop(99, ""), StopReason::Eos, "one. two.", 9),
            (stop(4, ""), StopReason::MaxTokens, "one.", 4),
            (stop(0, ""), StopReason::MaxTokens, "", 0),
            (stop(99, ". "), StopReason::StopString, "one", 5),
        ] {
            let (said, _) = say("one. two.", &stop, &mut ());
            assert_eq!((said.stop, said.text.as_str(), said.tokens.len()), (reason, text, n_tokens));
            assert_eq!((said.n_prompt, said.run.n_prompt, said.run.method.as_str()), (8, 8, "full"));
            assert!(said.seconds_to_first_token.unwrap() <= said.seconds && said.prefill_speed() > Some(0.0));
            assert_eq!(said.decode_speed().is_some(), n_tokens > 1);
        }
    }

    #[test]
    fn a_broken_character_comes_out_at_the_end() {
        let (said, pieces) = say(&b"a\xe2\x82"[..], &Stop::default(), &mut ());
        assert_eq!((said.text.as_str(), pieces.len()), ("a\u{FFFD}", 2));
    }

    #[test]
    fn text_that_may_begin_a_stop_string_waits() {
        let stop = Stop { strings: vec!["END".into()], ..Stop::default() };
        let (said, pieces) = say("aENbEN", &stop, &mut ());
        assert_eq!(said.text, "aENbEN");
        assert_eq!(pieces, ["a", "ENb", "EN"]);
    }

    #[test]
    fn cancelling_keeps_what_is_finished() {
        /// Cancels after being asked so often.
        struct After(Cell<usize>);
        impl Control for After {
            fn cancelled(&self) -> bool {
                self.0.set(self.0.get().saturating_sub(1));
                self.0.get() == 0
            }
        }
        let (said, _) = say("one. two.", &Stop::default(), &mut After(Cell::new(8)));
        assert_eq!((said.stop, said.text.as_str()), (StopReason::Cancelled, "one"));

        let mut at_once = CancelToken::default();
        at_once.cancel();
        let (said, _) = say("one. two.", &Stop::default(), &mut at_once);
        assert_eq!((said.stop, said.text.as_str()), (StopReason::Cancelled, ""));
    }

    #[test]
    fn a_model_without_text_gives_tokens() {
        let mut lens = ScriptedLens::saying("ok").without_tokenizer();
        let setup = Setup::new(&Method::full(), &lens.model().spec, 0).unwrap();
        let (sampling, mut stop) = (Sampling::default(), Stop::default());
        let said = generate(&mut lens, &setup, &[7, 8], &sampling, &stop, &mut (), &mut |_| {}).unwrap();
        assert_eq!((said.tokens.len(), said.text.as_str()), (2, ""));
        stop.strings.push("x".into());
        assert!(generate(&mut lens, &setup, &[7, 8], &sampling, &stop, &mut (), &mut |_| {}).is_err());
    }
}
