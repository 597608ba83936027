//! One passkey prompt as tokens: as long as asked for, its needle located, its answer known.

use longlens_core::lens::{Control, LensError, TextCodec};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::chat::{Chat, PromptEncoder};
use super::templates::{Filling, Frame, Piece, Sketch, Template};
use crate::error::{EvalError, expect};

/// Which prompt of a template. The same place gives the same prompt, whatever the method.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Target length in tokens, question and answer included.
    pub length: usize,
    /// Share of the filler that comes before the needle, 0 to 1.
    pub depth: f64,
    /// Number of the prompt among those of the same length and depth.
    pub trial: usize,
    /// Start of the random numbers.
    pub seed: u64,
    /// Whether a trial has one key and one filler at all lengths and depths, so that they alone make a difference; else every cell draws
    /// its own.
    #[serde(default)]
    pub shared: bool,
}

/// A passkey prompt, ready to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PasskeyPrompt {
    /// Target length in tokens.
    pub length: usize,
    /// What is fed, as text without the model's own first token, which a chat template alone writes out.
    pub text: String,
    /// Its tokens, with the model's own first token.
    pub tokens: Vec<u32>,
    /// What to find.
    pub key: String,
    /// Tokens of the right continuation.
    pub answer: Vec<u32>,
    /// Where the key is told; `None` when a foreign prompt does not tell it in the usual words.
    pub needle: Option<Needle>,
}

/// Where a prompt tells its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needle {
    /// The sentences that tell it, as they stand in the prompt.
    pub text: String,
    /// Their first token.
    pub start: usize,
    /// One past their last token.
    pub end: usize,
}

/// Makes the prompt of a template at a place, in the model's chat template where `chat` says so.
///
/// `longlens` and `long_lm` prompts are as long as whole sentences allow, never longer than asked for; the others are
/// cut by characters and have as many tokens as the tokenizer makes of them.
pub fn prompt(
    codec: &dyn TextCodec,
    template: Template,
    chat: Option<&Chat>,
    place: &Place,
) -> Result<PasskeyPrompt, EvalError> {
    hiding(codec, template, chat, place, None, &())
}

/// The prompt of a template at a place that hides a key of the caller's, or the one that the place draws. Making it stops where
/// `control` says so.
pub fn hiding(
    codec: &dyn TextCodec,
    template: Template,
    chat: Option<&Chat>,
    place: &Place,
    key: Option<&str>,
    control: &dyn Control,
) -> Result<PasskeyPrompt, EvalError> {
    expect((0.0..=1.0).contains(&place.depth), "depth", place.depth, "between 0 and 1")?;
    let (mut frame, filling) = template.draw(place.length, place.random());
    if let Some(key) = key {
        let is_word = (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_alphanumeric());
        expect(is_word, "key", format!("`{key}`"), "1 to 64 letters or digits")?;
        key.clone_into(&mut frame.key);
    }
    let encoder = PromptEncoder { codec, chat };
    let sketch = match filling {
        Filling::Characters(n_chars) => frame.characters(n_chars, place.depth),
        Filling::Pieces(source) => fit(encoder, template, &frame, source, place, control)?,
    };
    PasskeyPrompt::new(encoder, sketch, place.length)
}

impl Place {
    fn random(&self) -> ChaCha8Rng {
        let mut seed = [0; 32];
        let (length, depth) = if self.shared { (0, 0) } else { (self.length as u64, self.depth.to_bits()) };
        let parts = [self.seed, length, depth, self.trial as u64];
        for (bytes, part) in seed.chunks_exact_mut(8).zip(parts) {
            bytes.copy_from_slice(&part.to_le_bytes());
        }
        ChaCha8Rng::from_seed(seed)
    }
}

