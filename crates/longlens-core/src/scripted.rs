//! A model made of a rule, for tests and demonstrations without a backend.
//!
//! Its tokens are bytes: 0 is `<s>`, 1 is `</s>`, and byte `b` is token `b + 2`. Like the real ones it wants the prompt
//! first and one token a call after it; unlike them it panics when that is broken.

use std::collections::BTreeMap;

use crate::lens::{
    Control, Conversation, KeptPart, KeptTensor, Lens, LensError, LensId, ModelInfo, Rows, Sequence, Setup, TextCodec,
};
use crate::plan::Prefill;
use crate::spec::ModelSpec;
use crate::trace::{Queries, RunRecord, Trace, Watch};

mod attention;

use attention::{Attended, Attention};

/// A [`Lens`] whose logits come from a function of the tokens so far.
pub struct ScriptedLens {
    id: LensId,
    model: ModelInfo,
    codec: Option<ByteCodec>,
    rule: Box<Rule>,
    recorded: Trace,
    attention: Box<Attention>,
    setup: Option<Setup>,
    /// Whether the sequence goes on from one that was begun ([`Lens::reuse`]).
    is_swapped: bool,
    /// Tokens at its start that were fed under another plan.
    n_reused: usize,
    n_taken: usize,
    /// Whether an error ended the sequence that was begun, and the one that goes on from it.
    broken: (bool, bool),
    /// Tokens of the sequence that was begun.
    base: Vec<u32>,
    tokens: Vec<u32>,
    logits: Vec<f32>,
    nll: Vec<f32>,
}

