//! `longlens passkey`: a grid of lengths and depths.

use std::collections::BTreeSet;
use std::path::Path;

use longlens_app::views::passkey::passkey as view;
use longlens_core::lens::{Lens, LensError, ModelInfo, Setup};
use longlens_eval::passkey::{self, Cell, Chat, Fixtures, Grid, PasskeyReport, Template};
use longlens_eval::setup::PromptSize;
use longlens_eval::stats::wilson95;
use longlens_eval::text::text_of;
use longlens_plot::color::Palette;
use serde_json::{Value, json};

use crate::args::PasskeyArgs;
use crate::config::{RunConfig, depths, doublings, lengths};
use crate::failure::Failure;
use crate::inputs::{read, shown};
use crate::journal::{self, Journal, hash};
use crate::prompt;
use crate::terminal::Terminal;

/// Depths when none are given.
const DEPTHS: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];
/// Files that are written into the folder of `--out`.
const OUTPUTS: [&str; 3] = ["passkey.json", "passkey.png", "passkey.svg"];
/// Prompts per cell when nobody says.
const TRIALS: usize = 4;

pub fn run(args: &PasskeyArgs) -> Result<(), Failure> {
    let config = RunConfig::new(&args.common)?;
    let terminal = Terminal::new(config.json);
    let mut grid = grid(args, &config)?;
    let outputs = OUTPUTS.map(|name| config.out.as_ref().map(|folder| folder.join(name)));
    crate::inputs::spare(&config, &outputs.into_iter().flatten().collect::<Vec<_>>(), &[args.prompts.as_deref()])?;
    super::folder(config.out.as_deref())?;
    let mut lens = super::open(&terminal, &config)?;
    let model = lens.model().clone();
    grid.lengths = match &args.lengths {
        Some(text) => lengths(text)?,
        None => config.file.passkey.lengths.clone().map_or_else(|| doublings(model.spec.trained_context), Ok)?,
    };
    let prompts = stored(args, lens.as_ref(), &grid)?;
    let longest = match &prompts {
        Some(prompts) => prompts.longest(),
        None => grid.lengths.iter().copied().max(),
    };
    let longest = longest.unwrap_or(1);
    // what is impossible is said before anything runs
    let first = config.setup(&model, longest)?;
    super::warn(&terminal, &config, &model, &first.plan, longest)?;

    let decides = journal::decides(&model, &first, &measured(&grid, prompts.as_ref()));
    let mut journal = Journal::open(&terminal, config.out.as_deref(), "passkey", &decides)?;
    let mut setup_for =
        |size: PromptSize| -> Result<Setup, LensError> { Ok(Setup { n_prompt: size.n_tokens, ..first.clone() }) };
    let mut progress = terminal.progress("passkey");
    let report = match &prompts {
        Some(prompts) => passkey::run_fixtures(lens.as_mut(), &mut setup_for, prompts, &mut progress, &mut journal)?,
        None => passkey::run(lens.as_mut(), &mut setup_for, &grid, &mut progress, &mut journal)?,
    };
    drop(progress);

    terminal.result(&report)?;
    say(&terminal, &report)?;
    if let Some(folder) = &config.out {
        write(&terminal, &report, &model, args.red_green, folder)?;
    }
    journal.end(&terminal, report.complete)?;
    if report.complete { Ok(()) } else { Err(Failure::interrupted()) }
}

/// What flags and config ask for; the lengths, which may depend on the model, are left out.
fn grid(args: &PasskeyArgs, config: &RunConfig) -> Result<Grid, Failure> {
    let file = &config.file.passkey;
    let template = match args.template.as_ref().or(file.template.as_ref()) {
        Some(name) => name.parse::<Template>()?,
        None => Template::Longlens,
    };
    let depths = match &args.depths {
        Some(text) => depths(text)?,
        None => file.depths.clone().unwrap_or_else(|| DEPTHS.to_vec()),
    };
    let (system, date) = (args.system.clone().or(file.system.clone()), args.date.clone().or(file.date.clone()));
    let chat = prompt::chat(args.chat || file.chat, system, date)?;
    let trials = args.trials.or(file.trials).unwrap_or(TRIALS);
    Ok(Grid { template, chat, lengths: Vec::new(), depths, trials, seed: config.settings.sampling.seed })
}

/// What decides the numbers beside model and setup.
fn measured(grid: &Grid, prompts: Option<&Fixtures>) -> Value {
    match prompts {
        Some(prompts) => json!({ "prompts": format!("{:016x}", hash(&format!("{prompts:?}"))) }),
        None => {
            json!({ "template": grid.template, "chat": grid.chat, "trials": grid.trials, "seed": grid.seed })
        }
    }
}

