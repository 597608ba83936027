//! Runs a notebook from top to bottom and keeps what its cells show.
//!
//! The whole file is written after every cell, so a kill loses at most the cell that runs. A file that a run has finished
//! says nothing of when it ran: the same notebook gives the same bytes.
//!
//! Results that the file held before stay in it until a cell of this run is done: a run whose first cell fails or is stopped
//! leaves the file as it was.
//!
//! **Resuming.** Variables live in memory and are gone with the program, so a run that goes on from an unfinished file runs
//! the finished cells again: silently, and what they had stored stays as it is. That is quick where the language keeps what
//! it measured on disk. Storing begins at the first cell that was not finished, or whose code, or any code before it, has
//! changed since; what is prose may change freely. Parameters are code: give the same ones again. What else results depend
//! on is [`RunOptions::context`]: another one starts over.

pub(crate) mod outputs;
mod resume;
mod stamp;
mod watchdog;

use std::cell::RefCell;
use std::io::Read;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::document::{self, Cell, DocumentError, Form, Kind, Notebook, RAISES, SKIPPED, language_info};
use crate::interpreter::{CellError, Interpreter, Progress};
use crate::shown::Shown;
use outputs::Collector;
pub use resume::is_complete;
use watchdog::Watchdog;

/// The name of the error of a cell that somebody stopped.
pub const INTERRUPTED: &str = "Interrupted";
/// The name of the error of a cell that ran too long.
pub const TIMEOUT: &str = "Timeout";

/// How to run a notebook.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Where the notebook is kept, after every cell; nowhere if `None`.
    pub out: Option<PathBuf>,
    /// Goes on after a cell that fails.
    pub keep_going: bool,
    /// The longest that one cell may run.
    pub timeout: Option<Duration>,
    /// Goes on where the run that left `out` was stopped.
    pub resume: bool,
    /// What results depend on beside the code: model, device and whatever else the caller sets, as any text. What a run under
    /// another text has finished is not taken over.
    pub context: String,
    /// Notes when each cell ran, which makes every run's file a different one.
    pub timestamps: bool,
}

/// Sees a run as it happens.
pub trait Watch {
    /// A cell begins.
    fn begins(&mut self, _step: &Step) {}

    /// The cell printed something, newlines as it gave them.
    fn prints(&mut self, _text: &str) {}

    /// The cell shows something, or has a value.
    fn shows(&mut self, _shown: &Shown) {}

    /// How far a long step of the cell is; `None` when it is over.
    fn progress(&mut self, _progress: Option<&Progress>) {}

    /// The cell is over, `seconds` after it began. An error may be one that its tag `raises-exception` expects.
    fn ends(&mut self, _step: &Step, _error: Option<&CellError>, _seconds: f64) {}
}

/// Nobody watches.
impl Watch for () {}

/// A watch that the cells' words go to while the run goes on.
pub type SharedWatch = Rc<RefCell<dyn Watch>>;

/// One cell of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its number among the cells that run, from 1.
    pub number: usize,
    /// How many cells run.
    pub of: usize,
    /// The first line that says something.
    pub line: String,
    /// Whether it was finished in an earlier run and only fills the memory again: nothing but its progress is seen
    /// then.
    pub replays: bool,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// How it ended.
    pub end: End,
    /// Cells with code to run.
    pub n_cells: usize,
    /// The cells that ran and whose results were stored, failed ones too: their indices in the notebook.
    pub ran: Vec<usize>,
    /// Cells that ran again for their variables.
    pub n_replayed: usize,
    /// Cells that failed, in order.
    pub failures: Vec<Failure>,
    /// Whether the file is as it was before, because its results were all there is: no cell got done.
    pub left_alone: bool,
    /// Seconds in all.
    pub seconds: f64,
}

impl Summary {
    /// How many cells ran and had their results stored.
    pub fn n_run(&self) -> usize {
        self.ran.len()
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Every cell ran, or had run before; with `keep_going` some may have failed.
    Finished,
    /// A cell failed, and those after it did not run.
    Stopped,
    /// Somebody stopped it.
    Interrupted,
}

/// A cell that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The cell's number among those that run, from 1.
    pub number: usize,
    /// Why.
    pub error: CellError,
}

