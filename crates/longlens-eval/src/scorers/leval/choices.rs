//! Letters of multiple choice questions.

use std::collections::BTreeSet;

use crate::scorers::Mode;
use crate::scorers::error::Stop;
use crate::scorers::row::Row;
use crate::words::{is_blank, is_word, split};

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

/// Letters that an answer chooses, sorted: those that stand alone (or as a run, `ABD`) behind the last cue as "answer is"; else those of the
/// first line, with those that lines below begin with where they list options, too. Small letters count behind a cue, and where the answer is
/// nothing else. Nothing is chosen where there are none.
pub fn choice(prediction: &str) -> String {
    // what follows is another question
    let answer = prediction.split("\nQuestion").next().unwrap_or_default().trim_start();
    let lower = answer.to_ascii_lowercase();
    let ends = |cue: &str| lower.match_indices(cue).map(|(at, cue)| at + cue.len()).max();
    let cue = ["answer", "answers", "option", "options", "choice", "choices"].into_iter().filter_map(ends).max();
    let behind = cue
        .map(|at| letters(first_line(answer[at..].trim_start_matches(|c| c == 's' || c == ':' || is_blank(c))), true));
    let mut found = behind.unwrap_or_default();
    if found.is_empty() {
        found = letters(first_line(answer), false);
        if label(answer).is_some() {
            found.extend(answer.lines().skip(1).filter_map(label));
        }
    }
    found.into_iter().collect()
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// The letter that a line begins with as one of several options: "A. river", "(B) hill".
fn label(line: &str) -> Option<char> {
    let mut rest = line.trim_start().trim_start_matches(['(', '[', '*', '-', ' ']).chars();
    let letter = rest.next().filter(|c| is_letter(*c))?;
    matches!(rest.next(), Some('.' | ')' | ']' | ':')).then_some(letter)
}

/// Words that follow a letter which is none of English's articles.
const AFTER_LETTER: [&str; 12] =
    ["is", "are", "was", "and", "or", "because", "since", "as", "but", "seems", "would", "not"];

/// Letters that stand for themselves in a line: the first words that do, those that follow with nothing but "and", "or" and marks between,
/// and those behind an "and" or a comma that are marked as the first one is.
fn letters(line: &str, takes_small: bool) -> BTreeSet<char> {
    let words: Vec<(usize, &str)> = words(line);
    let takes_small = takes_small || words.len() == 1;
    let behind = |at: usize| &line[words[at].0 + words[at].1.len()..];
    let is_chosen = |at: usize| {
        let word = words[at].1;
        let is_run = word.len() <= 4 && word.chars().all(|c| is_letter(c.to_ascii_uppercase()));
        let is_small = word.chars().any(|c| c.is_ascii_lowercase());
        let next = words.get(at + 1).map_or("", |(_, next)| next);
        let runs_on =
            behind(at).starts_with(' ') && next.starts_with(char::is_lowercase) && !AFTER_LETTER.contains(&next);
        let is_article = word.eq_ignore_ascii_case("a") && runs_on;
        // runs of small letters are words
        is_run && !is_article && (!is_small || takes_small && word.len() == 1)
    };
    let is_marked = |at: usize| behind(at).starts_with(['.', ')']);
    let is_joint = |at: usize| matches!(words[at].1.to_ascii_lowercase().as_str(), "and" | "or" | "both" | "also");
    let (mut letters, mut is_list, mut first_is_marked) = (BTreeSet::new(), true, false);
    for at in 0..words.len() {
        let is_next = is_list
            || first_is_marked && is_marked(at) && (is_joint(at - 1) || line[..words[at].0].trim_end().ends_with(','));
        if is_next && is_chosen(at) {
            first_is_marked |= letters.is_empty() && is_marked(at);
            letters.extend(words[at].1.chars().map(|c| c.to_ascii_uppercase()));
        } else if !letters.is_empty() && !is_joint(at) {
            is_list = false;
        }
    }
    letters
}

/// Runs of letters, digits and underscores with their places.
fn words(line: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(start) = line[at..].find(is_word).map(|start| at + start) {
        let end = line[start..].find(|c| !is_word(c)).map_or(line.len(), |end| start + end);
        words.push((start, &line[start..end]));
        at = end;
    }
    words
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
            ("A is right", "A"),
            ("(D) A boy and a bird", "D"),
            ("(B) A sci-fi fan", "B"),
            ("A. Bar graph\nB. Area chart", "AB"),
            ("A. Asterisk (*) and B. Forward slash (/)", "AB"),
            ("A. The choice of a day. Big data.\nC. Small data.\nQuestion 2\nD. none", "AC"),
            ("Neither", ""),
            ("D, B, C", "BCD"),
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
