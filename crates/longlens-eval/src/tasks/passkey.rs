//! Pass keys: a number hidden in filler and asked for at the end.
//!
//! The scripts' tasks make their prompts byte for byte ([`scripts`]), with their faults or without ([`fixed`]); `passkey` and
//! `passkey_haystack` are this program's own.

use std::path::Path;

use longlens_core::lens::{LensError, TextCodec};
use longlens_core::setting::{Fallback, Info, Kind, Param};

use self::fixed::Fixed;
use self::scripts::{Script, ScriptPrompt, told};
use self::split::KeyLine;
use super::haystack::HAYSTACK;
use super::{ALL, Ask, LENGTH, MODE, Mean, Samples, Task, file, samples, seed, template, trials};
use crate::error::{EvalError, expect};
use crate::passkey::{PasskeyPrompt, Place, Template, fixtures, hiding};
use crate::sample::{Answering, Prompt, Rule, Sample, Wrapper};
use crate::scorers::Mode;
use crate::text::text_of;

mod fixed;
mod hidden;
pub mod scripts;
mod split;

/// The name of the family.
const FAMILY: &str = "passkey";

/// Where the key stands, as shares of the filler before it.
const DEPTHS: Param = Param {
    name: "depths",
    alias: "",
    kind: Kind::Count(1),
    default: Fallback::Number(5.0),
    help: "places of the key, evenly from the beginning to the end",
};

/// How long the number is. Longer ones are not guessed, and show whether a model copies without fault.
const DIGITS: Param = Param {
    name: "digits",
    alias: "",
    kind: Kind::Whole(5, 64),
    default: Fallback::Number(5.0),
    help: "digits of the key",
};

/// Passkeys as this program words them.
pub static OWN: Task = Task {
    info: &Info {
        name: "passkey",
        title: "Pass key in varied filler",
        source: "longlens",
        summary: "a number in sentences of a small world, at even depths",
        params: &[LENGTH, DEPTHS, DIGITS, trials(10), seed(0), template("off")],
    },
    version: 1,
    family: FAMILY,
    mean: Mean::Plain,
    make: |ask| Ok(own(ask)),
};

/// Passkeys in a text of the user's choice.
pub static IN_HAYSTACK: Task = Task {
    info: &Info {
        name: "passkey_haystack",
        title: "Pass key in prose",
        source: "longlens",
        summary: "a number between the sentences of a text, at even depths of one passage",
        params: &[LENGTH, DEPTHS, DIGITS, HAYSTACK, trials(10), seed(0), template("off")],
    },
    version: 1,
    family: FAMILY,
    mean: Mean::Plain,
    make: hidden::samples,
};

/// `LongHeads`' script.
pub static LONG_HEADS: Task = Task {
    info: &Info {
        name: "passkey_longheads",
        title: "LongHeads' pass keys",
        source: "LuLuLuyi/LongHeads: passkey_retrieval/passkey_retrieval.py",
        summary: "a number at a random place of one repeated text; lengths in whole 1024s of tokens",
        params: &[LENGTH, samples(50), MODE, template("off")],
    },
    version: 1,
    family: FAMILY,
    mean: Mean::Plain,
    make: |ask| {
        let k_tokens = ask.length() / 1024;
        let length = if ask.mode() == Mode::Fixed { ask.length() } else { 1024 * k_tokens };
        expect(length > 0, "length", ask.length(), "at least 1024, of which the script takes whole 1024s")?;
        Ok(script(ask, Script::LongHeads { k_tokens }, length))
    },
};

/// `ChunkLlama`'s script.
pub static CHUNK_LLAMA: Task = Task {
    info: &Info {
        name: "passkey_chunkllama",
        title: "ChunkLlama's pass keys",
        source: "HKUNLP/ChunkLlama: passkey/test_passkey.py",
        summary: "a number at a random place of one repeated text; a trial has the same place at every length",
        params: &[LENGTH, samples(50), MODE, template("off")],
    },
    version: 1,
    family: FAMILY,
    mean: Mean::Plain,
    make: |ask| Ok(script(ask, Script::ChunkLlama { seq_len: ask.length() }, ask.length())),
};

/// `LongLoRA`'s script.
pub static LONG_LORA: Task = Task {
    info: &Info {
        name: "passkey_longlora",
        title: "LongLoRA's pass keys",
        source: "dvlab-research/LongLoRA: passkey_retrivial.py",
        summary: "as ChunkLlama's, with ten trials",
        params: &[LENGTH, samples(10), MODE, template("off")],
    },
    version: 1,
    family: FAMILY,
    mean: Mean::Plain,
    make: |ask| Ok(script(ask, Script::LongLora { seq_len: ask.length() }, ask.length())),
};

/// The grid of `ChunkLlama`'s needle script.
pub static GRID: Task = Task {
    info: &Info {
        name: "needle_chunkllama",
        title: "ChunkLlama's needle grid",
        source: "HKUNLP/ChunkLlama: needle_in_a_haystack/retrieve_needle.py",
        summary: "a number at sixteen depths of one repeated text; a trial has the same number in every cell",
        params: &[LENGTH, trials(10), MODE, template("off")],
    },
    version: 1,
    family: FAMILY,
    mean: Mean::Plain,
    make: |ask| Ok(grid(ask)),
};

