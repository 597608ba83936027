//! No scaling: the trained frequencies as they are.
//!
//! Su et al., 2021, "`RoFormer`: Enhanced Transformer with Rotary Position Embedding", arXiv:2104.09864.

use super::{Given, ScalingInfo};
use crate::rope::Rope;
use crate::setting::{Info, SettingError};

pub static SCALING: ScalingInfo = ScalingInfo {
    info: Info {
        name: "none",
        title: "RoPE",
        source: "Su et al., 2021, arXiv:2104.09864",
        summary: "the trained frequencies as they are",
        params: &[],
    },
    rope,
    follows_length: false,
};

#[expect(clippy::unnecessary_wraps, reason = "the catalog's signature; any values are possible here")]
fn rope(given: &Given<'_>) -> Result<Rope, SettingError> {
    let model = given.model;
    let reach = if given.native { model.trained_context } else { model.original_context };
    Ok(Rope::fixed(given.plain(), 1.0, reach))
}
