//! One definition, three forms: how a method or a RoPE scaling with its parameters is written.
//!
//! An [`Info`] lists the parameters once, with kind, range, default and help. From it come the text form
//! (`name:key=value,key=value`), the TOML and JSON form (a string, or a table with `name`), the help
//! texts, and the nearest-name suggestions.

use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserializer, Serializer};

use crate::nearest::nearest;
use crate::spec::ModelSpec;

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

/// One parameter of an [`Info`].
#[derive(Debug)]
pub struct Param {
    /// The one spelling.
    pub name: &'static str,
    /// What the paper or the authors' code calls it.
    pub alias: &'static str,
    /// Type and range.
    pub kind: Kind,
    /// Value when it is not given.
    pub default: Fallback,
    /// One line of help.
    pub help: &'static str,
}

/// Type and range of a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A whole number of at least this.
    Count(usize),
    /// A whole number from the first to the second.
    Whole(u64, u64),
    /// A real number of at least this and at most [`MAX_REAL`].
    Real(f64),
    /// A real number from the first to the second.
    Between(f64, f64),
    /// A real number above the first and at most the second.
    Above(f64, f64),
    /// `off`, or a real number above this and at most [`MAX_REAL`].
    OffOr(f64),
    /// One of these words.
    Word(&'static [&'static str]),
    /// Methods in parts of a model, as text; it takes the rest of a text form, commas and all.
    Parts,
}

/// The value of a parameter that is not given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fallback {
    /// This number.
    Number(f64),
    /// This word.
    Word(&'static str),
    /// This fraction of the trained context (numerator, denominator), rounded down, at least 1.
    Trained(usize, usize),
    /// The value of another parameter.
    Same(&'static str),
}

/// A parameter's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number; counts are whole.
    Number(f64),
    /// One of the words that the parameter's kind allows, or a text where it allows any.
    Word(String),
}

/// A named entry of a catalog with the values that were given for its parameters.
#[derive(Clone)]
pub struct Setting {
    info: &'static Info,
    given: Vec<(&'static str, Value)>,
}

/// What can be wrong with a setting.
#[allow(missing_docs, reason = "what a field holds is said by the message that it stands in")]
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SettingError {
    /// No entry of that name.
    #[error("unknown {what} `{name}`")]
    UnknownName {
        /// `method` or `RoPE scaling`.
        what: &'static str,
        /// What was given.
        name: String,
        /// The closest name, if one is close.
        nearest: Option<String>,
        /// All names.
        known: Vec<&'static str>,
    },
    /// No such parameter.
    #[error("`{owner}` has no parameter `{name}`")]
    UnknownParameter {
        /// Method or scaling.
        owner: &'static str,
        /// What was given.
        name: String,
        /// The closest name, if one is close.
        nearest: Option<String>,
        /// All names.
        known: Vec<&'static str>,
    },
    /// Not of the form `name:key=value,key=value`.
    #[error("cannot read `{text}`: {problem}")]
    Form {
        /// What was given.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A value of the wrong type or outside its range.
    #[error("`{owner}`: {parameter} = {given} is not {expected}")]
    BadValue {
        /// Method or scaling.
        owner: &'static str,
        parameter: &'static str,
        /// What was given.
        given: String,
        /// What is accepted.
        expected: String,
    },
    /// A value of a run's setting that is of the wrong type or outside its range.
    #[error("{name} = {given} is not {expected}")]
    NotAccepted {
        /// The setting.
        name: &'static str,
        /// What was given.
        given: String,
        /// What is accepted.
        expected: String,
    },
    /// A parameter of a method that has none, since a script wrote it.
    #[error("`{name}` was written in a script and has no parameter `{parameter}`")]
    NoParameters {
        /// The method.
        name: String,
        /// What was given.
        parameter: String,
    },
    /// A method that another session's script wrote.
    #[error("`{name}` was written in a script and exists only where that script runs")]
    ScriptOnly {
        /// The method.
        name: String,
    },
    /// A sequence longer than what a method was written out for.
    #[error("`{name}` was written out for {covers} tokens, the sequence needs {n_tokens}")]
    TooLong {
        /// The method.
        name: String,
        /// Tokens that it covers.
        covers: usize,
        /// Tokens of the sequence.
        n_tokens: usize,
    },
    /// Every layer keeps a window of its own, and none is left for the method.
    #[error(
        "every layer of the model has a window of its own and layer_windows = keep keeps them all, so that `{method}` would act on no layer"
    )]
    NoLayerLeft {
        /// The method.
        method: String,
    },
    /// Values that are fine alone and impossible together.
    #[error("`{owner}` is impossible with these values: {inequality} does not hold")]
    Impossible {
        /// Method or scaling.
        owner: &'static str,
        /// The inequality that failed, with its numbers.
        inequality: String,
        /// The nearest values that work.
        nearest: String,
    },
}

