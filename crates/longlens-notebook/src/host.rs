//! What the functions of the language share: the open model, where words go, the flag that stops, files they may touch.

pub mod files;
mod model;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::{Rc, Weak};
use std::time::Instant;

use longlens_app::Problem;
use longlens_core::lens::{CancelToken, Control, Lens, ModelInfo};
use longlens_core::printable::printable_line;
use longlens_core::trace::RunRecord;
use longlens_eval::evaluate::Record as Sampled;
use longlens_plot::Ground;
use rhai::{Dynamic, EvalAltResult, NativeCallContext};

pub use files::Files;
pub use model::OpenModel;

use crate::interpreter::{Out, Output, Progress};
use crate::memory::{Gauge, live};
use crate::running::{self, Exhausted};
use crate::shown::{Form, Shown};
use crate::table::Table as Rows;

/// Opens models for the language; the program decides how.
pub trait Models {
    /// Opens a model: `embedded`, a folder, or a name in the Hugging Face cache.
    fn open(&self, model: &str) -> Result<Box<dyn Lens>, Problem>;

    /// The same, otherwise than its files say.
    fn open_with(&self, model: &str, _opening: &Opening) -> Result<Box<dyn Lens>, Problem> {
        Err(Problem::new(format!("how `{model}` is opened cannot be set here"), None))
    }

    /// What is said of a model when a cell says nothing of it.
    fn usual(&self, _model: &str) -> Opening {
        Opening::default()
    }

    /// Texts that the model was not trained on, if some come with it.
    fn held_out(&self, _model: &ModelInfo) -> Option<String> {
        None
    }
}

/// What is said of a model when it is opened, beside its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opening {
    /// Tokens that it was trained on.
    pub trained_context: Option<usize>,
    /// A LoRA adapter to add to its weights.
    pub adapter: Option<String>,
    /// How its matrices are kept, by the name that `--weights` takes; as the session's where nothing is said.
    pub weights: Option<String>,
    /// Where it is computed, by the name that `--device` takes; as the session's where nothing is said.
    pub device: Option<String>,
    /// Whether keys and values stay with the host; as the session's where nothing is said.
    pub kv_offload: Option<bool>,
}

/// What the functions of the language share.
pub struct Host {
    models: Box<dyn Models>,
    /// The model that is opened when nobody says which.
    default_model: String,
    current: RefCell<Option<Rc<OpenModel>>>,
    /// The model that was to be opened last, where it was not.
    unopened: RefCell<Option<String>>,
    /// Models by the names that opened them, as long as somebody holds them.
    named: RefCell<HashMap<String, Weak<OpenModel>>>,
    /// The model that ran last beside the open one: held, so that naming it call after call opens it once.
    beside: RefCell<Option<Rc<OpenModel>>>,
    out: RefCell<Out>,
    cancel: CancelToken,
    files: Files,
    draws: bool,
    /// What pictures are drawn as.
    form: Cell<Form>,
    /// What pictures are shown on.
    ground: Cell<Ground>,
    /// Rows of sweeps that were computed, with what ran to fill them, by what they are.
    pub(crate) rows: RefCell<HashMap<String, Rc<Part>>>,
    /// Finished cells of measurements that were stopped, as JSON by what they are.
    pub(crate) cells: RefCell<HashMap<String, String>>,
    /// Finished samples of tasks, by their keys.
    pub(crate) samples: RefCell<HashMap<String, Rc<Sampled>>>,
    /// What to do next, for the error of the cell that runs.
    advice: RefCell<Option<String>>,
    /// What the running cell has said of its prompts.
    cautioned: RefCell<HashSet<String>>,
    /// What ran since somebody asked last.
    records: RefCell<Vec<RunRecord>>,
    /// What the long step that runs is a part of, the outermost first.
    outer: RefCell<Vec<Outer>>,
    n_sequences: Cell<u64>,
    /// What the running cell has used up.
    exhausted: Rc<Cell<Option<Exhausted>>>,
    /// What the session holds, and may.
    gauge: Rc<Gauge>,
}

/// What one setting of a sweep gave.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub rows: Rows,
    /// What ran to fill them.
    pub records: Vec<RunRecord>,
}

/// What a function of the language returns.
pub type Returned<T> = Result<T, Box<EvalAltResult>>;

/// The host behind a call.
pub fn host(context: &NativeCallContext) -> Rc<Host> {
    let host = context.tag().and_then(|tag| tag.clone().try_cast::<Rc<Host>>());
    host.unwrap_or_else(|| panic!("{} was called without a session", context.fn_name()))
}

