//! Letters of multiple choice questions.

use std::collections::BTreeSet;

use crate::scorers::Mode;
use crate::scorers::error::Stop;
use crate::scorers::row::Row;
use crate::scorers::words::{is_blank, is_word, split};

/// Whose rules hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// OpenLMLab/LEval: blank answers choose nothing, answers without a letter choose A.
    LEval,
    /// HKUNLP/ChunkLlama: empty answers choose the empty text, answers without a letter nothing.
    ChunkLlama,
}

impl Source {
    /// That of a row.
    pub(in crate::scorers) fn of(row: Row<'_>) -> Result<Self, Stop> {
        let Some(source) = row.maybe("source") else { return Ok(Self::LEval) };
        let expected = "`OpenLMLab/LEval` or `HKUNLP/ChunkLlama`";
        match source.as_str() {
            Some("OpenLMLab/LEval") => Ok(Self::LEval),
            Some("HKUNLP/ChunkLlama") => Ok(Self::ChunkLlama),
            _ => Err(row.refused("source", source, expected)),
        }
    }
}

fn is_letter(c: char) -> bool {
    ('A'..='D').contains(&c)
}

/// Letters of the right answer: those of its first word, A where there is none. Raises where there is no word.
pub fn choice_gold(reference: &str) -> Result<String, &'static str> {
    let first = split(reference).next().ok_or("IndexError")?;
    let letters: String = first.chars().filter(|c| is_letter(*c)).collect();
    Ok(if letters.is_empty() { "A".to_owned() } else { letters })
}

impl From<&'static str> for Stop {
    fn from(name: &'static str) -> Self {
        Self::Raised(name)
    }
}

/// Letters that an answer chooses. `coursera` alone may have several right ones.
///
/// The script takes the first capital A to D of any word, so that "Answer: C" chooses A. For `coursera` it takes letters at the beginning, then
/// those before a blank, a full stop or a bracket. Where faults are mended, letters count as words only: see [`choice`].
pub fn choice_output(prediction: &str, task: &str, source: Source, mode: Mode) -> String {
    if mode.is_fixed() {
        return choice(prediction);
    }
    if source == Source::LEval && prediction.chars().all(is_blank) {
        return "None".to_owned();
    }
    if "ABCD".contains(prediction) {
        return prediction.to_owned();
    }
    let nothing = match source {
        Source::LEval => "A",
        Source::ChunkLlama => "None",
    };
    if !task.contains("coursera") {
        return prediction.chars().find(|c| is_letter(*c)).map_or_else(|| nothing.to_owned(), String::from);
    }
    let n_leading = prediction.find(|c| !is_letter(c)).unwrap_or(prediction.len());
    let (leading, rest) = prediction.split_at(n_leading);
    let sorted =
        |letters: &mut dyn Iterator<Item = char>| letters.collect::<BTreeSet<_>>().into_iter().collect::<String>();
    if leading.len() > 1 {
        return sorted(&mut leading.chars());
    }
    let rest = rest.split("Question").next().unwrap_or_default();
    let ends = |(at, c): (usize, char)| {
        let next = rest[at + c.len_utf8()..].chars().next();
        (is_letter(c) && next.is_some_and(|next| is_blank(next) || matches!(next, '.' | ')'))).then_some(c)
    };
    let letters = sorted(&mut leading.chars().chain(rest.char_indices().filter_map(ends)));
    if !letters.is_empty() {
        return letters;
    }
    let run = rest.chars().skip_while(|c| !is_letter(*c)).take_while(|c| is_letter(*c));
    let run = sorted(&mut run.into_iter());
    if run.is_empty() { nothing.to_owned() } else { run }
}

/// Letters that an answer chooses, sorted: those that stand alone (or as a run, `ABD`) behind the last cue as "answer is", else anywhere. Small
/// letters count behind a cue, and where the answer is nothing else. Nothing is chosen where there are none.
pub fn choice(prediction: &str) -> String {
    let lower = prediction.to_ascii_lowercase();
    let cue = ["answer", "answers", "option", "options", "choice", "choices"]
        .iter()
        .flat_map(|cue| lower.match_indices(cue).map(|(at, cue)| at + cue.len()))
        .max();
    // what follows the first line is another question
    let line = |text: &str| text.trim_start().lines().next().unwrap_or_default().to_owned();
    let behind = cue.map(|at| line(prediction[at..].trim_start_matches(|c: char| c == 's' || c == ':' || is_blank(c))));
    let found = behind.map(|text| letters(&text, true)).filter(|letters| !letters.is_empty());
    let found = found.unwrap_or_else(|| letters(&line(prediction), false));
    found.into_iter().collect()
}

/// Letters that stand for themselves in a line: the first words that do, and those that follow with nothing but "and", "or" and marks between.
fn letters(line: &str, takes_small: bool) -> BTreeSet<char> {
    let words: Vec<&str> = line.split(|c| !is_word(c)).filter(|word| !word.is_empty()).collect();
    let takes_small = takes_small || words.len() == 1;
    let is_chosen = |word: &str| {
        let is_run = word.len() <= 4 && word.chars().all(|c| is_letter(c.to_ascii_uppercase()));
        let is_small = word.chars().any(|c| c.is_ascii_lowercase());
        // "a" behind a cue is an article unless it ends the line, and runs of small letters are words
        is_run && (!is_small || takes_small && word.len() == 1 && (word != "a" || words.last() == Some(&word)))
    };
    let is_article = |at: usize| {
        words[at] == "A" && at == 0 && words.get(1).is_some_and(|next| next.chars().all(char::is_lowercase))
    };
    let mut letters = BTreeSet::new();
    for (at, word) in words.iter().enumerate() {
        let joins = matches!(word.to_ascii_lowercase().as_str(), "and" | "or" | "both" | "also");
        if is_chosen(word) && (!is_article(at) || line.trim_start().starts_with(['(', '[']) || !follows_plainly(line)) {
            letters.extend(word.chars().map(|c| c.to_ascii_uppercase()));
        } else if !letters.is_empty() && !joins {
            break;
        }
    }
    letters
}

/// Whether a line begins with a letter and a plain space, as a sentence does: "A river", not "A. river".
fn follows_plainly(line: &str) -> bool {
    line.trim_start().get(1..).is_some_and(|rest| rest.starts_with(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_found_where_they_stand_for_an_answer() {
        for (answer, expected) in [
            ("A", "A"),
            ("a", "A"),
            ("Answer: C", "C"),
            ("The answer is b", "B"),
            ("Based on the text, D", "D"),
            ("(B).", "B"),
            ("B and C", "BC"),
            ("A, B", "AB"),
            ("A B C", "ABC"),
            ("BA", "AB"),
            ("A. because B is wrong", "A"),
            ("The correct options are A. and C.", "AC"),
            ("I think the answer would be (A) or (C)", "AC"),
            ("A\nQuestion 2. B", "A"),
            ("C) the river", "C"),
            ("A river ran by", ""),
            ("None of these", ""),
            ("", ""),
            ("E", ""),
            ("答案是B", ""),
            ("Options: A, C, D", "ACD"),
            ("the answer is a secret", ""),
        ] {
            assert_eq!(choice(answer), expected, "{answer}");
        }
    }
}
