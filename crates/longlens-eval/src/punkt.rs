//! Sentences of a text, as NLTK's `sent_tokenize` finds them in English.
//!
//! Kiss and Strunk, 2006, "Unsupervised Multilingual Sentence Boundary Detection", Computational Linguistics 32(4). A full stop is judged
//! by the word before it and the one behind: whether the first is an abbreviation, the two are often seen together, and the second is
//! seen small elsewhere and so stands large for beginning a sentence. Numbers of sections are the paper's. The parameters were counted in
//! the Wall Street Journal and are those that NLTK ships.
//!
//! Agrees with NLTK 3.10; versions before 3.10 take typographic quotes for parts of words.

mod english;
mod tokens;

use std::ops::Range;

use english::Starts;
use tokens::{Token, is_apart, tokens};

use crate::words::is_blank;

/// A full stop, exclamation or question mark that may end a sentence.
struct Candidate {
    /// Where it stands.
    at: usize,
    /// Where what follows begins, if blanks part them.
    next: Option<usize>,
    /// Where the word behind it ends, or the sign.
    context_end: usize,
}

impl Candidate {
    fn end(&self) -> usize {
        self.at + 1 // all three signs have one byte
    }
}

/// The sentences of a text, in bytes; blanks between them belong to none.
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    with_closing_signs(text, &cuts(text))
}

/// Sentences that end at their last stop: a quote that closes one still stands before the next.
fn cuts(text: &str) -> Vec<Range<usize>> {
    let mut start = 0;
    let mut cuts = Vec::new();
    for (candidate, context) in in_context(text) {
        if ends_sentence(context) {
            cuts.push(start..candidate.end());
            start = candidate.next.unwrap_or(candidate.end());
        }
    }
    let end = text.trim_end_matches(is_blank).len();
    cuts.push(start.min(end)..end);
    cuts
}

fn candidates(text: &str) -> impl Iterator<Item = Candidate> {
    text.char_indices().filter(|(_, c)| matches!(c, '.' | '?' | '!')).filter_map(|(at, _)| {
        let behind = &text[at + 1..];
        let first = behind.chars().next()?;
        if is_apart(first) {
            return Some(Candidate { at, next: None, context_end: at + 1 + first.len_utf8() });
        }
        let word = behind.trim_start_matches(is_blank);
        if word.len() == behind.len() || word.is_empty() {
            return None;
        }
        let next = text.len() - word.len();
        let context_end = next + word.find(is_blank).unwrap_or(word.len());
        Some(Candidate { at, next: Some(next), context_end })
    })
}

/// Candidates with the text from the word before to the word behind. Of several in one word, such as three exclamation marks, the last
/// one counts.
fn in_context(text: &str) -> Vec<(Candidate, &str)> {
    let mut found = Vec::new();
    let mut before: Option<(Candidate, usize)> = None;
    let (mut word_start, mut word_end) = (0, 0);
    for candidate in candidates(text) {
        let between = &text[word_end..candidate.at];
        let blank = between.rfind([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']).filter(|at| *at > 0);
        let start = blank.map_or(word_start, |at| word_end + at + 1);
        if let Some((last, last_start)) = before.take()
            && word_end <= start
        {
            let context = &text[last_start..last.context_end];
            found.push((last, context));
        }
        (word_start, word_end) = (start, candidate.at);
        before = Some((candidate, start));
    }
    if let Some((last, start)) = before {
        let context = &text[start..last.context_end];
        found.push((last, context));
    }
    found
}

/// Whether a sentence ends before the last token of a context.
fn ends_sentence(context: &str) -> bool {
    let mut tokens: Vec<Token> = tokens(context);
    tokens.iter_mut().for_each(judge_alone);
    for at in 1..tokens.len() {
        let (before, behind) = tokens.split_at_mut(at);
        judge_beside(&mut before[at - 1], &behind[0]);
        if before[at - 1].ends_sentence {
            return true;
        }
    }
    false
}

/// Section 3: what a token says by itself.
fn judge_alone(token: &mut Token) {
    let text = token.text;
    if matches!(text, "." | "?" | "!") {
        token.ends_sentence = true;
    } else if text.len() > 1 && text.chars().all(|c| c == '.') {
        token.is_ellipsis = true;
    } else if token.ends_in_stop() && !text.ends_with("..") {
        let word = text[..text.len() - 1].to_lowercase();
        let english = english::parameters();
        let last = word.rsplit('-').next().unwrap_or_default();
        if english.is_abbreviation(&word) || english.is_abbreviation(last) {
            token.is_abbreviation = true;
        } else {
            token.ends_sentence = true;
        }
    }
}

/// Section 4: what the next token says of one that ends in a full stop.
fn judge_beside(token: &mut Token, next: &Token) {
    if !token.ends_in_stop() {
        return;
    }
    let english = english::parameters();
    let (kind, next_kind, is_initial) = (token.kind_without_stop(), next.kind_as_word(), token.is_initial());
    // 4.1.2: the stop joins the two
    if english.is_collocation(kind, next_kind) {
        token.ends_sentence = false;
        return;
    }
    // 4.2: an abbreviation can end a sentence, too
    if (token.is_abbreviation || token.is_ellipsis) && !is_initial {
        let is_starter = next.starts_large() && english.is_starter(next_kind);
        if english.starts(next) == Starts::Yes || is_starter {
            token.ends_sentence = true;
            return;
        }
    }
    // 4.3: initials and ordinals
    if is_initial || kind == tokens::NUMBER {
        let is_name = || is_initial && next.starts_large() && !english.is_seen_small(next_kind);
        match english.starts(next) {
            Starts::No => token.ends_sentence = false,
            Starts::Unknown if is_name() => token.ends_sentence = false,
            Starts::Unknown | Starts::Yes => {}
        }
    }
}

/// Gives quotes and brackets that close behind a stop to the sentence before.
fn with_closing_signs(text: &str, cuts: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut sentences = Vec::new();
    let mut n_given = 0;
    for (at, cut) in cuts.iter().enumerate() {
        let start = cut.start + n_given;
        let closing =
            cuts.get(at + 1).and_then(|next| closing_signs(&text[next.clone()]).map(|found| (next.start, found)));
        if let Some((next_start, (n_signs, n_with_blanks))) = closing {
            sentences.push(start..next_start + n_signs);
            n_given = n_with_blanks;
        } else {
            n_given = 0;
            if start < cut.end {
                sentences.push(start..cut.end);
            }
        }
    }
    sentences
}

/// Bytes of the signs that close a sentence at the start of the next one, without and with the blanks behind them.
fn closing_signs(text: &str) -> Option<(usize, usize)> {
    let mut n = 0;
    for c in text.chars() {
        if !matches!(c, '"' | '\'' | ')' | ']' | '}' | '‘' | '’' | '“' | '”' | '«' | '»') {
            break;
        }
        n += c.len_utf8();
        let rest = &text[n..];
        let n_blanks = rest.len() - rest.trim_start_matches(is_blank).len();
        if n_blanks > 0 || rest.is_empty() || rest.starts_with("--") {
            return Some((n, n + n_blanks));
        }
    }
    None
}

#[cfg(test)]
mod tests;
