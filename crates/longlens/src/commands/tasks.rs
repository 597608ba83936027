//! `longlens tasks`: the tasks of evaluations, their settings, and their samples.

use std::fmt::Write;
use std::io;

use longlens_core::lens::TextCodec;
use longlens_eval::evaluate::Entry;
use longlens_eval::sample::{Prompt, Rule, Sample};
use longlens_eval::tasks::{Ask, Disk, TASKS, Task};
use serde_json::{Value, json};

use crate::args::{Device, TasksArgs};
use crate::backend;
use crate::failure::Failure;
use crate::terminal::Terminal;
use longlens_app::sweep::tasks;

pub fn run(args: &TasksArgs) -> Result<(), Failure> {
    let terminal = Terminal::new(args.json);
    let Some(text) = &args.task else { return list(&terminal, args.json) };
    let settings = tasks(text)?;
    if args.sample.is_none() && args.export.is_none() {
        return settings.iter().try_for_each(|setting| {
            let task = Task::named(setting.info().name).expect("settings of tasks are made from the list");
            describe(&terminal, task, args.json)
        });
    }
    let [setting] = &settings[..] else {
        let names: Vec<_> = settings.iter().map(|setting| setting.info().name).collect();
        return Err(Failure::usage(
            format!("`{text}` is a family of tasks"),
            format!("name one of: {}", names.join(", ")),
        ));
    };
    let lens =
        backend::open(args.model.as_deref().unwrap_or("embedded"), Device::Cpu, longlens_model::Options::default())?;
    let (codec, spec) = (lens.text()?, &lens.model().spec);
    let ask = Ask { setting, spec, codec, files: &Disk };
    let mut samples = ask.samples()?;
    samples.notes.iter().try_for_each(|note| terminal.note(note))?;
    if let Some(number) = args.sample {
        if number >= samples.n {
            return Err(Failure::usage(format!("`{setting}` has {} samples, counted from 0", samples.n), None));
        }
        let mut sample = (samples.make)(0, codec)?;
        for at in 1..=number {
            if terminal.is_cancelled() {
                return Err(Failure::interrupted());
            }
            sample = (samples.make)(at, codec)?;
        }
        terminal.result(&as_json(ask.task(), &sample, codec)?)?;
        if !args.json {
            show(&terminal, ask.task(), &sample, codec)?;
        }
    }
    if let Some(path) = &args.export {
        let n = samples.n;
        let mut failed = None;
        let mut progress = terminal.progress("samples");
        let written = longlens_app::write_whole_with(path, |out| {
            // a sample that was shown is made again with all others
            let mut samples = ask.samples().map_err(|error| io::Error::other(error.to_string()))?;
            for at in 0..n {
                use longlens_core::lens::Control;
                progress.progress(at, n);
                let line = (samples.make)(at, codec)
                    .map_err(Failure::from)
                    .and_then(|sample| as_json(ask.task(), &sample, codec));
                match line {
                    Ok(line) if !progress.cancelled() => writeln!(out, "{line}")?,
                    Ok(_) => failed = Some(Failure::interrupted()),
                    Err(failure) => failed = Some(failure),
                }
                if failed.is_some() {
                    return Err(io::Error::other("stopped"));
                }
            }
            Ok(())
        });
        drop(progress);
        if let Some(failure) = failed {
            return Err(failure);
        }
        written.map_err(|error| Failure::io("write", path, &error))?;
        terminal.note(format_args!("wrote {n} samples to {}", path.display()))?;
    }
    Ok(())
}

fn list(terminal: &Terminal, is_json: bool) -> Result<(), Failure> {
    let tasks = TASKS.iter().map(|task| of_task(task));
    terminal.result(&tasks.collect::<Vec<_>>())?;
    if is_json {
        return Ok(());
    }
    let width = TASKS.iter().map(|task| task.info.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    let mut family = "";
    for task in TASKS.iter() {
        if task.family != family {
            family = task.family;
            let _ = writeln!(text, "{}{family}", if text.is_empty() { "" } else { "\n" });
        }
        let _ = writeln!(text, "  {:<width$}  {}", task.info.name, task.info.summary);
    }
    let _ = write!(
        text,
        "\n`longlens tasks NAME` names a task's settings; `longlens evaluate NAME` runs it, and so does the name of a family."
    );
    terminal.say(text)
}

fn of_task(task: &Task) -> Value {
    let params = task.info.params.iter().map(|param| {
        json!({ "name": param.name, "alias": param.alias, "default": param.default.to_string(), "values": param.kind.to_string(), "help": param.help })
    });
    json!({
        "name": task.info.name, "family": task.family, "title": task.info.title, "source": task.info.source,
        "summary": task.info.summary, "version": task.version, "params": params.collect::<Vec<_>>(), "fixed": task.fixed(),
    })
}

fn describe(terminal: &Terminal, task: &Task, is_json: bool) -> Result<(), Failure> {
    terminal.result(&of_task(task))?;
    if is_json {
        return Ok(());
    }
    let info = task.info;
    let mut text =
        format!("{}: {}, version {}\n{}\n{}", info.name, info.title, task.version, info.source, info.summary);
    for param in info.params {
        let default = param.default.to_string();
        let default = if default.is_empty() { "none".to_owned() } else { default };
        let _ = write!(text, "\n  {} = {default}: {} ({})", param.name, param.help, param.kind);
    }
    if let Some(fixed) = task.fixed() {
        let _ = write!(text, "\nmode=fixed: {fixed}");
    }
    terminal.say(text)
}

fn as_json(task: &Task, sample: &Sample, codec: &dyn TextCodec) -> Result<Value, Failure> {
    let entry = Entry::of(task, sample, Ok(codec))?;
    let mut object = json!({
        "task": task.info.name, "version": task.version, "id": sample.id, "prompt": sample.prompt.text(),
        "prompt_sha256": sample.prompt.sha256(), "n_prompt": entry.n_prompt, "answers": sample.answers, "length": sample.length,
        "depth": sample.depth, "part": sample.part, "n_truncated": sample.n_truncated,
        "evidence": sample.evidence.iter().map(|place| [place.start, place.end]).collect::<Vec<_>>(),
    });
    match &sample.rule {
        Rule::Answer(answering) => {
            object["scorer"] = json!(answering.scorer);
            object["fields"] = json!(answering.fields);
            object["max_tokens"] = json!(answering.max_tokens);
            object["stop"] = json!(answering.stop);
        }
        Rule::Loss { from } => object["loss_from"] = json!(from),
    }
    if let Prompt::Tokens(tokens) = &sample.prompt {
        object["tokens"] = json!(tokens);
    }
    Ok(object)
}

fn show(terminal: &Terminal, task: &Task, sample: &Sample, codec: &dyn TextCodec) -> Result<(), Failure> {
    let entry = Entry::of(task, sample, Ok(codec))?;
    let text = match &sample.prompt {
        Prompt::Text { text, .. } => text.clone(),
        Prompt::Tokens(tokens) => codec.decode(tokens)?,
    };
    terminal.say(text)?;
    let (n_prompt, sha256) = (entry.n_prompt, sample.prompt.sha256());
    terminal.note(format_args!("sample {}: {n_prompt} tokens, SHA-256 {sha256}", sample.id))?;
    match &sample.rule {
        Rule::Answer(answering) => terminal.note(format_args!(
            "answers {}; up to {} tokens, scored by {}",
            serde_json::to_string(&sample.answers).unwrap_or_default(),
            answering.max_tokens,
            answering.scorer
        )),
        Rule::Loss { from } => terminal.note(format_args!("losses from token {from} on")),
    }
}
