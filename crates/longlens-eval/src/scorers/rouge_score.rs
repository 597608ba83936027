//! ROUGE as the package `rouge_score` 0.1.2 computes it: F of shared words, of shared pairs of words, and of the longest common subsequence.

use std::borrow::Cow;
use std::collections::HashMap;

use super::common::{Common, Tie};
use super::overlap::n_shared;
use super::porter::stem;
use super::sentences::sentences;
use super::words::is_unspaced;

/// What counts as a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// Runs of `a` to `z` and digits in small letters: other scripts and accented letters vanish.
    Ascii,
    /// The same, and words of more than three letters are cut to their stems.
    AsciiStems,
    /// Runs of letters and digits of any script, signs of scripts without blanks one by one.
    AnyScript,
}

/// F measures from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rouge {
    /// Of words.
    pub rouge1: f64,
    /// Of pairs of words.
    pub rouge2: f64,
    /// Of the longest common subsequence of words.
    pub rouge_l: f64,
    /// Of what the sentences of one share with all of the other.
    pub rouge_l_sum: f64,
}

/// All measures of a prediction against a reference; `None` where they are too long to be compared.
pub fn rouge(prediction: &str, reference: &str, words: Words) -> Option<Rouge> {
    let (candidate, target) = (tokens(prediction, words), tokens(reference, words));
    let pairs = |tokens: &[String]| tokens.windows(2).map(<[String]>::to_vec).collect::<Vec<_>>();
    let by_sentence = |text: &str| -> Vec<Vec<String>> {
        sentences(text).into_iter().map(|sentence| tokens(sentence, words)).collect()
    };
    let length = Common::new(&target, &candidate, Tie::First)?.places.len() as f64;
    let of = |tokens: &[String]| length / tokens.len().max(1) as f64;
    Some(Rouge {
        rouge1: f_of_shared(&candidate, &target),
        rouge2: f_of_shared(&pairs(&candidate), &pairs(&target)),
        rouge_l: f_measure(of(&candidate), of(&target)),
        rouge_l_sum: f_of_sentences(&by_sentence(prediction), &by_sentence(reference))?,
    })
}

/// `rouge1` alone.
pub fn rouge1(prediction: &str, reference: &str, words: Words) -> f64 {
    f_of_shared(&tokens(prediction, words), &tokens(reference, words))
}

fn tokens(text: &str, words: Words) -> Vec<String> {
    let lower = text.to_lowercase();
    if words == Words::AnyScript {
        let mut tokens: Vec<String> = Vec::new();
        let mut goes_on = false;
        for c in lower.chars() {
            match tokens.last_mut() {
                _ if !c.is_alphanumeric() => goes_on = false,
                Some(word) if goes_on && !is_unspaced(c) => word.push(c),
                _ => {
                    tokens.push(c.into());
                    goes_on = !is_unspaced(c);
                }
            }
        }
        return tokens;
    }
    let is_kept = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let split = lower.split(|c| !is_kept(c)).filter(|word| !word.is_empty());
    let stemmed = |word| if words == Words::AsciiStems { stem(word) } else { Cow::Borrowed(word) };
    split.map(|word| stemmed(word).into_owned()).collect()
}

fn f_measure(precision: f64, recall: f64) -> f64 {
    if precision + recall > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 }
}

fn f_of_shared<T: Eq + std::hash::Hash>(candidate: &[T], target: &[T]) -> f64 {
    let n = n_shared(candidate, target) as f64;
    f_measure(n / candidate.len().max(1) as f64, n / target.len().max(1) as f64)
}

/// F of the words that the sentences of the target share with any sentence of the candidate; no word counts more often than a side has it.
fn f_of_sentences(candidate: &[Vec<String>], target: &[Vec<String>]) -> Option<f64> {
    let n_words = |sentences: &[Vec<String>]| sentences.iter().map(Vec::len).sum::<usize>();
    let (n_candidate, n_target) = (n_words(candidate), n_words(target));
    if n_candidate == 0 || n_target == 0 {
        return Some(0.0);
    }
    let (mut of_candidate, mut of_target) = (counts(candidate), counts(target));
    let mut n_hits = 0;
    for sentence in target {
        let mut places = Vec::new();
        for other in candidate {
            places.extend(Common::new(sentence, other, Tie::First)?.places);
        }
        places.sort_unstable();
        places.dedup();
        for place in places {
            let word = sentence[place].as_str();
            if let (Some(here @ 1..), Some(there @ 1..)) = (of_candidate.get_mut(word), of_target.get_mut(word)) {
                (*here, *there) = (*here - 1, *there - 1);
                n_hits += 1;
            }
        }
    }
    Some(f_measure(f64::from(n_hits) / n_candidate as f64, f64::from(n_hits) / n_target as f64))
}

fn counts(sentences: &[Vec<String>]) -> HashMap<&str, usize> {
    let mut counts = HashMap::new();
    for word in sentences.iter().flatten() {
        *counts.entry(word.as_str()).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_package_or_of_any_script() {
        assert_eq!(tokens("Café Zoë's 3.5-mile", Words::Ascii), ["caf", "zo", "s", "3", "5", "mile"]);
        assert_eq!(tokens("ferries running", Words::AsciiStems), ["ferri", "run"]);
        assert_eq!(tokens("Café 北京 Zoë", Words::AnyScript), ["café", "北", "京", "zoë"]);
    }
}
