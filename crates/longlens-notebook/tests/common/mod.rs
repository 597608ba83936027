//! A session on a scripted model, in a folder of its own.
#![allow(dead_code)] // every test file uses its own part

use std::cell::RefCell;
use std::rc::Rc;

use longlens_app::Problem;
use longlens_core::lens::{Lens, ModelInfo};
use longlens_core::scripted::{ScriptedLens, induction};
use longlens_notebook::host::{Files, Models, Opening};
use longlens_notebook::interpreter::{CellError, Interpreter, Out, Output, Progress};
use longlens_notebook::session::{Limits, Options, Session};
use longlens_notebook::shown::Shown;

/// What cells hold is counted, as in the program.
#[global_allocator]
static ALLOCATOR: longlens_notebook::memory::Counted = longlens_notebook::memory::Counted;

/// A model that continues what it has seen before.
pub struct Scripted;

impl Models for Scripted {
    fn open(&self, model: &str) -> Result<Box<dyn Lens>, Problem> {
        match model {
            "embedded" => Ok(Box::new(ScriptedLens::new(induction))),
            other => Err(Problem::new(format!("there is no model `{other}`"), "open(\"embedded\")".to_owned())),
        }
    }

    fn open_with(&self, model: &str, opening: &Opening) -> Result<Box<dyn Lens>, Problem> {
        self.open(model)?;
        let trained_context = opening.trained_context.unwrap_or(64);
        let warning = format!("taken as trained on {trained_context} tokens");
        Ok(Box::new(ScriptedLens::new(induction).with_model(|info| {
            info.spec.trained_context = trained_context;
            info.warnings = vec![warning];
        })))
    }

    fn held_out(&self, _: &ModelInfo) -> Option<String> {
        Some("one two three four five six seven eight nine ten ".repeat(120))
    }
}

/// Everything that cells said.
#[derive(Default)]
pub struct Heard {
    pub text: String,
    pub shown: Vec<Shown>,
    pub progress: Vec<Option<Progress>>,
}

impl Output for Heard {
    fn print(&mut self, text: &str) {
        self.text += text;
    }

    fn show(&mut self, shown: &Shown) {
        self.shown.push(shown.clone());
    }

    fn progress(&mut self, progress: Option<&Progress>) {
        self.progress.push(progress.cloned());
    }
}

pub struct Rig {
    pub session: Session,
    pub heard: Rc<RefCell<Heard>>,
    pub out: Out,
    pub folder: tempfile::TempDir,
}

pub fn rig() -> Rig {
    let folder = tempfile::Builder::new().prefix("cells").tempdir().unwrap();
    let heard = Rc::new(RefCell::new(Heard::default()));
    let out: Out = heard.clone();
    let options = Options {
        model: "embedded".into(),
        files: Files::below(folder.path()),
        limits: Limits { operations: 5_000_000, ..Limits::default() },
        draws: false,
    };
    Rig { session: Session::new(Box::new(Scripted), options, &out), heard, out, folder }
}

impl Rig {
    pub fn run(&mut self, cell: &str) -> Result<Option<Shown>, CellError> {
        self.session.run(cell, &self.out)
    }

    /// What a cell shows, or its error.
    pub fn say(&mut self, cell: &str) -> String {
        self.heard.borrow_mut().text.clear();
        let value = match self.run(cell) {
            Ok(shown) => shown.map_or(String::new(), |shown| shown.text),
            Err(error) => error.to_string(),
        };
        format!("{}{value}", self.heard.borrow().text)
    }
}
