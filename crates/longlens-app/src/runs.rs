//! Runs that are kept: what was asked, what came out, under which name.

use std::sync::Arc;

use longlens_core::spec::ModelSpec;
use longlens_core::trace::RunRecord;
use longlens_eval::generate::{Generated, StopReason};
use serde::{Deserialize, Serialize};

use crate::problem::Problem;
use crate::prompt::{Prompt, PromptSource};
use crate::settings::{Settings, Swap};

/// Number of a run, in the order in which they were asked for.
pub type RunId = u64;

/// What to run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunAsk {
    /// Its number.
    pub id: RunId,
    /// How.
    pub settings: Settings,
    /// Under `reuse-kv`, the settings that computed the cache.
    pub base: Option<Settings>,
    /// On what.
    pub prompt: Arc<Prompt>,
    /// The earliest query that a `reuse-kv` run computes anew; the prompt's last token when absent.
    pub query: Option<usize>,
}

/// A run and what came out of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its number.
    pub id: RunId,
    /// What the user calls it; its text form where that is nothing.
    pub name: Option<String>,
    /// Whether it is kept in comparisons and across starts.
    pub pinned: bool,
    /// Method, scaling, sampling, mode.
    pub settings: Settings,
    /// Under `reuse-kv`, the settings that computed the cache.
    pub base: Option<Settings>,
    /// Where its prompt came from.
    pub source: PromptSource,
    /// `model method rope prompt sampling` in one line.
    pub text: String,
    /// How far it got.
    pub state: RunState,
    /// What was run, from the engine.
    pub record: RunRecord,
    /// Loss of every token from `nll_from` on, in nats.
    pub nll: Vec<f32>,
    /// The first token that has a loss.
    pub nll_from: usize,
    /// Mean loss over the prompt, in nats.
    pub mean_nll: Option<f64>,
    /// What it said.
    pub output: String,
    /// Its tokens.
    pub generated: Vec<u32>,
    /// The text of each of them.
    pub pieces: Vec<String>,
    pub prefill_seconds: Option<f64>,
    /// Tokens a second so far, while text is generated.
    #[serde(skip)]
    pub live_speed: Option<f64>,
    /// How fast the text came.
    pub speed: Option<Speed>,
    /// Whether the answer began with the hidden key; nothing where none was hidden.
    pub found: Option<bool>,
    /// Its prompt, while this program has built it.
    #[serde(skip)]
    pub prompt: Option<Arc<Prompt>>,
}

/// How fast a text came.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Seconds until the first token was chosen.
    pub to_first_token: f64,
    /// Tokens a second of the prefill.
    pub prefill: f64,
    /// Tokens a second after the first.
    pub decode: Option<f64>,
    /// Highest resident memory so far, in bytes.
    pub peak_memory: Option<u64>,
    /// Why it ended.
    pub stop: StopReason,
}

/// How far a run got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Waiting, or in prefill.
    Running,
    /// The prompt is done; text is being generated.
    Generating,
    /// All of it.
    Done,
    /// Stopped by the user or by a newer run.
    Cancelled,
    /// It went wrong.
    Failed(Problem),
}

/// All runs since the program started, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Runs {
    pub list: Vec<Run>,
    next: RunId,
}

/// Runs that are not pinned are forgotten beyond this many.
const KEPT: usize = 100;

impl Run {
    /// Whether another run is of the same prompt: of the same tokens, as far as both are known, whatever they were read from.
    pub fn same_prompt(&self, other: &Self) -> bool {
        match (&self.prompt, &other.prompt) {
            (Some(own), Some(others)) => own.tokens == others.tokens,
            _ => self.source == other.source && self.record.n_prompt == other.record.n_prompt,
        }
    }

    /// A run that was just asked for.
    pub fn new(ask: &RunAsk, model: &str, spec: &ModelSpec) -> Self {
        // the first run after a prompt is computed whole whatever the mode
        let swap = if ask.base.is_some() { ask.settings.swap } else { Swap::RePrefill };
        let shown = Settings { swap, ..ask.settings.clone() };
        let text = format!("{model} {} {}", shown.text(spec), ask.prompt.source);
        Self {
            id: ask.id,
            name: None,
            pinned: false,
            settings: ask.settings.clone(),
            base: ask.base.clone(),
            source: ask.prompt.source.clone(),
            text,
            state: RunState::Running,
            record: RunRecord::default(),
            nll: Vec::new(),
            nll_from: 1,
            mean_nll: None,
            output: String::new(),
            generated: Vec::new(),
            pieces: Vec::new(),
            prefill_seconds: None,
            live_speed: None,
            speed: None,
            found: None,
            prompt: Some(ask.prompt.clone()),
        }
    }