impl PasskeyPrompt {
    /// Tokenizes a prompt.
    pub(super) fn new(encoder: PromptEncoder<'_>, sketch: Sketch, length: usize) -> Result<Self, EvalError> {
        let text = encoder.text(&sketch.text)?;
        let tokens = encoder.encode(&text)?;
        let answer = encoder.answer(&sketch.text, &sketch.key, &tokens)?;
        let told = sketch.needle.map(|needle| &sketch.text[needle]);
        let needle = told.map(|told| Needle::find(encoder.codec, &text, &tokens, told)).transpose()?.flatten();
        Ok(Self { length, text, tokens, key: sketch.key, answer, needle })
    }
}

impl Needle {
    /// The place of the sentences `told` among the tokens of `text`; nothing where a chat template wrote others in their place.
    fn find(codec: &dyn TextCodec, text: &str, tokens: &[u32], told: &str) -> Result<Option<Self>, LensError> {
        // special tokens of a chat template are text, and are left out of what tokens decode to
        let decoded = codec.decode(tokens)?;
        let Some(start) = decoded.find(told).or_else(|| text.find(told)) else { return Ok(None) };
        // the blank before belongs to the first token of many tokenizers, and to the needle with it
        let first = token_at(codec, tokens, start + 1)?;
        let end = token_at(codec, tokens, start + told.len())? + 1;
        Ok(Some(Self { text: told.to_owned(), start: first, end }))
    }
}

/// Counts of pieces that are guessed before the rest is searched by halves.
const MOST_GUESSED: usize = 8;
/// Longest key that can be hidden.
const MAX_KEY: usize = 64;

/// The token that holds the last of the first `n_bytes` of the text.
fn token_at(codec: &dyn TextCodec, tokens: &[u32], n_bytes: usize) -> Result<usize, LensError> {
    // text never shrinks as tokens are added; every look decodes all of them, so each is where the bytes should be
    let (mut low, mut high): ((usize, usize), (usize, Option<usize>)) = ((0, 0), (tokens.len(), None));
    for n_looked in 0.. {
        let ((first, before), (last, after)) = (low, high);
        if first >= last {
            break;
        }
        let share = match after {
            Some(after) if n_looked < MOST_GUESSED => (n_bytes - before) as f64 / (after - before).max(1) as f64,
            None if n_looked == 0 => (n_bytes as f64 / codec.decode(tokens)?.len().max(1) as f64).min(1.0),
            _ => 0.5,
        };
        let middle = (first + (share * (last - first) as f64) as usize).min(last - 1);
        let length = codec.decode(&tokens[..middle])?.len();
        if length < n_bytes {
            low = (middle + 1, length);
        } else {
            high = (middle, Some(length));
        }
    }
    Ok(low.0.saturating_sub(1))
}

/// The sketch with the most pieces of `source` that stays within the length.
fn fit(
    encoder: PromptEncoder<'_>,
    template: Template,
    frame: &Frame,
    mut source: Box<dyn Iterator<Item = Piece>>,
    place: &Place,
    control: &dyn Control,
) -> Result<Sketch, EvalError> {
    let measure = |pieces: &[Piece]| -> Result<(usize, usize), EvalError> {
        if control.cancelled() {
            return Err(LensError::Cancelled.into());
        }
        let sketch = frame.pieces(pieces, place.depth);
        Ok((encoder.n_tokens(&sketch.text, &sketch.key)?, sketch.text.len()))
    };
    let (shortest, least_bytes) = measure(&[])?;
    if shortest > place.length {
        return Err(EvalError::TooShort { template: template.name(), length: place.length, shortest });
    }
    // every measure tokenizes the whole text, so each next count is guessed from the bytes of those before, at first of the frame
    let mut pieces: Vec<Piece> = Vec::new();
    let mut per_byte = shortest as f64 / least_bytes as f64;
    let (mut fitting, mut fitting_length) = (0, shortest);
    let mut beyond: Option<usize> = None;
    for n_measured in 0.. {
        // some tokenizers make one token of any text, and no filler would ever be enough
        if beyond.is_none() && fitting > place.length {
            let (template, length) = (template.name(), place.length);
            return Err(EvalError::NoFiller { template, length, n_pieces: fitting, n_tokens: fitting_length });
        }
        let left = place.length - fitting_length;
        let next = match beyond {
            Some(beyond) if beyond - fitting == 1 => break,
            // guesses that creep up from one side only are cut short by halves
            Some(beyond) if n_measured > MOST_GUESSED => fitting.midpoint(beyond),
            _ => {
                let most = beyond.map_or(fitting + left + 1, |beyond| beyond - 1);
                let (mut next, mut room) = (fitting, left as f64 / per_byte);
                while next < most {
                    pieces.extend(source.by_ref().take((next + 1).saturating_sub(pieces.len())));
                    room -= pieces[next].n_bytes() as f64;
                    if room < 0.0 {
                        break;
                    }
                    next += 1;
                }
                next.max(fitting + 1)
            }
        };
        let (length, n_bytes) = measure(&pieces[..next])?;
        per_byte = (length - shortest) as f64 / (n_bytes - least_bytes) as f64;
        if length <= place.length {
            (fitting, fitting_length) = (next, length);
        } else {
            beyond = Some(next);
        }
    }
    Ok(frame.pieces(&pieces[..fitting], place.depth))
}

