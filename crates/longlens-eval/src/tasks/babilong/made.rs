//! Facts hidden in text: samples of any length, as BABILong's own generator makes them.
//!
//! Facts stay in their order and go between sentences of at least 10 tokens; several may meet at one place. The authors counted tokens of
//! GPT-2, and let the prompt around the text have 300 beside the length; here tokens are the model's, and `mode=fixed` counts all of the
//! prompt, wrapping and answer included. Their random numbers began nowhere in particular, so their rows cannot be made again: ours are
//! others, and the same for the same settings. Facts come from a file of bAbI's; without one they are our own, of the kind of `qa1`.

use std::ops::Range;
use std::path::Path;

use longlens_core::lens::{LensError, TextCodec};
use longlens_core::setting::{Fallback, Info, Kind, Param};

use super::facts::{Story, own, read};
use super::{Asking, EXAMPLES, INSTRUCTION, MAX_TOKENS, POST_PROMPT};
use crate::error::EvalError;
use crate::punkt::sentences;
use crate::random::Python;
use crate::sample::{Prompt, Sample};
use crate::scorers::Mode;
use crate::tasks::haystack::{HAYSTACK, Haystack};
use crate::tasks::{Ask, LENGTH, MODE, Mean, Samples, Task, file, samples, seed, template};
use crate::text::text_of;

const TASK: Param = Param {
    name: "task",
    alias: "",
    kind: Kind::Word(&[
        "qa1", "qa2", "qa3", "qa4", "qa5", "qa6", "qa7", "qa8", "qa9", "qa10", "qa11", "qa12", "qa13", "qa14", "qa15",
        "qa16", "qa17", "qa18", "qa19", "qa20",
    ]),
    default: Fallback::Word("qa1"),
    help: "whose prompt and labels: the task that the facts are of",
};

/// The task that hides facts itself.
pub static MADE: Task = Task {
    info: &Info {
        name: "babilong_made",
        title: "Facts in text, as BABILong hides them",
        source: "booydar/babilong: data/create_tasks.py, arXiv:2406.10149; facts of bAbI's files, else our own",
        summary: "facts in their order at random places of a text, and a question about them",
        params: &[
            LENGTH,
            TASK,
            file(
                "facts",
                "a file of bAbI's, such as qa1_single-supporting-fact_test.txt; our own facts for qa1 when not given",
            ),
            HAYSTACK,
            samples(100),
            seed(42),
            INSTRUCTION,
            EXAMPLES,
            POST_PROMPT,
            MODE,
            template("off"),
        ],
    },
    version: 1,
    family: "babilong",
    mean: Mean::Plain,
    make: made,
};

/// Tokens that the authors leave to the prompt around the text.
const ROOM: usize = 300;
/// Sentences of the text have at least so many tokens.
const MIN_SENTENCE: usize = 10;

fn made(ask: &Ask<'_>) -> Result<Samples, EvalError> {
    let (length, mode, name) = (ask.length(), ask.mode(), ask.text(TASK.name).unwrap_or_default());
    let seed = i128::from(ask.seed());
    let asking = Asking::of(ask, &name);
    let stories = match ask.text("facts") {
        Some(file) => Some(stories(ask, &file, &asking, length)?),
        None if name == "qa1" => None,
        None => {
            let help = format!(
                "give bAbI's file of {name}, as `babilong_made:task={name},facts={name}.txt`; only qa1 has facts of our own"
            );
            return Err(EvalError::NoFile { task: MADE.info.name, parameter: "facts", help });
        }
    };
    let haystack = Haystack::of(ask)?;
    let mut notes = haystack.notes;
    if stories.is_none() {
        notes.push("the facts are our own, of the kind of bAbI's qa1: no published score is of them".into());
    }
    let noise = Noise { sentences: sentences(&haystack.text), text: haystack.text, name: haystack.name };
    let n = stories.as_ref().map_or(ask.n_samples(), |stories| ask.n_samples().min(stories.len()));
    let mut order: Vec<usize> = (0..stories.as_ref().map_or(0, Vec::len)).collect();
    Python::seed(seed).shuffle(&mut order);
    let samples = Samples::making(n, move |at, codec| {
        // a sample's numbers are its own, so that fewer samples are the first of more
        let mut random = Python::seed(((at as i128 + 1) << 32) + seed);
        let story = stories.as_ref().map_or_else(|| own(&mut random), |stories| stories[order[at]].clone());
        let (hidden, prompt) = hide(codec, &noise, &asking, &story, (length, mode), &random)?;
        let start = prompt.text().and_then(|text| text.find(&hidden.text)).unwrap_or_default();
        let decides = |place: &usize| story.facts[*place].contains(&story.answer);
        let deciding: Vec<Range<usize>> = story.deciding.iter().map(|place| hidden.facts[*place].clone()).collect();
        let depth = match &deciding[..] {
            [fact] => Some(fact.start as f64 / (hidden.text.len() - fact.len()).max(1) as f64),
            _ => None,
        };
        let evidence = story.deciding.iter().filter(|place| decides(place)).map(|place| {
            let fact = &hidden.facts[*place];
            start + fact.start..start + fact.end
        });
        Ok(Sample {
            id: at.to_string(),
            evidence: evidence.collect(),
            prompt,
            rule: asking.rule(&story.question),
            length: Some(length),
            depth,
            part: None,
            n_truncated: 0,
            answers: vec![story.answer],
        })
    });
    Ok(Samples { notes, ..samples })
}

