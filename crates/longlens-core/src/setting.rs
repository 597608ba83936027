//! One definition, three forms: how a method or a RoPE scaling with its parameters is written.
//!
//! An [`Info`] lists the parameters once, with kind, range, default and help. From it come the text form
//! (`name:key=value,key=value`), the TOML and JSON form (a string, or a table with `name`), the help
//! texts, and the nearest-name suggestions.

use std::fmt;

use crate::nearest::nearest;
use crate::spec::ModelSpec;

mod error;
mod form;
mod param;

pub use error::SettingError;
pub(crate) use form::Forms;
pub use param::{Fallback, Kind, MAX_REAL, Param, Value, whole};

/// What a method or a RoPE scaling is, and what can be set on it.
#[derive(Debug)]
pub struct Info {
    /// The one spelling used in text, TOML, help and plots.
    pub name: &'static str,
    /// The name in its paper.
    pub title: &'static str,
    /// Paper, year, arXiv number.
    pub source: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// The parameters, in the order in which they are printed.
    pub params: &'static [Param],
}

/// A named entry of a catalog with the values that were given for its parameters.
#[derive(Clone)]
pub struct Setting {
    info: &'static Info,
    given: Vec<(&'static str, Value)>,
}

impl Setting {
    /// An entry with nothing given: every parameter has its default.
    pub fn new(info: &'static Info) -> Self {
        Self { info, given: Vec::new() }
    }

    /// What this is.
    pub fn info(&self) -> &'static Info {
        self.info
    }

    /// Gives one parameter a value; checks its name, type and range.
    pub fn set(&mut self, name: &str, value: &Value) -> Result<(), SettingError> {
        let Some(param) = self.info.params.iter().find(|param| param.name == name) else {
            let known: Vec<_> = self.info.params.iter().map(|param| param.name).collect();
            return Err(SettingError::UnknownParameter {
                owner: self.info.name,
                name: name.into(),
                nearest: self.by_alias(name).or(nearest(name, known.iter().copied())).map(Into::into),
                known,
            });
        };
        let thousands = match value {
            Value::Word(word) if param.kind.is_whole() => whole(word).map(|n| Value::Number(n as f64)),
            _ => None,
        };
        let value = thousands.as_ref().unwrap_or(value);
        if !param.kind.accepts(value) {
            return Err(SettingError::BadValue {
                owner: self.info.name,
                parameter: param.name,
                given: value.to_string(),
                expected: param.kind.to_string(),
            });
        }
        self.given.retain(|(given, _)| *given != param.name);
        self.given.push((param.name, value.clone()));
        let order = |name: &str| self.info.params.iter().position(|param| param.name == name);
        self.given.sort_by_key(|(name, _)| order(name));
        Ok(())
    }

    /// Gives a parameter no value, so that it has its default.
    pub fn unset(&mut self, name: &str) {
        self.given.retain(|(given, _)| *given != name);
    }

    /// The parameter that the authors call `name`.
    fn by_alias(&self, name: &str) -> Option<&'static str> {
        let called = |param: &&Param| param.alias.split([';', ',']).any(|alias| alias.trim() == name);
        self.info.params.iter().find(called).map(|param| param.name)
    }

    /// The same setting with every default of `model` written out, so that it means the same on any model.
    #[must_use]
    pub fn resolved(&self, model: &ModelSpec) -> Self {
        // a default in words, such as "the trained context", is no value and stays unwritten
        let all = self.info.params.iter().map(|param| (param, self.value(param.name, model)));
        let given =
            all.filter(|(param, value)| param.kind.accepts(value)).map(|(param, value)| (param.name, value)).collect();
        Self { info: self.info, given }
    }

    /// The value of a parameter: what was given, or its default for `model`.
    pub fn value(&self, name: &str, model: &ModelSpec) -> Value {
        if let Some((_, value)) = self.given.iter().find(|(given, _)| *given == name) {
            return value.clone();
        }
        let param = self.info.params.iter().find(|param| param.name == name);
        match param.unwrap_or_else(|| panic!("{} has no parameter {name}", self.info.name)).default {
            Fallback::Number(number) => Value::Number(number),
            Fallback::Word(word) => Value::Word(word.into()),
            Fallback::Trained(num, den) => Value::Number((model.trained_context * num / den).max(1) as f64),
            Fallback::Same(other) => self.value(other, model),
        }
    }

    /// The values that were given.
    pub fn given(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.given.iter().map(|(name, value)| (*name, value))
    }

    /// Whether a parameter was given a value.
    pub fn is_given(&self, name: &str) -> bool {
        self.given.iter().any(|(given, _)| *given == name)
    }

    /// A count's value. Panics when the parameter is not a count.
    pub fn count(&self, name: &str, model: &ModelSpec) -> usize {
        self.number(name, model).unwrap_or_else(|| panic!("{name} is not a number")) as usize
    }

    /// A real's value; `None` for `off`.
    pub fn number(&self, name: &str, model: &ModelSpec) -> Option<f64> {
        match self.value(name, model) {
            Value::Number(number) => Some(number),
            Value::Word(_) => None,
        }
    }

    /// A text's value; `None` where it was not given and has no default but "".
    pub fn text(&self, name: &str, model: &ModelSpec) -> Option<String> {
        Some(self.value(name, model).to_string()).filter(|text| !text.is_empty())
    }

    /// Whether a word parameter has this value.
    pub fn is(&self, name: &str, word: &str, model: &ModelSpec) -> bool {
        self.value(name, model) == Value::Word(word.into())
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl PartialEq for Setting {
    fn eq(&self, other: &Self) -> bool {
        self.info.name == other.info.name && self.given == other.given
    }
}
