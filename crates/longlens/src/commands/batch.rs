//! `longlens generate --prompts FILE.jsonl`: many prompts, a line each.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use longlens_app::Problem;
use longlens_app::prompt::{self, DocumentAsk, PromptSource};
use longlens_core::lens::{Conversation, Message, TextCodec};
use longlens_core::printable::printable_line;
use longlens_eval::batch::{Answer, Batch, Key};
use longlens_eval::error::in_line as reason;
use longlens_eval::generate::Stop;
use longlens_eval::ledger::Ledger;
use longlens_eval::passkey::Chat;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::args::GenerateArgs;
use crate::config::RunConfig;
use crate::failure::Failure;
use crate::inputs::{read, shown};
use crate::journal::{self, Journal, hash};
use crate::prompt as flags;
use crate::terminal::{Progress, Terminal, check_writable, make_folder, write_file};

/// A line of the file: one of `prompt`, `messages` and `file`.
#[derive(Debug, Deserialize)]
struct Line {
    /// What results call it; its line where it has none.
    id: Option<Value>,
    #[serde(alias = "text")]
    prompt: Option<String>,
    messages: Option<Vec<Message>>,
    file: Option<PathBuf>,
    question: Option<String>,
    /// Keys that mean nothing here, such as a data set's own.
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// A prompt of the file, in tokens.
struct Prompt {
    id: Value,
    tokens: Vec<u32>,
}

pub fn run(args: &GenerateArgs, path: &Path) -> Result<(), Failure> {
    let mut config = RunConfig::new(&args.common)?;
    config.settings.lay_over(&args.sampling.given())?;
    let terminal = Terminal::new(config.json);
    let chat = flags::chat(args.prompt.chat, args.prompt.system.clone(), args.prompt.date.clone())?;
    let out = out(&config)?;
    crate::inputs::spare(&config, out.as_slice(), &[Some(path)])?;
    out.as_deref().map_or(Ok(()), check_writable)?;
    let lines = lines(path)?;
    let unread: BTreeSet<&str> = lines.iter().flat_map(|(_, line)| line.others.keys().map(String::as_str)).collect();
    if !unread.is_empty() {
        let unread: Vec<String> = unread.into_iter().map(|key| format!("`{}`", printable_line(key))).collect();
        terminal.note(format_args!("note: prompts are read without their {}", unread.join(", ")))?;
    }
    let mut lens = super::open(&terminal, &config)?;
    let codec = lens.text()?;
    let prompts = lines
        .into_iter()
        .map(|(number, line)| {
            tokens(number, line, chat.as_ref(), codec).map_err(|problem| in_line(path, number, problem))
        })
        .collect::<Result<Vec<Prompt>, Failure>>()?;
    let strings = if args.stop.is_empty() { &config.file.sampling.stop } else { &args.stop };
    let (sampling, settings) = (&config.settings.sampling, &config.settings);
    let stop = Stop { max_tokens: settings.max_tokens, strings: strings.clone(), ..Stop::default() };
    let model = lens.model().clone();
    // what is impossible is said before anything runs
    let longest = prompts.iter().map(|prompt| prompt.tokens.len()).max().unwrap_or(1);
    let setup = config.setup(&model, longest)?;
    super::warn(&terminal, &config, &model, &setup.plan, longest + stop.max_tokens)?;
    let measured = json!({ "sampling": sampling, "max_tokens": stop.max_tokens, "stop": stop.strings });
    let decides = journal::decides(&model, &setup, &measured);
    let folder =
        out.as_deref().map(|out| out.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new(".")));
    let mut finished = Finished(Journal::open(&terminal, folder, "generate", &decides)?);

