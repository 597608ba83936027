//! Runs that go on where another was stopped.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use longlens_notebook::document::parameters::{self, Parameters};
use longlens_notebook::document::{DocumentError, Kind, Notebook};
use longlens_notebook::runner::{End, RunOptions, SharedWatch, run};
use serde_json::json;

use super::echo::{Done, Echo, done, notebook, outputs, tag, to};

/// Five cells and prose; the fourth is what a kill ends.
fn long() -> Notebook {
    let mut notebook = notebook(&["say a", "value b", "", "show c", "say d"]);
    notebook.push(Kind::Markdown, "prose");
    notebook
}

/// A file as a kill in the cell of this number leaves it, and as the whole run does.
fn killed_in(number: usize, folder: &Path) -> (PathBuf, String) {
    let path = folder.join("out.ipynb");
    let done = done(&mut long(), &to(&path)).unwrap();
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &done.on_disk[number - 1]).unwrap();
    (path, whole)
}

fn resumed(notebook: &mut Notebook, path: &Path) -> Done {
    done(notebook, &RunOptions { resume: true, ..to(path) }).unwrap()
}

#[test]
fn a_killed_run_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (path, whole) = killed_in(3, folder.path());
    let done = resumed(&mut long(), &path);
    insta::assert_snapshot!(done.log.join("\n"), @r"
    1/4 again: say a
    2/4 again: value b
    3/4 runs: show c
      [c]
    4/4 runs: say d
      d
    ");
    assert_eq!((done.summary.n_replayed, done.summary.n_run()), (2, 2));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
}

#[test]
fn a_killed_run_starts_over_at_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = killed_in(4, folder.path());
    let mut changed = long();
    changed.cells[1].source = "value new".into();
    changed.cells[5].source = "other prose".into();
    let done = resumed(&mut changed, &path);
    assert_eq!((done.summary.n_replayed, done.summary.n_run()), (1, 3));
    assert!(outputs(&changed).contains(&"execute_result new".to_owned()));
}

#[test]
fn other_parameters_start_over_behind_the_cell_that_declares_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.ipynb");
    let with = |value: i64| {
        let mut notebook = notebook(&["say a", "let n = 1;", "say b"]);
        tag(&mut notebook, 1, "parameters");
        parameters::inject(&mut notebook, &Parameters::from_iter([("n".to_owned(), json!(value))])).unwrap();
        notebook
    };
    let done = done(&mut with(2), &to(&path)).unwrap();
    std::fs::write(&path, &done.on_disk[3]).unwrap();
    assert_eq!(resumed(&mut with(2), &path).summary.n_replayed, 3);
    std::fs::write(&path, &done.on_disk[3]).unwrap();
    assert_eq!(resumed(&mut with(3), &path).summary.n_replayed, 2);
}

#[test]
fn results_of_another_model_are_not_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.ipynb");
    let with = |context: &str| RunOptions { resume: true, context: context.into(), ..to(&path) };
    let half = done(&mut long(), &with("model a")).unwrap().on_disk[2].clone();
    assert_eq!(done(&mut long(), &with("model a")).unwrap().summary.n_run(), 0, "finished");
    assert_eq!(done(&mut long(), &with("model b")).unwrap().summary.n_run(), 4);
    for (context, n_replayed) in [("model a", 2), ("model b", 0)] {
        std::fs::write(&path, &half).unwrap();
        assert_eq!(done(&mut long(), &with(context)).unwrap().summary.n_replayed, n_replayed, "{context}");
    }
}

#[test]
fn a_finished_run_has_nothing_to_resume() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.ipynb");
    done(&mut long(), &to(&path)).unwrap();
    let whole = std::fs::read_to_string(&path).unwrap();
    let mut again = long();
    let done = resumed(&mut again, &path);
    assert_eq!((done.ran.len(), done.summary.end), (0, End::Finished));
    assert_eq!(again.to_ipynb(), whole);

    let mut longer = long();
    longer.cells[5].source = "other prose".into();
    longer.push(Kind::Code, "say e");
    let done = resumed(&mut longer, &path);
    assert_eq!((done.summary.n_replayed, done.summary.n_run()), (4, 1));
    let mut shorter = long();
    shorter.cells.truncate(2);
    assert_eq!(resumed(&mut shorter, &path).ran.len(), 0);
    assert_eq!(Notebook::read(&path).unwrap().cells.len(), 2);

    // nothing there yet: as without
    std::fs::remove_file(&path).unwrap();
    assert_eq!(resumed(&mut long(), &path).summary.n_run(), 4);
}

#[test]
fn a_finished_cell_that_fails_when_it_runs_again_is_not_finished() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = killed_in(4, folder.path());
    let mut echo = Echo { fails: Some((2, "Error")), ..Echo::default() };
    let mut notebook = long();
    let options = RunOptions { resume: true, ..to(&path) };
    let watch: SharedWatch = Rc::new(RefCell::new(()));
    let summary = run(&mut echo, &mut notebook, &options, &watch).unwrap();
    assert_eq!((summary.end, summary.n_replayed, summary.n_run()), (End::Stopped, 1, 1));
    assert_eq!(outputs(&notebook), ["stream a\\n", "error Error again"]);
    assert_eq!(Notebook::read(&path).unwrap(), notebook);
}

#[test]
fn an_interrupt_among_finished_cells_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = killed_in(4, folder.path());
    let before = std::fs::read_to_string(&path).unwrap();
    let mut echo = Echo { fails: Some((2, "Interrupted")), ..Echo::default() };
    let options = RunOptions { resume: true, ..to(&path) };
    let watch: SharedWatch = Rc::new(RefCell::new(()));
    let summary = run(&mut echo, &mut long(), &options, &watch).unwrap();
    assert_eq!(summary.end, End::Interrupted);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
}

#[test]
fn a_file_of_something_else_is_not_resumed_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.ipynb");
    for text in ["{}", "text"] {
        std::fs::write(&path, text).unwrap();
        let options = RunOptions { resume: true, ..to(&path) };
        assert!(matches!(done(&mut long(), &options), Err(DocumentError::In { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn marks_go_when_a_run_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.ipynb");
    let done = done(&mut long(), &to(&path)).unwrap();
    let has_mark = |text: &str| {
        let notebook = Notebook::from_ipynb(text).unwrap();
        let marks = notebook.cells.iter().filter(|cell| cell.metadata.contains_key("longlens")).count();
        (marks, notebook.metadata.get("longlens").map(|own| own["done"].is_string()))
    };
    let told: Vec<_> = done.on_disk.iter().map(|text| has_mark(text)).collect();
    assert_eq!(told, [(0, None), (1, None), (2, None), (3, None)]);
    assert_eq!(has_mark(&std::fs::read_to_string(&path).unwrap()), (0, Some(true)));
}
