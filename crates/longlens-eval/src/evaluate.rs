//! Runs the samples of a task, one at a time: each is generated or measured, scored in both modes, and kept as soon as it is finished.
//!
//! A sample's key tells it apart by all that decides its result. What a [`Store`] has under a key is not computed again, so that a run
//! which was cut short, at any moment, computes only what is missing. Samples that begin alike share the prefill of what they begin with.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use longlens_core::lens::{Control, Lens, LensError, ModelInfo, Rows, Setup};
use longlens_core::setting::Setting;
use longlens_core::trace::Watch;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

pub use self::attend::{Attended, PASSAGE, Passage};
pub use self::compare::{Compared, Difference, compare};
pub use self::count::{Again, Counted, Entry, tokenizer_hash};
pub use self::family::{Category, categories, is_averaged};
pub use self::measure::Measure;
pub use self::record::{Answer, Outcome, Record, TooLong, number};
pub use self::summary::{Row, Summary, once_each, summarize, without_amounts};
use crate::error::{EvalError, expect};
use crate::generate::{Generated, Generation, Stop, StopReason};
use crate::prefix::Prefix;
use crate::progress::{Part, Quiet};
use crate::sample::{Answering, Prompt, Rule, Sample};
use crate::sampling::{Sampler, Sampling};
use crate::setup::{PromptSize, SetupFor};
use crate::tasks::Task;

mod attend;
mod compare;
mod count;
mod family;
mod measure;
mod record;
mod score;
mod summary;
#[cfg(test)]
mod tests;

/// Finished samples, by key.
pub trait Store {
    /// What a finished sample is listed under, as [`listing`] writes it; `None` where none is finished.
    fn listed(&mut self, key: &str) -> Option<String>;

    /// Finished samples, those of these keys that there are.
    fn with_keys(&mut self, keys: &HashSet<&str>) -> Result<Vec<Record>, EvalError>;

    /// Whether a sample is finished.
    fn has(&mut self, key: &str) -> bool {
        self.listed(key).is_some()
    }

    /// Takes a sample that is to be run now; `false` where another process has it.
    fn claim(&mut self, key: &str) -> Result<bool, EvalError>;

    /// A sample was finished. An error says that it could not be kept, and ends the run.
    fn finished(&mut self, record: &Record) -> Result<(), EvalError>;
}

/// What answers besides the sample: a model under a method, on a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    /// Name of the model, for tables.
    pub model: String,
    /// Tells models apart by what their weights hold.
    pub content: String,
    /// The numbers that decide its positions and shapes, as JSON.
    pub spec: String,
    /// The method's text form with every parameter.
    pub method: String,
    /// The RoPE scaling's text form.
    pub rope: String,
    /// Tokens that the model counts as trained on.
    pub trained_context: usize,
    /// What becomes of windows that layers have of their own.
    pub layer_windows: Option<String>,
    /// `cpu`, `wgpu` or `cuda`.
    pub device: String,
    /// Number format of weights and arithmetic.
    pub dtype: String,
}

/// How samples are run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Options {
    /// Tokens of prompt and answer at most; what is longer is treated as [`Self::too_long`] says.
    pub limit: Option<usize>,
    /// What becomes of samples beyond the limit.
    pub too_long: TooLong,
    /// Whether it is recorded what the token before the answer attends to.
    pub attention: bool,
}

/// What a run of a task came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Tally {
    /// Samples of the task.
    pub n_samples: usize,
    /// Of them, those that were finished before.
    pub n_before: usize,
    /// Those that this run finished.
    pub n_run: usize,
    /// Those that another process has.
    pub n_elsewhere: usize,
    /// Prompt tokens of what this run finished.
    pub n_tokens: usize,
    /// Of them, those that were computed for an earlier sample.
    pub n_shared: usize,
    /// Whether somebody stopped it.
    pub is_cancelled: bool,
}

/// A task under one subject.
pub struct Run<'a> {
    /// The task.
    pub task: &'static Task,
    /// Its settings.
    pub setting: &'a Setting,
    /// What answers.
    pub subject: &'a Subject,
    /// How samples are run.
    pub options: &'a Options,
}

/// What samples are run with.
pub struct With<'a, 'b> {
    /// An open model.
    pub lens: &'a mut dyn Lens,
    /// Makes the setup of a prompt.
    pub setup_for: &'a mut SetupFor<'b>,
    /// Where finished samples are kept.
    pub store: &'a mut dyn Store,
    /// Who watches, and may stop it.
    pub control: &'a mut dyn Control,
}

