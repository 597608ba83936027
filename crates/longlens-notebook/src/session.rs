//! A session: variables, functions and the open model, cell after cell.

mod complete;
mod engine;
mod errors;
pub mod magics;
mod nesting;
mod numbers;
mod record;
mod said;
mod script;
mod sizes;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use longlens_core::lens::CancelToken;
use longlens_core::panics;
use longlens_plot::Ground;
use rhai::{AST, Dynamic, Engine, Scope};

use crate::docs::Docs;
use crate::functions::by_topic;
use crate::host::{Files, Host, Models};
use crate::interpreter::{CellError, Completeness, Completions, Interpreter, Out};
use crate::lexer::magic::Magic;
use crate::lexer::{self, Kind};
use crate::memory;
use crate::shown::Shown;
use crate::values;

use self::record::Record;

pub(crate) use self::errors::close;
pub use self::record::CellOutput;

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
    /// Bytes that all values, texts and results of a session may take, models aside.
    pub memory: u64,
}

/// Variables, functions and the open model, cell after cell.
pub struct Session {
    engine: Engine,
    /// What the parser asks of the code that is compiled.
    parsing: Rc<RefCell<engine::Parsing>>,
    scope: Scope<'static>,
    /// Functions of earlier cells.
    library: AST,
    /// The texts that define them, by name and count of parameters: errors point into these.
    homes: HashMap<(String, usize), Rc<Home>>,
    host: Rc<Host>,
    docs: OnceCell<Docs>,
    cells: Vec<Ran>,
    /// Bytes of what cells gave and put out, and the first cell that still has its own.
    kept: usize,
    first_kept: usize,
    /// Whether code runs beside the cells: its values are not remembered.
    is_aside: bool,
    limits: Limits,
    /// What cells may set themselves at most.
    most: Limits,
    /// Whether the one who types may set more.
    raises: bool,
    /// Panics that were caught.
    n_faults: Cell<usize>,
    /// Files that run files.
    pub(crate) depth: usize,
}

/// A text that defines functions.
struct Home {
    /// The cell that it belongs to; 0 when it ran beside the cells.
    number: usize,
    code: String,
}

/// A cell that ran.
#[derive(Debug, Clone)]
pub struct Ran {
    pub number: usize,
    /// Its text.
    pub cell: String,
    /// What it gave.
    pub value: Option<Shown>,
    /// Why it stopped.
    pub error: Option<CellError>,
    /// What it put out before.
    pub outputs: Vec<CellOutput>,
    /// Whether value and words were let go, because those of newer cells needed the room.
    pub let_go: bool,
}

/// Bytes of what cells gave and put out that a session keeps; the oldest go first.
const KEPT_BYTES: usize = 256 << 20;
/// Bytes of one cell.
const MOST_SOURCE: usize = 16 << 20;
/// Arms of all the `switch`es of a cell; as many take half a second to parse.
const MOST_ARMS: usize = 10_000;
/// Values of cells that `_3` and the like still reach.
const KEPT_VALUES: usize = 1000;

impl Default for Limits {
    fn default() -> Self {
        Self { operations: 2_000_000_000, memory: memory::share() }
    }
}

impl Session {
    /// A session with nothing in it. No model is opened before a cell needs one.
    pub fn new(models: Box<dyn Models>, options: Options, out: &Out) -> Self {
        let host = Rc::new(Host::new(models, options.model, options.files, options.draws, out.clone()));
        let parsing = Rc::default();
        let engine = engine::new(&host, options.limits, &parsing);
        Self {
            engine,
            parsing,
            scope: Scope::new(),
            library: AST::empty(),
            homes: HashMap::new(),
            host,
            docs: OnceCell::new(),
            cells: Vec::new(),
            kept: 0,
            first_kept: 0,
            is_aside: false,
            limits: options.limits,
            most: options.limits,
            raises: false,
            n_faults: Cell::new(0),
            depth: 0,
        }
    }

    /// What functions share.
    pub fn host(&self) -> &Rc<Host> {
        &self.host
    }

