//! Errors of the language in the words of a user: what, where, and what next.

use std::rc::Rc;

use longlens_app::Problem;
use longlens_core::nearest::nearest;
use rhai::{EvalAltResult, LexError, ParseErrorType, Position};

use super::{Home, Session};
use crate::interpreter::{Call, CellError, Place};
use crate::lexer::{self, KEYWORDS};
use crate::memory::Gauge;
use crate::running::Exhausted;
use crate::types::{a_type, plain_type};

/// What is known where an error happened.
pub struct Known<'a> {
    /// Names, functions, earlier cells.
    pub session: &'a Session,
    /// The cell that ran.
    pub code: &'a str,
}

/// An error in the words of a user.
pub fn explain(error: &EvalAltResult, known: &Known) -> CellError {
    let (inner, position, function) = innermost(error, known);
    let mut told = words(inner, known);
    if let Some(advice) = known.session.host.take_advice() {
        told.help = Some(told.help.map_or(advice.clone(), |help| format!("{help}; {advice}")));
    }
    told.calls = calls(error, known);
    let Some(function) = function else {
        return CellError { place: place(known.code, position).map(Box::new), ..told };
    };
    // one without a name has taken along what there was where it was written
    if let EvalAltResult::ErrorVariableNotFound(name, _) = inner
        && !super::is_last(name)
        && !function.starts_with(NAMELESS)
    {
        out_of_sight(&mut told, name, function, known);
    }
    let home = home(function, known);
    let place = home.and_then(|home| place(&home.code, position));
    let is_elsewhere = |home: &&Rc<Home>| home.number > 0 && home.number != known.session.number();
    if let Some(home) = home.filter(|home| place.is_some() && is_elsewhere(home)) {
        told.message = format!("{} (in cell {})", told.message, home.number);
    }
    CellError { place: place.map(Box::new), ..told }
}

/// The text that defines a function: positions in it count there. Nothing where several of its name are defined in different texts.
fn home<'a>(function: &str, known: &Known<'a>) -> Option<&'a Rc<Home>> {
    let mut homes = known.session.homes.iter().filter(|((name, _), _)| name == function).map(|(_, home)| home);
    let home = homes.next()?;
    homes.all(|other| Rc::ptr_eq(home, other)).then_some(home)
}

/// What the language calls functions without a name begins with this.
const NAMELESS: &str = "anon$";

/// The calls of functions of cells that led to an error, the innermost first.
fn calls(error: &EvalAltResult, known: &Known) -> Vec<Call> {
    let (mut error, mut caller, mut calls) = (error, None, Vec::new());
    while let EvalAltResult::ErrorInFunctionCall(name, _, inner, position) = error {
        if known.session.homes.keys().any(|(known, _)| known == name) {
            let (code, number) = match caller {
                None => (Some(known.code), known.session.number()),
                Some(caller) => home(caller, known).map_or((None, 0), |home| (Some(home.code.as_str()), home.number)),
            };
            // one that a function of longlens called stands in no line
            if let Some(place) = code.and_then(|code| place(code, *position)) {
                let function = (!name.starts_with(NAMELESS)).then(|| name.clone());
                let cell = (number > 0 && number != known.session.number()).then_some(number);
                calls.push(Call { function, place, cell });
            }
            caller = Some(name.as_str());
        }
        error = inner;
    }
    calls.reverse();
    calls
}

/// A name that a function does not know: what it sees, and where the name stands outside of it.
fn out_of_sight(told: &mut CellError, name: &str, function: &str, known: &Known) {
    let session = known.session;
    if session.docs().find(name).next().is_some() || session.functions().iter().any(|(known, _)| known == name) {
        return;
    }
    let parameters = session.library.iter_functions().find(|known| known.name == function);
    let parameters: Vec<&str> = parameters.map(|known| known.params.clone()).unwrap_or_default();
    if session.scope.contains(name) {
        told.message = format!(
            "`{function}` does not see the variable `{name}`: functions see their parameters and no variables of outside"
        );
        let with: Vec<&str> = parameters.iter().copied().chain([name]).collect();
        told.help = Some(format!(
            "hand it on, as in `fn {function}({})`; or write a function without a name, `let f = |x| …`, which takes the variables of its place along and is called as `f.call(x)`",
            with.join(", ")
        ));
        return;
    }
    if let Some(close) = close(name, parameters.iter().copied()) {
        told.help = Some(format!("did you mean `{close}`?"));
    } else if told.help.as_ref().is_some_and(|help| help.starts_with("make it first")) {
        told.help = Some(format!(
            "functions see their parameters, no variables of outside: hand it on, or make it inside as in `let {name} = …;`"
        ));
    }
}

