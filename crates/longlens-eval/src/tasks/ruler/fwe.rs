//! Coded words as frequent as words of a language: the word of rank k stands k^-2 / ζ(2) of the time. The three behind the first are asked
//! for; the first is written as dots.
//!
//! In the fixed mode texts are long enough for the third of them to be more frequent than the next word; in shorter ones both may stand
//! equally often, or not at all.

use longlens_core::lens::TextCodec;

use super::FWE;
use super::fit::{Drawn, Fit};
use crate::error::EvalError;
use crate::random::Python;
use crate::sample::Wrapper;
use crate::scorers::Mode;
use crate::tasks::{Ask, Samples};

/// ζ(2).
const ZETA: f64 = 1.644_934_066_848_226_4;
/// Letters of a word.
const N_LETTERS: usize = 6;
/// Words of a text from which on the word of rank 4 is more frequent than that of rank 5.
const LEAST_WORDS: usize = 53;
/// Tokens of a text for each word of its vocabulary.
const TOKENS_A_WORD: usize = 50;

/// Draws coded texts.
pub struct FrequentWords {
    seed: u64,
    random: Python,
    mode: Mode,
    wrapper: Wrapper,
}

/// The samples of the task.
pub fn samples(ask: &Ask<'_>) -> Result<Samples, EvalError> {
    let fit = Fit::new(ask, &FWE, 1);
    // four words at least: dots and three that are asked for
    let shortest = FWE.n_tokens + 4 * TOKENS_A_WORD;
    if fit.length < shortest {
        return Err(fit.no_room(shortest));
    }
    let mut script = FrequentWords::seeded(ask.seed(), ask.mode(), ask.wrapper());
    let n_words = script.search(ask.codec, &fit)?;
    Ok(Samples::making(ask.n_samples(), move |at, codec| {
        let drawn = script.fitting(codec, &fit, n_words)?;
        Ok(fit.sample(at, drawn))
    }))
}

impl FrequentWords {
    pub fn seeded(seed: u64, mode: Mode, wrapper: Wrapper) -> Self {
        Self { seed, random: Python::seed(seed.into()), mode, wrapper }
    }

    /// Words of a text that fills the length.
    fn search(&mut self, codec: &dyn TextCodec, fit: &Fit) -> Result<usize, EvalError> {
        let (most, step) = room(fit);
        let vocabulary = self.vocabulary(most / TOKENS_A_WORD);
        let mut n_words = most / N_LETTERS;
        while fit.count(codec, &self.text(codec, &vocabulary, n_words)?.prompt)? < most {
            n_words += step;
        }
        Ok(n_words - step)
    }

    /// A text with new words that is no longer than asked.
    fn fitting(&mut self, codec: &dyn TextCodec, fit: &Fit, n_words: usize) -> Result<Drawn, EvalError> {
        let (most, step) = room(fit);
        let vocabulary = self.vocabulary(most / TOKENS_A_WORD);
        let least = if self.mode == Mode::Fixed { LEAST_WORDS } else { 0 };
        let mut n_words = n_words.max(least);
        loop {
            let drawn = self.text(codec, &vocabulary, n_words)?;
            let n_tokens = fit.count(codec, &drawn.prompt)?;
            if n_tokens <= most {
                return Ok(drawn);
            }
            if n_words == least {
                let shortest = n_tokens + FWE.n_tokens;
                return Err(fit.no_room(shortest));
            }
            n_words = n_words.saturating_sub(step).max(least);
        }
    }

    /// Words in the order of their ranks.
    pub fn vocabulary(&mut self, n: usize) -> Vec<String> {
        let letters: Vec<char> = ('a'..='z').collect();
        let mut words: Vec<String> = Vec::new();
        let mut n_drawn = 0;
        while words.len() < n {
            words.push(self.random.choices(&letters, N_LETTERS).into_iter().collect());
            n_drawn += 1;
            if n_drawn >= n {
                words.sort_unstable();
                words.dedup();
            }
        }
        Python::seed(self.seed.into()).shuffle(&mut words);
        "...".clone_into(&mut words[0]);
        words
    }

    pub fn text(&self, codec: &dyn TextCodec, vocabulary: &[String], n_words: usize) -> Result<Drawn, EvalError> {
        let ranks = vocabulary.iter().zip(1..);
        let mut words: Vec<&str> =
            ranks.flat_map(|(word, rank)| std::iter::repeat_n(&**word, count(n_words, rank))).collect();
        Python::seed(self.seed.into()).shuffle(&mut words);
        let said = format!(
            "Read the following coded text and track the frequency of each coded word. Find the three most frequently appeared coded \
             words. {}\nQuestion: Do not provide any explanation. Please ignore the dots '....'. What are the three most frequently \
             appeared words in the above coded text?",
            words.join(" ")
        );
        let begun = " Answer: According to the coded text above, the three most frequently appeared words are:";
        Ok(Drawn {
            prompt: self.wrapper.wrap(codec, &said, begun)?,
            answers: vocabulary[1..4].to_vec(),
            told: Vec::new(),
            depth: None,
        })
    }
}

/// Tokens of a prompt at most, and words that are added to it at once.
fn room(fit: &Fit) -> (usize, usize) {
    let most = fit.length - FWE.n_tokens;
    (most, most / 32)
}

/// How often the word of a rank stands in a text.
fn count(n_words: usize, rank: u32) -> usize {
    (n_words as f64 * f64::from(rank).powf(-2.0) / ZETA) as usize
}
