//! Wordings of the passkey task. A prompt hides a number in filler and asks for it.
//!
//! `long_heads` and `chunk_llama` are the same text in their authors' scripts, its filler cut at 3.75 characters per token
//! (`ChunkLlama`'s script rounds that down to whole 1024s, which would leave short prompts without filler; we do not).
//! There the key's place is random, drawn from one seed for the whole run by `LongHeads` and from the trial's number by
//! `ChunkLlama`; here it is the depth asked for, so that methods are compared on the same grid. `long_lm` comes from
//! the stored samples of Self-Extend's repository: whole lines of filler. `longlens` is the embedded model's own.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::filler::Filler;
use crate::error::EvalError;

/// A wording of the passkey task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Template {
    /// The embedded model's own: varied filler, whole sentences.
    Longlens,
    /// `LongHeads`' script: one repeated filler text, cut at a character.
    LongHeads,
    /// `ChunkLlama`'s script: the same text.
    ChunkLlama,
    /// Self-Extend's samples: one repeated filler text, one per line.
    LongLm,
}

/// A prompt before it is tokens.
pub struct Sketch {
    /// The whole prompt, filler and question included.
    pub text: String,
    /// What to find.
    pub key: String,
    /// Bytes of the sentences that tell the key; nothing where a foreign prompt does not tell it in the usual words.
    pub needle: Option<Range<usize>>,
}

/// How much filler a prompt gets.
pub enum Filling {
    /// So many characters of the repeated text.
    Characters(usize),
    /// As many of these pieces as fit.
    Pieces(Box<dyn Iterator<Item = Piece>>),
}

/// A sentence or line of filler, and what stands before it.
pub struct Piece {
    joiner: &'static str,
    text: String,
}

impl Piece {
    /// Bytes that it adds to a text.
    pub fn n_bytes(&self) -> usize {
        self.joiner.len() + self.text.len()
    }
}

/// What surrounds the filler.
pub struct Frame {
    /// What to find.
    pub key: String,
    intro: &'static str,
    /// What stands before the needle and the question.
    joiners: [&'static str; 2],
    question: &'static str,
}

const INTRO: &str = "There is an important info hidden inside a lot of irrelevant text. Find it and memorize them. \
                     I will quiz you about the important information there.";
const LONG_LM_INTRO: &str = "There is an important info hidden inside a lot of irrelevant text. Find it and memorize \
                             it. I will quiz you about the important information there.";
const LONGLENS_INTRO: &str = "A pass key is hidden in this long text. Find it and keep it in mind.";
const FILLER: &str = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.";
const QUESTION: &str = "What is the pass key? The pass key is";
const LONG_LM_QUESTION: &str = "What is the pass key? The pass key is ";

impl Template {
    /// Every template, in the order of help and menus.
    pub const ALL: [Self; 4] = [Self::Longlens, Self::LongHeads, Self::ChunkLlama, Self::LongLm];

    /// The name in text, configs and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Longlens => "longlens",
            Self::LongHeads => "long_heads",
            Self::ChunkLlama => "chunk_llama",
            Self::LongLm => "long_lm",
        }
    }

    /// The frame and the filler that the random numbers choose.
    pub(super) fn draw(self, length: usize, mut random: ChaCha8Rng) -> (Frame, Filling) {
        let key = match self {
            Self::Longlens | Self::LongLm => random.random_range(10_000..100_000u32),
            Self::LongHeads | Self::ChunkLlama => random.random_range(1..50_000u32), // below 50000, as NumPy's randint
        };
        let key = key.to_string();
        let n_chars = length * 15 / 4;
        let lines = |intro, question| Frame { key: key.clone(), intro, joiners: ["\n"; 2], question };
        match self {
            Self::LongHeads | Self::ChunkLlama => (lines(INTRO, QUESTION), Filling::Characters(n_chars)),
            Self::LongLm => {
                let pieces = std::iter::repeat_with(|| Piece { joiner: "\n", text: FILLER.to_owned() });
                (lines(LONG_LM_INTRO, LONG_LM_QUESTION), Filling::Pieces(Box::new(pieces)))
            }
            Self::Longlens => {
                let joiners = [joiner(&mut random), joiner(&mut random)];
                let mut random_joiners = random.clone();
                random_joiners.set_stream(1);
                let pieces = Filler::new(random).map(move |text| Piece { joiner: joiner(&mut random_joiners), text });
                let frame = Frame { key, intro: LONGLENS_INTRO, joiners, question: QUESTION };
                (frame, Filling::Pieces(Box::new(pieces)))
            }
        }
    }
}

/// What stands before a sentence of the embedded model's world.
fn joiner(random: &mut ChaCha8Rng) -> &'static str {
    if random.random_bool(0.05) { "\n" } else { " " }
}

/// The sentences that tell `key`.
pub(super) fn needle(key: &str) -> String {
    format!("The pass key is {key}. Remember it. {key} is the pass key.")
}

impl Frame {
    /// A prompt with `n_chars` of the repeated text, the needle after the share `depth` of them.
    pub fn characters(&self, n_chars: usize, depth: f64) -> Sketch {
        let before = ((depth * n_chars as f64).round_ties_even() as usize).min(n_chars);
        let filler = |n_chars: usize| {
            let repeated = FILLER.chars().chain([' ']).cycle();
            format!("\n{}", repeated.take(n_chars).collect::<String>())
        };
        self.sketch(&filler(before), &filler(n_chars - before))
    }

    /// A prompt with these pieces, the needle after the share `depth` of them.
    pub fn pieces(&self, pieces: &[Piece], depth: f64) -> Sketch {
        let before = ((depth * pieces.len() as f64).round_ties_even() as usize).min(pieces.len());
        let join = |pieces: &[Piece]| pieces.iter().flat_map(|piece| [piece.joiner, &piece.text]).collect::<String>();
        self.sketch(&join(&pieces[..before]), &join(&pieces[before..]))
    }

    fn sketch(&self, before: &str, after: &str) -> Sketch {
        let Self { key, intro, joiners: [joiner, question_joiner], question } = self;
        let mut text = format!("{intro}{before}{joiner}");
        let start = text.len();
        text += &needle(key);
        let needle = Some(start..text.len());
        text += after;
        text += question_joiner;
        text += question;
        Sketch { text, key: key.clone(), needle }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Template {
    type Err = EvalError;

    fn from_str(text: &str) -> Result<Self, EvalError> {
        Self::ALL.into_iter().find(|template| template.name() == text).ok_or_else(|| EvalError::UnknownTemplate {
            name: text.to_owned(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}
