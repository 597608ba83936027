//! Files of cells: run here, saved from here, shown.

use std::path::Path;

use serde_json::json;

use longlens_app::Problem;

use crate::document::{DocumentError, Form, Kind, MOST_BYTES, Notebook, RAISES};
use crate::interpreter::{CellError, Out};
use crate::lexer::magic::Magic;
use crate::runner::outputs;
use crate::session::{CellOutput, Session};
use crate::shown::Shown;

/// Runs every cell of a file in this session; stops at the first error.
pub fn run(session: &mut Session, name: &str, out: &Out) -> Result<Option<Shown>, CellError> {
    let name = named(name, "%run FILE")?;
    let notebook = read(session, name)?;
    if session.depth >= MAX_DEPTH {
        return Err(CellError::new("LimitError", format!("{name} runs itself, directly or through others"), None));
    }
    session.depth += 1;
    let mut last = None;
    for cell in notebook.cells.iter().filter(|cell| cell.kind == Kind::Code) {
        if let Some(shown) = last.take() {
            out.borrow_mut().show(&shown);
        }
        match session.step(&cell.source, out) {
            Ok(shown) => last = shown,
            Err(error) if cell.has_tag(RAISES) && !session.host().cancel().is_cancelled() => {
                out.borrow_mut().print(&format!("{error}\n"));
            }
            Err(error) => {
                session.depth -= 1;
                // of files that run files, the innermost says it
                let message = if error.message.ends_with(')') && error.message.contains(" (in ") {
                    error.message
                } else {
                    format!("{} (in {name})", error.message)
                };
                return Err(CellError { message, ..error });
            }
        }
    }
    session.depth -= 1;
    Ok(last)
}

/// Files that run files that run files.
const MAX_DEPTH: usize = 8;

/// Saves the cells so far, with what they gave where the form keeps that.
pub fn save(session: &Session, name: &str) -> Result<String, CellError> {
    let name = named(name, "%save FILE.ipynb")?;
    let mut notebook = Notebook::new();
    let is_kept = |cell: &str| Magic::of(cell).is_none() && !cell.trim().is_empty();
    for ran in session.cells().iter().filter(|ran| is_kept(&ran.cell)) {
        let cell = notebook.push(Kind::Code, ran.cell.as_str());
        let outputs = ran.outputs.iter().flat_map(|output| match output {
            CellOutput::Text(text) => vec![json!({ "output_type": "stream", "name": "stdout", "text": text })],
            CellOutput::Shown(shown) => outputs::displays(shown),
        });
        let value = ran.value.iter().flat_map(|value| outputs::value(value, ran.number as i64));
        let error = ran.error.as_ref().map(|error| {
            let (name, message, lines) = (&error.name, &error.message, error.lines());
            json!({ "output_type": "error", "ename": name, "evalue": message, "traceback": lines })
        });
        if error.is_some() {
            // a notebook that is run again goes on after it, as the session did
            cell.metadata.insert("tags".into(), json!([RAISES]));
        }
        cell.outputs = outputs.chain(value).chain(error).collect();
        cell.execution_count = Some(ran.number as i64);
    }
    let bytes = notebook.to_bytes(Path::new(name)).map_err(|error| cell_error(&error))?;
    session.host().files().save(name, &bytes, false).map_err(refused)?;
    let n_let_go = session.cells().iter().filter(|ran| ran.let_go).count();
    let without = if n_let_go == 0 {
        String::new()
    } else {
        format!("; the results of the first {n_let_go} were too much to keep")
    };
    Ok(format!("saved {} cells as {}{without}", notebook.cells.len(), session.host().files().shown(name)))
}

/// A file's cells as text.
pub fn load(session: &Session, name: &str) -> Result<String, CellError> {
    Ok(read(session, named(name, "%load FILE")?)?.to_text().trim_end().to_owned())
}

fn named<'a>(name: &'a str, form: &str) -> Result<&'a str, CellError> {
    let name = name.trim_matches('"');
    if name.is_empty() {
        return Err(CellError::new("SyntaxError", "there is no file name", Some(format!("write {form}"))));
    }
    Ok(name)
}

fn read(session: &Session, name: &str) -> Result<Notebook, CellError> {
    let path = Path::new(name);
    let form = Form::of(path).map_err(|error| cell_error(&error))?;
    let bytes = session.host().files().read_if_there(name, MOST_BYTES).map_err(refused)?;
    let missing = || DocumentError::Missing { path: path.to_owned() };
    let notebook = bytes.ok_or_else(missing).and_then(|bytes| Notebook::from_bytes(path, form, bytes));
    notebook.map_err(|error| cell_error(&error))
}

fn refused(problem: Problem) -> CellError {
    CellError::new("SandboxError", problem.message, problem.help)
}

/// An error of a file as one of a cell.
fn cell_error(error: &DocumentError) -> CellError {
    let help = error.help();
    CellError::new("FileError", error.to_string(), Some(help))
}
