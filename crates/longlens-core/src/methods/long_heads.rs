//! LongHeads: every head attends to a few chunks that its query chose.
//!
//! Lu et al., 2024, "LongHeads: Multi-Head Attention is Secretly a Long Context Processor", arXiv:2402.10685.
//! `released` follows the authors' code, where a prompt token does not see its own key and a token that completes a chunk
//! counts that chunk as past once it is generated. `consistent` is one rule for both: every token sees itself, its own chunk
//! and the one before.
//!
//! The paper has every query choose for itself. `query_block` is a faster relative of it: blocks of the prompt's queries choose together,
//! as blocks do in `InfLLM` (Xiao et al., 2024, arXiv:2402.04617), so that kernels meet the same keys with all of a block; generated
//! tokens choose as ever. It stands in the method's name wherever results are told.

use crate::methods::{MethodInfo, TextForm};
use crate::plan::{ChunkChoice, ChunkScore, HeadPlan, Heads, PosMap, QueryRule, Reach, SlotPositions, Span};
use crate::setting::{Fallback, Info, Kind, Param, Setting, SettingError};
use crate::spec::ModelSpec;

pub static METHOD: MethodInfo = MethodInfo {
    info: Info {
        name: "long_heads",
        title: "LongHeads",
        source: "Lu et al., 2024, arXiv:2402.10685",
        summary: "every head attends to the chunks its query chose",
        params: &[
            Param {
                name: "chunk_len",
                alias: "l; window_size",
                kind: Kind::Count(1),
                default: Fallback::Trained(1, 16),
                help: "tokens of a chunk",
            },
            Param {
                name: "attention_len",
                alias: "atten_length",
                kind: Kind::Count(1),
                default: Fallback::Trained(1, 1),
                help: "tokens attended to: attention_len / chunk_len chunks",
            },
            Param {
                name: "begin_len",
                alias: "begin_selective_length",
                kind: Kind::Count(1),
                default: Fallback::Same("attention_len"),
                help: "queries before this see every key",
            },
            Param {
                name: "variant",
                alias: "",
                kind: Kind::Word(&["consistent", "released"]),
                default: Fallback::Word("consistent"),
                help: "one rule for all tokens, or the authors' code",
            },
            Param {
                name: "query_block",
                alias: "",
                kind: Kind::Count(1),
                // a word, so that the method's text form names blocks only where there are some
                default: Fallback::Word("1"),
                help: "queries of the prompt that choose together, by the sum of their scores (1: each for itself)",
            },
        ],
    },
    plan,
    text: TextForm { resolved, ..TextForm::PLAIN },
};

fn resolved(mut setting: Setting, model: &ModelSpec) -> Setting {
    if setting.number("query_block", model) == Some(1.0) {
        setting.unset("query_block");
    }
    setting
}

