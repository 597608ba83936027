//! A model made of a rule, for tests and demonstrations without a backend.
//!
//! Its tokens are bytes: 0 is `<s>`, 1 is `</s>`, and byte `b` is token `b + 2`. Like the real ones it wants the whole
//! prompt first and one token a call after it; unlike them it panics when that is broken.

use std::collections::BTreeMap;

use crate::lens::{Control, Lens, LensError, ModelInfo, Rows, Setup, TextCodec};
use crate::spec::ModelSpec;
use crate::trace::{RunRecord, Trace};

/// A [`Lens`] whose logits come from a function of the tokens so far.
pub struct ScriptedLens {
    model: ModelInfo,
    codec: Option<ByteCodec>,
    rule: Box<Rule>,
    recorded: Trace,
    setup: Option<Setup>,
    tokens: Vec<u32>,
    logits: Vec<f32>,
    nll: Vec<f32>,
}

/// Fills the logits of the next token, all 0 before, from the tokens so far and how many of them are the prompt.
type Rule = dyn Fn(&[u32], usize, &mut [f32]) + Send;

/// Bytes as tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteCodec;

/// First token of every text.
pub const BOS: u32 = 0;

/// Token that ends a text.
pub const EOS: u32 = 1;

/// Tokens of the vocabulary: two special ones and the bytes.
pub const VOCAB_SIZE: usize = 258;

/// Logit of a token that a rule is sure of; the others have 0.
pub const SURE: f32 = 30.0;

impl ScriptedLens {
    /// A model whose rule fills the logits of the next token, all 0 before, from the tokens so far.
    pub fn new(rule: impl Fn(&[u32], &mut [f32]) + Send + 'static) -> Self {
        Self::of(Box::new(move |seen, _, logits| rule(seen, logits)))
    }

    /// A model that is sure of what follows the prompt: these bytes, then the end.
    pub fn saying(text: impl Into<Vec<u8>>) -> Self {
        let text = text.into();
        Self::of(Box::new(move |seen, n_prompt, logits| {
            let next = text.get(seen.len().saturating_sub(n_prompt)).map_or(EOS, |byte| token_of(*byte));
            logits[next as usize] = SURE;
        }))
    }

    fn of(rule: Box<Rule>) -> Self {
        let spec = ModelSpec { vocab_size: VOCAB_SIZE, ..ModelSpec::tiny(256) };
        let model = ModelInfo {
            name: "scripted".into(),
            source: "embedded".into(),
            family: "scripted".into(),
            spec,
            n_parameters: 0,
            bos_token: Some(BOS),
            eos_tokens: vec![EOS],
            dtype: "f32".into(),
            kernel_path: "scripted".into(),
        };
        Self {
            model,
            codec: Some(ByteCodec),
            rule,
            recorded: Trace::default(),
            setup: None,
            tokens: Vec::new(),
            logits: Vec::new(),
            nll: Vec::new(),
        }
    }

    /// Changes what the model says of itself.
    #[must_use]
    pub fn with_model(mut self, change: impl FnOnce(&mut ModelInfo)) -> Self {
        change(&mut self.model);
        self
    }

    /// The same model without a tokenizer.
    #[must_use]
    pub fn without_tokenizer(mut self) -> Self {
        self.codec = None;
        self
    }

    /// Lets every trace show these recorded layers, rows and maps.
    #[must_use]
    pub fn with_trace(mut self, recorded: Trace) -> Self {
        self.recorded = recorded;
        self
    }

    /// The tokens fed since [`Lens::begin`].
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }
}

/// Continues as the text did after the longest earlier match of its end; the rule that finds a pass key.
pub fn induction(seen: &[u32], logits: &mut [f32]) {
    let matching = |end: usize| seen[..end].iter().rev().zip(seen.iter().rev()).take_while(|(a, b)| a == b).count();
    let best = (1..seen.len()).map(|end| (matching(end), end)).max();
    let next = best.filter(|(n_matching, _)| *n_matching > 0).map_or(EOS, |(_, end)| seen[end]);
    logits[next as usize] = SURE;
}

/// The token of a byte.
pub fn token_of(byte: u8) -> u32 {
    u32::from(byte) + 2
}

impl Lens for ScriptedLens {
    fn model(&self) -> &ModelInfo {
        &self.model
    }

    fn text(&self) -> Result<&dyn TextCodec, LensError> {
        let codec = self.codec.as_ref().ok_or_else(|| LensError::NoTokenizer { model: self.model.name.clone() })?;
        Ok(codec)
    }

    fn begin(&mut self, setup: &Setup) -> Result<(), LensError> {
        self.setup = Some(setup.clone());
        self.tokens.clear();
        self.logits.clear();
        self.nll.clear();
        Ok(())
    }

