//! What the functions of the language share: the open model, where words go, the flag that stops, files they may touch.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::time::{Instant, UNIX_EPOCH};

use longlens_core::lens::{CancelToken, Control, Lens, LensError, ModelInfo, TextCodec};
use longlens_core::trace::RunRecord;
use longlens_eval::passkey::PasskeyReport;
use longlens_workbench::Trouble;
use rhai::{Dynamic, EvalAltResult, NativeCallContext};

use crate::functions::sweep::Part;
use crate::interpreter::{Out, Output, Progress};
use crate::shown::Shown;

/// Opens models for the language; the program decides how.
pub trait Models {
    /// Opens a model: `embedded`, a folder, or a name in the Hugging Face cache.
    fn open(&self, model: &str) -> Result<Box<dyn Lens>, Trouble>;

    /// Texts that the model was not trained on, if some come with it.
    fn held_out(&self, _model: &ModelInfo) -> Option<String> {
        None
    }
}

/// What the functions of the language share.
pub struct Desk {
    models: Box<dyn Models>,
    /// The model that is opened when nobody says which.
    default_model: String,
    current: RefCell<Option<Rc<OpenModel>>>,
    /// Models by the names that opened them, as long as somebody holds them.
    named: RefCell<HashMap<String, Weak<OpenModel>>>,
    /// The model that ran last beside the open one: held, so that naming it call after call opens it once.
    beside: RefCell<Option<Rc<OpenModel>>>,
    out: RefCell<Out>,
    cancel: CancelToken,
    files: Files,
    draws: bool,
    /// Rows of sweeps that were computed, with what ran to fill them, by what they are.
    pub(crate) rows: RefCell<HashMap<String, Rc<Part>>>,
    /// Cells of a pass key grid that was stopped, by what they are.
    pub(crate) cells: RefCell<HashMap<String, PasskeyReport>>,
    /// What to do next, for the error of the cell that runs.
    advice: RefCell<Option<String>>,
    /// What ran since somebody asked last.
    records: RefCell<Vec<RunRecord>>,
    n_sequences: Cell<u64>,
    /// What the running cell has used up.
    exhausted: Cell<Option<Exhausted>>,
}

/// What a cell may use up, so that it is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    /// The memory of the system.
    Memory,
    /// What one cell may print and show.
    Room,
}

/// A model that was opened.
pub struct OpenModel {
    /// What is open.
    pub info: ModelInfo,
    /// Its files when it was opened: a line each with name, bytes and nanoseconds of the last change; empty where it has no
    /// folder.
    pub files: String,
    lens: RefCell<Box<dyn Lens>>,
    /// The sequence that the model holds.
    loaded: Cell<Option<u64>>,
    /// The flag that stops what runs.
    cancel: CancelToken,
}

/// Which files the language may touch.
#[derive(Debug, Clone)]
pub struct Files {
    /// Where relative names start, and what absolute ones must lie in.
    pub root: PathBuf,
    /// Whether files outside are allowed too.
    pub anywhere: bool,
}

/// What a function of the language returns.
pub type Returned<T> = Result<T, Box<EvalAltResult>>;

/// The desk behind a call.
pub fn desk(context: &NativeCallContext) -> Rc<Desk> {
    let desk = context.tag().and_then(|tag| tag.clone().try_cast::<Rc<Desk>>());
    desk.unwrap_or_else(|| panic!("{} was called without a session", context.fn_name()))
}

/// An error that a function of the language raises.
pub fn raise(trouble: impl Into<Trouble>) -> Box<EvalAltResult> {
    Box::new(EvalAltResult::ErrorRuntime(Dynamic::from(trouble.into()), rhai::Position::NONE))
}

/// An error with advice.
pub fn refuse<T>(message: impl Into<String>, help: impl Into<String>) -> Returned<T> {
    Err(raise(Trouble::new(message, help.into())))
}

impl Desk {
    /// A desk with nothing open.
    pub fn new(models: Box<dyn Models>, default_model: String, files: Files, draws: bool, out: Out) -> Self {
        Self {
            models,
            default_model,
            current: RefCell::new(None),
            named: RefCell::default(),
            beside: RefCell::default(),
            out: RefCell::new(out),
            cancel: CancelToken::default(),
            files,
            draws,
            rows: RefCell::default(),
            cells: RefCell::default(),
            advice: RefCell::default(),
            records: RefCell::default(),
            n_sequences: Cell::new(0),
            exhausted: Cell::new(None),
        }
    }

