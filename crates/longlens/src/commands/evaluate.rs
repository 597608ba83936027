//! `longlens evaluate` and `longlens sweep`: tasks under methods on models, every sample kept as soon as it is finished.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use longlens_app::Problem;
use longlens_app::bytes;
use longlens_app::distinct::distinct;
use longlens_app::pace;
use longlens_app::results::{Results, claim_folder, is_of};
use longlens_app::settings::params::param;
use longlens_app::sweep::{Axes, Done, Job, Shard, Unit, forecast, run as run_sweep};
use longlens_core::brief;
use longlens_core::methods::Method;
use longlens_eval::evaluate::{Options, Record, Row, Summary, TooLong, means, summarize};
use longlens_eval::tasks::Disk;
use serde_json::json;

use self::watch::Watching;
use crate::args::{EvaluateArgs, RunningArgs, SweepArgs, SweepCommand, TooLongArg};
use crate::config::{RunConfig, lengths};
use crate::failure::Failure;
use crate::terminal::Terminal;

mod slurm;
pub(super) mod table;
mod watch;

/// What a command runs, and where results go.
struct Asked<'a> {
    units: Vec<Unit>,
    out: Option<&'a Path>,
    running: &'a RunningArgs,
}

pub fn run(args: &EvaluateArgs) -> Result<(), Failure> {
    let config = RunConfig::new(&args.common)?;
    let terminal = Terminal::new(config.json);
    let mut tasks = args.tasks.clone();
    if let Some(path) = &args.tasks_file {
        let text = longlens_eval::text::read_text(path)?;
        for (at, line) in text.lines().enumerate() {
            let task = line.split('#').next().unwrap_or_default().trim();
            if !task.is_empty() {
                longlens_app::sweep::tasks(task).map_err(|problem| {
                    Failure::usage(format!("{}, line {}: {}", path.display(), at + 1, problem.message), problem.help)
                })?;
                tasks.push(task.to_owned());
            }
        }
    }
    if tasks.is_empty() {
        return Err(Failure::usage(
            "there is no task to evaluate",
            "name some, as `longlens evaluate passkey`; `longlens tasks` lists them".to_owned(),
        ));
    }
    let axes = axes(args, &config, tasks)?;
    let units = axes.units()?;
    tell_idle(&terminal, &axes.idle(&units))?;
    let asked = Asked { units, out: config.out.as_deref(), running: &args.running };
    carry_out(&terminal, &asked)
}

/// The flags of a command as axes.
fn axes(args: &EvaluateArgs, config: &RunConfig, tasks: Vec<String>) -> Result<Axes, Failure> {
    let mut axes = Axes::default();
    let mut fix = |name: &str, value: String| axes.fixed.push((name.to_owned(), value));
    fix("model", config.model.clone());
    fix("device", config.device.name().to_owned());
    fix("weights", config.weights.name().to_owned());
    if let Some(adapter) = &config.adapter {
        fix("adapter", adapter.clone());
    }
    fix("kv_offload", config.kv_offload.to_string());
    if let Some(trained_context) = config.trained_context {
        fix("trained_context", trained_context.to_string());
    }
    fix("prefill_chunk", config.settings.prefill_chunk.to_string());
    fix("layer_windows", config.settings.get(param("layer_windows")).to_string());
    let of_tasks =
        [("mode", &args.mode), ("template", &args.template), ("haystack", &args.haystack), ("limit", &args.limit)];
    for (name, value) in of_tasks {
        if let Some(value) = value {
            fix(name, value.clone());
        }
    }
    if let Some(samples) = args.samples {
        fix("samples", samples.to_string());
    }
    if let Some(seed) = &args.common.seed {
        fix("seed", seed.to_string());
    }
    if let Some(too_long) = args.too_long {
        fix("too_long", if too_long == TooLongArg::Cut { "cut" } else { "skip" }.to_owned());
    }
    fix("attention", args.attention.to_string());
    axes.grid.push(("task".to_owned(), tasks));
    if let Some(text) = &args.lengths {
        axes.grid.push(("length".to_owned(), lengths(text)?.iter().map(ToString::to_string).collect()));
    }
    let methods = match &args.methods {
        Some(text) => Method::list(text)?.iter().map(ToString::to_string).collect(),
        None => vec![config.settings.method.to_string()],
    };
    axes.grid.push(("method".to_owned(), methods));
    let ropes: Vec<String> = match (&args.ropes, &config.settings.rope) {
        (Some(text), _) => text.split(';').map(|rope| rope.trim().to_owned()).collect(),
        (None, Some(rope)) => vec![rope.to_string()],
        (None, None) => Vec::new(),
    };
    if !ropes.is_empty() {
        axes.grid.push(("rope".to_owned(), ropes));
    }
    Ok(axes)
}

