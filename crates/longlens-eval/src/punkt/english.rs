//! What Punkt knows of English words, packed beside the code.
//!
//! Of a word's places it only matters whether it was seen small, and, if so, whether it was seen large inside a sentence, too, and whether
//! it began one: a word that was only seen large is judged like one that was never seen.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use super::tokens::Token;
use crate::packed::lists;

/// Whether a word begins a sentence where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Starts {
    Yes,
    No,
    Unknown,
}

/// Where a word was seen beside being seen small.
#[derive(Debug, Default)]
struct Seen {
    large_inside: bool,
    /// Small at the beginning of a sentence, and large nowhere.
    begins_small: bool,
}

/// The parameters of a language.
pub struct Parameters {
    abbreviations: HashSet<String>,
    /// Words beside each other with a full stop between them, parted by a blank.
    collocations: HashSet<String>,
    starters: HashSet<String>,
    small: HashMap<String, Seen>,
}

/// Those of English.
pub fn parameters() -> &'static Parameters {
    static ENGLISH: LazyLock<Parameters> = LazyLock::new(Parameters::unpack);
    &ENGLISH
}

impl Parameters {
    fn unpack() -> Self {
        let mut lists = lists(include_bytes!("../../data/punkt-english.txt.gz"));
        let mut take = |name: &str| lists.remove(name).unwrap_or_else(|| panic!("there is no list `{name}`"));
        let mut small: HashMap<String, Seen> = HashMap::new();
        small.extend(take("small").into_iter().map(|word| (word, Seen::default())));
        small.extend(
            take("small and large").into_iter().map(|word| (word, Seen { large_inside: true, ..Seen::default() })),
        );
        for word in take("begins small") {
            small.entry(word).or_default().begins_small = true;
        }
        Self {
            abbreviations: take("abbreviations").into_iter().collect(),
            collocations: take("collocations").into_iter().collect(),
            starters: take("starters").into_iter().collect(),
            small,
        }
    }

    pub fn is_abbreviation(&self, word: &str) -> bool {
        self.abbreviations.contains(word)
    }

    pub fn is_collocation(&self, word: &str, next: &str) -> bool {
        self.collocations.contains(&format!("{word} {next}"))
    }

    /// Whether it often begins sentences.
    pub fn is_starter(&self, word: &str) -> bool {
        self.starters.contains(word)
    }

    pub fn is_seen_small(&self, word: &str) -> bool {
        self.small.contains_key(word)
    }

    /// Section 4.1.1, the orthographic heuristic: a word that is seen small and is large here begins a sentence, and a small word does not.
    pub fn starts(&self, token: &Token) -> Starts {
        if matches!(token.text, ";" | ":" | "," | "." | "!" | "?") {
            return Starts::No;
        }
        let seen = self.small.get(token.kind_as_word());
        if token.starts_large() && seen.is_some_and(|seen| !seen.large_inside) {
            Starts::Yes
        } else if token.starts_small() && !seen.is_some_and(|seen| seen.begins_small) {
            Starts::No
        } else {
            Starts::Unknown
        }
    }
}
