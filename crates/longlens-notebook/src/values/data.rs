//! Values of the language as JSON and back.
//!
//! JSON has no NaN and nothing infinite: these are the texts `"NaN"`, `"inf"` and `"-inf"`, as in tables, and are numbers again when
//! they are read. A text of exactly these letters becomes a number too.

use rhai::{Array, Dynamic, Map};
use serde_json::Value;

use crate::table::not_finite;
use crate::values;

/// A value as JSON; handles become the text that they print.
pub fn to_json(value: &Dynamic) -> Value {
    let value = value.flatten_clone();
    if value.is_unit() {
        return Value::Null;
    }
    if let Ok(flag) = value.as_bool() {
        return flag.into();
    }
    if let Ok(number) = value.as_int() {
        return number.into();
    }
    if let Ok(number) = value.as_float() {
        return if number.is_finite() { number.into() } else { number.to_string().into() };
    }
    if let Some(list) = value.read_lock::<Array>() {
        return list.iter().map(to_json).collect();
    }
    if let Some(map) = value.read_lock::<Map>() {
        return map
            .iter()
            .map(|(name, value)| (name.to_string(), to_json(value)))
            .collect::<serde_json::Map<_, _>>()
            .into();
    }
    values::text(&value).into()
}

/// JSON as a value: objects become maps, whole numbers whole numbers, and texts where they have more than 63 bits.
pub fn from_json(value: &Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => whole.into(),
            // an id beyond 63 bits would share its nearest real number with others
            (None, Some(whole)) => whole.to_string().into(),
            (None, None) => number.as_f64().unwrap_or(f64::NAN).into(),
        },
        Value::String(text) => not_finite(text).map_or_else(|| text.clone().into(), Dynamic::from),
        Value::Array(list) => Dynamic::from_array(list.iter().map(from_json).collect()),
        Value::Object(map) => {
            Dynamic::from_map(map.iter().map(|(name, value)| (name.as_str().into(), from_json(value))).collect())
        }
    }
}
