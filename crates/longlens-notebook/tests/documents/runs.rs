//! The runner: what cells leave, what ends a run, and files that cannot be written.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use longlens_notebook::document::{DocumentError, Notebook};
use longlens_notebook::runner::{End, RunOptions, SharedWatch, Step, Watch, run};
use serde_json::json;

use super::echo::{Echo, done, notebook, outputs, tag, to};

#[test]
fn outputs_are_kept_as_the_format_wants_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.ipynb");
    let mut notebook = notebook(&["// words\nsay a\nsay b\nshow c\nsay d\nvalue e", "fail f"]);
    let done = done(&mut notebook, &to(&path)).unwrap();
    insta::assert_snapshot!(done.log.join("\n"), @r"
    1/2 runs: say a
      a
      b
      [c]
      d
      [e]
    2/2 runs: fail f
      Error: f
    ");
    assert_eq!(
        json!(notebook.cells[0].outputs),
        json!([
            { "output_type": "stream", "name": "stdout", "text": "a\nb\n" },
            // one after the other: of one thing in two forms notebooks show the HTML alone
            { "output_type": "display_data", "metadata": {}, "data": {
                "text/plain": "picture of c", "image/png": "AQI=" } },
            { "output_type": "display_data", "metadata": {}, "data": { "text/plain": "c", "text/html": "<b>\n</b>" } },
            { "output_type": "stream", "name": "stdout", "text": "d\n" },
            { "output_type": "execute_result", "metadata": {}, "execution_count": 1, "data": { "text/plain": "e" } },
        ])
    );
    assert_eq!(
        json!(notebook.cells[1].outputs),
        json!([
            { "output_type": "error", "ename": "Error", "evalue": "f", "traceback": ["Error: f", "help: do not"] },
        ])
    );
    assert_eq!(Notebook::read(&path).unwrap(), notebook);
    assert!(matches!(nbformat::parse_notebook(&notebook.to_ipynb()), Ok(nbformat::Notebook::V4(_))));
}

/// The file is written after every cell, and each time only what changed is put into words anew: what grows with the square is
/// the writing of bytes alone.
#[test]
fn a_run_of_many_cells_takes_far_less_than_the_square_of_a_short_one() {
    let folder = tempfile::tempdir().unwrap();
    let seconds = |n: usize| {
        let path = folder.path().join(format!("{n}.ipynb"));
        let sources: Vec<String> = (0..n).map(|at| format!("say {at}")).collect();
        let mut notebook = notebook(&sources.iter().map(String::as_str).collect::<Vec<_>>());
        let started = std::time::Instant::now();
        assert_eq!(done(&mut notebook, &to(&path)).unwrap().summary.n_run(), n);
        let seconds = started.elapsed().as_secs_f64();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), notebook.to_ipynb(), "nothing is left as it was before");
        seconds
    };
    // the square would be 16 times as much; disks and other programs take their part
    let tries: Vec<_> =
        (0..3).map(|_| (seconds(250), seconds(1000))).take_while(|(few, many)| *many > 11.0 * few).collect();
    assert!(tries.len() < 3, "seconds for 250 cells, and for 1000: {tries:?}");
}

#[test]
fn a_failure_ends_the_run_unless_it_may_go_on() {
    let sources = ["say a", "fail b", "say c"];
    let mut stopped = notebook(&sources);
    let done_stopped = done(&mut stopped, &RunOptions::default()).unwrap();
    assert_eq!(done_stopped.summary.end, End::Stopped);
    assert_eq!(done_stopped.summary.failures[0].number, 2);
    assert_eq!(outputs(&stopped), ["stream a\\n", "error Error b"]);
    assert_eq!(stopped.cells[2].execution_count, None);

    let mut whole = notebook(&sources);
    let options = RunOptions { keep_going: true, ..RunOptions::default() };
    let done_whole = done(&mut whole, &options).unwrap();
    assert_eq!((done_whole.summary.end, done_whole.summary.n_run()), (End::Finished, 3));
    assert_eq!(outputs(&whole), ["stream a\\n", "error Error b", "stream c\\n"]);

    // the file has what the notebook has, whatever happened on the way
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.ipynb");
    for (sources, keep_going, resume) in [
        (&["say a", "say b", "fail c"], false, false),
        (&["say a", "fail b", "say c"], false, true),
        (&["say a", "say b", "say c"], false, true),
        (&["fail a", "say b", "fail c"], true, false),
    ] {
        let mut notebook = notebook(sources);
        done(&mut notebook, &RunOptions { keep_going, resume, ..to(&path) }).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), notebook.to_ipynb(), "{sources:?}");
    }
}

#[test]
fn results_stay_until_a_cell_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ipynb");
    let on_disk = || Notebook::read(&path).unwrap();
    let mut stored = notebook(&["say a", "say b"]);
    done(&mut stored, &to(&path)).unwrap();

    for first in ["fail c", "raise\nwait"] {
        let mut again = on_disk();
        again.cells[0].source = first.into();
        let done = done(&mut again, &to(&path)).unwrap();
        assert!(done.summary.left_alone, "{first}");
        assert_eq!(on_disk(), stored, "{first}");
    }
    let mut again = on_disk();
    again.cells[1].source = "fail c".into();
    let ran = done(&mut again, &to(&path)).unwrap();
    assert_eq!(Notebook::from_ipynb(&ran.on_disk[0]).unwrap(), stored, "the first cell begins");
    assert!(!ran.summary.left_alone);
    assert_eq!(outputs(&on_disk()), ["stream a\\n", "error Error c"]);

    let path = folder.path().join("new.ipynb");
    let ran = done(&mut notebook(&["fail a"]), &to(&path)).unwrap();
    assert!(!ran.summary.left_alone);
    assert_eq!(outputs(&Notebook::read(&path).unwrap()), ["error Error a"], "nothing was there to lose");
}

