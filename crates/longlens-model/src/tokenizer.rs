//! Text to tokens and back, by the checkpoint's `tokenizer.json`.

use longlens_core::lens::{LensError, TextCodec};
use tokenizers::Tokenizer;

use crate::error::OpenError;
use crate::source::Source;

const FILE: &str = "tokenizer.json";

/// A tokenizer of the Hugging Face kind.
#[derive(Debug)]
pub struct HfTokenizer(Tokenizer);

impl HfTokenizer {
    /// Reads the checkpoint's tokenizer, if it has one, and checks that the model has an embedding for each of its tokens.
    pub fn open(source: &Source, vocab_size: usize) -> Result<Option<Self>, OpenError> {
        let Some(bytes) = source.read(FILE)? else { return Ok(None) };
        let file = source.shown(FILE);
        let tokenizer = Tokenizer::from_bytes(&bytes)
            .map_err(|error| OpenError::Unreadable { file: file.clone(), problem: error.to_string() })?;
        let tokens = tokenizer.get_vocab(true).into_values().max().map_or(0, |highest| highest as usize + 1);
        if tokens > vocab_size {
            return Err(OpenError::VocabularyMismatch { file, tokenizer: tokens, model: vocab_size });
        }
        Ok(Some(Self(tokenizer)))
    }
}

impl TextCodec for HfTokenizer {
    fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, LensError> {
        let encoding = self.0.encode_fast(text, special).map_err(|error| LensError::Tokenizer(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    fn decode(&self, tokens: &[u32]) -> Result<String, LensError> {
        self.0.decode(tokens, true).map_err(|error| LensError::Tokenizer(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_comes_back_and_the_first_token_is_the_models_own() {
        let tokenizer = HfTokenizer::open(&Source::embedded(), 1024).unwrap().unwrap();
        let tokens = tokenizer.encode("The pass key is 48213. é", true).unwrap();
        assert_eq!(tokens[0], 1);
        assert_eq!(tokenizer.decode(&tokens).unwrap(), "The pass key is 48213. é");
        assert_eq!(tokenizer.encode("The pass key is 48213. é", false).unwrap(), tokens[1..]);
    }

    #[test]
    fn a_vocabulary_larger_than_the_models_is_refused() {
        let error = HfTokenizer::open(&Source::embedded(), 1000).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the embedded model's tokenizer.json has 1024 tokens, but the model's `vocab_size` is 1000"
        );
    }
}