/// Prompts of a file, such as those that come with Self-Extend's repository.
pub static STORED: Task = Task {
    info: &Info {
        name: "passkey_file",
        title: "Stored pass keys",
        source: "a file of the user's, such as datamllab/LongLM: passkey_examples.jsonl",
        summary: "the prompts of a file: `prompt` and `answer`, or `input` and `target` as Self-Extend's repository has them",
        params: &[file("file", "prompts, a JSON object a line"), ALL, template("off")],
    },
    version: 1,
    family: FAMILY,
    mean: Mean::Plain,
    make: stored,
};

/// The prompts of a file, in its order.
fn stored(ask: &Ask<'_>) -> Result<Samples, EvalError> {
    let name = ask.file("file", "give a file of JSON lines, as `passkey_file:file=prompts.jsonl`")?;
    let path = Path::new(&name);
    let (prompts, wrapper) = (fixtures(path, &text_of(path, ask.files.read(&name)?)?)?, ask.wrapper());
    let n_prompts = ask.n_of(prompts.len());
    let make = move |at: usize, codec: &dyn TextCodec| {
        let fixture = &prompts[at];
        let prompt = wrapped(wrapper, codec, &fixture.prompt)?;
        let place = prompt.text().and_then(|text| text.find(&fixture.answer));
        Ok(Sample {
            id: fixture.id.clone(),
            evidence: place.map(|start| start..start + fixture.answer.len()).into_iter().collect(),
            prompt,
            answers: vec![fixture.answer.clone()],
            rule: Rule::Answer(by_text(codec, &fixture.answer)?),
            length: fixture.length,
            depth: Some(fixture.depth.unwrap_or_else(|| fixture.counted_depth())),
            part: None,
            n_truncated: 0,
        })
    };
    Ok(Samples::making(n_prompts, make))
}

/// Samples of a script that hides one number a trial.
fn script(ask: &Ask<'_>, script: Script, length: usize) -> Samples {
    let mut trials = Trials::new(script, length, ask);
    Samples::making(ask.n_samples(), move |trial, codec| trials.sample(codec, trial))
}

/// Depths behind each other, so that a trial's prompts share what they begin with.
fn grid(ask: &Ask<'_>) -> Samples {
    let length = ask.length();
    let depths = (1..=16).map(|at| f64::from(at) / 16.0);
    let mut cells: Vec<_> =
        depths.map(|depth| (depth, Trials::new(Script::NeedleGrid { length, depth }, length, ask))).collect();
    let make = move |at: usize, codec: &dyn TextCodec| {
        let n_depths = cells.len();
        let (depth, trials) = &mut cells[at % n_depths];
        let sample = trials.sample(codec, at / n_depths)?;
        Ok(Sample { id: format!("{} at {depth}", at / n_depths), depth: Some(*depth), ..sample })
    };
    Samples::making(16 * ask.n_samples(), make)
}

/// Trials of a script at one length.
struct Trials {
    script: Script,
    length: usize,
    wrapper: Wrapper,
    /// Makes prompts where faults are not kept.
    fixed: Option<Fixed>,
}

impl Trials {
    fn new(script: Script, length: usize, ask: &Ask<'_>) -> Self {
        let wrapper = ask.wrapper();
        let fixed = (ask.mode() == Mode::Fixed).then(|| Fixed::new(script, length, wrapper));
        Self { script, length, wrapper, fixed }
    }

    fn prompt(&mut self, codec: &dyn TextCodec, trial: usize) -> Result<(ScriptPrompt, Prompt), EvalError> {
        if let Some(fixed) = &mut self.fixed {
            return fixed.prompt(codec, trial);
        }
        let (script, length) = (self.script, self.length);
        if script.n_garbage() > script.most_garbage() {
            return Err(EvalError::Value {
                name: "length",
                value: length.to_string(),
                expected: "one that the script has filler for, which ends in an assertion here; `mode=fixed` makes such prompts",
            });
        }
        let made =
            script.prompt(trial).ok_or(EvalError::TooShort { template: script.name(), length, shortest: 274 })?;
        let prompt = wrapped(self.wrapper, codec, &made.text)?;
        Ok((made, prompt))
    }