/// Shorter beginnings are computed again: a copy of the cache costs more.
const LEAST_SHARED: usize = 32;

impl Subject {
    /// A model that is open, on a device of this name, under a setup.
    pub fn of(model: &ModelInfo, device: &str, setup: &Setup) -> Self {
        let spec = model.spec.trained_on(setup.trained_context);
        Self {
            model: model.name.clone(),
            content: model.content.clone(),
            spec: serde_json::to_string(&*spec).unwrap_or_default(),
            method: setup.plan.method.clone(),
            rope: setup.rope.to_string(),
            trained_context: spec.trained_context,
            layer_windows: setup.plan.layer_windows().map(str::to_owned),
            device: device.to_owned(),
            dtype: model.dtype.clone(),
        }
    }

    /// The key of a sample: SHA-256 in hexadecimal digits over the sample and all that answers it.
    pub fn key(&self, entry: &Entry, options: &Options) -> String {
        let Self { model: _, content, spec, method, rope, trained_context, layer_windows, device, dtype } = self;
        // a limit counts where it changes something, and attention is recorded of answers alone
        let attention = options.attention && entry.max_tokens > 0;
        let limit = options.limit.filter(|limit| entry.n_tokens() > *limit).map(|limit| (limit, options.too_long));
        let of = json!([
            entry.hash,
            content,
            spec,
            method,
            rope,
            trained_context,
            layer_windows,
            device,
            dtype,
            limit,
            attention
        ]);
        format!("{:x}", Sha256::digest(of.to_string()))
    }
}

impl Options {
    /// Refuses a limit that would leave nothing of a prompt which is cut to it, or no loss of a text.
    pub fn check(&self, counted: &Counted) -> Result<(), EvalError> {
        let Some(limit) = self.limit.filter(|_| self.too_long == TooLong::Cut) else { return Ok(()) };
        let is_right = |entry: &Entry| entry.n_tokens() <= limit || entry.max_tokens.max(entry.from) < limit;
        let expected = "more tokens than an answer of this task may have, or stand before the losses that count";
        expect(counted.entries.iter().all(is_right), "limit", limit, expected)
    }
}

