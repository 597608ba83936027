//! RoPE frequencies and the scalings that change them. A scaling touches frequencies only, so it composes with every method.
//!
//! RoPE: Su et al., 2021, arXiv:2104.09864. A pair `(x[m], x[m + d/2])` turns by `position * inv_freq[m]`.

use std::f64::consts::PI;
use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::plan::{PosMap, Prompt};
use crate::setting::{Fallback, Info, Kind, Param, Setting, SettingError, Value};
use crate::spec::ModelSpec;

/// A RoPE scaling with its parameters; text form `yarn:factor=8`.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeScaling(Setting);

/// Rotation frequencies of a model under a scaling, ready to use.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    base: f64,
    dim: usize,
    rule: Rule,
    /// Longest context whose relative positions count as trained under this scaling.
    reach: Option<usize>,
}

#[derive(Debug, Clone, PartialEq)]
enum Rule {
    Fixed { inv_freq: Vec<f64>, amplitude: f64 },
    Dynamic { factor: f64, trained: f64, rerotate: bool },
}

/// How positions become angles at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Frequencies {
    /// Angle per position of each rotated pair.
    pub inv_freq: Vec<f64>,
    /// Factor on cosine and sine, of queries and of keys.
    pub amplitude: f64,
}

/// Cosines and sines of a range of tokens, row-major `[n_tokens, rotary_dim / 2]`.
#[derive(Debug, Clone, PartialEq)]
pub struct RotaryTable {
    /// Cosines.
    pub cos: Vec<f32>,
    /// Sines.
    pub sin: Vec<f32>,
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

static NONE: Info = Info {
    name: "none",
    title: "RoPE",
    source: "Su et al., 2021, arXiv:2104.09864",
    summary: "the trained frequencies as they are",
    params: &[],
};

static LINEAR: Info = Info {
    name: "linear",
    title: "Position interpolation",
    source: "Chen et al., 2023, arXiv:2306.15595",
    summary: "positions divided by the factor",
    params: &[FACTOR],
};

static NTK: Info = Info {
    name: "ntk",
    title: "NTK-aware scaling",
    source: "bloc97, 2023; Peng et al., 2023, arXiv:2309.00071, section 3.1",
    summary: "base multiplied by factor^(d/(d-2)) at every length",
    params: &[FACTOR],
};

static DYNAMIC: Info = Info {
    name: "dynamic",
    title: "Dynamic NTK",
    source: "emozilla, 2023; as in Hugging Face transformers",
    summary: "base grows with the length seen; a key keeps the base of the moment it was added (long_heads turns keys afresh)",
    params: &[
        Param { default: Fallback::Number(1.0), ..FACTOR },
        ORIGINAL,
        Param {
            name: "rerotate",
            alias: "",
            kind: Kind::Word(&["false", "true"]),
            default: Fallback::Word("false"),
            help: "turn all keys with the newest base instead",
        },
    ],
};

static YARN: Info = Info {
    name: "yarn",
    title: "YaRN",
    source: "Peng et al., 2023, arXiv:2309.00071",
    summary: "interpolates slow pairs, keeps fast ones, sharpens the scores",
    params: &[
        FACTOR,
        ORIGINAL,
        Param {
            name: "beta_fast",
            alias: "beta_fast",
            kind: Kind::Real(0.0),
            default: Fallback::Number(32.0),
            help: "turns over the trained context above which a pair is kept",
        },
        Param {
            name: "beta_slow",
            alias: "beta_slow",
            kind: Kind::Real(0.0),
            default: Fallback::Number(1.0),
            help: "turns below which a pair is interpolated",
        },
        Param {
            name: "attention_factor",
            alias: "attention_factor",
            kind: Kind::Real(0.0),
            default: Fallback::Word("paper"),
            help: "factor on cosine and sine; the paper's is 0.1 ln(factor) + 1",
        },
        Param {
            name: "truncate",
            alias: "",
            kind: Kind::Word(&["false", "true"]),
            default: Fallback::Word("true"),
            help: "whether the bounds between kept and interpolated pairs are rounded outwards; the paper rounds",
        },
    ],
};

static LLAMA3: Info = Info {
    name: "llama3",
    title: "Llama 3.1 scaling",
    source: "Grattafiori et al., 2024, arXiv:2407.21783; as in Hugging Face transformers",
    summary: "divides slow pairs by the factor, blends the middle ones",
    params: &[
        FACTOR,
        Param {
            name: "low_freq_factor",
            alias: "low_freq_factor",
            kind: Kind::Real(0.0),
            default: Fallback::Number(1.0),
            help: "wavelengths above original / this are divided",
        },
        Param {
            name: "high_freq_factor",
            alias: "high_freq_factor",
            kind: Kind::Real(0.0),
            default: Fallback::Number(4.0),
            help: "wavelengths below original / this are kept",
        },
        ORIGINAL,
    ],
};

/// Every RoPE scaling.
pub static SCALINGS: &[&Info] = &[&NONE, &LINEAR, &NTK, &DYNAMIC, &YARN, &LLAMA3];

impl RopeScaling {
    /// The trained frequencies as they are.
    pub fn none() -> Self {
        Self(Setting::new(&NONE))
    }

