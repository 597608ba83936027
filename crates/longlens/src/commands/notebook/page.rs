//! The page that a run writes beside its results.

use std::path::Path;

use longlens_notebook::document::Notebook;
use longlens_notebook::document::html;
use same_file::is_same_file;

use super::results::Destination;
use crate::args::language::NotebookRunArgs;
use crate::failure::Failure;
use crate::inputs::spare_files;
use crate::terminal::{check_writable, write_file};

/// Refuses, before anything runs, a page that cannot be written, whose name is no page's, or that would take the place of a file
/// of the run.
pub fn check(args: &NotebookRunArgs, place: &Destination) -> Result<(), Failure> {
    let Some(page) = &args.html else { return Ok(()) };
    let ending = page.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    if !matches!(ending.as_deref(), Some("html" | "htm")) {
        return Err(Failure::usage(
            format!("--html {} does not end in .html", page.display()),
            format!("name the page {}; -o names the notebook", page.with_extension("html").display()),
        ));
    }
    spare(page, args, place)?;
    check_writable(page)
}

/// Writes the page, if one was asked for. Outputs of cells that are not among `ran` may be a stranger's, and are shown as text.
pub fn write(args: &NotebookRunArgs, place: &Destination, notebook: &Notebook, ran: &[usize]) -> Result<(), Failure> {
    let Some(page) = &args.html else { return Ok(()) };
    // a link to results is one only since there are results
    spare(page, args, place)?;
    let name = args.input.file_stem().unwrap_or_default().to_string_lossy();
    write_file(page, html::page(notebook, &name, ran).as_bytes())
}

fn spare(page: &Path, args: &NotebookRunArgs, place: &Destination) -> Result<(), Failure> {
    let read: Vec<&Path> = args.parameters_file.iter().chain([&args.input]).map(AsRef::as_ref).collect();
    spare_files(page, &read)?;
    match place.files().find(|file| is_same_file(file, page).unwrap_or(false)) {
        None => Ok(()),
        Some(file) => Err(Failure::usage(
            format!(
                "{} holds the results of this run, and would be written over as {}",
                file.display(),
                page.display()
            ),
            "give the page a name of its own".to_owned(),
        )),
    }
}
