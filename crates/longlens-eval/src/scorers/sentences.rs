//! Sentences of a text, for the measure that looks at each of them alone.
//!
//! Only `rougeLsum` depends on it, which enters no score.

use super::words::is_blank;
use crate::punkt;

/// The sentences of `text`, line by line; blanks around them are not theirs.
pub(super) fn sentences(text: &str) -> Vec<&str> {
    let sentences = punkt::sentences(text).into_iter().flat_map(|sentence| text[sentence].split('\n'));
    sentences.filter(|line| !line.chars().all(is_blank)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_cut_at_lines_too() {
        let text = "Mr. Aho stayed! \"Why?\" A heading\n\nNext. J. S. Bach";
        assert_eq!(sentences(text), ["Mr. Aho stayed!", "\"Why?\"", "A heading", "Next.", "J. S. Bach"]);
    }
}
