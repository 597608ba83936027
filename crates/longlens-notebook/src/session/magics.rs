//! Lines for the session itself: `%time …`, `%who`, `?name`. They work at the prompt, in notebooks and in Jupyter alike.

use std::time::Instant;

use longlens_plot::Ground;

use super::complete::{files, fitting, names};
use crate::docs::Doc;
use crate::functions::by_topic;
use crate::interpreter::{Candidate, CellError, Completions, Interpreter, Out};
use crate::lexer::magic::{MAGICS, Magic};
use crate::memory::{read_size, size};
use crate::session::{Limits, Session, close};
use crate::shown::{Form, Shown};
use crate::types::plain_type;
use crate::values;

pub fn run(session: &mut Session, magic: &Magic, out: &Out) -> Result<Option<Shown>, CellError> {
    let is_known = magic.sign.starts_with('?') || MAGICS.iter().any(|(name, ..)| *name == magic.name);
    if !is_known {
        return Err(no_magic(magic));
    }
    if !matches!(magic.name, "time" | "timeit") && !magic.below.trim().is_empty() {
        return Err(CellError::new(
            "SyntaxError",
            format!("{}{} takes one line", magic.sign, magic.name.trim_start_matches('?')),
            Some("put the other lines into a cell of their own".into()),
        ));
    }
    match magic.name {
        "?" | "??" => match describe(session, magic.rest, magic.name == "??") {
            Some(text) => Ok(Some(Shown::text(text))),
            None => Err(unknown(session, magic.rest)),
        },
        "time" => time(session, &magic.code(), out),
        "timeit" => time_often(session, &magic.code()),
        "who" => Ok(Some(Shown::text(who(session)))),
        "functions" => Ok(Some(Shown::text(functions(session, magic.rest)))),
        "history" => history(session, magic.rest).map(|text| Some(Shown::text(text))),
        "run" => super::script::run(session, magic.rest, out),
        "save" => super::script::save(session, magic.rest).map(|text| Some(Shown::text(text))),
        "load" => super::script::load(session, magic.rest).map(|text| Some(Shown::text(text))),
        "config" => config(session, magic.rest).map(|text| Some(Shown::text(text))),
        "theme" => theme(session, magic.rest).map(|text| Some(Shown::text(text))),
        "reset" => {
            session.reset();
            Ok(None)
        }
        "magics" => Ok(Some(Shown::text(all()))),
        _ => Err(no_magic(magic)),
    }
}

/// There is no such line, or cell: other kernels have some that run other languages.
fn no_magic(magic: &Magic) -> CellError {
    let Magic { sign, name, .. } = magic;
    let message = format!("there is no {sign}{name}; cells run Rhai");
    let near = close(name, MAGICS.iter().map(|(name, ..)| *name)).map(|name| format!("did you mean `%{name}`?"));
    CellError::new("NameError", message, Some(near.unwrap_or_else(|| "%magics lists what there is".into())))
}

fn unknown(session: &Session, name: &str) -> CellError {
    if name.is_empty() {
        return CellError::new(
            "SyntaxError",
            "there is no name to explain",
            Some("write ?needle, or %functions for a list".into()),
        );
    }
    let near = close(name, session.docs().names());
    let help = near.map_or("%functions lists what there is".into(), |near| format!("did you mean `{near}`?"));
    CellError::new("NameError", format!("nothing is known of `{name}`"), Some(help))
}

/// What is known of a name: a variable's value, a function's forms; `more` adds examples.
pub fn describe(session: &Session, name: &str, more: bool) -> Option<String> {
    if let Some(value) = session.variable(name) {
        let text = values::text(&value.flatten_clone());
        return Some(format!("{name}: {}\n{text}", plain_type(value.flatten_clone().type_name())));
    }
    if let Some((_, params)) = session.functions().into_iter().find(|(known, _)| known == name) {
        return Some(format!("{name}({})\nwritten in this session", params.join(", ")));
    }
    let bare = name.trim_start_matches('%');
    let magic = MAGICS
        .iter()
        .find(|(known, ..)| *known == bare)
        .map(|(name, what, does)| format!("%{name} {what}\n    {does}"));
    if name != bare {
        return magic;
    }
    let told = session.docs().describe(name, more);
    let parts: Vec<_> = told.into_iter().chain(magic).collect();
    (!parts.is_empty()).then(|| parts.join("\n\n"))
}