/// An error that a function of the language raises.
pub fn raise(problem: impl Into<Problem>) -> Box<EvalAltResult> {
    Box::new(EvalAltResult::ErrorRuntime(Dynamic::from(problem.into()), rhai::Position::NONE))
}

/// An error with advice.
pub fn refuse<T>(message: impl Into<String>, help: impl Into<String>) -> Returned<T> {
    Err(raise(Problem::new(message, help.into())))
}

impl Host {
    /// A host with nothing open.
    pub fn new(models: Box<dyn Models>, default_model: String, files: Files, draws: bool, out: Out) -> Self {
        Self {
            models,
            default_model,
            current: RefCell::new(None),
            unopened: RefCell::new(None),
            named: RefCell::default(),
            beside: RefCell::default(),
            out: RefCell::new(out),
            cancel: CancelToken::default(),
            files,
            draws,
            form: Cell::default(),
            ground: Cell::default(),
            rows: RefCell::default(),
            cells: RefCell::default(),
            samples: RefCell::default(),
            advice: RefCell::default(),
            cautioned: RefCell::default(),
            records: RefCell::default(),
            outer: RefCell::default(),
            n_sequences: Cell::new(0),
            exhausted: Rc::default(),
            gauge: Rc::default(),
        }
    }

    /// The open model; opens the default one when there is none. After a model that could not be opened no other takes its
    /// place unasked, since results of one would be read as results of the other.
    pub fn model(&self) -> Returned<Rc<OpenModel>> {
        if let Some(name) = &*self.unopened.borrow() {
            let current = self.current.borrow();
            let other = match &*current {
                Some(model) => format!("go on with {}: `select()` on its variable, as in m.select()", model.info.name),
                None => "say which other one is to run, as in open(\"embedded\")".to_owned(),
            };
            return refuse(
                format!("the model `{}` could not be opened, and no other was since", printable_line(name)),
                format!("open that model, or {other}"),
            );
        }
        if let Some(model) = self.current.borrow().clone() {
            return Ok(model);
        }
        let opened = self.open(&self.default_model);
        if opened.is_err() {
            // nobody chose it: the next that asks hears again what is wrong
            self.unopened.take();
        }
        opened
    }

    /// What is open, if something is.
    pub fn opened(&self) -> Option<Rc<OpenModel>> {
        self.current.borrow().clone()
    }

    /// Opens a model; from now on it is the one that runs.
    pub fn open(&self, name: &str) -> Returned<Rc<OpenModel>> {
        self.unopened.replace(Some(name.to_owned()));
        let model = self.load(name)?;
        self.select(&model);
        Ok(model)
    }

    /// Opens a model otherwise than its files say; from now on it is the one that runs.
    pub fn open_with(&self, name: &str, opening: &Opening) -> Returned<Rc<OpenModel>> {
        self.unopened.replace(Some(name.to_owned()));
        // two checkpoints in memory are enough
        self.beside.take();
        let usual = self.models.usual(name);
        let opening = &Opening {
            weights: opening.weights.clone().or(usual.weights),
            device: opening.device.clone().or(usual.device),
            kv_offload: opening.kv_offload.or(usual.kv_offload),
            adapter: opening.adapter.clone().or(usual.adapter),
            trained_context: opening.trained_context.or(usual.trained_context),
        };
        let model = self.welcome(opening.clone(), || self.models.open_with(name, opening))?;
        self.select(&model);
        Ok(model)
    }

    /// A model for one call: one that is open under this name already, else opened and kept until another one is. The open
    /// model stays the one that runs.
    pub fn open_beside(&self, name: &str) -> Returned<Rc<OpenModel>> {
        let known = self.named.borrow().get(name).and_then(Weak::upgrade).filter(|model| !model.is_broken());
        let model = known.map_or_else(|| self.load(name), Ok)?;
        let is_current = self.current.borrow().as_ref().is_some_and(|current| Rc::ptr_eq(current, &model));
        if !is_current {
            *self.beside.borrow_mut() = Some(model.clone());
        }
        Ok(model)
    }

    fn load(&self, name: &str) -> Returned<Rc<OpenModel>> {
        // two checkpoints in memory are enough
        self.beside.take();
        let model = self.welcome(self.models.usual(name), || self.models.open(name))?;
        self.named.borrow_mut().insert(name.to_owned(), Rc::downgrade(&model));
        Ok(model)
    }