impl SettingError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::UnknownName { nearest: Some(name), .. } | Self::UnknownParameter { nearest: Some(name), .. } => {
                Some(format!("did you mean `{name}`?"))
            }
            Self::UnknownName { known, .. } => Some(format!("one of: {}", known.join(", "))),
            Self::UnknownParameter { known, owner, .. } if known.is_empty() => {
                Some(format!("`{owner}` takes no parameters"))
            }
            Self::UnknownParameter { known, .. } => Some(format!("its parameters: {}", known.join(", "))),
            Self::Form { .. } => Some("write `name:key=value,key=value`".into()),
            Self::NoParameters { .. } => Some("change the script, or choose a method of the catalog".into()),
            Self::ScriptOnly { .. } => Some("run the script that defines it".into()),
            Self::TooLong { n_tokens, .. } => {
                Some(format!("write it out for at least {n_tokens} tokens, or feed fewer"))
            }
            Self::NoLayerLeft { .. } => Some(
                "set layer_windows to auto, and the method takes the windows' place; or take the method `full`".into(),
            ),
            Self::BadValue { .. } | Self::NotAccepted { .. } => None,
            Self::Impossible { nearest, .. } => Some(nearest.clone()),
        }
    }
}

impl Setting {
    /// An entry with nothing given: every parameter has its default.
    pub fn new(info: &'static Info) -> Self {
        Self { info, given: Vec::new() }
    }

    /// Reads the text form against a catalog; `what` names the catalog in errors.
    pub fn parse(text: &str, what: &'static str, catalog: &[&'static Info]) -> Result<Self, SettingError> {
        let (name, rest) = text.split_once(':').map_or((text, ""), |(name, rest)| (name, rest));
        let mut setting = Self::new(find(name.trim(), what, catalog)?);
        if let [param @ Param { kind: Kind::Parts, .. }] = setting.info.params {
            let rest = rest.trim();
            let value =
                rest.strip_prefix(param.name).and_then(|rest| rest.trim_start().strip_prefix('=')).unwrap_or(rest);
            if !value.is_empty() {
                setting.set(param.name, &Value::Word(value.trim().into()))?;
            }
            return Ok(setting);
        }
        for pair in rest.split(',').filter(|pair| !pair.trim().is_empty()) {
            let Some((key, value)) = pair.split_once('=') else {
                return Err(SettingError::Form { text: text.into(), problem: format!("`{}` has no `=`", pair.trim()) });
            };
            let key = key.trim();
            if setting.given.iter().any(|(given, _)| *given == key) {
                return Err(SettingError::Form { text: text.into(), problem: format!("`{key}` is given twice") });
            }
            setting.set(key, &Value::read(value.trim()))?;
        }
        Ok(setting)
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

    /// Whether a word parameter has this value.
    pub fn is(&self, name: &str, word: &str, model: &ModelSpec) -> bool {
        self.value(name, model) == Value::Word(word.into())
    }

    /// Reads a string (text form) or a table with `name` and the parameters.
    pub fn deserialize_from<'de, D: Deserializer<'de>>(
        deserializer: D,
        what: &'static str,
        catalog: &'static [&'static Info],
    ) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SettingVisitor { what, catalog })
    }

    /// Writes a table with `name` and the given parameters.
    pub fn serialize_table<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1 + self.given.len()))?;
        map.serialize_entry("name", self.info.name)?;
        for (name, value) in &self.given {
            match value {
                Value::Number(number) if number.fract() == 0.0 && number.abs() < MAX_COUNT => {
                    map.serialize_entry(name, &(*number as i64))?;
                }
                Value::Number(number) => map.serialize_entry(name, number)?,
                Value::Word(word) => map.serialize_entry(name, word)?,
            }
        }
        map.end()
    }
}

