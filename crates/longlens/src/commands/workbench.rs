//! `longlens` on a terminal: the workbench.

use std::io::IsTerminal;
use std::path::PathBuf;

use longlens_app::Problem;
use longlens_app::kept::{KeptLens, Manner};
use longlens_app::prompt::PromptSource;
use longlens_app::session::{SavedSession, Store};
use longlens_app::settings::Settings;
use longlens_app::steps::Start;
use longlens_core::lens::{Lens, ModelInfo};
use longlens_tui::app::Options;
use longlens_tui::terminal::{self, Ended};

use crate::args::{Device, PromptArgs, WorkbenchArgs};
use crate::backend;
use crate::config::RunConfig;
use crate::failure::Failure;
use crate::kept;
use crate::prompt;
use crate::terminal::check_writable;
use crate::tty::is_dumb;

pub fn run(args: &WorkbenchArgs) -> Result<(), Failure> {
    check_terminal()?;
    if let Some(path) = &args.session {
        check_writable(path)?;
        let resume = if path.exists() { Some(SavedSession::read(path)?) } else { None };
        return open(args, resume, Some(Store::of_file(path.clone())), Vec::new(), false);
    }
    let store = Store::of_user();
    if store.is_none() && args.resume {
        return Err(Failure::failed(
            "sessions are not kept here",
            Some("set HOME or XDG_STATE_HOME to a folder".to_owned()),
        ));
    }
    let found = store.as_ref().map(Store::found).unwrap_or_default();
    let mut notes: Vec<String> = found.unreadable().into_iter().collect();
    let resume = args.resume.then(|| found.newest().ok_or_else(|| nothing_to_resume(&notes))).transpose()?;
    let resume = resume.map(|restored| {
        notes.extend(restored.damage);
        restored.session
    });
    let hint = resume.is_none() && found.crashed();
    open(args, resume, store, notes, hint)
}

/// Opens the workbench, and keeps its session in `store`. `hint` says whether another one can be brought back.
fn open(
    args: &WorkbenchArgs,
    resume: Option<SavedSession>,
    store: Option<Store>,
    notes: Vec<String>,
    hint: bool,
) -> Result<(), Failure> {
    let Beginning { model, options, open } = begin(args, resume, &[])?;
    // the workbench lays a panic hook of its own over this one
    backend::prepare();
    let Ended { signal, unkept } =
        terminal::run(model, Options { hint, notes, ..options }, args.images.into(), store, open)
            .map_err(|error| Failure::failed(format!("the terminal failed: {error}"), None))?;
    if let Some(problem) = unkept {
        Failure::failed(problem.message, problem.help).show();
    }
    // as shells count a program that a signal ended
    signal.map_or(Ok(()), |signal| Err(Failure::silent(128 + signal as u8)))
}

/// Refuses what the workbench cannot be drawn on.
fn check_terminal() -> Result<(), Failure> {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Failure::usage(
            "the workbench needs a terminal",
            "run a command instead, such as `longlens demo` or `longlens chunks` (see `longlens --help`)".to_owned(),
        ));
    }
    if is_dumb() {
        return Err(Failure::usage(
            "the workbench needs a terminal that can move its cursor, and TERM=dumb says that this one cannot",
            "set TERM to what the terminal is, or run a command instead, such as `longlens demo` or `longlens repl`"
                .to_owned(),
        ));
    }
    Ok(())
}

/// `notes` say what is there and cannot be read.
fn nothing_to_resume(notes: &[String]) -> Failure {
    let unreadable = notes.iter().map(|note| format!("\n{note}"));
    let message: String = std::iter::once("there is no session to resume".to_owned()).chain(unreadable).collect();
    Failure::failed(message, Some("start without --resume".to_owned()))
}

/// How a model is opened, on another thread.
type Open = Box<dyn FnOnce() -> Result<Box<dyn Lens>, Problem> + Send>;

/// What the workbench begins with.
pub struct Beginning {
    pub model: ModelInfo,
    pub options: Options,
    pub open: Open,
}

