//! `longlens chat`: a conversation, a question a line, about a document where one is given.

use std::io::{BufRead, IsTerminal, Write};
use std::mem::{Discriminant, discriminant};
use std::path::Path;

use longlens_app::kept::{KeptLens, Manner};
use longlens_app::prompt::{self, Prompt, PromptSource};
use longlens_app::views::passages::{self, Attended, Evidence, MAX_QUERIES};
use longlens_core::lens::{Conversation, Lens, Message, ModelInfo};
use longlens_core::methods::Method;
use longlens_core::plan::{Plan, Warning};
use longlens_core::printable::printable_line;
use longlens_eval::dialogue::Dialogue;
use longlens_eval::document::Document;
use longlens_eval::generate::{Generated, Stop, StopReason};
use longlens_eval::passkey::Chat;
use serde::Serialize;
use serde_json::json;

use crate::args::ChatArgs;
use crate::config::RunConfig;
use crate::failure::Failure;
use crate::inputs::{read, shown};
use crate::kept;
use crate::terminal::{Terminal, check_writable, write_file};

/// A longer question is no line that somebody typed.
const MAX_LINE: u64 = 16 << 20;
/// Characters of a passage that are shown.
const SHOWN: usize = 160;

/// What one method has said so far.
struct Talk {
    method: Method,
    conversation: Conversation,
    dialogue: Dialogue,
    answers: Vec<Answer>,
    /// Kinds of warnings that were told.
    told: Vec<Discriminant<Warning>>,
}

/// An answer with the passages that it attended to.
#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    generated: Generated,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    passages: Vec<Evidence>,
}

/// What all talks share.
struct Room<'a> {
    config: &'a RunConfig,
    terminal: &'a Terminal,
    document: Option<&'a Document>,
    n_passages: usize,
    stop: Stop,
}

pub fn run(args: &ChatArgs) -> Result<(), Failure> {
    let mut config = RunConfig::new(&args.common)?;
    let terminal = Terminal::new(config.json);
    let out = super::data(&config, &args.common, "chat.json")?;
    crate::inputs::spare(&config, out.as_slice(), &[args.document.as_deref(), args.cache.as_deref()])?;
    super::expect_data(out.as_deref())?;
    out.as_deref().map_or(Ok(()), check_writable)?;
    let kept = args.cache.as_deref().map(|path| kept::of_conversation(&mut config, path)).transpose()?;
    let (file, kept) = kept.unzip();
    // over what the file or a config says
    config.settings.lay_over(&args.sampling.given())?;
    let told = kept.as_ref().and_then(|kept| kept.chat.clone());
    let document = match (kept, &args.document) {
        (Some(kept), _) => Some(kept.document),
        (None, Some(path)) => Some(opened(path, &terminal)?),
        (None, None) => None,
    };
    let stop =
        Stop { max_tokens: config.settings.max_tokens, strings: config.file.sampling.stop.clone(), ..Stop::default() };
    let mut talks = talks(args, told, &config, &stop)?;
    let mut lens = super::open(&terminal, &config)?;
    kept::check_model(file.as_ref(), lens.as_ref())?;
    if let Some(file) = file {
        let mut going_on = KeptLens::new(lens, None, Manner::Strict);
        going_on.take(&file).map_err(kept::refused)?;
        lens = Box::new(going_on);
    }
    // a model that cannot chat, or a template that does not know systems, says so before a question is asked
    let begun = &talks[0].conversation;
    let try_out = [begun.messages.clone(), vec![Message::user("?")]].concat();
    lens.text()?.chat(&Conversation { messages: try_out, ..begun.clone() })?;
    let room =
        Room { config: &config, terminal: &terminal, document: document.as_ref(), n_passages: args.passages, stop };
    let is_asked = std::io::stdin().is_terminal();
    // what was answered is written, whatever ended the rest
    let ended = converse(&mut talks, &room, lens.as_mut(), is_asked);
    let result = match &talks[..] {
        [talk] => talk.result(),
        talks => json!({ "methods": talks.iter().map(Talk::result).collect::<Vec<_>>() }),
    };
    if let Some(path) = &out {
        let did = if path.exists() { "replaced" } else { "wrote" };
        write_file(path, result.to_string().as_bytes())?;
        terminal.note(format_args!("{did} {}", path.display()))?;
    }
    terminal.result(&result)?;
    ended?;
    if terminal.is_cancelled() { Err(Failure::interrupted()) } else { Ok(()) }
}

