//! Plain causal attention: every earlier key at its true distance.
//!
//! Vaswani et al., 2017, arXiv:1706.03762; rotary positions by Su et al., 2021, arXiv:2104.09864.

use crate::methods::{MethodInfo, TextForm};
use crate::plan::{HeadPlan, Heads};
use crate::setting::{Info, Setting, SettingError};
use crate::spec::ModelSpec;

pub static METHOD: MethodInfo = MethodInfo {
    info: Info {
        name: "full",
        title: "Full attention",
        source: "Vaswani et al., 2017, arXiv:1706.03762",
        summary: "every earlier key at its true distance",
        params: &[],
    },
    plan,
    text: TextForm::PLAIN,
};

#[expect(clippy::unnecessary_wraps, reason = "the catalog's signature; any values are possible here")]
fn plan(_: &Setting, _: &ModelSpec) -> Result<Heads, SettingError> {
    Ok(HeadPlan::full().into())
}

#[cfg(test)]
mod tests {
    use crate::methods::draw;

    #[test]
    fn every_distance_is_true() {
        insta::assert_snapshot!(draw("full", 64, 4), @r"
        0
        1 0
        2 1 0
        3 2 1 0
        ");
    }
}