    let texts: Vec<Vec<u32>> = prompts.iter().map(|prompt| prompt.tokens.clone()).collect();
    let setup_of = |n_prompt: usize| Ok(settings.setup(&model.spec, n_prompt)?);
    let batch = Batch { setup: &setup_of, sampling, stop: &stop };
    let mut progress = terminal.progress("prompt");
    let names: Vec<String> = prompts.iter().map(|prompt| name(&prompt.id)).collect();
    let mut begins = |progress: &mut Progress, at: usize, n_done: usize| {
        progress.begin(&format!("prompt {} ({} of {})", names[at], n_done + 1, names.len()));
    };
    let answers = batch.run(lens.as_mut(), &texts, &mut finished, &mut progress, &mut begins)?;
    drop(progress);

    let results: Vec<Value> =
        prompts.iter().zip(&answers).filter_map(|(prompt, answer)| Some(result(prompt, answer.as_ref()?))).collect();
    let is_complete = results.len() == prompts.len();
    let wrote = match &out {
        Some(out) if is_complete => write(out, &results)?,
        _ => None,
    };
    terminal.result(&results)?;
    if !config.json && out.is_none() {
        prompts.iter().zip(&answers).try_for_each(|(prompt, answer)| match answer {
            Some(answer) => terminal.say(format_args!("{}: {}", name(&prompt.id), answer.generated.text.trim())),
            None => Ok(()),
        })?;
    }
    wrote.into_iter().try_for_each(|wrote| terminal.note(wrote))?;
    say(&terminal, &answers)?;
    finished.0.end(&terminal, is_complete)?;
    if is_complete { Ok(()) } else { Err(Failure::interrupted()) }
}

/// Where `--out` asks for the results: the file, or `generate.jsonl` in the folder.
fn out(config: &RunConfig) -> Result<Option<PathBuf>, Failure> {
    let Some(out) = &config.out else { return Ok(None) };
    if out.is_dir() || out.extension().is_none() {
        make_folder(out)?;
        return Ok(Some(out.join("generate.jsonl")));
    }
    if !["jsonl", "csv"].contains(&super::ending(out).as_str()) {
        return Err(Failure::usage(
            format!("{} is no file of answers", out.display()),
            "give --out a name that ends in .jsonl or .csv, or a folder".to_owned(),
        ));
    }
    Ok(Some(out.clone()))
}

/// The lines of a file with their numbers.
fn lines(path: &Path) -> Result<Vec<(usize, Line)>, Failure> {
    let text = longlens_eval::text::decode(read(path)?)
        .map_err(|error| Failure::failed(format!("cannot read {}: {error}", shown(path).display()), None))?;
    let numbered = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let mut ids: HashMap<String, usize> = HashMap::new();
    let mut lines = Vec::new();
    for (at, line) in numbered {
        let number = at + 1;
        let line: Line = serde_json::from_str(line).map_err(|error| {
            in_line(path, number, Problem::new(format!("it is no prompt: {}", reason(&error)), HELP.to_owned()))
        })?;
        let id = line.id.as_ref().map_or_else(|| number.to_string(), name);
        if let Some(earlier) = ids.insert(id, number) {
            let problem =
                Problem::new(format!("its id is that of line {earlier}"), "give every line its own".to_owned());
            return Err(in_line(path, number, problem));
        }
        lines.push((number, line));
    }
    if lines.is_empty() {
        return Err(Failure::failed(format!("{} holds no prompts", shown(path).display()), Some(HELP.into())));
    }
    Ok(lines)
}

const HELP: &str = r#"write an object a line: {"id": "a", "prompt": "…"}, or "messages", or "file" with a "question""#;

