//! The scaling of Llama 3.1: slow pairs are divided by the factor, fast ones kept, those between blended by wavelength.
//!
//! Grattafiori et al., 2024, "The Llama 3 Herd of Models", arXiv:2407.21783; formula as in Hugging Face transformers.

use std::f64::consts::PI;

use super::{FACTOR, Given, ORIGINAL, ScalingInfo};
use crate::rope::Rope;
use crate::setting::{Fallback, Info, Kind, Param, SettingError};

pub static SCALING: ScalingInfo = ScalingInfo {
    info: Info {
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
    },
    rope,
    follows_length: false,
};

fn rope(given: &Given<'_>) -> Result<Rope, SettingError> {
    let (factor, original) = (given.number("factor", 1.0), given.original());
    let (low, high) = (given.number("low_freq_factor", 1.0), given.number("high_freq_factor", 4.0));
    if low >= high {
        return Err(SettingError::Impossible {
            owner: "llama3",
            inequality: format!("low_freq_factor < high_freq_factor ({low} < {high})"),
            nearest: format!("set low_freq_factor below {high}"),
        });
    }
    let inv_freq = blended(&given.plain(), factor, original as f64, low, high);
    Ok(Rope::fixed(inv_freq, 1.0, given.stretched(original, factor)))
}

fn blended(plain: &[f64], factor: f64, original: f64, low: f64, high: f64) -> Vec<f64> {
    plain
        .iter()
        .map(|theta| {
            let wavelength = 2.0 * PI / theta;
            let smooth = ((original / wavelength - low) / (high - low)).clamp(0.0, 1.0);
            (1.0 - smooth) * theta / factor + smooth * theta
        })
        .collect()
}
