//! Hiding things between the sentences of a text, and cutting the text to a length.

use longlens_core::lens::{LensError, TextCodec};

use super::Haystack;
use crate::error::EvalError;
use crate::sample::Prompt;
use crate::scorers::sentences;

/// Whole sentences of a haystack, between which something is hidden at one depth after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prose {
    text: String,
    ends: Vec<usize>,
}

/// How long a prompt may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// What is made, for errors.
    pub what: &'static str,
    /// Tokens of prompt and answer at most.
    pub length: usize,
    /// Of them, those of the answer.
    pub n_answer: usize,
}

/// Puts the words of a prompt around a text.
pub type Framed<'a> = dyn Fn(&str) -> Result<Prompt, LensError> + 'a;

impl Prose {
    /// As much of the haystack from this byte on as fits beside what is `hidden` and the words around it, up to the end of a sentence.
    ///
    /// Errors: [`EvalError::TooShort`] where there is no room for any.
    pub fn new(
        codec: &dyn TextCodec,
        (haystack, start): (&Haystack, usize),
        hidden: &[String],
        framed: &Framed<'_>,
        room: Room,
    ) -> Result<Self, EvalError> {
        let bare = framed(&hidden.concat())?.tokens(Ok(codec))?.len() + room.n_answer;
        let Some(n_tokens) = room.length.checked_sub(bare).filter(|n_tokens| *n_tokens > 0) else {
            return Err(EvalError::TooShort { template: room.what, length: room.length, shortest: bare + 1 });
        };
        let text = codec.decode(&haystack.tokens(codec, start, n_tokens, false)?)?;
        // the cut may go through a character
        Ok(Self::of(text.trim_end_matches('\u{fffd}')))
    }

    /// A text up to the end of its last whole sentence; all of it where it has none.
    fn of(text: &str) -> Self {
        let ends = sentence_ends(text);
        let end = ends.last().copied().unwrap_or(text.len());
        Self { text: text[..end].to_owned(), ends }
    }

    /// The prompt with what is `hidden` at a depth in per cent. Sentences at the end are left out where the tokenizer makes more of all
    /// together than of each part alone.
    pub fn prompt(
        &self,
        codec: &dyn TextCodec,
        hidden: &[String],
        depth: f64,
        framed: &Framed<'_>,
        room: Room,
    ) -> Result<Prompt, EvalError> {
        let (mut text, mut ends) = (self.text.as_str(), self.ends.as_slice());
        loop {
            let prompt = framed(&by_sentences(text, ends, hidden, depth))?;
            let n_tokens = prompt.tokens(Ok(codec))?.len() + room.n_answer;
            if n_tokens <= room.length || text.is_empty() {
                return Ok(prompt);
            }
            ends = &ends[..ends.len().saturating_sub(1)];
            text = &text[..ends.last().copied().unwrap_or_default()];
        }
    }
}

/// Bytes before which a sentence of `text` ends, ascending: behind its last mark and the quotes that close it.
fn sentence_ends(text: &str) -> Vec<usize> {
    let end = |sentence: &str| sentence.as_ptr() as usize - text.as_ptr() as usize + sentence.trim_end().len();
    let is_ended = |end: &usize| {
        let goes_on = text[*end..].trim_start().starts_with(char::is_lowercase); // as behind a question that is quoted
        !goes_on && text[..*end].trim_end_matches(['"', '\'', ')', ']', '”', '’']).ends_with(['.', '!', '?'])
    };
    sentences(text).into_iter().map(end).filter(is_ended).collect()
}

/// Hides things in a text, the first at this depth in per cent and the others evenly behind it: each where the last sentence ends that
/// is whole by then, and first where none is. All places count in the text as it came, and at 100 all are appended.
fn by_sentences(text: &str, ends: &[usize], hidden: &[String], depth: f64) -> String {
    let step = (100.0 - depth) / hidden.len() as f64;
    let mut out = String::with_capacity(text.len() + hidden.iter().map(String::len).sum::<usize>());
    let mut told = 0;
    for (at, thing) in hidden.iter().enumerate() {
        let depth = depth + at as f64 * step;
        let wanted = (text.len() as f64 * (depth / 100.0)) as usize;
        let place = match ends.partition_point(|end| *end <= wanted) {
            _ if depth >= 100.0 => text.len(),
            0 => 0,
            n => ends[n - 1],
        };
        out.push_str(&text[told..place.max(told)]);
        out.push_str(thing);
        told = place.max(told);
    }
    out.push_str(&text[told..]);
    out
}

#[cfg(test)]
mod tests {
    use longlens_core::scripted::ByteCodec;

    use super::*;

    #[test]
    fn sentences_end_in_the_text() {
        let text = "Mr. Elton came. \"Why?\" he said.\nA heading\nIt rained!\n";
        let ends = sentence_ends(text);
        let shown: Vec<_> = ends.iter().map(|end| &text[end - 4..*end]).collect();
        assert_eq!(shown, ["ame.", "aid.", "ned!"]);
        let at = |depth| by_sentences(text, &ends, &["#".into()], depth);
        assert_eq!(at(10.0), format!("#{text}"), "`Mr.` is no end");
        assert_eq!(at(50.0), text.replace("came.", "came.#"));
        assert_eq!(at(60.0), text.replace("said.", "said.#"));
        assert_eq!(at(100.0), format!("{text}#"));
        let fixed =
            |depth| by_sentences("a.b.c.d.e.f.", &[2, 4, 6, 8, 10, 12], &["1".into(), "2".into(), "3".into()], depth);
        assert_eq!((fixed(0.0), fixed(100.0)), ("1a.b.2c.d.3e.f.".into(), "a.b.c.d.e.f.123".into()));
    }

    #[test]
    fn prompts_have_the_length_and_share_their_beginning() {
        let haystack = Haystack::default();
        let framed = |text: &str| Ok(Prompt::plain(format!("<{text}>")));
        let hidden = [" HIDDEN.".to_owned()];
        let room = Room { what: "test", length: 3000, n_answer: 10 };
        let prose = Prose::new(&ByteCodec, (&haystack, 0), &hidden, &framed, room).unwrap();
        let at = |depth| match prose.prompt(&ByteCodec, &hidden, depth, &framed, room).unwrap() {
            Prompt::Text { text, .. } => text,
            Prompt::Tokens(_) => panic!("a text"),
        };
        let texts: Vec<_> = [0.0, 50.0, 100.0].into_iter().map(at).collect();
        assert!(texts.iter().all(|text| text.len() + 1 + 10 <= 3000 && text.len() > 2600), "one token begins the text");
        assert!(texts.iter().all(|text| text.replace(" HIDDEN.", "") == texts[0].replace(" HIDDEN.", "")));
        assert!(texts[0].starts_with("< HIDDEN.") && texts[2].ends_with(" HIDDEN.>"));
        let short = Room { length: 21, ..room };
        let error = Prose::new(&ByteCodec, (&haystack, 0), &hidden, &framed, short).unwrap_err();
        assert_eq!(error.to_string(), "a `test` prompt cannot be 21 tokens long: without filler it already has 22");
    }
}
