//! The scripts' prompts without their faults.
//!
//! - The number and its place are drawn anew for every length, trial and depth. `ChunkLlama` and `LongLoRA` seed all lengths alike, so that
//!   a trial's key stands at the same character of each, which is ever nearer to the beginning.
//! - Filler is as many characters as the tokenizer lets fit, down to none at all: prompt and answer have at most the length, and nearly
//!   all of it. The scripts take 3.75 characters for a token and round down to whole 1024s, which leaves nothing below 274 tokens, and they
//!   have a limited text at hand.
//! - Answers are compared as text, since token ids need a tokenizer that begins every text with one of its own, and spells a number in one
//!   way alone.

use longlens_core::lens::TextCodec;

use super::scripts::{Script, ScriptPrompt};
use crate::error::EvalError;
use crate::random::NumPy;
use crate::sample::{Prompt, Wrapper};

/// Lengths are counted by steps of so many characters, less than a sentence of the filler.
const STEP: usize = 16;

/// Makes prompts of one length; the filler of the last one is where the search for the next begins.
#[derive(Debug, Clone)]
pub struct Fixed {
    script: Script,
    length: usize,
    wrapper: Wrapper,
    n_garbage: usize,
}

impl Fixed {
    /// Prompts as a script words them, so many tokens long.
    pub fn new(script: Script, length: usize, wrapper: Wrapper) -> Self {
        Self { script, length, wrapper, n_garbage: 15 * length / 4 }
    }

    /// The prompt of a trial, before and after it is wrapped.
    pub fn prompt(&mut self, codec: &dyn TextCodec, trial: usize) -> Result<(ScriptPrompt, Prompt), EvalError> {
        let (share, key) = self.draw(trial);
        let n_answer = codec.encode(&format!(" {key}"), false)?.len() + 1;
        let written = |n_garbage: usize| -> Result<(ScriptPrompt, Prompt), EvalError> {
            let made = ScriptPrompt::new(n_garbage, (share * n_garbage as f64) as usize, key);
            let prompt = super::wrapped(self.wrapper, codec, &made.text)?;
            Ok((made, prompt))
        };
        let measure = |n_garbage: usize| -> Result<usize, EvalError> {
            Ok(written(n_garbage)?.1.tokens(Ok(codec))?.len() + n_answer)
        };
        let shortest = measure(0)?;
        if shortest > self.length {
            return Err(EvalError::TooShort { template: self.script.name(), length: self.length, shortest });
        }
        let n_garbage = most(self.length, (shortest, self.n_garbage), measure)?;
        self.n_garbage = n_garbage;
        written(n_garbage)
    }

    /// Where the key stands, as a share of the filler, and the key.
    fn draw(&self, trial: usize) -> (f64, u32) {
        let depth = if let Script::NeedleGrid { depth, .. } = self.script { Some(depth) } else { None };
        // odd factors, so that trials of a length all begin elsewhere
        let seed = (trial as u32).wrapping_mul(0x9E37_79B1) ^ (self.length as u32).wrapping_mul(0x85EB_CA6B);
        let mut random = NumPy::seed(seed.wrapping_add((depth.unwrap_or_default() * 4096.0) as u32));
        let share = f64::from(random.next_u32()) / (f64::from(u32::MAX) + 1.0);
        let keys = if depth.is_some() { (50_000, 500_000) } else { (1, 50_000) };
        (depth.unwrap_or(share), random.randint(keys.0, keys.1) as u32)
    }
}

/// The largest multiple of [`STEP`] whose measure is at most `room`, from the measure of 0 and a guess.
fn most(
    room: usize,
    (shortest, guess): (usize, usize),
    measure: impl Fn(usize) -> Result<usize, EvalError>,
) -> Result<usize, EvalError> {
    let (mut low, mut high) = ((0, shortest), None);
    let mut next = guess / STEP;
    for n_measured in 0.. {
        match high {
            Some((steps, _)) if steps - low.0 <= 1 => break,
            Some((steps, _)) => next = next.clamp(low.0 + 1, steps - 1),
            None => next = next.max(low.0 + 1),
        }
        let measured = measure(STEP * next)?;
        if measured <= room {
            low = (next, measured);
        } else {
            high = Some((next, measured));
        }
        let per_step = (measured - shortest).max(1) as f64 / next as f64;
        next = match high {
            // guesses that creep up from one side only are cut short by halves
            Some((steps, _)) if n_measured >= 6 => low.0.midpoint(steps),
            _ => low.0 + ((room - low.1) as f64 / per_step) as usize,
        };
        if high.is_none() && STEP * next > 64 * room + (1 << 16) {
            let (n_tokens, n_pieces) = (low.1, STEP * low.0);
            return Err(EvalError::NoFiller { template: "script", length: room, n_pieces, n_tokens });
        }
    }
    Ok(STEP * low.0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use longlens_core::scripted::ByteCodec;

    use super::*;

    fn made(script: Script, length: usize, trial: usize) -> (ScriptPrompt, usize) {
        let (made, prompt) = Fixed::new(script, length, Wrapper::Off).prompt(&ByteCodec, trial).unwrap();
        (made, prompt.tokens(Ok(&ByteCodec)).unwrap().len())
    }

    #[test]
    fn prompts_have_the_length_that_is_asked_for() {
        for length in [420, 1000, 1024, 5000] {
            for trial in 0..4 {
                let (made, n_tokens) = made(Script::LongLora { seq_len: length }, length, trial);
                let n_answer = made.key.to_string().len() + 2;
                assert!((length - STEP..=length).contains(&(n_tokens + n_answer)), "{length}: {n_tokens}");
            }
        }
        let error = Fixed::new(Script::ChunkLlama { seq_len: 200 }, 200, Wrapper::Off).prompt(&ByteCodec, 0);
        assert!(error.unwrap_err().to_string().contains("without filler it already has"));
    }

    #[test]
    fn places_and_keys_are_drawn_for_every_length() {
        let script = |seq_len| Script::ChunkLlama { seq_len };
        let lengths = [1024, 2048, 4096, 8192];
        let drawn: HashSet<_> = lengths.iter().map(|length| made(script(*length), *length, 0).0.key).collect();
        assert_eq!(drawn.len(), 4);
        let depths: Vec<f64> =
            (0..400).map(|trial| Fixed::new(script(2048), 2048, Wrapper::Off).draw(trial).0).collect();
        let quarters = |at: usize| depths.iter().filter(|depth| (4.0 * **depth) as usize == at).count();
        let counts: Vec<_> = (0..4).map(quarters).collect();
        assert!(counts.iter().all(|n| (75..=125).contains(n)), "{counts:?}");
        let cells: HashSet<_> = (1..=16)
            .map(|at| {
                Fixed::new(Script::NeedleGrid { length: 2048, depth: f64::from(at) / 16.0 }, 2048, Wrapper::Off)
                    .draw(0)
                    .1
            })
            .collect();
        assert_eq!(cells.len(), 16, "every cell of the grid has a key of its own");
    }

    #[test]
    fn searches_end() {
        for slope in [1, 3, 50] {
            for room in [100, 101, 5000] {
                for guess in [0, 16, 400, 90_000] {
                    let found = most(room, (20, guess), |n| Ok(20 + n / slope)).unwrap();
                    let fits = |n: usize| 20 + n / slope <= room;
                    assert!(fits(found) && !fits(found + STEP), "{slope} {room} {guess}: {found}");
                }
            }
        }
        assert!(most(100, (20, 0), |_| Ok(21)).is_err(), "one token of any text");
    }
}