/// Says on which ground pictures are shown, or changes it.
fn theme(session: &mut Session, rest: &str) -> Result<String, CellError> {
    if !rest.is_empty() {
        let names = Ground::ALL.map(Ground::name);
        let ground = Ground::parse(rest).ok_or_else(|| {
            let near = longlens_core::nearest::nearest(rest, names);
            let help =
                near.map_or(format!("there are: {}", names.join(", ")), |name| format!("did you mean `{name}`?"));
            CellError::new("NameError", format!("there is no theme `{rest}`"), Some(help))
        })?;
        session.set_ground(ground);
    }
    Ok(format!(
        "pictures are shown on a {} ground; files that `save` writes have a light one",
        session.host().ground().name()
    ))
}

fn time(session: &mut Session, code: &str, out: &Out) -> Result<Option<Shown>, CellError> {
    something(code, "time")?;
    let started = Instant::now();
    let value = session.evaluate(code)?;
    let seconds = started.elapsed().as_secs_f64();
    out.borrow_mut().print(&format!("{}\n", duration(seconds)));
    Ok(session.finish(code, &value))
}

fn something(code: &str, magic: &str) -> Result<(), CellError> {
    if code.is_empty() {
        let help = format!("write %{magic} run(\"Once upon a time\", full())");
        return Err(CellError::new("SyntaxError", "there is no code to run", Some(help)));
    }
    Ok(())
}

/// Runs code for about this long, and at least so often.
const TIMED_SECONDS: f64 = 2.0;
const TIMED_LEAST: usize = 3;
const TIMED_MOST: usize = 10_000;

fn time_often(session: &mut Session, code: &str) -> Result<Option<Shown>, CellError> {
    something(code, "timeit")?;
    let (began, mut seconds) = (Instant::now(), Vec::new());
    while seconds.len() < TIMED_LEAST || (began.elapsed().as_secs_f64() < TIMED_SECONDS && seconds.len() < TIMED_MOST) {
        let started = Instant::now();
        let _ = session.evaluate(code)?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let (fastest, median) = (duration(seconds[0]), duration(seconds[seconds.len() / 2]));
    Ok(Some(Shown::text(format!("{} runs: fastest {fastest}, median {median}", seconds.len()))))
}

/// `1.20 s`, `3.4 ms`, `5.6 µs`.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 1e-3 => format!("{:.1} ms", s * 1e3),
        s => format!("{:.1} µs", s * 1e6),
    }
}

fn who(session: &Session) -> String {
    let lines: Vec<_> = session
        .variables()
        .into_iter()
        .map(|(name, value)| {
            let value = value.flatten();
            let text = values::text(&value);
            let first = text.lines().next().unwrap_or_default();
            let short: String = first.chars().take(60).collect();
            let more = if short.len() < text.len() { " …" } else { "" };
            format!("{name:<16} {:<10} {short}{more}", plain_type(value.type_name()))
        })
        .chain(
            session
                .functions()
                .into_iter()
                .map(|(name, params)| format!("{name:<16} {:<10} ({})", "function", params.join(", "))),
        )
        .collect();
    if lines.is_empty() { "no variables yet".into() } else { lines.join("\n") }
}

/// Functions by topic, in the order of the topics; those alone that `word` stands in, in name, help or topic.
fn functions(session: &Session, word: &str) -> String {
    let word = word.to_lowercase();
    let fits = |doc: &&Doc| {
        word.is_empty() || [&doc.name, &doc.text, doc.topic].iter().any(|text| text.to_lowercase().contains(&word))
    };
    let line = |doc: &Doc| {
        let first = doc.text.split(['.', ':']).next().unwrap_or_default().replace('\n', " ");
        format!("  {:<16} {first}", doc.name)
    };
    let mut told = Vec::new();
    for (topic, _) in by_topic() {
        let mut last = "";
        let of_topic =
            session.docs().own().filter(|doc| !doc.is_property && doc.topic == topic && !doc.text.is_empty());
        let named = of_topic.filter(|doc| doc.name.starts_with(char::is_alphabetic)).filter(fits);
        let lines: Vec<_> = named.filter(|doc| std::mem::replace(&mut last, &doc.name) != doc.name).map(line).collect();
        if !lines.is_empty() {
            told.push(format!("{topic}\n{}", lines.join("\n")));
        }
    }
    if told.is_empty() { format!("nothing about `{word}`") } else { told.join("\n\n") }
}