/// Runs the cells with code in order and stores in the notebook what they show.
///
/// A cell tagged `skip-execution` and one without text are passed over. A cell that fails keeps its error; it ends the run
/// unless the options say otherwise or the cell is tagged `raises-exception`. Raising the interpreter's flag ends the run in
/// any case. Errors are those of the file at `options.out`: it is read to resume, and written before the first cell, with
/// what it holds if it exists, so that a wrong path is known at once.
pub fn run(
    interpreter: &mut dyn Interpreter,
    notebook: &mut Notebook,
    options: &RunOptions,
    watch: &SharedWatch,
) -> Result<Summary, DocumentError> {
    if let Some(out) = &options.out
        && Form::of(out)? == Form::Text
    {
        return Err(DocumentError::NoResults { path: out.clone() });
    }
    let mut run = NotebookRun::new(notebook, options)?;
    if !run.was_finished {
        // as a kernel says it: an editor would write that in, and call the notebook modified when it is only opened
        notebook.metadata.insert("language_info".into(), language_info());
    }
    let begun = Instant::now();
    run.begin_file(notebook)?;
    if !run.was_finished {
        run.cells(interpreter, notebook, watch)?;
    }
    run.summary.seconds = begun.elapsed().as_secs_f64();
    Ok(run.summary)
}

/// A run on its way.
struct NotebookRun<'a> {
    options: &'a RunOptions,
    /// Indices of the cells to run, with the mark that each leaves when it is done.
    cells: Vec<(usize, String)>,
    /// Cells at the start that an earlier run has finished.
    n_done: usize,
    /// Whether these are all.
    was_finished: bool,
    /// The cells as the file has them, by their indices in the notebook; empty where one changed since.
    texts: Vec<String>,
    summary: Summary,
}

/// What one cell did.
struct Ran {
    outputs: Vec<serde_json::Value>,
    execution_count: i64,
    error: Option<CellError>,
    /// The watchdog raised the flag, in time or just after the end: it says nothing of what the user wants.
    flag_is_ours: bool,
    begun_at: String,
    ended_at: String,
}

impl<'a> NotebookRun<'a> {
    /// Takes over what an earlier run has finished, and forgets the results of all other cells.
    fn new(notebook: &mut Notebook, options: &'a RunOptions) -> Result<Self, DocumentError> {
        let earlier = match &options.out {
            Some(out) if options.resume && out.exists() => Some(Notebook::read(out)?),
            _ => None,
        };
        let code = notebook.cells.iter().enumerate().filter(|(_, cell)| runs(cell));
        let indices: Vec<usize> = code.map(|(idx, _)| idx).collect();
        let marks = resume::marks(&options.context, indices.iter().map(|idx| notebook.cells[*idx].source.as_str()));
        let cells: Vec<_> = indices.into_iter().zip(marks).collect();

        resume::unmark(notebook);
        notebook.cells.iter_mut().filter(|cell| !cell.has_tag(SKIPPED)).for_each(Cell::clear);
        let (n_done, was_finished) =
            earlier.map_or((0, false), |earlier| resume::take_over(notebook, &earlier, &options.context, &cells));
        let n_cells = cells.len();
        let summary = Summary {
            end: End::Finished,
            n_cells,
            ran: Vec::new(),
            n_replayed: 0,
            failures: Vec::new(),
            left_alone: false,
            seconds: 0.0,
        };
        Ok(Self { options, cells, n_done, was_finished, texts: Vec::new(), summary })
    }

