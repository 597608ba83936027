//! `longlens chat`: a conversation, a question a line.

use std::io::{BufRead, IsTerminal, Write};

use longlens_core::lens::{Conversation, DATE, LensError, Message};
use longlens_eval::dialogue::Dialogue;
use longlens_eval::generate::{Stop, StopReason};
use serde_json::json;

use crate::args::ChatArgs;
use crate::config::RunConfig;
use crate::failure::Failure;
use crate::terminal::{Terminal, check_writable, write_file};

/// A longer question is no line that somebody typed.
const MAX_LINE: u64 = 16 << 20;

pub fn run(args: &ChatArgs) -> Result<(), Failure> {
    let mut config = RunConfig::new(&args.common)?;
    config.settings.lay_over(&args.sampling.given())?;
    let terminal = Terminal::new(config.json);
    let out = super::data(&config, &args.common, "chat.json")?;
    crate::inputs::spare(&config, out.as_slice(), &[])?;
    out.as_deref().map_or(Ok(()), check_writable)?;
    let mut lens = super::open(&terminal, &config)?;
    let system = args.system.as_ref().map(|system| Message::new("system", system));
    let mut conversation = Conversation::new(system.into_iter().collect::<Vec<_>>());
    conversation.date = args.date.clone().unwrap_or_else(|| DATE.into());
    // a model that cannot chat, or a template that does not know systems, says so before a question is asked
    let try_out = [conversation.messages.clone(), vec![Message::user("?")]].concat();
    lens.text()?.chat(&Conversation { messages: try_out, ..conversation.clone() })?;
    let stop =
        Stop { max_tokens: config.settings.max_tokens, strings: config.file.sampling.stop.clone(), ..Stop::default() };
    let mut dialogue = Dialogue::new(config.settings.sampling.clone(), stop.clone());
    let (mut turns, mut warned) = (Vec::new(), false);
    let is_asked = std::io::stdin().is_terminal();
    while let Some(question) = ask(is_asked)? {
        if question.trim().is_empty() {
            continue;
        }
        conversation.messages.push(Message::user(question));
        let codec = lens.text()?;
        let tokens = codec.encode(&codec.chat(&conversation)?, false)?;
        if tokens.is_empty() {
            return Err(LensError::EmptyPrompt.into());
        }
        let setup = config.setup(lens.model(), tokens.len())?;
        if !std::mem::replace(&mut warned, true) {
            super::warn(&terminal, &config, lens.model(), &setup.plan, tokens.len() + stop.max_tokens)?;
        }
        let mut progress = terminal.progress("prefill");
        let mut is_read = true;
        let answer = dialogue.answer(lens.as_mut(), &setup, &tokens, &mut progress, &mut |text| {
            is_read &= terminal.stream(text).is_ok();
            if !is_read {
                terminal.cancel(); // nobody hears the rest
            }
        })?;
        drop(progress);
        terminal.end_stream();
        conversation.messages.push(Message::new("assistant", answer.text.clone()));
        let is_over = answer.stop == StopReason::Cancelled;
        if answer.stop == StopReason::MaxTokens {
            terminal.note(format_args!("(the answer was cut after {} tokens: --max-tokens)", answer.tokens.len()))?;
        }
        turns.push(answer);
        if is_over || !is_read {
            break;
        }
    }
    let result = json!({ "conversation": conversation, "answers": turns });
    if let Some(path) = &out {
        let did = if path.exists() { "replaced" } else { "wrote" };
        write_file(path, result.to_string().as_bytes())?;
        terminal.note(format_args!("{did} {}", path.display()))?;
    }
    terminal.result(&result)?;
    if terminal.is_cancelled() { Err(Failure::interrupted()) } else { Ok(()) }
}

/// The next question, after a sign that one is waited for where somebody types; nothing at the end.
fn ask(is_asked: bool) -> Result<Option<String>, Failure> {
    if is_asked {
        let mut screen = std::io::stderr();
        let _ = screen.write_all(b"> ").and_then(|()| screen.flush());
    }
    let mut bytes = Vec::new();
    let failed = |error: std::io::Error| Failure::io("read", std::path::Path::new("stdin"), &error);
    let stdin = std::io::stdin().lock();
    std::io::Read::take(stdin, MAX_LINE).read_until(b'\n', &mut bytes).map_err(failed)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.len() as u64 == MAX_LINE {
        return Err(Failure::usage("a question has more than 16 MiB", "ask something shorter".to_owned()));
    }
    let text = longlens_eval::text::text_of(std::path::Path::new("stdin"), bytes)?;
    Ok(Some(text.strip_suffix('\n').map_or(text.clone(), |line| line.strip_suffix('\r').unwrap_or(line).to_owned())))
}
