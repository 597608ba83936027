//! Whether a model knows the words of a text, as far as its tokens tell: a small vocabulary spells foreign words out.

use std::collections::HashSet;

/// A vocabulary of fewer tokens is one of a toy: it holds the words that its model was trained on, and spells out all others.
const SMALL: usize = 8192;
/// Different words that are looked at, and as few as say nothing.
const MOST: usize = 2000;
const LEAST: usize = 4;
/// Letters of a word that is looked at: shorter ones are pieces of any vocabulary.
const LETTERS: usize = 3;
/// A word is spelled out where a token tells fewer letters of it than this.
const LETTERS_A_TOKEN: usize = 2;

/// What a user should know of a text that a vocabulary of `n_vocabulary` tokens spells out for the most part; `pieces` are the texts
/// of its tokens. Nothing where it knows the words, or where there are too few to tell.
pub fn spelled_out(pieces: &[String], n_vocabulary: usize) -> Option<String> {
    if n_vocabulary >= SMALL {
        return None;
    }
    let words = words(pieces);
    let n_spelled = words.iter().filter(|word| word.n_letters < LETTERS_A_TOKEN * word.n_tokens).count();
    (words.len() >= LEAST && 2 * n_spelled > words.len()).then(|| {
        format!(
            "this model knows few words: of {} different ones in this text it spells {n_spelled} out, a letter or two a token \
             (its vocabulary has {n_vocabulary} tokens). What it says of them means little; a real model reads any text",
            words.len()
        )
    })
}

/// A word, and the tokens that tell it.
struct Word {
    n_letters: usize,
    n_tokens: usize,
}

/// The first different words of a text.
fn words(pieces: &[String]) -> Vec<Word> {
    let (mut words, mut seen) = (Vec::new(), HashSet::new());
    let mut text = String::new();
    let mut begun = 0;
    // a token whose letters are not whole yet has no text: its letter comes with a later one
    let ends = [" ".to_owned()];
    for (at, piece) in pieces.iter().chain(&ends).enumerate() {
        for letter in piece.chars() {
            if letter.is_alphabetic() {
                if text.is_empty() {
                    begun = at;
                }
                text.push(letter);
                continue;
            }
            if text.is_empty() {
                continue;
            }
            let n_letters = text.chars().count();
            // where the word's last letter ends its token, the sign stands in the next one
            let is_next = piece.starts_with(letter);
            if n_letters >= LETTERS && seen.insert(std::mem::take(&mut text)) {
                words.push(Word { n_letters, n_tokens: at - begun + usize::from(!is_next) });
            }
            text.clear();
            if words.len() == MOST {
                return words;
            }
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(pieces: &str, n_vocabulary: usize) -> Option<String> {
        let pieces: Vec<String> = pieces.split('|').map(str::to_owned).collect();
        spelled_out(&pieces, n_vocabulary)
    }

    #[test]
    fn words_that_are_spelled_out_are_told_of_a_small_vocabulary_alone() {
        let foreign = "T|r|an|s|f|or|m|er|s| at|t|e|nd| g|l|o|b|al|l|y|,| q|u|i|e|t|l|y|.";
        let warning = told(foreign, 1024).unwrap();
        assert!(warning.contains("of 4 different ones") && warning.contains("1024 tokens"), "{warning}");
        assert_eq!(told(foreign, 49_152), None);
        assert_eq!(told("The| grass| is| green|.| The| sky| is| blue|.", 1024), None);
        assert_eq!(told("Z|y|x|w| v|u|t|s", 1024), None, "two words say nothing");
    }

    #[test]
    fn a_word_that_comes_again_counts_once() {
        let said = |text: &str| told(text, 1024).is_some();
        let known = "The| grass| green| water| boat";
        assert!(!said(&format!("{known}{}", "| q|u|i|e|t".repeat(9))));
        assert!(said("| q|u|i|e|t| q|u|a|r|k| z|e|b|r|a| w|a|l|t|z"));
    }
}