    fn cells(
        &mut self,
        interpreter: &mut dyn Interpreter,
        notebook: &mut Notebook,
        watch: &SharedWatch,
    ) -> Result<(), DocumentError> {
        let mut flag_means_stop = false; // what stood before the run is not about the run
        for (at, (idx, mark)) in self.cells.clone().into_iter().enumerate() {
            if flag_means_stop && interpreter.cancel().is_cancelled() {
                self.summary.end = End::Interrupted;
                return Ok(());
            }
            let replays = at < self.n_done;
            let line = first_line(&notebook.cells[idx].source);
            let step = Step { number: at + 1, of: self.cells.len(), line, replays };
            let ran = self.cell(interpreter, &notebook.cells[idx], &step, watch);
            flag_means_stop = !ran.flag_is_ours;

            let interrupted = ran.error.as_ref().is_some_and(|error| error.name == INTERRUPTED);
            let timed_out = ran.error.as_ref().is_some_and(|error| error.name == TIMEOUT);
            let expected = notebook.cells[idx].has_tag(RAISES) && !interrupted && !timed_out;
            let error = ran.error.clone().filter(|_| !expected);
            if replays && interrupted {
                // what the earlier run stored is still true
                self.summary.end = End::Interrupted;
                return Ok(());
            }
            if replays && error.is_none() {
                self.summary.n_replayed += 1;
                continue;
            }
            if replays {
                self.forget_from(at, notebook);
            }
            self.summary.ran.push(idx);
            self.store(&mut notebook.cells[idx], ran);
            self.changed(idx);
            if let Some(error) = error {
                self.summary.failures.push(Failure { number: at + 1, error });
                self.summary.end = match (interrupted, self.options.keep_going) {
                    (true, _) => End::Interrupted,
                    (false, true) => End::Finished,
                    (false, false) => End::Stopped,
                };
            } else if self.summary.failures.is_empty() {
                resume::mark(&mut notebook.cells[idx], &mark);
            }
            if at + 1 == self.cells.len() && self.summary.failures.is_empty() {
                resume::mark_finished(notebook, &mark);
                self.texts.clear();
            }
            self.summary.left_alone &= self.summary.end != End::Finished && self.summary.n_replayed == 0;
            if !self.summary.left_alone {
                self.save(notebook)?;
            }
            if self.summary.end != End::Finished {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Runs one cell.
    fn cell(&self, interpreter: &mut dyn Interpreter, cell: &Cell, step: &Step, watch: &SharedWatch) -> Ran {
        watch.borrow_mut().begins(step);
        let collector = Rc::new(RefCell::new(Collector::new(watch.clone(), step.replays)));
        let (begun, begun_at) = (Instant::now(), stamp::now());
        let watchdog = self.options.timeout.map(|timeout| Watchdog::new(interpreter.cancel(), timeout));
        let result = cell.code().and_then(|code| interpreter.run(&code, &(collector.clone() as _)));
        let flag_is_ours = watchdog.is_some_and(Watchdog::barked);

        let execution_count = interpreter.count() as i64;
        let mut collector = collector.borrow_mut();
        let error = match result {
            Ok(Some(shown)) => {
                collector.value(&shown, execution_count);
                None
            }
            Ok(None) => None,
            Err(error) if flag_is_ours && error.name == INTERRUPTED => Some(self.too_long(error)),
            Err(error) => Some(error),
        };
        if let Some(error) = &error {
            collector.error(error);
        }
        watch.borrow_mut().ends(step, error.as_ref(), begun.elapsed().as_secs_f64());
        let outputs = collector.take();
        Ran { outputs, execution_count, error, flag_is_ours, begun_at, ended_at: stamp::now() }
    }

    fn store(&self, cell: &mut Cell, ran: Ran) {
        cell.outputs = ran.outputs;
        cell.execution_count = Some(ran.execution_count);
        // times of an earlier run in Jupyter would be wrong now
        cell.metadata.remove("execution");
        if self.options.timestamps {
            cell.metadata.insert("execution".into(), stamp::execution(&ran.begun_at, &ran.ended_at));
        }
    }

    /// A cell that an earlier run had finished has failed: it and those behind it are to do again.
    fn forget_from(&mut self, at: usize, notebook: &mut Notebook) {
        for (idx, _) in &self.cells[at..self.n_done] {
            notebook.cells[*idx].clear();
            resume::unmark_cell(&mut notebook.cells[*idx]);
        }
        self.texts.clear();
        self.n_done = at;
    }

    /// Writes the file before the first cell runs, or what it holds already: that stays until this run has something to put in
    /// its place.
    fn begin_file(&mut self, notebook: &Notebook) -> Result<(), DocumentError> {
        let Some(out) = self.options.out.as_ref().filter(|out| out.exists()) else { return self.save(notebook) };
        if self.was_finished || self.cells.is_empty() {
            return self.save(notebook);
        }
        self.summary.left_alone = true;
        let mut bytes = Vec::new();
        document::open(out)?
            .read_to_end(&mut bytes)
            .map_err(|source| DocumentError::Unreadable { path: out.clone(), source })?;
        longlens_app::write_whole(out, &bytes).map_err(|source| DocumentError::Unwritable { path: out.clone(), source })
    }

    fn changed(&mut self, idx: usize) {
        self.texts.get_mut(idx).map(String::clear);
    }

    fn save(&mut self, notebook: &Notebook) -> Result<(), DocumentError> {
        self.options.out.as_ref().map_or(Ok(()), |out| notebook.write_known(out, &mut self.texts))
    }

    fn too_long(&self, error: CellError) -> CellError {
        let seconds = self.options.timeout.unwrap_or_default().as_secs_f64();
        CellError {
            name: TIMEOUT.into(),
            message: format!("the cell ran longer than {seconds} s"),
            help: Some("allow more time, or ask the cell for less".into()),
            place: error.place,
            calls: error.calls,
        }
    }
}

/// Whether a cell has something to run.
fn runs(cell: &Cell) -> bool {
    cell.kind == Kind::Code && !cell.has_tag(SKIPPED) && !cell.source.trim().is_empty()
}

/// The first line of code that says something: not a comment, if there is another.
fn first_line(source: &str) -> String {
    let mut lines = source.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.clone().next().unwrap_or_default();
    lines.find(|line| !line.starts_with("//")).unwrap_or(first).to_owned()
}