impl Run<'_> {
    /// Runs those samples of the task that are not finished and that `takes` gives to this run, by their number.
    ///
    /// Progress counts prompt tokens of what is missing. A cancellation keeps what is finished and is told in the tally; errors of a
    /// model, of a task's files and of the store end it, and what was finished before stays.
    pub fn run(
        &self,
        with: &mut With<'_, '_>,
        counted: &mut Counted,
        takes: &dyn Fn(usize) -> bool,
        told: &mut dyn FnMut(&Record),
    ) -> Result<Tally, EvalError> {
        let With { lens, setup_for, store, control } = with;
        self.options.check(counted)?;
        let keys = self.keys(counted);
        let mut missing: Vec<usize> = Vec::new();
        let mut tally = Tally { n_samples: keys.len(), ..Tally::default() };
        self.add_shared(&keys, counted, *store, takes, told)?;
        for (at, key) in keys.iter().enumerate() {
            if self.has(key, &counted.entries[at], *store) {
                tally.n_before += 1;
            } else if takes(at) {
                missing.push(at);
            } else {
                tally.n_elsewhere += 1;
            }
        }
        let total = missing.iter().map(|at| counted.entries[*at].n_prompt).sum();
        let (mut before, mut prefix, mut next) = (0, Prefix::default(), None);
        for (turn, at) in missing.iter().enumerate() {
            let size = counted.entries[*at].n_prompt;
            let ready = next.take();
            if !store.claim(&keys[*at])? {
                tally.n_elsewhere += usize::from(!store.has(&keys[*at]));
                tally.n_before += usize::from(store.has(&keys[*at]));
                before += size;
                continue;
            }
            let ready: Ready = match ready {
                Some((_, ready)) => ready,
                None => self.ready(counted.sample(*at, lens.text())?, &counted.entries[*at]),
            };
            let following = missing.get(turn + 1);
            next = following
                .map(|at| -> Result<_, EvalError> {
                    Ok((*at, self.ready(counted.sample(*at, lens.text())?, &counted.entries[*at])))
                })
                .transpose()?;
            let mut part = Part { control: &mut **control, before, size, total };
            let beside = next.as_ref().map(|(_, next)| &next.tokens[..]);
            let Some(mut record) = self.one(*lens, setup_for, &ready, beside, &mut prefix, &mut part)? else {
                tally.is_cancelled = true;
                return Ok(tally);
            };
            record.key.clone_from(&keys[*at]);
            store.finished(&record)?;
            tally.n_run += 1;
            tally.n_tokens += record.n_prompt;
            tally.n_shared += record.n_shared;
            before += size;
            told(&record);
        }
        // those that another process has finished in the meantime
        self.add_shared(&keys, counted, *store, takes, told)?;
        Ok(tally)
    }

    /// Adds those samples that are finished under other settings of the task a second time, under these: a score is of all samples of its
    /// settings, and in their mode.
    fn add_shared(
        &self,
        keys: &[String],
        counted: &Counted,
        store: &mut dyn Store,
        takes: &dyn Fn(usize) -> bool,
        told: &mut dyn FnMut(&Record),
    ) -> Result<(), EvalError> {
        let mut shared = Vec::new();
        for (at, key) in keys.iter().enumerate().filter(|(at, _)| takes(*at)) {
            if store.has(key) && self.listed_key(key, &counted.entries[at], store).is_none() {
                shared.push(at);
            }
        }
        if shared.is_empty() {
            return Ok(());
        }
        let wanted = shared.iter().map(|at| &*keys[*at]).collect();
        let known: HashMap<String, Record> =
            store.with_keys(&wanted)?.into_iter().map(|record| (record.key.clone(), record)).collect();
        for at in shared {
            let (Some(record), entry) = (known.get(&keys[at]), &counted.entries[at]) else { continue };
            let record = Record {
                key: shared_key(&keys[at], &self.listing(entry)),
                copy_of: Some(keys[at].clone()),
                setting: self.setting.to_string(),
                mode: self.task.mode(self.setting),
                template: self.task.template(self.setting),
                length: entry.length,
                depth: entry.depth,
                part: entry.part.clone(),
                n_truncated: entry.n_truncated + entry.n_prompt.saturating_sub(record.n_prompt),
                ..record.clone()
            };
            store.finished(&record)?;
            told(&record);
        }
        Ok(())
    }

    /// What a sample of the task is listed under.
    fn listing(&self, entry: &Entry) -> String {
        listing(&self.setting.to_string(), entry.length)
    }

    /// The key of the line that lists a sample of the task under its settings: its own, or that of a copy.
    fn listed_key(&self, key: &str, entry: &Entry, store: &mut dyn Store) -> Option<String> {
        let own = self.listing(entry);
        let copy = shared_key(key, &own);
        if store.has(&copy) {
            return Some(copy);
        }
        (store.listed(key)? == own).then(|| key.to_owned())
    }

    /// Under which keys the samples of the task stand in a store, finished or not.
    pub fn keys_in(&self, counted: &Counted, store: &mut dyn Store) -> Vec<String> {
        let keys = self.keys(counted).into_iter().zip(&counted.entries);
        keys.map(|(key, entry)| self.listed_key(&key, entry, store).unwrap_or(key)).collect()
    }

    /// Whether a sample of the task need not be computed: it is finished, under these settings or others.
    pub fn has(&self, key: &str, entry: &Entry, store: &mut dyn Store) -> bool {
        store.has(key) || self.listed_key(key, entry, store).is_some()
    }

    /// The keys of all samples of the task.
    pub fn keys(&self, counted: &Counted) -> Vec<String> {
        counted.entries.iter().map(|entry| self.subject.key(entry, self.options)).collect()
    }

    /// A sample as tokens, cut to the limit where that is asked for.
    fn ready(&self, (sample, mut tokens): (Sample, Vec<u32>), entry: &Entry) -> Ready {
        let mut n_cut = 0;
        let over = self.options.limit.filter(|limit| entry.n_tokens() > *limit);
        let cut = over.filter(|_| self.options.too_long == TooLong::Cut);
        if let (Some(limit), Rule::Loss { .. }) = (cut, &sample.rule) {
            // a text is measured from its beginning, and goes on without a gap
            n_cut = tokens.len().saturating_sub(limit);
            tokens.truncate(limit);
        } else if let Some(limit) = cut {
            let room = limit.saturating_sub(entry.max_tokens).max(1);
            n_cut = tokens.len().saturating_sub(room);
            // as LongBench cuts: instructions stand at both ends
            let first = room / 2;
            let rest = tokens.split_off(first + n_cut);
            tokens.truncate(first);
            tokens.extend(rest);
        }
        Ready { sample, tokens, n_cut, is_skipped: over.is_some() && self.options.too_long == TooLong::Skip }
    }

    /// Runs one sample; `None` when cancelled.
    fn one(
        &self,
        lens: &mut dyn Lens,
        setup_for: &mut SetupFor,
        ready: &Ready,
        next: Option<&[u32]>,
        prefix: &mut Prefix,
        control: &mut dyn Control,
    ) -> Result<Option<Record>, EvalError> {
        let Ready { sample, tokens, n_cut, is_skipped } = ready;
        let mut record = Record::of(self, sample, tokens.len(), *n_cut);
        record.limit = self.options.limit.filter(|_| *is_skipped || *n_cut > 0);
        if *is_skipped {
            record.outcome = Outcome::Skipped;
            return Ok(Some(record));
        }
        let target = sample.length.unwrap_or(tokens.len());
        let setup = setup_for(PromptSize { target, n_tokens: tokens.len() })?;
        let mut setup = Setup { n_prompt: tokens.len(), ..setup };
        match &sample.rule {
            Rule::Loss { from } => {
                setup.watch = Watch { nll: true, ..Watch::default() };
                let started = Instant::now();
                let mut begun = Begun { lens, prefix, setup: &setup, tokens };
                let Some((n_shared, _)) = begun.feed(None, control)? else { return Ok(None) };
                let trace = lens.trace();
                record.seconds = started.elapsed().as_secs_f64();
                record.n_shared = n_shared;
                record.measured(&trace.nll, *from);
                record.run = trace.run;
            }
            Rule::Answer(answering) => {
                let looks = (self.options.attention && *n_cut == 0)
                    .then(|| attend::Looks::at(lens, sample, tokens))
                    .transpose()?;
                if let Some(looks) = &looks {
                    setup.watch = looks.watch();
                }
                let asked = Asked { tokens, answering, next };
                let Some((generated, n_shared)) = ask(lens, &setup, &asked, prefix, control)? else { return Ok(None) };
                record.attended = looks.map(|looks| looks.found(lens, tokens, &generated.trace)).transpose()?;
                let second = match &answering.second {
                    Some(second) => {
                        let Some(text) = Self::second(lens, setup_for, second, answering, control)? else {
                            return Ok(None);
                        };
                        Some(text)
                    }
                    None => None,
                };
                record.n_shared = n_shared;
                score::answered(&mut record, sample, answering, tokens, &generated, second)?;
                record.run = generated.run;
            }
        }
        Ok(Some(record))
    }

    /// The answer to a sample's second question.
    fn second(
        lens: &mut dyn Lens,
        setup_for: &mut SetupFor,
        second: &Prompt,
        answering: &Answering,
        control: &mut dyn Control,
    ) -> Result<Option<String>, EvalError> {
        let tokens = second.tokens(lens.text())?;
        let setup = setup_for(PromptSize { target: tokens.len(), n_tokens: tokens.len() })?;
        let setup = Setup { n_prompt: tokens.len(), ..setup };
        let asked = Asked { tokens: &tokens, answering, next: None };
        let answered = ask(lens, &setup, &asked, &mut Prefix::default(), &mut Quiet(control))?;
        Ok(answered.map(|(generated, _)| generated.text))
    }
}

