//! Needles in haystacks: "One of the special magic numbers for tenuous-thirst is: 2867825."
//!
//! The fixed mode speaks of one needle as of one, and no two needles of a prompt have the same key. Numbers of samples are their ids: the
//! scripts write the answer's place in the text as `index`, which samples share, and readers then pass over them.

use std::collections::HashSet;

use longlens_core::lens::TextCodec;

use super::NIAH;
use super::essay::Essay;
use super::fit::{self, Drawn, Fit, Purpose, Script};
use super::words::Pairs;
use crate::error::EvalError;
use crate::random::Python;
use crate::sample::Wrapper;
use crate::scorers::Mode;
use crate::tasks::haystack::{BUILT_IN, Haystack};
use crate::tasks::{Ask, Samples};

/// What needles are hidden in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hay {
    /// Lines of five sentences.
    Noise,
    /// Words of a text.
    Essay,
    /// Lines that are needles themselves.
    Needles,
}

/// What keys and values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    Words,
    Numbers,
    Uuids,
}

/// A task with needles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Niah {
    pub hay: Hay,
    pub key: Said,
    pub value: Said,
    pub n_keys: usize,
    /// Values of a key, a needle each.
    pub n_values: usize,
    /// Keys that are asked for.
    pub n_queries: usize,
}

/// One needle in a text.
pub const SINGLE: Niah =
    Niah { hay: Hay::Essay, key: Said::Words, value: Said::Numbers, n_keys: 1, n_values: 1, n_queries: 1 };

/// A line of noise.
pub const NOISE: &str = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.";

/// Draws prompts with needles.
pub struct Needles {
    task: Niah,
    seed: u64,
    random: Python,
    mode: Mode,
    wrapper: Wrapper,
    /// The text, where the haystack is one.
    essay: Option<Essay>,
    /// Keys of the prompt that is drawn.
    used: HashSet<String>,
}

/// The samples of a task with needles.
pub fn samples(ask: &Ask<'_>, task: Niah) -> Result<Samples, EvalError> {
    let haystack = (task.hay == Hay::Essay).then(|| Haystack::of(ask)).transpose()?;
    let needles = Needles::new(task, ask, haystack.as_ref().map(|haystack| &*haystack.text));
    let step = match task.hay {
        Hay::Essay => 500,
        Hay::Noise | Hay::Needles if ask.length() < 4096 => 5,
        Hay::Noise | Hay::Needles => 25,
    };
    let fit = Fit { least: task.n_keys * task.n_values, ..Fit::new(ask, &NIAH, step) };
    let mut samples = fit::samples(ask, fit, needles)?;
    if let Some(haystack) = haystack {
        if haystack.name == BUILT_IN {
            samples.notes.push(
                "the haystack is an excerpt of Jane Austen's novels; RULER takes Paul Graham's essays, which \
                 `haystack=FOLDER` names where they are"
                    .into(),
            );
        }
        samples.notes.extend(haystack.notes);
    }
    Ok(samples)
}

impl Needles {
    fn new(task: Niah, ask: &Ask<'_>, essay: Option<&str>) -> Self {
        Self::seeded(task, ask.seed(), ask.mode(), ask.wrapper(), essay)
    }

    pub fn seeded(task: Niah, seed: u64, mode: Mode, wrapper: Wrapper, essay: Option<&str>) -> Self {
        let random = Python::seed(seed.into());
        Self { task, seed, random, mode, wrapper, essay: essay.map(Essay::new), used: HashSet::new() }
    }

    fn say(&mut self, what: Said) -> String {
        match what {
            Said::Words => {
                let pairs = Pairs::all();
                pairs.get(self.random.below(pairs.len() as u64) as usize)
            }
            Said::Numbers => self.random.randint(1_000_000, 9_999_999).to_string(),
            Said::Uuids => self.random.uuid(),
        }
    }

    /// A key; in the fixed mode one that no other needle of the prompt has.
    fn key(&mut self) -> String {
        loop {
            let key = self.say(self.task.key);
            if self.mode == Mode::Faithful || self.used.insert(key.clone()) {
                return key;
            }
        }
    }

    fn is_single(&self) -> bool {
        self.task.n_queries * self.task.n_values == 1
    }

