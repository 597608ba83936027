//! Runs the samples of a task, one at a time: each is generated or measured, scored in both modes, and kept as soon as it is finished.
//!
//! A sample's key tells it apart by all that decides its result. What a [`Store`] has under a key is not computed again, so that a run
//! which was cut short, at any moment, computes only what is missing. Samples that begin alike share the prefill of what they begin with.

use std::collections::HashSet;
use std::time::Instant;

use longlens_core::lens::{Control, Lens, ModelInfo, Setup};
use longlens_core::setting::Setting;
use longlens_core::trace::Watch;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use self::ask::{Asked, Begun, ask};
pub use self::attend::{Attended, PASSAGE, Passage};
pub use self::cell::Cell;
pub use self::compare::{Compared, Difference, compare};
pub use self::count::{Again, Counted, Entry, tokenizer_hash};
pub use self::family::{Average, averages, is_averaged};
pub use self::listed::listing;
pub use self::means::{FamilyMean, means};
pub use self::measure::Measure;
pub(crate) use self::measure::score as mean_score;
pub use self::record::{Answer, Outcome, Record, TooLong, number};
pub use self::summary::{Row, Summary, once_each, summarize, without_amounts};
use crate::error::{EvalError, expect};
use crate::prefix::Prefix;
use crate::progress::{Part, Quiet};
use crate::sample::{Answering, Prompt, Rule, Sample};
use crate::setup::{PromptSize, SetupFor};
use crate::tasks::Task;

mod ask;
mod attend;
mod cell;
mod compare;
mod count;
mod family;
mod listed;
mod means;
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
                None => self.ready(counted.sample(*at, lens.text())?, &counted.entries[*at])?,
            };
            let following = missing.get(turn + 1);
            next = following
                .map(|at| -> Result<_, EvalError> {
                    Ok((*at, self.ready(counted.sample(*at, lens.text())?, &counted.entries[*at])?))
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

    /// The keys of all samples of the task.
    pub fn keys(&self, counted: &Counted) -> Vec<String> {
        counted.entries.iter().map(|entry| self.subject.key(entry, self.options)).collect()
    }

    /// A sample as tokens, cut to the limit where that is asked for. One that is not what was counted is refused: it would be kept under
    /// the key of another.
    fn ready(&self, (sample, mut tokens): (Sample, Vec<u32>), entry: &Entry) -> Result<Ready, EvalError> {
        if Entry::with(self.task, &sample, &tokens).hash != entry.hash {
            return Err(EvalError::Changed { task: self.task.info.name, id: sample.id });
        }
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
        Ok(Ready { sample, tokens, n_cut, is_skipped: over.is_some() && self.options.too_long == TooLong::Skip })
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

/// A sample, ready to be fed.
struct Ready {
    sample: Sample,
    tokens: Vec<u32>,
    /// Tokens that were cut from its middle.
    n_cut: usize,
    is_skipped: bool,
}
