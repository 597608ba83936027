//! Where in a haystack a needle goes: by tokens, as gkamradt's script has it, or between the sentences of its text.

use longlens_core::lens::{LensError, TextCodec};

use crate::scorers::sentences;

/// Hides needles in tokens, the first at this depth in per cent and the others evenly behind it, each in what the ones before made of
/// the context; at 100 all of them are appended.
///
/// From its place a needle moves back, token by token, until the token before it is one of `ends`; where there is none it stands first.
/// So a token that is a full stop with a line's end is none to the script, and the token that begins every text may be one ([`full_stops`]).
pub fn by_tokens(context: &[u32], needles: &[Vec<u32>], depth: f64, ends: &[u32]) -> Vec<u32> {
    let mut context = context.to_vec();
    let step = (100.0 - depth) / needles.len() as f64;
    let mut depth = depth;
    for needle in needles {
        if depth >= 100.0 {
            context.extend(needle);
            continue;
        }
        let wanted = (context.len() as f64 * (depth / 100.0)) as usize;
        let place = context[..wanted].iter().rposition(|token| ends.contains(token)).map_or(0, |at| at + 1);
        context.splice(place..place, needle.iter().copied());
        depth += step;
    }
    context
}

/// Tokens that the script takes for the end of a sentence: all of `.` alone, the one that begins every text included.
pub fn full_stops(codec: &dyn TextCodec) -> Result<Vec<u32>, LensError> {
    codec.encode(".", true)
}

/// Full stops of Fu et al.'s script, which lists for each model the token of one alone and the token of one behind a word.
pub fn listed_full_stops(codec: &dyn TextCodec) -> Result<Vec<u32>, LensError> {
    let last = |text: &str| Ok::<_, LensError>(codec.encode(text, false)?.last().copied());
    Ok([last(".")?, last("word.")?].into_iter().flatten().collect())
}

/// Bytes before which a sentence of `text` ends, ascending: behind its last mark and the quotes that close it.
pub fn sentence_ends(text: &str) -> Vec<usize> {
    let end = |sentence: &str| sentence.as_ptr() as usize - text.as_ptr() as usize + sentence.trim_end().len();
    let is_ended = |end: &usize| {
        let goes_on = text[*end..].trim_start().starts_with(char::is_lowercase); // as behind a question that is quoted
        !goes_on && text[..*end].trim_end_matches(['"', '\'', ')', ']', '”', '’']).ends_with(['.', '!', '?'])
    };
    sentences(text).into_iter().map(end).filter(is_ended).collect()
}

/// Hides needles in a text, the first at this depth in per cent and the others evenly behind it: each where the last sentence ends that
/// is whole by then, and first where none is. All places count in the text as it came, and at 100 needles are appended.
pub fn by_sentences(text: &str, ends: &[usize], needles: &[String], depth: f64) -> String {
    let step = (100.0 - depth) / needles.len() as f64;
    let mut out = String::with_capacity(text.len() + needles.iter().map(String::len).sum::<usize>());
    let mut told = 0;
    for (at, needle) in needles.iter().enumerate() {
        let depth = depth + at as f64 * step;
        let wanted = (text.len() as f64 * (depth / 100.0)) as usize;
        let place = match ends.partition_point(|end| *end <= wanted) {
            _ if depth >= 100.0 => text.len(),
            0 => 0,
            n => ends[n - 1],
        };
        out.push_str(&text[told..place.max(told)]);
        out.push_str(needle);
        told = place.max(told);
    }
    out.push_str(&text[told..]);
    out
}

#[cfg(test)]
mod tests {
    use longlens_core::scripted::{BOS, ByteCodec};

    use super::*;

    /// Bytes as tokens, but a full stop with the line's end behind it is one token.
    struct Lines;

    const STOP_AND_LINE: u32 = 300;

    impl TextCodec for Lines {
        fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, LensError> {
            let mut tokens = if special { vec![BOS] } else { Vec::new() };
            for (at, part) in text.split(".\n").enumerate() {
                tokens.extend((at > 0).then_some(STOP_AND_LINE));
                tokens.extend(ByteCodec.encode(part, false)?);
            }
            Ok(tokens)
        }
        fn decode(&self, tokens: &[u32]) -> Result<String, LensError> {
            let parts = tokens.split(|token| *token == STOP_AND_LINE).map(|part| ByteCodec.decode(part));
            Ok(parts.collect::<Result<Vec<_>, _>>()?.join(".\n"))
        }
    }

    fn placed(codec: &dyn TextCodec, text: &str, special: bool, depth: f64, needles: &[&str]) -> String {
        let needles: Vec<_> = needles.iter().map(|needle| codec.encode(needle, false).unwrap()).collect();
        let ends = codec.encode(".", special).unwrap();
        let context = codec.encode(text, special).unwrap();
        codec.decode(&by_tokens(&context, &needles, depth, &ends)).unwrap()
    }

    #[test]
    fn a_needle_moves_back_to_a_full_stop() {
        let text = "One two. Three four. Five";
        let at = |depth| placed(&ByteCodec, text, false, depth, &["#"]);
        assert_eq!(at(0.0), "#One two. Three four. Five");
        assert_eq!(
            at(31.0),
            "#One two. Three four. Five",
            "int(25 * 0.31) = 7 tokens, of which the last is no full stop"
        );
        assert_eq!(at(32.0), "One two.# Three four. Five");
        assert_eq!(at(79.0), "One two.# Three four. Five");
        assert_eq!(at(99.0), "One two. Three four.# Five");
        assert_eq!(at(100.0), "One two. Three four. Five#", "appended, in the middle of a sentence as it may be");
    }

    #[test]
    fn what_is_no_full_stop_to_the_script() {
        // the stops at lines' ends are tokens of their own, so the needle goes back to the only other one
        assert_eq!(placed(&Lines, "A. B.\nC.\nD", false, 90.0, &["#"]), "A.# B.\nC.\nD");
        assert_eq!(placed(&Lines, "A.\nB.\nC", false, 90.0, &["#"]), "#A.\nB.\nC");
        // with a token that begins every text, that token is found, and the needle stands behind it
        let tokens = by_tokens(&[BOS, 70, 71, 72], &[vec![9]], 90.0, &full_stops(&Lines).unwrap());
        assert_eq!(tokens, [BOS, 9, 70, 71, 72]);
        assert_eq!(listed_full_stops(&Lines).unwrap(), [48, 48], "no first token among them");
    }

    #[test]
    fn several_needles_are_placed_in_what_the_first_made() {
        let text = "a.b.c.d.e.f.";
        assert_eq!(placed(&ByteCodec, text, false, 0.0, &["1", "2", "3"]), "1a.2b.c.3d.e.f.");
        assert_eq!(placed(&ByteCodec, text, false, 100.0, &["1", "2", "3"]), "a.b.c.d.e.f.123");
        let fixed = |depth| by_sentences(text, &[2, 4, 6, 8, 10, 12], &["1".into(), "2".into(), "3".into()], depth);
        assert_eq!(fixed(0.0), "1a.b.2c.d.3e.f.");
        assert_eq!(fixed(100.0), "a.b.c.d.e.f.123");
    }

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
    }
}
