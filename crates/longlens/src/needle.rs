//! The prompt of a command: text, a file, or a pass key hidden in filler.

use std::ops::Range;

use longlens_app::prompt::{NeedleAsk, PromptSource, question};
use longlens_core::lens::{Conversation, Lens, LensError, Message};
use longlens_eval::passkey::{Chat, Place, Template, hiding};
use longlens_eval::text::text_of;

use crate::args::PromptArgs;
use crate::config::{PromptFile, RunConfig, depth, prompt_length};
use crate::failure::Failure;
use crate::inputs::{read, shown};

/// A prompt, ready to feed.
#[derive(Default)]
pub struct PromptTokens {
    pub tokens: Vec<u32>,
    /// Tokens that tell the key, where one was hidden.
    pub needle: Option<Range<usize>>,
    /// The right answer without its last token, where a key was hidden: each of these fetches the token after it.
    pub answer: Vec<u32>,
    /// What it was made of, where that is more than a text: turns, or a needle.
    pub asked: Option<PromptSource>,
}

/// The prompt of the flags, else the one of the config file.
pub fn given(args: &PromptArgs, config: &RunConfig) -> PromptArgs {
    let file = config.file.prompt.clone();
    let (chats, turns) = (args.chat || file.chat, written(&file));
    match args {
        PromptArgs { prompt: None, file: None, needle: None, messages: None, .. } => PromptArgs {
            prompt: file.text,
            file: file.file,
            needle: file.needle,
            needle_template: file.template,
            needle_seed: file.seed.map(|seed| seed.number() as u64),
            messages: turns,
            date: args.date.clone().or(file.date),
            chat: chats,
            system: args.system.clone().or(file.system),
        },
        given => given.clone(),
    }
}

/// The turns of a config file as `--messages` has them.
fn written(file: &PromptFile) -> Option<String> {
    let usual = Conversation::asking(file.messages.clone()?);
    let conversation = Conversation {
        add_generation_prompt: file.add_generation_prompt.unwrap_or(usual.add_generation_prompt),
        continue_final_message: file.continue_final_message.unwrap_or(usual.continue_final_message),
        variables: file.variables.clone(),
        ..usual
    };
    Some(serde_json::to_string(&conversation).expect("texts are JSON"))
}

/// Reads or makes the prompt that flags or config ask for.
pub fn prompt(args: &PromptArgs, config: &RunConfig, lens: &dyn Lens) -> Result<PromptTokens, Failure> {
    let (args, seed) = (&given(args, config), config.settings.sampling.seed);
    let chat = of_prompt(args)?;
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
    if let Some(chat) = chat {
        return said(&question(chat.system.as_deref(), &text).dated(Some(&chat.date)), lens);
    }
    let tokens = lens.text()?.encode(&text, true)?;
    if tokens.is_empty() {
        Err(LensError::EmptyPrompt.into())
    } else {
        Ok(PromptTokens { tokens, ..PromptTokens::default() })
    }
}

/// The conversation that `--messages` writes out.
pub fn turns(args: &PromptArgs) -> Result<Option<Conversation>, Failure> {
    let Some(json) = &args.messages else { return Ok(None) };
    let is_list = json.trim_start().starts_with('[');
    let read = if is_list {
        serde_json::from_str::<Vec<Message>>(json).map(Conversation::asking)
    } else {
        serde_json::from_str::<Conversation>(json)
    };
    let conversation = read.map_err(|error| {
        let what = if is_list { "no list of turns" } else { "no conversation" };
        let help = r#"write it as [{"role": "user", "content": "Hello"}]"#.to_owned();
        Failure::usage(format!("--messages is {what}: {error}"), help)
    })?;
    Ok(Some(conversation.dated(args.date.as_deref())))
}

/// What the chat template is told, where the prompt is put into one.
pub fn of_prompt(args: &PromptArgs) -> Result<Option<Chat>, Failure> {
    // turns are put into it all the same, and the date is theirs
    let date = args.date.clone().filter(|_| args.messages.is_none());
    chat(args.chat, args.system.clone(), date)
}

/// What the chat template is told, where prompts are put into one.
pub fn chat(chats: bool, system: Option<String>, date: Option<String>) -> Result<Option<Chat>, Failure> {
    let plain = Chat::default();
    match (chats, &system, &date) {
        (true, ..) => Ok(Some(Chat { system, date: date.unwrap_or(plain.date) })),
        (false, None, None) => Ok(None),
        (false, system, _) => {
            let what = if system.is_some() { "--system" } else { "--date" };
            let help = "add --chat, or `chat = true` where a config file has it".to_owned();
            Err(Failure::usage(format!("{what} is for the model's chat template"), help))
        }
    }
}

/// A conversation in tokens; the template writes the model's first token where it wants one.
fn said(conversation: &Conversation, lens: &dyn Lens) -> Result<PromptTokens, Failure> {
    let codec = lens.text()?;
    let tokens = codec.encode(&codec.chat(conversation)?, false)?;
    Ok(PromptTokens { tokens, asked: Some(PromptSource::Chat(conversation.clone())), ..PromptTokens::default() })
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
        chat: of_prompt(args)?,
    }))
}

/// A prompt of `length` tokens with a pass key at `depth`.
pub fn hidden(length: usize, depth: f64, lens: &dyn Lens, seed: u64) -> Result<PromptTokens, Failure> {
    hide(&NeedleAsk { length, depth, seed, ..NeedleAsk::default() }, lens)
}

fn hide(ask: &NeedleAsk, lens: &dyn Lens) -> Result<PromptTokens, Failure> {
    let place = Place { length: ask.length, depth: ask.depth, trial: 0, seed: ask.seed };
    let made = hiding(lens.text()?, ask.template, ask.chat.as_ref(), &place, ask.key.as_deref())?;
    let needle = made.needle.map(|needle| needle.start..needle.end);
    let mut answer = made.answer;
    answer.pop();
    Ok(PromptTokens { tokens: made.tokens, needle, answer, asked: Some(PromptSource::Needle(ask.clone())) })
}
