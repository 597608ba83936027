//! YaRN: slow pairs are interpolated, fast ones kept, those between blended, and scores sharpened.
//!
//! Peng et al., 2023, "YaRN: Efficient Context Window Extension of Large Language Models", arXiv:2309.00071.

use std::f64::consts::PI;

use super::{FACTOR, Given, ORIGINAL, ScalingInfo};
use crate::rope::Rope;
use crate::setting::{Fallback, Info, Kind, Param, SettingError};

pub static SCALING: ScalingInfo = ScalingInfo {
    info: Info {
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
                help: "rotations over the trained context above which a pair is kept",
            },
            Param {
                name: "beta_slow",
                alias: "beta_slow",
                kind: Kind::Real(0.0),
                default: Fallback::Number(1.0),
                help: "rotations below which a pair is interpolated",
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
    },
    rope,
    follows_length: false,
};

fn rope(given: &Given<'_>) -> Result<Rope, SettingError> {
    let (factor, original) = (given.number("factor", 1.0), given.original());
    let (fast, slow) = (given.number("beta_fast", 32.0), given.number("beta_slow", 1.0));
    if slow >= fast {
        return Err(SettingError::Impossible {
            owner: "yarn",
            inequality: format!("beta_slow < beta_fast ({slow} < {fast})"),
            nearest: format!("set beta_slow below {fast}, or beta_fast above {slow}"),
        });
    }
    let amplitude = given.number("attention_factor", 0.1 * factor.ln() + 1.0);
    let rounded = !given.setting.is("truncate", "false", given.model);
    let base = given.model.rope_theta;
    let inv_freq = blended(&given.plain(), base, factor, original as f64, [fast, slow], rounded);
    Ok(Rope::fixed(inv_freq, amplitude, given.stretched(original, factor)))
}

/// Section 3.2: a ramp over pairs between interpolation and no change. Its bounds are pairs that make so
/// many rotations over the trained context; the authors round them outwards.
fn blended(plain: &[f64], base: f64, factor: f64, original: f64, rotations: [f64; 2], rounded: bool) -> Vec<f64> {
    let dim = 2.0 * plain.len() as f64;
    let [fast, slow] = rotations.map(|rotations| dim * (original / (2.0 * PI * rotations)).ln() / (2.0 * base.ln()));
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
