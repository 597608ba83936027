//! `LongRoPE`: every frequency has a factor of its own, found by search for one checkpoint; another list of them counts once the sequence
//! is longer than the model was trained on before.
//!
//! Ding et al., 2024, "`LongRoPE`: Extending LLM Context Window Beyond 2 Million Tokens", arXiv:2402.13753; lists, lengths and the factor
//! on scores as in Hugging Face transformers.

use super::{FACTOR, Given, ORIGINAL, ScalingInfo};
use crate::rope::Rope;
use crate::setting::{Fallback, Info, Kind, Param, SettingError};

pub static SCALING: ScalingInfo = ScalingInfo {
    info: Info {
        name: "longrope",
        title: "LongRoPE",
        source: "Ding et al., 2024, arXiv:2402.13753; as in Hugging Face transformers",
        summary: "divides each frequency by the checkpoint's own factor, of two lists; a key keeps the list of the moment it was added",
        params: &[
            Param { help: "how many times longer than trained: it decides the factor on scores alone", ..FACTOR },
            ORIGINAL,
            Param {
                name: "attention_factor",
                alias: "attention_factor",
                kind: Kind::Real(0.0),
                default: Fallback::Word("paper"),
                help: "factor on cosine and sine; the paper's is sqrt(1 + ln(factor) / ln(original))",
            },
            Param {
                name: "rerotate",
                alias: "",
                kind: Kind::Word(&["false", "true"]),
                default: Fallback::Word("false"),
                help: "rotate all keys by the newest list instead",
            },
        ],
    },
    rope,
    follows_length: true,
};

fn rope(given: &Given<'_>) -> Result<Rope, SettingError> {
    let model = given.model;
    let Some(factors) = &model.rope_factors else {
        return Err(SettingError::Impossible {
            owner: "longrope",
            inequality: "a checkpoint with factors of its own (`short_factor` and `long_factor` in its config)".into(),
            nearest: "take yarn, which needs none".into(),
        });
    };
    let (factor, original) = (given.number("factor", 1.0), given.original());
    if original < 2 {
        return Err(SettingError::Impossible {
            owner: "longrope",
            inequality: format!(
                "original >= 2, by whose logarithm the factor on scores is divided (original is {original}),"
            ),
            nearest: "set `original` (`original_max_position_embeddings` in a config) to the length before scaling"
                .into(),
        });
    }
    let paper = if factor > 1.0 { (1.0 + factor.ln() / (original as f64).ln()).sqrt() } else { 1.0 };
    let amplitude = given.number("attention_factor", paper);
    let rerotate = given.setting.is("rerotate", "true", model);
    let divided = |factors: &[f64]| given.plain().iter().zip(factors).map(|(theta, factor)| theta / factor).collect();
    let lists = [divided(&factors.short), divided(&factors.long)];
    Ok(Rope::switched(lists, original, amplitude, rerotate))
}
