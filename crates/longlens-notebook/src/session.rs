//! A session: variables, functions and the open model, cell after cell.

mod engine;
mod errors;

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use longlens_core::lens::CancelToken;
use rhai::{AST, Dynamic, Engine, Scope};

use crate::complete;
use crate::desk::{Desk, Files, Models};
use crate::docs::Docs;
use crate::interpreter::{CellError, Completeness, Completions, Interpreter, Out, Output, Progress};
use crate::lexer::{self, Kind};
use crate::magics::{self, Magic};
use crate::shown::Shown;
use crate::values;

pub(crate) use self::errors::close;

/// What a session starts with.
pub struct Options {
    /// The model that is opened when a cell needs one and none is open.
    pub model: String,
    /// Files that cells may touch.
    pub files: Files,
    /// What cells may use.
    pub limits: Limits,
    /// Whether pictures are drawn at once, as PNG and SVG, for places that keep them.
    pub draws: bool,
}

/// What cells may use before they are stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Steps of the language in one cell; what the model computes does not count.
    pub operations: u64,
    /// Characters of one text.
    pub text: usize,
    /// Entries of one list or map, with those inside them.
    pub entries: usize,
}

/// Variables, functions and the open model, cell after cell.
pub struct Session {
    engine: Engine,
    scope: Scope<'static>,
    /// Functions of earlier cells.
    library: AST,
    /// The texts that define them, by name and count of parameters: errors point into these.
    homes: HashMap<(String, usize), Rc<Home>>,
    desk: Rc<Desk>,
    docs: OnceCell<Docs>,
    cells: Vec<Ran>,
    limits: Limits,
    /// Files that run files.
    pub(crate) depth: usize,
}

/// A text that defines functions.
struct Home {
    /// The cell that it belongs to.
    number: usize,
    code: String,
}

/// A cell that ran.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Its number.
    pub number: usize,
    /// Its text.
    pub cell: String,
    /// What it gave.
    pub value: Option<Shown>,
    /// Why it stopped.
    pub error: Option<CellError>,
    /// What it said before.
    pub said: Vec<Said>,
}

/// Something that a cell said while it ran.
#[derive(Debug, Clone)]
pub enum Said {
    /// Printed.
    Text(String),
    /// Shown.
    Shown(Shown),
}

/// Values of cells that `_3` and the like still reach.
const KEPT_VALUES: usize = 1000;

impl Default for Limits {
    fn default() -> Self {
        Self { operations: 2_000_000_000, text: 64 << 20, entries: 4 << 20 }
    }
}

impl Session {
    /// A session with nothing in it. No model is opened before a cell needs one.
    pub fn new(models: Box<dyn Models>, options: Options, out: &Out) -> Self {
        let desk = Rc::new(Desk::new(models, options.model, options.files, options.draws, out.clone()));
        let engine = engine::new(&desk, options.limits);
        Self {
            engine,
            scope: Scope::new(),
            library: AST::empty(),
            homes: HashMap::new(),
            desk,
            docs: OnceCell::new(),
            cells: Vec::new(),
            limits: options.limits,
            depth: 0,
        }
    }

    /// What functions share.
    pub fn desk(&self) -> &Rc<Desk> {
        &self.desk
    }

    /// What is known of every function.
    pub fn docs(&self) -> &Docs {
        self.docs.get_or_init(|| Docs::new(&self.engine))
    }

    /// Variables, in the order in which they were made.
    pub fn variables(&self) -> Vec<(String, Dynamic)> {
        self.scope.iter().filter(|(name, ..)| !is_last(name)).map(|(name, _, value)| (name.into(), value)).collect()
    }

    /// Functions that cells defined.
    pub fn functions(&self) -> Vec<(String, Vec<String>)> {
        let named = self.library.iter_functions().filter(|function| !function.name.contains('$'));
        let mut found: Vec<_> = named
            .map(|function| (function.name.into(), function.params.iter().map(ToString::to_string).collect()))
            .collect();
        found.sort();
        found
    }

    /// Cells that ran, oldest first.
    pub fn cells(&self) -> &[Ran] {
        &self.cells
    }

    /// Forgets variables and functions; the model stays open.
    pub fn reset(&mut self) {
        self.scope = Scope::new();
        self.library = AST::empty();
        self.homes.clear();
    }

    /// The value of a variable; `_` and `_3` are earlier results.
    pub fn variable(&self, name: &str) -> Option<&Dynamic> {
        self.scope.get(name)
    }

