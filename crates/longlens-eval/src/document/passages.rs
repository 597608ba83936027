//! Passages: the pieces of a document that are short enough to be shown, and the tokens of a prompt that tell each.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{Document, Kind, Place};

/// A piece of a document: paragraphs as they are, long ones cut behind a sentence, short ones with what follows on the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// Its text.
    pub text: String,
    /// Where it stands.
    pub place: Place,
    /// The tokens of the prompt that tell it; none where they were not found.
    pub tokens: Range<usize>,
}

/// Characters of a passage at most: about 80 tokens of English.
const LONGEST: usize = 320;
/// Characters that a passage has at least, where more follow: a heading is shown with its paragraph.
const SHORTEST: usize = 80;

impl Document {
    /// Its passages, in order. All of its text is in them, but for blanks between them.
    pub fn passages(&self) -> Vec<Range<usize>> {
        let mut passages = Vec::new();
        let mut start = skip_blanks(&self.text, 0);
        while start < self.text.len() {
            let len = passage_len(&self.text[start..self.end_of_part(start)]);
            let text = self.text[start..start + len].trim_end();
            passages.push(start..start + text.len());
            start = skip_blanks(&self.text, start + len);
        }
        passages
    }

    /// Where the page, or the line of JSON, ends in which a byte stands: what stands in two of them is no passage. Text goes on to its end.
    fn end_of_part(&self, byte: usize) -> usize {
        if !matches!(self.kind, Kind::Pdf | Kind::JsonLines) {
            return self.text.len();
        }
        let next = self.places.partition_point(|(start, _)| *start <= byte);
        self.places.get(next).map_or(self.text.len(), |(start, _)| *start)
    }
}

fn skip_blanks(text: &str, from: usize) -> usize {
    text.len() - text[from..].trim_start().len()
}

/// Bytes of the passage that `text` begins with.
fn passage_len(text: &str) -> usize {
    let byte_of = |n_chars: usize| text.char_indices().nth(n_chars).map_or(text.len(), |(at, _)| at);
    let (shortest, longest) = (byte_of(SHORTEST), byte_of(LONGEST));
    let tail = &text[shortest..longest];
    let is_blank_line = |at: &usize| text.as_bytes()[..longest].get(at + 1) == Some(&b'\n');
    if let Some((at, _)) = tail.match_indices('\n').find(|(at, _)| is_blank_line(&(shortest + at))) {
        return shortest + at;
    }
    if longest == text.len() {
        return longest;
    }
    let ends_sentence = |(at, c): (usize, char)| {
        let is_followed = tail[at + c.len_utf8()..].starts_with(char::is_whitespace);
        (matches!(c, '.' | '?' | '!') && is_followed || matches!(c, '。' | '！' | '？')).then(|| at + c.len_utf8())
    };
    let after = tail.char_indices().rev().find_map(ends_sentence);
    let after = after.or_else(|| tail.rfind('\n')).or_else(|| tail.rfind(char::is_whitespace));
    shortest + after.filter(|at| *at > 0).unwrap_or(tail.len())
}

/// The passages of a document with the tokens of a prompt that holds it. `turn` is the text that begins with the document as the prompt
/// holds it, such as a message with a question behind it; `pieces` are the texts of the prompt's tokens.
///
/// A tokenizer may give back other characters than it was given (a normalized accent, a lost blank), so every passage is looked for by
/// itself, and one that is not found has the tokens between its neighbours, shared with others that are not.
pub fn locate(document: &Document, turn: &str, pieces: &[String]) -> Vec<Passage> {
    let prompt = pieces.concat();
    let ends = pieces.iter().scan(0, |end, piece| {
        *end += piece.len();
        Some(*end)
    });
    let ends: Vec<usize> = ends.collect();
    let ranges = document.passages();
    // what stands before may say the same as the document begins with
    let start = prompt.find(turn.trim()).or_else(|| prompt.find(document.text.trim())).unwrap_or(0);
    let found = find_all(document, &ranges, &prompt, start);
    // a byte's token is the first that ends behind it
    let token_of = |byte: usize| ends.partition_point(|end| *end <= byte);
    let passage = |(bytes, found): (Range<usize>, Range<usize>)| Passage {
        text: document.text[bytes.clone()].to_owned(),
        place: document.place(&bytes),
        tokens: token_of(found.start)..if found.is_empty() {
            token_of(found.start)
        } else {
            token_of(found.end - 1) + 1
        },
    };
    ranges.into_iter().zip(found).map(passage).collect()
}

/// The bytes of `prompt` that tell each passage, in order, from `start` on.
fn find_all(document: &Document, passages: &[Range<usize>], prompt: &str, start: usize) -> Vec<Range<usize>> {
    let mut found: Vec<Option<Range<usize>>> = Vec::new();
    let (mut from, mut lost) = (start, 0);
    for (at, bytes) in passages.iter().enumerate() {
        let text = &document.text[bytes.clone()];
        // the first may stand anywhere, later ones follow each other
        let reach = if at == 0 { prompt.len() } else { from + 4 * (text.len() + lost) + 4096 };
        let place = prompt.get(from..ceil_char(prompt, reach)).and_then(|ahead| ahead.find(text));
        found.push(place.map(|place| from + place..from + place + text.len()));
        (from, lost) = found[at].as_ref().map_or((from, lost + text.len()), |range| (range.end, 0));
    }
    let mut ranges: Vec<Range<usize>> = Vec::with_capacity(found.len());
    for (at, range) in found.iter().enumerate() {
        let start = ranges.last().map_or(start, |last| last.end);
        ranges.push(range.clone().unwrap_or_else(|| {
            let rest = &found[at..];
            let n_lost = rest.iter().take_while(|range| range.is_none()).count();
            // at the end nothing says where the document ends in the prompt
            let until = rest.get(n_lost).and_then(Option::as_ref).map_or(start, |next| next.start);
            start..start + (until - start) / n_lost
        }));
    }
    ranges
}

