//! `longlens` on a terminal: the workbench.

use std::io::IsTerminal;

use longlens_core::lens::{Lens, ModelInfo};
use longlens_kernel::linear::Storage;
use longlens_tui::app::Options;
use longlens_tui::images::Wanted;
use longlens_tui::terminal::{self, Ended};
use longlens_tui::theme::{Depth, ThemeName};
use longlens_workbench::Trouble;
use longlens_workbench::prompt::PromptSource;
use longlens_workbench::session::{Session, Store};
use longlens_workbench::settings::Settings;
use longlens_workbench::steps::Start;

use crate::args::{Colors, Device, Images, Theme, Workbench};
use crate::backend;
use crate::commands::generate;
use crate::config::RunConfig;
use crate::failure::Failure;
use crate::needle;

pub fn run(args: &Workbench) -> Result<(), Failure> {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Failure::usage(
            "the workbench needs a terminal",
            "run a command instead, such as `longlens demo` or `longlens chunks` (see `longlens --help`)".to_owned(),
        ));
    }
    let store = Store::of_user();
    let resume = match (&store, args.resume) {
        (Some(store), true) => Some(store.newest().ok_or_else(|| {
            Failure::failed("there is no session to resume", Some("start without --resume".to_owned()))
        })?),
        (None, true) => {
            return Err(Failure::failed(
                "sessions are not kept here",
                Some("set HOME or XDG_STATE_HOME to a folder".to_owned()),
            ));
        }
        (_, false) => None,
    };
    let hint = resume.is_none() && store.as_ref().is_some_and(|store| store.crashed().is_some());
    let Beginning { model, options, open } = begin(args, resume)?;
    let wanted = match args.images {
        Images::Auto => Wanted::Auto,
        Images::On => Wanted::Always,
        Images::Off => Wanted::Never,
    };
    let ended = terminal::run(model, Options { hint, ..options }, wanted, store, open)
        .map_err(|error| Failure::failed(format!("the terminal failed: {error}"), None))?;
    match ended {
        Ended::Quit => Ok(()),
        // as shells count a program that a signal ended
        Ended::Signal(signal) => Err(Failure::silent(128 + signal as u8)),
    }
}

/// How a model is opened, on another thread.
type Open = Box<dyn FnOnce() -> Result<Box<dyn Lens>, Trouble> + Send>;

/// What the workbench begins with.
pub struct Beginning {
    pub model: ModelInfo,
    pub options: Options,
    pub open: Open,
}

/// Reads flags, config and model; the weights are left to `open`.
pub fn begin(args: &Workbench, resume: Option<Session>) -> Result<Beginning, Failure> {
    let mut config = RunConfig::new(&args.common)?;
    if config.json || args.common.out.is_some() {
        return Err(Failure::usage(
            "the workbench takes neither --json nor --out",
            "run a command for those; in the workbench, `e` exports what is shown".to_owned(),
        ));
    }
    if let (Some(session), None) = (&resume, &args.common.model) {
        config.model.clone_from(&session.model);
    }
    let model = backend::describe(&config.model, config.weights)?;
    let prompt = source(args, config.seed)?;
    let (sampling, stop) = generate::defaults(&config);
    let settings = Settings {
        method: config.method.clone(),
        rope: config.rope.clone(),
        sampling,
        max_tokens: config.file.sampling.max_tokens.map_or(Settings::default().max_tokens, |_| stop.max_tokens),
        prefill_chunk: config.prefill_chunk,
        ..Settings::default()
    };
    let start = Start {
        model: config.model.clone(),
        device: (config.device != Device::Cpu).then(|| config.device.name().to_owned()),
        weights: (config.weights != Storage::default()).then(|| config.weights.to_string()),
    };
    let options = Options {
        start,
        settings,
        prompt,
        theme: match args.theme {
            Theme::Dark => ThemeName::Dark,
            Theme::Light => ThemeName::Light,
            Theme::HighContrast => ThemeName::HighContrast,
        },
        depth: match args.colors {
            Colors::Auto => Depth::of_terminal(),
            Colors::True => Depth::True,
            Colors::Ansi256 => Depth::Ansi256,
            Colors::Ansi16 => Depth::Ansi16,
            Colors::None => Depth::Mono,
        },
        resume,
        hint: false,
    };
    let open = move || {
        backend::open(&config.model, config.device, config.weights).map_err(|failure| {
            let help = failure.advice().map(str::to_owned);
            Trouble::new(failure.to_string(), help)
        })
    };
    Ok(Beginning { model, options, open: Box::new(open) })
}

/// The prompt that the flags ask for.
fn source(args: &Workbench, seed: u64) -> Result<Option<PromptSource>, Failure> {
    let prompt = &args.prompt;
    if let Some(text) = &prompt.prompt {
        return Ok(Some(PromptSource::Text(text.clone())));
    }
    if let Some(path) = &prompt.file {
        if path.as_os_str() == "-" {
            return Err(Failure::usage(
                "the workbench reads keys from stdin, so the prompt cannot come from there",
                "give --file the name of a file".to_owned(),
            ));
        }
        return Ok(Some(PromptSource::File(path.clone())));
    }
    needle::ask(prompt, seed).map(|ask| ask.map(PromptSource::Needle))
}
