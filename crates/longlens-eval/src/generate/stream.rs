//! Text as it grows: whole characters only, and nothing that may turn out to begin a stop string.

use longlens_core::lens::{LensError, TextCodec};

/// Turns tokens into text piece by piece.
///
/// Tokens are decoded together with a few before them, because tokenizers treat the start of a text differently; and
/// byte-level tokens can end inside a character, so text is held back while it ends in U+FFFD.
pub struct PieceDecoder {
    tokens: Vec<u32>,
    context: usize,
    shown: usize,
}

/// Tokens of the prompt that the first piece is decoded with.
const N_CONTEXT: usize = 5;

impl PieceDecoder {
    /// A decoder of what follows `prompt`.
    pub fn after(prompt: &[u32], codec: &dyn TextCodec) -> Result<Self, LensError> {
        let mut tokens = prompt[prompt.len().saturating_sub(N_CONTEXT)..].to_vec();
        // a prompt that ends inside a character shares it with the first piece
        if codec.decode(&tokens)?.ends_with(char::REPLACEMENT_CHARACTER) {
            tokens.clear();
        }
        Ok(Self { context: 0, shown: tokens.len(), tokens })
    }

    /// The text that `token` completes.
    pub fn push(&mut self, token: u32, codec: &dyn TextCodec) -> Result<String, LensError> {
        self.tokens.push(token);
        self.piece(codec, false)
    }

    /// The text held back so far.
    pub fn flush(&mut self, codec: &dyn TextCodec) -> Result<String, LensError> {
        self.piece(codec, true)
    }

    fn piece(&mut self, codec: &dyn TextCodec, flush: bool) -> Result<String, LensError> {
        let before = codec.decode(&self.tokens[self.context..self.shown])?;
        let now = codec.decode(&self.tokens[self.context..])?;
        let is_whole = flush || !now.ends_with(char::REPLACEMENT_CHARACTER);
        let Some(piece) = now.get(before.len()..).filter(|piece| is_whole && !piece.is_empty()) else {
            return Ok(String::new());
        };
        (self.context, self.shown) = (self.shown, self.tokens.len());
        Ok(piece.to_owned())
    }
}

/// Cuts text at the first stop string.
pub struct StopCutter {
    strings: Vec<String>,
    held: String,
}

impl StopCutter {
    /// Cuts at any of `strings`.
    pub fn new(strings: Vec<String>) -> Self {
        Self { strings, held: String::new() }
    }

    /// The text that is certain now, and whether a stop string ended it.
    pub fn push(&mut self, piece: &str) -> (String, bool) {
        self.held.push_str(piece);
        if let Some(at) = self.strings.iter().filter_map(|string| self.held.find(string)).min() {
            self.held.truncate(at);
            return (self.flush(), true);
        }
        let n_held = self.strings.iter().map(|string| overlap(&self.held, string)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - n_held);
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// The text held back so far.
    pub fn flush(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// Bytes at the end of `text` that `string` begins with, short of the whole string.
fn overlap(text: &str, string: &str) -> usize {
    let starts = string.char_indices().map(|(at, _)| at).rev();
    starts.into_iter().find(|at| text.ends_with(&string[..*at])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use longlens_core::scripted::ByteCodec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_join_to_the_decoded_text(bytes in prop_oneof![
            any::<String>().prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..40),
        ]) {
            let tokens: Vec<u32> = bytes.iter().map(|byte| longlens_core::scripted::token_of(*byte)).collect();
            let mut decoder = PieceDecoder::after(&ByteCodec.encode("before", true).unwrap(), &ByteCodec).unwrap();
            let mut text = String::new();
            for token in tokens {
                text += &decoder.push(token, &ByteCodec).unwrap();
            }
            text += &decoder.flush(&ByteCodec).unwrap();
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn nothing_of_a_stop_string_gets_out(text in "[ab]{0,24}", first in "[ab]{1,4}", second in "[ab]{1,4}") {
            let strings = [first, second];
            let mut cutter = StopCutter::new(strings.to_vec());
            let (mut out, mut stopped) = (String::new(), false);
            for at in 0..text.len() {
                let (piece, stop) = cutter.push(&text[at..=at]);
                out += &piece;
                stopped = stop;
                if stopped { break; }
            }
            if !stopped { out += &cutter.flush(); }
            // the stop string that is complete first
            let first = strings.iter().filter_map(|string| text.find(string).map(|at| (at + string.len(), at))).min();
            prop_assert_eq!(stopped, first.is_some());
            let longest = first.map_or(text.as_str(), |(end, _)| &text[..end]);
            prop_assert!(longest.starts_with(&out));
            prop_assert!(strings.iter().all(|string| !out.contains(string.as_str())));
        }
    }

    #[test]
    fn a_character_is_shown_once_it_is_whole() {
        let mut decoder = PieceDecoder::after(&[], &ByteCodec).unwrap();
        let pieces: Vec<String> =
            ByteCodec.encode("a€b", false).unwrap().iter().map(|t| decoder.push(*t, &ByteCodec).unwrap()).collect();
        assert_eq!(pieces, ["a", "", "", "€", "b"]);
    }
}