/// What a sample is listed under: settings without amounts, and the length.
pub fn listing(setting: &str, length: Option<usize>) -> String {
    let setting = without_amounts(setting);
    length.map_or_else(|| setting.clone(), |length| format!("{setting} at {length}"))
}

/// The key of a sample that is listed a second time.
fn shared_key(key: &str, listing: &str) -> String {
    format!("{:x}", Sha256::digest(format!("{key} as {listing}")))
}

/// A sample, ready to be fed.
struct Ready {
    sample: Sample,
    tokens: Vec<u32>,
    /// Tokens that were cut from its middle.
    n_cut: usize,
    is_skipped: bool,
}

/// A prompt, how its answer is had, and the prompt after it.
struct Asked<'a> {
    tokens: &'a [u32],
    answering: &'a Answering,
    next: Option<&'a [u32]>,
}

/// A prompt whose tokens are fed after those that it shares with an earlier one.
struct Begun<'a> {
    lens: &'a mut dyn Lens,
    prefix: &'a mut Prefix,
    setup: &'a Setup,
    tokens: &'a [u32],
}

impl Begun<'_> {
    /// Feeds the prompt and keeps what the `next` one begins alike with; returns how many tokens were shared, and the logits of the
    /// last one. `None` when cancelled.
    fn feed(
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
fn ask(
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