/// The document that is talked about.
fn opened(path: &Path, terminal: &Terminal) -> Result<Document, Failure> {
    if path.as_os_str() == "-" {
        return Err(Failure::usage(
            "questions come from stdin, so the document cannot",
            "give --document the name of a file".to_owned(),
        ));
    }
    let bytes = read(path)?;
    let progress = terminal.progress("reading the document");
    let read = prompt::document(shown(path), bytes, &progress);
    drop(progress);
    if terminal.is_cancelled() {
        return Err(Failure::interrupted());
    }
    let document = read?;
    terminal.caution(&document.warnings)?;
    if document.text.trim().is_empty() {
        return Err(Failure::usage(format!("{} has no text", path.display()), "name another document".to_owned()));
    }
    Ok(document)
}

/// A conversation for each method, begun by what the system says.
fn talks(args: &ChatArgs, kept: Option<Chat>, config: &RunConfig, stop: &Stop) -> Result<Vec<Talk>, Failure> {
    // a kept document was told on its own day, after what the system said then
    let (system, date) = match kept {
        Some(Chat { system, date }) => (system, Some(date)),
        None => (args.system.clone(), args.date.clone()),
    };
    let system = system.map(|system| Message::new("system", system));
    let conversation = Conversation::new(system.into_iter().collect::<Vec<_>>()).dated(date.as_deref());
    let methods: Vec<Method> = match &args.methods {
        Some(list) => Method::list(list)?,
        None => vec![config.settings.method.clone()],
    };
    let talk = |method| Talk {
        method,
        conversation: conversation.clone(),
        dialogue: Dialogue::new(config.settings.sampling.clone(), stop.clone()),
        answers: Vec::new(),
        told: Vec::new(),
    };
    Ok(methods.into_iter().map(talk).collect())
}

/// Answers one question after another, until there are none or somebody stops it.
fn converse(talks: &mut [Talk], room: &Room, lens: &mut dyn Lens, is_asked: bool) -> Result<(), Failure> {
    let mut n_lines = 0;
    while let Some(question) = ask(is_asked, n_lines)? {
        n_lines += 1;
        if !question.trim().is_empty() && !round(talks, &question, room, lens)? {
            break;
        }
    }
    Ok(())
}

