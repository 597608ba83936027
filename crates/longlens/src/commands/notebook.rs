//! `longlens notebook`: runs, converts and checks notebooks.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use longlens_core::lens::Control;
use longlens_notebook::document::parameters::{self, Parameters, Remark};
use longlens_notebook::document::{DocumentError, Form, Kind, Merged, Notebook};
use longlens_notebook::interpreter::{CellError, Interpreter, Nobody, Progress};
use longlens_notebook::runner::{self, End, RunOptions, SharedWatch, Step, Watch};
use longlens_notebook::session::magics;

mod lock;
mod page;
mod results;

use self::lock::Lock;
use self::results::{Destination, Settled};
use super::language::{self, session};
use crate::args::language::{NotebookCommand, NotebookRunArgs, SessionArgs};
use crate::failure::Failure;
use crate::terminal::{self, Terminal};

/// Seconds that a cell may take: longer ones are as good as none.
const MOST_SECONDS: f64 = 1e9;

pub fn run(command: &NotebookCommand) -> Result<(), Failure> {
    match command {
        NotebookCommand::Run(args) => run_cells(args),
        NotebookCommand::Convert { input, output, named } => convert(input, named.as_deref().or(output.as_deref())),
        NotebookCommand::Check { files } => check(files),
    }
}

fn run_cells(args: &NotebookRunArgs) -> Result<(), Failure> {
    let mut notebook = Notebook::read(&args.input).map_err(refused)?;
    let mut session = session(&args.session, true, &Nobody::out())?;
    // before anything is written
    notebook.check_language(&session).map_err(|error| refused(error.in_file(&args.input)))?;
    let place = Destination::of(args, &mut notebook)?;
    page::check(args, &place)?;
    if Form::of(&args.input).map_err(refused)? == Form::Text {
        notebook.note_script(&args.input);
    }
    let out = place.out().to_owned();
    if let Some(folder) = out.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        crate::terminal::make_folder(folder)?;
    }
    let _held = Lock::acquire(&out)?;
    let timeout = args.timeout.map(seconds).transpose()?;
    let terminal = Rc::new(Terminal::new(false));
    let given = given(args)?;
    for remark in parameters::inject(&mut notebook, &given).map_err(refused)? {
        // who asks for a text gets one
        let is_asked = matches!(&remark, Remark::Text { name, .. } if is_raw(args, name));
        if !is_asked {
            terminal.note(format_args!("warning: {remark}"))?;
        }
    }
    if args.resume {
        note_changes(&terminal, &out, &notebook)?;
    }
    let watch = Rc::new(RefCell::new(Bar::new(terminal.clone())));
    language::check_model(&args.session)?;
    terminal.stops(&session.cancel());
    let options = RunOptions {
        out: Some(out.clone()),
        keep_going: args.keep_going,
        timeout,
        resume: args.resume,
        context: language::context(&args.session),
        timestamps: args.timestamps,
    };
    let shared: SharedWatch = watch.clone();
    let summary = runner::run(&mut session, &mut notebook, &options, &shared).map_err(refused)?;
    watch.borrow_mut().bar = None;
    let is_clean = summary.end == End::Finished && summary.failures.is_empty();
    let settled = place.settle(&notebook, is_clean).map_err(refused)?;
    page::write(args, &place, &notebook, &summary.ran)?;
    let replayed = if summary.n_replayed > 0 {
        format!(", {} run again for their variables", summary.n_replayed)
    } else {
        String::new()
    };
    terminal.note(format_args!(
        "{}: {} of {} cells run{replayed}, {}{}",
        settled.path().display(),
        summary.n_run(),
        summary.n_cells,
        magics::duration(summary.seconds),
        if summary.left_alone { "; the file is as it was" } else { "" }
    ))?;
    let input = args.input.display();
    match &settled {
        Settled::Done(_) => {}
        Settled::Beside { target, .. } => {
            let target = target.display();
            terminal.note(format_args!("{target} is as it was; `-o {target}` writes results into it even so"))?;
        }
        Settled::Changed { partial, target } => {
            let changed = format!(
                "{} was changed while its cells ran, so the results are in {}",
                target.display(),
                partial.display()
            );
            let parameters = same_parameters(&given);
            return Err(Failure::failed(
                changed,
                Some(format!(
                    "`longlens notebook run {input} --resume`{parameters} takes over those of cells that are the same"
                )),
            ));
        }
    }
    match (summary.end, summary.failures.len()) {
        (End::Finished, 0) => Ok(()),
        (End::Interrupted, n_failed) => Err(match (summary.n_run() + summary.n_replayed).saturating_sub(n_failed) {
            0 => Failure::failed("interrupted before a cell was finished", None),
            _ => Failure::failed(
                "interrupted; finished cells are kept",
                Some(format!("go on with --resume{}", same_parameters(&given))),
            ),
        }),
        (_, n) => {
            let cells = if n == 1 { "a cell failed".to_owned() } else { format!("{n} cells failed") };
            let first = summary.failures.first().map_or(0, |failure| failure.number);
            Err(Failure::failed(format!("{cells}; the first was cell {first}"), None))
        }
    }
}

