//! RULER: needles of several kinds, variables that are passed on, words that are counted, and questions about documents.
//!
//! Hsieh et al., 2024, "RULER: What's the Real Context Size of Your Long-Context Language Models?", arXiv:2404.06654. Prompts are those of
//! the authors' scripts (NVIDIA/RULER), byte for byte: the same random numbers in the same order, and the same search for the size of a
//! haystack that fills a length. Names of tasks are those of lm-eval.
//!
//! Where a script never ends, because a prompt cannot be as short as asked, an error says so. What the fixed mode does otherwise stands
//! with each kind of task; in all of them a length counts the model's own first token, and prompts can be as short as one piece of haystack.

use longlens_core::setting::{Info, Kind, Param};

use super::haystack::HAYSTACK;
use super::{ALL, LENGTH, MODE, Mean, Task, file, samples, seed, template};
use niah::{Hay, Niah, Said};

mod cwe;
mod essay;
mod fit;
mod fwe;
mod niah;
mod qa;
mod stored;
#[cfg(test)]
mod tests;
mod vt;
mod words;

/// The name of the family.
const FAMILY: &str = "ruler";

/// How answers of a kind of task are had and scored.
#[derive(Debug, PartialEq, Eq)]
struct Answers {
    /// What RULER calls the kind, for short.
    kind: &'static str,
    /// Tokens of an answer at most, which count into the length.
    n_tokens: usize,
    scorer: &'static str,
}

const NIAH: Answers = Answers { kind: "niah", n_tokens: 128, scorer: "ruler_string_match_all" };
const VT: Answers = Answers { kind: "vt", n_tokens: 30, scorer: "ruler_string_match_all" };
const CWE: Answers = Answers { kind: "cwe", n_tokens: 120, scorer: "ruler_string_match_all" };
const FWE: Answers = Answers { kind: "fwe", n_tokens: 50, scorer: "ruler_string_match_all" };
const QA: Answers = Answers { kind: "qa", n_tokens: 32, scorer: "ruler_string_match_part" };

/// Settings of tasks that need no text.
const PARAMS: &[Param] = &[LENGTH, samples(500), seed(42), MODE, template("off")];
/// Settings of tasks whose haystack is a text.
const ESSAY_PARAMS: &[Param] = &[LENGTH, HAYSTACK, samples(500), seed(42), MODE, template("off")];

/// One number in repeated sentences.
pub static NIAH_SINGLE_1: Task = Task {
    info: &Info {
        name: "niah_single_1",
        title: "RULER: one needle in noise",
        source: "NVIDIA/RULER: niah.py",
        summary: "a number of seven digits that belongs to two words, in five sentences that are repeated",
        params: PARAMS,
    },
    version: 1,
    family: FAMILY,
    mean: Mean::Plain,
    make: |ask| niah::samples(ask, Niah { hay: Hay::Noise, ..niah::SINGLE }),
};

/// One number in a text.
pub static NIAH_SINGLE_2: Task = Task {
    info: &Info {
        name: "niah_single_2",
        title: "RULER: one needle in a text",
        source: "NVIDIA/RULER: niah.py",
        summary: "a number of seven digits that belongs to two words, between the sentences of a text",
        params: ESSAY_PARAMS,
    },
    version: 1,
    family: FAMILY,
    mean: Mean::Plain,
    make: |ask| niah::samples(ask, niah::SINGLE),
};

/// One UUID in a text.
pub static NIAH_SINGLE_3: Task = Task {
    info: &Info {
        name: "niah_single_3",
        title: "RULER: one UUID in a text",
        source: "NVIDIA/RULER: niah.py",
        summary: "a UUID that belongs to two words, between the sentences of a text",
        params: ESSAY_PARAMS,
    },
    version: 1,
    family: FAMILY,
    mean: Mean::Plain,
    make: |ask| niah::samples(ask, Niah { value: Said::Uuids, ..niah::SINGLE }),
};

/// One needle of four.
pub static NIAH_MULTIKEY_1: Task = Task {
    info: &Info {
        name: "niah_multikey_1",
        title: "RULER: one needle of four",
        source: "NVIDIA/RULER: niah.py",
        summary: "one of four numbers that belong to two words each, between the sentences of a text",
        params: ESSAY_PARAMS,
    },
    version: 1,
    family: FAMILY,
    mean: Mean::Plain,
    make: |ask| niah::samples(ask, Niah { n_keys: 4, ..niah::SINGLE }),
};

/// One needle in a haystack of needles.
pub static NIAH_MULTIKEY_2: Task = Task {
    info: &Info {
        name: "niah_multikey_2",
        title: "RULER: one needle among needles",
        source: "NVIDIA/RULER: niah.py",
        summary: "one number among lines that all tell a number of two words",
        params: PARAMS,
    },
    version: 1,
    family: FAMILY,
    mean: Mean::Plain,
    make: |ask| niah::samples(ask, Niah { hay: Hay::Needles, ..niah::SINGLE }),
};

