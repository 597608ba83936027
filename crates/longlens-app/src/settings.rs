//! Everything that decides a run besides model and prompt, and what it would mean.

use std::fmt;

use longlens_core::brief;
use longlens_core::lens::{DEFAULT_PREFILL_CHUNK, ModelInfo, Setup};
use longlens_core::memory::CacheSize;
use longlens_core::methods::Method;
use longlens_core::plan::{Capacity, LayerWindows, Plan, Prefill, Warning};
use longlens_core::rope::RopeScaling;
use longlens_core::setting::{Fallback, Setting, SettingError};
use longlens_core::spec::ModelSpec;
use longlens_core::trace::Watch;
use longlens_eval::sampling::{self, Sampling};
use serde::{Deserialize, Serialize};

use crate::problem::Problem;

pub mod params;

/// Everything that decides a run besides model and prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Attention method.
    pub method: Method,
    /// RoPE scaling; the checkpoint's own when absent.
    #[serde(default)]
    pub rope: Option<RopeScaling>,
    /// How the next token is chosen.
    pub sampling: Sampling,
    /// Tokens to generate at most.
    pub max_tokens: usize,
    /// Tokens of a prefill step at most.
    pub prefill_chunk: usize,
    /// What becomes of windows that layers of the model have of their own.
    #[serde(default)]
    pub layer_windows: LayerWindows,
    /// Tokens that the model counts as trained on; what it was opened with when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained_context: Option<usize>,
    /// What a change of method does with the tokens so far.
    pub swap: Swap,
}

/// What a change of method does with the tokens so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Swap {
    /// Runs the prompt again: exact.
    #[default]
    RePrefill,
    /// Keeps the cache: instant, but deeper layers' keys were computed under the method before.
    ReuseKv,
}

/// Settings that can run on a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The method's plan.
    pub plan: Plan,
    /// The scaling with every default written out.
    pub rope: RopeScaling,
    /// What a run would mean.
    pub forecast: Forecast,
}

/// What a run would mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// Tokens of prompt and generated text.
    pub n_tokens: usize,
    /// The longest prompt inside the trained positions.
    pub capacity: Capacity,
    /// Highest relative position used.
    pub highest: f64,
    /// Positions that count as trained under the scaling; nothing where it follows the length.
    pub trained: Option<usize>,
    /// Tokens that the model was trained on.
    pub trained_context: usize,
    /// Bytes of keys, values, queries and what chunks are chosen by, for all layers.
    pub cache_bytes: usize,
    pub weight_bytes: usize,
    /// What is unwise.
    pub warnings: Vec<Warning>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            method: Method::full(),
            rope: None,
            sampling: Sampling::default(),
            max_tokens: 16,
            prefill_chunk: DEFAULT_PREFILL_CHUNK,
            layer_windows: LayerWindows::default(),
            trained_context: None,
            swap: Swap::RePrefill,
        }
    }
}

/// A model is taken as it was opened; the settings decide what it counts as trained on.
impl Settings {
    /// The scaling on a model: the one given, else the checkpoint's own.
    pub fn rope(&self, model: &ModelSpec) -> RopeScaling {
        self.rope.clone().unwrap_or_else(|| model.rope.clone())
    }

    /// The method's plan on a model, or why it is impossible.
    pub fn plan(&self, model: &ModelSpec) -> Result<Plan, SettingError> {
        self.method.plan_with(&model.trained_on(self.trained_context), self.layer_windows)
    }

    /// What a prompt of `n_prompt` tokens would mean, or why these settings are impossible.
    pub fn check(&self, model: &ModelInfo, n_prompt: usize) -> Result<Checked, Problem> {
        let spec = &*model.spec.trained_on(self.trained_context);
        let (n_tokens, Setup { plan, rope, .. }) = (self.n_tokens(n_prompt), self.setup(spec, n_prompt)?);
        let trained = rope.resolve(spec)?.reach();
        let numbers = trained.unwrap_or(usize::MAX >> 8);
        let cache = CacheSize::of(spec, &plan, Prefill { n_tokens: n_prompt }, n_tokens);
        let forecast = Forecast {
            n_tokens,
            capacity: plan.capacity(numbers),
            highest: plan.highest_position(n_tokens),
            trained,
            trained_context: spec.trained_context,
            cache_bytes: (cache.forked(true) + cache.packed_keys) * NUMBER,
            weight_bytes: model.weight_bytes,
            warnings: plan.warnings(n_tokens, trained),
        };
        Ok(Checked { plan, rope, forecast })
    }

    /// Parameters under which the method chooses chunks of a prompt of `n_prompt` tokens, as `name=value`, where as it is set every
    /// query sees every key: those that follow the trained context, as if half of the prompt were that. Nothing where the method
    /// chooses already, or none.
    pub fn choosing(&self, model: &ModelSpec, n_prompt: usize) -> Option<String> {
        let chooses = |plan: &Plan| plan.first_choice(Prefill { n_tokens: n_prompt }) < self.n_tokens(n_prompt);
        let plan = self.plan(model).ok()?;
        if n_prompt == 0 || plan.chunk_len().is_none() || chooses(&plan) {
            return None;
        }
        let trained_context = 1 << (n_prompt / 2).checked_ilog2()?;
        let small = ModelSpec { trained_context, ..model.clone() };
        let setting = self.method.setting()?;
        let follows = setting.info().params.iter().filter(|param| matches!(param.default, Fallback::Trained(..)));
        let values: Vec<_> =
            follows.map(|param| (param.name, Setting::new(setting.info()).value(param.name, &small))).collect();
        let method =
            values.iter().try_fold(self.method.clone(), |method, (name, value)| method.with(name, value).ok())?;
        let chosen = Self { method, ..self.clone() }.plan(model).ok().filter(chooses);
        chosen.map(|_| values.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(","))
    }

