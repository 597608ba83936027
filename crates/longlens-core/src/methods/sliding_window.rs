//! Sliding window: only the newest keys, at their true distance.
//!
//! Beltagy et al., 2020, "Longformer: The Long-Document Transformer", arXiv:2004.05150, section 3.1.

use crate::methods::{MethodInfo, TextForm};
use crate::plan::{HeadPlan, Heads};
use crate::setting::{Fallback, Info, Kind, Param, Setting, SettingError};
use crate::spec::ModelSpec;

pub static METHOD: MethodInfo = MethodInfo {
    info: Info {
        name: "sliding_window",
        title: "Sliding window",
        source: "Beltagy et al., 2020, arXiv:2004.05150",
        summary: "only the newest keys",
        params: &[Param {
            name: "window",
            alias: "w",
            kind: Kind::Count(1),
            default: Fallback::Trained(1, 1),
            help: "keys seen, the query's own included",
        }],
    },
    plan,
    text: TextForm::PLAIN,
};

#[expect(clippy::unnecessary_wraps, reason = "the catalog's signature; any values are possible here")]
fn plan(setting: &Setting, model: &ModelSpec) -> Result<Heads, SettingError> {
    Ok(HeadPlan::window(setting.count("window", model)).into())
}

#[cfg(test)]
mod tests {
    use crate::methods::draw;

    #[test]
    fn old_keys_leave_the_window() {
        insta::assert_snapshot!(draw("sliding_window:window=3", 64, 5), @r"
        0
        1 0
        2 1 0
        . 2 1 0
        . . 2 1 0
        ");
    }
}
