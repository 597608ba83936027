//! Text from a model: prefill the prompt, then one token after the other.

use std::time::Instant;

use longlens_core::lens::{Control, Lens, LensError, Rows, Setup};
use longlens_core::trace::{RunRecord, Trace};
use serde::{Deserialize, Serialize};

use self::stream::{PieceDecoder, StopCutter};
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
    /// A stop string.
    StopString,
    /// The user.
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
    /// Seconds until the first token was chosen.
    pub seconds_to_first_token: f64,
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
    /// Prompt tokens per second.
    pub fn prefill_speed(&self) -> f64 {
        self.n_prompt as f64 / self.seconds_to_first_token.max(f64::MIN_POSITIVE)
    }

    /// Tokens per second after the first; `None` when there was no second.
    pub fn decode_speed(&self) -> Option<f64> {
        let n_later = self.tokens.len().checked_sub(1).filter(|n_later| *n_later > 0)?;
        Some(n_later as f64 / (self.seconds - self.seconds_to_first_token).max(f64::MIN_POSITIVE))
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
    expect(stop.strings.iter().all(|string| !string.is_empty()), "stop string", "\"\"", "at least one character")?;
    if !stop.strings.is_empty() {
        lens.text()?; // without text no stop string is ever found
    }
    let mut sampler = Sampler::new(sampling)?;
    let started = Instant::now();
    lens.begin(&Setup { n_prompt: prompt.len(), ..setup.clone() })?;
    let mut writer = Writer::new(lens, prompt, stop, on_text)?;

    let mut history = prompt.to_vec();
    let mut fed = lens.feed(prompt, Rows::Last, control);
    let mut seconds_to_first_token = None;
    let reason = loop {
        let logits = match fed {
            Ok(_) if control.cancelled() => break StopReason::Cancelled,
            Ok(logits) => logits,
            Err(LensError::Cancelled) => break StopReason::Cancelled,
            Err(error) => return Err(error.into()),
        };
        if stop.max_tokens == 0 {
            break StopReason::MaxTokens;
        }
        let token = sampler.choose(&logits, &history);
        seconds_to_first_token.get_or_insert_with(|| started.elapsed().as_secs_f64());
        if stop.eos && lens.model().eos_tokens.contains(&token) {
            break StopReason::Eos;
        }
        history.push(token);
        if writer.push(lens, token)? {
            break StopReason::StopString;
        }
        if history.len() - prompt.len() == stop.max_tokens {
            break StopReason::MaxTokens;
        }
        fed = lens.feed(&[token], Rows::Last, &mut Quiet(control));
    };
    let text = writer.finish(lens, reason)?;
    let seconds = started.elapsed().as_secs_f64();
    let trace = lens.trace();
    Ok(Generated {
        tokens: history.split_off(prompt.len()),
        text,
        stop: reason,
        n_prompt: prompt.len(),
        seconds_to_first_token: seconds_to_first_token.unwrap_or(seconds),
        seconds,
        run: trace.run.clone(),
        trace,
    })
}

/// Text so far, for a model that has text.
struct Writer<'a> {
    decoder: Option<PieceDecoder>,
    cutter: StopCutter<'a>,
    text: String,
    on_text: &'a mut dyn FnMut(&str),
}

impl<'a> Writer<'a> {
    fn new(
        lens: &dyn Lens,
        prompt: &[u32],
        stop: &'a Stop,
        on_text: &'a mut dyn FnMut(&str),
    ) -> Result<Self, LensError> {
        let decoder = match lens.text() {
            Ok(codec) => Some(PieceDecoder::after(prompt, codec)?),
            Err(LensError::NoTokenizer { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Self { decoder, cutter: StopCutter::new(&stop.strings), text: String::new(), on_text })
    }

    /// Whether a stop string is complete.
    fn push(&mut self, lens: &dyn Lens, token: u32) -> Result<bool, LensError> {
        let Some(decoder) = &mut self.decoder else { return Ok(false) };
        let (piece, stopped) = self.cutter.push(&decoder.push(token, lens.text()?)?);
        self.show(&piece);
        Ok(stopped)
    }

    fn finish(mut self, lens: &dyn Lens, reason: StopReason) -> Result<String, LensError> {
        if let Some(decoder) = self.decoder.as_mut().filter(|_| reason != StopReason::StopString) {
            let (piece, _) = self.cutter.push(&decoder.flush(lens.text()?)?);
            let rest = self.cutter.flush();
            self.show(&piece);
            self.show(&rest);
        }
        Ok(self.text)
    }

    fn show(&mut self, piece: &str) {
        if !piece.is_empty() {
            self.text.push_str(piece);
            (self.on_text)(piece);
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
            assert!(said.seconds_to_first_token <= said.seconds && said.prefill_speed() > 0.0);
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
