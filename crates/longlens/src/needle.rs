//! The prompt of a command: text, a file, or a pass key hidden in filler.

use std::ops::Range;

use longlens_app::prompt::{NeedleAsk, question};
use longlens_core::lens::{Conversation, DATE, Lens, LensError};
use longlens_eval::passkey::{Place, Template, hiding};
use longlens_eval::text::text_of;

use crate::args::PromptArgs;
use crate::config::{RunConfig, depth, prompt_length};
use crate::failure::Failure;
use crate::inputs::{read, shown};

/// A prompt, ready to feed.
pub struct PromptTokens {
    pub tokens: Vec<u32>,
    /// Tokens that tell the key, where one was hidden.
    pub needle: Option<Range<usize>>,
    /// The right answer without its last token, where a key was hidden: each of these fetches the token after it.
    pub answer: Vec<u32>,
}

/// The prompt of the flags, else the one of the config file.
pub fn given(args: &PromptArgs, config: &RunConfig) -> PromptArgs {
    let file = config.file.prompt.clone();
    match args {
        PromptArgs { prompt: None, file: None, needle: None, messages: None, .. } => PromptArgs {
            prompt: file.text,
            file: file.file,
            needle: file.needle,
            needle_template: file.template,
            needle_seed: file.seed.map(|seed| seed.number() as u64),
            messages: file.messages.map(|turns| serde_json::to_string(&turns).expect("texts are JSON")),
            date: args.date.clone().or(file.date),
            chat: args.chat,
            system: args.system.clone(),
        },
        given => given.clone(),
    }
}

/// Reads or makes the prompt that flags or config ask for.
pub fn prompt(args: &PromptArgs, config: &RunConfig, lens: &dyn Lens) -> Result<PromptTokens, Failure> {
    let (args, seed) = (&given(args, config), config.settings.sampling.seed);
    if let Some(ask) = ask(args, seed)? {
        return hide(&ask, lens);
    }
    if let Some(conversation) = turns(args)? {
        return said(&conversation, lens);
    }
    let text = match (&args.prompt, &args.file) {
        (Some(text), _) => text.clone(),
        (_, Some(path)) => text_of(shown(path), read(path)?)?,
        _ => {
            return Err(Failure::usage(
                "there is no prompt",
                "give --prompt TEXT, --file FILE (`-` for stdin) or --needle TOKENS:DEPTH, or [prompt] in the config"
                    .to_owned(),
            ));
        }
    };
    // an editor's or echo's last newline is no part of the prompt
    let text = if args.prompt.is_none() { text.strip_suffix('\n').unwrap_or(&text).to_owned() } else { text };
    if text.is_empty() {
        return Err(LensError::EmptyPrompt.into());
    }
    if args.chat {
        return said(&dated(question(args.system.as_deref(), &text), args), lens);
    }
    let tokens = lens.text()?.encode(&text, true)?;
    if tokens.is_empty() {
        Err(LensError::EmptyPrompt.into())
    } else {
        Ok(PromptTokens { tokens, needle: None, answer: Vec::new() })
    }
}

/// The conversation that `--messages` writes out.
pub fn turns(args: &PromptArgs) -> Result<Option<Conversation>, Failure> {
    let Some(json) = &args.messages else { return Ok(None) };
    let messages: Vec<longlens_core::lens::Message> = serde_json::from_str(json).map_err(|error| {
        Failure::usage(
            format!("--messages is no list of turns: {error}"),
            r#"write it as [{"role": "user", "content": "Hello"}]"#.to_owned(),
        )
    })?;
    Ok(Some(dated(Conversation::new(messages), args)))
}

/// A conversation at the date that the flags give.
pub fn dated(conversation: Conversation, args: &PromptArgs) -> Conversation {
    Conversation { date: args.date.clone().unwrap_or_else(|| DATE.into()), ..conversation }
}

/// A conversation in tokens; the template writes the model's first token where it wants one.
fn said(conversation: &Conversation, lens: &dyn Lens) -> Result<PromptTokens, Failure> {
    let codec = lens.text()?;
    let tokens = codec.encode(&codec.chat(conversation)?, false)?;
    Ok(PromptTokens { tokens, needle: None, answer: Vec::new() })
}

/// The needle prompt that the flags ask for: `1024`, `1024:0.5`, `1024:50%` or `1024:0.5:48213`.
pub fn ask(args: &PromptArgs, seed: u64) -> Result<Option<NeedleAsk>, Failure> {
    let Some(text) = &args.needle else { return Ok(None) };
    let mut parts = text.splitn(3, ':');
    Ok(Some(NeedleAsk {
        length: prompt_length(parts.next().unwrap_or_default())?,
        depth: parts.next().map_or(Ok(0.5), depth)?,
        key: parts.next().map(str::to_owned),
        template: args.needle_template.as_ref().map_or(Ok(Template::Longlens), |name| name.parse())?,
        seed: args.needle_seed.unwrap_or(seed),
    }))
}

/// A prompt of `length` tokens with a pass key at `depth`.
pub fn hidden(length: usize, depth: f64, lens: &dyn Lens, seed: u64) -> Result<PromptTokens, Failure> {
    hide(&NeedleAsk { length, depth, seed, ..NeedleAsk::default() }, lens)
}

fn hide(ask: &NeedleAsk, lens: &dyn Lens) -> Result<PromptTokens, Failure> {
    let place = Place { length: ask.length, depth: ask.depth, trial: 0, seed: ask.seed };
    let made = hiding(lens.text()?, ask.template, &place, ask.key.as_deref())?;
    let needle = made.needle.map(|needle| needle.start..needle.end);
    let mut answer = made.answer;
    answer.pop();
    Ok(PromptTokens { tokens: made.tokens, needle, answer })
}