fn ceil_char(text: &str, byte: usize) -> usize {
    (byte..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        let document = Document::plain(text.to_owned());
        document.passages().into_iter().map(|bytes| document.text[bytes].to_owned()).collect()
    }

    #[test]
    fn paragraphs_stay_whole_and_headings_go_with_them() {
        let long = "A heron stands still for a long time before it moves at all, and then only its neck does so.";
        assert_eq!(texts(&format!("Herons\n\n{long}\n\n\n{long}\n")), [format!("Herons\n\n{long}"), long.to_owned()]);
        assert_eq!(texts(" \n "), [""; 0]);
        assert_eq!(texts("short"), ["short"]);
    }

    #[test]
    fn no_passage_stands_on_two_pages_or_lines_of_json() {
        let json = b"{\"text\": \"The boat is blue.\"}\n\n{\"text\": \"The car is red.\\n\\nIt waits.\"}\n";
        let document = Document::of(std::path::Path::new("a.jsonl"), json.to_vec(), &()).unwrap();
        let placed = |bytes: Range<usize>| (document.place(&bytes).to_string(), document.text[bytes].to_owned());
        let expected = [("line 1", "The boat is blue."), ("line 3", "The car is red.\n\nIt waits.")];
        let expected = expected.map(|(place, text)| (place.to_owned(), text.to_owned()));
        assert_eq!(document.passages().into_iter().map(placed).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn long_paragraphs_are_cut_behind_sentences_or_words_and_lose_nothing() {
        let sentence = "The light of the lamp falls on the desk in the corner of the room. ";
        let cut = texts(&sentence.repeat(12));
        assert_eq!(cut.concat().replace(' ', ""), sentence.repeat(12).replace(' ', ""));
        assert!(cut.iter().all(|text| text.ends_with("room.") && text.chars().count() <= LONGEST), "{cut:?}");
        let words = texts(&"wörter ohne ende ".repeat(60));
        assert!(words.iter().all(|text| !text.starts_with(' ') && text.chars().count() <= LONGEST), "{words:?}");
        let solid = texts(&"字".repeat(1000));
        assert_eq!(solid.iter().map(|text| text.chars().count()).collect::<Vec<_>>(), [320, 320, 320, 40]);
    }

    #[test]
    fn tokens_of_passages_are_found_behind_what_a_template_says() {
        let first = "A heron stands still for a long time before it moves at all, and then only its neck does so.";
        let second = "A kingfisher waits on a branch above the water, and falls like a stone upon what it sees there.";
        let document = Document::plain(format!("{first}\n\n{second}"));
        let prompt = format!("user: {first}\n\n{second} Why?");
        let pieces: Vec<String> = prompt.split_inclusive(' ').map(str::to_owned).collect();
        let passages = locate(&document, &format!("{} Why?", document.text), &pieces);
        let told = |passage: &Passage| pieces[passage.tokens.clone()].concat();
        assert_eq!(passages.iter().map(|passage| passage.place.to_string()).collect::<Vec<_>>(), ["line 1", "line 3"]);
        assert!(told(&passages[0]).starts_with("A heron") && told(&passages[1]).ends_with("there. "), "{passages:?}");
    }

    #[test]
    fn what_a_system_says_before_is_not_taken_for_the_document() {
        let document = Document::plain("Be brief and kind.".to_owned());
        let prompt = "system: Be brief and kind. user: Be brief and kind. How?";
        let pieces: Vec<String> = prompt.split_inclusive(' ').map(str::to_owned).collect();
        let passages = locate(&document, "Be brief and kind. How?", &pieces);
        assert_eq!(passages.iter().map(|passage| passage.tokens.clone()).collect::<Vec<_>>(), [6..10]);
    }

    #[test]
    fn passages_behind_many_lost_ones_are_found() {
        let paragraph =
            |letter: &str, at: usize| format!("{letter} {at} {}", "words of a paragraph ".repeat(12).trim());
        let lost: Vec<String> = (0..40).map(|at| paragraph("ä", at)).collect();
        let kept: Vec<String> = (0..40).map(|at| paragraph("b", at)).collect();
        let document = Document::plain([lost, kept].concat().join("\n\n"));
        let prompt = document.text.replace('ä', "a\u{308}");
        let pieces: Vec<String> = prompt.split_inclusive(' ').map(str::to_owned).collect();
        let passages = locate(&document, &document.text, &pieces);
        assert!(pieces[passages[79].tokens.clone()].concat().contains("b 39 words"), "{:?}", passages[79]);
    }

    #[test]
    fn passages_that_a_tokenizer_changed_share_what_lies_between_their_neighbours() {
        let parts = ["b", "ä", "c"].map(|c| format!("{c} {}", "many words of it ".repeat(8)).trim().to_owned());
        let document = Document::plain(parts.join("\n\n"));
        // the accent comes back as a letter and a mark of its own
        let prompt = document.text.replace('ä', "a\u{308}");
        let pieces: Vec<String> = prompt.split_inclusive(' ').map(str::to_owned).collect();
        let passages = locate(&document, &document.text, &pieces);
        assert_eq!(passages.len(), 3);
        assert!(passages.windows(2).all(|two| two[0].tokens.end <= two[1].tokens.start + 1), "{passages:?}");
        assert!(pieces[passages[1].tokens.clone()].concat().contains("a\u{308} many"), "{passages:?}");
    }
}
