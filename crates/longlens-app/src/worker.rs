//! The thread that owns the open model: one thing at a time, the most urgent first, and never in anybody's way.
//!
//! Urgency: prompts, runs, inspections of the newest run, the next token of its text, differences of two runs, cells of a
//! passkey grid or samples of a task. A new run cancels whatever is computed and the run before it; an inspection cancels an older one of its kind.
//! Grid cells and differences that give way are done again later, so nothing is lost.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use longlens_core::lens::{CancelToken, Control, Lens, ModelInfo};
use longlens_core::panics::message;
use longlens_core::trace::{MapPick, PooledMap, RunRecord, Trace, Watch};
use longlens_eval::evaluate::Record as Sampled;
use longlens_eval::generate::Generated;
use longlens_eval::passkey::{Cell, Grid};
use serde_json::{Map, Value};

use crate::pace;
use crate::problem::Problem;
use crate::prompt::{Prompt, PromptSource};
use crate::runs::{RunAsk, RunId};
use crate::settings::Settings;
use crate::sweep::Evaluation;
use crate::views::interactive::Record;

mod executor;

/// Something to compute.
#[derive(Debug, Clone)]
pub enum Ask {
    /// A prompt to build, with a number of the asker's.
    Prompt(u64, PromptSource),
    /// A run; the newest cancels those before.
    Run(Arc<RunAsk>),
    /// An inspection of a run.
    Inspect(InspectAsk),
    /// The maps of two runs.
    Difference(DifferenceAsk),
    /// A passkey grid under these settings.
    Grid(GridAsk),
    /// The samples of a task under these settings, in the place of a grid.
    Evaluate(EvaluateAsk),
    /// The page of a view.
    Page(PageAsk),
}

/// Which view wants an inspection; a newer one of a kind takes the place of an older one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InspectKind {
    /// All heads from one query.
    Heads,
    /// One head's map.
    Map,
    /// The view at this place of [`crate::views::TRACE_VIEWS`].
    View(usize),
}

/// An inspection of a run.
#[derive(Debug, Clone)]
pub struct InspectAsk {
    /// A number of the asker's, which the answer repeats.
    pub id: u64,
    /// The run; computed again when another one is loaded.
    pub run: Arc<RunAsk>,
    /// Its generated tokens that the inspection may be about.
    pub generated: Vec<u32>,
    /// Which view asks.
    pub kind: InspectKind,
    /// At what.
    pub watch: Watch,
}

/// The maps of two runs, cell by cell.
#[derive(Debug, Clone)]
pub struct DifferenceAsk {
    /// A number of the asker's.
    pub id: u64,
    /// The two runs.
    pub runs: [Arc<RunAsk>; 2],
    pub pick: MapPick,
}

/// What the page of a view of a run shows, for which the model is asked several times.
#[derive(Debug, Clone)]
pub struct PageAsk {
    /// A number of the asker's.
    pub id: u64,
    /// The run; computed again when another one is loaded.
    pub run: Arc<RunAsk>,
    /// Its generated tokens that the page may be about.
    pub generated: Vec<u32>,
    /// What makes it.
    pub of: Arc<dyn MakePage>,
}

/// What makes a page of what it has recorded.
pub trait MakePage: std::fmt::Debug + Send + Sync {
    /// As [`crate::views::Subject::page`].
    fn page(&self, record: &mut Record) -> Result<Option<Map<String, Value>>, Problem>;
}

/// A passkey grid.
#[derive(Debug, Clone)]
pub struct GridAsk {
    /// A number of the asker's.
    pub id: u64,
    /// Method and scaling.
    pub settings: Settings,
    /// Which prompts.
    pub grid: Grid,
}

/// The samples of a task.
#[derive(Debug, Clone)]
pub struct EvaluateAsk {
    /// A number of the asker's.
    pub id: u64,
    /// Method and scaling.
    pub settings: Settings,
    /// The task and its lengths.
    pub evaluation: Evaluation,
    /// `cpu`, `wgpu` or `cuda`, for the records of samples.
    pub device: String,
}

