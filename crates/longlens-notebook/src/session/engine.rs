//! The Rhai engine behind a session: what it knows, and what it may not do.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;

use rhai::module_resolvers::DummyModuleResolver;
use rhai::{Dynamic, Engine, LexError, Position, Token, TokenizeState};

use super::{Limits, is_last};
use crate::desk::{Desk, Exhausted};
use crate::functions;
use crate::lexer;
use crate::values::{self, Figure, Method, Model, Prompt, Rope, Run, Table, Trace};

/// Calls inside calls: deeper ones would leave the stack.
const MAX_CALLS: usize = 64;
/// Brackets inside brackets.
const MAX_DEPTH: usize = 64;
/// Variables of a session.
const MAX_VARIABLES: usize = 100_000;

/// An engine whose functions share a desk.
pub fn new(desk: &Rc<Desk>, limits: Limits, defaults: &Defaults) -> Engine {
    // names of functions without a name come from hashes; a fixed start lets another session know them again
    let _ = rhai::config::hashing::set_hashing_seed(Some([1, 2, 3, 5]));
    let mut engine = Engine::new();
    engine.set_default_tag(Dynamic::from(desk.clone()));
    engine.set_module_resolver(DummyModuleResolver::new());
    engine.set_max_call_levels(MAX_CALLS);
    engine.set_max_expr_depths(MAX_DEPTH, MAX_DEPTH);
    engine.set_max_variables(MAX_VARIABLES);
    engine.set_fail_on_invalid_map_property(true);
    // its errors would point nowhere
    engine.disable_symbol("eval");
    limit(&mut engine, limits);
    name_types(&mut engine);
    functions::register(&mut engine);
    let cancel = desk.cancel().clone();
    let short = desk.clone();
    engine.on_progress(move |n_steps| {
        if n_steps % MEMORY_EVERY == 0 && memory_is_short() {
            short.exhaust(Exhausted::Memory);
        }
        (short.exhausted().is_some() || cancel.is_cancelled()).then_some(Dynamic::UNIT)
    });
    let out = desk.clone();
    engine.on_print(move |text| out.tell(|out| out.print(&format!("{text}\n"))));
    let out = desk.clone();
    engine.on_debug(move |text, _, _| out.tell(|out| out.print(&format!("{text}\n"))));
    #[allow(deprecated)] // volatile, its documentation says, not deprecated
    engine.on_parse_token(last_value(defaults.clone()));
    engine
}

/// Steps between two looks at the memory that is left: a few hundredths of a second.
const MEMORY_EVERY: u64 = 1 << 20;
/// Less than this left, in bytes, and a cell is stopped: maps grow entry by entry, and nothing else counts those.
const MEMORY_LEFT: u64 = 512 << 20;

/// Whether the system is about to run out of memory; never where it does not tell.
fn memory_is_short() -> bool {
    let Ok(told) = std::fs::read_to_string("/proc/meminfo") else { return false };
    let line = told.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.is_some_and(|kib| kib << 10 < MEMORY_LEFT)
}

/// Sets what cells may use.
pub fn limit(engine: &mut Engine, limits: Limits) {
    engine.set_max_operations(limits.operations);
    engine.set_max_string_size(limits.text);
    engine.set_max_array_size(limits.entries);
    engine.set_max_map_size(limits.entries);
}

/// Where a cell that is about to be compiled has a `_` that is no earlier result, as line and column from 1.
pub type Defaults = Rc<RefCell<HashSet<(usize, usize)>>>;

/// The places of `_ =>` in a cell: the last arm of a `switch`.
pub fn defaults(cell: &str) -> HashSet<(usize, usize)> {
    let tokens = lexer::tokens(cell);
    let is_default =
        |pair: &&[lexer::Token]| &cell[pair[0].bytes.clone()] == "_" && &cell[pair[1].bytes.clone()] == "=>";
    let place = |pair: &[lexer::Token]| {
        let before = &cell[..pair[0].bytes.start];
        let line = before.rsplit('\n').next().unwrap_or_default();
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    };
    tokens.windows(2).filter(is_default).map(place).collect()
}

/// `_` and `_3` are names of earlier results, though Rhai's names have letters.
fn last_value(defaults: Defaults) -> impl Fn(Token, Position, &TokenizeState) -> Token {
    // Rhai takes a sign after what it does not know as a name for that of a number
    let was_last = Cell::new(false);
    move |token, place, _| {
        let at = (place.line().unwrap_or(0), place.position().unwrap_or(0));
        let name = match &token {
            Token::Underscore if defaults.borrow().contains(&at) => None,
            Token::Underscore => Some("_".to_owned()),
            Token::LexError(error) => match &**error {
                LexError::MalformedIdentifier(text) if is_last(text) => Some(text.clone()),
                _ => None,
            },
            _ => None,
        };
        match (was_last.replace(name.is_some()), name, token) {
            (_, Some(name), _) => Token::Identifier(Box::new(name.into())),
            (true, None, Token::UnaryMinus) => Token::Minus,
            (true, None, Token::UnaryPlus) => Token::Plus,
            (_, None, token) => token,
        }
    }
}

/// Gives the handles the names that errors and help use, and lets `print` and texts show them.
fn name_types(engine: &mut Engine) {
    macro_rules! name {
        ($($type:ty),*) => {$(
            engine.register_type_with_name::<$type>(stringify!($type));
            engine.register_fn("to_string", |value: &mut $type| values::text(&Dynamic::from(value.clone())));
            engine.register_fn("to_debug", |value: &mut $type| values::text(&Dynamic::from(value.clone())));
            engine.register_fn("print", |value: &mut $type| values::printed(&Dynamic::from(value.clone())));
            engine.register_fn("+", |text: &str, value: $type| format!("{text}{}", values::text(&Dynamic::from(value))));
            engine.register_fn("+", |value: $type, text: &str| format!("{}{text}", values::text(&Dynamic::from(value))));
        )*};
    }
    name!(Model, Method, Rope, Prompt, Run, Trace, Table, Figure);
    engine.register_type_with_name::<longlens_workbench::Trouble>("Error");
    engine.register_fn("to_string", |trouble: &mut longlens_workbench::Trouble| trouble.message.clone());
    engine.register_fn("to_debug", |trouble: &mut longlens_workbench::Trouble| trouble.message.clone());
}
