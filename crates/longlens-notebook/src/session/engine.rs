//! The Rhai engine behind a session: what it knows, and what it may not do.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;

use longlens_core::lens::CancelToken;
use rhai::module_resolvers::DummyModuleResolver;
use rhai::{Dynamic, Engine, LexError, Position, Token, TokenizeState};

use super::{Limits, is_last, nesting, numbers, said, sizes};
use crate::functions;
use crate::host::Host;
use crate::lexer;
use crate::running::Exhausted;
use crate::values::{self, Figure, Html, Interactive, Method, Model, Prompt, Rope, Run, Table, Trace};

/// Calls inside calls: deeper ones would leave the stack.
const MAX_CALLS: usize = 64;
/// Brackets inside brackets.
const MAX_DEPTH: usize = 64;
/// Variables of a session.
const MAX_VARIABLES: usize = 100_000;

/// An engine whose functions share a host.
pub fn new(host: &Rc<Host>, limits: Limits, parsing: &Rc<RefCell<Parsing>>) -> Engine {
    // names of functions without a name come from hashes; a fixed start lets another session know them again
    let _ = rhai::config::hashing::set_hashing_seed(Some([1, 2, 3, 5]));
    let mut engine = Engine::new();
    engine.set_default_tag(Dynamic::from(host.clone()));
    engine.set_module_resolver(DummyModuleResolver::new());
    engine.set_max_call_levels(MAX_CALLS);
    engine.set_max_expr_depths(MAX_DEPTH, MAX_DEPTH);
    engine.set_max_variables(MAX_VARIABLES);
    engine.set_fail_on_invalid_map_property(true);
    // its errors would point nowhere
    engine.disable_symbol("eval");
    limit(&mut engine, host, limits);
    name_types(&mut engine);
    functions::register(&mut engine);
    watch(&mut engine, host);
    nesting::watch(&mut engine, host);
    sizes::register(&mut engine);
    numbers::register(&mut engine);
    said::register(&mut engine);
    let out = host.clone();
    engine.on_print(move |text| out.tell(|out| out.print(&format!("{text}\n"))));
    let out = host.clone();
    engine.on_debug(move |text, _, _| out.tell(|out| out.print(&format!("{text}\n"))));
    #[allow(deprecated)] // volatile, its documentation says, not deprecated
    engine.on_parse_token(last_value(parsing.clone()));
    engine
}

/// Steps between two looks at what the machine has left, however little the session took: a few hundredths of a second.
const ASK_EVERY: u64 = 1 << 20;

/// Stops a cell that is to stop, or that holds too much.
fn watch(engine: &mut Engine, host: &Rc<Host>) {
    let (host, cancel) = (host.clone(), host.cancel().clone());
    engine.on_progress(move |n_steps| {
        let gauge = host.gauge();
        if gauge.is_over() {
            host.exhaust(Exhausted::Share);
        } else if (n_steps % ASK_EVERY == 0 || gauge.has_grown())
            && let Some(room) = gauge.shortage()
        {
            host.exhaust(Exhausted::Memory(room.bound));
        }
        (host.exhausted().is_some() || cancel.is_cancelled()).then_some(Dynamic::UNIT)
    });
}

/// Sets what cells may use. Sizes are counted by the allocator: the engine would walk a list at every change of it.
pub fn limit(engine: &mut Engine, host: &Host, limits: Limits) {
    engine.set_max_operations(limits.operations);
    host.gauge().set_limit(limits.memory);
}

/// What the parser asks while it reads a cell.
#[derive(Default)]
pub struct Parsing {
    /// Where the cell has a `_` that is no earlier result, as line and column from 1.
    defaults: HashSet<(usize, usize)>,
    /// The flag that stops it, where a cell runs.
    cancel: Option<CancelToken>,
}

impl Parsing {
    /// What is asked of this cell.
    pub fn of(cell: &str, cancel: Option<CancelToken>) -> Self {
        Self { defaults: defaults(cell), cancel }
    }
}

/// The places of `_ =>` in a cell: the last arm of a `switch`.
fn defaults(cell: &str) -> HashSet<(usize, usize)> {
    if !cell.contains("=>") {
        return HashSet::new();
    }
    let tokens = lexer::tokens(cell);
    let is_default =
        |pair: &&[lexer::Token]| &cell[pair[0].bytes.clone()] == "_" && &cell[pair[1].bytes.clone()] == "=>";
    let (mut at, mut line, mut column) = (0, 1, 1);
    let mut place = |pair: &[lexer::Token]| {
        // from one to the next: a long cell has many
        let start = pair[0].bytes.start;
        for c in cell[at..start].chars() {
            (line, column) = if c == '\n' { (line + 1, 1) } else { (line, column + 1) };
        }
        at = start;
        (line, column)
    };
    tokens.windows(2).filter(is_default).map(&mut place).collect()
}

/// `_` and `_3` are names of earlier results, though Rhai's names have letters.
fn last_value(parsing: Rc<RefCell<Parsing>>) -> impl Fn(Token, Position, &TokenizeState) -> Token {
    // Rhai takes a sign after what it does not know as a name for that of a number
    let was_last = Cell::new(false);
    move |token, place, _| {
        let parsing = parsing.borrow();
        if parsing.cancel.as_ref().is_some_and(CancelToken::is_cancelled) {
            // an error ends the parser; why it was stopped is told by whoever asks the flag
            return Token::LexError(LexError::UnexpectedInput("the end".into()).into());
        }
        let at = (place.line().unwrap_or(0), place.position().unwrap_or(0));
        let name = match &token {
            Token::Underscore if parsing.defaults.contains(&at) => None,
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
    name!(Model, Method, Rope, Prompt, Run, Trace, Table, Figure, Html, Interactive);
    engine.register_type_with_name::<longlens_app::Problem>("Error");
    engine.register_fn("to_string", |problem: &mut longlens_app::Problem| problem.message.clone());
    engine.register_fn("to_debug", |problem: &mut longlens_app::Problem| problem.message.clone());
}