fn plan(setting: &Setting, model: &ModelSpec) -> Result<Heads, SettingError> {
    let count = |name| setting.count(name, model);
    let (w, length, begin_len) = (count("chunk_len"), count("attention_len"), count("begin_len"));
    let released = setting.is("variant", "released", model);
    let impossible = |inequality: String, nearest: String| {
        Err(SettingError::Impossible { owner: "long_heads", inequality, nearest })
    };
    if !length.is_multiple_of(w) {
        let above = (length / w + 1) * w;
        return impossible(
            format!("attention_len mod chunk_len = 0 ({length} mod {w} = {})", length % w),
            // at least four chunks, or the next check would refuse it
            match above - w {
                below if below >= 4 * w => format!("set attention_len to {below} or {above}"),
                _ => format!("set attention_len to {}", above.max(4 * w)),
            },
        );
    }
    if length < 4 * w {
        return impossible(
            format!("attention_len >= 4 * chunk_len ({length} >= {})", 4 * w),
            if length >= 4 {
                format!("set attention_len to at least {}, or chunk_len to at most {}", 4 * w, length / 4)
            } else {
                format!("set attention_len to at least {}", 4 * w)
            },
        );
    }
    if begin_len < length - w {
        return impossible(
            format!("begin_len >= attention_len - chunk_len ({begin_len} >= {})", length - w),
            format!("set begin_len to at least {}", length - w),
        );
    }
    let query_block = setting.number("query_block", model).map_or(1, |n| n as usize);
    if !w.is_multiple_of(query_block) {
        let nearest = (1..=query_block.min(w)).rev().find(|n| w.is_multiple_of(*n)).unwrap_or(1);
        return impossible(
            format!("chunk_len mod query_block = 0 ({w} mod {query_block} = {})", w % query_block),
            if nearest == 1 { "leave query_block out".to_owned() } else { format!("set query_block to {nearest}") },
        );
    }
    if released && !begin_len.is_multiple_of(w) {
        let below = begin_len / w * w;
        return impossible(
            format!("begin_len mod chunk_len = 0 ({begin_len} mod {w} = {})", begin_len % w),
            format!("set begin_len to {} or {}, or variant to consistent", below.max(length - w), below + w),
        );
    }

    let exact = PosMap::identity();
    let begin = Span::new("begin", Reach::Causal, exact.clone(), exact);
    let (in_prompt, generated) = if released {
        let rule = |ahead, sees| QueryRule { begin: begin_len, ahead, sees };
        (rule(0, 0), rule(1, 1))
    } else {
        (QueryRule::plain(begin_len), QueryRule::plain(begin_len))
    };
    let choice = ChunkChoice {
        chunk_len: w,
        n_slots: length / w,
        n_first: 1,
        n_newest: 1,
        score: ChunkScore::Summary,
        slots: SlotPositions::Packed,
        query_block,
        in_prompt,
        generated,
    };
    Ok(HeadPlan { choice: Some(choice), ..HeadPlan::new([begin]) }.into())
}

#[cfg(test)]
mod tests {
    use crate::methods::draw;

    #[test]
    fn first_and_newest_chunks_are_always_seen() {
        insta::assert_snapshot!(draw("long_heads:chunk_len=2,attention_len=8", 64, 14), @r"
        0
        1 0
        2 1 0
        3 2 1 0
        4 3 2 1 0
        5 4 3 2 1 0
        6 5 4 3 2 1 0
        7 6 5 4 3 2 1 0
        6 5 ? ? ? ? 2 1 0
        7 6 ? ? ? ? 3 2 1 0
        6 5 ? ? ? ? ? ? 2 1 0
        7 6 ? ? ? ? ? ? 3 2 1 0
        6 5 ? ? ? ? ? ? ? ? 2 1 0
        7 6 ? ? ? ? ? ? ? ? 3 2 1 0
        ");
    }

    #[test]
    fn blocks_stand_in_the_text_where_there_are_some() {
        let text = |text: &str| {
            let method = crate::methods::Method::parse(text).unwrap();
            method.plan(&crate::spec::ModelSpec::tiny(64)).map(|plan| plan.method).map_err(|error| error.to_string())
        };
        let plain = "long_heads:chunk_len=4,attention_len=16,begin_len=16,variant=consistent";
        assert_eq!(text("long_heads:attention_len=16").as_deref(), Ok(plain));
        assert_eq!(text("long_heads:attention_len=16,query_block=1").as_deref(), Ok(plain));
        assert_eq!(text("long_heads:attention_len=16,query_block=2"), Ok(format!("{plain},query_block=2")));
        let refused = text("long_heads:attention_len=16,query_block=3").unwrap_err();
        assert!(refused.contains("chunk_len mod query_block = 0 (4 mod 3 = 1)"), "{refused}");
    }

    #[test]
    fn a_released_prompt_token_does_not_see_itself() {
        insta::assert_snapshot!(draw("long_heads:chunk_len=2,attention_len=8,variant=released", 64, 10), @r"
        0
        1 0
        2 1 0
        3 2 1 0
        4 3 2 1 0
        5 4 3 2 1 0
        6 5 4 3 2 1 0
        7 6 5 4 3 2 1 0
        6 5 ? ? ? ? 2 1 .
        7 6 ? ? ? ? 3 2 1 .
        ");
    }
}