/// What a run that goes on must be given again.
fn same_parameters(given: &Parameters) -> String {
    let names: Vec<_> = given.keys().map(|name| format!("`{name}`")).collect();
    match &names[..] {
        [] => String::new(),
        [name] => format!(" and the same parameter {name}"),
        names => format!(" and the same parameters {}", names.join(", ")),
    }
}

/// Whether `-r` asks for this parameter as text.
fn is_raw(args: &NotebookRunArgs, name: &str) -> bool {
    let pairs = args.parameters_raw.iter().filter_map(|pair| parameters::read_raw(pair).ok());
    pairs.into_iter().any(|(raw, _)| raw == name)
}

/// Says which parameters are others than those of the results to go on from.
fn note_changes(terminal: &Terminal, out: &Path, notebook: &Notebook) -> Result<(), Failure> {
    if !out.exists() {
        return Ok(());
    }
    let stored = Notebook::read(out).map_err(refused)?;
    let changes = parameters::changes(&stored, notebook);
    if changes.is_empty() {
        return Ok(());
    }
    terminal.note(format_args!(
        "note: {} holds results of other parameters ({}); cells run again from where these are set",
        out.display(),
        changes.join("; ")
    ))
}

/// Parameters of the files, with those of the flags laid over them in papermill's order.
fn given(args: &NotebookRunArgs) -> Result<Parameters, Failure> {
    let mut given = Parameters::new();
    for text in &args.parameters_base64 {
        given.extend(parameters::read_base64(text).map_err(refused)?);
    }
    for path in &args.parameters_file {
        given.extend(parameters::read_file(path).map_err(refused)?);
    }
    for text in &args.parameters_yaml {
        given.extend(parameters::read_yaml(text).map_err(refused)?);
    }
    let pairs = args.parameters.iter().map(|pair| parameters::read_pair(pair));
    for pair in pairs.chain(args.parameters_raw.iter().map(|pair| parameters::read_raw(pair))) {
        let (name, value) = pair.map_err(refused)?;
        given.insert(name, value);
    }
    Ok(given)
}

fn seconds(seconds: f64) -> Result<Duration, Failure> {
    let is_time = seconds > 0.0 && seconds <= MOST_SECONDS;
    is_time
        .then(|| Duration::from_secs_f64(seconds))
        .ok_or_else(|| Failure::usage(format!("--timeout {seconds} is no time"), "give seconds above 0".to_owned()))
}

