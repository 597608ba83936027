//! What the commands that run cells share: how they open models, and a session.

use std::path::PathBuf;

use clap::ValueEnum;
use longlens_app::Problem;
use longlens_app::session::state_folder;
use longlens_core::lens::{Lens, ModelInfo};
use longlens_core::nearest::nearest;
use longlens_core::printable::printable_line;
use longlens_model::source::{EMBEDDED, Source};
use longlens_model::weights::Keep;
use longlens_notebook::host::{Files, Models, Opening};
use longlens_notebook::interpreter::Out;
use longlens_notebook::session::{Limits, Options, Session};

use super::perplexity::HELDOUT;
use crate::args::Device;
use crate::args::language;
use crate::backend;
use crate::failure::Failure;

/// Opens models for cells.
#[derive(Debug, Clone)]
struct Opener {
    device: Device,
    weights: Keep,
    kv_offload: bool,
    /// The model of the session, and what flags say of it.
    own: (String, Opening),
}

impl Opener {
    fn opened(&self, model: &str, opening: &Opening) -> Result<Box<dyn Lens>, Problem> {
        let Opening { trained_context, adapter, weights, device, kv_offload } = opening.clone();
        let weights = weights.map_or(Ok(self.weights), |name| weights_named(&name))?;
        let device = device.map_or(Ok(self.device), |name| device_named(&name))?;
        let kv_offload = kv_offload.unwrap_or(self.kv_offload);
        let options = longlens_model::Options { weights, trained_context, adapter, kv_offload };
        let opened = backend::check(device, weights).and_then(|()| backend::open(model, device, options));
        opened.map_err(|failure| {
            let help = failure.advice().map(str::to_owned);
            Problem::new(failure.to_string(), help)
        })
    }
}

/// The way to keep weights that cells name, one of those that `--weights` takes.
pub fn weights_named(name: &str) -> Result<Keep, Problem> {
    name.parse().map_err(|_| unknown("weights", name, Keep::ALL.iter().map(|keep| keep.name())))
}

/// The device that cells name, one of those that `--device` takes.
pub fn device_named(name: &str) -> Result<Device, Problem> {
    let found = Device::value_variants().iter().copied().find(|device| device.name() == name);
    found.ok_or_else(|| unknown("device", name, Device::value_variants().iter().map(|device| device.name())))
}

fn unknown(option: &str, given: &str, known: impl Iterator<Item = &'static str>) -> Problem {
    let known: Vec<_> = known.collect();
    let near = nearest(given, known.iter().copied()).map(|near| format!("; did you mean \"{near}\"?"));
    Problem::new(
        format!("`{option}` cannot be \"{}\"", printable_line(given)),
        Some(format!("there are: {}{}", known.join(", "), near.unwrap_or_default())),
    )
}

impl Models for Opener {
    fn open(&self, model: &str) -> Result<Box<dyn Lens>, Problem> {
        let (own, opening) = &self.own;
        if own == model { self.opened(model, opening) } else { self.opened(model, &Opening::default()) }
    }

    fn open_with(&self, model: &str, opening: &Opening) -> Result<Box<dyn Lens>, Problem> {
        self.opened(model, opening)
    }

    fn usual(&self, model: &str) -> Opening {
        let (own, opening) = &self.own;
        let usual = if own == model { opening.clone() } else { Opening::default() };
        Opening {
            weights: (self.weights != Keep::default()).then(|| self.weights.to_string()),
            device: Some(self.device.name().to_owned()),
            kv_offload: Some(self.kv_offload),
            ..usual
        }
    }

    fn held_out(&self, model: &ModelInfo) -> Option<String> {
        (model.source == EMBEDDED).then(|| HELDOUT.to_owned())
    }
}

/// A session, as flags ask for it; `draws` for places that keep pictures.
pub fn session(args: &language::SessionArgs, draws: bool, out: &Out) -> Result<Session, Failure> {
    let device = args.opening.device.unwrap_or_default();
    let weights = args.opening.keep(None);
    // said now rather than at the first cell
    backend::check(device, weights)?;
    let model = args.model.clone().unwrap_or_else(|| EMBEDDED.to_owned());
    let opening = Opening {
        trained_context: args.opening.trained_context(),
        adapter: args.opening.adapter.clone(),
        ..Opening::default()
    };
    let own = (model.clone(), opening);
    let options = Options { files: files(args)?, limits: limits(args), model, draws };
    Ok(Session::new(Box::new(Opener { device, weights, kv_offload: args.opening.kv_offload, own }), options, out))
}

/// Refuses a model that is named and not there, before anything is done for it.
pub fn check_model(args: &language::SessionArgs) -> Result<(), Failure> {
    let model = args.model.as_deref().unwrap_or(EMBEDDED);
    let found = Source::resolve(model).map(drop);
    found.map_err(|error| {
        let help = error.help();
        Failure::failed(error, help)
    })
}

/// What results depend on beside the code of the cells.
pub fn context(args: &language::SessionArgs) -> String {
    let device = args.opening.device.unwrap_or_default();
    let weights = args.opening.keep(None);
    let model = args.model.as_deref().unwrap_or(EMBEDDED);
    let place = if args.allow_outside { "anywhere" } else { "inside" };
    // results from before this line existed stay valid
    let trained =
        args.opening.trained_context().map_or(String::new(), |n_tokens| format!("\ntrained context {n_tokens}"));
    let adapter = args.opening.adapter.as_ref().map_or(String::new(), |adapter| format!("\nadapter {adapter}"));
    let offload = if args.opening.kv_offload { "\nkeys and values with the host" } else { "" };
    format!("model {model}\ndevice {}\nweights {weights}\nfiles {place}{trained}{adapter}{offload}", device.name())
}

/// Runs something on a thread whose stack is deep enough for values inside values: each level of a list of lists takes some of
/// it when the list is copied, and nothing counts levels.
pub fn deep<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        let joined = thread.map(std::thread::ScopedJoinHandle::join);
        match joined {
            Ok(Ok(done)) => done,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(error) => panic!("no thread for the session: {error}"),
        }
    })
}

/// Bytes of that stack; only what is used is taken.
const STACK: usize = 256 << 20;

/// What cells may use before they are stopped.
fn limits(args: &language::SessionArgs) -> Limits {
    let usual = Limits::default();
    Limits {
        operations: args.max_operations.unwrap_or(usual.operations),
        memory: args.memory_limit.unwrap_or(usual.memory),
    }
}

/// What cells may touch: the working directory, a folder that was named, or everything.
fn files(args: &language::SessionArgs) -> Result<Files, Failure> {
    let here = std::env::current_dir().map_err(|error| Failure::io("use", &PathBuf::from("."), &error))?;
    let files = match &args.files {
        Some(folder) if !folder.is_dir() => {
            let help = "name a folder that exists".to_owned();
            return Err(Failure::usage(format!("--files {}: there is no such folder", folder.display()), help));
        }
        Some(folder) => Files::below(here.join(folder)).named(),
        None => Files::below(here),
    };
    let files = if args.overwrite { files.overwriting() } else { files };
    let files = if args.allow_outside { files.anywhere() } else { files };
    Ok(files.remembered_in(state_folder().map(|folder| folder.join("written"))))
}