#[test]
fn tags_say_what_runs_and_what_may_fail() {
    let mut notebook = notebook(&["fail a", "say b", " \n", "say c"]);
    tag(&mut notebook, 0, "raises-exception");
    tag(&mut notebook, 1, "skip-execution");
    notebook.cells[1].outputs.push(json!({ "output_type": "stream", "name": "stdout", "text": "kept" }));
    notebook.cells[2].outputs.push(json!({ "output_type": "stream", "name": "stdout", "text": "lost" }));
    let done = done(&mut notebook, &RunOptions::default()).unwrap();
    assert_eq!(done.ran, ["fail a", "say c"]);
    assert_eq!((done.summary.end, done.summary.failures.len(), done.summary.n_cells), (End::Finished, 0, 2));
    assert_eq!(done.summary.ran, [0, 3], "what a skipped cell holds was not made here");
    assert_eq!(outputs(&notebook), ["error Error a", "stream kept", "stream c\\n"]);
    assert_eq!(notebook.cells[3].execution_count, Some(2));
}

#[test]
fn a_cell_that_runs_too_long_fails() {
    let options = RunOptions { timeout: Some(Duration::from_millis(20)), keep_going: true, ..RunOptions::default() };
    let mut notebook = notebook(&["say a\nwait", "say b", "wait"]);
    tag(&mut notebook, 2, "raises-exception");
    let done = done(&mut notebook, &options).unwrap();
    insta::assert_snapshot!(outputs(&notebook).join("\n"), @r"
    stream a\n
    error Timeout the cell ran longer than 0.02 s
    stream b\n
    error Timeout the cell ran longer than 0.02 s
    ");
    assert_eq!((done.summary.end, done.summary.failures.len()), (End::Finished, 2));
    assert!(done.log.contains(&"  Some((\"wait\", 1, 2))".to_owned()));
}

#[test]
fn no_time_at_all_is_too_short() {
    let options = RunOptions { timeout: Some(Duration::ZERO), ..RunOptions::default() };
    let mut notebook = notebook(&["wait"]);
    done(&mut notebook, &options).unwrap();
    assert_eq!(outputs(&notebook), ["error Timeout the cell ran longer than 0 s"]);
}

#[test]
fn an_interrupt_ends_the_run_in_any_case() {
    let options = RunOptions { timeout: Some(Duration::from_mins(1)), keep_going: true, ..RunOptions::default() };
    let mut inside = notebook(&["say a\nraise\nwait", "say b"]);
    tag(&mut inside, 0, "raises-exception");
    let done_inside = done(&mut inside, &options).unwrap();
    assert_eq!((done_inside.summary.end, done_inside.summary.failures.len()), (End::Interrupted, 1));
    assert_eq!(outputs(&inside), ["stream a\\n", "error Interrupted stopped"]);

    let mut between = notebook(&["say a\nraise", "say b"]);
    let done_between = done(&mut between, &options).unwrap();
    assert_eq!((done_between.summary.end, done_between.summary.failures.len()), (End::Interrupted, 0));
    assert_eq!(outputs(&between), ["stream a\\n"]);
}

#[test]
fn the_same_run_leaves_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.ipynb");
    let bytes = |options: &RunOptions| {
        let mut notebook = notebook(&["say a", "value b"]);
        notebook.cells[0].metadata.insert("execution".into(), json!({ "iopub.execute_input": "long ago" }));
        done(&mut notebook, options).unwrap();
        std::fs::read_to_string(&path).unwrap()
    };
    let first = bytes(&to(&path));
    assert_eq!(first, bytes(&to(&path)));
    assert!(!first.contains("iopub"));
    assert!(bytes(&RunOptions { timestamps: true, ..to(&path) }).contains("iopub.execute_input"));

    // a run of what a run has left
    let mut again = Notebook::read(&path).unwrap();
    done(&mut again, &to(&path)).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), first);
}

#[test]
fn a_file_that_cannot_be_written_is_known_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("folder.ipynb")).unwrap();
    for path in [at("none/out.ipynb"), at("folder.ipynb"), at("out.rhai"), at("out")] {
        let mut echo = Echo::default();
        let watch: SharedWatch = Rc::new(RefCell::new(()));
        let error = run(&mut echo, &mut notebook(&["say a"]), &to(&path), &watch).unwrap_err();
        assert!(!error.help().is_empty());
        assert!(echo.ran.is_empty(), "{error}");
    }
}

/// Removes a folder when a cell begins.
struct Remove(PathBuf);

impl Watch for Remove {
    fn begins(&mut self, _: &Step) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn a_file_that_can_no_longer_be_written_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    let mut echo = Echo::default();
    let mut notebook = notebook(&["say a", "say b"]);
    let watch: SharedWatch = Rc::new(RefCell::new(Remove(inner.clone())));
    let error = run(&mut echo, &mut notebook, &to(&inner.join("out.ipynb")), &watch).unwrap_err();
    assert!(matches!(error, DocumentError::Unwritable { .. }), "{error}");
    assert_eq!(echo.ran, ["say a"]);
    assert_eq!(outputs(&notebook), ["stream a\\n"], "what was computed is still there");
}
