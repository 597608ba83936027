//! What the engine's own budget leaves open: the text of a list is as long as its items together, and the budget counts it when it
//! has been made.

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value};

use super::guard::WEIGHED;

/// Steps that a template may take, each worth 64 bytes of what it makes: 64 MiB in all. A real one takes some thousand a turn and
/// copies every message a few times.
const FUEL: u64 = 1 << 20;
/// Levels of lists and objects at most: each takes a piece of the stack.
pub(super) const MAX_DEPTH: usize = 64;
/// Bytes of the text of a value at most.
pub(super) const MAX_BYTES: usize = 16 << 20;

/// What a value counts in a list, beside its text.
const SLOT: usize = 16;

/// Refuses values whose texts would be too long wherever a template asks for one.
pub(super) fn bound(environment: &mut Environment<'static>) {
    environment.set_fuel(Some(FUEL));
    environment.set_formatter(|out, state, value| {
        weigh(value)?;
        minijinja::escape_formatter(out, state, value)
    });
    environment.set_unknown_method_callback(|state, value, method, args| {
        std::iter::once(value).chain(args).try_for_each(weigh)?;
        if method == "format" && has_width(value) {
            return Err(too_much());
        }
        charge_pieces(state, method, value, args.first())?;
        minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args)
    });
    environment.add_filter("string", |value: &Value| -> Result<Value, Error> {
        weigh(value)?;
        Ok(Value::from(value.to_string()))
    });
    environment.add_filter(
        "join",
        |state: &mut State, value: &Value, between: Option<&Value>, options: Kwargs| -> Result<Value, Error> {
            weigh(value)?;
            between.map_or(Ok(()), weigh)?;
            let between = between.filter(|text| !text.is_none()).map(ToString::to_string).unwrap_or_default();
            let attribute: Option<Value> = options.get("attribute")?;
            options.assert_all_used()?;
            let items: Vec<Value> = value.try_iter()?.collect();
            if between.len().saturating_mul(items.len()) > MAX_BYTES {
                return Err(too_much());
            }
            let text = |item: &Value| match &attribute {
                Some(name) => item.get_item(name).map(|part| part.to_string()),
                None => Ok(item.to_string()),
            };
            let texts: Vec<String> = items.iter().map(text).collect::<Result<_, _>>()?;
            state.consume_fuel(texts.len() as u64)?;
            Ok(Value::from(texts.join(&between)))
        },
    );
    environment.add_filter(WEIGHED, |value: Value| -> Result<Value, Error> {
        weigh(&value)?;
        Ok(value)
    });
    environment.remove_filter("pprint");
    environment.remove_global("debug");
    for (names, n_lists) in [(&TEXTUAL[..], 0), (&CHOOSING[..], 1)] {
        for name in names {
            weigh_arguments(environment, name, n_lists);
        }
    }
}

/// Filters that make texts of what they are given.
const TEXTUAL: [&str; 14] = [
    "safe",
    "escape",
    "e",
    "lower",
    "upper",
    "title",
    "capitalize",
    "replace",
    "trim",
    "split",
    "lines",
    "format",
    "urlencode",
    "indent",
];

/// Filters that make texts of what stands behind the list they are given.
const CHOOSING: [&str; 4] = ["select", "reject", "selectattr", "rejectattr"];

/// Puts a filter in the place of the one that is there, which weighs what that is given, but for the first `n_lists` values.
fn weigh_arguments(environment: &mut Environment<'static>, name: &'static str, n_lists: usize) {
    // a second engine keeps the filter as it was
    let plain = environment.clone();
    environment.add_filter(name, move |state: &mut State, values: Rest<Value>| -> Result<Value, Error> {
        values.iter().skip(n_lists).try_for_each(weigh)?;
        if name == "format" && values.first().is_some_and(has_width) {
            return Err(too_much());
        }
        if let Some(value) = values.first() {
            charge_pieces(state, name, value, values.get(1))?;
        }
        let made = plain.empty_state().apply_filter(name, &values)?;
        // its own budget begins anew with every call, and this one's does not
        let size = made.as_str().map_or_else(|| made.len().unwrap_or(0), |text| text.len() / 64);
        state.consume_fuel(1 + size as u64)?;
        Ok(made)
    });
}

/// A text in pieces takes more memory than the text, so they are counted before they are made.
fn charge_pieces(state: &State, name: &str, value: &Value, between: Option<&Value>) -> Result<(), Error> {
    let Some(text) = value.as_str().filter(|_| matches!(name, "split" | "rsplit" | "splitlines" | "lines")) else {
        return Ok(());
    };
    let n_pieces = match between.and_then(Value::as_str).filter(|between| !between.is_empty()) {
        Some(between) => text.matches(between).count(),
        None => text.chars().filter(|c| c.is_whitespace()).count(),
    };
    state.consume_fuel(n_pieces as u64)
}

/// Whether a pattern asks for a width beyond a line's.
fn has_width(pattern: &Value) -> bool {
    let digits = |text: &str| text.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() > 3);
    pattern.as_str().is_some_and(digits)
}

pub(super) fn weigh(value: &Value) -> Result<(), Error> {
    let mut left = MAX_BYTES;
    weighed(value, 0, &mut left)
}

fn weighed(value: &Value, depth: usize, left: &mut usize) -> Result<(), Error> {
    let len = match value.kind() {
        ValueKind::String => value.as_str().map_or(0, str::len) + SLOT,
        ValueKind::Map | ValueKind::Seq | ValueKind::Iterable if depth >= MAX_DEPTH => return Err(too_much()),
        ValueKind::Map => {
            for key in value.try_iter()? {
                weighed(&key, depth + 1, left)?;
                weighed(&value.get_item(&key)?, depth + 1, left)?;
            }
            SLOT
        }
        ValueKind::Seq | ValueKind::Iterable => {
            for item in value.try_iter()? {
                weighed(&item, depth + 1, left)?;
            }
            SLOT
        }
        _ => SLOT,
    };
    *left = left.checked_sub(len).ok_or_else(too_much)?;
    Ok(())
}

/// The engine's own word for a template that takes too much.
pub(super) fn too_much() -> Error {
    Error::from(ErrorKind::OutOfFuel)
}
