//! Self-Extend: exact positions nearby, shared positions further away.
//!
//! Jin et al., 2024, "LLM Maybe LongLM: Self-Extend LLM Context Window Without Tuning", arXiv:2401.01325.
//! The paper shifts the query by `w - floor(w / g)`; two of the authors' patches divide as floats, here `shift=exact`. Both
//! agree when `g` divides `w`. The log scale is an extra of the authors' code.

use crate::methods::{MethodInfo, TextForm};
use crate::plan::{HeadPlan, Heads, PosMap, QueryScale, Reach, Span};
use crate::setting::{Fallback, Info, Kind, Param, Setting, SettingError};
use crate::spec::ModelSpec;

pub static METHOD: MethodInfo = MethodInfo {
    info: Info {
        name: "self_extend",
        title: "Self-Extend",
        source: "Jin et al., 2024, arXiv:2401.01325",
        summary: "exact positions nearby, shared positions further away",
        params: &[
            Param {
                name: "group_size",
                alias: "G; group_size_1",
                kind: Kind::Count(1),
                default: Fallback::Number(8.0),
                help: "tokens that share one position beyond the window",
            },
            Param {
                name: "neighbor_window",
                alias: "w_n; group_size_2, window_size",
                kind: Kind::Count(1),
                default: Fallback::Trained(1, 4),
                help: "tokens this near keep their exact distance",
            },
            Param {
                name: "log_scale",
                alias: "scale_base",
                kind: Kind::OffOr(1.0),
                default: Fallback::Word("off"),
                help: "query i is scaled by max(1, ln(i + 1) / ln(this))",
            },
            Param {
                name: "shift",
                alias: "group_shift",
                kind: Kind::Word(&["floor", "exact"]),
                default: Fallback::Word("floor"),
                help: "w / g as a whole number (paper) or as it is",
            },
        ],
    },
    plan,
    text: TextForm::PLAIN,
};

#[expect(clippy::unnecessary_wraps, reason = "the catalog's signature; any values are possible here")]
fn plan(setting: &Setting, model: &ModelSpec) -> Result<Heads, SettingError> {
    let (g, w) = (setting.count("group_size", model), setting.count("neighbor_window", model));
    let window_in_groups = if setting.is("shift", "exact", model) { w as f64 / g as f64 } else { (w / g) as f64 };

    let exact = PosMap::identity();
    let shared = PosMap::identity().divide(g); // pos = i / g
    let mut plan = HeadPlan::new([
        Span::new("neighbor", Reach::Nearer(w), exact.clone(), exact),
        Span::new("group", Reach::AtLeast(w), shared.clone().shift(w as f64 - window_in_groups), shared),
    ]);
    plan.query_scale = setting.number("log_scale", model).map_or(QueryScale::Off, QueryScale::Log);
    Ok(plan.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::{Method, draw};
    use crate::plan::Capacity;

    #[test]
    fn far_tokens_share_positions() {
        insta::assert_snapshot!(draw("self_extend:group_size=2,neighbor_window=4", 64, 8), @r"
        0
        1 0
        2 1 0
        3 2 1 0
        4 3 2 1 0
        4 4 3 2 1 0
        5 5 4 3 2 1 0
        5 5 4 4 3 2 1 0
        ");
    }

    #[test]
    fn a_window_that_is_no_whole_number_of_groups_stands_between_positions() {
        insta::assert_snapshot!(draw("self_extend:group_size=2,neighbor_window=3,shift=exact", 64, 6), @r"
        0
        1 0
        2 1 0
        2.5 2 1 0
        3.5 3.5 2 1 0
        3.5 3.5 2.5 2 1 0
        ");
    }

    #[test]
    fn capacity_is_the_papers() {
        // (L - w) * g + w tokens, arXiv:2401.01325, section 3.3
        let plan =
            Method::parse("self_extend:group_size=4,neighbor_window=64").unwrap().plan(&ModelSpec::tiny(256)).unwrap();
        assert_eq!(plan.capacity(256), Capacity::Tokens((256 - 64) * 4 + 64));
    }

    #[test]
    fn warnings_tell_what_is_unwise() {
        let say = |text: &str, n_tokens: usize| {
            let plan = Method::parse(text).unwrap().plan(&ModelSpec::tiny(256)).unwrap();
            plan.warnings(n_tokens, Some(256)).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(say("self_extend:group_size=4,neighbor_window=64", 832), "");
        insta::assert_snapshot!(say("self_extend:group_size=4,neighbor_window=64", 833), @"833 tokens are beyond the capacity of 832: relative positions reach 256, the model was trained below 256");
        insta::assert_snapshot!(say("self_extend:group_size=3,neighbor_window=10", 500), @"uneven seam: at distance 10 the relative position jumps from 9 to 11 for some queries; it is even when group_size divides neighbor_window");
        insta::assert_snapshot!(say("self_extend:group_size=64,neighbor_window=8", 1000), @r"
        sparse positions: the whole prompt is squeezed into positions up to 23 of 256 trained ones; smaller groups would tell tokens apart better
        uneven seam: at distance 8 the relative position jumps from 7 to 9 for some queries; it is even when group_size divides neighbor_window
        ");
    }
}