/// The error that started it, the best known position, and the function of a cell that the position lies in.
fn innermost<'a>(error: &'a EvalAltResult, known: &Known) -> (&'a EvalAltResult, Position, Option<&'a str>) {
    let (mut error, mut position, mut function, mut entered) = (error, error.position(), None, None);
    while let EvalAltResult::ErrorInFunctionCall(name, _, inner, _) = error {
        if known.session.homes.keys().any(|(known, _)| known == name) {
            entered = Some(name.as_str());
        }
        if !inner.position().is_none() {
            (position, function) = (inner.position(), entered);
        }
        error = inner;
    }
    (error, position, function)
}

/// The word at a position.
fn place(code: &str, position: Position) -> Option<Place> {
    let line = position.line()?;
    let text = code.lines().nth(line - 1)?;
    let column = position.position().unwrap_or(1);
    if column >= usize::from(u16::MAX) {
        // the parser counts no further
        return None;
    }
    let start: usize = code.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let offset = text.char_indices().nth(column - 1).map_or(text.len(), |(at, _)| at);
    let word = lexer::tokens(code).into_iter().find(|token| token.bytes.start == start + offset);
    // code inside a text is no token of its own
    let name = || text[offset..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').count();
    let len = word.map_or_else(name, |token| code[token.bytes].lines().next().unwrap_or_default().chars().count());
    // a caret below counts a tab as one place
    Some(Place { line, column, len: len.max(1), text: text.replace('\t', " ") })
}

fn words(error: &EvalAltResult, known: &Known) -> CellError {
    if let Some(what) = known.session.host.exhausted() {
        return used_up(what, known.session.host.gauge());
    }
    if known.session.host.cancel().is_cancelled() {
        return CellError::new("Interrupted", "stopped; variables that were set are kept", None);
    }
    match error {
        EvalAltResult::ErrorParsing(error, _) => syntax(error),
        EvalAltResult::ErrorRuntime(value, _) => match value.clone().try_cast::<Problem>() {
            Some(problem) => CellError::new("Error", problem.message, problem.help),
            None if value.is_unit() => CellError::new("Error", "thrown", None),
            None => CellError::new("Error", crate::values::text(value), None),
        },
        EvalAltResult::ErrorVariableNotFound(name, _) => unknown_variable(name, known),
        EvalAltResult::ErrorFunctionNotFound(signature, _) => unknown_function(signature, known),
        EvalAltResult::ErrorPropertyNotFound(name, _) => CellError::new(
            "NameError",
            format!("there is no `{name}` in this map"),
            Some("`keys(map)` lists what there is".into()),
        ),
        EvalAltResult::ErrorDotExpr(text, _) => unknown_property(text, known),
        EvalAltResult::ErrorMismatchDataType(expected, came, _)
        | EvalAltResult::ErrorMismatchOutputType(expected, came, _) => {
            CellError::new("TypeError", format!("expected {}, got {}", plain_type(expected), plain_type(came)), None)
        }
        EvalAltResult::ErrorTooManyOperations(_) => CellError::new(
            "LimitError",
            "this cell took more steps than a cell may",
            Some("does a loop end? If so, start with --max-operations 10000000000".into()),
        ),
        EvalAltResult::ErrorTooManyVariables(_) => {
            CellError::new("LimitError", "there are too many variables", Some("keep values in a list or a map".into()))
        }
        EvalAltResult::ErrorStackOverflow(_) => CellError::new(
            "LimitError",
            "functions called each other too deeply",
            Some("does the recursion end?".into()),
        ),
        EvalAltResult::ErrorModuleNotFound(name, _) => CellError::new(
            "SandboxError",
            format!("cannot import `{name}`: cells load no modules"),
            Some("define functions in a cell, or %run another file".into()),
        ),
        EvalAltResult::ErrorDataRace(..) => CellError::new(
            "Error",
            "a function that is called on a value uses that value's variable itself",
            Some(
                "put what it needs into a variable of its own first: `let n = list.len(); list.map(|x| x * n)`".into(),
            ),
        ),
        EvalAltResult::ErrorAssignmentToConstant(name, _) => {
            CellError::new("Error", format!("`{name}` is constant"), Some("make it with `let`, not `const`".into()))
        }
        EvalAltResult::ErrorTerminated(..) => {
            CellError::new("Interrupted", "stopped; variables that were set are kept", None)
        }
        EvalAltResult::ErrorArrayBounds(..)
        | EvalAltResult::ErrorStringBounds(..)
        | EvalAltResult::ErrorIndexNotFound(..) => CellError::new("IndexError", plain(error), None),
        EvalAltResult::ErrorFor(_) => CellError::new(
            "TypeError",
            "this cannot be gone through in a loop",
            Some("loops go through lists, ranges such as 0..4, texts and tables".into()),
        ),
        other => CellError::new("Error", plain(other), None),
    }
}

/// An error's own words, without its position.
fn plain(error: &EvalAltResult) -> String {
    let text = error.to_string();
    let end = text.rfind(" (line ").unwrap_or(text.len());
    let text = &text[..end];
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_lowercase().chain(chars).collect())
}

