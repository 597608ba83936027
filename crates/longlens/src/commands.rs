//! One file per command, and what several of them need.

use std::path::{Path, PathBuf};

use longlens_app::views::{ENDINGS, Plot};
use longlens_core::lens::{Lens, ModelInfo};
use longlens_core::plan::{Plan, Warning};
use longlens_plot::{Figure, PlotError};
use serde::Serialize;
use serde_json::Value;

use crate::args::CommonArgs;
use crate::backend;
use crate::config::RunConfig;
use crate::failure::Failure;
use crate::terminal::{Terminal, check_writable, make_folder, write_file};

pub mod attention;
pub mod batch;
pub mod bench;
pub mod cache;
pub mod chat;
pub mod chunks;
pub mod convert;
pub mod demo;
pub mod doctor;
pub mod evaluate;
pub mod extract;
pub mod generate;
pub mod kernel;
pub mod language;
pub mod logits;
mod made;
pub mod methods;
pub mod model;
pub mod notebook;
pub mod passkey;
pub mod perplexity;
pub mod plot;
pub mod positions;
pub mod repl;
pub mod report;
pub mod results;
pub mod score;
pub mod screenshot;
pub mod tasks;
pub mod verify;
pub mod workbench;

/// Opens the model of a run, and says what a user should know of it.
pub fn open(terminal: &Terminal, config: &RunConfig) -> Result<Box<dyn Lens>, Failure> {
    let lens = backend::open(&config.model, config.device, config.opening())?;
    terminal.caution(&lens.model().warnings)?;
    Ok(lens)
}

/// What the model of a run is, without loading its weights; says what a user should know of it.
pub fn describe(terminal: &Terminal, config: &RunConfig) -> Result<ModelInfo, Failure> {
    let model = backend::outline(&config.model, config.opening())?;
    terminal.caution(&model.warnings)?;
    Ok(model)
}

/// Says what a user should know before running this plan.
pub fn warn(
    terminal: &Terminal,
    config: &RunConfig,
    model: &ModelInfo,
    plan: &Plan,
    n_tokens: usize,
) -> Result<(), Failure> {
    let trained = config.rope(model).resolve(&model.spec)?.reach();
    tell(terminal, plan, &plan.warnings(n_tokens, trained))
}

/// Says what a plan gave reason to say.
fn tell(terminal: &Terminal, plan: &Plan, warnings: &[Warning]) -> Result<(), Failure> {
    let name = plan.method.split(':').next().unwrap_or_default();
    warnings.iter().try_for_each(|warning| terminal.note(format_args!("warning: {name}: {warning}")))
}

/// The picture that `--out` asks for: the file, or one called `name` in the folder. Refuses what cannot be written,
/// before anything is computed for it.
pub fn picture(out: Option<&Path>, name: &str) -> Result<Option<PathBuf>, Failure> {
    file(out, name, &["png", "svg"])
}

/// The same where the file may have any of these endings.
fn file(out: Option<&Path>, name: &str, endings: &[&str]) -> Result<Option<PathBuf>, Failure> {
    let Some(out) = out else { return Ok(None) };
    if out.is_dir() || out.extension().is_none() {
        make_folder(out)?;
        return Ok(Some(out.join(name)));
    }
    if !endings.contains(&ending(out).as_str()) {
        let help = format!("end the file name in `.{}`", endings.join("` or `."));
        let unknown = PlotError::UnknownExtension { path: out.to_owned() };
        return Err(Failure::usage(unknown, help));
    }
    check_writable(out)?;
    Ok(Some(out.to_owned()))
}

