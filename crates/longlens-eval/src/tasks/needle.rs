//! Needles in a haystack: a fact or several hidden in long prose at a grid of depths, and asked for at the end.
//!
//! Two scripts: gkamradt's, which everybody knows, and Fu et al.'s, which made of it an evaluation without a judge. Both cut the haystack to
//! the length, take 200 tokens off for question and answer, and hide the needle where a full stop is a token of its own ([`insert`]).
//! In the fixed mode prompt and answer together have the length, and needles stand between the sentences of the text.
//!
//! The scripts read the haystack's files in the order of the disk, which differs by machine; here they are read by name. All depths of a
//! trial have one haystack, the shallow ones first, so that each prompt shares its beginning with the next. Special tokens are left out of
//! the context's text, into which Fu et al.'s script writes them.

use longlens_core::lens::TextCodec;
use longlens_core::setting::{Fallback, Info, Kind, Param};

use self::context::{Context, Hidden};
use self::frame::{Form, Turns};
use self::spacing::{Spacing, lengths};
use super::haystack::{HAYSTACK, Haystack};
use super::{Ask, LENGTH, MODE, Mean, Samples, Task, samples, template};
use crate::error::EvalError;
use crate::sample::{Answering, Rule, Sample, Wrapper};

pub mod colours;
mod context;
mod frame;
mod insert;
mod spacing;

/// The name of the family.
const FAMILY: &str = "needle";

/// gkamradt's script.
pub static GKAMRADT: Task = Task {
    info: &Info {
        name: "needle",
        title: "Needle in a haystack",
        source: "gkamradt/LLMTest_NeedleInAHaystack: needlehaystack/llm_needle_haystack_tester.py",
        summary: "one fact or three in prose, at a grid of depths; words of the answer are counted where the script asks a judge",
        params: &[
            LENGTH,
            LENGTHS,
            SHORTEST,
            depths(35),
            SPACING,
            NEEDLES,
            NEEDLE,
            QUESTION,
            ANSWER,
            HAYSTACK,
            form("gkamradt"),
            score("auto"),
            answer_tokens(300),
            samples(1),
            MODE,
            template("off"),
        ],
    },
    version: 1,
    family: FAMILY,
    mean: Mean::Plain,
    make: |ask| grid(ask, Script::Gkamradt),
};

/// The script of "Data Engineering for Scaling Language Models to 128K Context" (Fu et al., 2024).
pub static FU: Task = Task {
    info: &Info {
        name: "needle_fu",
        title: "Needle in a haystack, without a judge",
        source: "FranxYao/Long-Context-Data-Engineering: eval/needle/needle_in_haystack.py",
        summary: "as `needle`, as a question about a story book, scored by ROUGE-1 of needle and answer",
        params: &[
            LENGTH,
            LENGTHS,
            SHORTEST,
            depths(10),
            SPACING,
            NEEDLES,
            NEEDLE,
            QUESTION,
            ANSWER,
            HAYSTACK,
            form("book"),
            score("rouge1"),
            answer_tokens(50),
            samples(1),
            MODE,
            template("off"),
        ],
    },
    version: 1,
    family: FAMILY,
    mean: Mean::Plain,
    make: |ask| grid(ask, Script::Fu),
};

/// Whose rules hold in the faithful mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    Gkamradt,
    Fu,
}

const LENGTHS: Param = Param {
    name: "lengths",
    alias: "context_lengths_num_intervals",
    kind: Kind::Count(1),
    default: Fallback::Number(1.0),
    help: "how many lengths, evenly from `shortest` to `length`",
};

const SHORTEST: Param = Param {
    name: "shortest",
    alias: "context_lengths_min",
    kind: Kind::Count(16),
    default: Fallback::Number(1000.0),
    help: "the first of several lengths",
};

const fn depths(default: usize) -> Param {
    Param {
        name: "depths",
        alias: "document_depth_percent_intervals",
        kind: Kind::Count(1),
        default: Fallback::Number(default as f64),
        help: "places of the needle from the beginning to the end",
    }
}

const SPACING: Param = Param {
    name: "spacing",
    alias: "document_depth_percent_interval_type",
    kind: Kind::Word(&Spacing::NAMES),
    default: Fallback::Word("linear"),
    help: "whether depths are spaced evenly, in whole per cent, or closer to both ends",
};

const NEEDLES: Param = Param {
    name: "needles",
    alias: "multi_needle",
    kind: Kind::Word(&["one", "pizza"]),
    default: Fallback::Word("one"),
    help: "the script's needle, or its three needles about a pizza, the second and third evenly behind the first",
};