    /// The user's name for it, or its text form.
    pub fn title(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.text)
    }

    /// What to run to have it again; nothing while its prompt is not built.
    pub fn ask(&self, id: RunId) -> Option<RunAsk> {
        let (settings, base) = (self.settings.clone(), self.base.clone());
        Some(RunAsk { id, settings, base, prompt: self.prompt.clone()?, query: None })
    }

    /// Losses of the prompt's tokens alone: those that runs of one prompt share.
    pub fn prompt_nll(&self) -> &[f32] {
        let n_prompt = self.prompt.as_ref().map_or(self.record.n_prompt, |prompt| prompt.tokens.len());
        let n = n_prompt.saturating_sub(self.nll_from);
        &self.nll[..n.min(self.nll.len())]
    }

    /// Mean loss of the prompt's tokens from `from` on, in nats, and how many have one.
    pub fn mean_from(&self, from: usize) -> (Option<f64>, usize) {
        let losses = &self.prompt_nll()[from.saturating_sub(self.nll_from).min(self.prompt_nll().len())..];
        let sum: f64 = losses.iter().map(|loss| f64::from(*loss)).sum();
        ((!losses.is_empty()).then(|| sum / losses.len() as f64), losses.len())
    }

    /// Takes the losses of the prompt.
    pub fn prefilled(&mut self, record: RunRecord, nll: Vec<f32>, nll_from: usize, seconds: f64) {
        let n = nll.len();
        let sum: f64 = nll.iter().map(|loss| f64::from(*loss)).sum();
        self.mean_nll = (n > 0).then(|| sum / n as f64);
        (self.record, self.nll, self.nll_from) = (record, nll, nll_from);
        self.prefill_seconds = Some(seconds);
        self.state = RunState::Generating;
    }

    /// Takes what a finished generation says.
    pub fn finish(&mut self, generated: &Generated) {
        self.output.clone_from(&generated.text);
        self.generated.clone_from(&generated.tokens);
        self.nll.clone_from(&generated.trace.nll);
        self.record = generated.run.clone();
        let first = generated.seconds_to_first_token.zip(generated.prefill_speed());
        self.speed = first.map(|(to_first_token, prefill)| Speed {
            to_first_token,
            prefill,
            decode: generated.decode_speed(),
            peak_memory: generated.trace.peak_memory,
            stop: generated.stop,
        });
        self.state = if generated.stop == StopReason::Cancelled { RunState::Cancelled } else { RunState::Done };
        let answer = self.prompt.as_ref().and_then(|prompt| prompt.needle.as_ref()).map(|needle| &needle.answer);
        // a text that was cut short before the answer's length says nothing yet
        let is_told = |answer: &&Vec<u32>| {
            let ended = matches!(generated.stop, StopReason::Eos | StopReason::StopString);
            !answer.is_empty() && (ended || self.generated.len() >= answer.len())
        };
        self.found = answer.filter(is_told).map(|answer| self.generated.starts_with(answer));
    }
}

impl Runs {
    /// A number that no run had before.
    pub fn next_id(&mut self) -> RunId {
        self.next += 1;
        self.next
    }

    /// Adds a run; of the oldest unpinned ones some may go.
    pub fn push(&mut self, run: Run) {
        self.next = self.next.max(run.id);
        // prompts of other texts are built again when they are needed
        for old in self.list.iter_mut().filter(|old| !old.pinned) {
            let is_same = |prompt: &Arc<Prompt>| run.prompt.as_ref().is_some_and(|new| Arc::ptr_eq(new, prompt));
            old.prompt = old.prompt.take().filter(is_same);
        }
        self.list.push(run);
        if self.list.len() > KEPT
            && let Some(at) = self.list[..self.list.len() - 1].iter().position(|run| !run.pinned)
        {
            self.list.remove(at);
        }
    }

    /// The run of this number.
    pub fn get(&self, id: RunId) -> Option<&Run> {
        self.list.iter().find(|run| run.id == id)
    }

    /// The run of this number, to be changed.
    pub fn get_mut(&mut self, id: RunId) -> Option<&mut Run> {
        self.list.iter_mut().find(|run| run.id == id)
    }

    /// The same without runs that are not pinned.
    #[must_use]
    pub fn only_pinned(&self) -> Self {
        Self { list: self.pinned().cloned().collect(), next: self.next }
    }

    /// Pinned runs, oldest first.
    pub fn pinned(&self) -> impl Iterator<Item = &Run> {
        self.list.iter().filter(|run| run.pinned)
    }
}

/// The first token at which two texts differ; nothing while one is a beginning of the other.
pub fn divergence(a: &[u32], b: &[u32]) -> Option<usize> {
    a.iter().zip(b).position(|(a, b)| a != b)
}
