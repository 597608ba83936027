//! Numbers, outputs of programs and truth values in answers.

use crate::scorers::Mode;
use crate::scorers::numbers::float;
use crate::words::{contains_words, decimal, is_blank, is_digit, is_word, split};

/// Digits of the answer to a word problem: of the word behind "The answer is", else of the last word with a digit before the first blank line,
/// up to a full stop. Signs, commas and fractions are lost.
pub fn math(text: &str) -> String {
    let cue = "The answer is ";
    let behind = text.match_indices(cue).find_map(|(at, _)| {
        let behind = &text[at + cue.len()..];
        let word = behind.split(is_blank).next().unwrap_or_default();
        (!word.is_empty()).then_some(word)
    });
    let last = || {
        let before = text.split("\n\n").next().unwrap_or_default();
        before.split(' ').rfind(|word| word.contains(is_digit)).unwrap_or_default()
    };
    let word = behind.unwrap_or_else(last);
    word.split('.').next().unwrap_or_default().chars().filter(|c| is_digit(*c)).collect()
}

/// The number of an answer, with its sign, decimals and fraction: the first behind "answer is", in any case, else the last.
pub fn number(text: &str) -> Option<f64> {
    let cue = "answer is";
    let lower = text.to_ascii_lowercase();
    let behind = lower.find(cue).and_then(|at| numbers(&text[at + cue.len()..]).next());
    behind.or_else(|| numbers(text).last())
}

fn numbers(text: &str) -> impl Iterator<Item = f64> {
    let is_part = |c: char| decimal(c).is_some() || matches!(c, '.' | ',' | '/' | '-' | '−');
    text.split(move |c| !is_part(c)).filter_map(|piece| {
        let piece = piece.replace('−', "-").replace(',', "");
        let piece = piece.trim_end_matches(['.', '/', '-']).trim_start_matches(['/']);
        // a dash between two numbers is no sign
        let piece = piece.rfind('-').filter(|at| *at > 0).map_or(piece, |at| &piece[at + 1..]);
        let (above, below) = piece.split_once('/').unwrap_or((piece, "1"));
        let number = float(above)? / float(below)?;
        number.is_finite().then_some(number)
    })
}

/// Phrases that the script takes out of answers, inside words, too.
const PHRASES: [&str; 7] = ["will be", "of the code", "is", "would be", "the value of", "the result of", "printed"];

/// The end of an answer about a program: as many words as `reference` has and three more. Phrases as "is" are taken out before, and what
/// follows "the final output" comes first. Where faults are mended, nothing is taken out.
pub fn code_output(prediction: &str, reference: &str, mode: Mode) -> String {
    let n_words = split(reference).count() + 3;
    let text = code_gold(prediction, mode);
    if mode.is_fixed() {
        return end_of_output(&text, &code_gold(reference, mode));
    }
    let text = PHRASES.iter().fold(text, |text, phrase| text.replace(phrase, ""));
    let cue = "the final output";
    let behind = text.rfind(cue).map(|at| &text[at + cue.len()..]);
    let words = blank_runs(behind.unwrap_or(&text));
    let n_words = n_words.min(words.len());
    let kept = if behind.is_some() { &words[..n_words] } else { &words[words.len() - n_words..] };
    kept.join(" ")
}

/// Words behind the last "final output", enough for a clause before `right`; without it those at the end.
fn end_of_output(text: &str, right: &str) -> String {
    let cue = "final output";
    let n_words = split(right).count();
    if let Some(at) = text.to_ascii_lowercase().rfind(cue) {
        return split(&text[at + cue.len()..]).take(n_words + 16).collect::<Vec<_>>().join(" ");
    }
    let words: Vec<&str> = split(text).collect();
    words[words.len().saturating_sub(n_words + 3)..].join(" ")
}

/// Whether an output stands in an answer, both as [`code_gold`] makes them, and not inside a list that says more.
pub fn has_output(answer: &str, right: &str) -> bool {
    answer.match_indices(right).any(|(at, _)| {
        let (before, from_here) = answer.split_at(at);
        let n = |marks: [char; 2]| before.matches(marks).count();
        n(['[', '{']) <= n([']', '}'])
            && contains_words(&format!("{}{from_here}", before.chars().next_back().unwrap_or(' ')), right)
    })
}

/// `re.split(r"\s+", text)`: an empty piece stands before leading and behind trailing blanks.
fn blank_runs(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(is_blank) {
        pieces.push(&rest[..at]);
        rest = rest[at..].trim_start_matches(is_blank);
    }
    pieces.push(rest);
    pieces
}

