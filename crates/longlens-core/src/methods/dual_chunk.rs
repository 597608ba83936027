//! Dual Chunk Attention: positions restart in every chunk; distances between chunks stay inside the trained range.
//!
//! An et al., 2024, "Training-Free Long-Context Scaling of Large Language Models", arXiv:2402.17463.
//! The authors' code sets `chunk_size` to 3/4 of the trained context, steps by `chunk_size - local_window` and clamps at
//! `chunk_size`; the paper calls the step the chunk size. The temperature is in their code and not in the paper's results.

use crate::methods::{MethodInfo, TextForm};
use crate::plan::{HeadPlan, Heads, PosMap, Reach, Span, Temperature};
use crate::setting::{Fallback, Info, Kind, Param, Setting, SettingError};
use crate::spec::ModelSpec;

pub static METHOD: MethodInfo = MethodInfo {
    info: Info {
        name: "dual_chunk",
        title: "Dual Chunk Attention",
        source: "An et al., 2024, arXiv:2402.17463",
        summary: "positions restart in every chunk; other chunks stand at trained distances",
        params: &[
            Param {
                name: "chunk_size",
                alias: "c; chunk_size",
                kind: Kind::Count(2),
                default: Fallback::Trained(3, 4),
                help: "highest relative position; a chunk holds chunk_size - local_window tokens",
            },
            Param {
                name: "local_window",
                alias: "w; local_window",
                kind: Kind::Count(1),
                default: Fallback::Trained(1, 8),
                help: "tokens before a chunk's start that keep their exact distance",
            },
            Param {
                name: "temperature",
                alias: "mscale",
                kind: Kind::Word(&["off", "yarn"]),
                default: Fallback::Word("off"),
                help: "off (paper), or the released code's factor past the trained length",
            },
        ],
    },
    plan,
    text: TextForm::PLAIN,
};

fn plan(setting: &Setting, model: &ModelSpec) -> Result<Heads, SettingError> {
    let (size, w) = (setting.count("chunk_size", model), setting.count("local_window", model));
    if w >= size {
        return Err(SettingError::Impossible {
            owner: "dual_chunk",
            inequality: format!("local_window < chunk_size ({w} < {size})"),
            nearest: format!("set local_window to at most {}, or chunk_size to at least {}", size - 1, w + 1),
        });
    }
    let c = size - w; // tokens of a chunk
    let highest = size as f64;

    let inside = PosMap::identity().modulo(c); // i mod c
    let successive = inside.clone().shift(c as f64).cap(highest); // min(i mod c + c, size)
    let inter = PosMap::constant(highest.min((2 * c - 1) as f64));
    let mut plan = HeadPlan::new([
        Span::new("intra", Reach::SameChunk(c), inside.clone(), inside.clone()),
        Span::new("successive", Reach::PreviousChunk(c), successive, inside.clone()),
        Span::new("inter", Reach::EarlierChunks(c), inter, inside),
    ]);
    if setting.is("temperature", "yarn", model) {
        plan.temperature = Some(Temperature { trained: model.trained_context });
    }
    Ok(plan.into())
}

#[cfg(test)]
mod tests {
    use crate::methods::draw;

    #[test]
    fn chunks_count_from_zero_and_distances_are_capped() {
        insta::assert_snapshot!(draw("dual_chunk:chunk_size=5,local_window=2", 64, 8), @r"
        0
        1 0
        2 1 0
        3 2 1 0
        4 3 2 1 0
        5 4 3 2 1 0
        5 4 3 3 2 1 0
        5 4 3 4 3 2 1 0
        ");
    }
}