const NEEDLE: Param = Param {
    name: "needle",
    alias: "",
    kind: Kind::Text,
    default: Fallback::Word(""),
    help: "a needle of your own, or several with | between; it takes a `question`",
};

const QUESTION: Param = Param {
    name: "question",
    alias: "retrieval_question",
    kind: Kind::Text,
    default: Fallback::Word(""),
    help: "what is asked in place of the script's question",
};

const ANSWER: Param = Param {
    name: "answer",
    alias: "",
    kind: Kind::Text,
    default: Fallback::Word(""),
    help: "what an answer has to tell, facts with | between; the needle when not given",
};

const fn form(default: &'static str) -> Param {
    Param {
        name: "form",
        alias: "",
        kind: Kind::Word(&Form::NAMES),
        default: Fallback::Word(default),
        help: "words around haystack and question: gkamradt's, or those of Fu et al. about a book",
    }
}

const fn score(default: &'static str) -> Param {
    Param {
        name: "score",
        alias: "",
        kind: Kind::Word(&["auto", "words", "rouge1", "facts"]),
        default: Fallback::Word(default),
        help: "the share of expected words in the answer, ROUGE-1 against the needle, or the share of facts told; auto is words for one \
               needle and facts for several",
    }
}

const fn answer_tokens(default: usize) -> Param {
    Param {
        name: "answer_tokens",
        alias: "max_tokens_to_sample",
        kind: Kind::Count(1),
        default: Fallback::Number(default as f64),
        help: "tokens of the answer at most",
    }
}

/// How an answer is scored, and against what.
fn scored(ask: &Ask<'_>, hidden: &Hidden) -> (&'static str, Vec<String>) {
    let several = hidden.needles.len() > 1;
    match ask.text("score").as_deref() {
        Some("rouge1") => {
            let needles: Vec<_> = hidden.needles.iter().map(|needle| needle.trim()).collect();
            ("niah_rouge1_stemmed_x10", vec![needles.join(" ")])
        }
        Some("facts") => ("needle_facts", hidden.facts.clone()),
        Some("auto") if several => ("needle_facts", hidden.facts.clone()),
        _ => ("niah_keyword_recall", vec![hidden.expected.clone()]),
    }
}

/// All depths of a length, all lengths of a trial, all trials.
fn grid(ask: &Ask<'_>, script: Script) -> Result<Samples, EvalError> {
    let hidden = Hidden::of(ask)?;
    let haystack = Haystack::of(ask)?;
    let wrapper = ask.wrapper();
    let form = ask.text("form").and_then(|name| Form::named(&name)).unwrap_or(Form::Gkamradt);
    let is_turns = form == Form::Gkamradt && wrapper == Wrapper::Model;
    let turns = if is_turns { Turns::taken(ask.codec)? } else { Turns::Three };
    let mut notes = haystack.notes.clone();
    notes.extend(turns.note());
    let is_folder = |name: String| ask.files.folder(&name).is_ok_and(|files| files.is_some());
    if ask.text(HAYSTACK.name).is_some_and(is_folder) {
        notes
            .push("files of a haystack are read in the order of their names; the script takes that of the disk".into());
    }

    let spacing = if ask.is("spacing", "sigmoid") { Spacing::Sigmoid } else { Spacing::Linear };
    let depths = spacing.depths(ask.count("depths"));
    let lengths = lengths(ask.count("shortest"), ask.length(), ask.count("lengths"));
    let n_trials = ask.n_samples();
    let (scorer, answers) = scored(ask, &hidden);
    let answering = Answering::new(ask.count("answer_tokens"), scorer);
    let mut context = Context::new(script, ask.mode(), haystack, hidden, (form, wrapper, turns), answering.max_tokens);

    let (n_depths, n_lengths) = (depths.len(), lengths.len());
    let make = move |at: usize, codec: &dyn TextCodec| {
        let (depth, length) = (depths[at % n_depths], lengths[at / n_depths % n_lengths]);
        let trial = at / n_depths / n_lengths;
        let (prompt, evidence) = context.prompt(codec, (trial, n_trials), length, depth)?;
        Ok(Sample {
            id: format!("{trial}: {length} at {depth}"),
            prompt,
            answers: answers.clone(),
            rule: Rule::Answer(answering.clone()),
            length: Some(length),
            depth: Some(depth / 100.0),
            part: None,
            evidence,
            n_truncated: 0,
        })
    };
    Ok(Samples { notes, ..Samples::making(n_trials * n_lengths * n_depths, make) })
}

#[cfg(test)]
mod tests;
