//! Samples counted once: what is known of each without making it again.

use longlens_core::lens::{Control, LensError, TextCodec};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::EvalError;
use crate::sample::{Prompt, Rule, Sample};
use crate::tasks::{Ask, Samples, Task};

/// What is known of a sample without making it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Tells it from others of its task.
    pub id: String,
    /// Tells apart the sample and its tokens: SHA-256 in hexadecimal digits.
    pub hash: String,
    /// Tokens of the prompt.
    pub n_prompt: usize,
    /// Tokens of the answer at most.
    pub max_tokens: usize,
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
    /// They are small and all there.
    Kept(Vec<Sample>),
    /// They are made, in order; the number of the next one stands beside it.
    Anew(Box<Again>, Option<(Samples, usize)>),
}

/// Makes the samples of a task once more.
pub type Again = dyn Fn(&dyn TextCodec) -> Result<Samples, EvalError>;

/// Bytes of prompts that are kept between counting and running, at most.
const MOST_KEPT: usize = 64 << 20;

impl Entry {
    /// Counts a sample.
    pub fn of(task: &Task, sample: &Sample, codec: Result<&dyn TextCodec, LensError>) -> Result<Self, EvalError> {
        let tokens = sample.prompt.tokens(codec)?;
        let mut digest = Sha256::new();
        digest.update(sample.hash(task.info.name, task.version));
        for token in &tokens {
            digest.update(token.to_le_bytes());
        }
        let max_tokens = match &sample.rule {
            Rule::Answer(answering) => answering.max_tokens,
            Rule::Loss { .. } => 0,
        };
        let hash = format!("{:x}", digest.finalize());
        Ok(Self { id: sample.id.clone(), hash, n_prompt: tokens.len(), max_tokens })
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
        let mut samples = ask.samples()?;
        let (mut entries, mut kept, mut n_bytes) = (Vec::with_capacity(samples.n), Some(Vec::new()), 0);
        for at in 0..samples.n {
            control.progress(at, samples.n);
            if control.cancelled() {
                return Err(LensError::Cancelled.into());
            }
            let sample = (samples.make)(at, ask.codec)?;
            entries.push(Entry::of(task, &sample, Ok(ask.codec))?);
            n_bytes += match &sample.prompt {
                Prompt::Text { text, .. } => text.len(),
                Prompt::Tokens(tokens) => 4 * tokens.len(),
            };
            kept = kept.filter(|_| n_bytes <= MOST_KEPT);
            if let Some(kept) = &mut kept {
                kept.push(sample);
            }
        }
        let made = kept.map_or_else(|| Made::Anew(again, None), Made::Kept);
        Ok(Self { entries, notes: samples.notes, made })
    }

    /// Samples that were counted before: `again` makes them where one is missing.
    pub fn known(entries: Vec<Entry>, notes: Vec<String>, again: Box<Again>) -> Self {
        Self { entries, notes, made: Made::Anew(again, None) }
    }

    /// The sample of a number.
    pub fn sample(&mut self, at: usize, codec: Result<&dyn TextCodec, LensError>) -> Result<Sample, EvalError> {
        match &mut self.made {
            Made::Kept(samples) => Ok(samples[at].clone()),
            Made::Anew(again, begun) => {
                let codec = codec?;
                if begun.as_ref().is_none_or(|(_, next)| *next > at) {
                    *begun = Some((again(codec)?, 0));
                }
                let (samples, next) = begun.as_mut().expect("it has just begun");
                loop {
                    let sample = (samples.make)(*next, codec)?;
                    *next += 1;
                    if *next > at {
                        return Ok(sample);
                    }
                }
            }
        }
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
