//! Position interpolation: positions divided by the factor, which is every frequency divided by it.
//!
//! Chen et al., 2023, "Extending Context Window of Large Language Models via Positional Interpolation", arXiv:2306.15595.

use super::{FACTOR, Given, ScalingInfo};
use crate::rope::Rope;
use crate::setting::{Info, SettingError};

pub static SCALING: ScalingInfo = ScalingInfo {
    info: Info {
        name: "linear",
        title: "Position interpolation",
        source: "Chen et al., 2023, arXiv:2306.15595",
        summary: "positions divided by the factor",
        params: &[FACTOR],
    },
    rope,
    follows_length: false,
};

#[expect(clippy::unnecessary_wraps, reason = "the catalog's signature; any values are possible here")]
fn rope(given: &Given<'_>) -> Result<Rope, SettingError> {
    let factor = given.number("factor", 1.0);
    let inv_freq = given.plain().iter().map(|f| f / factor).collect();
    Ok(Rope::fixed(inv_freq, 1.0, given.stretched(given.model.original_context, factor)))
}
