//! Where in a haystack's tokens the scripts put a needle.

use longlens_core::lens::{LensError, TextCodec};

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
    }
}
