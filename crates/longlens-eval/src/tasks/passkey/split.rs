//! Whether the line that tells a key lies in more than one of `LongHeads`' chunks of 256 tokens, which its script reports apart.

use longlens_core::lens::TextCodec;
use serde_json::{Map, json};

use super::scripts::ScriptPrompt;
use crate::error::EvalError;
use crate::sample::{Answering, Prompt};
use crate::scorers::{Mode, Scorer};

/// Where a key's line lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyLine {
    /// Its first token.
    pub start: usize,
    /// Its last token.
    pub end: usize,
    /// Whether it lies in more than one chunk.
    pub is_split: bool,
}

impl KeyLine {
    /// As the script counts it: the five lines are made tokens apart, each with the token that begins every text, and without the line ends
    /// between them, so it is off by a few tokens. A line that begins with a chunk is split, and none behind token 51200 is.
    pub fn faithful(codec: &dyn TextCodec, made: &ScriptPrompt) -> Result<Self, EvalError> {
        let counts: Vec<_> =
            made.lines().take(3).map(|line| Ok(codec.encode(line, true)?.len())).collect::<Result<_, EvalError>>()?;
        let start = counts[..2].iter().sum();
        Ok(Self::between(start, (start + counts[2]).saturating_sub(1), Mode::Faithful))
    }

    /// As it lies in the prompt that is fed.
    pub fn fixed(codec: &dyn TextCodec, prompt: &Prompt, told: &str) -> Result<Self, EvalError> {
        let Prompt::Text { text, special } = prompt else { return Ok(Self::between(0, 0, Mode::Fixed)) };
        let place = text.find(told).unwrap_or_default();
        let n_until = |end: usize| Ok::<_, EvalError>(codec.encode(&text[..end], *special)?.len());
        let (start, end) = (n_until(place)?, n_until(place + told.len())?);
        Ok(Self::between(start, end.saturating_sub(1).max(start), Mode::Fixed))
    }

    fn between(start: usize, end: usize, mode: Mode) -> Self {
        let scorer = Scorer::named("longheads_key_line_straddles_256").expect("a scorer of the list");
        let row = Map::from_iter([("prediction".to_owned(), json!([[start, end]]))]);
        let is_split = scorer.score(&row, mode).is_ok_and(|flags| flags == json!([true]));
        Self { start, end, is_split }
    }

    /// The script's name for it, by which samples are averaged apart.
    pub fn part(self) -> &'static str {
        if self.is_split { "split" } else { "whole" }
    }

    /// The chunk in which the line begins.
    pub fn block(self) -> usize {
        self.start / 256
    }

    /// An answer that has its place beside it.
    pub fn beside(self, answering: Answering) -> Answering {
        answering.with("position", json!([self.start, self.end])).with("block", self.block())
    }
}

#[cfg(test)]
mod tests {
    use longlens_core::scripted::ByteCodec;

    use super::*;

    #[test]
    fn lines_are_counted_apart() {
        // bytes are tokens: the task line has 149, and each line one that begins it
        let made = ScriptPrompt::new(1024, 100, 12_345);
        let n_task = made.lines().next().unwrap().len();
        let line = KeyLine::faithful(&ByteCodec, &made).unwrap();
        assert_eq!((line.start, line.end), (n_task + 1 + 101, n_task + 1 + 101 + made.lines().nth(2).unwrap().len()));
        let prompt = Prompt::plain(&*made.text);
        let fixed = KeyLine::fixed(&ByteCodec, &prompt, made.lines().nth(2).unwrap()).unwrap();
        assert_eq!(fixed.start, made.key_line + 1);
        assert_eq!(fixed.end - fixed.start + 1, made.lines().nth(2).unwrap().len());
        assert_eq!(line.start + 1, fixed.start, "the script's line begins with a first token of its own");
    }

    #[test]
    fn what_is_split() {
        let of = |start, end, mode| KeyLine::between(start, end, mode);
        assert_eq!((of(250, 260, Mode::Faithful).part(), of(257, 300, Mode::Faithful).part()), ("split", "whole"));
        // a line that begins with a chunk, and one far behind
        assert_eq!((of(256, 300, Mode::Faithful).part(), of(256, 300, Mode::Fixed).part()), ("split", "whole"));
        assert_eq!(
            (of(51_450, 51_470, Mode::Faithful).part(), of(51_450, 51_470, Mode::Fixed).part()),
            ("whole", "split")
        );
        assert_eq!((of(255, 257, Mode::Fixed).block(), of(512, 600, Mode::Fixed).block()), (0, 2));
    }
}
