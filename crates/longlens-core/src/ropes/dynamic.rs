//! Dynamic NTK: the base grows with the length seen, from the trained context on.
//!
//! emozilla, 2023, "Dynamically Scaled RoPE"; lengths and formula as in Hugging Face transformers.

use super::{FACTOR, Given, ORIGINAL, ScalingInfo};
use crate::rope::Rope;
use crate::setting::{Fallback, Info, Kind, Param, SettingError};

pub static SCALING: ScalingInfo = ScalingInfo {
    info: Info {
        name: "dynamic",
        title: "Dynamic NTK",
        source: "emozilla, 2023; as in Hugging Face transformers",
        summary: "base grows with the length seen; a key keeps the base of the moment it was added (chunks that move rotate afresh)",
        params: &[
            Param { default: Fallback::Number(1.0), ..FACTOR },
            ORIGINAL,
            Param {
                name: "rerotate",
                alias: "",
                kind: Kind::Word(&["false", "true"]),
                default: Fallback::Word("false"),
                help: "rotate all keys with the newest base instead",
            },
        ],
    },
    rope,
    follows_length: true,
};

#[expect(clippy::unnecessary_wraps, reason = "the catalog's signature; any values are possible here")]
fn rope(given: &Given<'_>) -> Result<Rope, SettingError> {
    let model = given.model;
    let rerotate = given.setting.is("rerotate", "true", model);
    Ok(Rope::dynamic(model, given.number("factor", 1.0), given.original() as f64, rerotate))
}
