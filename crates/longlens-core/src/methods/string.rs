//! STRING: keys far away stand nearer than they are, at positions that training has seen often.
//!
//! An et al., 2024, "Why Does the Effective Context Length of LLMs Fall Short?", arXiv:2410.18745, section 4.1. Positions from
//! `shift` on are moved down to begin at `local_window`, so the highest ones, which few training texts reach, are free. The paper
//! advises shifts from a third to half of the trained context and windows of at least 32; the authors' code takes a third and
//! 128, which is the default here on a model of 4096 tokens.

use crate::methods::{MethodInfo, TextForm};
use crate::plan::{HeadPlan, Heads, PosMap, Reach, Span};
use crate::setting::{Fallback, Info, Kind, Param, Setting, SettingError};
use crate::spec::ModelSpec;

pub static METHOD: MethodInfo = MethodInfo {
    info: Info {
        name: "string",
        title: "STRING",
        source: "An et al., 2024, arXiv:2410.18745",
        summary: "exact positions nearby, positions moved down further away",
        params: &[
            Param {
                name: "shift",
                alias: "S; shifted_offset",
                kind: Kind::Count(1),
                default: Fallback::Trained(1, 3),
                help: "tokens this near keep their exact distance",
            },
            Param {
                name: "local_window",
                alias: "W; small_local_value",
                kind: Kind::Count(0),
                default: Fallback::Trained(1, 32),
                help: "where the first key further away stands",
            },
        ],
    },
    plan,
    text: TextForm::PLAIN,
};

fn plan(setting: &Setting, model: &ModelSpec) -> Result<Heads, SettingError> {
    let (shift, window) = (setting.count("shift", model), setting.count("local_window", model));
    if window > shift {
        return Err(SettingError::Impossible {
            owner: "string",
            inequality: format!("local_window <= shift ({window} <= {shift})"),
            nearest: format!("set local_window to at most {shift}, or shift to at least {window}"),
        });
    }
    let exact = PosMap::identity();
    let moved = PosMap::identity().shift(window as f64 - shift as f64); // pos = i - (S - W)
    Ok(HeadPlan::new([
        Span::new("near", Reach::Nearer(shift), exact.clone(), exact.clone()),
        Span::new("moved", Reach::AtLeast(shift), moved, exact),
    ])
    .into())
}

#[cfg(test)]
mod tests {
    use crate::methods::{Method, draw};
    use crate::plan::Capacity;
    use crate::spec::ModelSpec;

    #[test]
    fn far_keys_begin_again_at_the_local_window() {
        insta::assert_snapshot!(draw("string:shift=4,local_window=2", 64, 8), @r"
        0
        1 0
        2 1 0
        3 2 1 0
        2 3 2 1 0
        3 2 3 2 1 0
        4 3 2 3 2 1 0
        5 4 3 2 3 2 1 0
        ");
    }

    #[test]
    fn what_the_shift_frees_is_capacity() {
        let plan = Method::parse("string:shift=32,local_window=8").unwrap().plan(&ModelSpec::tiny(64)).unwrap();
        assert_eq!(plan.capacity(64), Capacity::Tokens(64 + 32 - 8));
    }

    #[test]
    fn a_window_beyond_the_shift_is_impossible() {
        let error = Method::parse("string:shift=8,local_window=9").unwrap().plan(&ModelSpec::tiny(64)).unwrap_err();
        insta::assert_snapshot!(format!("{error} | {}", error.help().unwrap()), @"`string` is impossible with these values: local_window <= shift (9 <= 8) does not hold | set local_window to at most 8, or shift to at least 9");
    }
}
