//! NTK-aware scaling: a larger base, so that fast pairs hardly change and the slowest is interpolated by the factor.
//!
//! bloc97, 2023; Peng et al., 2023, arXiv:2309.00071, section 3.1.

use super::{FACTOR, Given, ScalingInfo};
use crate::rope::{Rope, inverse_frequencies, ntk_exponent};
use crate::setting::{Info, SettingError};

pub static SCALING: ScalingInfo = ScalingInfo {
    info: Info {
        name: "ntk",
        title: "NTK-aware scaling",
        source: "bloc97, 2023; Peng et al., 2023, arXiv:2309.00071, section 3.1",
        summary: "base multiplied by factor^(d/(d-2)) at every length",
        params: &[FACTOR],
    },
    rope,
    follows_length: false,
};

#[expect(clippy::unnecessary_wraps, reason = "the catalog's signature; any values are possible here")]
fn rope(given: &Given<'_>) -> Result<Rope, SettingError> {
    let (factor, dim) = (given.number("factor", 1.0), given.model.rotary_dim);
    let base = given.model.rope_theta * factor.powf(ntk_exponent(dim));
    Ok(Rope::fixed(inverse_frequencies(base, dim), 1.0, given.stretched(given.model.original_context, factor)))
}