fn syntax(error: &ParseErrorType) -> CellError {
    if matches!(error, ParseErrorType::BadInput(LexError::ImproperSymbol(word, _)) if word == "eval") {
        let help = "write the code itself, or a function that does it";
        return CellError::new("SandboxError", "cells do not run texts as code", Some(help.into()));
    }
    let text = error.to_string();
    let mut chars = text.chars();
    let message: String = chars.next().map_or(String::new(), |first| first.to_lowercase().chain(chars).collect());
    let help = match error {
        ParseErrorType::UnexpectedEOF => {
            Some("something is still open: a bracket, a text, or an operator without a right side")
        }
        ParseErrorType::MissingToken(token, _) if token == ";" => Some("end the statement before with `;`"),
        ParseErrorType::Reserved(sign) if sign == "#" => Some("comments start with //"),
        ParseErrorType::Reserved(word) if word.starts_with(char::is_alphabetic) => Some("choose another name"),
        ParseErrorType::BadInput(LexError::UnterminatedString) => {
            Some("close the text with a quote on the same line; texts in `backticks` may have several lines")
        }
        ParseErrorType::BadInput(LexError::UnexpectedInput(sign)) if !sign.is_ascii() => {
            Some("names have letters from a to z, digits and _; any other sign can stand in texts and comments")
        }
        ParseErrorType::LoopBreak => Some("`break` and `continue` stand inside a loop"),
        ParseErrorType::ExprTooDeep => Some("use variables for parts of it"),
        _ => None,
    };
    CellError::new("SyntaxError", message, help.map(Into::into))
}

/// Why a cell was stopped that used something up.
pub fn used_up(what: Exhausted, gauge: &Gauge) -> CellError {
    let (message, help) = match what {
        Exhausted::Memory(bound) => (
            format!("this cell used up the memory: less than {} is left of {bound}", gauge.least()),
            "keep less (%who lists variables), or end other programs; variables that were set are kept",
        ),
        Exhausted::Share => (
            format!("values, texts and results grew beyond {}, which is what a session may hold", gauge.limit()),
            "let go of variables (`name = ();`, %reset), or start with a higher --memory-limit; variables that were set are kept",
        ),
        Exhausted::Levels => (
            "values lie inside values too deeply".to_owned(),
            "keep them side by side in one list or map; does a loop put a value or a function into itself?",
        ),
        Exhausted::Room => (
            format!("this cell printed and showed more than {} MiB", super::record::MOST >> 20),
            "say less, or write it to a file; what came after was dropped",
        ),
    };
    CellError::new("LimitError", message, Some(help.into()))
}

/// What is said of a fault inside.
pub fn inside(panic: &str) -> CellError {
    CellError::new(
        "InternalError",
        format!("something failed inside longlens: {panic}"),
        Some("variables are kept and the session goes on; if a file is to blame, try another, else this is worth a report".into()),
    )
}

/// Characters of a message; what cells throw may be texts of any size.
const MOST_CHARS: usize = 2000;

/// An error whose message and help have an end.
pub fn with_an_end(error: CellError) -> CellError {
    CellError { message: clipped(error.message), help: error.help.map(clipped), ..error }
}

fn clipped(text: String) -> String {
    match text.char_indices().nth(MOST_CHARS) {
        Some((at, _)) => format!("{}… ({} characters in all)", &text[..at], text.chars().count()),
        None => text,
    }
}

