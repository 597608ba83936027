//! The prompt of a command: text, a file, or a pass key hidden in filler.

use std::io::Read;
use std::ops::Range;

use longlens_core::lens::{Lens, LensError};
use longlens_eval::passkey::{Place, Template, prompt as passkey_prompt};

use crate::args::PromptArgs;
use crate::config::{depth, prompt_length};
use crate::failure::Failure;

/// A prompt, ready to feed.
pub struct Prompt {
    pub tokens: Vec<u32>,
    /// Tokens that tell the key, where one was hidden.
    pub needle: Option<Range<usize>>,
    /// The first token of the right answer, where a key was hidden and more tokens follow.
    pub answer_start: Option<u32>,
}

/// Reads or makes the prompt that the flags ask for.
pub fn prompt(args: &PromptArgs, lens: &dyn Lens, seed: u64) -> Result<Prompt, Failure> {
    let text = match (&args.prompt, &args.file, &args.needle) {
        (Some(text), ..) => text.clone(),
        (_, Some(path), _) if path.as_os_str() == "-" => {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|error| Failure::failed(format!("cannot read the prompt from stdin: {error}"), None))?;
            text
        }
        (_, Some(path), _) => std::fs::read_to_string(path).map_err(|error| Failure::io("read", path, &error))?,
        (.., Some(needle)) => return hide(needle, lens, seed),
        _ => {
            return Err(Failure::usage(
                "there is no prompt",
                "give --prompt TEXT, --file FILE (`-` for stdin) or --needle TOKENS:DEPTH".to_owned(),
            ));
        }
    };
    // an editor's or echo's last newline is no part of the prompt
    let text = if args.prompt.is_none() { text.strip_suffix('\n').unwrap_or(&text).to_owned() } else { text };
    if text.is_empty() {
        return Err(LensError::EmptyPrompt.into());
    }
    let tokens = lens.text()?.encode(&text, true)?;
    if tokens.is_empty() {
        Err(LensError::EmptyPrompt.into())
    } else {
        Ok(Prompt { tokens, needle: None, answer_start: None })
    }
}

/// Reads `1024:0.5` and hides a pass key there.
fn hide(text: &str, lens: &dyn Lens, seed: u64) -> Result<Prompt, Failure> {
    let (tokens, at) = text.split_once(':').unwrap_or((text, "0.5"));
    hidden(prompt_length(tokens)?, depth(at)?, lens, seed)
}

/// A prompt of `length` tokens with a pass key at `depth`.
pub fn hidden(length: usize, depth: f64, lens: &dyn Lens, seed: u64) -> Result<Prompt, Failure> {
    let place = Place { length, depth, trial: 0, seed };
    let made = passkey_prompt(lens.text()?, Template::Longlens, &place)?;
    let needle = made.needle.map(|needle| needle.start..needle.end);
    Ok(Prompt {
        tokens: made.tokens,
        needle,
        answer_start: made.answer.first().copied().filter(|_| made.answer.len() > 1),
    })
}
