//! What a run leaves in the file, so that a later one can tell how far it came.
//!
//! A cell that is done carries a mark, `metadata.longlens.done`: a hash of all code up to and with it. When every cell is
//! done the marks give way to one for the notebook, so that a change of one cell is a change of one line.

use serde_json::{Map, Value, json};

use crate::document::{Cell, Notebook, RAISES, parameters};
use crate::hash::hash64;

/// The mark of each cell. Another version of this program may give other results, and so may another `context`: their marks
/// are others.
pub fn marks<'a>(context: &str, sources: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let start = hash64([env!("CARGO_PKG_VERSION").as_bytes(), context.as_bytes()]);
    let chain = sources.into_iter().scan(start, |before, source| {
        *before = hash64([&before.to_le_bytes(), source.as_bytes()]);
        Some(format!("{before:016x}"))
    });
    chain.collect()
}

/// Notes that a cell is done.
pub fn mark(cell: &mut Cell, mark: &str) {
    cell.metadata.insert("longlens".into(), json!({ "done": mark }));
}

/// Notes that the last cell is done, and so all are.
pub fn mark_finished(notebook: &mut Notebook, mark: &str) {
    unmark(notebook);
    parameters::note(notebook, "longlens", "done", mark.into());
}

/// Removes all marks.
pub fn unmark(notebook: &mut Notebook) {
    notebook.cells.iter_mut().for_each(unmark_cell);
    if let Some(Value::Object(own)) = notebook.metadata.get_mut("longlens") {
        own.remove("done");
        if own.is_empty() {
            notebook.metadata.remove("longlens");
        }
    }
}

/// Removes the mark of a cell.
pub fn unmark_cell(cell: &mut Cell) {
    cell.metadata.remove("longlens");
}

/// Takes the results of the cells that `earlier` has finished, from the first on. Returns how many these are, and whether
/// nothing is left to run. `cells` are the indices of the cells to run, with their marks under the same `context`.
pub fn take_over(
    notebook: &mut Notebook,
    earlier: &Notebook,
    context: &str,
    cells: &[(usize, String)],
) -> (usize, bool) {
    // cells of prose may have come and gone since, so code is matched with code
    let theirs: Vec<&Cell> = earlier.cells.iter().filter(|cell| super::runs(cell)).collect();
    let their_marks = marks(context, theirs.iter().map(|cell| cell.source.as_str()));
    let finished = !theirs.is_empty() && done(&earlier.metadata) == their_marks.last().map(String::as_str);
    let mut n_done = 0;
    for ((idx, own_mark), (their, their_mark)) in cells.iter().zip(theirs.iter().zip(&their_marks)) {
        // their code is hashed again: somebody may have edited it since
        let is_done = finished || done(&their.metadata) == Some(their_mark);
        if !is_done || own_mark != their_mark {
            break;
        }
        let cell = &mut notebook.cells[*idx];
        cell.outputs.clone_from(&their.outputs);
        cell.execution_count = their.execution_count;
        cell.metadata.remove("execution");
        cell.metadata.extend(their.metadata.get("execution").map(|times| ("execution".to_owned(), times.clone())));
        mark(cell, own_mark);
        n_done += 1;
    }
    match cells.last() {
        Some((_, last)) if n_done == cells.len() => {
            mark_finished(notebook, last);
            (n_done, true)
        }
        _ => (n_done, false),
    }
}

/// Whether a notebook holds results that only complete ones may replace: there are some, no cell failed that was not to, and
/// no run was stopped on its way through it.
pub fn is_complete(notebook: &Notebook) -> bool {
    let code = || notebook.cells.iter().filter(|cell| super::runs(cell));
    let failed = |cell: &Cell| cell.outputs.iter().any(|output| output["output_type"] == "error");
    code().any(|cell| !cell.outputs.is_empty() || cell.execution_count.is_some())
        && code().all(|cell| done(&cell.metadata).is_none() && (cell.has_tag(RAISES) || !failed(cell)))
}

/// The mark in the metadata of a cell or a notebook.
fn done(metadata: &Map<String, Value>) -> Option<&str> {
    metadata.get("longlens")?.get("done")?.as_str()
}