/// The text form.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.info.name)?;
        for (place, (name, value)) in self.given.iter().enumerate() {
            write!(f, "{}{name}={value}", if place == 0 { ':' } else { ',' })?;
        }
        Ok(())
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

impl Param {
    /// Reads a value that a flag, a field or a config gives as text; whole numbers may end in k for 1024.
    pub fn read(&self, text: &str) -> Result<Value, SettingError> {
        let whole = whole(text).filter(|_| self.kind.is_whole());
        let value = whole.map_or_else(|| Value::read(text), |n| Value::Number(n as f64));
        if self.kind.accepts(&value) { Ok(value) } else { Err(self.refuse(text)) }
    }

    /// Refuses a value of the wrong type or outside the range.
    pub fn check(&self, value: &Value) -> Result<(), SettingError> {
        if self.kind.accepts(value) { Ok(()) } else { Err(self.refuse(value)) }
    }

    fn refuse(&self, given: impl fmt::Display) -> SettingError {
        SettingError::NotAccepted { name: self.name, given: given.to_string(), expected: self.kind.to_string() }
    }

    /// A value of this parameter as TOML and cells write it: real numbers with a point, words in quotes.
    pub fn literal(&self, value: &Value) -> String {
        match value {
            Value::Number(number) if self.kind.is_whole() => number.to_string(),
            Value::Number(number) if number.fract() == 0.0 => format!("{number}.0"),
            Value::Number(number) => number.to_string(),
            Value::Word(word) => format!("{word:?}"),
        }
    }
}

/// Reads a whole number, as `512` or `1k` (k is 1024).
pub fn whole(text: &str) -> Option<u64> {
    match text.strip_suffix(['k', 'K']) {
        Some(digits) => digits.parse::<u64>().ok()?.checked_mul(1024),
        None => text.parse().ok(),
    }
}

impl Value {
    /// A number where the text is one, else a word.
    pub fn read(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Word(text.into()), Self::Number)
    }

    /// The number that an accepted value of a numeric kind is. Panics on a word.
    pub fn number(&self) -> f64 {
        match self {
            Self::Number(number) => *number,
            Self::Word(word) => panic!("`{word}` is not a number"),
        }
    }
}

/// As a number without rounding noise: `0.7`, not 0.699999988.
impl From<f32> for Value {
    fn from(number: f32) -> Self {
        Self::read(&number.to_string())
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Number(number as f64)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Word(word) => f.write_str(word),
        }
    }
}

impl Kind {
    /// Whether a value is of this kind and in its range.
    pub fn accepts(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Count(min), Value::Number(n)) => n.fract() == 0.0 && *n >= *min as f64 && *n < MAX_COUNT,
            (Self::Whole(min, max), Value::Number(n)) => n.fract() == 0.0 && (*min as f64..=*max as f64).contains(n),
            (Self::Real(min), Value::Number(n)) => (*min..=MAX_REAL).contains(n),
            (Self::Between(min, max), Value::Number(n)) => (*min..=*max).contains(n),
            (Self::Above(above, max), Value::Number(n)) => n > above && n <= max,
            (Self::OffOr(above), Value::Number(n)) => n > above && *n <= MAX_REAL,
            (Self::OffOr(_), Value::Word(word)) => word == "off",
            (Self::Word(words), Value::Word(word)) => words.contains(&word.as_str()),
            (Self::Parts, Value::Word(_)) => true,
            _ => false,
        }
    }

    /// Whether values are whole numbers.
    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Count(_) | Self::Whole(..))
    }
}

