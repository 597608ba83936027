//! A text as haystack: its first words, cut into sentences, with needles between them.

use std::ops::Range;

use crate::punkt;
use crate::words::{is_blank, strip};

/// A text whose words are counted.
pub struct Essay {
    /// With one blank in place of each run of them.
    text: String,
    /// Where each word ends.
    word_ends: Vec<usize>,
    /// The last part that was cut, since most prompts of a length take the same.
    cut: Cut,
}

#[derive(Default)]
struct Cut {
    n_words: usize,
    text: String,
    sentences: Vec<Range<usize>>,
}

impl Essay {
    pub fn new(text: &str) -> Self {
        let mut collapsed = String::with_capacity(text.len());
        for c in text.chars() {
            if !is_blank(c) {
                collapsed.push(c);
            } else if !collapsed.ends_with(' ') {
                collapsed.push(' ');
            }
        }
        let mut word_ends: Vec<_> = collapsed.match_indices(' ').map(|(at, _)| at).collect();
        word_ends.push(collapsed.len());
        Self { text: collapsed, word_ends, cut: Cut::default() }
    }

    /// The first `n_words` words, over again from the beginning where there are fewer.
    fn first(&self, n_words: usize) -> String {
        let n_held = self.word_ends.len();
        let (n_times, n_left) = (n_words / n_held, n_words % n_held);
        let rest = n_left.checked_sub(1).map(|last| &self.text[..self.word_ends[last]]);
        let parts: Vec<_> = std::iter::repeat_n(&*self.text, n_times).chain(rest).collect();
        strip(&parts.join(" ")).to_owned()
    }

    /// The first `n_words` words with each needle in a place of its own: `depths` in percent of the sentences, in any order; needles take
    /// them from the first on.
    pub fn hide(&mut self, n_words: usize, needles: &[String], depths: &[u32]) -> String {
        if self.cut.n_words != n_words {
            let text = self.first(n_words);
            self.cut = Cut { n_words, sentences: punkt::sentences(&text), text };
        }
        let Cut { text, sentences, .. } = &self.cut;
        let mut places: Vec<_> =
            depths.iter().map(|depth| (sentences.len() as f64 * (f64::from(*depth) / 100.0)) as usize).collect();
        places.sort_unstable();
        let joined = |part: &[Range<usize>]| part.iter().map(|part| &text[part.clone()]).collect::<Vec<_>>().join(" ");
        let (mut pieces, mut start) = (Vec::new(), 0);
        for (place, needle) in places.into_iter().zip(needles) {
            pieces.extend([joined(&sentences[start..place]), needle.clone()]);
            start = place;
        }
        pieces.push(joined(&sentences[start..]));
        pieces.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_begin_anew_behind_the_last() {
        let essay = Essay::new("One  two.\nThree");
        assert_eq!(essay.first(2), "One two.");
        assert_eq!(essay.first(3), "One two. Three");
        assert_eq!(essay.first(7), "One two. Three One two. Three One");
        assert_eq!(
            Essay::new(" One").first(1),
            "",
            "a blank before the first word counts as a word, as the script has it"
        );
    }

    #[test]
    fn needles_stand_between_sentences() {
        let mut essay = Essay::new("It is one. It is two. It is three. It is four.");
        let needles = ["N.".to_owned(), "M.".to_owned()];
        assert_eq!(essay.hide(12, &needles, &[75, 25]), "It is one. N. It is two. It is three. M. It is four.");
        assert_eq!(essay.hide(6, &needles, &[0, 100]), " N. It is one. It is two. M. ");
    }
}
