//! Samples counted once: what is known of each without making it again.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use longlens_core::lens::{Control, Conversation, LensError, TextCodec};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::EvalError;
use crate::sample::{Rule, Sample};
use crate::scorers::Mode;
use crate::tasks::{Ask, LENGTH, MODE, Samples, Task};

/// What is known of a sample without making it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Tells it from others of its task.
    pub id: String,
    /// Tells apart the sample and its tokens: SHA-256 in hexadecimal digits.
    pub hash: String,
    /// Tokens of the prompt.
    pub n_prompt: usize,
    /// Tokens of the answer at most; 0 where losses are measured.
    pub max_tokens: usize,
    /// The first token whose loss counts; 0 where an answer is asked for.
    pub from: usize,
    /// Target tokens of prompt and answer, where the task has lengths.
    pub length: Option<usize>,
    /// Share of the haystack before what is asked for.
    pub depth: Option<f64>,
    /// Part of the task that is averaged apart.
    pub part: Option<String>,
    /// Tokens or words that the task itself left out of the document.
    pub n_truncated: usize,
}

/// The samples of a task, counted.
pub struct Counted {
    /// In the order of the samples.
    pub entries: Vec<Entry>,
    /// What a user should know of them, as sentences.
    pub notes: Vec<String>,
    made: Made,
}

/// Where samples come from when their turn comes.
enum Made {
    /// They are small and all there, with their tokens.
    Kept(Vec<(Sample, Vec<u32>)>),
    /// They are made, in order; the number of the next one stands beside it.
    Anew(Box<Again>, Option<(Samples, usize)>),
}

/// Makes the samples of a task once more.
pub type Again = dyn Fn(&dyn TextCodec) -> Result<Samples, EvalError>;

/// Says so where prompts are much shorter than was asked for: a score of them is not one of this length. Lengths are pairs of what was asked
/// for and what came, prompt and answer.
fn short(ask: &Ask<'_>, lengths: &[(usize, usize)]) -> Option<String> {
    let has = |name: &str| ask.setting.info().params.iter().any(|param| param.name == name);
    // stored prompts are as long as they are
    if !has(LENGTH.name) {
        return None;
    }
    let short: Vec<_> = lengths.iter().filter(|(asked, n_tokens)| 4 * n_tokens < 3 * asked).collect();
    let (asked, least) = short.iter().min_by_key(|(_, n_tokens)| n_tokens)?;
    let name = ask.setting.info().name;
    let is_faithful = has(MODE.name) && ask.mode() == Mode::Faithful;
    let fixed = if is_faithful { ", as its script makes them; `mode=fixed` may fill it" } else { "" };
    let (n_short, n) = (short.len(), lengths.len());
    Some(format!(
        "{name}: {n_short} of {n} prompts have less than three quarters of their length, the shortest {least} tokens of {asked} with its \
         answer{fixed}"
    ))
}

/// Encodes the last few texts once: fitting a sample, making it and counting it ask for the same ones.
struct Recent<'a> {
    codec: &'a dyn TextCodec,
    texts: Mutex<VecDeque<(String, bool, Vec<u32>)>>,
}

/// Texts whose tokens are remembered.
const N_RECENT: usize = 4;

/// Bytes of prompts that are kept between counting and running, at most.
const MOST_KEPT: usize = 64 << 20;

impl Entry {
    /// Counts a sample.
    pub fn of(task: &Task, sample: &Sample, codec: Result<&dyn TextCodec, LensError>) -> Result<Self, EvalError> {
        Ok(Self::with(task, sample, &sample.prompt.tokens(codec)?))
    }

    /// What is known of a sample whose prompt has these tokens.
    pub(super) fn with(task: &Task, sample: &Sample, tokens: &[u32]) -> Self {
        let mut digest = Sha256::new();
        digest.update(sample.hash(task.info.name, task.version));
        for token in tokens {
            digest.update(token.to_le_bytes());
        }
        let (max_tokens, from) = match &sample.rule {
            Rule::Answer(answering) => (answering.max_tokens, 0),
            Rule::Loss { from } => (0, *from),
        };
        let hash = format!("{:x}", digest.finalize());
        let Sample { id, length, depth, part, n_truncated, .. } = sample;
        Self {
            id: id.clone(),
            hash,
            n_prompt: tokens.len(),
            max_tokens,
            from,
            length: *length,
            depth: *depth,
            part: part.clone(),
            n_truncated: *n_truncated,
        }
    }

    /// Tokens of prompt and answer together, at most.
    pub fn n_tokens(&self) -> usize {
        self.n_prompt + self.max_tokens
    }
}

