//! Sentences of a text, for the measure that looks at each of them alone.
//!
//! The scripts use NLTK's trained Punkt model for it, whose parameters are not here: this is its rule with the abbreviations that matter
//! in English prose. Only `rougeLsum` depends on it, which enters no score.

use super::words::is_blank;

/// Words before a full stop that end no sentence.
const ABBREVIATIONS: [&str; 32] = [
    "adm", "al", "brig", "capt", "cf", "co", "col", "corp", "dr", "ed", "eds", "etc", "fig", "gen", "gov", "hon",
    "inc", "jr", "lt", "ltd", "messrs", "mr", "mrs", "ms", "prof", "rep", "rev", "sen", "sgt", "sr", "st", "vs",
];

/// The sentences of `text`, and its lines: blanks around them are not theirs.
pub(crate) fn sentences(text: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    for line in text.split('\n') {
        let mut start = 0;
        for (at, c) in line.char_indices().filter(|(_, c)| matches!(c, '.' | '!' | '?')) {
            let behind = line[at + c.len_utf8()..].trim_start_matches(['.', '!', '?', '"', '\'', ')', ']', '”', '’']);
            let next = behind.trim_start_matches(is_blank);
            let is_end = behind.starts_with(is_blank) && !next.is_empty();
            if is_end && (c != '.' || ends_here(&line[..at], next)) {
                let end = line.len() - behind.len();
                if end > start {
                    sentences.push(&line[start..end]);
                    start = line.len() - next.len();
                }
            }
        }
        sentences.push(&line[start..]);
    }
    sentences.retain(|sentence| !sentence.chars().all(is_blank));
    sentences
}

/// Whether a full stop between `before` and `next` ends a sentence.
fn ends_here(before: &str, next: &str) -> bool {
    let word =
        before.rsplit(|c: char| is_blank(c) || matches!(c, '(' | '"' | '“')).next().unwrap_or_default().to_lowercase();
    // initials, and abbreviations of several letters as "p.m"
    let is_initials = word.split('.').all(|part| part.chars().count() == 1 && part.chars().all(char::is_alphabetic));
    let starts_small = next.chars().next().is_some_and(char::is_lowercase);
    !(ABBREVIATIONS.contains(&word.as_str()) || is_initials || starts_small)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_at_full_stops_that_end_one() {
        let text = "Dr. Ilves left at 5 p.m. She took the ferry. Mr. Aho stayed! \"Why?\" 3.5 miles etc. and on\n\nNext. J. S. Bach";
        let expected = [
            "Dr. Ilves left at 5 p.m. She took the ferry.",
            "Mr. Aho stayed!",
            "\"Why?\"",
            "3.5 miles etc. and on",
            "Next.",
            "J. S. Bach",
        ];
        assert_eq!(sentences(text), expected);
    }
}
