//! `ReRoPE`: exact distances below a window, the window's own distance for every key beyond it.
//!
//! Su, 2023, "Transformer upgrade 12: `ReRoPE` with infinite extrapolation", kexue.fm/archives/9708; the author's code is
//! github.com/bojone/rerope. It is Self-Extend with groups without end, so no sequence is too long. The log scale is the one of
//! that code, where it is the trained length.

use crate::methods::{MethodInfo, TextForm};
use crate::plan::{HeadPlan, Heads, PosMap, QueryScale, Reach, Span};
use crate::setting::{Fallback, Info, Kind, Param, Setting, SettingError};
use crate::spec::ModelSpec;

pub static METHOD: MethodInfo = MethodInfo {
    info: Info {
        name: "rerope",
        title: "ReRoPE",
        source: "Su, 2023, kexue.fm/archives/9708",
        summary: "exact positions nearby, one position for all keys further away",
        params: &[
            Param {
                name: "window",
                alias: "w",
                kind: Kind::Count(1),
                default: Fallback::Trained(1, 2),
                help: "tokens this near keep their exact distance; all others are this far",
            },
            Param {
                name: "log_scale",
                alias: "training_length",
                kind: Kind::OffOr(1.0),
                default: Fallback::Word("off"),
                help: "query i is scaled by max(1, ln(i + 1) / ln(this))",
            },
        ],
    },
    plan,
    text: TextForm::PLAIN,
};

#[expect(clippy::unnecessary_wraps, reason = "the catalog's signature; any values are possible here")]
fn plan(setting: &Setting, model: &ModelSpec) -> Result<Heads, SettingError> {
    let w = setting.count("window", model);
    let exact = PosMap::identity();
    let mut plan = HeadPlan::new([
        Span::new("window", Reach::Nearer(w), exact.clone(), exact),
        Span::new("far", Reach::AtLeast(w), PosMap::constant(w as f64), PosMap::constant(0.0)),
    ]);
    plan.query_scale = setting.number("log_scale", model).map_or(QueryScale::Off, QueryScale::Log);
    Ok(plan.into())
}

#[cfg(test)]
mod tests {
    use crate::methods::{Method, draw};
    use crate::plan::Capacity;
    use crate::spec::ModelSpec;

    #[test]
    fn far_tokens_share_one_position() {
        insta::assert_snapshot!(draw("rerope:window=3", 64, 7), @r"
        0
        1 0
        2 1 0
        3 2 1 0
        3 3 2 1 0
        3 3 3 2 1 0
        3 3 3 3 2 1 0
        ");
    }

    #[test]
    fn no_sequence_is_too_long_while_the_window_is_trained() {
        let capacity = |window: usize| {
            let plan = Method::parse(&format!("rerope:window={window}")).unwrap().plan(&ModelSpec::tiny(64)).unwrap();
            plan.capacity(64)
        };
        assert_eq!([capacity(63), capacity(64)], [Capacity::Unlimited, Capacity::Tokens(64)]);
    }
}
