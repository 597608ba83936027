//! What the engine's own budget leaves open: the text of a list is as long as its items together, and the budget counts it when it
//! has been made.

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value};

/// Levels of lists and objects at most: each takes a piece of the stack.
pub(super) const MAX_DEPTH: usize = 64;
/// Bytes of the text of a value at most.
pub(super) const MAX_BYTES: usize = 16 << 20;

/// Refuses values whose texts would be too long wherever a template asks for one.
pub(super) fn bound(environment: &mut Environment<'static>) {
    environment.set_formatter(|out, state, value| {
        weigh(value)?;
        minijinja::escape_formatter(out, state, value)
    });
    environment.set_unknown_method_callback(|state, value, method, args| {
        std::iter::once(value).chain(args).try_for_each(weigh)?;
        if method == "format" && has_width(value) {
            return Err(too_much());
        }
        minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args)
    });
    environment.add_filter("string", |value: &Value| -> Result<Value, Error> {
        weigh(value)?;
        Ok(Value::from(value.to_string()))
    });
    environment.add_filter(
        "join",
        |state: &mut State, value: &Value, between: Option<String>, options: Kwargs| -> Result<Value, Error> {
            weigh(value)?;
            let between = between.unwrap_or_default();
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
    environment.remove_filter("pprint");
}

/// Whether a pattern asks for a width beyond a line's.
fn has_width(pattern: &Value) -> bool {
    let digits = |text: &str| text.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() > 3);
    pattern.as_str().is_some_and(digits)
}

fn weigh(value: &Value) -> Result<(), Error> {
    let mut left = MAX_BYTES;
    weighed(value, 0, &mut left)
}

fn weighed(value: &Value, depth: usize, left: &mut usize) -> Result<(), Error> {
    let len = match value.kind() {
        ValueKind::String => value.as_str().map_or(0, str::len),
        ValueKind::Map | ValueKind::Seq | ValueKind::Iterable if depth >= MAX_DEPTH => return Err(too_much()),
        ValueKind::Map => {
            for key in value.try_iter()? {
                weighed(&key, depth + 1, left)?;
                weighed(&value.get_item(&key)?, depth + 1, left)?;
            }
            4
        }
        ValueKind::Seq | ValueKind::Iterable => {
            for item in value.try_iter()? {
                weighed(&item, depth + 1, left)?;
            }
            4
        }
        _ => 4,
    };
    *left = left.checked_sub(len).ok_or_else(too_much)?;
    Ok(())
}

/// The engine's own word for a template that takes too much.
pub(super) fn too_much() -> Error {
    Error::from(ErrorKind::OutOfFuel)
}