    fn needle(&self, key: &str, value: &str) -> String {
        let of = if self.mode == Mode::Fixed && self.is_single() {
            format!("The special magic {}", self.task.value.singular())
        } else {
            format!("One of the special magic {}", self.task.value.plural())
        };
        format!("{of} for {key} is: {value}.")
    }

    /// The haystack with the needles in it, and the depth of the first.
    fn hide(&mut self, n_pieces: usize, needles: &[String]) -> Option<(String, f64)> {
        if let Some(essay) = &mut self.essay {
            // round(linspace(0, 100, 40))
            let depths: Vec<u32> = (0..40).map(|i| (f64::from(i) * 100.0 / 39.0).round() as u32).collect();
            let depths = self.random.sample(&depths, needles.len());
            return Some((essay.hide(n_pieces, needles, &depths), f64::from(depths[0]) / 100.0));
        }
        let mut lines: Vec<String> = (0..n_pieces)
            .map(|_| match self.task.hay {
                Hay::Noise | Hay::Essay => NOISE.to_owned(),
                Hay::Needles => {
                    let key = self.key();
                    let value = self.say(self.task.value);
                    self.needle(&key, &value)
                }
            })
            .collect();
        if n_pieces < needles.len() {
            return None;
        }
        let mut places = self.random.sample(&(0..n_pieces).collect::<Vec<_>>(), needles.len());
        let depth = places[0] as f64 / n_pieces as f64;
        places.sort_unstable_by_key(|place| std::cmp::Reverse(*place));
        for (place, needle) in places.into_iter().zip(needles) {
            lines.insert(place, needle.clone());
        }
        Some((lines.join("\n"), depth))
    }
}

impl Said {
    fn plural(self) -> &'static str {
        match self {
            Self::Words => "words",
            Self::Numbers => "numbers",
            Self::Uuids => "uuids",
        }
    }

    fn singular(self) -> &'static str {
        self.plural().trim_end_matches('s')
    }
}

impl Script for Needles {
    fn draw(&mut self, codec: &dyn TextCodec, n_pieces: usize, _: Purpose) -> Result<Option<Drawn>, EvalError> {
        self.used.clear();
        let Niah { value: kind, n_keys, n_values, n_queries, .. } = self.task;
        let mut keys: Vec<(String, Vec<String>)> = Vec::new();
        for _ in 0..n_keys {
            let key = self.key();
            keys.push((key, (0..n_values).map(|_| self.say(kind)).collect()));
        }
        let tell = |(key, values): &(String, Vec<String>)| -> Vec<String> {
            values.iter().map(|value| self.needle(key, value)).collect()
        };
        let told: Vec<_> = keys.iter().map(tell).collect();
        let mut needles = told.concat();
        // the same order in every prompt
        Python::seed(self.seed.into()).shuffle(&mut needles);
        let Some((context, depth)) = self.hide(n_pieces, &needles) else { return Ok(None) };

        let asked = self.random.sample(&(0..n_keys).collect::<Vec<_>>(), n_queries);
        let names: Vec<&str> = asked.iter().map(|key| &*keys[*key].0).collect();
        let query = match names.split_last() {
            Some((last, first)) if !first.is_empty() => format!("{}, and {last}", first.join(", ")),
            _ => names.concat(),
        };
        let (first, what, kind, verb) = if self.is_single() {
            ("A", "is", kind.singular(), "is")
        } else {
            ("Some", "are all", kind.plural(), "are")
        };
        let said = format!(
            "{first} special magic {kind} {verb} hidden within the following text. Make sure to memorize it. I will quiz you about the \
             {kind} afterwards.\n{context}\nWhat {what} the special magic {kind} for {query} mentioned in the provided text?"
        );
        let begun = format!(" The special magic {kind} for {query} mentioned in the provided text {verb}");
        Ok(Some(Drawn {
            prompt: self.wrapper.wrap(codec, &said, &begun)?,
            answers: asked.iter().flat_map(|key| keys[*key].1.clone()).collect(),
            told: asked.iter().flat_map(|key| told[*key].clone()).collect(),
            depth: (n_keys * n_values == 1).then_some(depth),
        }))
    }
}
