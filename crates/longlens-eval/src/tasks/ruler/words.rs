//! The words that RULER draws: those of the package `wonderwords`.

use std::ops::Range;
use std::sync::LazyLock;

use crate::packed::{Lists, lists};

fn wonderwords() -> &'static Lists {
    static LISTS: LazyLock<Lists> = LazyLock::new(|| lists(include_bytes!("../../../data/wonderwords.txt.gz")));
    &LISTS
}

/// All words, each once, sorted.
pub fn all() -> Vec<&'static str> {
    let mut words: Vec<_> = wonderwords().values().flatten().map(String::as_str).collect();
    words.sort_unstable();
    words.dedup();
    words
}

/// Pairs of an adjective and a noun, such as `ad hoc-turnover`, sorted. There are six millions, so they are not held but counted.
pub struct Pairs {
    nouns: &'static [String],
    /// Adjectives with nouns that follow each other in the order of pairs, and pairs before them.
    blocks: Vec<Block>,
    n: usize,
}

struct Block {
    adjective: &'static str,
    nouns: Range<usize>,
    n_before: usize,
}

impl Pairs {
    /// Those of all adjectives and nouns.
    pub fn all() -> &'static Self {
        static PAIRS: LazyLock<Pairs> = LazyLock::new(Pairs::new);
        &PAIRS
    }

    fn new() -> Self {
        let nouns = wonderwords()["nouns"].as_slice();
        let mut adjectives: Vec<&str> = wonderwords()["adjectives"].iter().map(String::as_str).collect();
        // as pairs are sorted, by the dash as well
        adjectives.sort_unstable_by_key(|adjective| format!("{adjective}-"));
        let mut pairs = Self { nouns, blocks: Vec::new(), n: 0 };
        let mut at = 0;
        while at < adjectives.len() {
            let adjective = adjectives[at];
            let mut first_noun = 0;
            at += 1;
            // pairs of `blue-eyed` stand amid those of `blue`
            while let Some(longer) = adjectives.get(at)
                && let Some(rest) = longer.strip_prefix(adjective).and_then(|rest| rest.strip_prefix('-'))
            {
                let place = nouns.partition_point(|noun| **noun < *format!("{rest}-"));
                pairs.push(adjective, first_noun..place);
                pairs.push(longer, 0..nouns.len());
                first_noun = place;
                at += 1;
            }
            pairs.push(adjective, first_noun..nouns.len());
        }
        pairs
    }

    fn push(&mut self, adjective: &'static str, nouns: Range<usize>) {
        let n_nouns = nouns.len();
        self.blocks.push(Block { adjective, nouns, n_before: self.n });
        self.n += n_nouns;
    }

    pub fn len(&self) -> usize {
        self.n
    }

    /// The pair of this number.
    pub fn get(&self, at: usize) -> String {
        let behind = self.blocks.partition_point(|block| block.n_before <= at);
        let block = &self.blocks[behind - 1];
        let noun = &self.nouns[block.nouns.start + at - block.n_before];
        format!("{}-{noun}", block.adjective)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_package() {
        let words = all();
        assert_eq!(words.len(), 8166);
        assert!(["ATM", "ad hoc", "jalapeño", "x-ray", "zoot-suit"].iter().all(|word| words.contains(word)));
    }

    #[test]
    fn pairs_are_sorted() {
        let pairs = Pairs::all();
        assert_eq!(pairs.len(), 910 * 6782);
        for block in pairs.blocks.iter().filter(|block| !block.nouns.is_empty()) {
            // nouns of a block are sorted, so pairs are if the blocks meet in order
            assert!(
                block.n_before == 0 || pairs.get(block.n_before - 1) < pairs.get(block.n_before),
                "{}",
                block.adjective
            );
        }
        assert_eq!((pairs.get(0), pairs.get(6_171_619)), ("Early-ATM".into(), "zonked-zucchini".into()));
        assert!(pairs.blocks.iter().filter(|block| block.adjective == "blue").count() == 2);
    }
}