/// The prompts of `--prompts`, of the lengths of `--lengths` alone where these are given.
fn stored(args: &PasskeyArgs, lens: &dyn Lens, grid: &Grid) -> Result<Option<Fixtures>, Failure> {
    let Some(path) = &args.prompts else { return Ok(None) };
    let prompts = read_prompts(path, lens, grid.chat.clone())?;
    if args.lengths.is_some() { of_lengths(prompts, &grid.lengths).map(Some) } else { Ok(Some(prompts)) }
}

/// The stored prompts of a file, sorted into cells.
fn read_prompts(path: &Path, lens: &dyn Lens, chat: Option<Chat>) -> Result<Fixtures, Failure> {
    let prompts = passkey::fixtures(shown(path), &text_of(shown(path), read(path)?)?)?;
    Ok(Fixtures::new(lens.text()?, prompts, chat)?)
}

/// The prompts of these lengths, of which there must be one.
fn of_lengths(mut prompts: Fixtures, lengths: &[usize]) -> Result<Fixtures, Failure> {
    const NAMED: usize = 12;
    let all = prompts.lengths();
    prompts.retain_lengths(lengths);
    if prompts.longest().is_some() || all.is_empty() {
        return Ok(prompts);
    }
    let named: Vec<_> = all.iter().take(NAMED).map(usize::to_string).collect();
    let more = if all.len() > NAMED { format!(" and {} more", all.len() - NAMED) } else { String::new() };
    Err(Failure::usage(
        "no stored prompt has a length of --lengths",
        format!("leave --lengths out, or give some of the lengths that they have: {}{more}", named.join(",")),
    ))
}

/// Says what was found, cell by cell.
fn say(terminal: &Terminal, report: &PasskeyReport) -> Result<(), Failure> {
    if report.cells.is_empty() {
        return Ok(());
    }
    terminal.say(format_args!("{}, {}, {}", report.run.method, report.run.rope_text(), report.run.dtype))?;
    terminal.say(&report.protocol)?;
    terminal.say("length  depth  found        95% interval  tokens")?;
    report.cells.iter().try_for_each(|cell| terminal.say(line(cell)))?;
    totals(&report.cells).iter().try_for_each(|line| terminal.say(line))?;
    if let Some(cell) = report.cells.iter().find(|cell| cell.mean_prompt_tokens > 1.1 * cell.length as f64) {
        let (length, tokens) = (cell.length, cell.mean_prompt_tokens);
        terminal.note(format_args!(
            "note: this template is cut by characters, so prompts asked for at {length} tokens have {tokens:.0}"
        ))?;
    }
    Ok(())
}

/// Writes the report and its pictures into a folder.
fn write(
    terminal: &Terminal,
    report: &PasskeyReport,
    model: &ModelInfo,
    red_green: bool,
    folder: &Path,
) -> Result<(), Failure> {
    if !super::save_json(terminal, report, &folder.join("passkey.json"))? || report.cells.is_empty() {
        return Ok(());
    }
    let palette = if red_green { Palette::RedYellowGreen } else { Palette::default() };
    let view = view(std::slice::from_ref(report), &model.spec, palette);
    ["passkey.png", "passkey.svg"].iter().try_for_each(|name| super::save_view(terminal, &view, &folder.join(name)))
}

fn line(cell: &Cell) -> String {
    let (low, high) = cell.wilson95;
    let found = format!("{}/{} ({:.0}%)", cell.hits_tokens, cell.n_trials, 100.0 * cell.accuracy());
    format!(
        "{:>6}  {:>5.2}  {found:<11}  {:>3.0}% to {:>3.0}%  {:.0}",
        cell.length,
        cell.depth,
        100.0 * low,
        100.0 * high,
        cell.mean_prompt_tokens,
    )
}

/// One line per length, over all depths.
fn totals(cells: &[Cell]) -> Vec<String> {
    let of_length = |length: usize| {
        let cells = cells.iter().filter(|cell| cell.length == length);
        let (hits, n) = cells.fold((0, 0), |(hits, n), cell| (hits + cell.hits_tokens, n + cell.n_trials));
        let (low, high) = wilson95(hits, n);
        let share = 100.0 * hits as f64 / n.max(1) as f64;
        let found = format!("{hits}/{n} ({share:.0}%)");
        format!("{length:>6}    all  {found:<11}  {:>3.0}% to {:>3.0}%", 100.0 * low, 100.0 * high)
    };
    let lengths: BTreeSet<usize> = cells.iter().map(|cell| cell.length).collect();
    lengths.into_iter().map(of_length).collect()
}