    /// The open model; opens the default one when there is none.
    pub fn model(&self) -> Returned<Rc<OpenModel>> {
        if let Some(model) = self.current.borrow().clone() {
            return Ok(model);
        }
        self.open(&self.default_model)
    }

    /// What is open, if something is.
    pub fn opened(&self) -> Option<Rc<OpenModel>> {
        self.current.borrow().clone()
    }

    /// Opens a model; from now on it is the one that runs.
    pub fn open(&self, name: &str) -> Returned<Rc<OpenModel>> {
        let model = self.load(name)?;
        self.select(&model);
        Ok(model)
    }

    /// A model for one call: one that is open under this name already, else opened and kept until another one is. The open
    /// model stays the one that runs.
    pub fn open_beside(&self, name: &str) -> Returned<Rc<OpenModel>> {
        let known = self.named.borrow().get(name).and_then(Weak::upgrade);
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
        let lens = self.models.open(name).map_err(raise)?;
        let info = lens.model().clone();
        let files = model_files(&info.source);
        let model = Rc::new(OpenModel {
            info,
            files,
            lens: RefCell::new(lens),
            loaded: Cell::new(None),
            cancel: self.cancel.clone(),
        });
        self.named.borrow_mut().insert(name.to_owned(), Rc::downgrade(&model));
        Ok(model)
    }

    /// Makes an open model the one that runs.
    pub fn select(&self, model: &Rc<OpenModel>) {
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

    /// The same with its pictures, where the place wants them at once.
    pub fn drawn(&self, shown: Shown) -> Shown {
        if !self.draws {
            return shown;
        }
        let plain = Shown { figure: None, ..shown.clone() };
        shown.draw().unwrap_or_else(|error| Shown { text: format!("{}\n({error})", plain.text), ..plain })
    }

    /// Says something below the results: warnings, what was skipped.
    pub fn note(&self, text: &str) {
        self.tell(|out| out.print(&format!("note: {text}\n")));
    }

    /// A long step: tells how far it is, and stops when asked to.
    pub fn work(&self, label: impl Into<String>) -> Work<'_> {
        Work {
            desk: self,
            progress: Progress { label: label.into(), done: 0, total: 0, seconds: 0.0 },
            started: Instant::now(),
            told: false,
        }
    }

    /// Where a file that the language names lies; an error when it lies outside what is allowed.
    pub fn path(&self, name: &str) -> Returned<PathBuf> {
        self.files.path(name).map_err(raise)
    }

    /// The name of a file for records: from the root where it lies in it.
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

/// The files of a folder that make a model, as [`OpenModel::files`] has them.
fn model_files(folder: &str) -> String {
    let is_of_model = |name: &str| {
        let is_weights = name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json");
        is_weights
            || ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"].contains(&name)
    };
    // what has no folder is called by another name here
    let Ok(entries) = std::fs::read_dir(folder) else { return String::new() };
    let line = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok().filter(|name| is_of_model(name))?;
        // a link counts as what it leads to
        let about = std::fs::metadata(entry.path()).ok()?;
        let changed = about.modified().ok()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Some(format!("{name} {} {}\n", about.len(), changed.as_nanos()))
    };
    let mut lines: Vec<String> = entries.filter_map(|entry| line(entry.ok()?)).collect();
    lines.sort_unstable();
    lines.concat()
}

impl OpenModel {
    /// The model itself, to run something; whatever sequence it held is gone unless `keep` names it.
    pub fn lens(&self, keep: Option<u64>) -> Returned<RefMut<'_, Box<dyn Lens>>> {
        let Ok(lens) = self.lens.try_borrow_mut() else { return running() };
        if keep.is_none() || keep != self.loaded.get() {
            self.loaded.set(None);
        }
        Ok(lens)
    }

    /// Asks the tokenizer; the model keeps the sequence that it holds.
    pub fn text<T>(&self, ask: impl FnOnce(&dyn TextCodec) -> Returned<T>) -> Returned<T> {
        let Ok(lens) = self.lens.try_borrow() else { return running() };
        ask(&Stoppable { codec: lens.text().map_err(raise)?, cancel: &self.cancel })
    }

    /// Remembers which sequence the model holds.
    pub fn set_loaded(&self, sequence: u64) {
        self.loaded.set(Some(sequence));
    }

    /// Whether the model holds this sequence.
    pub fn holds(&self, sequence: u64) -> bool {
        self.loaded.get() == Some(sequence)
    }
}