pub fn sweep(args: &SweepArgs) -> Result<(), Failure> {
    if let Some(SweepCommand::Submit(args)) = &args.command {
        let terminal = Terminal::new(args.json);
        let sweep = Sweep::read(&args.file, &args.set, args.out.as_deref())?;
        belongs(&sweep, args.dry_run)?;
        let submission = slurm::Submission { name: &sweep.name, file: &args.file, out: &sweep.out, set: &args.set };
        return slurm::submit(&terminal, args, &submission);
    }
    let terminal = Terminal::new(args.json);
    let file = args.file.as_deref().expect("a file is required where no command stands");
    let sweep = Sweep::read(file, &args.set, args.out.as_deref())?;
    belongs(&sweep, args.running.dry_run)?;
    tell_idle(&terminal, &sweep.idle)?;
    carry_out(&terminal, &Asked { units: sweep.units, out: Some(&sweep.out), running: &args.running })
}

/// Refuses a folder of another sweep, and makes it this one's where something is to be run.
fn belongs(sweep: &Sweep, is_dry: bool) -> Result<(), Failure> {
    if is_dry {
        is_of(&sweep.out, &sweep.name)?;
    } else {
        claim_folder(&sweep.out, &sweep.name)?;
    }
    Ok(())
}

/// Says which settings change nothing.
fn tell_idle(terminal: &Terminal, names: &[String]) -> Result<(), Failure> {
    names.iter().try_for_each(|name| terminal.note(format_args!("`{name}` changes nothing: no run has it")))
}

/// What a sweep's file asks for.
struct Sweep {
    name: String,
    units: Vec<Unit>,
    /// Names of settings that change none of them.
    idle: Vec<String>,
    out: PathBuf,
}

impl Sweep {
    /// Reads a file and lays the axes of `set` over it; `out` is where results go in place of where the file says.
    fn read(file: &Path, set: &[String], out: Option<&Path>) -> Result<Self, Failure> {
        let text = longlens_eval::text::read_text(file)?;
        let table: toml::Table = toml::from_str(&text).map_err(|error| {
            let failure = Failure::usage(format!("{}: {}", file.display(), error.message()), None);
            match error.span() {
                Some(span) => failure.at(file, &text, span),
                None => failure,
            }
        })?;
        let in_file =
            |problem: Problem| Failure::usage(format!("{}: {}", file.display(), problem.message), problem.help);
        let mut axes = Axes::of(&table).map_err(in_file)?;
        set.iter().try_for_each(|set| axes.set(set))?;
        let units = axes.units().map_err(in_file)?;
        let idle = axes.idle(&units);
        let named = |key: &str| table.get(key).and_then(toml::Value::as_str).map(str::to_owned);
        let stem = file.file_stem().map_or_else(|| "sweep".to_owned(), |stem| stem.to_string_lossy().into_owned());
        let beside = file.parent().unwrap_or(Path::new(""));
        let name = named("name").unwrap_or_else(|| stem.clone());
        let out = out.map_or_else(|| beside.join(named("out").unwrap_or(stem)), Path::to_owned);
        Ok(Self { name, units, idle, out })
    }
}

/// Runs the units, or says what they would take.
fn carry_out(terminal: &Terminal, asked: &Asked<'_>) -> Result<(), Failure> {
    let shard: Option<Shard> = asked.running.shard.as_deref().map(str::parse).transpose()?;
    let job = Job { units: &asked.units, files: Rc::new(Disk), shard };
    let mut results = match asked.out {
        Some(folder) if asked.running.dry_run => Results::read(folder).map_err(Failure::met)?,
        Some(folder) => Results::write(folder).map_err(Failure::met)?,
        None => Results::in_memory(),
    };
    let mut watching = Watching::new(terminal, &asked.units);
    if asked.running.dry_run {
        let forecast = forecast(&job, &mut results, &mut watching).map_err(Failure::met)?;
        drop(watching);
        return tell_forecast(terminal, asked, &forecast);
    }
    let n_before = results.len();
    let done = run_sweep(&job, &mut results, &mut watching);
    drop(watching);
    let done = done.map_err(Failure::met)?;
    match (&done.impossible[..], &done.left_out[..]) {
        ([(_, problem)], _) | ([], [(_, problem), ..]) if done.tallies.is_empty() => {
            return Err(Failure::met(problem.clone()));
        }
        _ => (),
    }
    let records = results.records().map_err(Failure::met)?;
    let summary = summary(asked, &done, &records);
    terminal.result(&json!({ "rows": summary.rows, "means": means(&summary.rows), "done": tallies(&done) }))?;
    tell(terminal, &summary)?;
    results.synced().map_err(Failure::met)?;
    tell_done(terminal, asked, &done, n_before)?;
    if done.is_cancelled {
        return Err(Failure::interrupted());
    }
    match done.impossible.first() {
        Some(_) => Err(Failure::silent(1)),
        None => Ok(()),
    }
}

