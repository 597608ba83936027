//! Pass keys: a number hidden in filler and asked for at the end.

use std::path::Path;

use longlens_core::lens::TextCodec;
use longlens_core::setting::{Fallback, Info, Kind, Param};

use self::scripts::Script;
use super::{Ask, LENGTH, MODE, Mean, Samples, Task, file, samples, seed, template};
use crate::error::EvalError;
use crate::passkey::{Place, Template, fixtures, prompt};
use crate::sample::{Answering, Rule, Sample, Wrapper};
use crate::scorers::Mode;
use crate::text::text_of;

pub mod scripts;

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

/// Passkeys as this program words them.
pub static OWN: Task = Task {
    info: &Info {
        name: "passkey",
        title: "Pass key in varied filler",
        source: "longlens",
        summary: "a number of five digits in sentences of a small world, at even depths",
        params: &[LENGTH, DEPTHS, samples(10), seed(0), template("off")],
    },
    version: 1,
    family: FAMILY,
    mean: Mean::Plain,
    make: |ask| Ok(own(ask)),
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
        Ok(script(ask, Script::LongHeads { k_tokens }, 1024 * k_tokens))
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
        params: &[LENGTH, samples(10), MODE, template("off")],
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
        params: &[file("file", "prompts, a JSON object a line"), template("off")],
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
    let n_prompts = prompts.len();
    let make = move |at: usize, codec: &dyn TextCodec| {
        let fixture = &prompts[at];
        let prompt = wrapper.wrap(codec, &fixture.prompt, "")?;
        let place = prompt.text().and_then(|text| text.find(&fixture.answer));
        Ok(Sample {
            id: fixture.id.clone(),
            evidence: place.map(|start| start..start + fixture.answer.len()).into_iter().collect(),
            prompt,
            answers: vec![fixture.answer.clone()],
            rule: Rule::Answer(by_text(codec, &fixture.answer)?),
            length: fixture.length,
            depth: fixture.depth,
            part: None,
            n_truncated: 0,
        })
    };
    Ok(Samples::making(n_prompts, make))
}

/// Samples of a script that hides one number a trial.
fn script(ask: &Ask<'_>, script: Script, length: usize) -> Samples {
    let (mode, wrapper) = (ask.mode(), ask.wrapper());
    Samples::making(ask.n_samples(), move |trial, codec| of_script(codec, script, trial, length, mode, wrapper))
}

/// Depths behind each other, so that a trial's prompts share what they begin with.
fn grid(ask: &Ask<'_>) -> Samples {
    let (length, mode, wrapper) = (ask.length(), ask.mode(), ask.wrapper());
    let make = move |at: usize, codec: &dyn TextCodec| {
        let depth = (at % 16 + 1) as f64 / 16.0;
        let script = Script::NeedleGrid { length, depth };
        let sample = of_script(codec, script, at / 16, length, mode, wrapper)?;
        Ok(Sample { id: format!("{} at {depth}", at / 16), depth: Some(depth), ..sample })
    };
    Samples::making(16 * ask.n_samples(), make)
}

fn of_script(
    codec: &dyn TextCodec,
    script: Script,
    trial: usize,
    length: usize,
    mode: Mode,
    wrapper: Wrapper,
) -> Result<Sample, EvalError> {
    let Some(made) = script.prompt(trial) else {
        return Err(EvalError::TooShort { template: script.name(), length, shortest: 274 });
    };
    let key = made.key.to_string();
    let told = format!("The pass key is {key}. Remember it. {key} is the pass key.");
    let prompt = wrapper.wrap(codec, &made.text, "")?;
    let place = prompt.text().and_then(|text| text.find(&told)).map(|start| start..start + told.len());
    let rule = match mode {
        Mode::Faithful => by_ids(codec, &key)?,
        Mode::Fixed => by_text(codec, &key)?,
    };
    Ok(Sample {
        id: trial.to_string(),
        prompt,
        answers: vec![key],
        rule: Rule::Answer(rule),
        length: Some(length),
        depth: Some(made.n_before as f64 / script.n_garbage() as f64),
        part: None,
        evidence: place.into_iter().collect(),
        n_truncated: 0,
    })
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

/// Own prompts: trial after trial, each at all depths.
fn own(ask: &Ask<'_>) -> Samples {
    let (length, n_depths, seed, wrapper) = (ask.length(), ask.count("depths"), ask.seed(), ask.wrapper());
    let make = move |at: usize, codec: &dyn TextCodec| {
        let (trial, step) = (at / n_depths, at % n_depths);
        let depth = if n_depths == 1 { 0.5 } else { step as f64 / (n_depths - 1) as f64 };
        let made = prompt(codec, Template::Longlens, None, &Place { length, depth, trial, seed })?;
        let told = made.needle.as_ref().map_or("", |needle| &needle.text);
        let prompt = wrapper.wrap(codec, &made.text, "")?;
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