    /// Reads the text form, as `yarn:factor=8`.
    pub fn parse(text: &str) -> Result<Self, SettingError> {
        let text = text.trim();
        Setting::parse(text, "RoPE scaling", SCALINGS).map(Self)
    }

    /// Name, parameters and values.
    pub fn setting(&self) -> &Setting {
        &self.0
    }

    /// The same scaling with every default written out.
    #[must_use]
    pub fn resolved(&self, model: &ModelSpec) -> Self {
        Self(self.0.resolved(model))
    }

    /// The same scaling with one parameter given.
    pub fn with(mut self, name: &str, value: &Value) -> Result<Self, SettingError> {
        self.0.set(name, value)?;
        Ok(self)
    }

    /// Whether frequencies follow the length seen.
    pub fn follows_length(&self) -> bool {
        self.0.info().name == DYNAMIC.name
    }

    /// The frequencies of `model` under this scaling.
    pub fn resolve(&self, model: &ModelSpec) -> Result<Rope, SettingError> {
        let (base, dim) = (model.rope_theta, model.rotary_dim);
        let plain = inverse_frequencies(base, dim);
        let number = |name: &str| self.0.number(name, model);
        let has_factor = self.0.info().params.iter().any(|param| param.name == "factor");
        let factor = if has_factor { number("factor").unwrap_or(1.0) } else { 1.0 };
        let native = *self == model.rope;
        let original = |default: usize| number("original").map_or(default, |n| n as usize);
        let stretched =
            |original: usize| Some(if native { model.trained_context } else { (original as f64 * factor) as usize });
        let fixed = |inv_freq, amplitude| Rule::Fixed { inv_freq, amplitude };
        let (rule, reach) = match self.0.info().name {
            "none" => (fixed(plain, 1.0), Some(if native { model.trained_context } else { model.original_context })),
            "linear" => (fixed(plain.iter().map(|f| f / factor).collect(), 1.0), stretched(model.original_context)),
            "ntk" => {
                let scaled = base * ntk_growth(factor, dim);
                (fixed(inverse_frequencies(scaled, dim), 1.0), stretched(model.original_context))
            }
            "dynamic" => {
                let trained = original(if native { model.trained_context } else { model.original_context }) as f64;
                let rerotate = self.0.is("rerotate", "true", model);
                (Rule::Dynamic { factor, trained, rerotate }, None)
            }
            "yarn" => {
                let original = original(model.original_context);
                let (fast, slow) = (number("beta_fast").unwrap_or(32.0), number("beta_slow").unwrap_or(1.0));
                if slow >= fast {
                    return Err(SettingError::Impossible {
                        owner: "yarn",
                        inequality: format!("beta_slow < beta_fast ({slow} < {fast})"),
                        nearest: format!("set beta_slow below {fast}, or beta_fast above {slow}"),
                    });
                }
                let amplitude = number("attention_factor").unwrap_or(0.1 * factor.ln() + 1.0);
                let rounded = !self.0.is("truncate", "false", model);
                let inv_freq = yarn(&plain, base, factor, original as f64, [fast, slow], rounded);
                (fixed(inv_freq, amplitude), stretched(original))
            }
            "llama3" => {
                let original = original(model.original_context);
                let (low, high) = (number("low_freq_factor").unwrap_or(1.0), number("high_freq_factor").unwrap_or(4.0));
                if low >= high {
                    return Err(SettingError::Impossible {
                        owner: "llama3",
                        inequality: format!("low_freq_factor < high_freq_factor ({low} < {high})"),
                        nearest: format!("set low_freq_factor below {high}"),
                    });
                }
                (fixed(llama3(&plain, factor, original as f64, low, high), 1.0), stretched(original))
            }
            other => unreachable!("{other} is not in the catalog"),
        };
        Ok(Rope { base, dim, rule, reach })
    }
}

impl Rope {
    /// The frequencies of a base as they are; `dim` dimensions of a head rotate.
    pub fn plain(base: f64, dim: usize) -> Self {
        Self { base, dim, rule: Rule::Fixed { inv_freq: inverse_frequencies(base, dim), amplitude: 1.0 }, reach: None }
    }

    /// No rotation at all, whatever the position.
    pub fn still(dim: usize) -> Self {
        Self { base: 1.0, dim, rule: Rule::Fixed { inv_freq: vec![0.0; dim / 2], amplitude: 1.0 }, reach: None }
    }

    /// Angles per position when the sequence known to the model has `seen` tokens.
    pub fn frequencies(&self, seen: usize) -> Frequencies {
        match &self.rule {
            Rule::Fixed { inv_freq, amplitude } => Frequencies { inv_freq: inv_freq.clone(), amplitude: *amplitude },
            Rule::Dynamic { factor, trained, .. } => {
                let length = (seen as f64).max(*trained);
                let growth = (factor * length / trained - (factor - 1.0)).powf(exponent(self.dim));
                Frequencies { inv_freq: inverse_frequencies(self.base * growth, self.dim), amplitude: 1.0 }
            }
        }
    }