    /// Opens a model, counts what it takes, and says what its files gave reason to say.
    fn welcome(
        &self,
        opening: Opening,
        open: impl FnOnce() -> Result<Box<dyn Lens>, Problem>,
    ) -> Returned<Rc<OpenModel>> {
        let before = live();
        let lens = open().map_err(raise)?;
        let bytes = live() as i64 - before as i64;
        let model = Rc::new(OpenModel::new(lens, opening, self.cancel.clone(), &self.gauge, bytes));
        for warning in &model.info.warnings {
            self.note(&printable_line(warning));
        }
        Ok(model)
    }

    /// Makes an open model the one that runs.
    pub fn select(&self, model: &Rc<OpenModel>) {
        self.unopened.take();
        *self.current.borrow_mut() = Some(model.clone());
    }

    /// Texts that a model was not trained on, if some come with it.
    pub fn held_out(&self, model: &OpenModel) -> Option<String> {
        self.models.held_out(&model.info)
    }

    /// The flag that stops what runs.
    pub fn cancel(&self) -> &CancelToken {
        &self.cancel
    }

    /// Where words go from now on.
    pub fn set_out(&self, out: &Out) {
        *self.out.borrow_mut() = out.clone();
    }

    /// Says something to whoever listens.
    pub fn tell(&self, say: impl FnOnce(&mut dyn Output)) {
        let out = self.out.borrow().clone();
        say(&mut *out.borrow_mut());
    }

    /// Shows something at once.
    pub fn show(&self, shown: Shown) {
        let shown = self.drawn(shown);
        self.tell(|out| out.show(&shown));
    }

    /// What pictures are shown on.
    pub fn ground(&self) -> Ground {
        self.ground.get()
    }

    /// Shows pictures on this ground from now on.
    pub fn set_ground(&self, ground: Ground) {
        self.ground.set(ground);
    }

    /// The same, its pictures in this form.
    pub fn show_as(&self, shown: Shown, form: Form) {
        let shown = self.drawn_as(shown, form);
        self.tell(|out| out.show(&shown));
    }

    /// Whether this place keeps what cells say, with their pictures.
    pub fn keeps(&self) -> bool {
        self.draws
    }

    /// What pictures are drawn as from now on.
    pub fn set_form(&self, form: Form) {
        self.form.set(form);
    }

    /// What pictures are drawn as.
    pub fn form(&self) -> Form {
        self.form.get()
    }

    /// The same with its pictures, where the place wants them at once.
    pub fn drawn(&self, shown: Shown) -> Shown {
        self.drawn_as(shown, self.form())
    }

    fn drawn_as(&self, shown: Shown, form: Form) -> Shown {
        let shown = Shown { figure: shown.figure.map(|figure| self.ground.get().under(figure)), ..shown };
        if !self.draws {
            return shown;
        }
        let plain = Shown { figure: None, ..shown.clone() };
        shown.draw_as(form).unwrap_or_else(|error| Shown { text: format!("{}\n({error})", plain.text), ..plain })
    }

    /// Says something below the results: warnings, what was skipped.
    pub fn note(&self, text: &str) {
        self.tell(|out| out.print(&format!("note: {text}\n")));
    }

    /// Says what a user should know of a prompt, each sentence once in a cell.
    pub fn caution(&self, warnings: &[String]) {
        for warning in warnings {
            if self.cautioned.borrow_mut().insert(warning.clone()) {
                self.note(&printable_line(warning));
            }
        }
    }