/// What the worker has to tell.
#[derive(Debug)]
pub enum Event {
    /// The model is open, or cannot be opened.
    Opened(Result<Box<ModelInfo>, Problem>),
    /// A prompt was built.
    Prompt(u64, Result<Arc<Prompt>, Problem>),
    /// How far the work is.
    Progress(Progress),
    /// A run's prompt is done.
    Prefilled {
        run: RunId,
        /// What was run.
        record: RunRecord,
        /// Losses, in nats.
        nll: Vec<f32>,
        /// The first token that has one.
        nll_from: usize,
        /// Seconds it took.
        seconds: f64,
    },
    /// A run chose a token.
    Token {
        run: RunId,
        token: u32,
        /// Its own text.
        piece: String,
        /// Text that became certain.
        text: String,
        /// Tokens a second so far, after the first.
        speed: Option<f64>,
    },
    /// A run is over.
    Finished(RunId, Box<Generated>),
    /// An inspection is done.
    Inspected {
        /// The asker's number.
        id: u64,
        run: RunId,
        /// Which view asked.
        kind: InspectKind,
        /// What was seen.
        trace: Box<Trace>,
    },
    /// An inspection failed, by the asker's number.
    InspectFailed(u64, InspectKind, Problem),
    /// The maps of two runs.
    Difference(u64, Result<Box<[PooledMap; 2]>, Problem>),
    /// What a page shows, or why it shows the picture alone.
    Page(u64, Result<Option<Map<String, Value>>, Problem>),
    /// A cell of a grid is done: which grid, the cell, and how many are left.
    Cell(u64, Box<Cell>, usize),
    /// The samples of a task are counted: which grid, how many there are, and what a user should know of them.
    Counted(u64, usize, Vec<String>),
    /// A sample is finished: which grid, the sample, and how many are left.
    Sample(u64, Box<Sampled>, usize),
    GridFailed(u64, Problem),
    /// A run was stopped.
    Cancelled(RunId),
    Failed(RunId, Problem),
    /// Nothing is left to do of so many questions. One that was asked meanwhile is not among them.
    Idle(u64),
}

/// How far the work is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// What is computed.
    pub what: &'static str,
    /// Steps done.
    pub done: usize,
    /// Steps in all.
    pub total: usize,
    /// Seconds of work on it.
    pub seconds: f64,
    /// Steps of those done that these seconds do not count.
    pub before: usize,
}

impl Progress {
    /// Seconds that are left at the speed so far; nothing while that is too early to tell.
    pub fn left(&self) -> Option<f64> {
        pace::left(self.seconds, self.done.saturating_sub(self.before), self.total.saturating_sub(self.before))
    }
}

/// The thread's other end.
pub struct Worker {
    mailbox: Arc<Mailbox>,
}

struct Mailbox {
    mail: Mutex<Mail>,
    arrived: Condvar,
}

/// What waits, and what is computed now.
#[derive(Default)]
struct Mail {
    prompt: Option<(u64, PromptSource)>,
    run: Option<Arc<RunAsk>>,
    inspections: Vec<InspectAsk>,
    /// Whether the loaded run's text goes on.
    generating: bool,
    /// Whether it is to end with its next step.
    end_text: bool,
    pages: Vec<PageAsk>,
    difference: Option<DifferenceAsk>,
    grid: Option<GridWork>,
    closed: bool,
    /// Questions so far.
    n_asked: u64,
    current: Option<(Kind, CancelToken)>,
}

/// What is computed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Prompt,
    Run,
    Inspect(InspectKind),
    Token,
    Page,
    Difference,
    Grid,
}

/// The most urgent thing that waits.
enum Task {
    Prompt(u64, PromptSource),
    Run(Arc<RunAsk>),
    Inspect(InspectAsk),
    Token,
    Page(PageAsk),
    Difference(DifferenceAsk),
    Cell(GridAsk, usize),
    Samples(EvaluateAsk),
}

/// A grid that is filled.
#[derive(Clone)]
enum GridWork {
    /// Pass keys, and how many cells are finished.
    Passkeys(GridAsk, usize),
    /// Samples of a task.
    Samples(EvaluateAsk),
}

impl GridWork {
    fn id(&self) -> u64 {
        match self {
            Self::Passkeys(ask, _) => ask.id,
            Self::Samples(ask) => ask.id,
        }
    }
}

