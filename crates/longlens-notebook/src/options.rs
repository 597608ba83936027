//! Named arguments: the map that a function takes last, checked name by name.

use longlens_core::nearest::nearest;
use longlens_core::setting::{Param, Value};
use rhai::{Array, Dynamic, Map};

use crate::host::{Returned, raise, refuse};
use longlens_app::Problem;
use longlens_app::settings::params::Given;

/// Named arguments of a call.
pub struct Options {
    function: &'static str,
    map: Map,
}

impl Options {
    /// The arguments of `function`; an error when one is not among `known`.
    pub fn new(function: &'static str, map: Map, known: &[&'static str]) -> Returned<Self> {
        if let Some(name) = map.keys().find(|name| !known.contains(&name.as_str())) {
            let close = nearest(name, known.iter().copied()).map(|near| format!("did you mean `{near}`?"));
            let help = close.unwrap_or_else(|| format!("it knows: {}", known.join(", ")));
            return refuse(format!("`{function}` has no option `{name}`"), help);
        }
        Ok(Self { function, map })
    }

    /// The value of an option, if it was given and is not `()`.
    pub fn take(&mut self, name: &str) -> Option<Dynamic> {
        self.map.remove(name).filter(|value| !value.is_unit()).map(Dynamic::flatten)
    }

    /// A whole number of at least 0.
    pub fn count(&mut self, name: &str) -> Returned<Option<usize>> {
        self.read(name, "a whole number of at least 0", count)
    }

    /// Any number.
    pub fn number(&mut self, name: &str) -> Returned<Option<f64>> {
        self.read(name, "a number", number)
    }

    /// The value of a setting of a run.
    pub fn setting(&mut self, param: &Param) -> Returned<Option<Value>> {
        self.read(param.name, &param.kind.to_string(), |value| {
            let value = number(value).map(Value::Number).or_else(|| value.clone().into_string().ok().map(Value::Word));
            value.filter(|value| param.kind.accepts(value))
        })
    }

    /// The settings of a run among the arguments.
    pub fn settings(&mut self, params: impl Iterator<Item = &'static Param>) -> Returned<Given> {
        let given = params.filter_map(|param| Some(self.setting(param).transpose()?.map(|value| (param, value))));
        given.collect()
    }

    pub fn text(&mut self, name: &str) -> Returned<Option<String>> {
        self.read(name, "a text", |value| value.clone().into_string().ok())
    }

    /// `true` or `false`.
    pub fn flag(&mut self, name: &str) -> Returned<Option<bool>> {
        self.read(name, "true or false", |value| value.as_bool().ok())
    }

    /// One whole number or a list of them.
    pub fn counts(&mut self, name: &str) -> Returned<Option<Vec<usize>>> {
        self.read(name, "a whole number or a list of them", |value| each(value, count))
    }

    /// One number or a list of them.
    pub fn numbers(&mut self, name: &str) -> Returned<Option<Vec<f64>>> {
        self.read(name, "a number or a list of them", |value| each(value, number))
    }

    /// One depth or a list of them: shares, or texts in per cent.
    pub fn depths(&mut self, name: &str) -> Returned<Option<Vec<f64>>> {
        self.read(name, "a number from 0 to 1 or a list of them, or per cent as \"50%\"", |value| each(value, depth))?
            .map(|depths| depths.into_iter().collect())
            .transpose()
    }

    pub fn depth(&mut self, name: &str) -> Returned<Option<f64>> {
        self.read(name, "a number from 0 to 1, or per cent as \"50%\"", depth)?.transpose()
    }

    /// One text or a list of them.
    pub fn texts(&mut self, name: &str) -> Returned<Option<Vec<String>>> {
        self.read(name, "a text or a list of them", |value| each(value, |value| value.clone().into_string().ok()))
    }

    /// One of some words.
    pub fn word(&mut self, name: &str, words: &[&'static str]) -> Returned<Option<&'static str>> {
        let expected = format!("one of: {}", words.join(", "));
        self.read(name, &expected, |value| {
            let text = value.clone().into_string().ok()?;
            words.iter().find(|word| **word == text).copied()
        })
    }

    /// A value that `read` understands.
    fn read<T>(&mut self, name: &str, expected: &str, read: impl Fn(&Dynamic) -> Option<T>) -> Returned<Option<T>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        read(&value)
            .map(Some)
            .ok_or_else(|| wrong(&format!("option `{name}` of `{}`", self.function), expected, &value))
    }
}

/// An error about a value of the wrong type: what was expected, what came.
pub fn wrong(what: &str, expected: &str, came: &Dynamic) -> Box<rhai::EvalAltResult> {
    let came = came.flatten_clone();
    let shown = came.to_string();
    let shown = if came.is_string() { format!("\"{shown}\"") } else { shown };
    let shown = if shown.chars().count() > 40 { shown.chars().take(39).chain(['…']).collect() } else { shown };
    raise(Problem::new(format!("{what} must be {expected}, not {} {shown}", type_name(&came)), None))
}

/// The type of a value in plain words.
pub fn type_name(value: &Dynamic) -> String {
    match value.type_name() {
        "string" => "the text",
        "i64" | "f64" => "the number",
        "array" => "the list",
        "map" => "the map",
        "bool" => "the value",
        "()" => "nothing:",
        "Fn" => "the function",
        other => return format!("{}:", crate::types::a_type(other)),
    }
    .into()
}

/// A whole number of at least 0.
pub fn count(value: &Dynamic) -> Option<usize> {
    number(value).filter(|n| *n >= 0.0 && n.fract() == 0.0 && *n < 9e15).map(|n| n as usize)
}

/// Any number.
pub fn number(value: &Dynamic) -> Option<f64> {
    value.as_float().ok().or_else(|| value.as_int().ok().map(|n| n as f64))
}

/// A depth, as a number or a text; an error for numbers that are none.
pub fn depth(value: &Dynamic) -> Option<Returned<f64>> {
    let text = value.clone().into_string().ok().map(|text| longlens_eval::passkey::depth(&text));
    let share = text.or_else(|| number(value).map(longlens_eval::passkey::depth_of))?;
    Some(share.map_err(raise))
}

/// One value or each of a list.
pub fn each<T>(value: &Dynamic, read: impl Fn(&Dynamic) -> Option<T>) -> Option<Vec<T>> {
    match value.read_lock::<Array>() {
        Some(list) => list.iter().map(|value| read(&value.flatten_clone())).collect(),
        None => read(value).map(|value| vec![value]),
    }
}