/// What is kept of a sequence that others go on from.
struct Fork {
    tokens: Vec<u32>,
    /// Logits of its last token where they hold a loss that is recorded, else empty.
    newest: Vec<f32>,
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
            weight_bytes: 0,
            bos_token: Some(BOS),
            eos_tokens: vec![EOS],
            dtype: "f32".into(),
            kernel_path: "scripted".into(),
            max_position_embeddings: 256,
            warnings: Vec::new(),
            context_warnings: Vec::new(),
            has_chat_template: true,
            content: "scripted".into(),
        };
        Self {
            id: LensId::unique(),
            model,
            codec: Some(ByteCodec),
            rule,
            recorded: Trace::default(),
            attention: Box::new(|_, _, _, _| 1.0),
            setup: None,
            is_swapped: false,
            n_reused: 0,
            n_taken: 0,
            broken: (false, false),
            base: Vec::new(),
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

    /// Attends by this rule: a raw weight above 0 for (layer, head, query, key), of which those count that the plan shows.
    #[must_use]
    pub fn attending(mut self, rule: impl Fn(usize, usize, usize, usize) -> f32 + Send + 'static) -> Self {
        self.attention = Box::new(rule);
        self
    }

    /// The tokens of the sequence so far.
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
        setup.plan.check_length(setup.n_prompt)?;
        self.setup = Some(setup.clone());
        (self.n_reused, self.n_taken, self.broken, self.is_swapped) = (0, 0, (false, false), false);
        self.base.clear();
        self.tokens.clear();
        self.logits.clear();
        self.nll.clear();
        Ok(())
    }

    fn feed(&mut self, tokens: &[u32], want: Rows, control: &mut dyn Control) -> Result<Vec<f32>, LensError> {
        if self.broken.1 || self.setup.is_none() {
            return Err(LensError::NotBegun);
        }
        let fed = self.step(tokens, want, control);
        if fed.is_err() {
            self.broken = (self.broken.0 || !self.is_swapped, true);
        } else if !self.is_swapped {
            self.base.extend_from_slice(tokens);
        }
        fed
    }

    fn trace(&mut self) -> Trace {
        let watched = self.setup.as_ref().filter(|setup| setup.watch.mass.is_some() && self.recorded.layers.is_empty());
        let layers = watched.map(|setup| {
            let attended = self.attended(setup);
            (0..self.model.spec.n_layers).map(|layer| attended.layer(layer, &setup.watch)).collect()
        });
        Trace {
            layers: layers.unwrap_or_else(|| self.recorded.layers.clone()),
            run: self.record(),
            nll: self.nll.clone(),
            n_taken: self.n_taken,
            seconds: BTreeMap::from([("prefill", 0.0)]),
            ..self.recorded.clone()
        }
    }

    fn reuse(&mut self, setup: &Setup, keep: usize) -> Result<(), LensError> {
        let begun = self.setup.as_ref().filter(|_| !self.broken.0).ok_or(LensError::NotBegun)?;
        let (n_prompt, keep_queries) = (begun.n_prompt, begun.keep_queries);
        if keep > self.base.len() {
            return Err(LensError::OutOfRange { what: "token", index: keep - 1, count: self.base.len() });
        }
        if setup.plan.needs_queries() && keep > 0 && !keep_queries {
            return Err(LensError::NothingKept { what: "a choice of chunks" });
        }
        setup.plan.check_length(n_prompt.max(keep))?;
        self.tokens.clone_from(&self.base);
        self.tokens.truncate(keep);
        self.logits.clear();
        self.nll.clear();
        (self.n_reused, self.n_taken, self.broken.1, self.is_swapped) = (keep, keep, false, true);
        self.setup = Some(Setup { n_prompt, keep_queries, ..setup.clone() });
        Ok(())
    }

    fn fork(&mut self, n_tokens: usize) -> Result<Sequence, LensError> {
        let setup = self.setup.as_ref().filter(|_| !self.broken.1).ok_or(LensError::NotBegun)?;
        setup.check_fork(n_tokens, self.tokens.len())?;
        let tokens = self.tokens[..n_tokens].to_vec();
        let hold_loss = setup.watch.nll && n_tokens == self.tokens.len();
        let newest = if hold_loss { self.logits.clone() } else { Vec::new() };
        let (bytes, is_exact) = (size_of_val(&tokens[..]), self.n_reused == 0);
        Ok(Sequence::new(self.id, setup.clone(), n_tokens, is_exact, bytes, Fork { tokens, newest }))
    }

    fn begin_from(&mut self, setup: &Setup, prefix: &Sequence) -> Result<(), LensError> {
        let Fork { tokens, newest } = prefix.state(self.id)?;
        prefix.check(setup)?;
        self.begin(&Setup { keep_queries: prefix.needs_queries(setup), ..setup.clone() })?;
        self.tokens.clone_from(tokens);
        self.base.clone_from(tokens);
        let is_exact = prefix.serves(setup);
        // logits of another plan say nothing of the loss under this one
        self.logits = if is_exact { newest.clone() } else { Vec::new() };
        (self.n_reused, self.n_taken) = (if is_exact { 0 } else { tokens.len() }, tokens.len());
        Ok(())
    }

    fn kept(&self, _: &Setup, n_tokens: usize) -> Result<Vec<KeptTensor>, LensError> {
        // all that a scripted sequence is are its tokens
        Ok(vec![KeptTensor { part: KeptPart::Key(0), format: "F32", shape: [1, n_tokens, 1] }])
    }

    fn kept_numbers(&mut self, tensor: &KeptTensor) -> Result<Vec<u8>, LensError> {
        self.setup.as_ref().filter(|_| !self.broken.1).ok_or(LensError::NotBegun)?;
        let is_whole = self.n_reused == 0 && tensor.shape[1] == self.tokens.len();
        let numbers = self.tokens.iter().flat_map(|token| (*token as f32).to_le_bytes());
        if is_whole { Ok(numbers.collect()) } else { Err(LensError::NoFile) }
    }

    fn restore(
        &mut self,
        setup: &Setup,
        n_tokens: usize,
        read: &mut dyn FnMut(&KeptTensor) -> Result<Vec<u8>, LensError>,
    ) -> Result<Sequence, LensError> {
        let bytes = read(&self.kept(setup, n_tokens)?[0])?;
        let word = |word: &[u8]| f32::from_le_bytes([word[0], word[1], word[2], word[3]]) as u32;
        let tokens = bytes.chunks_exact(4).map(word).collect();
        let state = Fork { tokens, newest: Vec::new() };
        Ok(Sequence::new(self.id, setup.clone(), n_tokens, true, bytes.len(), state))
    }

    fn inspect(&mut self, watch: &Watch, control: &mut dyn Control) -> Result<Trace, LensError> {
        let setup = self.setup.as_ref().filter(|_| !self.broken.1).ok_or(LensError::NotBegun)?;
        if !setup.keep_queries {
            return Err(LensError::NothingKept { what: "an inspection" });
        }
        let asked = [Some(&watch.choices), watch.mass.as_ref().map(|mass| &mass.queries)];
        let listed = asked.into_iter().flatten().flat_map(|queries| match queries {
            Queries::Of(list) => &list[..],
            Queries::All | Queries::None => &[],
        });
        let count = self.tokens.len();
        if let Some(index) = listed.copied().chain(watch.rows.iter().map(|row| row.query)).find(|query| *query >= count)
        {
            return Err(LensError::OutOfRange { what: "query", index, count });
        }
        let attended = self.attended(setup);
        let n_layers = self.model.spec.n_layers;
        let mut trace = Trace { run: self.record(), ..Trace::default() };
        for layer in 0..n_layers {
            control.progress(layer, n_layers);
            if control.cancelled() {
                return Err(LensError::Cancelled);
            }
            trace.layers.push(attended.layer(layer, watch));
        }
        let known = watch.rows.iter().filter(|pick| attended.queries.contains(&pick.query));
        trace.rows = known.map(|pick| (*pick, attended.row(pick.layer, pick.head, pick.query))).collect();
        trace.maps = watch.maps.iter().map(|pick| attended.map(pick)).collect();
        Ok(trace)
    }
}