/// Reads flags, config and model; the weights are left to `open`. What they say goes before what a resumed session says.
/// `outputs` will be written, and are refused where they are read.
pub fn begin(
    args: &WorkbenchArgs,
    mut resume: Option<SavedSession>,
    outputs: &[PathBuf],
) -> Result<Beginning, Failure> {
    let mut config = RunConfig::new(&args.common)?;
    let kept = kept::file(&mut config, &args.prompt)?;
    if kept.as_ref().is_some_and(|file| !file.about.queries) {
        return Err(Failure::failed(
            "the kept prompt holds no queries, and the workbench looks at earlier tokens",
            Some("keep it again with --queries".to_owned()),
        ));
    }
    if config.json || args.common.out.is_some() {
        return Err(Failure::usage(
            "the workbench takes neither --json nor --out",
            "run a command for those; in the workbench, `e` exports what is shown".to_owned(),
        ));
    }
    let mut weights = args.common.opening.weights.or(config.file.weights);
    if let (Some(session), None) = (&resume, args.common.model.as_ref().or(config.file.model.as_ref())) {
        let start = &session.start;
        config.model.clone_from(&start.model);
        config.trained_context = config.trained_context.or(session.settings.trained_context);
        config.adapter = config.adapter.or_else(|| start.adapter.clone());
        weights = weights.or(start.weights.as_deref().map(super::language::weights_named).transpose()?);
        config.weights = weights.unwrap_or_default();
        if args.common.opening.device.or(config.file.device).is_none() {
            let device = start.device.as_deref().map(super::language::device_named).transpose()?;
            config.device = device.unwrap_or_default();
        }
        config.kv_offload |= start.kv_offload && config.device != Device::Cpu;
        backend::check(config.device, config.weights)?;
    }
    let prompt = prompt::given(&args.prompt, &config);
    crate::inputs::spare(&config, outputs, &[prompt.file.as_deref()])?;
    // the model is opened as its files say: what it counts as trained on is a setting, to be changed while it is open
    let trained_context = config.trained_context.take();
    let model = backend::outline(&config.model, config.opening())?;
    let prompt = source(&prompt, config.settings.sampling.seed)?;
    let mut settings = resume.as_ref().map_or_else(Settings::default, |session| session.settings.clone());
    if kept.is_some() {
        let Settings { method, rope, layer_windows, trained_context, .. } = config.settings.clone();
        settings = Settings { method, rope, layer_windows, trained_context, ..settings };
    }
    config.given.apply(&mut settings)?;
    settings.trained_context = trained_context.or(settings.trained_context.filter(|_| kept.is_some()));
    if let Some(session) = &mut resume {
        session.settings.clone_from(&settings);
    }
    let start = Start {
        model: config.model.clone(),
        device: (config.device != Device::Cpu).then(|| config.device.name().to_owned()),
        weights: weights.map(|weights| weights.to_string()),
        adapter: config.adapter.clone(),
        kv_offload: config.kv_offload,
    };
    let options = Options {
        start,
        write_steps: crate::steps::write,
        settings,
        prompt,
        theme: args.theme.into(),
        depth: args.colors.into(),
        resume,
        hint: false,
        notes: Vec::new(),
    };
    let open = move || {
        let lens = backend::open(&config.model, config.device, config.opening()).map_err(|failure| {
            let help = failure.advice().map(str::to_owned);
            Problem::new(failure.to_string(), help)
        })?;
        match kept {
            None => Ok(lens),
            Some(file) => {
                let mut lens = KeptLens::new(lens, None, Manner::Lenient);
                lens.take(&file)?;
                Ok(Box::new(lens) as Box<dyn Lens>)
            }
        }
    };
    Ok(Beginning { model, options, open: Box::new(open) })
}

/// The prompt that the flags ask for.
fn source(prompt: &PromptArgs, seed: u64) -> Result<Option<PromptSource>, Failure> {
    if let Some(ask) = prompt::kept(prompt) {
        return Ok(Some(PromptSource::Kept(ask)));
    }
    if let Some(conversation) = prompt::turns(prompt)? {
        return Ok(Some(PromptSource::Chat(conversation)));
    }
    if prompt.prompt.is_none() && prompt.file.as_deref() == Some(std::path::Path::new("-")) {
        return Err(Failure::usage(
            "the workbench reads keys from stdin, so the prompt cannot come from there",
            "give --file the name of a file".to_owned(),
        ));
    }
    if let Some(source) = prompt::source(prompt, prompt::of_prompt(prompt)?) {
        return Ok(Some(source));
    }
    prompt::ask(prompt, seed).map(|ask| ask.map(PromptSource::Needle))
}
