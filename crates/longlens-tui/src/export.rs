//! Files of a view: picture, table and arrays, as every face writes them; and the settings as a config that the commands take.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use longlens_app::Problem;
use longlens_app::runs::RunAsk;
use longlens_app::settings::Settings;
use longlens_app::steps::Picture;
use longlens_app::views::{ENDINGS, Plot};
use longlens_app::worker::MakePage;

use crate::app::{App, Opening};
use crate::view::View;

mod config;
pub(crate) mod contents;

pub use config::{config, evaluation, grid};

/// What a view has to write, wherever it goes.
#[derive(Debug)]
pub struct Content {
    /// The view as all faces have it.
    pub plot: Plot,
    /// What it shows, for the record.
    pub picture: Picture,
    /// The settings behind it.
    pub settings: Settings,
    /// Of what its page is made, where the model is asked for more than is shown.
    pub page: Option<PageOfRun>,
}

/// The page of a view of a run.
#[derive(Debug)]
pub struct PageOfRun {
    /// The run.
    pub run: Arc<RunAsk>,
    /// Its generated tokens.
    pub generated: Vec<u32>,
    /// What makes it.
    pub of: Arc<dyn MakePage>,
}

/// What is written for a view.
#[derive(Debug)]
pub struct Export {
    /// Folder and name without an extension.
    pub stem: PathBuf,
    /// What is written.
    pub content: Content,
}

impl Export {
    /// The file of an extension.
    pub fn path(&self, extension: &str) -> PathBuf {
        let mut name = self.stem.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{extension}"));
        self.stem.with_file_name(name)
    }

    /// Writes the files of all [`ENDINGS`] and says where; where one fails, those that are new are removed. A page that the model is
    /// asked for is written once it is made.
    pub fn write(&self) -> Result<String, Problem> {
        let is_now = |ending: &&&str| **ending != PAGE || self.content.page.is_none();
        let endings: Vec<&str> = ENDINGS.iter().filter(is_now).copied().collect();
        let files: Result<Vec<_>, Problem> = endings.iter().map(|ending| self.content.plot.bytes(ending)).collect();
        let mut created = Vec::new();
        for (ending, bytes) in endings.iter().zip(files?) {
            let path = self.path(ending);
            let is_new = !path.exists();
            if let Err(problem) = save(&path, &bytes) {
                // some files of a view are worse than none; the problem above is the one worth telling
                for path in created {
                    let _ = std::fs::remove_file(path);
                }
                return Err(problem);
            }
            created.extend(is_new.then_some(path));
        }
        let (first, rest) = (endings[0], &endings[1..]);
        Ok(format!("wrote {} and .{}", self.path(first).display(), rest.join(", .")))
    }
}

/// The ending of pages that answer to mouse and keys.
pub const PAGE: &str = "html";

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
    Ok(Export { stem: checked(stem)?, content: view.export(app)? })
}

/// A name for files: without the extension of one of them, in a folder that is there.
fn checked(stem: PathBuf) -> Result<PathBuf, Problem> {
    let is_ours = stem.extension().is_some_and(|known| ENDINGS.iter().any(|extension| known == *extension));
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