impl ScriptedLens {
    fn attended<'a>(&'a self, setup: &'a Setup) -> Attended<'a> {
        Attended {
            rule: &*self.attention,
            plan: &setup.plan,
            prompt: Prefill { n_tokens: setup.n_prompt },
            model: &self.model.spec,
            queries: self.n_reused..self.tokens.len(),
        }
    }

    fn step(&mut self, tokens: &[u32], want: Rows, control: &mut dyn Control) -> Result<Vec<f32>, LensError> {
        let setup = self.setup.as_ref().expect("checked before");
        let last = tokens.len().checked_sub(1).ok_or(LensError::EmptyPrompt)?;
        let expected = setup.n_prompt.checked_sub(self.tokens.len()).filter(|left| *left > 0).unwrap_or(1);
        assert!(
            tokens.len() <= expected || self.n_reused > 0,
            "the prompt comes first, then one token a call: at most {expected} tokens, not {}",
            tokens.len()
        );

        let vocab_size = self.model.spec.vocab_size;
        if let Some(position) = tokens.iter().position(|token| *token as usize >= vocab_size) {
            return Err(LensError::TokenOutOfRange { token: tokens[position], position, vocab_size });
        }
        setup.plan.check_length(self.tokens.len() + tokens.len())?;
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
            // before the first token there are none, nor before the first one after a swap
            if watch_nll && !self.logits.is_empty() {
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

    fn record(&self) -> RunRecord {
        let Some(setup) = &self.setup else { return RunRecord::default() };
        let model = self.model.trained_on(setup.trained_context);
        RunRecord {
            model: model.name.clone(),
            method: setup.plan.method.clone(),
            rope: setup.rope.to_string(),
            dtype: model.dtype.clone(),
            kernel_path: model.kernel_path.clone(),
            mode: if self.is_swapped || self.n_reused > 0 { "reuse-kv" } else { "re-prefill" }.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            n_prompt: setup.n_prompt,
            trained_context: model.spec.trained_context,
            layer_windows: setup.plan.layer_windows().map(str::to_owned),
            warnings: model.warnings.iter().cloned().chain(setup.plan.windows().map(ToString::to_string)).collect(),
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

    /// A line for each turn, as `user: Hello`; an answer begins with `assistant:`.
    fn chat(&self, conversation: &Conversation) -> Result<String, LensError> {
        let text = conversation.rendered(|conversation| {
            let lines = conversation.messages.iter().map(|turn| format!("{}: {}\n", turn.role, turn.content));
            let answer = conversation.add_generation_prompt.then(|| "assistant:".to_owned());
            Ok::<_, LensError>(lines.chain(answer).collect::<String>())
        })?;
        text.ok_or(LensError::NoChatTemplate)
    }
}

#[cfg(test)]
mod tests;