/// The output of a program as answers are compared with it: without commas, quotes, backslashes and ".0". Where faults are mended, commas
/// are spaces, brackets and colons have none beside them, and ".0" goes where it ends a number.
pub fn code_gold(text: &str, mode: Mode) -> String {
    let text = blank_runs(text).join(" ");
    if mode.is_fixed() {
        let bare = text.replace(['\'', '"', '\\', '`'], "").replace(',', " ");
        return tidy(&split(&bare).collect::<Vec<_>>().join(" "));
    }
    let text = [",", "'", "\\", ".0"].iter().fold(text, |text, mark| text.replace(mark, ""));
    text.replace("] [", "][").replace("[ [", "[[").replace("] ]", "]]")
}

fn tidy(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let behind = &rest[c.len_utf8()..];
        let is_inside = kept.ends_with(['[', '(', '{', ':']) || behind.starts_with([']', ')', '}']);
        let is_between = kept.ends_with([']', ')', '}']) && behind.starts_with(['[', '(', '{']);
        let zeros = behind.trim_start_matches('0');
        let goes_on = zeros.strip_prefix('.').unwrap_or(zeros).starts_with(is_word);
        if c == '.' && kept.ends_with(|c: char| c.is_ascii_digit()) && zeros.len() < behind.len() && !goes_on {
            rest = zeros;
            continue;
        }
        if !(c == ' ' && (is_inside || is_between)) {
            kept.push(c);
        }
        rest = behind;
    }
    kept
}

/// What the answer to a question about a story says, and what is true in fact; `None` where the second part is not marked.
pub fn judge_gold(text: &str) -> Option<[String; 2]> {
    let lower = text.to_lowercase();
    let mut parts = lower.split("[fact:");
    let (loyalty, fact) = (parts.next()?, parts.next()?);
    // the last character is taken for the bracket
    let end = fact.char_indices().next_back().map_or(0, |(at, _)| at);
    Some([loyalty.trim_matches(is_blank).to_owned(), fact[..end].trim_matches(is_blank).to_owned()])
}

/// The first truth value in each of the two parts, or `<error>`. The script finds it inside other words, too, and fails where the second part
/// is not marked.
pub fn judge_output(text: &str, mode: Mode) -> Option<[&'static str; 2]> {
    if mode.is_fixed() {
        let lower = text.to_lowercase();
        let (loyalty, fact) = lower.split_once("[fact:").unwrap_or((&lower, ""));
        return Some([loyalty, fact].map(|part| first_of(part.split(|c| !is_word(c)), |word, value| word == value)));
    }
    let parts = judge_gold(text)?;
    Some(parts.each_ref().map(|part| first_of(split(part), str::contains)))
}

fn first_of<'a>(mut words: impl Iterator<Item = &'a str>, is: impl Fn(&'a str, &'static str) -> bool) -> &'static str {
    words.find_map(|word| ["true", "false"].into_iter().find(|value| is(word, value))).unwrap_or("<error>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_what_belongs_to_them() {
        for (text, expected) in [
            ("The answer is $1,250.75.", Some(1250.75)),
            ("the answer is -7", Some(-7.0)),
            ("The answer is 3/4", Some(0.75)),
            ("5 + 13 = 18 dollars", Some(18.0)),
            ("The answer is eighteen 18", Some(18.0)),
            ("It is 12 boats\n\nThe answer is 15", Some(15.0)),
            ("10-12", Some(12.0)),
            ("٣ boats", Some(3.0)),
            ("1/0", None),
            ("none", None),
            ("", None),
        ] {
            assert_eq!(number(text), expected, "{text}");
        }
    }

    #[test]
    fn outputs_are_compared_without_spaces_that_mean_nothing() {
        for (text, expected) in [
            ("[[1, 2],\n [3]]", "[[1 2][3]]"),
            ("[[0 0] [0 0]]", "[[0 0][0 0]]"),
            ("( 1 , 2.0 )", "(1 2)"),
            ("10.05 and 2.00", "10.05 and 2"),
            ("'abc'", "abc"),
            ("{\"i\": 1}", "{i:1}"),
            ("version 1.0.3", "version 1.0.3"),
        ] {
            assert_eq!(code_gold(text, Mode::Fixed), expected, "{text}");
        }
    }
    #[test]
    fn an_output_is_found_as_a_whole() {
        for (answer, right, expected) in [
            ("So, the final output of the code is:\n\n```\narray([6, 15])\n```", "[6 15]", true),
            ("The final output is [1, 2]. So the answer has two elements.", "[1 2]", true),
            ("the final output will be:\n\n\\[\\[1 2 3\\]\\]", "2", false),
            ("the final output is [[14],\n [6]]", "4", false),
            ("This is it: 5", "5", true),
            ("it prints \"-. .-..\".", "-. .-..", true),
            ("it prints nLP", "NlP", false),
            ("", "3", false),
        ] {
            let found = code_output(answer, right, Mode::Fixed);
            assert_eq!(has_output(&found, &code_gold(right, Mode::Fixed)), expected, "{answer}");
        }
    }
}