impl Worker {
    /// Starts the thread, which opens the model and tells `report` everything.
    pub fn start(
        open: impl FnOnce() -> Result<Box<dyn Lens>, Problem> + Send + 'static,
        report: impl Fn(Event) + Send + 'static,
    ) -> std::io::Result<Self> {
        let mailbox = Arc::new(Mailbox { mail: Mutex::default(), arrived: Condvar::new() });
        let inside = mailbox.clone();
        let work = move || match caught(open) {
            Ok(lens) => {
                report(Event::Opened(Ok(Box::new(lens.model().clone()))));
                executor::Executor::new(lens, report, inside).work();
            }
            Err(fault) => report(Event::Opened(Err(fault.into()))),
        };
        std::thread::Builder::new().name(THREAD.into()).spawn(work)?;
        Ok(Self { mailbox })
    }

    /// Asks for something.
    pub fn ask(&self, ask: Ask) {
        let mut mail = self.mailbox.lock();
        mail.n_asked += 1;
        match ask {
            Ask::Prompt(id, source) => {
                mail.prompt = Some((id, source));
                // what is computed is about a prompt that is on its way out
                mail.give_way(|kind| !matches!(kind, Kind::Prompt | Kind::Token));
            }
            Ask::Run(run) => {
                mail.run = Some(run);
                // inspections belong to an older run now
                mail.inspections.clear();
                (mail.generating, mail.end_text) = (false, false);
                mail.give_way(|kind| kind != Kind::Prompt);
            }
            Ask::Inspect(inspection) => {
                let kind = inspection.kind;
                mail.inspections.retain(|waiting| waiting.kind != kind);
                mail.inspections.push(inspection);
                mail.give_way(|now| now == Kind::Inspect(kind) || matches!(now, Kind::Difference | Kind::Grid));
            }
            Ask::Difference(difference) => {
                mail.difference = Some(difference);
                mail.give_way(|kind| matches!(kind, Kind::Difference | Kind::Grid));
            }
            Ask::Page(page) => {
                mail.pages.push(page);
                mail.give_way(|kind| matches!(kind, Kind::Difference | Kind::Grid));
            }
            Ask::Grid(grid) => {
                mail.grid = Some(GridWork::Passkeys(grid, 0));
                mail.give_way(|kind| kind == Kind::Grid);
            }
            Ask::Evaluate(ask) => {
                mail.grid = Some(GridWork::Samples(ask));
                mail.give_way(|kind| kind == Kind::Grid);
            }
        }
        self.mailbox.arrived.notify_one();
    }

    /// Stops what is computed and forgets what waits.
    pub fn cancel(&self) {
        let mut mail = self.mailbox.lock();
        mail.forget();
        mail.give_way(|_| true);
        self.mailbox.arrived.notify_one();
    }

    /// Stops a grid and keeps its cells.
    pub fn cancel_grid(&self) {
        let mut mail = self.mailbox.lock();
        mail.grid = None;
        mail.give_way(|kind| kind == Kind::Grid);
        self.mailbox.arrived.notify_one();
    }
}

/// Name of the thread, so that a panic hook can tell it from the others.
pub const THREAD: &str = "longlens-worker";

