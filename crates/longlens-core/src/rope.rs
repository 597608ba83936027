//! RoPE frequencies and the scalings that change them. A scaling touches frequencies only, so it composes with every method.
//!
//! RoPE: Su et al., 2021, arXiv:2104.09864. A pair `(x[m], x[m + d/2])` rotates by `position * inv_freq[m]`.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::positions::{PosMap, Prefill};
use crate::ropes;
pub use crate::ropes::SCALINGS;
use crate::setting::{Setting, SettingError, Value};
use crate::spec::ModelSpec;

/// A RoPE scaling with its parameters; text form `yarn:factor=8`.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeScaling(Setting);

/// Rotation frequencies of a model under a scaling, ready to use.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    dim: usize,
    rule: Rule,
    /// Longest context whose relative positions count as trained under this scaling.
    reach: Option<usize>,
}

#[derive(Debug, Clone, PartialEq)]
enum Rule {
    Fixed { inv_freq: Vec<f64>, amplitude: f64 },
    Dynamic { base: f64, factor: f64, trained: f64, rerotate: bool },
    Switched { short: Vec<f64>, long: Vec<f64>, original: usize, amplitude: f64, rerotate: bool },
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
    /// Sines of the same angles, as long as `cos`.
    pub sin: Vec<f32>,
}

impl RopeScaling {
    /// The trained frequencies as they are.
    pub fn none() -> Self {
        Self(Setting::new(SCALINGS[0]))
    }

    /// Reads the text form, as `yarn:factor=8`.
    pub fn parse(text: &str) -> Result<Self, SettingError> {
        let text = text.trim();
        Setting::parse(text, "RoPE scaling", &SCALINGS).map(Self)
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
        ropes::follows_length(&self.0)
    }

    /// The frequencies of `model` under this scaling.
    pub fn resolve(&self, model: &ModelSpec) -> Result<Rope, SettingError> {
        ropes::rope(&self.0, model, *self == model.rope)
    }
}

impl Rope {
    /// The frequencies of a base as they are; `dim` dimensions of a head rotate.
    pub fn plain(base: f64, dim: usize) -> Self {
        Self { dim, rule: Rule::Fixed { inv_freq: inverse_frequencies(base, dim), amplitude: 1.0 }, reach: None }
    }

    /// No rotation at all, whatever the position.
    pub fn still(dim: usize) -> Self {
        Self { dim, rule: Rule::Fixed { inv_freq: vec![0.0; dim / 2], amplitude: 1.0 }, reach: None }
    }

    /// The same frequencies at every length, with `amplitude` on cosines and sines; `reach` tokens count as trained.
    pub(crate) fn fixed(inv_freq: Vec<f64>, amplitude: f64, reach: usize) -> Self {
        Self { dim: 2 * inv_freq.len(), rule: Rule::Fixed { inv_freq, amplitude }, reach: Some(reach) }
    }

    /// A base that grows beyond `trained` tokens.
    pub(crate) fn dynamic(model: &ModelSpec, factor: f64, trained: f64, rerotate: bool) -> Self {
        let base = model.rope_theta;
        Self { dim: model.rotary_dim, rule: Rule::Dynamic { base, factor, trained, rerotate }, reach: None }
    }

    /// The first frequencies up to `original` tokens, the second past them.
    pub(crate) fn switched([short, long]: [Vec<f64>; 2], original: usize, amplitude: f64, rerotate: bool) -> Self {
        let dim = 2 * short.len();
        Self { dim, rule: Rule::Switched { short, long, original, amplitude, rerotate }, reach: None }
    }

    /// Angles per position when the sequence known to the model has `seen` tokens.
    pub fn frequencies(&self, seen: usize) -> Frequencies {
        match &self.rule {
            Rule::Fixed { inv_freq, amplitude } => Frequencies { inv_freq: inv_freq.clone(), amplitude: *amplitude },
            Rule::Dynamic { base, factor, trained, .. } => {
                let length = (seen as f64).max(*trained);
                let growth = (factor * length / trained - (factor - 1.0)).powf(ntk_exponent(self.dim));
                Frequencies { inv_freq: inverse_frequencies(base * growth, self.dim), amplitude: 1.0 }
            }
            Rule::Switched { short, long, original, amplitude, .. } => {
                let inv_freq = if seen > *original { long } else { short };
                Frequencies { inv_freq: inv_freq.clone(), amplitude: *amplitude }
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

    /// Whether keys rotate again when the frequencies change (`dynamic:rerotate=true`).
    pub fn rerotates(&self) -> bool {
        matches!(self.rule, Rule::Dynamic { rerotate: true, .. } | Rule::Switched { rerotate: true, .. })
    }

    /// The same with all keys rotated by the newest frequencies, where these follow the length.
    #[must_use]
    pub fn rerotating(mut self) -> Self {
        if let Rule::Dynamic { rerotate, .. } | Rule::Switched { rerotate, .. } = &mut self.rule {
            *rerotate = true;
        }
        self
    }

    /// Whether the frequencies depend on the length seen.
    pub fn is_dynamic(&self) -> bool {
        matches!(self.rule, Rule::Dynamic { .. } | Rule::Switched { .. })
    }

    /// Cosines and sines of `tokens` placed by `map`, each times the scaling's amplitude and `amplitude(token)`.
    /// `now` is the length seen by the newest token of this call; it matters to re-rotating keys alone.
    pub fn table(
        &self,
        map: &PosMap,
        tokens: Range<usize>,
        prompt: Prefill,
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
pub(crate) fn inverse_frequencies(base: f64, dim: usize) -> Vec<f64> {
    (0..dim / 2).map(|m| base.powf(-2.0 * m as f64 / dim as f64)).collect()
}

/// The power of a factor that the base is multiplied by for NTK-aware scaling, `d / (d - 2)`.
pub(crate) fn ntk_exponent(dim: usize) -> f64 {
    dim as f64 / (dim as f64 - 2.0).max(1.0)
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
        Setting::deserialize_from(deserializer, "RoPE scaling", &SCALINGS).map(Self)
    }
}
