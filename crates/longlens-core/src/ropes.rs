//! The catalog of RoPE scalings: what the command line, configs, help and completion offer.

use std::sync::LazyLock;

use crate::rope::{Rope, inverse_frequencies};
use crate::setting::{Fallback, Info, Kind, Param, Setting, SettingError};
use crate::spec::ModelSpec;

mod dynamic;
mod linear;
mod llama3;
mod longrope;
mod none;
mod ntk;
mod yarn;

/// A scaling's description and the function that makes its frequencies.
#[derive(Debug)]
pub(crate) struct ScalingInfo {
    /// Name, paper, parameters.
    pub info: Info,
    /// Checks the parameters against a model and makes the frequencies.
    pub rope: fn(&Given<'_>) -> Result<Rope, SettingError>,
    /// Whether the frequencies follow the length seen.
    pub follows_length: bool,
}

/// Every scaling, that of no scaling first. A new one is a file in `ropes/` and a line here.
static ALL: &[&ScalingInfo] = &[
    &none::SCALING,
    &linear::SCALING,
    &ntk::SCALING,
    &dynamic::SCALING,
    &yarn::SCALING,
    &llama3::SCALING,
    &longrope::SCALING,
];

/// Every RoPE scaling, as a plain description.
pub static SCALINGS: LazyLock<Vec<&Info>> = LazyLock::new(|| ALL.iter().map(|scaling| &scaling.info).collect());

/// The frequencies of a scaling on a model; `native` where it is the checkpoint's own.
pub(crate) fn rope(setting: &Setting, model: &ModelSpec, native: bool) -> Result<Rope, SettingError> {
    (info(setting).rope)(&Given { setting, model, native })
}

/// Whether a scaling's frequencies follow the length seen.
pub(crate) fn follows_length(setting: &Setting) -> bool {
    info(setting).follows_length
}

/// The entry of the catalog that a setting is of.
fn info(setting: &Setting) -> &'static ScalingInfo {
    let scaling = ALL.iter().find(|scaling| std::ptr::eq(&raw const scaling.info, setting.info()));
    scaling.expect("settings come from the catalog")
}

/// A scaling's parameters on a model.
pub(crate) struct Given<'a> {
    pub setting: &'a Setting,
    pub model: &'a ModelSpec,
    /// Whether the scaling is the checkpoint's own, under which it was trained.
    pub native: bool,
}

impl Given<'_> {
    /// A parameter, or this default where it is a word.
    fn number(&self, name: &str, default: f64) -> f64 {
        self.setting.number(name, self.model).unwrap_or(default)
    }

    /// The trained context before scaling.
    fn original(&self, default: usize) -> usize {
        self.setting.number("original", self.model).map_or(default, |n| n as usize)
    }

    /// The frequencies without scaling.
    fn plain(&self) -> Vec<f64> {
        inverse_frequencies(self.model.rope_theta, self.model.rotary_dim)
    }

    /// The longest context that counts as trained: what the checkpoint says of its own scaling, else `factor` times `original`.
    fn stretched(&self, original: usize, factor: f64) -> usize {
        if self.native { self.model.trained_context } else { (original as f64 * factor) as usize }
    }
}

const FACTOR: Param = Param {
    name: "factor",
    alias: "factor",
    kind: Kind::Real(1.0),
    default: Fallback::Number(8.0),
    help: "how many times longer than trained",
};

const ORIGINAL: Param = Param {
    name: "original",
    alias: "original_max_position_embeddings",
    kind: Kind::Count(1),
    default: Fallback::Word("trained context"),
    help: "trained context before scaling",
};
