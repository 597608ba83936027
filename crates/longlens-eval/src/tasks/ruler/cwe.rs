//! Words that stand more often in a numbered list than others: ten of them thirty times each, the others three times.
//!
//! An example of forty words stands first. With a chat template the scripts make a turn of its own of it, the template's first token
//! included; in the fixed mode it stands in the one turn, before the list.

use std::path::Path;

use longlens_core::lens::TextCodec;
use longlens_core::setting::Param;
use serde_json::Value;

use super::fit::{self, Drawn, Fit, Purpose, Script};
use super::{CWE, words};
use crate::error::EvalError;
use crate::random::Python;
use crate::sample::{Prompt, Wrapper};
use crate::scorers::Mode;
use crate::tasks::{Ask, Samples, file};
use crate::text::text_of;

/// Words for long lists.
pub const WORDS: Param = file(
    "words",
    "words for lists that need more than 8166 of them: RULER's english_words.json, or a text with a word a line",
);

/// Words that are asked for.
const N_COMMON: usize = 10;
/// Words of the first list, which shows how many tokens a word has.
const N_FIRST: usize = 4096;

/// Draws numbered lists.
pub struct CommonWords {
    words: Vec<String>,
    /// Words for lists of more than there are.
    more: Vec<String>,
    seed: u64,
    random: Python,
    /// How lists are made at the length.
    lists: Lists,
    mode: Mode,
    wrapper: Wrapper,
}

/// Sizes of lists.
#[derive(Debug, Clone, Copy)]
struct Lists {
    n_example: usize,
    /// How often common words and others stand in the example.
    example: (usize, usize),
    list: (usize, usize),
}

/// The samples of the task.
pub fn samples(ask: &Ask<'_>) -> Result<Samples, EvalError> {
    let more = ask.text(WORDS.name).map(|name| read(Path::new(&name), ask.files.read(&name)?)).transpose()?;
    let mode = ask.mode();
    let mut script = CommonWords::seeded(ask.seed(), ask.length(), mode, ask.wrapper());
    script.more = more.unwrap_or_default();
    let n_words = script.words.len().max(script.more.len());
    let fit = Fit {
        first: N_FIRST,
        least: N_COMMON,
        guess: |length, tokens_a_word| {
            // Python's `//` of real numbers
            let n_words = ((length - length % tokens_a_word) / tokens_a_word).round();
            n_words as usize * 2
        },
        // the scripts try numbers of words that they have not, and stop
        most: if mode == Mode::Fixed { n_words } else { usize::MAX },
        ..Fit::new(ask, &CWE, 10)
    };
    let n_found = fit.search(ask.codec, &mut script)?;
    if mode == Mode::Fixed && n_found == n_words {
        return Err(script.too_few(n_found + 1));
    }
    Ok(fit::making(ask, fit, n_found, script))
}

/// The words of a JSON object or list, or of lines.
fn read(path: &Path, bytes: Vec<u8>) -> Result<Vec<String>, EvalError> {
    let text = text_of(path, bytes)?;
    let refuse = |problem: String| EvalError::File {
        path: path.to_owned(),
        problem,
        help: "give words as a JSON object whose values they are, as a JSON list, or a word a line".into(),
    };
    let all_words = |values: Vec<Value>| -> Option<Vec<String>> {
        values.into_iter().map(|value| value.as_str().map(str::to_owned)).collect()
    };
    let words = if text.trim_start().starts_with(['{', '[']) {
        let words = match serde_json::from_str(&text).map_err(|error| refuse(format!("it is no JSON: {error}")))? {
            Value::Object(values) => all_words(values.into_iter().map(|(_, value)| value).collect()),
            Value::Array(values) => all_words(values),
            _ => None,
        };
        words.ok_or_else(|| refuse("it holds something else than words".into()))?
    } else {
        text.lines().map(|line| line.trim().to_owned()).filter(|word| !word.is_empty()).collect()
    };
    if words.is_empty() { Err(refuse("it holds no words".into())) } else { Ok(words) }
}

impl CommonWords {
    pub fn seeded(seed: u64, length: usize, mode: Mode, wrapper: Wrapper) -> Self {
        let mut words: Vec<_> = words::all().into_iter().map(str::to_owned).collect();
        Python::seed(seed.into()).shuffle(&mut words);
        let lists = if length < 4096 {
            Lists { n_example: 20, example: (3, 1), list: (6, 1) }
        } else {
            Lists { n_example: 40, example: (10, 3), list: (30, 3) }
        };
        Self { words, more: Vec::new(), seed, random: Python::seed(seed.into()), lists, mode, wrapper }
    }

    fn too_few(&self, needed: usize) -> EvalError {
        EvalError::TooFewWords { task: "ruler_cwe", held: self.words.len().max(self.more.len()), needed }
    }

    /// A numbered list, and the words that are common in it.
    fn list(
        &mut self,
        n_words: usize,
        (n_common, n_other): (usize, usize),
    ) -> Result<(String, Vec<String>), EvalError> {
        let from = [&self.words, &self.more].into_iter().find(|words| n_words <= words.len());
        let Some(from) = from else { return Err(self.too_few(n_words)) };
        let mut drawn = self.random.sample(from, n_words);
        let others = drawn.split_off(N_COMMON.min(n_words));
        let times =
            |words: &[String], n: usize| words.iter().cycle().take(n * words.len()).cloned().collect::<Vec<_>>();
        let mut list = times(&drawn, n_common);
        list.extend(times(&others, n_other));
        // the same order in every prompt
        Python::seed(self.seed.into()).shuffle(&mut list);
        Ok((numbered(&list), drawn))
    }
}

fn numbered(words: &[String]) -> String {
    let numbered: Vec<_> = words.iter().enumerate().map(|(at, word)| format!("{}. {word}", at + 1)).collect();
    numbered.join(" ")
}

fn question(list: &str) -> String {
    format!(
        "Below is a numbered list of words. In these words, some appear more often than others. Memorize the ones that appear most \
         often.\n{list}\nQuestion: What are the 10 most common words in the above list?"
    )
}

impl Script for CommonWords {
    fn draw(&mut self, codec: &dyn TextCodec, n_pieces: usize, _: Purpose) -> Result<Option<Drawn>, EvalError> {
        const BEGUN: &str = " Answer: The top 10 words that appear most often in the list are:";
        let Lists { n_example, example, list } = self.lists;
        let (example, example_answers) = self.list(n_example, example)?;
        let (list, answers) = self.list(n_pieces, list)?;
        let told = format!("{BEGUN} {}\n", numbered(&example_answers));
        let prompt = match self.mode {
            Mode::Fixed => {
                let said = format!("{}{told}{}", question(&example), question(&list));
                self.wrapper.wrap(codec, &said, BEGUN)?
            }
            Mode::Faithful => {
                let turns = [
                    self.wrapper.wrap(codec, &question(&example), &told)?,
                    self.wrapper.wrap(codec, &question(&list), BEGUN)?,
                ];
                let special = matches!(turns[0], Prompt::Text { special: true, .. });
                let text = turns.iter().filter_map(Prompt::text).collect();
                Prompt::Text { text, special }
            }
        };
        Ok(Some(Drawn { prompt, answers, told: Vec::new(), depth: None }))
    }
}
