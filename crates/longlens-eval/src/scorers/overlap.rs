//! Words of an answer and how many of them another one has: the measures of SQuAD.

use std::collections::HashMap;
use std::hash::Hash;

use super::words::{is_punctuation, is_word, split};

/// An answer as SQuAD compares it: in small letters, without ASCII's punctuation and the articles of English, one space between words.
/// Punctuation goes first, so `the-an` is one word; marks that are not ASCII stay.
pub(super) fn normalized(text: &str) -> String {
    let text: String = text.to_lowercase().chars().filter(|c| !is_punctuation(*c)).collect();
    let text = without_articles(&text);
    split(&text).collect::<Vec<_>>().join(" ")
}

/// Every `a`, `an` and `the` between other characters than letters, digits and underscores becomes a space.
pub(super) fn without_articles(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        kept.push_str(if matches!(word, "a" | "an" | "the") { " " } else { word });
        let between = behind.find(is_word).unwrap_or(behind.len());
        kept.push_str(&behind[..between]);
        rest = &behind[between..];
    }
    kept
}

/// How many items two lists share, each as often as the one that has it less often.
pub(super) fn n_shared<T: Eq + Hash>(first: &[T], second: &[T]) -> usize {
    let mut left: HashMap<&T, usize> = HashMap::new();
    for item in second {
        *left.entry(item).or_default() += 1;
    }
    let take = |item: &&T| {
        left.get_mut(*item).is_some_and(|n| {
            n.checked_sub(1).is_some_and(|fewer| {
                *n = fewer;
                true
            })
        })
    };
    first.iter().filter(take).count()
}

/// F1 of the items of a prediction against those of a reference, from 0 to 1; 0 where they share none, so nothing against nothing is 0.
pub(super) fn f1<T: Eq + Hash>(prediction: &[T], reference: &[T]) -> f64 {
    let n_shared = n_shared(prediction, reference) as f64;
    if n_shared == 0.0 {
        return 0.0;
    }
    let precision = n_shared / prediction.len() as f64;
    let recall = n_shared / reference.len() as f64;
    2.0 * precision * recall / (precision + recall)
}

/// The same, where nothing against nothing is a perfect answer.
pub(super) fn fair_f1<T: Eq + Hash>(prediction: &[T], reference: &[T]) -> f64 {
    if prediction.is_empty() && reference.is_empty() { 1.0 } else { f1(prediction, reference) }
}

/// F1 of two texts by their normalized words.
pub(super) fn word_f1(prediction: &str, reference: &str, is_fixed: bool) -> f64 {
    let (prediction, reference) = (normalized(prediction), normalized(reference));
    let words = |text| split(text).collect::<Vec<_>>();
    let f1 = if is_fixed { fair_f1 } else { f1 };
    f1(&words(&prediction), &words(&reference))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_compared_without_their_dress() {
        for (text, expected) in [
            ("The  Theatre, a\tmoor", "theatre moor"),
            ("The-an-a cat", "theana cat"),
            ("an_a the.", "ana"),
            ("“a” an", "“ ”"),
            ("the", ""),
        ] {
            assert_eq!(normalized(text), expected, "{text}");
        }
        assert_eq!(n_shared(&["a", "a", "b"], &["a", "c", "a", "a"]), 2);
    }
}
