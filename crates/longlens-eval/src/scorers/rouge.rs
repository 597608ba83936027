//! ROUGE-L as the package `rouge` 1.0.1 computes it, which LongBench uses.
//!
//! Texts are cut into sentences at full stops and into words at spaces; case and other punctuation count. Every sentence of the reference is
//! compared with every sentence of the prediction, and what counts are the different words of all common subsequences. The package walks
//! back through a table by calling itself once a step. Python allows 1000 calls within each other, and LongBench takes the exception for a
//! score of 0: long texts without full stops score nothing.

use std::collections::HashSet;

use super::common::{Common, Tie};

/// Steps back through the table that Python allows below `eval.py`, whose own calls and those of the package take the other frames.
pub const STEPS: usize = 990;

/// F of ROUGE-L, from 0 to just below 1 (a constant of 1e-8 stands in the denominator). 0 where a text has no sentence, and where a walk
/// takes more than `steps`, of which `None` allows any number. `None` where sentences are too long to be compared.
pub fn rouge_l(prediction: &str, reference: &str, steps: Option<usize>) -> Option<f64> {
    let (prediction, reference) = (sentences(prediction), sentences(reference));
    if prediction.is_empty() || reference.is_empty() {
        return Some(0.0);
    }
    let mut shared: HashSet<&str> = HashSet::new();
    for of_reference in &reference {
        for of_prediction in &prediction {
            // every step leaves a word of one of them behind, or of both
            if steps.is_some_and(|steps| of_reference.len().min(of_prediction.len()) > steps) {
                return Some(0.0);
            }
            let common = Common::new(of_reference, of_prediction, Tie::Second)?;
            if steps.is_some_and(|steps| common.n_steps > steps) {
                return Some(0.0);
            }
            shared.extend(common.places.iter().map(|place| of_reference[*place].as_str()));
        }
    }
    let n_different = |sentences: &[Vec<String>]| sentences.iter().flatten().collect::<HashSet<_>>().len() as f64;
    let precision = shared.len() as f64 / n_different(&prediction);
    let recall = shared.len() as f64 / n_different(&reference);
    Some(2.0 * (precision * recall / (precision + recall + 1e-8)))
}

/// Sentences as words. A blank sentence stays, as one empty word.
fn sentences(text: &str) -> Vec<Vec<String>> {
    let pieces = text.split('.').filter(|piece| !piece.is_empty());
    pieces
        .map(|piece| {
            let words: Vec<String> = super::words::split(piece).map(str::to_owned).collect();
            if words.is_empty() { vec![String::new()] } else { words }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walk_ends_where_python_gives_up() {
        // nothing is shared, so a walk takes one step for every word of the prediction
        let words =
            |n: usize| (0..n).map(|word| format!("w{word}")).chain(["end".to_owned()]).collect::<Vec<_>>().join(" ");
        let score = |n| rouge_l(&words(n), "start end", Some(STEPS)).unwrap();
        assert!(score(STEPS - 1) > 0.0);
        assert!(score(STEPS) == 0.0);
        assert!(rouge_l(&words(STEPS), "start end", None).unwrap() > 0.0);
        assert_eq!([rouge_l("...", "a", None), rouge_l("", "", None)], [Some(0.0); 2]);
        assert!((rouge_l(" . ", ".  ", None).unwrap() - 1.0).abs() < 1e-7, "blank sentences are one empty word each");
    }
}