impl Drop for Worker {
    /// The thread ends at its next step; nobody waits for it.
    fn drop(&mut self) {
        self.cancel();
        self.mailbox.lock().closed = true;
        self.mailbox.arrived.notify_one();
    }
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Mail> {
        // mail is consistent at every step, so a panic elsewhere does not spoil it
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next task and the token that stops it; nothing once closed. Calls `idle` before it waits.
    fn next(&self, idle: impl Fn(u64)) -> Option<(Task, CancelToken)> {
        let mut mail = self.lock();
        mail.current = None;
        let mut last = None;
        loop {
            if mail.closed {
                return None;
            }
            if let Some((kind, task)) = mail.urgent() {
                let token = CancelToken::default();
                if kind == Kind::Token && std::mem::take(&mut mail.end_text) {
                    token.cancel();
                }
                mail.current = Some((kind, token.clone()));
                return Some((task, token));
            }
            let n_asked = mail.n_asked;
            // questions that were taken back at once count too
            if last != Some(n_asked) {
                last = Some(n_asked);
                drop(mail);
                idle(n_asked);
                mail = self.lock();
                continue;
            }
            mail = self.arrived.wait(mail).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Mail {
    /// Takes the most urgent task. Differences and grids stay until they are finished.
    fn urgent(&mut self) -> Option<(Kind, Task)> {
        if let Some((id, source)) = self.prompt.take() {
            return Some((Kind::Prompt, Task::Prompt(id, source)));
        }
        if let Some(run) = self.run.take() {
            return Some((Kind::Run, Task::Run(run)));
        }
        if !self.inspections.is_empty() {
            let inspection = self.inspections.remove(0);
            return Some((Kind::Inspect(inspection.kind), Task::Inspect(inspection)));
        }
        if self.generating {
            return Some((Kind::Token, Task::Token));
        }
        if !self.pages.is_empty() {
            return Some((Kind::Page, Task::Page(self.pages.remove(0))));
        }
        if let Some(difference) = &self.difference {
            return Some((Kind::Difference, Task::Difference(difference.clone())));
        }
        let task = match self.grid.as_ref()? {
            GridWork::Passkeys(grid, done) => Task::Cell(grid.clone(), *done),
            GridWork::Samples(ask) => Task::Samples(ask.clone()),
        };
        Some((Kind::Grid, task))
    }

    fn give_way(&self, to: impl Fn(Kind) -> bool) {
        if let Some((kind, token)) = &self.current
            && to(*kind)
        {
            token.cancel();
        }
    }

    fn forget(&mut self) {
        (self.prompt, self.run, self.difference, self.grid) = (None, None, None, None);
        self.inspections.clear();
        self.pages.clear();
        // a text that was begun still says how it ended
        self.end_text = self.generating;
    }
}

/// Passes progress on now and then, and cancellation in.
struct Watcher<'a> {
    what: &'static str,
    token: &'a CancelToken,
    report: &'a dyn Fn(Event),
    started: Instant,
    /// When progress was reported last.
    reported: Option<Instant>,
    /// What was done of it earlier.
    earlier: Earlier,
}

/// Work on one thing with pauses in between.
#[derive(Debug, Clone, Copy, Default)]
struct Earlier {
    /// Seconds so far.
    seconds: f64,
    /// Steps that were done when they began; nothing before the first is known.
    before: Option<usize>,
}

/// Time between two words of progress.
const PAUSE: Duration = Duration::from_millis(40);

impl<'a> Watcher<'a> {
    /// Watches one task, which has not reported yet.
    fn new(what: &'static str, token: &'a CancelToken, report: &'a dyn Fn(Event)) -> Self {
        Self::after(Earlier { seconds: 0.0, before: Some(0) }, what, token, report)
    }

    /// Watches a task that goes on.
    fn after(earlier: Earlier, what: &'static str, token: &'a CancelToken, report: &'a dyn Fn(Event)) -> Self {
        Self { what, token, report, started: Instant::now(), reported: None, earlier }
    }

    /// What the task goes on after, where it makes a pause now.
    fn pause(&self) -> Earlier {
        Earlier { seconds: self.seconds(), ..self.earlier }
    }

    fn seconds(&self) -> f64 {
        self.earlier.seconds + self.started.elapsed().as_secs_f64()
    }
}

impl Control for Watcher<'_> {
    fn progress(&mut self, done: usize, total: usize) {
        let before = *self.earlier.before.get_or_insert(done);
        if self.reported.is_none_or(|reported| reported.elapsed() >= PAUSE) {
            self.reported = Some(Instant::now());
            let seconds = self.seconds();
            (self.report)(Event::Progress(Progress { what: self.what, done, total, seconds, before }));
        }
    }

    fn cancelled(&self) -> bool {
        self.token.is_cancelled()
    }
}

/// Why something was not computed.
enum Fault {
    /// The model said why; it can go on.
    Refused(Problem),
    /// It panicked, which is a fault of ours; what it held cannot be trusted.
    Broken(Problem),
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(problem) | Fault::Broken(problem) => problem,
        }
    }
}

/// A panic of the engine becomes a problem, and the program goes on.
fn caught<T>(work: impl FnOnce() -> Result<T, Problem>) -> Result<T, Fault> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(Fault::Refused),
        Err(panic) => {
            let text = message(panic.as_ref());
            let help = "this is a fault in longlens; what you had is kept".to_owned();
            Err(Fault::Broken(Problem::new(format!("internal error: {text}"), help)))
        }
    }
}
