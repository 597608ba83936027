//! Rotary embeddings of a GGUF file: base, scaling, and the tensors that hold factors of frequencies.
//!
//! Converters write `llama3` scaling as one factor per pair of dimensions, by which frequencies are divided, and leave out the
//! four numbers that it was made of. They are found again: any that give the same factors mean the same.

use std::f64::consts::TAU;

use serde_json::{Map, Value as Json, json};

use super::config::Draft;
use crate::error::{OpenError, WeightProblem};

pub(crate) const FREQS: &str = "rope_freqs.weight";
pub(crate) const LONG: &str = "rope_factors_long.weight";
pub(crate) const SHORT: &str = "rope_factors_short.weight";
/// Tensors that the config stands for.
pub(super) const TENSORS: &[&str] = &[FREQS, LONG, SHORT];

/// Sets `rope_theta`, `partial_rotary_factor`, and `rope_scaling` with what belongs to it.
pub(super) fn fields(draft: &mut Draft<'_>, bytes: &[u8]) -> Result<(), OpenError> {
    let theta = draft.real("rope.freq_base")?.unwrap_or(10_000.0);
    draft.set("rope_theta", theta);
    let head_dim = draft.head_dim()?;
    let rotary = draft.whole("rope.dimension_count")?.unwrap_or(head_dim);
    if rotary != head_dim {
        draft.set("partial_rotary_factor", rotary as f64 / head_dim.max(1) as f64);
    }
    let original = draft.whole("rope.scaling.original_context_length")?;
    if let (Some(long), Some(short)) = (factors(draft, bytes, LONG)?, factors(draft, bytes, SHORT)?) {
        return longrope(draft, original, &long, &short);
    }
    if let Some(factors) = factors(draft, bytes, FREQS)? {
        return llama3(draft, theta, original, &factors);
    }
    let key = draft.key("rope.scaling.type");
    let old_factor = draft.real("rope.scale_linear")?.filter(|factor| !is_one(*factor));
    let kind = draft.metadata.text(&key)?.unwrap_or(if old_factor.is_some() { "linear" } else { "none" });
    let factor = draft.real("rope.scaling.factor")?.or(old_factor);
    let mut scaling = Map::new();
    let mut set = |name: &str, value: Json| scaling.insert(name.into(), value);
    match kind {
        "none" => return Ok(()),
        "linear" if factor.is_none_or(is_one) => return Ok(()),
        "linear" | "yarn" => {
            set("rope_type", kind.into());
            factor.map(|factor| set("factor", factor.into()));
            original.map(|original| set("original_max_position_embeddings", original.into()));
        }
        _ => return Err(draft.metadata.unsupported(&key, "scalings read: none, linear, yarn, longrope")),
    }
    if kind == "yarn" {
        for (name, field) in
            [("beta_fast", "rope.scaling.yarn_beta_fast"), ("beta_slow", "rope.scaling.yarn_beta_slow")]
        {
            if let Some(value) = draft.real(field)? {
                scaling.insert(name.into(), value.into());
            }
        }
    }
    draft.set("rope_scaling", scaling);
    Ok(())
}

/// A factor that changes nothing.
fn is_one(factor: f64) -> bool {
    factor.to_bits() == 1.0f64.to_bits()
}

/// The numbers of a small tensor of factors, if it is there.
fn factors(draft: &Draft<'_>, bytes: &[u8], name: &str) -> Result<Option<Vec<f32>>, OpenError> {
    const F32: u32 = 0;
    let Some(tensor) = draft.gguf.tensor(name) else { return Ok(None) };
    let refuse =
        |problem: WeightProblem| OpenError::Weights { file: draft.metadata.file().into(), problems: vec![problem] };
    if tensor.kind != F32 {
        let dtype = format!("type {}", tensor.kind);
        return Err(refuse(WeightProblem::UnsupportedDtype { name: name.into(), dtype }));
    }
    let rotary = draft.whole("rope.dimension_count")?.map_or_else(|| draft.head_dim(), Ok)?;
    let n_pairs = usize::try_from(rotary / 2).unwrap_or(usize::MAX);
    if tensor.shape != [n_pairs] {
        let (expected, found) = (vec![n_pairs], tensor.shape.clone());
        return Err(refuse(WeightProblem::WrongShape { name: name.into(), expected, found }));
    }
    let end = tensor.start.saturating_add(n_pairs.saturating_mul(4));
    let Some(bytes) = bytes.get(tensor.start..end) else {
        return Err(super::damaged(draft.metadata.file(), format!("is cut short: `{name}` ends at byte {end}")));
    };
    let factors: Vec<f32> = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    if let Some(at) = factors.iter().position(|factor| !(factor.is_finite() && *factor > 0.0)) {
        let (value, count) = (factors[at], 1);
        return Err(refuse(WeightProblem::NotFinite { name: name.into(), index: vec![at], value, count }));
    }
    Ok(Some(factors))
}

/// As decimals, which is how configs write them.
fn decimals(numbers: &[f32]) -> Json {
    numbers.iter().map(|x| json!(x.to_string().parse::<f64>().unwrap_or(f64::from(*x)))).collect()
}