/// The name that was meant, if one is near enough. Short names are near many others: they must begin alike.
pub fn close<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let first = |name: &str| name.chars().next().map(|c| c.to_ascii_lowercase());
    let in_common = |near: &str| {
        let mut left: Vec<char> = near.chars().collect();
        name.chars()
            .filter(|c| left.iter().position(|other| other == c).map(|at| left.swap_remove(at)).is_some())
            .count()
    };
    nearest(name, names).filter(|near| {
        name.len() > 6
            || (name.len() > 1 && first(near) == first(name) && 3 * in_common(near) >= 2 * name.chars().count())
    })
}

fn unknown_variable(name: &str, known: &Known) -> CellError {
    let session = known.session;
    if super::is_last(name) {
        return CellError::new(
            "NameError",
            "there is no earlier result of that number",
            Some("`_` is the last one".into()),
        );
    }
    if session.docs().find(name).next().is_some() || session.functions().iter().any(|(function, _)| function == name) {
        let help = format!("to call it, write {name}(…); to hand it on, write Fn(\"{name}\"); to read of it, ?{name}");
        return CellError::new("NameError", format!("`{name}` is a function, not a variable"), Some(help));
    }
    let variables: Vec<String> = session.variables().into_iter().map(|(name, _)| name).collect();
    let functions = session.docs().names();
    let close = close(name, variables.iter().map(String::as_str).chain(functions).chain(KEYWORDS.iter().copied()));
    let help = match close {
        Some(close) => format!("did you mean `{close}`?"),
        None => format!("make it first, as in `let {name} = …;`"),
    };
    CellError::new("NameError", format!("there is no variable `{name}`"), Some(help))
}

/// `name (type, type)` was not found: the name is wrong, or what it was given.
fn unknown_function(signature: &str, known: &Known) -> CellError {
    let (name, arguments) =
        signature.split_once(" (").map_or((signature, ""), |(name, rest)| (name, rest.trim_end_matches(')')));
    let arguments: Vec<_> = arguments.split(", ").filter(|text| !text.is_empty()).map(plain_type).collect();
    let docs = known.session.docs();
    let own = known.session.functions();
    let written: Vec<_> = own
        .iter()
        .filter(|(known, _)| known == name)
        .map(|(name, params)| format!("{name}({})", params.join(", ")))
        .collect();
    let forms: Vec<String> = written.into_iter().chain(docs.find(name).map(|doc| doc.signature.clone())).collect();
    if name.starts_with(|c: char| !c.is_alphabetic() && c != '_') {
        let help = "both sides must be of kinds that the operator knows; texts and numbers are converted with `to_int`, `to_float`, `to_string`";
        return CellError::new(
            "TypeError",
            format!("`{name}` does not work on {}", arguments.join(" and ")),
            Some(help.into()),
        );
    }
    if !forms.is_empty() {
        let help = format!("it takes: {}", forms.iter().take(4).cloned().collect::<Vec<_>>().join("; "));
        let message = match &arguments[..] {
            [] => format!("`{name}` was given nothing"),
            given => format!("`{name}` does not take {}", given.join(", ")),
        };
        return CellError::new("TypeError", message, Some(help));
    }
    let names: Vec<&str> = docs.names().chain(own.iter().map(|(name, _)| name.as_str())).collect();
    let help = match close(name, names.iter().copied()) {
        Some(close) => format!("did you mean `{close}`?"),
        None => "%functions lists what there is".to_owned(),
    };
    CellError::new("NameError", format!("there is no function `{name}`"), Some(help))
}

/// `Unknown property 'x' - a getter is not registered for type 'T'`: which properties there are.
fn unknown_property(text: &str, known: &Known) -> CellError {
    let quoted: Vec<&str> = text.split('\'').skip(1).step_by(2).collect();
    let [name, kind, ..] = quoted[..] else { return CellError::new("Error", text, None) };
    let kind = plain_type(kind);
    let properties = known.session.docs().properties(kind);
    let help = match close(name, properties.iter().map(String::as_str)) {
        Some(close) => format!("did you mean `{close}`?"),
        None if known.session.docs().find(name).next().is_some() => format!("`{name}` is a function: write .{name}()"),
        None if properties.is_empty() => format!("{} has no properties", a_type(kind)),
        None => format!("{} has: {}", a_type(kind), properties.join(", ")),
    };
    CellError::new("NameError", format!("{} has no `{name}`", a_type(kind)), Some(help))
}