    fn feed(&mut self, tokens: &[u32], want: Rows, control: &mut dyn Control) -> Result<Vec<f32>, LensError> {
        let setup = self.setup.as_ref().expect("feed comes after begin");
        let last = tokens.len().checked_sub(1).ok_or(LensError::EmptyPrompt)?;
        let expected = if self.tokens.is_empty() { setup.n_prompt } else { 1 };
        assert_eq!(tokens.len(), expected, "the whole prompt comes first, then one token a call");

        let vocab_size = self.model.spec.vocab_size;
        if let Some(position) = tokens.iter().position(|token| *token as usize >= vocab_size) {
            return Err(LensError::TokenOutOfRange { token: tokens[position], position, vocab_size });
        }
        let (watch_nll, step) = (setup.watch.nll, setup.prefill_chunk.max(1));
        let n_steps = tokens.len().div_ceil(step);
        let mut rows = Vec::new();
        for (at, &token) in tokens.iter().enumerate() {
            if at % step == 0 {
                if control.cancelled() {
                    return Err(LensError::Cancelled);
                }
                control.progress(at / step, n_steps);
            }
            if watch_nll && !self.tokens.is_empty() {
                self.nll.push(loss(&self.logits, token));
            }
            self.tokens.push(token);
            if watch_nll || want == Rows::All || at == last {
                self.logits.clear();
                self.logits.resize(vocab_size, 0.0);
                (self.rule)(&self.tokens, setup.n_prompt, &mut self.logits);
            }
            if want == Rows::All || (want == Rows::Last && at == last) {
                rows.extend_from_slice(&self.logits);
            }
        }
        control.progress(n_steps, n_steps);
        Ok(rows)
    }

    fn trace(&mut self) -> Trace {
        let run = self.setup.as_ref().map(|setup| RunRecord {
            model: self.model.name.clone(),
            method: setup.plan.method.clone(),
            rope: setup.rope.to_string(),
            dtype: self.model.dtype.clone(),
            kernel_path: self.model.kernel_path.clone(),
            mode: "re-prefill".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            n_prompt: setup.n_prompt,
        });
        Trace {
            run: run.unwrap_or_default(),
            nll: self.nll.clone(),
            seconds: BTreeMap::from([("prefill", 0.0)]),
            ..self.recorded.clone()
        }
    }
}

/// Negative log-likelihood of `token` under `logits`.
fn loss(logits: &[f32], token: u32) -> f32 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - max).exp()).sum();
    (sum.ln() - f64::from(logits[token as usize] - max)) as f32
}

impl TextCodec for ByteCodec {
    fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, LensError> {
        Ok(special.then_some(BOS).into_iter().chain(text.bytes().map(token_of)).collect())
    }

    fn decode(&self, tokens: &[u32]) -> Result<String, LensError> {
        let bytes: Vec<u8> = tokens.iter().filter_map(|token| u8::try_from(token.checked_sub(2)?).ok()).collect();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lens::CancelToken;
    use crate::methods::Method;
    use crate::trace::Watch;

    fn setup(lens: &ScriptedLens, n_prompt: usize) -> Setup {
        Setup::new(&Method::full(), &lens.model().spec, n_prompt).unwrap()
    }

    fn argmax(logits: &[f32]) -> u32 {
        logits.iter().position(|logit| *logit >= SURE).unwrap() as u32
    }

    #[test]
    fn it_says_its_text_and_ends() {
        let mut lens = ScriptedLens::saying("ok");
        let prompt = lens.text().unwrap().encode("say ok: ", true).unwrap();
        for _ in 0..2 {
            lens.begin(&setup(&lens, prompt.len())).unwrap();
            let mut said = vec![argmax(&lens.feed(&prompt, Rows::Last, &mut ()).unwrap())];
            while *said.last().unwrap() != EOS {
                said.push(argmax(&lens.feed(&said[said.len() - 1..], Rows::Last, &mut ()).unwrap()));
            }
            assert_eq!(ByteCodec.decode(&said).unwrap(), "ok");
        }
    }

    #[test]
    fn induction_continues_the_longest_match() {
        let mut logits = vec![0.0; VOCAB_SIZE];
        induction(&ByteCodec.encode("xa1 ya2 xa", false).unwrap(), &mut logits);
        assert_eq!(argmax(&logits), token_of(b'1'));
    }

    #[test]
    fn losses_cover_every_fed_token_but_the_first() {
        let mut lens = ScriptedLens::new(|_, logits| logits[5] = 2.0);
        lens.begin(&Setup { watch: Watch { nll: true, ..Watch::default() }, ..setup(&lens, 3) }).unwrap();
        assert!(lens.feed(&[5, 5, 6], Rows::None, &mut ()).unwrap().is_empty());
        lens.feed(&[5], Rows::None, &mut ()).unwrap();
        let other = (2f64.exp() + 257.0).ln();
        let expected = [other - 2.0, other, other - 2.0];
        let nll = lens.trace().nll;
        assert_eq!(nll.len(), expected.len());
        assert!(nll.iter().zip(expected).all(|(found, expected)| (f64::from(*found) - expected).abs() < 1e-6));
    }

    #[test]
    fn wrong_tokens_and_cancellation_are_errors() {
        let mut lens = ScriptedLens::new(induction);
        lens.begin(&setup(&lens, 2)).unwrap();
        let error = lens.feed(&[5, 258], Rows::None, &mut ()).unwrap_err();
        insta::assert_snapshot!(error, @"token 258 at position 1 is outside the vocabulary of 258");
        let mut token = CancelToken::default();
        token.cancel();
        assert!(matches!(lens.feed(&[5, 6], Rows::None, &mut token), Err(LensError::Cancelled)));
        assert!(matches!(lens.feed(&[], Rows::None, &mut ()), Err(LensError::EmptyPrompt)));
        assert!(lens.without_tokenizer().text().is_err());
    }
}