/// One UUID in a haystack of UUIDs.
pub static NIAH_MULTIKEY_3: Task = Task {
    info: &Info {
        name: "niah_multikey_3",
        title: "RULER: one UUID among UUIDs",
        source: "NVIDIA/RULER: niah.py",
        summary: "the UUID of one UUID among lines that all tell one of another",
        params: PARAMS,
    },
    version: 1,
    family: FAMILY,
    mean: Mean::Plain,
    make: |ask| niah::samples(ask, Niah { hay: Hay::Needles, key: Said::Uuids, value: Said::Uuids, ..niah::SINGLE }),
};

/// Four numbers of one key.
pub static NIAH_MULTIVALUE: Task = Task {
    info: &Info {
        name: "niah_multivalue",
        title: "RULER: four values of a key",
        source: "NVIDIA/RULER: niah.py",
        summary: "all of four numbers that belong to the same two words, between the sentences of a text",
        params: ESSAY_PARAMS,
    },
    version: 1,
    family: FAMILY,
    mean: Mean::Plain,
    make: |ask| niah::samples(ask, Niah { n_values: 4, ..niah::SINGLE }),
};

/// Four needles, all asked for.
pub static NIAH_MULTIQUERY: Task = Task {
    info: &Info {
        name: "niah_multiquery",
        title: "RULER: four needles at once",
        source: "NVIDIA/RULER: niah.py",
        summary: "the numbers of four pairs of words, between the sentences of a text",
        params: ESSAY_PARAMS,
    },
    version: 1,
    family: FAMILY,
    mean: Mean::Plain,
    make: |ask| niah::samples(ask, Niah { n_keys: 4, n_queries: 4, ..niah::SINGLE }),
};

/// Variables that pass on a value.
pub static VARIABLES: Task = Task {
    info: &Info {
        name: "ruler_vt",
        title: "RULER: variable tracking",
        source: "NVIDIA/RULER: variable_tracking.py",
        summary: "five variables that pass on a number, in sentences that are repeated, after an example",
        params: PARAMS,
    },
    version: 1,
    family: FAMILY,
    mean: Mean::Plain,
    make: vt::samples,
};

/// Words that appear more often than others.
pub static COMMON_WORDS: Task = Task {
    info: &Info {
        name: "ruler_cwe",
        title: "RULER: common words",
        source: "NVIDIA/RULER: common_words_extraction.py",
        summary: "the ten words of a numbered list that stand in it most often, after an example",
        params: &[LENGTH, cwe::WORDS, samples(500), seed(42), MODE, template("off")],
    },
    version: 1,
    family: FAMILY,
    mean: Mean::Plain,
    make: cwe::samples,
};

/// Coded words that are the most frequent ones.
pub static FREQUENT_WORDS: Task = Task {
    info: &Info {
        name: "ruler_fwe",
        title: "RULER: frequent words",
        source: "NVIDIA/RULER: freq_words_extraction.py",
        summary: "the three most frequent of coded words, which are as frequent as words of a language",
        params: PARAMS,
    },
    version: 1,
    family: FAMILY,
    mean: Mean::Plain,
    make: fwe::samples,
};

/// Questions of `SQuAD`.
pub static QA_SQUAD: Task = Task {
    info: &Info {
        name: "ruler_qa_squad",
        title: "RULER: questions of SQuAD",
        source: "NVIDIA/RULER: qa.py",
        summary: "questions about one of many paragraphs, from a file as SQuAD is published",
        params: &[
            LENGTH,
            file("file", "questions, as SQuAD's dev-v2.0.json"),
            samples(500),
            seed(42),
            MODE,
            template("off"),
        ],
    },
    version: 1,
    family: FAMILY,
    mean: Mean::Plain,
    make: |ask| qa::samples(ask, qa::Source::Squad),
};

/// Questions of `HotpotQA`.
pub static QA_HOTPOT: Task = Task {
    info: &Info {
        name: "ruler_qa_hotpot",
        title: "RULER: questions of HotpotQA",
        source: "NVIDIA/RULER: qa.py",
        summary: "questions about two of many paragraphs, from a file as HotpotQA is published",
        params: &[
            LENGTH,
            file("file", "questions, as HotpotQA's hotpot_dev_distractor_v1.json"),
            samples(500),
            seed(42),
            MODE,
            template("off"),
        ],
    },
    version: 1,
    family: FAMILY,
    mean: Mean::Plain,
    make: |ask| qa::samples(ask, qa::Source::Hotpot),
};

/// Prompts that RULER's scripts wrote.
pub static STORED: Task = Task {
    info: &Info {
        name: "ruler_file",
        title: "Stored prompts of RULER",
        source: "a file of the user's, as NVIDIA/RULER's scripts write it",
        summary: "the prompts of a file: `input`, `outputs` and `answer_prefix` a line",
        params: &[
            file("file", "prompts, a JSON object a line"),
            Param {
                name: "kind",
                alias: "task",
                kind: Kind::Word(&stored::KINDS),
                default: longlens_core::setting::Fallback::Word("auto"),
                help: "the kind of task, which decides length and scorer of answers; by the words that begin an answer when not given",
            },
            ALL,
            MODE,
            template("off"),
        ],
    },
    version: 1,
    family: FAMILY,
    mean: Mean::Plain,
    make: stored::samples,
};