fn tallies(done: &Done) -> serde_json::Value {
    let tallies = done.tallies.iter().map(|(at, tally)| json!({ "unit": at, "tally": tally }));
    let impossible = done.impossible.iter().map(|(at, problem)| json!({ "unit": at, "problem": problem }));
    json!({ "units": tallies.collect::<Vec<_>>(), "impossible": impossible.collect::<Vec<_>>() })
}

fn tell(terminal: &Terminal, summary: &Summary) -> Result<(), Failure> {
    for block in table::blocks(summary) {
        terminal.say(block)?;
    }
    Ok(())
}

/// The scores of what was asked for. Runs that differ in their limits stand side by side.
fn summary(asked: &Asked<'_>, done: &Done, records: &[Record]) -> Summary {
    let limit_of = |at: usize| {
        let Options { limit, too_long, .. } = asked.units[at].options;
        limit.map(|limit| format!("{limit}, {}", if too_long == TooLong::Cut { "cut" } else { "skip" }))
    };
    let limits = distinct(done.keys.iter().map(|(at, _)| limit_of(*at)));
    let rows = limits.iter().flat_map(|limit| {
        let own = done.keys.iter().filter(|(at, _)| limit_of(*at) == *limit);
        let keys: HashSet<&String> = own.flat_map(|(_, keys)| keys).collect();
        let of = summarize(records.iter().filter(|record| keys.contains(&record.key))).rows;
        let told = limit.clone().filter(|_| limits.len() > 1);
        of.into_iter().map(move |row| Row { limit: told.clone(), ..row })
    });
    Summary { rows: rows.collect() }
}

/// What was run, what was there before, what was shared, and what could not be run.
fn tell_done(terminal: &Terminal, asked: &Asked<'_>, done: &Done, n_kept: usize) -> Result<(), Failure> {
    let sum = |of: fn(&longlens_eval::evaluate::Tally) -> usize| {
        done.tallies.iter().map(|(_, tally)| of(tally)).sum::<usize>()
    };
    let (n_run, n_before, n_elsewhere) =
        (sum(|tally| tally.n_run), sum(|tally| tally.n_before), sum(|tally| tally.n_elsewhere));
    let mut parts = vec![format!("{n_run} samples run")];
    if n_before > 0 {
        parts.push(format!("{n_before} finished before"));
    }
    if n_elsewhere > 0 {
        parts.push(format!("{n_elsewhere} left to other processes"));
    }
    let (n_tokens, n_shared) = (sum(|tally| tally.n_tokens), sum(|tally| tally.n_shared));
    if n_shared > 0 {
        let factor = n_tokens as f64 / (n_tokens - n_shared).max(1) as f64;
        parts.push(format!("prompts of {n_tokens} tokens, {n_shared} of them shared (x{factor:.2})"));
    }
    terminal.note(parts.join(", "))?;
    match asked.out {
        Some(folder) => {
            let n_more = if n_kept > n_before { " with results of other runs" } else { "" };
            terminal
                .note(format_args!("every sample is kept in {}{n_more}: the same command goes on", folder.display()))?;
        }
        None if n_run > 0 => {
            terminal.note("nothing was kept: --out DIR keeps every sample, and goes on where a run was cut short")?;
        }
        None => (),
    }
    let left_out = distinct(done.left_out.iter().map(|(at, _)| asked.units[*at].task.info().name));
    if !left_out.is_empty() {
        terminal.note(without_files(&left_out))?;
    }
    // what is wrong with a task is wrong under every method, and what is wrong with a folder for every task
    let mut told: Vec<(String, Vec<String>, usize)> = Vec::new();
    for (at, problem) in &done.impossible {
        let (task, problem) = (asked.units[*at].task.to_string(), problem.to_string());
        match told.iter_mut().find(|(what, ..)| *what == problem) {
            Some((_, tasks, n)) => {
                *n += 1;
                if !tasks.contains(&task) {
                    tasks.push(task);
                }
            }
            None => told.push((problem, vec![task], 1)),
        }
    }
    for (problem, tasks, n) in told {
        let more = if tasks.len() > 1 { format!(" and {} more", tasks.len() - 1) } else { String::new() };
        let times = if n == 1 { String::new() } else { format!(", {n} runs") };
        terminal.note(format_args!("not run: {}{more}{times}: {problem}", tasks[0]))?;
    }
    Ok(())
}

