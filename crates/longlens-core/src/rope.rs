//! RoPE frequencies and the scalings that change them. A scaling touches frequencies only, so it composes with every method.
//!
//! RoPE: Su et al., 2021, arXiv:2104.09864. A pair `(x[m], x[m + d/2])` rotates by `position * inv_freq[m]`.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::positions::{PosMap, Prefill};
use crate::ropes;
pub use crate::ropes::SCALINGS;
use crate::setting::{Forms, Setting, SettingError, Value};
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
    /// What leads from row to row, if rows compose.
    pub steps: Option<Steps>,
}

/// Rows that compose: with `R(a)` for the row at position `a` and `S(n)` for `n` steps on, `R(a) = S(a - b) R(b)`. That takes one set
/// of frequencies and one amplitude for all rows, and whole positions.
#[derive(Debug, Clone, PartialEq)]
pub struct Steps {
    /// The position of every row.
    pub positions: Vec<i32>,
    /// Angle of a step of each rotated pair.
    pub inv_freq: Vec<f64>,
}

impl Steps {
    /// Cosines and sines of `0 .. n` steps, without amplitude, each `[n, rotary_dim / 2]`.
    pub fn table(&self, n: usize) -> (Vec<f32>, Vec<f32>) {
        let angles = (0..n).flat_map(|steps| self.inv_freq.iter().map(move |frequency| steps as f64 * frequency));
        angles.map(|angle| (angle.cos() as f32, angle.sin() as f32)).unzip()
    }
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

    /// The same scaling with every default written out, the context before scaling as well.
    #[must_use]
    pub fn resolved(&self, model: &ModelSpec) -> Self {
        let mut setting = self.0.resolved(model);
        if setting.info().params.iter().any(|param| param.name == "original")
            && setting.number("original", model).is_none()
        {
            let original = Value::Number(model.original_context as f64);
            setting.set("original", &original).expect("a context is a count");
        }
        Self(setting)
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
        ropes::rope(&self.0, model, self.resolved(model) == model.rope.resolved(model))
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
        let room = tokens.len() * half;
        let (mut cos, mut sin) = (Vec::with_capacity(room), Vec::with_capacity(room));
        let seen = |token: usize| if self.rerotates() { now } else { prompt.seen(token) };
        let mut frequencies = self.frequencies(seen(tokens.start));
        let first = (frequencies.clone(), amplitude(tokens.start));
        let mut positions = Some(Vec::with_capacity(tokens.len())); // as long as rows compose
        let mut last: Option<(usize, f64, f64)> = None; // token group, position and amplitude of the row before
        for token in tokens {
            let moment = if self.is_dynamic() { seen(token) } else { 0 };
            if self.is_dynamic() && last.is_some_and(|(before, ..)| before != moment) {
                frequencies = self.frequencies(moment);
                positions = positions.filter(|_| frequencies == first.0);
            }
            let (pos, of_token) = (map.at(token), amplitude(token));
            let amplitude = frequencies.amplitude * of_token;
            let whole = pos as i32;
            let is_whole = f64::from(whole).to_bits() == pos.to_bits();
            positions = positions.filter(|_| is_whole && of_token.to_bits() == first.1.to_bits());
            if let Some(positions) = &mut positions {
                positions.push(whole);
            }
            if last == Some((moment, pos, amplitude)) {
                // grouped positions repeat: copy the row instead of computing it again
                cos.extend_from_within(cos.len() - half..);
                sin.extend_from_within(sin.len() - half..);
            } else {
                for frequency in &frequencies.inv_freq {
                    let (y, x) = (pos * frequency).sin_cos();
                    cos.push((x * amplitude) as f32);
                    sin.push((y * amplitude) as f32);
                }
            }
            last = Some((moment, pos, amplitude));
        }
        let steps = positions.map(|positions| Steps { positions, inv_freq: first.0.inv_freq });
        RotaryTable { cos, sin, steps }
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
        self.0.serialize_table(serializer, None)
    }
}

impl<'de> Deserialize<'de> for RopeScaling {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let forms = Forms {
            what: "RoPE scaling",
            catalog: &SCALINGS,
            text: Self::parse,
            beside: None,
            table: |setting, _| Ok(Self(setting)),
        };
        forms.deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMPT: Prefill = Prefill { n_tokens: 300 };

    /// Asserts that every row is every 17th row, turned on by the steps between their positions, where the table says so.
    fn composes(table: &RotaryTable, half: usize) -> bool {
        let Some(steps) = &table.steps else { return false };
        assert_eq!(steps.positions.len() * half, table.cos.len());
        for (a, position) in steps.positions.iter().enumerate() {
            for (b, base) in steps.positions.iter().enumerate().step_by(17) {
                for (m, frequency) in steps.inv_freq.iter().enumerate() {
                    let (sin, cos) = (f64::from(position - base) * frequency).sin_cos();
                    let (x, y) = (f64::from(table.cos[b * half + m]), f64::from(table.sin[b * half + m]));
                    let (off_cos, off_sin) = (
                        x * cos - y * sin - f64::from(table.cos[a * half + m]),
                        y * cos + x * sin - f64::from(table.sin[a * half + m]),
                    );
                    assert!(off_cos.abs() < 1e-6 && off_sin.abs() < 1e-6, "rows {a} and {b}: {off_cos:e} {off_sin:e}");
                }
            }
        }
        true
    }

    #[test]
    fn rows_compose_wherever_a_table_says_so() {
        let spec = ModelSpec::tiny(256);
        let half = spec.rotary_dim / 2;
        let whole = PosMap::identity().modulo(40).divide(3).shift(-5.0).cap(9.0);
        for scaling in ["none", "linear:factor=4", "ntk:factor=4", "yarn:factor=8", "dynamic:factor=2"] {
            let rope = RopeScaling::parse(scaling).unwrap().resolve(&spec).unwrap();
            let of = |rope: &Rope, map: &PosMap| rope.table(map, 0..400, PROMPT, 400, |_| 1.25);
            for map in [PosMap::identity(), whole.clone(), PosMap::written([7.0, -3.0, 1e6, 7.0])] {
                let is_kept = scaling != "dynamic:factor=2";
                assert_eq!(composes(&of(&rope, &map), half), is_kept, "{scaling}, {map:?}");
                assert!(composes(&of(&rope.clone().rerotating(), &map), half), "{scaling}, {map:?}");
            }
            assert!(!composes(&of(&rope, &PosMap::identity().shift(0.5)), half), "a fractional position");
            let amplitude = |token| if token < 350 { 1.0 } else { 1.1 };
            assert!(!composes(&rope.table(&whole, 0..400, PROMPT, 400, amplitude), half), "an amplitude that changes");
        }
    }

    #[test]
    fn steps_turn_by_their_number() {
        let steps = Steps { positions: vec![0], inv_freq: vec![1.0, 0.5] };
        let (cos, sin) = steps.table(3);
        let expected = [0.0f64, 0.0, 1.0, 0.5, 2.0, 1.0];
        assert_eq!(cos, expected.map(|angle| angle.cos() as f32));
        assert_eq!(sin, expected.map(|angle| angle.sin() as f32));
    }
}
