//! Every setting of a run described once: flags, TOML keys, notebook options and fields of the terminal workbench take name,
//! range, default, help and refusal from here.
//!
//! Methods and RoPE scalings are not here: their catalogs in `longlens-core` describe them.

use longlens_core::lens::DEFAULT_PREFILL_CHUNK;
use longlens_core::plan::LayerWindows;
use longlens_core::setting::{Fallback, Kind, Param, SettingError, Value};
use longlens_eval::sampling;

use super::{Settings, Swap};

/// Tokens of a prompt at most: more would fill the memory before the model runs.
pub const MAX_PROMPT: usize = longlens_eval::tasks::MAX_PROMPT;

/// Tokens that are generated at most.
pub static MAX_TOKENS: Param = Param {
    name: "max_tokens",
    alias: "max_new_tokens",
    kind: Kind::Whole(0, MAX_PROMPT as u64),
    default: Fallback::Number(16.0),
    help: "tokens to generate at most",
};

/// Tokens of a prefill step.
pub static PREFILL_CHUNK: Param = Param {
    name: "prefill_chunk",
    alias: "",
    kind: Kind::Count(1),
    default: Fallback::Number(DEFAULT_PREFILL_CHUNK as f64),
    help: "prompt tokens processed at once",
};

/// What becomes of windows that layers of the model have of their own.
pub static LAYER_WINDOWS: Param = Param {
    name: "layer_windows",
    alias: "",
    kind: Kind::Word(LayerWindows::NAMES),
    default: Fallback::Word(LayerWindows::NAMES[0]),
    help: "windows of a model's layers: auto keeps them unless all have one; keep, always; off, no window",
};

/// Tokens that a model counts as trained on.
pub static TRAINED_CONTEXT: Param = Param {
    name: "trained_context",
    alias: "max_position_embeddings",
    kind: Kind::Whole(1, 1 << 31),
    default: Fallback::Word("what its config says"),
    help: "tokens that the model was trained on, where its config says otherwise; 16k is 16384",
};

/// What a change of method does with the cache.
pub static SWAP: Param = Param {
    name: "swap",
    alias: "",
    kind: Kind::Word(&["re-prefill", "reuse-kv"]),
    default: Fallback::Word("re-prefill"),
    help: "re-prefill is exact; reuse-kv is instant, older keys stay as they were",
};

/// What decides the text of a run, in the order in which it is shown.
pub fn text() -> impl Iterator<Item = &'static Param> + Clone {
    std::iter::once(&MAX_TOKENS).chain(&sampling::PARAMS).chain([&PREFILL_CHUNK, &LAYER_WINDOWS])
}

/// Those of [`text`] that stand at the top of a TOML config; the others belong to its table `[sampling]`.
pub const TOP_LEVEL: [&str; 3] = ["seed", "prefill_chunk", "layer_windows"];

/// The setting of this name. Panics where there is none: names come from programs, not from users.
pub fn param(name: &str) -> &'static Param {
    let found = text().chain([&TRAINED_CONTEXT, &SWAP]).find(|param| param.name == name);
    found.unwrap_or_else(|| panic!("no setting is called `{name}`"))
}

/// Values that somebody gave for some of the settings, each accepted by its description.
pub type Given = Vec<(&'static Param, Value)>;

impl Settings {
    /// The value of one of [`text`] or [`SWAP`].
    pub fn get(&self, param: &Param) -> Value {
        match param.name {
            "max_tokens" => self.max_tokens.into(),
            "prefill_chunk" => self.prefill_chunk.into(),
            "layer_windows" => Value::Word(self.layer_windows.name().into()),
            "swap" => Value::Word(self.swap.name().into()),
            name => self.sampling.get(name),
        }
    }

    /// Gives one of [`text`] or [`SWAP`] a value, or says why it cannot have it.
    pub fn set(&mut self, param: &Param, value: &Value) -> Result<(), SettingError> {
        param.check(value)?;
        match param.name {
            "max_tokens" => self.max_tokens = value.number() as usize,
            "prefill_chunk" => self.prefill_chunk = value.number() as usize,
            "layer_windows" => self.layer_windows = LayerWindows::named(&value.to_string()),
            "swap" if value == &Value::Word(Swap::ReuseKv.name().into()) => self.swap = Swap::ReuseKv,
            "swap" => self.swap = Swap::RePrefill,
            name => self.sampling.set(name, value),
        }
        Ok(())
    }

    /// Gives settings their values, later ones over earlier ones.
    pub fn lay_over(&mut self, given: &[(&'static Param, Value)]) -> Result<(), SettingError> {
        given.iter().try_for_each(|(param, value)| self.set(param, value))
    }

    /// The settings of [`text`] that differ from `usual`, with their values.
    pub fn changed(&self, usual: &Self) -> impl Iterator<Item = (&'static Param, Value)> {
        text().map(|param| (param, self.get(param))).filter(|(param, value)| usual.get(param) != *value)
    }
}
