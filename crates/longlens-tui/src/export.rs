//! Files of a view: PNG, SVG, CSV, and its data as npz; and the settings as a config that the commands take.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use longlens_app::Problem;
use longlens_app::npz::{self, Array};
use longlens_app::runs::{Run, RunId};
use longlens_app::settings::Settings;
use longlens_app::steps::Picture;
use longlens_core::trace::RunRecord;
use longlens_plot::{Canvas, Figure, Heading, PlotError};
use serde_json::{Map, Value, json};

use crate::app::{App, Opening};
use crate::view::View;

pub(crate) mod compare;
mod config;
pub(crate) mod csv;
pub(crate) mod looks;
pub(crate) mod tables;
mod zoomed;

pub use config::{config, grid};

/// What is written for a view.
#[derive(Debug)]
pub struct Export {
    /// Folder and name without an extension.
    pub stem: PathBuf,
    /// The picture.
    pub figure: Box<dyn Figure>,
    /// The data as text, one header line.
    pub csv: String,
    /// The data as arrays.
    pub arrays: Vec<Array>,
    /// What was run, in one line.
    pub about: String,
    /// What the picture shows, for the record.
    pub picture: Picture,
    /// The settings behind it.
    pub settings: Settings,
}

/// What a view has to write, wherever it goes.
#[derive(Debug)]
pub struct Content {
    pub(crate) figure: Box<dyn Figure>,
    pub(crate) csv: String,
    pub(crate) arrays: Vec<Array>,
    pub(crate) about: Value,
    pub(crate) picture: Picture,
    pub(crate) settings: Settings,
}

/// Extensions of the files, in the order in which they are written.
const EXTENSIONS: [&str; 4] = ["png", "svg", "csv", "npz"];

impl Export {
    /// The file of an extension.
    pub fn path(&self, extension: &str) -> PathBuf {
        let mut name = self.stem.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{extension}"));
        self.stem.with_file_name(name)
    }

    /// Writes the four files, all of them or none; says where.
    pub fn write(&self) -> Result<String, Problem> {
        let (canvas, figure) = (Canvas::default(), self.figure.as_ref());
        let png = canvas.to_png_bytes(figure).map_err(|error| plot_problem(&error))?;
        let svg = canvas.to_svg_string(figure).map_err(|error| plot_problem(&error))?.into_bytes();
        let npz = npz::bytes(&self.arrays, &self.about).map_err(|error| Problem::new(error.to_string(), None))?;
        let mut created = Vec::new();
        for (extension, bytes) in EXTENSIONS.iter().zip([&png[..], &svg, self.csv.as_bytes(), &npz]) {
            let path = self.path(extension);
            let is_new = !path.exists();
            if let Err(problem) = save(&path, bytes) {
                // some files of a view are worse than none; the problem above is the one worth telling
                for path in created {
                    let _ = std::fs::remove_file(path);
                }
                return Err(problem);
            }
            created.extend(is_new.then_some(path));
        }
        Ok(format!("wrote {} and .svg, .csv, .npz", self.path("png").display()))
    }
}

/// Writes a file whole or not at all.
pub fn save(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    longlens_app::write_whole(path, bytes).map_err(|error| {
        let help = match error.kind() {
            std::io::ErrorKind::NotFound => "create the folder first",
            std::io::ErrorKind::IsADirectory => "give the name of a file",
            _ => "choose a folder you may write to",
        };
        Problem::new(format!("cannot write {}: {error}", path.display()), help.to_owned())
    })
}

/// What exporting a view writes, or why there is nothing to write.
pub fn of_view(app: &App, view: &dyn View, stem: PathBuf) -> Result<Export, Problem> {
    let stem = checked(stem)?;
    let Content { figure, csv, arrays, about, picture, settings } = view.export(app)?;
    figure.scene(figure.size()).map_err(|error| plot_problem(&error))?;
    Ok(Export { stem, figure, csv, arrays, about: about.to_string(), picture, settings })
}

/// A name for files: without the extension of one of them, in a folder that is there.
fn checked(stem: PathBuf) -> Result<PathBuf, Problem> {
    let is_ours = stem.extension().is_some_and(|known| EXTENSIONS.iter().any(|extension| known == *extension));
    let stem = if is_ours { stem.with_extension("") } else { stem };
    if stem.file_name().is_none() {
        return Err(Problem::new("the files have no name", "give a name without an extension".to_owned()));
    }
    match stem.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        Some(folder) => Err(Problem::new(
            format!("cannot write {}: there is no folder {}", stem.display(), folder.display()),
            "create the folder first".to_owned(),
        )),
        None => Ok(stem),
    }
}

fn plot_problem(error: &PlotError) -> Problem {
    Problem::new(error.to_string(), error.help())
}

/// Why a view has nothing to write yet, and what to do.
pub(crate) fn nothing(app: &App, what: &str) -> Problem {
    let help = match &app.opening {
        Opening::Waiting => "wait until the model is open",
        Opening::Failed(_) => "the model cannot be opened; the log says why (v)",
        Opening::Done if app.work.is_busy() => "wait until it is computed",
        Opening::Done => "run the prompt (r)",
    };
    Problem::new(format!("there is {what} to export yet"), help.to_owned())
}

/// The run behind a view.
fn run_of(app: &App, id: RunId) -> Result<&Run, Problem> {
    app.runs
        .get(id)
        .ok_or_else(|| Problem::new("the run behind this view was forgotten", "run the prompt (r)".to_owned()))
}

/// What a picture says of its run; of reused keys also what computed them.
pub(crate) fn heading(app: &App, run: &Run, record: &RunRecord) -> Heading {
    let mut heading = Heading::of_run(record);
    if let Some(base) = &run.base {
        let _ = write!(heading.subtitle, " · older keys from {}", base.text(&app.model.spec));
    }
    heading
}

/// Whether a command can compute this run again from the prompt that is open; else why not.
fn repeatable(app: &App, run: &Run) -> Result<(), &'static str> {
    match app.prompt.answer() {
        _ if run.base.is_some() => Err("under reuse-kv"),
        Some(prompt) if prompt.source == run.source => Ok(()),
        _ => Err("of another prompt"),
    }
}

/// What the npz says of a run.
pub(crate) fn about(app: &App, run: &Run, record: &RunRecord) -> Map<String, Value> {
    let spec = &app.model.spec;
    let fields = [
        ("run", json!(record)),
        ("settings", json!(run.settings.text(spec))),
        ("name", json!(run.name)),
        ("prompt", json!(run.source.to_string())),
        ("base", json!(run.base.as_ref().map(|base| base.text(spec)))),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The same with more fields.
pub(crate) fn with(mut about: Map<String, Value>, fields: &[(&str, Value)]) -> Value {
    about.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    Value::Object(about)
}