#[cfg(test)]
mod tests {
    use longlens_core::scripted::ByteCodec;
    use proptest::prelude::*;

    use super::*;

    fn at(template: Template, length: usize, depth: f64, seed: u64) -> PasskeyPrompt {
        prompt(&ByteCodec, template, None, &Place { length, depth, trial: 0, seed, shared: false }).unwrap()
    }

    #[test]
    fn every_template_reads_as_it_should() {
        insta::assert_snapshot!(at(Template::Longlens, 420, 0.5, 2).text, @"A pass key is hidden in this long text. Find it and keep it in mind. Grass grows tall along the old stone wall. Snow lies on the roof and smoke goes up. The tide is low and the sand is wet. The pass key is 28226. Remember it. 28226 is the pass key. The shop is shut and the street is still. Grass grows tall along the old stone wall. Snow lies on the roof and smoke goes up. What is the pass key? The pass key is");
        insta::assert_snapshot!(at(Template::LongHeads, 60, 0.5, 1).text, @"
        There is an important info hidden inside a lot of irrelevant text. Find it and memorize them. I will quiz you about the important information there.
        The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again. The grass is green. Th
        The pass key is 9394. Remember it. 9394 is the pass key.
        The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again. The grass is green. The
        What is the pass key? The pass key is
        ");
        insta::assert_snapshot!(at(Template::ChunkLlama, 60, 0.1, 1).text, @"
        There is an important info hidden inside a lot of irrelevant text. Find it and memorize them. I will quiz you about the important information there.
        The grass is green. Th
        The pass key is 19397. Remember it. 19397 is the pass key.
        The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again. The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again. The grass is green. The
        What is the pass key? The pass key is
        ");
        insta::assert_snapshot!(at(Template::LongLm, 520, 1.0, 1).text.replace(' ', "·"), @"
        There·is·an·important·info·hidden·inside·a·lot·of·irrelevant·text.·Find·it·and·memorize·it.·I·will·quiz·you·about·the·important·information·there.
        The·grass·is·green.·The·sky·is·blue.·The·sun·is·yellow.·Here·we·go.·There·and·back·again.
        The·grass·is·green.·The·sky·is·blue.·The·sun·is·yellow.·Here·we·go.·There·and·back·again.
        The·grass·is·green.·The·sky·is·blue.·The·sun·is·yellow.·Here·we·go.·There·and·back·again.
        The·pass·key·is·29334.·Remember·it.·29334·is·the·pass·key.
        What·is·the·pass·key?·The·pass·key·is·
        ");
    }

    #[test]
    fn the_filler_is_cut_by_characters() {
        let without = at(Template::LongHeads, 0, 0.0, 1).text.len();
        for template in [Template::LongHeads, Template::ChunkLlama] {
            let prompt = at(template, 1000, 0.3, 1);
            assert_eq!(prompt.text.len() - without, 3750 + prompt.key.len() * 2 - 2 * 5);
            assert_eq!(prompt.tokens.len(), prompt.text.len() + 1, "bytes are tokens here, and one begins the text");
        }
    }

    /// Makes one token of any text, as a tokenizer of whole words does of words that it does not know.
    struct OneToken;

    impl TextCodec for OneToken {
        fn encode(&self, _: &str, _: bool) -> Result<Vec<u32>, LensError> {
            Ok(vec![0])
        }

        fn decode(&self, _: &[u32]) -> Result<String, LensError> {
            Ok("?".into())
        }
    }

    #[test]
    fn filler_that_makes_no_prompt_longer_is_refused() {
        let place = Place { length: 256, depth: 0.5, trial: 0, seed: 0, shared: false };
        for template in [Template::Longlens, Template::LongLm] {
            let error = prompt(&OneToken, template, None, &place).unwrap_err();
            assert!(matches!(error, EvalError::NoFiller { length: 256, n_tokens: 1, .. }), "{error}");
        }
    }

    #[test]
    fn a_prompt_too_short_for_its_frame_is_refused() {
        let place = Place { length: 64, depth: 0.5, trial: 0, seed: 0, shared: false };
        let error = prompt(&ByteCodec, Template::Longlens, None, &place).unwrap_err();
        insta::assert_snapshot!(error, @"a `longlens` prompt cannot be 64 tokens long: without filler it already has 172");
        insta::assert_snapshot!(error.help().unwrap(), @"ask for at least 172 tokens");
        assert!(prompt(&ByteCodec, Template::Longlens, None, &Place { depth: 1.5, ..place }).is_err());
        let error = "long_lens".parse::<Template>().unwrap_err();
        insta::assert_snapshot!(format!("{error} | {}", error.help().unwrap()), @"unknown passkey template `long_lens` | one of: longlens, long_heads, chunk_llama, long_lm");
    }

    proptest! {
        #[test]
        fn whole_sentences_come_as_near_as_they_can(
            length in 270..3000usize, depth in 0.0..=1.0f64, seed: u64, is_long_lm: bool, chats: bool,
        ) {
            let template = if is_long_lm { Template::LongLm } else { Template::Longlens };
            let length = length + 100 * usize::from(is_long_lm);
            let chat = chats.then(Chat::default);
            let prompt = prompt(&ByteCodec, template, chat.as_ref(), &Place { length, depth, trial: 0, seed, shared: false }).unwrap();
            let n_tokens = prompt.tokens.len() + prompt.answer.len();
            // the longest sentence of any filler is shorter than the repeated line
            prop_assert!(n_tokens <= length && length - n_tokens < 90, "{} of {}", n_tokens, length);
        }

        #[test]
        fn the_needle_is_where_it_says(depth in 0.0..=1.0f64, seed: u64, which in 0..4usize, chats: bool) {
            let (template, chat) = (Template::ALL[which], Chat { system: Some("Be brief.".into()), ..Chat::default() });
            let place = Place { length: 600, depth, trial: 0, seed, shared: false };
            let prompt = prompt(&ByteCodec, template, chats.then_some(&chat), &place).unwrap();
            let needle = prompt.needle.unwrap();
            prop_assert_eq!(ByteCodec.decode(&prompt.tokens[needle.start..needle.end]).unwrap(), needle.text.clone());
            prop_assert!(needle.text.contains(&prompt.key));
            let answer = ByteCodec.decode(&prompt.answer).unwrap();
            prop_assert_eq!(answer.trim(), prompt.key.as_str());
            prop_assert_eq!(answer.starts_with(' '), chats || template != Template::LongLm);
            prop_assert_eq!(prompt.text.ends_with("?\nassistant: The pass key is"), chats);
        }
    }
}