/// The tokens of a line's prompt.
fn tokens(number: usize, line: Line, chat: Option<&Chat>, codec: &dyn TextCodec) -> Result<Prompt, Problem> {
    let Line { id, prompt, messages, file, question, others: _ } = line;
    let n_prompts = [prompt.is_some(), messages.is_some(), file.is_some()].into_iter().filter(|given| *given).count();
    let which =
        if n_prompts == 0 { "it has none of `prompt`, `messages` and `file`" } else { "it has several prompts" };
    let several = || Problem::new(which, HELP.to_owned());
    if question.is_some() && file.is_none() {
        return Err(Problem::new("a question is about a `file`, and it has none", HELP.to_owned()));
    }
    let source = match (prompt, messages, file) {
        (Some(text), None, None) => match chat {
            Some(chat) => PromptSource::Chat(prompt::question(chat.system.as_deref(), &text).dated(Some(&chat.date))),
            None => PromptSource::Text(text),
        },
        (None, Some(messages), None) => {
            PromptSource::Chat(Conversation::asking(messages).dated(chat.map(|chat| &chat.date[..])))
        }
        (None, None, Some(file)) => DocumentAsk { file, question, chat: chat.cloned() }.source(),
        _ => return Err(several()),
    };
    Ok(Prompt { id: id.unwrap_or_else(|| number.into()), tokens: source.build(codec)?.tokens })
}

/// A problem of a line of the file.
fn in_line(path: &Path, number: usize, problem: Problem) -> Failure {
    Failure::failed(format!("{}, line {number}: {}", shown(path).display(), problem.message), problem.help)
}

/// What a line is called.
fn name(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}

/// A line of the results.
fn result(prompt: &Prompt, Answer { generated, n_shared }: &Answer) -> Value {
    json!({
        "id": prompt.id, "text": generated.text, "tokens": generated.tokens, "stop": generated.stop,
        "prompt_tokens": generated.n_prompt, "shared_tokens": n_shared, "seconds": generated.seconds,
        "seconds_to_first_token": generated.seconds_to_first_token, "run": generated.run,
    })
}

/// Writes the results as the ending of the file says; returns what was done.
fn write(out: &Path, results: &[Value]) -> Result<Option<String>, Failure> {
    let did = if out.exists() { "replaced" } else { "wrote" };
    let text = if super::ending(out) == "csv" {
        const COLUMNS: [&str; 6] = ["id", "text", "stop", "prompt_tokens", "shared_tokens", "seconds"];
        let cell = |value: &Value| {
            let text = name(value);
            let is_plain = !text.contains([',', '"', '\n', '\r']);
            if is_plain { text } else { format!("\"{}\"", text.replace('"', "\"\"")) }
        };
        let row = |result: &Value| COLUMNS.map(|column| cell(&result[column])).join(",");
        std::iter::once(COLUMNS.join(",")).chain(results.iter().map(row)).map(|line| line + "\n").collect::<String>()
    } else {
        results.iter().map(|result| result.to_string() + "\n").collect::<String>()
    };
    write_file(out, text.as_bytes())?;
    Ok(Some(format!("{did} {}", out.display())))
}

fn say(terminal: &Terminal, answers: &[Option<Answer>]) -> Result<(), Failure> {
    let done: Vec<&Answer> = answers.iter().flatten().collect();
    let Some(first) = done.first() else { return Ok(()) };
    let n_tokens: usize = done.iter().map(|answer| answer.generated.n_prompt).sum();
    let n_shared: usize = done.iter().map(|answer| answer.n_shared).sum();
    let shared = if n_shared > 0 {
        format!(
            ", {n_shared} of them computed once for several ({:.1} times less)",
            n_tokens as f64 / (n_tokens - n_shared) as f64
        )
    } else {
        String::new()
    };
    let run = &first.generated.run;
    terminal.note(format_args!(
        "{} of {} prompts, {n_tokens} tokens{shared}; {}, {}, {}, {}",
        done.len(),
        answers.len(),
        run.method,
        run.rope_text(),
        run.dtype,
        run.kernel_path,
    ))
}

/// Finished answers in a journal, by what their prompts are.
struct Finished(Journal);

impl Ledger<Key, Answer> for Finished {
    fn find(&mut self, key: &Key) -> Option<Answer> {
        self.0.find(&(key.len(), hash(key)))
    }

    fn finished(&mut self, key: &Key, part: &Answer) {
        self.0.finished(&(key.len(), hash(key)), part);
    }
}
