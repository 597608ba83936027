//! A language of a few words, and a watch that writes down what it sees.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use longlens_core::lens::CancelToken;
use longlens_notebook::document::{DocumentError, Kind, Notebook};
use longlens_notebook::interpreter::{CellError, Completeness, Completions, Interpreter, Out, Progress};
use longlens_notebook::runner::{RunOptions, SharedWatch, Step, Summary, Watch, run};
use longlens_notebook::shown::Shown;
use serde_json::json;

/// Runs lines: `say a`, `show a`, `value a`, `fail a`, `wait` until the flag is up, `raise` it. Others do nothing.
#[derive(Default)]
pub struct Echo {
    pub ran: Vec<String>,
    pub flag: CancelToken,
    /// The number of a cell that fails at its end whatever it says, and the name of its error.
    pub fails: Option<(usize, &'static str)>,
}

impl Interpreter for Echo {
    fn run(&mut self, cell: &str, out: &Out) -> Result<Option<Shown>, CellError> {
        self.flag.lower();
        self.ran.push(cell.to_owned());
        let mut value = None;
        for line in cell.lines() {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("say", words) => out.borrow_mut().print(&format!("{words}\n")),
                ("show", words) => out.borrow_mut().show(&figure(words)),
                ("value", words) => value = Some(Shown::text(words)),
                ("fail", words) => return Err(CellError::new("Error", words, Some("do not".into()))),
                ("raise", _) => self.flag.cancel(),
                ("wait", _) => {
                    let progress = Progress { label: "wait".into(), done: 1, total: 2, seconds: 0.0, before: 0 };
                    out.borrow_mut().progress(Some(&progress));
                    while !self.flag.is_cancelled() {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    return Err(CellError::new("Interrupted", "stopped", None));
                }
                _ => {}
            }
        }
        match self.fails {
            Some((number, name)) if number == self.count() => Err(CellError::new(name, "again", None)),
            _ => Ok(value),
        }
    }

    fn aside(&mut self, _: &str, _: &Out) -> Result<Option<Shown>, CellError> {
        unreachable!("a run asks nothing beside its cells")
    }

    fn count(&self) -> usize {
        self.ran.len()
    }

    fn cancel(&self) -> CancelToken {
        self.flag.clone()
    }

    fn completeness(&self, _: &str) -> Completeness {
        Completeness::Whole
    }

    fn check(&self, _: &str) -> Result<(), CellError> {
        Ok(())
    }

    fn complete(&self, _: &str, _: usize) -> Completions {
        Completions::default()
    }

    fn inspect(&self, _: &str, _: usize, _: bool) -> Option<Shown> {
        None
    }

    fn history(&self) -> Vec<(usize, String)> {
        self.ran.iter().cloned().enumerate().collect()
    }
}

pub fn figure(text: &str) -> Shown {
    let (html, png) = (Some("<b>\n</b>".into()), Some(vec![1, 2]));
    Shown { html, png, caption: format!("picture of {text}"), ..Shown::text(text) }
}

/// Writes down what it sees, and keeps what lies on disk when a cell begins, as a kill in that cell would.
#[derive(Default)]
pub struct Log {
    lines: Vec<String>,
    out: Option<PathBuf>,
    on_disk: Vec<String>,
}

impl Watch for Log {
    fn begins(&mut self, step: &Step) {
        let how = if step.replays { "again" } else { "runs" };
        self.lines.push(format!("{}/{} {how}: {}", step.number, step.of, step.line));
        self.on_disk.extend(self.out.iter().map(|out| std::fs::read_to_string(out).unwrap()));
    }

    fn prints(&mut self, text: &str) {
        self.lines.push(format!("  {}", text.trim_end()));
    }

    fn shows(&mut self, shown: &Shown) {
        self.lines.push(format!("  [{}]", shown.text));
    }

    fn progress(&mut self, progress: Option<&Progress>) {
        self.lines.push(format!("  {:?}", progress.map(|progress| (&progress.label, progress.done, progress.total))));
    }

    fn ends(&mut self, _: &Step, error: Option<&CellError>, seconds: f64) {
        assert!(seconds >= 0.0);
        self.lines.extend(error.map(|error| format!("  {}: {}", error.name, error.message)));
    }
}

pub fn notebook(sources: &[&str]) -> Notebook {
    let mut notebook = Notebook::new();
    for source in sources {
        notebook.push(Kind::Code, *source);
    }
    notebook
}

pub fn tag(notebook: &mut Notebook, idx: usize, tag: &str) {
    notebook.cells[idx].metadata.insert("tags".into(), json!([tag]));
}

/// What a run did, and what it leaves.
pub struct Done {
    pub summary: Summary,
    pub ran: Vec<String>,
    pub log: Vec<String>,
    pub on_disk: Vec<String>,
}

pub fn done(notebook: &mut Notebook, options: &RunOptions) -> Result<Done, DocumentError> {
    let mut echo = Echo::default();
    let log = Rc::new(RefCell::new(Log { out: options.out.clone(), ..Log::default() }));
    let summary = run(&mut echo, notebook, options, &(log.clone() as SharedWatch));
    let Log { lines, on_disk, .. } = log.take();
    summary.map(|summary| Done { summary, ran: echo.ran, log: lines, on_disk })
}

pub fn to(path: &Path) -> RunOptions {
    RunOptions { out: Some(path.to_owned()), ..RunOptions::default() }
}

pub fn outputs(notebook: &Notebook) -> Vec<String> {
    let outputs = notebook.cells.iter().flat_map(|cell| &cell.outputs);
    let told = outputs.map(|output| match &output["output_type"] {
        kind if kind == "stream" => format!("stream {}", output["text"]),
        kind if kind == "error" => format!("error {} {}", output["ename"], output["evalue"]),
        kind => format!("{kind} {}", output["data"]["text/plain"]),
    });
    told.map(|text| text.replace('"', "")).collect()
}