/// The ending of a file's name, in small letters.
fn ending(path: &Path) -> String {
    path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// Whether a view's file is a page that answers to mouse and keys.
fn is_page(file: Option<&Path>) -> bool {
    file.is_some_and(|file| ending(file) == "html")
}

/// The file of data that `--out` asks for: the one named, or one called `name` in a folder. A config's `out` is a folder unless it
/// ends in `.json`, since other commands write several files into it.
fn data(config: &RunConfig, common: &CommonArgs, name: &str) -> Result<Option<PathBuf>, Failure> {
    let Some(out) = &config.out else { return Ok(None) };
    let is_file = out.extension().is_some_and(|ending| ending == "json");
    let is_folder = out.is_dir() || common.out.is_none() && !is_file;
    if !is_folder {
        return Ok(Some(out.clone()));
    }
    make_folder(out)?;
    Ok(Some(out.join(name)))
}

/// Refuses the name of a picture or a page for a file of data, as which nobody could open it.
fn expect_data(out: Option<&Path>) -> Result<(), Failure> {
    match out {
        Some(out) if ENDINGS.contains(&&ending(out)[..]) => Err(Failure::usage(
            format!("{} would hold JSON", out.display()),
            "give --out a name that ends in .json, or a folder".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// Refuses `--out` where nothing is written to it. A config file may name one for other commands.
fn no_out(common: &CommonArgs, help: &str) -> Result<(), Failure> {
    match &common.out {
        Some(_) => Err(Failure::usage("this command writes nothing to --out", help.to_owned())),
        None => Ok(()),
    }
}

/// Makes the folder that `--out` asks for, where a command writes several files.
pub fn folder(out: Option<&Path>) -> Result<(), Failure> {
    match out {
        Some(file)
            if file.extension().is_some_and(|e| {
                ["png", "svg", "json", "html", "csv", "npz", "jsonl", "pdf"].iter().any(|known| e == *known)
            }) =>
        {
            Err(Failure::usage(
                format!("{} is no folder", file.display()),
                "this command writes several files: give --out the name of a folder".to_owned(),
            ))
        }
        Some(folder) => make_folder(folder),
        None => Ok(()),
    }
}

/// Draws a figure into a file, `.png` or `.svg`.
pub fn save(terminal: &Terminal, figure: &dyn Figure, path: &Path) -> Result<(), Failure> {
    let did = if path.exists() { "replaced" } else { "wrote" };
    longlens_plot::save(figure, path)?;
    terminal.note(format_args!("{did} {}", path.display()))
}

/// Writes a view into a file, as its ending says.
fn save_view(terminal: &Terminal, view: &Plot, path: &Path) -> Result<(), Failure> {
    let did = if path.exists() { "replaced" } else { "wrote" };
    save_bytes(view, &ending(path), path)?;
    terminal.note(format_args!("{did} {}", path.display()))
}

fn save_bytes(view: &Plot, ending: &str, path: &Path) -> Result<(), Failure> {
    let bytes = view.bytes(ending).map_err(|problem| Failure::failed(problem.message, problem.help))?;
    write_file(path, &bytes)
}

/// Writes a result as JSON and says so. One that was cut short takes no place of one that is complete: then nothing is written,
/// and the answer is `false`.
pub fn save_json(terminal: &Terminal, result: &impl Serialize, path: &Path) -> Result<bool, Failure> {
    let json = serde_json::to_vec_pretty(result).map_err(|error| Failure::failed(error, None))?;
    let there = small_file(path);
    if there.as_deref().is_some_and(is_complete) && !is_complete(&json) {
        terminal.note(format_args!("{} holds a complete result and stays as it is", path.display()))?;
        return Ok(false);
    }
    write_file(path, &json)?;
    let did = if there.is_some() { "replaced" } else { "wrote" };
    terminal.note(format_args!("{did} {}", path.display())).map(|()| true)
}

/// Results beyond this are none of ours.
const MAX_RESULT: u64 = 256 << 20;

fn small_file(path: &Path) -> Option<Vec<u8>> {
    let there = std::fs::metadata(path).ok()?;
    (there.is_file() && there.len() <= MAX_RESULT).then(|| std::fs::read(path).ok())?
}

/// Whether every measurement in a result says of itself that it is complete.
fn is_complete(json: &[u8]) -> bool {
    let says_so = |result: &Value| result["complete"] == true;
    match serde_json::from_slice::<Value>(json) {
        Ok(Value::Array(results)) => !results.is_empty() && results.iter().all(says_so),
        result => result.is_ok_and(|result| says_so(&result)),
    }
}