/// The stories of a file that are short enough: a sentence is taken for 8 tokens, as the authors do.
fn stories(ask: &Ask<'_>, file: &str, asking: &Asking, length: usize) -> Result<Vec<Story>, EvalError> {
    let path = Path::new(file);
    let mut stories = read(path, &text_of(path, ask.files.read(file)?)?)?;
    let refused = |problem: String, help: &str| EvalError::File { path: path.to_owned(), problem, help: help.into() };
    if let Some(problem) = stories.iter().find_map(|story| asking.refusal(&story.answer)) {
        return Err(refused(format!("the answer {problem}"), "say with `task` which of bAbI's tasks the file is of"));
    }
    let n_all = stories.len();
    if length > ROOM {
        stories.retain(|story| story.facts.len() < (length - ROOM) / 8);
    }
    match (n_all, stories.is_empty()) {
        (0, _) => Err(refused(
            "it has no questions".into(),
            "give a file of bAbI's, such as qa1_single-supporting-fact_test.txt",
        )),
        (_, true) => Err(refused(format!("no story fits into {length} tokens"), "ask for a longer `length`")),
        _ => Ok(stories),
    }
}

/// The text that facts are hidden in.
struct Noise {
    text: String,
    sentences: Vec<Range<usize>>,
    name: String,
}

/// Text with facts in it, and where they are.
struct Hidden {
    text: String,
    facts: Vec<Range<usize>>,
}

/// The text of a sample and its prompt. Tokens of parts count less or more than those of the whole, so in the fixed mode what is too much
/// is taken away until all fits.
fn hide(
    codec: &dyn TextCodec,
    noise: &Noise,
    asking: &Asking,
    story: &Story,
    (length, mode): (usize, Mode),
    random: &Python,
) -> Result<(Hidden, Prompt), EvalError> {
    let n_facts = story.facts.iter().map(|fact| n_tokens(codec, fact)).sum::<Result<usize, _>>()?;
    let prompt = |hidden: &Hidden| asking.prompt(codec, &hidden.text, &story.question);
    let count = |prompt: &Prompt| Ok::<_, LensError>(prompt.tokens(Ok(codec))?.len() + MAX_TOKENS);
    if mode == Mode::Faithful {
        let hidden = noise.around(codec, &story.facts, length.saturating_sub(ROOM + n_facts), random)?;
        let prompt = prompt(&hidden)?;
        return Ok((hidden, prompt));
    }
    let alone = noise.around(codec, &story.facts, 0, random)?;
    let shortest = count(&prompt(&alone)?)?;
    let mut n_noise =
        length.checked_sub(shortest).ok_or(EvalError::TooShort { template: "BABILong", length, shortest })?;
    loop {
        let hidden = noise.around(codec, &story.facts, n_noise, random)?;
        let prompt = prompt(&hidden)?;
        let n_tokens = count(&prompt)?;
        if n_tokens <= length || n_noise == 0 {
            return Ok((hidden, prompt));
        }
        n_noise = n_noise.saturating_sub(n_tokens - length);
    }
}

/// Tokens of a sentence behind another.
fn n_tokens(codec: &dyn TextCodec, sentence: &str) -> Result<usize, LensError> {
    Ok(codec.encode(&format!(" {sentence}"), false)?.len())
}

impl Noise {
    /// `facts` between sentences of `n` tokens together, of which the last is cut to fit.
    fn around(&self, codec: &dyn TextCodec, facts: &[String], n: usize, random: &Python) -> Result<Hidden, EvalError> {
        let mut random = random.clone();
        let sentences = self.passage(codec, n, &mut random)?;
        let mut places: Vec<usize> = facts.iter().map(|_| random.below(sentences.len() as u64 + 1) as usize).collect();
        places.sort_unstable();
        let mut hidden = Hidden { text: String::new(), facts: Vec::with_capacity(facts.len()) };
        let mut facts = places.into_iter().zip(facts).peekable();
        let push = |text: &mut String, piece: &str| {
            let start = text.len() + usize::from(!text.is_empty());
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(piece);
            start..text.len()
        };
        for place in 0..=sentences.len() {
            while let Some((_, fact)) = facts.next_if(|(at, _)| *at == place) {
                hidden.facts.push(push(&mut hidden.text, fact));
            }
            if let Some(sentence) = sentences.get(place) {
                push(&mut hidden.text, sentence);
            }
        }
        Ok(hidden)
    }

    /// Sentences from a random one on, which go on at the beginning behind the last.
    fn passage(&self, codec: &dyn TextCodec, n: usize, random: &mut Python) -> Result<Vec<String>, EvalError> {
        let mut passage = Vec::new();
        let start = random.below(self.sentences.len().max(1) as u64) as usize;
        let (mut n_left, mut at, mut n_passed) = (n, start, 0);
        while n_left > 0 {
            if n_passed >= self.sentences.len() {
                return Err(EvalError::File {
                    path: self.name.clone().into(),
                    problem: format!("it has no sentence of {MIN_SENTENCE} tokens"),
                    help: "give prose as `haystack`".into(),
                });
            }
            let sentence = &self.text[self.sentences[at].clone()];
            at = (at + 1) % self.sentences.len();
            let tokens = codec.encode(&format!(" {sentence}"), false)?;
            if tokens.len() < MIN_SENTENCE {
                n_passed += 1;
                continue;
            }
            n_passed = 0;
            if tokens.len() <= n_left {
                n_left -= tokens.len();
                passage.push(sentence.to_owned());
                continue;
            }
            // a cut may go through a character, of which signs without a meaning are left
            let cut = codec.decode(&tokens[..n_left])?;
            let cut = cut.trim_end_matches('\u{fffd}').trim();
            passage.extend((!cut.is_empty()).then(|| cut.to_owned()));
            n_left = 0;
        }
        Ok(passage)
    }
}