/// Has every method answer a question; false once somebody stopped it.
fn round(talks: &mut [Talk], question: &str, room: &Room, lens: &mut dyn Lens) -> Result<bool, Failure> {
    let several = talks.len() > 1;
    for talk in talks {
        if several {
            room.terminal.say(format_args!("[{}]", talk.method))?;
        }
        if !talk.answer(question, room, lens)? {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Talk {
    /// Answers a question, and shows what the answer attended to; false where somebody stopped it.
    fn answer(&mut self, question: &str, room: &Room, lens: &mut dyn Lens) -> Result<bool, Failure> {
        let Room { config, terminal, document, stop, .. } = room;
        let is_first = self.answers.is_empty();
        let said = match document.filter(|_| is_first) {
            Some(document) => prompt::about(document, question),
            None => question.to_owned(),
        };
        self.conversation.messages.push(Message::user(said));
        let prompt = self.prompt(*document, lens)?;
        let n_prompt = prompt.tokens.len();
        let mut setup = config.setup_of(&self.method, lens.model(), n_prompt)?;
        self.warn(&setup.plan, n_prompt + stop.max_tokens, lens.model(), room)?;
        let is_watched = document.is_some() && room.n_passages > 0 && stop.max_tokens > 0;
        if is_watched {
            let queries = passages::answer(n_prompt, n_prompt + stop.max_tokens.min(MAX_QUERIES));
            setup.watch = passages::watch(&prompt.passages, queries)?;
            setup.watch.beyond = stop.max_tokens;
        }
        let mut progress = terminal.progress("prefill");
        let mut is_read = true;
        let generated = self.dialogue.answer(lens, &setup, &prompt.tokens, &mut progress, &mut |text| {
            is_read &= terminal.stream(text).is_ok();
            if !is_read {
                terminal.cancel(); // nobody hears the rest
            }
        })?;
        drop(progress);
        terminal.end_stream();
        self.conversation.messages.push(Message::new("assistant", generated.text.clone()));
        if generated.stop == StopReason::MaxTokens {
            let n_tokens = generated.tokens.len();
            terminal.note(format_args!("(the answer was cut after {n_tokens} tokens: --max-tokens)"))?;
        }
        let is_over = generated.stop == StopReason::Cancelled;
        let mut evidence = Vec::new();
        if is_watched && !generated.tokens.is_empty() {
            let queries = passages::answer(n_prompt, n_prompt + generated.tokens.len() - 1);
            let attended = Attended::of(&generated.trace, &prompt.passages, queries);
            evidence = attended.evidence(&prompt.passages, room.n_passages);
            evidence.iter().try_for_each(|evidence| terminal.say(line(evidence)))?;
        }
        self.answers.push(Answer { generated, passages: evidence });
        Ok(!is_over && is_read)
    }

    /// Says what a user should know before the conversation grows to `n_tokens`, each kind of thing once.
    fn warn(&mut self, plan: &Plan, n_tokens: usize, model: &ModelInfo, room: &Room) -> Result<(), Failure> {
        let trained = room.config.rope(model).resolve(&model.spec)?.reach();
        let mut warnings = plan.warnings(n_tokens, trained);
        warnings.retain(|warning| !self.told.contains(&discriminant(warning)));
        self.told.extend(warnings.iter().map(discriminant));
        super::tell(room.terminal, plan, &warnings)
    }

    /// The conversation so far in tokens.
    fn prompt(&self, document: Option<&Document>, lens: &dyn Lens) -> Result<Prompt, Failure> {
        let (source, codec) = (PromptSource::Chat(self.conversation.clone()), lens.text()?);
        let prompt = match document {
            Some(document) => source.of_document(document, codec),
            None => source.build(codec),
        };
        prompt.map_err(|problem| Failure::failed(problem.message, problem.help))
    }

    fn result(&self) -> serde_json::Value {
        json!({ "method": self.method.to_string(), "conversation": self.conversation, "answers": self.answers })
    }
}

/// One passage below an answer.
fn line(Evidence { place, text, gain, .. }: &Evidence) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = text.chars().take(SHOWN).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("  {:>5.1} %  {place}: {}{more}", 100.0 * gain, printable_line(&short))
}

/// The next question after `n_before` lines, after a sign that one is waited for where somebody types; nothing at the end.
fn ask(is_asked: bool, n_before: usize) -> Result<Option<String>, Failure> {
    if is_asked {
        let mut screen = std::io::stderr();
        let _ = screen.write_all(b"> ").and_then(|()| screen.flush());
    }
    let mut bytes = Vec::new();
    let failed = |error: std::io::Error| Failure::io("read", Path::new("stdin"), &error);
    let stdin = std::io::stdin().lock();
    std::io::Read::take(stdin, MAX_LINE).read_until(b'\n', &mut bytes).map_err(failed)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.len() as u64 == MAX_LINE {
        return Err(Failure::usage("a question has more than 16 MiB", "ask something shorter".to_owned()));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let (line, byte) = (n_before + 1, error.utf8_error().valid_up_to() + 1);
        let problem = format!("line {line} of stdin is no UTF-8 from its byte {byte} on");
        Failure::usage(problem, "write questions as UTF-8".to_owned())
    })?;
    Ok(Some(text.strip_suffix('\n').map_or(text.clone(), |line| line.strip_suffix('\r').unwrap_or(line).to_owned())))
}