    /// What is known of every function.
    pub fn docs(&self) -> &Docs {
        self.docs.get_or_init(|| Docs::new(&self.engine, &by_topic()))
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

    /// What cells may use from now on, and set themselves at most.
    pub fn set_limits(&mut self, limits: Limits) {
        self.most = limits;
        self.lower(limits);
    }

    /// Shows pictures on this ground from now on.
    pub fn set_ground(&mut self, ground: Ground) {
        self.host.set_ground(ground);
    }

    /// Whoever types at the prompt may raise limits; files that are run there may not.
    pub fn let_raise_limits(&mut self) {
        self.raises = true;
    }

    /// What a cell may set limits to at most; nothing where there is no such bound.
    pub(crate) fn most(&self) -> Option<Limits> {
        (!self.raises || self.depth > 0).then_some(self.most)
    }

    /// Sets limits as a cell asks.
    pub(crate) fn lower(&mut self, limits: Limits) {
        self.limits = limits;
        engine::limit(&mut self.engine, &self.host, limits);
    }

    /// Runs code without counting it as a cell.
    pub fn evaluate(&mut self, code: &str) -> Result<Dynamic, CellError> {
        let number = self.number();
        let ast = self.compile(code, Some(self.host.cancel().clone()))?;
        let home = Rc::new(Home { number, code: code.to_owned() });
        let defined = ast.iter_functions().map(|function| (function.name.to_owned(), function.params.len()));
        self.homes.extend(defined.map(|function| (function, home.clone())));
        let merged = self.library.merge(&ast);
        // before it runs: they are there whatever happens
        self.library = merged.clone_functions_only();
        let value = self.engine.eval_ast_with_scope::<Dynamic>(&mut self.scope, &merged);
        self.tidy();
        match self.host.exhausted() {
            // also where it was the last step: what that gave was cut short
            Some(what) if value.is_ok() => Err(errors::used_up(what, self.host.gauge())),
            _ => value.map_err(|error| self.explain(&error, code)),
        }
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
        if !value.is_unit() && !self.is_aside {
            self.remember(self.cells.len() + 1, value);
        }
        let shown = if is_silent(code) { None } else { values::show(value) };
        shown.map(|shown| self.host.drawn(shown))
    }

    /// The number of the cell that runs; 0 for code beside the cells.
    fn number(&self) -> usize {
        if self.is_aside { 0 } else { self.cells.len() + 1 }
    }

    /// Runs a cell; returns what it put out, too. A cell that puts out too much is an error, however it ends.
    fn recorded(&mut self, cell: &str, out: &Out) -> (Result<Option<Shown>, CellError>, Vec<CellOutput>) {
        let record = Rc::new(RefCell::new(Record::new(out.clone(), self.host.clone())));
        let recorded: Out = record.clone();
        self.host.set_out(&recorded);
        self.host.cancel().lower();
        self.host.replenish();
        self.host.take_records();
        let depth = self.depth;
        let ran = panics::caught(|| self.step(cell, &recorded)).unwrap_or_else(|panic| {
            self.n_faults.set(self.n_faults.get() + 1);
            self.depth = depth;
            self.tidy();
            Err(errors::inside(&panic))
        });
        self.host.set_out(out);
        let ran = match self.host.exhausted() {
            // also where it was the cell's last step: what that gave was cut short
            Some(what) if ran.is_ok() => Err(errors::used_up(what, self.host.gauge())),
            _ => ran,
        };
        let mut ran = ran.map_err(errors::with_an_end);
        let value = record.borrow_mut().finish(ran.as_mut().ok().and_then(Option::take));
        let ran = ran.map(|_| value);
        let outputs = std::mem::take(&mut record.borrow_mut().outputs);
        (ran, outputs)
    }

    /// Keeps what a cell gave, and lets go of what the oldest gave when there is no room for all.
    fn keep(&mut self, ran: Ran) {
        self.kept += record::bytes(&ran);
        self.cells.push(ran);
        // the newest stays, whatever its size
        while self.kept > KEPT_BYTES && self.first_kept + 1 < self.cells.len() {
            let oldest = &mut self.cells[self.first_kept];
            self.kept -= record::bytes(oldest);
            oldest.let_go = oldest.value.take().is_some() | !std::mem::take(&mut oldest.outputs).is_empty();
            self.first_kept += 1;
        }
    }

    /// Parses a cell; a flag stops it as it stops a cell that runs.
    fn compile(&self, code: &str, cancel: Option<CancelToken>) -> Result<AST, CellError> {
        if code.len() > MOST_SOURCE {
            let message = format!("this cell has {} MB; a cell has at most {}", code.len() >> 20, MOST_SOURCE >> 20);
            return Err(CellError::new(
                "LimitError",
                message,
                Some("put its data into a file and load(…) that".into()),
            ));
        }
        let is_arrow = |token: &lexer::Token| &code[token.bytes.clone()] == "=>";
        let n_arms = code.matches("=>").count();
        // those in texts and comments are none
        if n_arms > MOST_ARMS && lexer::tokens(code).iter().filter(|token| is_arrow(token)).count() > MOST_ARMS {
            let message = format!("this cell has {n_arms} `=>`; a cell has at most {MOST_ARMS}");
            let help = "the language compares each arm of a `switch` with all before it: look values up in a map";
            return Err(CellError::new("LimitError", message, Some(help.into())));
        }
        *self.parsing.borrow_mut() = engine::Parsing::of(code, cancel);
        self.engine.compile_with_scope(&self.scope, code).map_err(|error| self.explain(&error.into(), code))
    }

    /// Panics so far that became errors: faults of this program or of libraries under it.
    pub fn n_faults(&self) -> usize {
        self.n_faults.get()
    }

    fn guarded<T>(&self, ask: impl FnOnce() -> T) -> Result<T, String> {
        let asked = panics::caught(ask);
        self.n_faults.set(self.n_faults.get() + usize::from(asked.is_err()));
        asked
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
        let (ran, outputs) = self.recorded(cell, out);
        let (value, error) = (ran.as_ref().ok().cloned().flatten(), ran.as_ref().err().cloned());
        let number = self.cells.len() + 1;
        self.keep(Ran { number, cell: cell.into(), value, error, outputs, let_go: false });
        ran
    }

    fn aside(&mut self, code: &str, out: &Out) -> Result<Option<Shown>, CellError> {
        self.is_aside = true;
        let (ran, _) = self.recorded(code, out);
        self.is_aside = false;
        ran
    }

    fn set_width(&mut self, columns: usize) {
        values::set_width(columns);
    }

    fn count(&self) -> usize {
        self.cells.len()
    }

    fn cancel(&self) -> CancelToken {
        self.host.cancel().clone()
    }

    fn completeness(&self, cell: &str) -> Completeness {
        lexer::completeness(cell)
    }

    fn check(&self, cell: &str) -> Result<(), CellError> {
        if Magic::of(cell).is_some() {
            return Ok(());
        }
        let parsed =
            self.guarded(|| self.compile(cell, None).map(drop)).unwrap_or_else(|panic| Err(errors::inside(&panic)));
        parsed.map_err(errors::with_an_end)
    }

    fn complete(&self, cell: &str, cursor: usize) -> Completions {
        self.guarded(|| complete::complete(self, cell, cursor)).unwrap_or_default()
    }

    fn inspect(&self, cell: &str, cursor: usize, more: bool) -> Option<Shown> {
        let name = complete::name_at(cell, cursor)?;
        self.guarded(|| magics::describe(self, &cell[name], more).map(Shown::text)).ok().flatten()
    }

    fn history(&self) -> Vec<(usize, String)> {
        self.cells.iter().map(|ran| (ran.number, ran.cell.clone())).collect()
    }
}

/// Whether a cell ends in `;`: its value is not shown then.
fn is_silent(cell: &str) -> bool {
    let tokens = lexer::tokens(cell);
    let last = tokens.iter().rfind(|token| token.kind != Kind::Comment);
    last.is_some_and(|token| &cell[token.bytes.clone()] == ";")
}
