//! The prompt of a command: text, a document, or a pass key hidden in filler.

use std::ops::Range;
use std::sync::Arc;

use longlens_app::prompt::{self, DocumentAsk, NeedleAsk, Prompt, PromptSource, question};
use longlens_core::lens::{Conversation, DATE, Lens, LensError};
use longlens_core::printable::printable_line;
use longlens_eval::document::{Document, Passage};
use longlens_eval::passkey::Template;

use crate::args::PromptArgs;
use crate::config::{RunConfig, depth, prompt_length};
use crate::failure::Failure;
use crate::inputs::{read, shown};
use crate::terminal::Terminal;

/// A prompt, ready to feed.
pub struct PromptTokens {
    pub tokens: Vec<u32>,
    /// Tokens that tell the key, where one was hidden.
    pub needle: Option<Range<usize>>,
    /// The right answer without its last token, where a key was hidden: each of these fetches the token after it.
    pub answer: Vec<u32>,
    /// The passages of its text.
    pub passages: Arc<[Passage]>,
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
            chat: args.chat || file.chat.unwrap_or_default(),
            system: args.system.clone().or(file.system),
            question: args.question.clone().or(file.question),
        },
        given => given.clone(),
    }
}

/// Reads or makes the prompt that flags or config ask for.
pub fn prompt(
    terminal: &Terminal,
    args: &PromptArgs,
    config: &RunConfig,
    lens: &dyn Lens,
) -> Result<PromptTokens, Failure> {
    let (args, seed) = (&given(args, config), config.settings.sampling.seed);
    if let Some(ask) = ask(args, seed)? {
        return hide(&ask, lens);
    }
    let codec = lens.text()?;
    let built = if let Some(conversation) = turns(args)? {
        PromptSource::Chat(conversation).build(codec)
    } else {
        let document = document(args)?;
        if document.text.is_empty() {
            return Err(LensError::EmptyPrompt.into());
        }
        source(args, &document).of_document(&document, codec)
    };
    // what a tokenizer or a template refuses is no wrong flag
    let built = built.map_err(|problem| Failure::failed(problem.message, problem.help))?;
    for warning in &built.warnings {
        terminal.note(format_args!("warning: {}", printable_line(warning)))?;
    }
    Ok(built.into())
}

/// The text of `--prompt`, or the document of `--file`.
fn document(args: &PromptArgs) -> Result<Document, Failure> {
    match (&args.prompt, &args.file) {
        (Some(text), _) => Ok(Document::plain(text.clone())),
        (_, Some(path)) => Ok(prompt::document(shown(path), read(path)?)?),
        _ => Err(Failure::usage(
            "there is no prompt",
            "give --prompt TEXT, --file FILE (`-` for stdin) or --needle TOKENS:DEPTH, or [prompt] in the config"
                .to_owned(),
        )),
    }
}

/// What the flags make of a document: a question about it, something that a user says, or a text.
fn source(args: &PromptArgs, document: &Document) -> PromptSource {
    match (&args.question, args.chat) {
        (Some(question), chat) => PromptSource::Document(DocumentAsk {
            file: args.file.clone().unwrap_or_default(),
            question: question.clone(),
            chat,
            system: args.system.clone(),
            date: args.date.clone(),
        }),
        (None, true) => PromptSource::Chat(dated(question(args.system.as_deref(), &document.text), args)),
        (None, false) => PromptSource::Text(document.text.clone()),
    }
}

impl From<Prompt> for PromptTokens {
    fn from(Prompt { tokens, needle, passages, .. }: Prompt) -> Self {
        let mut answer = needle.as_ref().map(|needle| needle.answer.clone()).unwrap_or_default();
        answer.pop();
        Self { tokens, needle: needle.map(|needle| needle.tokens), answer, passages }
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
    Ok(PromptSource::Needle(ask.clone()).build(lens.text()?)?.into())
}