    /// What cells may use.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// What cells may use from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        engine::limit(&mut self.engine, limits);
    }

    /// Runs code without counting it as a cell.
    pub fn evaluate(&mut self, code: &str) -> Result<Dynamic, CellError> {
        let number = self.cells.len() + 1;
        let ast = self.compile(code)?;
        let home = Rc::new(Home { number, code: code.to_owned() });
        let defined = ast.iter_functions().map(|function| (function.name.to_owned(), function.params.len()));
        self.homes.extend(defined.map(|function| (function, home.clone())));
        let merged = self.library.merge(&ast);
        let value = self.engine.eval_ast_with_scope::<Dynamic>(&mut self.scope, &merged);
        self.library = merged.clone_functions_only();
        self.tidy();
        value.map_err(|error| self.explain(&error, code))
    }

    /// Runs code as a part of the cell that runs.
    pub(crate) fn step(&mut self, cell: &str, out: &Out) -> Result<Option<Shown>, CellError> {
        if let Some(magic) = Magic::of(cell) {
            return magics::run(self, &magic, out);
        }
        let value = self.evaluate(cell)?;
        Ok(self.finish(cell, &value))
    }

    /// What code shows that gave this value, which `_` stands for from now on.
    pub(crate) fn finish(&mut self, code: &str, value: &Dynamic) -> Option<Shown> {
        if !value.is_unit() {
            self.remember(self.cells.len() + 1, value);
        }
        let shown = if is_silent(code) { None } else { values::show(value) };
        shown.map(|shown| self.desk.drawn(shown))
    }

    fn compile(&self, code: &str) -> Result<AST, CellError> {
        self.engine.compile_with_scope(&self.scope, code).map_err(|error| self.explain(&error.into(), code))
    }

    fn explain(&self, error: &rhai::EvalAltResult, code: &str) -> CellError {
        errors::explain(error, &errors::Known { session: self, code })
    }

    /// Keeps the newest variable of each name: `let x` twice is one variable here.
    fn tidy(&mut self) {
        let mut seen = std::collections::HashSet::new();
        let mut kept: Vec<(String, bool, Dynamic)> = Vec::new();
        // the newest comes first
        for (name, constant, value) in self.scope.iter_raw() {
            if seen.insert(name) {
                kept.push((name.to_owned(), constant, value.clone()));
            }
        }
        if kept.len() == self.scope.len() {
            return;
        }
        let mut scope = Scope::new();
        for (name, constant, value) in kept.into_iter().rev() {
            if constant {
                scope.push_constant_dynamic(name, value);
            } else {
                scope.push_dynamic(name, value);
            }
        }
        self.scope = scope;
    }

    /// Makes a value the one that `_` and `_number` stand for.
    fn remember(&mut self, number: usize, value: &Dynamic) {
        let value = value.flatten_clone();
        self.scope.set_or_push_dynamic("_", &value);
        self.scope.set_or_push_dynamic(&format!("_{number}"), &value);
        if let Some(old) = number.checked_sub(KEPT_VALUES) {
            let _ = self.scope.remove::<Dynamic>(&format!("_{old}"));
        }
    }
}

/// Whether a name stands for an earlier result: `_` or `_3`.
fn is_last(name: &str) -> bool {
    name.strip_prefix('_').is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
}

/// Scopes set typed values only; this one takes any.
trait SetDynamic {
    fn set_or_push_dynamic(&mut self, name: &str, value: &Dynamic);
}

impl SetDynamic for Scope<'_> {
    fn set_or_push_dynamic(&mut self, name: &str, value: &Dynamic) {
        match self.get_mut(name) {
            Some(there) => *there = value.clone(),
            None => drop(self.push_dynamic(name.to_owned(), value.clone())),
        }
    }
}

impl Interpreter for Session {
    fn run(&mut self, cell: &str, out: &Out) -> Result<Option<Shown>, CellError> {
        let record = Rc::new(RefCell::new(Record { out: out.clone(), said: Vec::new() }));
        let recorded: Out = record.clone();
        self.desk.set_out(&recorded);
        self.desk.cancel().lower();
        self.desk.take_records();
        let ran = self.step(cell, &recorded);
        self.desk.set_out(out);
        let (value, error) = (ran.as_ref().ok().cloned().flatten(), ran.as_ref().err().cloned());
        let said = std::mem::take(&mut record.borrow_mut().said);
        self.cells.push(Ran { number: self.cells.len() + 1, cell: cell.into(), value, error, said });
        ran
    }

    fn count(&self) -> usize {
        self.cells.len()
    }

    fn cancel(&self) -> CancelToken {
        self.desk.cancel().clone()
    }

    fn completeness(&self, cell: &str) -> Completeness {
        lexer::completeness(cell)
    }

    fn check(&self, cell: &str) -> Result<(), CellError> {
        if Magic::of(cell).is_some() {
            return Ok(());
        }
        self.compile(cell).map(drop)
    }

    fn complete(&self, cell: &str, cursor: usize) -> Completions {
        complete::complete(self, cell, cursor)
    }

    fn inspect(&self, cell: &str, cursor: usize, more: bool) -> Option<Shown> {
        let name = complete::name_at(cell, cursor)?;
        magics::describe(self, &cell[name], more).map(Shown::text)
    }

    fn history(&self) -> Vec<(usize, String)> {
        self.cells.iter().map(|ran| (ran.number, ran.cell.clone())).collect()
    }
}

/// Passes on what a cell says, and keeps it.
struct Record {
    out: Out,
    said: Vec<Said>,
}

impl Output for Record {
    fn print(&mut self, text: &str) {
        match self.said.last_mut() {
            Some(Said::Text(before)) => before.push_str(text),
            _ => self.said.push(Said::Text(text.to_owned())),
        }
        self.out.borrow_mut().print(text);
    }

    fn show(&mut self, shown: &Shown) {
        self.said.push(Said::Shown(shown.clone()));
        self.out.borrow_mut().show(shown);
    }

    fn progress(&mut self, progress: Option<&Progress>) {
        self.out.borrow_mut().progress(progress);
    }
}

/// Whether a cell ends in `;`: its value is not shown then.
fn is_silent(cell: &str) -> bool {
    let tokens = lexer::tokens(cell);
    let last = tokens.iter().rfind(|token| token.kind != Kind::Comment);
    last.is_some_and(|token| &cell[token.bytes.clone()] == ";")
}
