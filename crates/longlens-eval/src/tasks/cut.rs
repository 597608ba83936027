//! How scripts shorten documents that are too long: in the middle, at an end, or word by word.

use longlens_core::lens::{LensError, TextCodec};

/// Which end of a document stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The beginning.
    First,
    /// The end.
    Last,
}

/// A prompt of more than `limit` tokens without its middle, and how many tokens were left out: the texts of the first and the last
/// `limit / 2` tokens, without special ones and without anything between them (`LongBench`). `limit` is at least 2.
pub fn middle(codec: &dyn TextCodec, prompt: &str, limit: usize) -> Result<(String, usize), LensError> {
    let tokens = codec.encode(prompt, true)?;
    let half = limit / 2;
    if tokens.len() <= limit {
        return Ok((prompt.to_owned(), 0));
    }
    let (first, last) = (&tokens[..half], &tokens[tokens.len() - half..]);
    Ok((codec.decode(first)? + &codec.decode(last)?, tokens.len() - 2 * half))
}

/// The first `limit` tokens of a document, and how many were left out.
pub fn beginning(codec: &dyn TextCodec, document: &str, limit: usize) -> Result<(String, usize), LensError> {
    let tokens = codec.encode(document, false)?;
    if tokens.len() <= limit {
        return Ok((document.to_owned(), 0));
    }
    Ok((codec.decode(&tokens[..limit])?, tokens.len() - limit))
}

/// A document as long as it has more than `limit` tokens, cut to `n_words` of its words, then to `step` fewer, and so on; and how many of
/// its words were left out (`ChunkLlama`, L-Eval). Tokens count with the model's first one, and words are what stands between single
/// spaces, so that two spaces hold an empty one. The scripts slice lists as Python does: once no words would be left, they drop some of
/// the other end instead.
pub fn by_words(
    codec: &dyn TextCodec,
    document: &str,
    limit: usize,
    (n_words, step): (usize, usize),
    keep: Keep,
) -> Result<(String, usize), LensError> {
    let mut text = document.to_owned();
    let mut n_fewer = 0;
    while !text.is_empty() && codec.encode(&text, true)?.len() > limit {
        let words: Vec<&str> = text.split(' ').collect();
        let (n, fewer) = (words.len(), n_fewer);
        let range = match keep {
            // words[:n_words - fewer]
            Keep::First if fewer <= n_words => 0..n.min(n_words - fewer),
            Keep::First => 0..n.saturating_sub(fewer - n_words),
            // words[fewer - n_words:]
            Keep::Last if fewer < n_words => n.saturating_sub(n_words - fewer)..n,
            Keep::Last => n.min(fewer - n_words)..n,
        };
        text = words[range].join(" ");
        n_fewer += step;
    }
    let n_kept = if text.is_empty() { 0 } else { n_pieces(&text) };
    Ok((text, n_pieces(document) - n_kept))
}

fn n_pieces(text: &str) -> usize {
    text.matches(' ').count() + 1
}

#[cfg(test)]
mod tests {
    use longlens_core::scripted::ByteCodec;

    use super::*;

    #[test]
    fn the_middle_is_left_out_where_a_prompt_is_too_long() {
        // 11 tokens with the first one, which is special and counts
        assert_eq!(middle(&ByteCodec, "0123456789", 11).unwrap(), ("0123456789".into(), 0));
        assert_eq!(middle(&ByteCodec, "0123456789", 10).unwrap(), ("012356789".into(), 1));
        assert_eq!(middle(&ByteCodec, "0123456789", 7).unwrap(), ("01789".into(), 5), "an odd limit keeps one fewer");
        assert_eq!(beginning(&ByteCodec, "0123456789", 4).unwrap(), ("0123".into(), 6));
    }

    #[test]
    fn words_are_dropped_until_the_tokens_fit() {
        let text = "aa bb cc dd ee";
        let cut = |limit, keep| by_words(&ByteCodec, text, limit, (4, 1), keep).unwrap();
        assert_eq!(cut(15, Keep::First), (text.into(), 0));
        assert_eq!(cut(12, Keep::First), ("aa bb cc dd".into(), 1));
        assert_eq!(cut(11, Keep::First), ("aa bb cc".into(), 2));
        assert_eq!(cut(6, Keep::Last), ("dd ee".into(), 3));
        // as Python's [:-1] and [1:] do once nothing more is to be kept
        assert_eq!(cut(1, Keep::First), (String::new(), 5));
        assert_eq!(cut(1, Keep::Last), (String::new(), 5));
        assert_eq!(by_words(&ByteCodec, "aaaa", 3, (1, 2), Keep::First).unwrap(), (String::new(), 1));
        assert_eq!(
            by_words(&ByteCodec, "a  b", 3, (2, 1), Keep::First).unwrap(),
            ("a ".into(), 1),
            "an empty word counts"
        );
    }
}