fn convert(input: &Path, output: Option<&Path>) -> Result<(), Failure> {
    let mut notebook = Notebook::read(input).map_err(refused)?;
    let session = session(&SessionArgs::default(), false, &Nobody::out())?;
    notebook.check_language(&session).map_err(|error| refused(error.in_file(input)))?;
    let is_named = output.is_some();
    let output = match (output, Form::of(input).map_err(refused)?) {
        (Some(output), _) => output.to_owned(),
        (None, Form::Text) => input.with_extension("ipynb"),
        (None, Form::Ipynb) => {
            let script = input.with_extension("rhai");
            if script.exists() {
                return Err(Failure::usage(
                    format!("{} is there already, and may have been edited since", script.display()),
                    format!("name it to replace it: `-o {}`", script.display()),
                ));
            }
            script
        }
    };
    if output == input {
        return Err(Failure::usage("a notebook cannot be converted into itself", "give OUT another name".to_owned()));
    }
    // text has no results: those that the file has are still true of code that did not change
    let has_results = Form::of(&output).map_err(refused)? == Form::Ipynb;
    let kept = if Form::of(input).map_err(refused)? == Form::Text && has_results && output.exists() {
        if !is_named {
            let there = Notebook::read(&output).map_err(refused)?;
            there.check_made_from(input, &notebook).map_err(|error| refused(error.would_replace(&output)))?;
        }
        let Merged { n_kept, n_lost } = notebook.take_back(&Notebook::read(&output).map_err(refused)?);
        format!("; kept the results of {n_kept} cells, dropped those of {n_lost} that changed")
    } else {
        String::new()
    };
    if has_results {
        notebook.note_script(input);
    }
    let did = if output.exists() { "replaced" } else { "wrote" };
    notebook.write(&output).map_err(refused)?;
    Terminal::new(false).note(format_args!("{did} {}{kept}", output.display()))
}

fn check(files: &[PathBuf]) -> Result<(), Failure> {
    let terminal = Terminal::new(false);
    let session = session(&SessionArgs::default(), false, &Nobody::out())?;
    let mut n_wrong = 0;
    for path in files {
        let notebook = Notebook::read(path).map_err(refused)?;
        notebook.check_language(&session).map_err(|error| refused(error.in_file(path)))?;
        let mut n_cells = 0;
        for cell in notebook.cells.iter().filter(|cell| cell.kind == Kind::Code) {
            n_cells += 1;
            if let Err(error) = cell.code().and_then(|code| session.check(&code)) {
                n_wrong += 1;
                terminal.say(format_args!("{}, code cell {n_cells}", path.display()))?;
                terminal.say(error)?;
            }
        }
        terminal.note(format_args!("{}: {n_cells} cells of code", path.display()))?;
    }
    match n_wrong {
        0 => Ok(()),
        1 => Err(Failure::failed("a cell cannot be parsed", None)),
        n => Err(Failure::failed(format!("{n} cells cannot be parsed"), None)),
    }
}

fn refused(error: DocumentError) -> Failure {
    let help = error.help();
    Failure::failed(error, Some(help))
}

/// One line per cell on stderr, and on a terminal a bar for the step that it is at.
struct Bar {
    terminal: Rc<Terminal>,
    bar: Option<terminal::Progress>,
}

impl Bar {
    fn new(terminal: Rc<Terminal>) -> Self {
        Self { terminal, bar: None }
    }

    fn line(&self, text: &str) {
        // nothing is left to tell anyone when stderr is gone
        let _ = self.terminal.note(text);
    }
}

impl Watch for Bar {
    fn begins(&mut self, step: &Step) {
        self.bar.get_or_insert_with(|| self.terminal.progress("")).begin(&format!("cell {}", step.number));
    }

    fn progress(&mut self, progress: Option<&Progress>) {
        let (Some(progress), Some(bar)) = (progress, &mut self.bar) else { return };
        bar.doing(&progress.label);
        bar.progress(progress.done, progress.total.max(1));
    }

    fn ends(&mut self, step: &Step, error: Option<&CellError>, seconds: f64) {
        let what = match (error, step.replays) {
            (Some(_), _) => "error",
            (None, true) => "again",
            (None, false) => "done",
        };
        let line: String = step.line.chars().take(72).collect();
        self.line(&format!("{:>3}/{} {what:<6} {:>8}  {line}", step.number, step.of, magics::duration(seconds)));
        if let Some(error) = error {
            error.lines().iter().for_each(|line| self.line(&format!("      {line}")));
        }
    }
}