fn longrope(draft: &mut Draft<'_>, original: Option<u64>, long: &[f32], short: &[f32]) -> Result<(), OpenError> {
    let longest = draft.needed("context_length")?;
    let original = original.unwrap_or(longest);
    let mut scaling = json!({ "type": "longrope", "long_factor": decimals(long), "short_factor": decimals(short) });
    if let Some(factor) = draft.real("rope.scaling.attn_factor")? {
        // Ding et al., 2024, arXiv:2402.13753: what configs leave to the program
        let scale = longest as f64 / original as f64;
        let usual = if scale > 1.0 { (1.0 + scale.ln() / (original as f64).ln()).sqrt() } else { 1.0 };
        if (factor - usual).abs() > 1e-4 * usual {
            scaling["attention_factor"] = factor.into();
        }
    }
    draft.set("original_max_position_embeddings", original);
    draft.set("rope_scaling", scaling);
    Ok(())
}

/// The four numbers of a `llama3` scaling.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Llama3 {
    factor: f64,
    low: f64,
    high: f64,
    original: f64,
}

impl Llama3 {
    /// What the frequency of a wavelength in tokens is divided by (Meta's code for Llama 3.1).
    fn at(self, wavelength: f64) -> f64 {
        let turns = self.original / wavelength;
        if turns > self.high {
            1.0
        } else if turns < self.low {
            self.factor
        } else {
            let smooth = (turns - self.low) / (self.high - self.low);
            1.0 / ((1.0 - smooth) / self.factor + smooth)
        }
    }
}

fn llama3(draft: &mut Draft<'_>, theta: f64, original: Option<u64>, factors: &[f32]) -> Result<(), OpenError> {
    if factors.iter().all(|factor| is_one((*factor).into())) {
        return Ok(());
    }
    let longest = draft.needed("context_length")? as f64;
    let Some(found) = find(theta, longest, original.map(|n| n as f64), factors) else {
        return Err(OpenError::Unsupported {
            file: draft.metadata.file().into(),
            field: FREQS.into(),
            value: format!("factors of {} frequencies", factors.len()),
            help: "they are not those of a `llama3` scaling, and no other is stored that way; use the checkpoint that the file was \
                   made from"
                .into(),
        });
    };
    draft.set(
        "rope_scaling",
        json!({
            "rope_type": "llama3",
            "factor": found.factor,
            "low_freq_factor": found.low,
            "high_freq_factor": found.high,
            "original_max_position_embeddings": found.original as u64,
        }),
    );
    Ok(())
}

/// A scaling that gives these factors; with the usual `low` and `high` where those do.
fn find(theta: f64, longest: f64, given: Option<f64>, factors: &[f32]) -> Option<Llama3> {
    let n_pairs = factors.len();
    let wavelength = |pair: usize| TAU * theta.powf(pair as f64 / n_pairs as f64);
    let gives = |scaling: &Llama3| {
        (factors.iter().enumerate()).all(|(pair, factor)| {
            (scaling.at(wavelength(pair)) - f64::from(*factor)).abs() <= 1e-4 * f64::from(*factor)
        })
    };
    let factor = factors.iter().copied().fold(1.0f32, f32::max);
    let factor = factor.to_string().parse().unwrap_or(f64::from(factor));
    // what released models have, then what fits the longest context, then every power of two
    let powers = (4..=24).rev().map(|bits| f64::from(1u32 << bits)).filter(|original| *original <= longest);
    let originals = given.into_iter().chain([8192.0, (longest / factor).round()]).chain(powers);
    let usual = originals.map(|original| Llama3 { factor, low: 1.0, high: 4.0, original }).find(gives);
    usual.or_else(|| fit(factor, &wavelength, factors).filter(gives))
}

/// The scaling by two factors between both ends: `1 / factor` is a straight line in the number of turns.
fn fit(factor: f64, wavelength: &dyn Fn(usize) -> f64, factors: &[f32]) -> Option<Llama3> {
    let inside = |(_, found): &(usize, &f32)| f64::from(**found) > 1.0 && f64::from(**found) < factor;
    let smooth = |found: f32| (1.0 / f64::from(found) - 1.0 / factor) / (1.0 - 1.0 / factor);
    let mut points =
        factors.iter().enumerate().filter(inside).map(|(pair, found)| (1.0 / wavelength(pair), smooth(*found)));
    let ((x0, s0), (x1, s1)) = (points.next()?, points.next_back()?);
    let slope = (s1 - s0) / (x1 - x0); // original / (high - low)
    let below = slope * x0 - s0; // low / (high - low)
    // only ratios are known: low is 1
    let width = 1.0 / below;
    let original = (slope * width).round();
    (original.is_finite() && original > 0.0 && width > 0.0).then_some(Llama3 {
        factor,
        low: 1.0,
        high: 1.0 + width,
        original,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalings_are_found_again_from_their_factors() {
        for (theta, n_pairs, longest, original, factor, high) in [
            (5e5, 64, 131_072.0, 8192.0, 8.0, 4.0),
            (5e5, 32, 131_072.0, 8192.0, 32.0, 4.0),
            (5e5, 4, 512.0, 64.0, 8.0, 4.0),
            (1e4, 64, 65_536.0, 4096.0, 16.0, 4.0),
            (1e6, 64, 100_000.0, 3000.0, 4.0, 7.0),
        ] {
            let made = Llama3 { factor, low: 1.0, high, original };
            let wavelength = |pair: usize| TAU * f64::powf(theta, pair as f64 / n_pairs as f64);
            let mut factors: Vec<f32> = (0..n_pairs).map(|pair| made.at(wavelength(pair)) as f32).collect();
            let found = find(theta, longest, None, &factors).unwrap();
            let same = (found.original - original).abs() < 1.0 && (found.high - high).abs() < 1e-2;
            assert!((found.factor - factor).abs() < 1e-6 && same, "{found:?} for {made:?}");
            factors[1] *= 1.5;
            assert_eq!(find(theta, longest, None, &factors), None);
        }
    }
}