    /// How a prompt of `n_prompt` tokens is to be run, recording nothing; or why these settings are impossible.
    pub fn setup(&self, model: &ModelSpec, n_prompt: usize) -> Result<Setup, SettingError> {
        params::text().chain([&params::SWAP]).try_for_each(|param| param.check(&self.get(param)))?;
        self.trained_context.iter().try_for_each(|n| params::TRAINED_CONTEXT.check(&(*n).into()))?;
        let model = &*model.trained_on(self.trained_context);
        let setup = Setup::of(self.plan(model)?, model, n_prompt);
        setup.plan.check_length(self.n_tokens(n_prompt))?;
        let rope = self.rope(model).resolved(model);
        rope.resolve(model)?;
        Ok(Setup { rope, prefill_chunk: self.prefill_chunk, trained_context: self.trained_context, ..setup })
    }

    /// The same for a run that is looked at afterwards: losses are recorded, and queries stay in memory.
    pub fn setup_to_inspect(&self, model: &ModelSpec, n_prompt: usize) -> Result<Setup, SettingError> {
        let watch = Watch { nll: true, ..Watch::default() };
        Ok(Setup { watch, keep_queries: true, ..self.setup(model, n_prompt)? })
    }

    /// Tokens of a prompt of `n_prompt` tokens and of the text after it.
    fn n_tokens(&self, n_prompt: usize) -> usize {
        n_prompt.saturating_add(self.max_tokens).min(MAX_TOKENS)
    }

    /// Method, scaling, sampling and mode in one line; what is as usual is left out.
    pub fn text(&self, model: &ModelSpec) -> String {
        self.told(self.method_text(model), model)
    }

    /// The same with of the method's parameters only those that are not as usual.
    pub fn brief(&self, model: &ModelSpec) -> String {
        let trained = self.trained_context.unwrap_or(model.trained_context);
        self.told(brief::name(&self.method_text(model), trained), model)
    }

    /// The same of settings that stand beside one another, as [`brief::names`] has methods.
    pub fn brief_names(all: &[&Self], model: &ModelSpec) -> Vec<String> {
        let methods: Vec<_> = all.iter().map(|settings| settings.method_text(model)).collect();
        let names = brief::names(&methods, model.trained_context);
        all.iter().zip(names).map(|(settings, method)| settings.told(method, model)).collect()
    }

    /// The method's text form with every parameter.
    fn method_text(&self, model: &ModelSpec) -> String {
        self.method.resolved(&model.trained_on(self.trained_context)).to_string()
    }

    fn told(&self, method: String, model: &ModelSpec) -> String {
        let model = &*model.trained_on(self.trained_context);
        let mut parts = vec![method];
        let rope = self.rope(model);
        if rope.setting().info().name != "none" {
            parts.push(format!("rope={}", rope.resolved(model)));
        }
        parts.extend(self.trained_context.map(|n| format!("{}={n}", params::TRAINED_CONTEXT.name)));
        if self.layer_windows != LayerWindows::Auto && model.has_windows() {
            parts.push(format!("layer_windows={}", self.layer_windows.name()));
        }
        if !self.sampling.is_greedy() {
            let usual = Self::default();
            let shown = |name| name == "seed" || self.sampling.get(name) != usual.sampling.get(name);
            let values = sampling::PARAMS.iter().filter(|param| shown(param.name));
            let values: Vec<_> = values.map(|param| format!("{}={}", param.name, self.get(param))).collect();
            parts.push(values.join(","));
        }
        if self.swap == Swap::ReuseKv {
            parts.push(self.swap.name().to_owned());
        }
        parts.join(" ")
    }
}

/// Forecasts of longer texts would not fit their numbers.
const MAX_TOKENS: usize = 1 << 32;
/// Bytes of a number on the processor.
const NUMBER: usize = 4;

impl Swap {
    /// The name in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::RePrefill => "re-prefill",
            Self::ReuseKv => "reuse-kv",
        }
    }
}

impl fmt::Display for Swap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_that_chooses_nothing_of_a_short_prompt_is_told_what_would_choose() {
        let spec = ModelSpec::tiny(8192);
        let choosing = |method: &str, n_prompt| {
            Settings { method: Method::parse(method).unwrap(), ..Settings::default() }.choosing(&spec, n_prompt)
        };
        assert_eq!(choosing("long_heads", 250).as_deref(), Some("chunk_len=4,attention_len=64"));
        assert_eq!(choosing("long_heads:chunk_len=4,attention_len=64", 250), None, "it chooses already");
        assert_eq!(choosing("long_heads", 20_000), None);
        assert_eq!((choosing("full", 250), choosing("long_heads", 0)), (None, None));
    }

    #[test]
    fn what_stands_beside_one_another_is_told_apart_in_few_words() {
        let spec = ModelSpec::tiny(256);
        let of = |text: &str| Settings { method: Method::parse(text).unwrap(), ..Settings::default() };
        let all = ["self_extend:group_size=3", "self_extend:group_size=5", "full"].map(of);
        let names = Settings::brief_names(&all.each_ref(), &spec);
        assert_eq!(names, ["self_extend:group_size=3", "self_extend:group_size=5", "full"]);
        assert_eq!(of("self_extend").brief(&spec), "self_extend");
        assert!(of("self_extend").text(&spec).starts_with("self_extend:group_size="));
    }
}