    /// Rotated dimensions of a head.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Longest context whose relative positions count as trained; `None` when the scaling follows the length.
    pub fn reach(&self) -> Option<usize> {
        self.reach
    }

    /// Whether keys turn again when the base changes (`dynamic:rerotate=true`).
    pub fn rerotates(&self) -> bool {
        matches!(self.rule, Rule::Dynamic { rerotate: true, .. })
    }

    /// The same with all keys turned by the newest base, where the base follows the length.
    #[must_use]
    pub fn rerotating(mut self) -> Self {
        if let Rule::Dynamic { rerotate, .. } = &mut self.rule {
            *rerotate = true;
        }
        self
    }

    /// Whether the base depends on the length seen.
    pub fn is_dynamic(&self) -> bool {
        matches!(self.rule, Rule::Dynamic { .. })
    }

    /// Cosines and sines of `tokens` placed by `map`, each times the scaling's amplitude and `amplitude(token)`.
    /// `now` is the length seen by the newest token of this call; it matters to re-rotating keys alone.
    pub fn table(
        &self,
        map: &PosMap,
        tokens: Range<usize>,
        prompt: Prompt,
        now: usize,
        amplitude: impl Fn(usize) -> f64,
    ) -> RotaryTable {
        let half = self.dim / 2;
        let mut table =
            RotaryTable { cos: Vec::with_capacity(tokens.len() * half), sin: Vec::with_capacity(tokens.len() * half) };
        let seen = |token: usize| if self.rerotates() { now } else { prompt.seen(token) };
        let mut frequencies = self.frequencies(seen(tokens.start));
        let mut last: Option<(usize, f64, f64)> = None; // token group, position and amplitude of the row before
        for token in tokens {
            let moment = if self.is_dynamic() { seen(token) } else { 0 };
            if self.is_dynamic() && last.is_some_and(|(before, ..)| before != moment) {
                frequencies = self.frequencies(moment);
            }
            let (pos, amplitude) = (map.at(token), frequencies.amplitude * amplitude(token));
            if last == Some((moment, pos, amplitude)) {
                // grouped positions repeat: copy the row instead of computing it again
                table.cos.extend_from_within(table.cos.len() - half..);
                table.sin.extend_from_within(table.sin.len() - half..);
            } else {
                for frequency in &frequencies.inv_freq {
                    let (sin, cos) = (pos * frequency).sin_cos();
                    table.cos.push((cos * amplitude) as f32);
                    table.sin.push((sin * amplitude) as f32);
                }
            }
            last = Some((moment, pos, amplitude));
        }
        table
    }
}

/// `theta_m = base^(-2m/d)`.
fn inverse_frequencies(base: f64, dim: usize) -> Vec<f64> {
    (0..dim / 2).map(|m| base.powf(-2.0 * m as f64 / dim as f64)).collect()
}

fn exponent(dim: usize) -> f64 {
    dim as f64 / (dim as f64 - 2.0).max(1.0)
}

fn ntk_growth(factor: f64, dim: usize) -> f64 {
    factor.powf(exponent(dim))
}

/// arXiv:2309.00071, section 3.2: a ramp over pairs between interpolation and no change. Its bounds are pairs that make so
/// many turns over the trained context; the authors round them outwards.
fn yarn(plain: &[f64], base: f64, factor: f64, original: f64, turns: [f64; 2], rounded: bool) -> Vec<f64> {
    let dim = 2.0 * plain.len() as f64;
    let [fast, slow] = turns.map(|turns| dim * (original / (2.0 * PI * turns)).ln() / (2.0 * base.ln()));
    let (low, high) = if rounded { (fast.floor(), slow.ceil()) } else { (fast, slow) };
    let (low, mut high) = (low.max(0.0), high.min(dim - 1.0));
    if (high - low).abs() < f64::EPSILON {
        high += 0.001;
    }
    plain
        .iter()
        .enumerate()
        .map(|(m, theta)| {
            let ramp = ((m as f64 - low) / (high - low)).clamp(0.0, 1.0);
            ramp * theta / factor + (1.0 - ramp) * theta
        })
        .collect()
}

fn llama3(plain: &[f64], factor: f64, original: f64, low: f64, high: f64) -> Vec<f64> {
    plain
        .iter()
        .map(|theta| {
            let wavelength = 2.0 * PI / theta;
            let smooth = ((original / wavelength - low) / (high - low)).clamp(0.0, 1.0);
            (1.0 - smooth) * theta / factor + smooth * theta
        })
        .collect()
}

impl fmt::Display for RopeScaling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for RopeScaling {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_table(serializer)
    }
}

impl<'de> Deserialize<'de> for RopeScaling {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Setting::deserialize_from(deserializer, "RoPE scaling", SCALINGS).map(Self)
    }
}
