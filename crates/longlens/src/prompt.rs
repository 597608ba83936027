//! The prompt of a command: text, a document, or a pass key hidden in filler.

use std::ops::Range;
use std::sync::Arc;

use longlens_app::prompt::{self, DocumentAsk, KeptAsk, NeedleAsk, Prompt, PromptSource};
use longlens_core::lens::{Conversation, Lens, LensError, Message};
use longlens_eval::document::{Document, Passage};
use longlens_eval::passkey::{Chat, NoTemplate, Template};

use crate::args::PromptArgs;
use crate::config::{PromptFile, RunConfig, depth, prompt_length};
use crate::failure::Failure;
use crate::inputs::{read, shown};
use crate::terminal::Terminal;

/// A prompt, ready to feed.
#[derive(Default)]
pub struct PromptTokens {
    pub tokens: Vec<u32>,
    /// Tokens that tell the key, where one was hidden.
    pub needle: Option<Range<usize>>,
    /// The right answer without its last token, where a key was hidden: each of these fetches the token after it.
    pub answer: Vec<u32>,
    /// The passages of its text.
    pub passages: Arc<[Passage]>,
    /// What it was made of, where that is more than a text: turns, or a needle.
    pub asked: Option<PromptSource>,
}

/// The prompt of the flags, else the one of the config file.
pub fn given(args: &PromptArgs, config: &RunConfig) -> PromptArgs {
    let file = config.file.prompt.clone();
    let (chats, turns) = (args.chat || file.chat, written(&file));
    match args {
        PromptArgs { prompt: None, file: None, needle: None, messages: None, cache: None, .. } => PromptArgs {
            prompt: file.text,
            file: file.file,
            needle: file.needle,
            needle_template: file.template,
            needle_seed: file.seed.map(|seed| seed.number() as u64),
            messages: turns,
            date: args.date.clone().or(file.date),
            chat: chats,
            system: args.system.clone().or(file.system),
            question: args.question.clone().or(file.question),
            cache: file.cache,
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

/// Reads or makes the prompt that flags or config ask for, ready to feed.
pub fn build(
    terminal: &Terminal,
    args: &PromptArgs,
    config: &RunConfig,
    lens: &dyn Lens,
) -> Result<PromptTokens, Failure> {
    Ok(read_or_made(terminal, args, config, lens)?.into())
}

/// The same with all that is known of it.
pub fn read_or_made(
    terminal: &Terminal,
    args: &PromptArgs,
    config: &RunConfig,
    lens: &dyn Lens,
) -> Result<Prompt, Failure> {
    let (args, seed) = (&given(args, config), config.settings.sampling.seed);
    let chat = of_prompt(args)?;
    if let Some(ask) = ask(args, seed)? {
        let prompt = hide(&ask, lens)?;
        terminal.caution(&prompt.warnings)?;
        return Ok(prompt);
    }
    let codec = lens.text()?;
    let built = if let Some(ask) = kept(args) {
        PromptSource::Kept(ask).build(codec)
    } else if let Some(conversation) = turns(args)? {
        PromptSource::Chat(conversation).build(codec)
    } else {
        let (document, source) = document(args, chat)?;
        if document.text.is_empty() {
            return Err(LensError::EmptyPrompt.into());
        }
        source.of_document(&document, codec)
    };
    // what a tokenizer or a template refuses is no wrong flag
    let built = built.map_err(|problem| Failure::failed(problem.message, problem.help))?;
    terminal.caution(&built.warnings)?;
    Ok(built)
}

/// The text of `--prompt`, or the document of `--file`, and what the flags make of it.
fn document(args: &PromptArgs, chat: Option<Chat>) -> Result<(Document, PromptSource), Failure> {
    let source = source(args, chat).ok_or_else(|| {
        Failure::usage(
            "there is no prompt",
            "give --prompt TEXT, --file FILE (`-` for stdin) or --needle TOKENS:DEPTH, or [prompt] in the config"
                .to_owned(),
        )
    })?;
    let document = match (&args.prompt, &args.file) {
        (None, Some(path)) => prompt::document(shown(path), read(path)?, &())?,
        (text, _) => Document::plain(text.clone().unwrap_or_default()),
    };
    Ok((document, source))
}

/// What the flags make of a text or a file; nothing where they name neither.
pub fn source(args: &PromptArgs, chat: Option<Chat>) -> Option<PromptSource> {
    let (question, file) = (args.question.clone(), args.file.clone());
    match (&args.prompt, file, chat) {
        (Some(text), _, Some(chat)) => {
            Some(PromptSource::Chat(prompt::question(chat.system.as_deref(), text).dated(Some(&chat.date))))
        }
        (Some(text), _, None) => Some(PromptSource::Text(text.clone())),
        (None, Some(file), chat) => Some(DocumentAsk { file, question, chat }.source()),
        (None, None, _) => None,
    }
}

impl From<Prompt> for PromptTokens {
    fn from(Prompt { source, tokens, needle, passages, .. }: Prompt) -> Self {
        let mut answer = needle.as_ref().map(|needle| needle.answer.clone()).unwrap_or_default();
        answer.pop();
        let asked = Some(source).filter(|source| !matches!(source, PromptSource::Text(_) | PromptSource::File(_)));
        let range = needle.as_ref().map(|needle| needle.tokens.clone());
        Self { tokens, needle: range, answer, passages, asked }
    }
}

/// The kept prompt of `--cache`, and what follows it.
pub fn kept(args: &PromptArgs) -> Option<KeptAsk> {
    let file = args.cache.clone()?;
    let question = args.question.as_ref().map(|question| format!("\n\n{question}"));
    Some(KeptAsk { file, text: args.prompt.clone().or(question).unwrap_or_default() })
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
    if args.question.is_some() && args.file.is_none() && args.cache.is_none() {
        let help = "give --file, or `file` where a config file has the prompt".to_owned();
        return Err(Failure::usage("a question is about a file, and there is none", help));
    }
    // turns are put into it all the same, and the date is theirs
    let date = args.date.clone().filter(|_| args.messages.is_none());
    chat(args.chat, args.system.clone(), date)
}

/// What the chat template is told, where prompts are put into one.
pub fn chat(chats: bool, system: Option<String>, date: Option<String>) -> Result<Option<Chat>, Failure> {
    Chat::given(chats, system, date).map_err(|unused| {
        let what = match unused {
            NoTemplate::System => "--system",
            NoTemplate::Date => "--date",
        };
        let help = "add --chat, or `chat = true` where a config file has it".to_owned();
        Failure::usage(format!("{what} is for the model's chat template"), help)
    })
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
    Ok(hide(&NeedleAsk { length, depth, seed, ..NeedleAsk::default() }, lens)?.into())
}

fn hide(ask: &NeedleAsk, lens: &dyn Lens) -> Result<Prompt, Failure> {
    Ok(PromptSource::Needle(ask.clone()).build(lens.text()?)?)
}