/// Counts stay exact in an `f64`, and sums of a few of them in a `usize`.
const MAX_COUNT: f64 = 1e12;
/// Factors up to this leave frequencies and positions that a float can tell apart.
pub const MAX_REAL: f64 = 1e9;

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(min) => write!(f, "a whole number of at least {min} and below 10^12"),
            Self::Whole(min, max) => write!(f, "a whole number from {min} to {max}"),
            Self::Real(min) => write!(f, "a number of at least {min} and at most 10^9"),
            Self::Between(min, max) => write!(f, "a number from {min} to {max}"),
            Self::Above(above, max) if *max >= MAX_REAL => write!(f, "a number above {above} and at most 10^9"),
            Self::Above(above, max) => write!(f, "a number above {above} and at most {max}"),
            Self::OffOr(above) => write!(f, "`off` or a number above {above} and at most 10^9"),
            Self::Word(words) => write!(f, "one of: {}", words.join(", ")),
            Self::Parts => f.write_str("parts LAYERS=METHOD or LAYERShHEADS=METHOD between /"),
        }
    }
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Word(word) => f.write_str(word),
            Self::Trained(1, 1) => f.write_str("the trained context"),
            Self::Trained(num, den) => write!(f, "{num}/{den} of the trained context"),
            Self::Same(other) => write!(f, "{other}"),
        }
    }
}

fn find(name: &str, what: &'static str, catalog: &[&'static Info]) -> Result<&'static Info, SettingError> {
    catalog.iter().find(|info| info.name == name).copied().ok_or_else(|| {
        let known: Vec<_> = catalog.iter().map(|info| info.name).collect();
        SettingError::UnknownName {
            what,
            name: name.into(),
            nearest: nearest(name, known.iter().copied()).map(Into::into),
            known,
        }
    })
}

struct SettingVisitor {
    what: &'static str,
    catalog: &'static [&'static Info],
}

impl<'de> Visitor<'de> for SettingVisitor {
    type Value = Setting;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {} as text, or a table with `name` and its parameters", self.what)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Setting, E> {
        Setting::parse(text, self.what, self.catalog).map_err(explain)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Setting, A::Error> {
        let mut name: Option<String> = None;
        let mut values: Vec<(String, serde_json::Value)> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == "name" {
                name = Some(map.next_value()?);
            } else {
                values.push((key, map.next_value()?));
            }
        }
        let name = name.ok_or_else(|| de::Error::missing_field("name"))?;
        if let Some(error) = script_only(&name, &values, self.catalog) {
            return Err(explain(error));
        }
        let mut setting = Setting::new(find(&name, self.what, self.catalog).map_err(explain)?);
        for (key, value) in values {
            let value = match &value {
                serde_json::Value::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
                serde_json::Value::String(word) => Value::read(word),
                other => Value::Word(other.to_string()),
            };
            setting.set(&key, &value).map_err(explain)?;
        }
        Ok(setting)
    }
}

/// What a table of a method from a script looks like: a name of its own, and the script's `text`.
fn script_only(name: &str, values: &[(String, serde_json::Value)], catalog: &[&'static Info]) -> Option<SettingError> {
    let known = catalog.iter().any(|info| info.name == name);
    let written = !known && values.iter().any(|(key, _)| key == "text");
    written.then(|| SettingError::ScriptOnly { name: name.into() })
}

/// An error of a setting as one of a file that is read.
pub(crate) fn explain<E: de::Error>(error: SettingError) -> E {
    match error.help() {
        Some(help) => E::custom(format!("{error}; {help}")),
        None => E::custom(error),
    }
}