    /// A long step: tells how far it is, and stops when asked to.
    pub fn work(&self, label: impl Into<String>) -> Work<'_> {
        Work {
            host: self,
            progress: Progress { label: label.into(), done: 0, total: 0, seconds: 0.0, before: 0 },
            started: Instant::now(),
            told: false,
        }
    }

    /// Long steps from now on are the part `at` of `n` of a call that began at `started` with `n_before` of them, until what is returned
    /// goes.
    pub fn part(
        &self,
        label: impl Into<String>,
        (at, n, n_before): (usize, usize, usize),
        started: Instant,
    ) -> InPart<'_> {
        self.outer.borrow_mut().push(Outer { label: label.into(), at, n: n.max(1), n_before, started });
        InPart(self)
    }

    /// The progress of a step as that of the whole call: whoever waits for a sweep wants to know when all of it is there.
    fn whole(&self, step: &Progress) -> Progress {
        let parts = self.outer.borrow();
        let Some(first) = parts.first() else { return step.clone() };
        let share = if step.total == 0 { 0.0 } else { (step.done as f64 / step.total as f64).min(1.0) };
        let share = parts.iter().rev().fold(share, |share, part| (part.at as f64 + share) / part.n as f64);
        let labels = parts.iter().map(|part| format!("{} {} of {}", part.label, part.at + 1, part.n));
        Progress {
            label: labels.chain([step.label.clone()]).collect::<Vec<_>>().join(": "),
            done: (share * SHARES) as usize,
            total: SHARES as usize,
            seconds: first.started.elapsed().as_secs_f64(),
            before: (first.n_before as f64 / first.n as f64 * SHARES) as usize,
        }
    }

    /// The files that cells may touch.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Remembers what the running cell has used up; it is stopped at its next step.
    pub fn exhaust(&self, what: Exhausted) {
        self.exhausted.set(Some(what));
    }

    /// What the running cell has used up, if anything.
    pub fn exhausted(&self) -> Option<Exhausted> {
        self.exhausted.get()
    }

    /// A new cell has used up nothing.
    pub fn replenish(&self) {
        self.exhausted.set(None);
        self.cautioned.borrow_mut().clear();
        self.gauge.begin();
        running::begin(&self.gauge, &self.cancel, &self.exhausted);
    }

    /// What the session holds, and may.
    pub fn gauge(&self) -> &Rc<Gauge> {
        &self.gauge
    }

    /// Refuses what would make so many bytes at once, if there is no room for them.
    pub fn room_for(&self, bytes: u64) -> Returned<()> {
        if !self.gauge.lacks(bytes) {
            return Ok(());
        }
        self.exhaust(Exhausted::Share);
        Err(Box::new(EvalAltResult::ErrorTerminated(Dynamic::UNIT, rhai::Position::NONE)))
    }

    /// An error where a long step is to stop.
    pub fn go_on(&self) -> Returned<()> {
        if self.cancel.is_cancelled() {
            return Err(Box::new(EvalAltResult::ErrorTerminated(Dynamic::UNIT, rhai::Position::NONE)));
        }
        self.room_for(0)
    }

    /// Says what to do next, should the cell that runs end in an error.
    pub fn advise(&self, advice: String) {
        *self.advice.borrow_mut() = Some(advice);
    }

    /// What to do next after an error, if something was said; nobody is told twice.
    pub fn take_advice(&self) -> Option<String> {
        self.advice.take()
    }

    /// Remembers what ran, for tables made of it.
    pub fn ran(&self, record: &RunRecord) {
        let mut records = self.records.borrow_mut();
        if !records.contains(record) {
            records.push(record.clone());
        }
    }

    /// What ran since the last call.
    pub fn take_records(&self) -> Vec<RunRecord> {
        self.records.take()
    }

    /// A number for a sequence, so that it is known whether the model still holds it.
    pub fn next_sequence(&self) -> u64 {
        self.n_sequences.set(self.n_sequences.get() + 1);
        self.n_sequences.get()
    }
}

/// One of several parts of what a call does.
struct Outer {
    /// What the call does.
    label: String,
    /// Parts before this one, and parts in all.
    at: usize,
    n: usize,
    /// Parts that were there before the call began.
    n_before: usize,
    /// When the first began.
    started: Instant,
}

/// Steps that are parts of a longer one, until this goes.
pub struct InPart<'a>(&'a Host);

impl Drop for InPart<'_> {
    fn drop(&mut self) {
        self.0.outer.borrow_mut().pop();
    }
}

/// Steps that progress is told in, where parts of different lengths make one whole.
const SHARES: f64 = 1000.0;

/// A long step in progress.
pub struct Work<'a> {
    host: &'a Host,
    progress: Progress,
    started: Instant,
    told: bool,
}

impl Work<'_> {
    /// What is being done from now on.
    pub fn doing(&mut self, label: impl Into<String>) {
        self.progress.label = label.into();
    }
}

impl Control for Work<'_> {
    fn progress(&mut self, done: usize, total: usize) {
        self.told = true;
        (self.progress.done, self.progress.total) = (done, total);
        self.progress.seconds = self.started.elapsed().as_secs_f64();
        let whole = self.host.whole(&self.progress);
        self.host.tell(|out| out.progress(Some(&whole)));
    }

    fn cancelled(&self) -> bool {
        self.host.cancel.is_cancelled()
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        if self.told {
            self.host.tell(|out| out.progress(None));
        }
    }
}