impl Counted {
    /// Makes and counts all samples of a task. Progress counts samples; a cancellation is an error.
    pub fn new(ask: &Ask<'_>, again: Box<Again>, control: &mut dyn Control) -> Result<Self, EvalError> {
        let task = ask.task();
        let codec = Recent::of(ask.codec);
        let ask = Ask { codec: &codec, ..*ask };
        let mut samples = ask.samples()?;
        let (mut entries, mut kept, mut n_bytes) = (Vec::with_capacity(samples.n), Some(Vec::new()), 0);
        let mut lengths = Vec::new();
        for at in 0..samples.n {
            control.progress(at, samples.n);
            if control.cancelled() {
                return Err(LensError::Cancelled.into());
            }
            let sample = (samples.make)(at, &codec)?;
            let tokens = sample.prompt.tokens(Ok(&codec))?;
            let entry = Entry::with(task, &sample, &tokens);
            lengths.extend(sample.length.map(|asked| (asked, entry.n_tokens())));
            entries.push(entry);
            n_bytes += sample.prompt.text().map_or(0, str::len) + size_of_val(&*tokens);
            kept = kept.filter(|_| n_bytes <= MOST_KEPT);
            if let Some(kept) = &mut kept {
                kept.push((sample, tokens));
            }
        }
        let made = kept.map_or_else(|| Made::Anew(again, None), Made::Kept);
        let mut notes = samples.notes;
        notes.extend(short(&ask, &lengths));
        Ok(Self { entries, notes, made })
    }

    /// Samples that were counted before: `again` makes them where one is missing.
    pub fn known(entries: Vec<Entry>, notes: Vec<String>, again: Box<Again>) -> Self {
        Self { entries, notes, made: Made::Anew(again, None) }
    }

    /// The sample of a number, with the tokens of its prompt.
    pub fn sample(
        &mut self,
        at: usize,
        codec: Result<&dyn TextCodec, LensError>,
    ) -> Result<(Sample, Vec<u32>), EvalError> {
        match &mut self.made {
            Made::Kept(samples) => Ok(samples[at].clone()),
            Made::Anew(again, begun) => {
                let codec = &Recent::of(codec?);
                if begun.as_ref().is_none_or(|(_, next)| *next > at) {
                    *begun = Some((again(codec)?, 0));
                }
                let (samples, next) = begun.as_mut().expect("it has just begun");
                loop {
                    let sample = (samples.make)(*next, codec)?;
                    *next += 1;
                    if *next > at {
                        let tokens = sample.prompt.tokens(Ok(codec))?;
                        return Ok((sample, tokens));
                    }
                }
            }
        }
    }
}

impl<'a> Recent<'a> {
    fn of(codec: &'a dyn TextCodec) -> Self {
        Self { codec, texts: Mutex::default() }
    }
}

impl TextCodec for Recent<'_> {
    fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, LensError> {
        let is_same = |(known, is_special, _): &&(String, bool, Vec<u32>)| known == text && *is_special == special;
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, _, tokens)) = texts.iter().find(is_same) {
            return Ok(tokens.clone());
        }
        let tokens = self.codec.encode(text, special)?;
        texts.push_front((text.to_owned(), special, tokens.clone()));
        texts.truncate(N_RECENT);
        Ok(tokens)
    }

    fn decode(&self, tokens: &[u32]) -> Result<String, LensError> {
        self.codec.decode(tokens)
    }

    fn special(&self, token: u32) -> Option<String> {
        self.codec.special(token)
    }

    fn vocabulary(&self) -> Option<usize> {
        self.codec.vocabulary()
    }

    fn chat(&self, conversation: &Conversation) -> Result<String, LensError> {
        self.codec.chat(conversation)
    }
}

/// Tells tokenizers apart, by what they make of a text and by pieces of their vocabulary.
pub fn tokenizer_hash(codec: &dyn TextCodec) -> Result<String, EvalError> {
    const PROBE: &str = "It is a truth universally acknowledged, that 12345 single men (in possession of £10,000) must be in want of a \
                         wife.\n\n\tfn main() { println!(\"{}\", 0x1F); }\r\nÉlan vital — 长上下文 \u{1F980} নমস্কার  double  blanks";
    let mut digest = Sha256::new();
    for token in codec.encode(PROBE, true)? {
        digest.update(token.to_le_bytes());
    }
    let n_tokens = codec.vocabulary().unwrap_or(0);
    digest.update(n_tokens.to_le_bytes());
    for at in (0..n_tokens).step_by((n_tokens / 256).max(1)) {
        digest.update(codec.decode(&[at as u32]).unwrap_or_default());
    }
    Ok(format!("{:x}", digest.finalize())[..16].to_owned())
}