    fn sample(&mut self, codec: &dyn TextCodec, trial: usize) -> Result<Sample, EvalError> {
        let (made, prompt) = self.prompt(codec, trial)?;
        let (key, is_fixed) = (made.key.to_string(), self.fixed.is_some());
        let told = told(&key);
        let place = prompt.text().and_then(|text| text.find(&told)).map(|start| start..start + told.len());
        let mut answering = if is_fixed { by_text(codec, &key)? } else { by_ids(codec, &key)? };
        let mut part = None;
        if let Script::LongHeads { .. } = self.script {
            let line = if is_fixed { KeyLine::fixed(codec, &prompt, &told)? } else { KeyLine::faithful(codec, &made)? };
            part = Some(line.part().to_owned());
            answering = line.beside(answering);
        }
        Ok(Sample {
            id: trial.to_string(),
            prompt,
            answers: vec![key],
            rule: Rule::Answer(answering),
            length: Some(self.length),
            depth: Some(made.n_before as f64 / made.n_garbage.max(1) as f64),
            part,
            evidence: place.into_iter().collect(),
            n_truncated: 0,
        })
    }
}

/// As many ids as the answer has behind its first, compared one by one.
fn by_ids(codec: &dyn TextCodec, key: &str) -> Result<Answering, EvalError> {
    let (alone, whole) = (codec.encode(key, false)?, codec.encode(key, true)?);
    let begins = whole.len().saturating_sub(alone.len());
    let bos = whole[..begins].to_vec();
    let n_ids = whole.len().saturating_sub(1).max(1);
    Ok(Answering { ids: Some(alone), ..Answering::new(n_ids, "passkey_token_exact") }.with("bos", bos))
}

/// Room for a blank and the key, however the tokenizer spells them.
fn by_text(codec: &dyn TextCodec, key: &str) -> Result<Answering, EvalError> {
    Ok(Answering::new(codec.encode(&format!(" {key}"), false)?.len() + 1, "passkey_text"))
}

/// Own prompts: trial after trial, each at all depths. A trial has one key and one filler at all lengths and depths, so that methods are
/// compared over these alone, and depths share the prefill of what stands before the key.
fn own(ask: &Ask<'_>) -> Samples {
    let (length, n_depths, seed, wrapper) = (ask.length(), ask.count("depths"), ask.seed(), ask.wrapper());
    let digits = ask.count("digits");
    let make = move |at: usize, codec: &dyn TextCodec| {
        let (trial, step) = (at / n_depths, at % n_depths);
        let depth = if n_depths == 1 { 0.5 } else { step as f64 / (n_depths - 1) as f64 };
        // five digits are drawn with the prompt
        let key = (digits != 5).then(|| hidden::key(digits, seed, trial));
        let place = Place { length, depth, trial, seed, shared: true };
        let (made, prompt) = fitting(wrapper, codec, place, key.as_deref())?;
        let told = made.needle.as_ref().map_or("", |needle| &needle.text);
        let place = prompt.text().and_then(|text| text.find(told)).filter(|_| !told.is_empty());
        Ok(Sample {
            id: format!("{trial} at {depth}"),
            evidence: place.map(|start| start..start + told.len()).into_iter().collect(),
            prompt,
            answers: vec![made.key],
            rule: Rule::Answer(Answering::new(made.answer.len(), "passkey_text")),
            length: Some(length),
            depth: Some(depth),
            part: None,
            n_truncated: 0,
        })
    };
    Samples::making(ask.n_samples() * n_depths, make)
}

/// A prompt that with its wrapping and answer is no longer than its place says.
fn fitting(
    wrapper: Wrapper,
    codec: &dyn TextCodec,
    place: Place,
    key: Option<&str>,
) -> Result<(PasskeyPrompt, Prompt), EvalError> {
    let of = |length: usize| -> Result<_, EvalError> {
        let made = hiding(codec, Template::Longlens, None, &Place { length, ..place }, key, &())?;
        let prompt = wrapped(wrapper, codec, &made.text)?;
        let n_tokens = match wrapper {
            Wrapper::Off => made.tokens.len(),
            _ => prompt.tokens(Ok(codec))?.len(),
        };
        let n_tokens = n_tokens + made.answer.len();
        Ok((made, prompt, n_tokens))
    };
    let mut room = place.length;
    loop {
        match of(room) {
            Ok((made, prompt, n_tokens)) if n_tokens <= place.length => return Ok((made, prompt)),
            Ok((.., n_tokens)) => room = room.saturating_sub(n_tokens - place.length),
            Err(EvalError::TooShort { template, shortest, .. }) => {
                let (made, prompt, shortest) = of(shortest)?;
                if shortest <= place.length {
                    return Ok((made, prompt));
                }
                return Err(EvalError::TooShort { template, length: place.length, shortest });
            }
            Err(error) => return Err(error),
        }
    }
}

/// A prompt in a template, where the words that begin the answer stand behind it: a model that talks would begin with others.
fn wrapped(wrapper: Wrapper, codec: &dyn TextCodec, text: &str) -> Result<Prompt, LensError> {
    const BEGUN: &str = "The pass key is";
    match text.rsplit_once(BEGUN) {
        Some((said, rest)) if wrapper != Wrapper::Off && rest.trim().is_empty() => {
            let space = if wrapper == Wrapper::Llama2 { " " } else { "" };
            wrapper.wrap(codec, said.trim_end(), &format!("{space}{BEGUN}"))
        }
        _ => wrapper.wrap(codec, text, ""),
    }
}

#[cfg(test)]
mod tests;
