//! Text to tokens and back, by a checkpoint's `tokenizer.json`.

use longlens_core::lens::{LensError, TextCodec};
use tokenizers::Tokenizer;

use crate::error::OpenError;
use crate::source::Source;

/// A Hugging Face tokenizer.
#[derive(Debug, Clone)]
pub struct HfTokenizer {
    inner: Tokenizer,
    vocab_size: usize,
}

impl HfTokenizer {
    /// The checkpoint's tokenizer, if it has one; every token must be below the model's `vocab_size`.
    pub fn open(source: &Source, vocab_size: usize) -> Result<Option<Self>, OpenError> {
        let file = source.shown(FILE);
        let Some(bytes) = source.read(FILE)? else { return Ok(None) };
        let tokenizer = Self::parse(&file, &bytes)?;
        if tokenizer.vocab_size > vocab_size {
            return Err(OpenError::VocabularyMismatch { file, tokenizer: tokenizer.vocab_size, model: vocab_size });
        }
        Ok(Some(tokenizer))
    }

    /// Reads the text of a `tokenizer.json`; errors call it `file`.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, OpenError> {
        let unreadable = |problem: String| OpenError::Unreadable { file: file.into(), problem };
        let mut inner = Tokenizer::from_bytes(bytes).map_err(|error| unreadable(error.to_string()))?;
        // some files ask for short texts of equal length: a long prompt would be cut without a word
        inner.with_truncation(None).map_err(|error| unreadable(error.to_string()))?;
        inner.with_padding(None);
        let vocab_size = inner.get_vocab(true).values().max().map_or(0, |highest| *highest as usize + 1);
        Ok(Self { inner, vocab_size })
    }

    /// Highest token id, plus one.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }
}

const FILE: &str = "tokenizer.json";

impl TextCodec for HfTokenizer {
    fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, LensError> {
        let encoding =
            self.inner.encode_fast(text, special).map_err(|error| LensError::Tokenizer(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    fn decode(&self, tokens: &[u32]) -> Result<String, LensError> {
        self.inner.decode(tokens, true).map_err(|error| LensError::Tokenizer(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_comes_back_and_special_tokens_are_asked_for() {
        let tokenizer = HfTokenizer::open(&Source::embedded(), 1024).unwrap().unwrap();
        assert_eq!(tokenizer.vocab_size(), 1024);
        let text = "The pass key is 8 1 5. Ünïcödé, too.";
        let plain = tokenizer.encode(text, false).unwrap();
        let special = tokenizer.encode(text, true).unwrap();
        assert_eq!((special[0], &special[1..]), (1, plain.as_slice()));
        assert_eq!(tokenizer.decode(&special).unwrap(), text);
    }

    #[test]
    fn a_truncation_in_the_file_does_not_cut_prompts() {
        let bytes = Source::embedded().require(FILE).unwrap();
        let mut json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        json["truncation"] = serde_json::json!({
            "direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0
        });
        let tokenizer = HfTokenizer::parse(FILE, json.to_string().as_bytes()).unwrap();
        assert!(tokenizer.encode(&"a bird ".repeat(100), true).unwrap().len() > 100);
    }

    #[test]
    fn a_tokenizer_larger_than_the_embedding_and_garbage_are_refused() {
        let error = HfTokenizer::open(&Source::embedded(), 1000).unwrap_err().to_string();
        assert_eq!(error, "embedded tokenizer.json has 1024 tokens, but the model's `vocab_size` is 1000");
        assert!(matches!(HfTokenizer::parse(FILE, b"{}"), Err(OpenError::Unreadable { .. })));
    }
}
