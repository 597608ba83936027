//! A haystack of some length with the needles in it.

use std::ops::Range;

use longlens_core::lens::{LensError, TextCodec};

use super::Script;
use super::frame::{Form, Turns};
use super::insert::{by_tokens, full_stops, listed_full_stops};
use crate::error::EvalError;
use crate::sample::{Prompt, Wrapper};
use crate::scorers::Mode;
use crate::tasks::Ask;
use crate::tasks::haystack::{Haystack, Prose, Room};

/// Tokens that the scripts take off a length for system words, question and answer.
const BUFFER: usize = 200;

/// What is hidden and what is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    /// Sentences that are hidden, with the blanks around them.
    pub needles: Vec<String>,
    /// What is asked.
    pub question: String,
    /// What an answer has to tell.
    pub facts: Vec<String>,
    /// Words that an answer should have.
    pub expected: String,
}

impl Hidden {
    /// What the settings hide: needles of the user's, or those of the scripts.
    pub fn of(ask: &Ask<'_>) -> Result<Self, EvalError> {
        let parts = |text: &str| -> Vec<String> {
            text.split('|').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
        };
        let needles = ask.text("needle").map(|text| parts(&text)).filter(|needles| !needles.is_empty());
        let mut hidden = match needles {
            None if ask.is("needles", "pizza") => Self::pizza(),
            None => Self::sandwich(),
            Some(needles) => {
                if ask.text("question").is_none() {
                    let expected = "a question about the needle that was given";
                    return Err(EvalError::Value { name: "question", value: "``".into(), expected });
                }
                let expected = needles.join(" ");
                let around = if needles.len() == 1 { '\n' } else { ' ' };
                let facts = needles.clone();
                let needles = needles.into_iter().map(|needle| format!("{around}{needle}{around}")).collect();
                Self { needles, question: String::new(), facts, expected }
            }
        };
        if let Some(question) = ask.text("question") {
            hidden.question = question;
        }
        if let Some(facts) = ask.text("answer").map(|text| parts(&text)).filter(|facts| !facts.is_empty()) {
            hidden.expected = facts.join(" ");
            hidden.facts = facts;
        }
        Ok(hidden)
    }

    /// The scripts' needle, with the words that Fu et al.'s plot expects.
    fn sandwich() -> Self {
        Self {
            needles: vec![
                "\nThe best thing to do in San Francisco is eat a sandwich and sit in Dolores Park on a sunny day.\n"
                    .into(),
            ],
            question: "What is the best thing to do in San Francisco?".into(),
            facts: ["eat a sandwich", "sit in Dolores Park", "sunny day"].map(str::to_owned).to_vec(),
            expected: "eat a sandwich and sit in Dolores Park on a sunny day.".into(),
        }
    }

    /// gkamradt's three needles. The question is not in the repository.
    fn pizza() -> Self {
        let facts = ["Figs", "Prosciutto", "Goat cheese"];
        let told = |fact| format!(" {fact} is one of the secret ingredients needed to build the perfect pizza. ");
        let needles = facts.map(|fact| told(fact).replace("Figs is", "Figs are"));
        Self {
            needles: needles.to_vec(),
            question: "What are the secret ingredients needed to build the perfect pizza?".into(),
            facts: facts.map(str::to_owned).to_vec(),
            expected: facts.join(" "),
        }
    }
}

/// Makes prompts of a grid; what the last one was made from is kept for the next depth.
pub struct Context {
    script: Script,
    mode: Mode,
    haystack: Haystack,
    hidden: Hidden,
    frame: (Form, Wrapper, Turns),
    n_answer: usize,
    kept: Option<((usize, usize), Hay)>,
}

/// A haystack cut to a length.
enum Hay {
    /// As the scripts have it: tokens, those of every needle, and those that end a sentence.
    Tokens { context: Vec<u32>, needles: Vec<Vec<u32>>, ends: Vec<u32> },
    /// Sentences.
    Prose(Prose),
}

impl Context {
    pub fn new(
        script: Script,
        mode: Mode,
        haystack: Haystack,
        hidden: Hidden,
        frame: (Form, Wrapper, Turns),
        n_answer: usize,
    ) -> Self {
        Self { script, mode, haystack, hidden, frame, n_answer, kept: None }
    }

    /// The prompt of a trial (of so many) with the needle at a depth in per cent, and the bytes at which the needles stand in it.
    pub fn prompt(
        &mut self,
        codec: &dyn TextCodec,
        trial: (usize, usize),
        length: usize,
        depth: f64,
    ) -> Result<(Prompt, Vec<Range<usize>>), EvalError> {
        let key = (trial.0, length);
        let kept = self.kept.take().filter(|(known, _)| *known == key);
        let hay = match kept {
            Some((_, hay)) => hay,
            None => match self.mode {
                Mode::Faithful => self.as_tokens(codec, trial, length)?,
                Mode::Fixed => {
                    let from = (&self.haystack, self.haystack.start(trial.0, trial.1));
                    let framed = |text: &str| self.framed(codec, text);
                    Hay::Prose(Prose::new(codec, from, &self.hidden.needles, &framed, self.room(length))?)
                }
            },
        };
        let prompt = match &hay {
            Hay::Tokens { context, needles, ends } => {
                let context = codec.decode(&by_tokens(context, needles, depth, ends))?;
                self.framed(codec, &context)?
            }
            Hay::Prose(prose) => {
                let framed = |text: &str| self.framed(codec, text);
                prose.prompt(codec, &self.hidden.needles, depth, &framed, self.room(length))?
            }
        };
        self.kept = Some((key, hay));
        let text = prompt.text().unwrap_or_default();
        let place = |needle: &String| {
            let needle = needle.trim();
            text.find(needle).map(|start| start..start + needle.len())
        };
        let evidence = self.hidden.needles.iter().filter_map(place).collect();
        Ok((prompt, evidence))
    }

    fn framed(&self, codec: &dyn TextCodec, context: &str) -> Result<Prompt, LensError> {
        let (form, wrapper, turns) = self.frame;
        form.prompt(codec, wrapper, turns, context, &self.hidden.question)
    }

    /// The scripts' way: the haystack is cut to the length in tokens, made text, and made tokens again, of which all are taken that leave
    /// room for the buffer and the needles. Needles have the token that begins every text before them, too.
    fn as_tokens(&self, codec: &dyn TextCodec, trial: (usize, usize), length: usize) -> Result<Hay, EvalError> {
        let start = self.haystack.start(trial.0, trial.1);
        let trimmed = self.haystack.tokens(codec, start, length, true)?;
        let mut context = codec.encode(&codec.decode(&trimmed)?, true)?;
        let needles: Vec<_> =
            self.hidden.needles.iter().map(|needle| codec.encode(needle, true)).collect::<Result<_, _>>()?;
        let n_needles: usize = needles.iter().map(Vec::len).sum();
        let Some(room) = length.checked_sub(BUFFER + n_needles).filter(|room| *room > 0) else {
            return Err(EvalError::TooShort { template: "needle", length, shortest: BUFFER + n_needles + 1 });
        };
        context.truncate(room);
        let ends = match self.script {
            Script::Gkamradt => full_stops(codec)?,
            Script::Fu => listed_full_stops(codec)?,
        };
        Ok(Hay::Tokens { context, needles, ends })
    }

    fn room(&self, length: usize) -> Room {
        Room { what: "needle", length, n_answer: self.n_answer }
    }
}
