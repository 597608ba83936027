//! How much haystack fills a length.
//!
//! RULER's scripts draw a prompt of few pieces, guess from it how many pieces the length might hold at most, and halve from there, with a
//! new prompt for each try. Every sample is drawn with the number found; one that is too long is drawn again with fewer. All these draws
//! come from the same random numbers, so they have to be made to reach the samples that follow.

use longlens_core::lens::TextCodec;

use super::Answers;
use crate::error::EvalError;
use crate::sample::{Answering, Prompt, Rule, Sample};
use crate::scorers::Mode;
use crate::tasks::{Ask, Samples};

/// A prompt as a script draws it.
pub struct Drawn {
    pub prompt: Prompt,
    pub answers: Vec<String>,
    /// Parts of the prompt that tell what is asked for.
    pub told: Vec<String>,
    /// Share of the haystack before what is asked for, where that is one thing.
    pub depth: Option<f64>,
}

/// What a prompt is drawn for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To see how long it is.
    Search,
    /// As the sample of this number.
    Sample(usize),
}

/// What draws prompts.
pub trait Script {
    /// A prompt with `n_pieces` of haystack; `None` where the script fails and draws again.
    fn draw(&mut self, codec: &dyn TextCodec, n_pieces: usize, purpose: Purpose) -> Result<Option<Drawn>, EvalError>;
}

/// A length and the steps in which it is filled.
#[derive(Debug, Clone, Copy)]
pub struct Fit {
    /// Name of the task.
    pub task: &'static str,
    pub answers: &'static Answers,
    /// Tokens of prompt and answer.
    pub length: usize,
    /// Tokens that samples have and prompts of the search have not.
    pub n_beside: usize,
    /// Pieces of the first prompt.
    pub first: usize,
    /// Pieces that are taken away from a prompt that is too long.
    pub step: usize,
    /// Fewest pieces that a prompt can be made of.
    pub least: usize,
    /// Pieces that the search tries at most, from the length and the tokens of a piece.
    pub guess: fn(f64, f64) -> usize,
    /// Pieces that there are at most.
    pub most: usize,
    pub mode: Mode,
}

/// Draws of a sample at its fewest pieces before it is given up. The scripts draw for ever.
const N_TRIES: usize = 100;

/// Three times as many pieces as the first prompt lets expect.
fn thrice(length: f64, tokens_a_piece: f64) -> usize {
    (length / tokens_a_piece * 3.0) as usize
}

impl Fit {
    /// A length that is filled in steps, as most scripts fill it.
    pub fn new(ask: &Ask<'_>, answers: &'static Answers, step: usize) -> Self {
        Self {
            task: ask.setting.info().name,
            answers,
            length: ask.length(),
            n_beside: 0,
            first: step,
            step,
            least: 1,
            guess: thrice,
            most: usize::MAX,
            mode: ask.mode(),
        }
    }

    /// Pieces of haystack that fill the length.
    pub fn search(&self, codec: &dyn TextCodec, script: &mut dyn Script) -> Result<usize, EvalError> {
        let mut n_tokens = |n_pieces: usize| loop {
            // a draw that fails ends the script: such seeds have no prompts to compare with
            if let Some(drawn) = script.draw(codec, n_pieces, Purpose::Search)? {
                return self.count(codec, &drawn.prompt);
            }
        };
        let tokens_a_piece = n_tokens(self.first)? as f64 / self.first as f64;
        let guess = (self.guess)(self.length as f64, tokens_a_piece).max(2 * self.step);
        let (mut low, mut high) = (self.start(), guess.min(self.most));
        let mut best = None;
        while low <= high {
            let middle = usize::midpoint(low, high);
            if n_tokens(middle)? + self.n_beside + self.answers.n_tokens <= self.length {
                best = Some(middle);
                low = middle + 1;
            } else {
                high = middle - 1;
            }
        }
        Ok(best.unwrap_or(self.start()))
    }

    /// A prompt that is no longer than asked.
    pub fn draw(
        &self,
        codec: &dyn TextCodec,
        script: &mut dyn Script,
        n_pieces: usize,
        at: usize,
    ) -> Result<Drawn, EvalError> {
        let (mut n_pieces, mut n_tries, mut shortest) = (n_pieces, 0, usize::MAX);
        while n_tries < N_TRIES {
            // pieces that a prompt is too long by, by the length of its own
            let mut n_over = 1;
            if let Some(drawn) = script.draw(codec, n_pieces, Purpose::Sample(at))? {
                let length = self.count(codec, &drawn.prompt)? + self.answers.n_tokens;
                if length <= self.length {
                    return Ok(drawn);
                }
                shortest = shortest.min(length);
                n_over = ((length - self.length) * n_pieces).div_ceil(length).max(1);
            }
            let fewer = match self.mode {
                // below a step the script stays where it is
                Mode::Faithful if n_pieces > self.step => n_pieces - self.step,
                Mode::Faithful => n_pieces,
                Mode::Fixed => n_pieces.saturating_sub(n_over).max(self.least),
            };
            n_tries += usize::from(fewer == n_pieces);
            n_pieces = fewer;
        }
        Err(self.no_room(shortest))
    }

    /// Refuses a length that is less than the shortest prompt has.
    pub fn no_room(&self, shortest: usize) -> EvalError {
        let is_shorter_fixed = self.mode == Mode::Faithful && self.least < self.step;
        EvalError::NoRoom { task: self.task, length: self.length, shortest, is_shorter_fixed }
    }

    /// A sample of what was drawn.
    pub fn sample(&self, at: usize, drawn: Drawn) -> Sample {
        let place = |told: &String| {
            let start = drawn.prompt.text()?.find(&**told)?;
            Some(start..start + told.len())
        };
        let mut evidence: Vec<_> = drawn.told.iter().filter_map(place).collect();
        evidence.sort_by_key(|place| place.start);
        Sample {
            id: at.to_string(),
            evidence,
            prompt: drawn.prompt,
            answers: drawn.answers,
            rule: Rule::Answer(Answering::new(self.answers.n_tokens, self.answers.scorer)),
            length: Some(self.length),
            depth: drawn.depth,
            part: None,
            n_truncated: 0,
        }
    }

    /// Tokens of a prompt: as the scripts count them without the model's own first one, or all that are fed.
    pub fn count(&self, codec: &dyn TextCodec, prompt: &Prompt) -> Result<usize, EvalError> {
        let tokens = match (self.mode, prompt) {
            (Mode::Faithful, Prompt::Text { text, .. }) => codec.encode(text, false)?,
            _ => prompt.tokens(Ok(codec))?,
        };
        Ok(tokens.len())
    }

    fn start(&self) -> usize {
        if self.mode == Mode::Fixed { self.least } else { self.step }
    }
}

/// The samples of a script, each no longer than asked.
pub fn samples(ask: &Ask<'_>, fit: Fit, mut script: impl Script + 'static) -> Result<Samples, EvalError> {
    let n_pieces = fit.search(ask.codec, &mut script)?;
    Ok(making(ask, fit, n_pieces, script))
}

/// The samples of a script with a number of pieces that was found.
pub fn making(ask: &Ask<'_>, fit: Fit, n_pieces: usize, mut script: impl Script + 'static) -> Samples {
    Samples::making(ask.n_samples(), move |at, codec| Ok(fit.sample(at, fit.draw(codec, &mut script, n_pieces, at)?)))
}