/// Tasks of a family that are passed over.
fn without_files(names: &[&str]) -> String {
    format!("left out, as no file is named for them, or it is not there: {}", names.join(", "))
}

/// The scaling that a unit asks for; nothing where it is the model's own.
fn rope(unit: &Unit) -> Option<String> {
    unit.settings.rope.as_ref().map(ToString::to_string)
}

/// What a unit changes beside the method, to stand behind its name.
fn conditions(unit: &Unit) -> String {
    let trained = unit.settings.trained_context.map(|n_tokens| format!("trained on {n_tokens}"));
    let rope = rope(unit).map(|rope| format!("rope {rope}"));
    let given: Vec<_> = [rope, trained].into_iter().flatten().collect();
    if given.is_empty() { String::new() } else { format!(" ({})", given.join(", ")) }
}

fn tell_forecast(
    terminal: &Terminal,
    asked: &Asked<'_>,
    forecast: &longlens_app::sweep::Forecast,
) -> Result<(), Failure> {
    let units = asked.units.iter().zip(&forecast.units).map(|(unit, forecast)| match forecast {
        Ok(forecast) => json!({
            "model": unit.opening.model, "method": unit.settings.method.to_string(), "rope": rope(unit),
            "trained_context": unit.settings.trained_context, "task": unit.task.to_string(), "samples": forecast.n_samples, "finished": forecast.n_before, "prompt_tokens": forecast.n_tokens,
            "seconds": forecast.seconds, "bytes": forecast.bytes,
        }),
        Err(problem) => json!({
            "model": unit.opening.model, "method": unit.settings.method.to_string(), "rope": rope(unit),
            "trained_context": unit.settings.trained_context, "task": unit.task.to_string(), "problem": problem,
        }),
    });
    terminal.result(&units.collect::<Vec<_>>())?;
    let methods: Vec<_> = asked.units.iter().map(|unit| unit.settings.method.to_string()).collect();
    let (mut n_samples, mut n_before, mut seconds, mut n_tokens, mut bytes_most) = (0, 0, 0.0, 0, 0);
    let mut left_out = Vec::new();
    for ((unit, method), forecast) in asked.units.iter().zip(&methods).zip(&forecast.units) {
        let method = format!("{}{}", brief::name(method, usize::MAX), conditions(unit));
        match forecast {
            Ok(of) => {
                n_samples += of.n_samples;
                n_before += of.n_before;
                n_tokens += of.n_tokens;
                seconds += of.seconds;
                bytes_most = bytes_most.max(of.bytes);
                let left = of.n_samples - of.n_before;
                let time =
                    if left == 0 { "nothing left".to_owned() } else { format!("about {}", pace::text(of.seconds)) };
                terminal.say(format_args!(
                    "{}  {method}  {}: {left} of {} samples, {} prompt tokens, {time}, {}",
                    unit.opening.model,
                    unit.task,
                    of.n_samples,
                    of.n_tokens,
                    bytes::text(of.bytes)
                ))?;
            }
            // as it is under every method
            Err(problem) if unit.of_family => {
                let line = format!("left out: {}: {}", unit.task.info().name, problem.message);
                if !left_out.contains(&line) {
                    terminal.say(&line)?;
                    left_out.push(line);
                }
            }
            Err(problem) => {
                terminal.say(format_args!("{}  {method}  {}: impossible: {problem}", unit.opening.model, unit.task))?;
            }
        }
    }
    let left = n_samples - n_before;
    let time = if left == 0 {
        "nothing left to do".to_owned()
    } else {
        format!(
            "about {} at {} if nothing is shared",
            pace::text(seconds),
            if forecast.is_measured { "the pace of finished samples" } else { "a guessed pace" }
        )
    };
    terminal.say(format_args!(
        "{} runs, {n_samples} samples, {n_before} finished: {n_tokens} prompt tokens, {time}, {} at most",
        asked.units.len(),
        bytes::text(bytes_most)
    ))
}
