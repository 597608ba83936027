//! StreamingLLM: a few first keys (attention sinks) and a window of the newest ones.
//!
//! Xiao et al., 2023, "Efficient Streaming Language Models with Attention Sinks", arXiv:2309.17453. Positions count inside
//! the cache (section 3.2): window keys at their true distance, sinks as if they stood right before the window.

use crate::methods::{MethodInfo, TextForm};
use crate::plan::{HeadPlan, Heads, PosMap, Reach, Span};
use crate::setting::{Fallback, Info, Kind, Param, Setting, SettingError};
use crate::spec::ModelSpec;

pub static METHOD: MethodInfo = MethodInfo {
    info: Info {
        name: "streaming",
        title: "StreamingLLM",
        source: "Xiao et al., 2023, arXiv:2309.17453",
        summary: "attention sinks and the newest keys",
        params: &[
            Param {
                name: "n_sink",
                alias: "start_size",
                kind: Kind::Count(0),
                default: Fallback::Number(4.0),
                help: "first keys that stay visible",
            },
            Param {
                name: "window",
                alias: "recent_size",
                kind: Kind::Count(1),
                default: Fallback::Trained(15, 16),
                help: "newest keys seen, the query's own included",
            },
        ],
    },
    plan,
    text: TextForm::PLAIN,
};

#[expect(clippy::unnecessary_wraps, reason = "the catalog's signature; any values are possible here")]
fn plan(setting: &Setting, model: &ModelSpec) -> Result<Heads, SettingError> {
    let (n_sink, window) = (setting.count("n_sink", model), setting.count("window", model));
    let exact = PosMap::identity();
    let newest_in_cache = PosMap::identity().cap((n_sink + window - 1) as f64);
    Ok(HeadPlan::new([
        Span::new("window", Reach::Nearer(window), exact.clone(), exact.clone()),
        Span::new("sinks", Reach::Sinks { n_sink, window }, newest_in_cache, exact),
    ])
    .into())
}

#[cfg(test)]
mod tests {
    use crate::methods::draw;

    #[test]
    fn sinks_stand_right_before_the_window() {
        insta::assert_snapshot!(draw("streaming:n_sink=2,window=3", 64, 8), @r"
        0
        1 0
        2 1 0
        3 2 1 0
        4 3 2 1 0
        4 3 . 2 1 0
        4 3 . . 2 1 0
        4 3 . . . 2 1 0
        ");
    }
}