fn history(session: &Session, rest: &str) -> Result<String, CellError> {
    let all = session.history();
    let n = match rest {
        "" => all.len(),
        n => n.parse().map_err(|_| CellError::new("TypeError", format!("`{n}` is not a number of cells"), None))?,
    };
    let shown = all.iter().skip(all.len().saturating_sub(n));
    Ok(shown
        .map(|(number, cell)| format!("{number:>4}  {}", cell.replace('\n', "\n      ")))
        .collect::<Vec<_>>()
        .join("\n"))
}

/// What `%config` sets.
const CONFIGURED: [&str; 3] = ["operations", "memory", "figures"];

fn config(session: &mut Session, rest: &str) -> Result<String, CellError> {
    let mut words = rest.split_whitespace();
    if let Some(name) = words.next() {
        let word = words.collect::<Vec<_>>().join(" ");
        match name {
            "operations" | "memory" => lower(session, name, &word)?,
            "figures" => session.host().set_form(form(&word)?),
            other => {
                let near =
                    longlens_core::nearest::nearest(other, CONFIGURED).map(|near| format!("did you mean `{near}`?"));
                let help = near.unwrap_or_else(|| format!("there are: {}", CONFIGURED.join(", ")));
                return Err(CellError::new(
                    "NameError",
                    format!("there is nothing called `{other}` to set"),
                    Some(help),
                ));
            }
        }
    }
    let (limits, host) = (session.limits(), session.host());
    let files = host.files();
    let place = if files.is_anywhere() { "anywhere".into() } else { files.root().display().to_string() };
    Ok(format!(
        "operations {} (steps of one cell)\nmemory {} (of all values; {} are held)\nfigures {} ({})\nfiles {place}",
        limits.operations,
        size(limits.memory),
        size(host.gauge().held()),
        host.form().name(),
        Form::ALL.map(Form::name).join(", "),
    ))
}

/// What pictures are to be drawn as.
fn form(word: &str) -> Result<Form, CellError> {
    let known = Form::ALL.map(Form::name).join(", ");
    let wrong = || {
        CellError::new(
            "TypeError",
            format!("`figures` needs one of: {known}"),
            Some("write %config figures svg".into()),
        )
    };
    Form::named(word).ok_or_else(wrong)
}

/// Sets a limit, which cells can only lower.
fn lower(session: &mut Session, name: &str, word: &str) -> Result<(), CellError> {
    let limits = session.limits();
    let (value, what, example) = match name {
        "operations" => {
            let value = word.replace('_', "").parse().ok().filter(|value| *value > 0);
            (value, "a whole number of at least 1", "1000000")
        }
        _ => (read_size(word), "a size", "512m"),
    };
    let Some(value) = value else {
        let help = format!("write %config {name} {example}");
        return Err(CellError::new("TypeError", format!("`{name}` needs {what}"), Some(help)));
    };
    let wanted = match name {
        "operations" => Limits { operations: value, ..limits },
        _ => Limits { memory: value, ..limits },
    };
    if let Some(most) = session.most().filter(|most| wanted.operations > most.operations || wanted.memory > most.memory)
    {
        let (flag, most) = match name {
            "operations" => ("--max-operations", most.operations.to_string()),
            _ => ("--memory-limit", size(most.memory)),
        };
        return Err(CellError::new(
            "SandboxError",
            format!("`{name}` is {most} here, and cells can only lower it"),
            Some(format!("start with {flag} to raise it")),
        ));
    }
    session.lower(wanted);
    Ok(())
}

fn all() -> String {
    let lines = MAGICS.iter().map(|(name, what, does)| format!("%{:<22} {does}", format!("{name} {what}")));
    let help = ["?NAME                   what is known of a name", "??NAME                  the same with examples"];
    lines.chain(help.map(str::to_owned)).collect::<Vec<_>>().join("\n")
}

/// What may stand in a magic line that starts at byte `start`.
pub fn complete(session: &Session, before: &str, start: usize) -> Completions {
    let line = &before[start..];
    let word_start = line.rfind(|c: char| c.is_whitespace() || c == '?').map_or(start, |at| start + at + 1);
    let word = &before[word_start..];
    if word_start == start {
        let name = |(name, what, does): &(&str, &str, &str)| {
            let text = format!("%{name}{}", if what.is_empty() { "" } else { " " });
            Candidate { text, kind: "magic", help: (*does).into() }
        };
        let candidates = fitting(MAGICS.iter().map(name).collect(), word);
        return Completions { replaces: start..before.len(), candidates };
    }
    if line.starts_with("%run") || line.starts_with("%save") || line.starts_with("%load") {
        return files(session, before, word);
    }
    Completions { replaces: word_start..before.len(), candidates: fitting(names(session), word) }
}
