//! Quest: generated tokens attend to the pages whose keys may score highest.
//!
//! Tang et al., 2024, "Quest: Query-Aware Sparsity for Efficient Long-Context LLM Inference", arXiv:2406.10774. A page holds
//! the least and the greatest rotated key of every dimension, which bound what any of its keys can score; the best pages are
//! attended at their true positions. As in the authors' code the first two layers see every key, the prompt is computed with
//! every key, and at least three pages are taken. The newest, partial page is always among them, as in the authors' kernels.

use crate::methods::{MethodInfo, TextForm};
use crate::plan::{ChunkChoice, ChunkScore, HeadPlan, Heads, QueryRule, SlotPositions};
use crate::setting::{Fallback, Info, Kind, Param, Setting, SettingError, Value};
use crate::spec::ModelSpec;

pub static METHOD: MethodInfo = MethodInfo {
    info: Info {
        name: "quest",
        title: "Quest",
        source: "Tang et al., 2024, arXiv:2406.10774",
        summary: "the pages of keys that may score highest, at their true positions",
        params: &[
            Param {
                name: "page_size",
                alias: "S; chunk_size",
                kind: Kind::Count(1),
                default: Fallback::Number(16.0),
                help: "tokens of a page",
            },
            Param {
                name: "token_budget",
                alias: "K; budget",
                kind: Kind::Count(1),
                default: Fallback::Trained(1, 2),
                help: "tokens attended to: token_budget / page_size pages, at least 3",
            },
            Param {
                name: "dense_layers",
                alias: "",
                kind: Kind::Count(0),
                default: Fallback::Number(2.0),
                help: "first layers that see every key",
            },
            Param {
                name: "prefill",
                alias: "",
                kind: Kind::Word(&["dense", "chosen"]),
                default: Fallback::Word("dense"),
                help: "whether prompt tokens see every key or choose pages too",
            },
        ],
    },
    plan,
    text: TextForm { resolved, ..TextForm::PLAIN },
};

/// Pages of a choice: whole ones of the budget, and at least three.
fn n_pages(setting: &Setting, model: &ModelSpec) -> usize {
    (setting.count("token_budget", model) / setting.count("page_size", model)).max(3)
}

/// The same with the budget that its pages hold.
fn resolved(mut setting: Setting, model: &ModelSpec) -> Setting {
    let budget = n_pages(&setting, model) * setting.count("page_size", model);
    // three pages may be longer than any budget that can be written
    let _ = setting.set("token_budget", &Value::from(budget));
    setting
}

#[expect(clippy::unnecessary_wraps, reason = "the catalog's signature; any values are possible here")]
fn plan(setting: &Setting, model: &ModelSpec) -> Result<Heads, SettingError> {
    let count = |name| setting.count(name, model);
    let (page_size, n_pages) = (count("page_size"), n_pages(setting, model));
    // while there are no more pages than are taken, all of them are
    let generated = QueryRule::plain((n_pages - 1) * page_size);
    let dense_prefill = setting.is("prefill", "dense", model);
    let choice = ChunkChoice {
        chunk_len: page_size,
        n_slots: n_pages,
        n_first: 0,
        n_newest: 0,
        query_block: 1,
        score: ChunkScore::Bounds,
        slots: SlotPositions::True,
        in_prompt: if dense_prefill { QueryRule::plain(QueryRule::NEVER) } else { generated },
        generated,
    };
    let chosen = HeadPlan { choice: Some(choice), ..HeadPlan::full() };
    let dense_layers = count("dense_layers");
    Ok(Heads::by_layer(model, |layer| if layer < dense_layers { HeadPlan::full() } else { chosen.clone() }))
}

#[cfg(test)]
mod tests {
    use crate::methods::{Method, draw};
    use crate::plan::{Capacity, Prefill};
    use crate::spec::ModelSpec;

    #[test]
    fn any_page_may_be_chosen_and_stands_where_it_is() {
        insta::assert_snapshot!(draw("quest:page_size=2,token_budget=6,dense_layers=0,prefill=chosen", 64, 9), @"
        0
        1 0
        2 1 0
        3 2 1 0
        ? ? ? ? 0
        ? ? ? ? 1 0
        ? ? ? ? ? ? 0
        ? ? ? ? ? ? 1 0
        ? ? ? ? ? ? ? ? 0
        ");
    }

    #[test]
    fn the_prompt_and_the_first_layers_see_every_key() {
        let model = ModelSpec { n_layers: 3, ..ModelSpec::tiny(64) };
        let plan = Method::parse("quest:page_size=4,token_budget=16").unwrap().plan(&model).unwrap();
        let first = |layer: usize, n_tokens: usize| plan.of(layer, 0).first_choice(Prefill { n_tokens });
        assert_eq!([first(0, 40), first(1, 40), first(2, 40), first(2, 5)], [usize::MAX, usize::MAX, 40, 12]);
        assert_eq!(plan.capacity(64), Capacity::Tokens(64), "pages keep their positions");
    }

    #[test]
    fn a_budget_is_written_out_in_whole_pages() {
        let resolved = |text: &str| Method::parse(text).unwrap().resolved(&ModelSpec::tiny(64)).to_string();
        for (text, budget) in [("quest:token_budget=100", 96), ("quest", 48), ("quest:token_budget=64", 64)] {
            let resolved = resolved(text);
            assert_eq!(resolved, format!("quest:page_size=16,token_budget={budget},dense_layers=2,prefill=dense"));
        }
    }
}