/// A tokenizer that stops between two calls: making a long prompt takes many.
struct Stoppable<'a> {
    codec: &'a dyn TextCodec,
    cancel: &'a CancelToken,
}

impl Stoppable<'_> {
    fn go_on(&self) -> Result<(), LensError> {
        if self.cancel.is_cancelled() { Err(LensError::Cancelled) } else { Ok(()) }
    }
}

impl TextCodec for Stoppable<'_> {
    fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, LensError> {
        self.go_on()?;
        self.codec.encode(text, special)
    }

    fn decode(&self, tokens: &[u32]) -> Result<String, LensError> {
        self.go_on()?;
        self.codec.decode(tokens)
    }
}

fn running<T>() -> Returned<T> {
    refuse(
        "the model is running already",
        "functions of a written method cannot run the model themselves; compute what they need before",
    )
}

impl Files {
    /// Where a file of this name lies. Files that do not exist yet are judged by their folder.
    pub fn path(&self, name: &str) -> Result<PathBuf, Trouble> {
        if name.trim().is_empty() {
            return Err(Trouble::new("there is no file name", "give one, as in \"results.csv\"".to_owned()));
        }
        let path = self.root.join(name);
        if self.anywhere {
            return Ok(path);
        }
        let root = self.root.canonicalize().unwrap_or_else(|_| self.root.clone());
        let outside = || {
            Trouble::new(
                format!("`{name}` lies outside {}", root.display()),
                "cells touch files of the working directory only; start with --allow-outside to lift that".to_owned(),
            )
        };
        // links and `..` are followed as far as folders exist; what does not exist yet cannot lead anywhere else
        let mut there = path.as_path();
        let mut missing = Vec::new();
        let real = loop {
            match there.canonicalize() {
                Ok(real) => break real,
                // a link that leads nowhere could lead outside once its target exists
                Err(_) if there.is_symlink() => return Err(outside()),
                Err(_) => match (there.parent(), there.file_name()) {
                    (Some(parent), Some(name)) => {
                        missing.push(name.to_owned());
                        there = parent;
                    }
                    _ => return Err(outside()),
                },
            }
        };
        if !real.starts_with(&root) {
            return Err(outside());
        }
        Ok(missing.into_iter().rev().fold(real, |path, name| path.join(name)))
    }

    /// A path as results name it: from the root where it lies in it.
    pub fn shown<'a>(&self, path: &'a Path) -> &'a Path {
        let root = self.root.canonicalize().unwrap_or_else(|_| self.root.clone());
        path.strip_prefix(&self.root).or_else(|_| path.strip_prefix(root)).unwrap_or(path)
    }
}

/// A long step in progress.
pub struct Work<'a> {
    desk: &'a Desk,
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
        self.desk.tell(|out| out.progress(Some(&self.progress)));
    }

    fn cancelled(&self) -> bool {
        self.desk.cancel.is_cancelled()
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        if self.told {
            self.desk.tell(|out| out.progress(None));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stay_in_the_working_directory() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("work");
        std::fs::create_dir_all(root.join("in")).unwrap();
        std::fs::write(outer.path().join("secret"), "x").unwrap();
        let files = Files { root: root.clone(), anywhere: false };
        let real = root.canonicalize().unwrap();
        assert_eq!(files.path("a.csv").unwrap(), real.join("a.csv"));
        assert_eq!(files.path("in/new/b.csv").unwrap(), real.join("in/new/b.csv"));
        assert_eq!(files.path("in/../c").unwrap(), real.join("c"));
        assert_eq!(files.path(real.join("d").to_str().unwrap()).unwrap(), real.join("d"));
        for name in ["../secret", "in/../../secret", "/etc/passwd", "nowhere/../../secret", ".."] {
            assert!(files.path(name).is_err(), "{name}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(outer.path(), root.join("out")).unwrap();
            std::os::unix::fs::symlink(outer.path().join("later"), root.join("dangling")).unwrap();
            assert!(files.path("out/secret").is_err() && files.path("out/new").is_err());
            assert!(files.path("dangling").is_err());
        }
        assert!(Files { anywhere: true, ..files }.path("../secret").is_ok());
    }
}
