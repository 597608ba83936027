//! Fields of a JSON file, read one by one, so that an error can name file, field and what was expected.

use serde_json::{Map, Value};

use crate::error::OpenError;

/// A JSON object of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a> {
    /// The file shown in errors.
    pub file: &'a str,
    /// Where the object stands in the file: empty, or a field name with a dot.
    prefix: &'a str,
    map: &'a Map<String, Value>,
}

/// Parses a file that must hold one object.
pub(crate) fn parse(file: &str, bytes: &[u8]) -> Result<Map<String, Value>, OpenError> {
    let unreadable = |problem: String| OpenError::Unreadable { file: file.into(), problem };
    // some editors begin a file with a byte order mark
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match serde_json::from_slice(bytes).map_err(|error| unreadable(format!("it is not JSON ({error})")))? {
        Value::Object(map) => Ok(map),
        other => Err(unreadable(format!("it must hold an object, but holds {}", shorten(&other)))),
    }
}

impl<'a> Fields<'a> {
    /// The fields of a whole file.
    pub fn new(file: &'a str, map: &'a Map<String, Value>) -> Self {
        Self { file, prefix: "", map }
    }

    /// The fields of the object `name`, if there is one that is not empty. `prefix` is `name` with a dot.
    pub fn object(self, name: &str, prefix: &'a str) -> Result<Option<Self>, OpenError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(map)) if map.is_empty() => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Self { file: self.file, prefix, map })),
            Some(_) => Err(self.error(name, "an object or null")),
        }
    }

    /// The names of all fields.
    pub fn names(self) -> impl Iterator<Item = &'a str> {
        self.map.keys().map(String::as_str)
    }

    /// Whether a field is there, null or not.
    pub fn has(self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    /// A field that is there and not null.
    pub fn get(self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// A whole number of at least 1 and at most `max`, if the field is there.
    pub fn count_up_to(self, name: &str, max: usize) -> Result<Option<usize>, OpenError> {
        let whole = |value: &Value| usize::try_from(value.as_u64()?).ok().filter(|n| (1..=max).contains(n));
        self.read(name, &format!("a whole number from 1 to {max}"), whole)
    }

    /// A whole number of at least 1, if the field is there.
    pub fn count(self, name: &str) -> Result<Option<usize>, OpenError> {
        self.count_up_to(name, MAX_COUNT)
    }

    /// A number above 0, if the field is there.
    pub fn positive(self, name: &str) -> Result<Option<f64>, OpenError> {
        self.read(name, "a number above 0", |value| value.as_f64().filter(|x| x.is_finite() && *x > 0.0))
    }

    /// A number that is not below 0, if the field is there.
    pub fn not_negative(self, name: &str) -> Result<Option<f64>, OpenError> {
        self.read(name, "a number of at least 0", |value| value.as_f64().filter(|x| x.is_finite() && *x >= 0.0))
    }

    /// A truth value, if the field is there.
    pub fn flag(self, name: &str) -> Result<Option<bool>, OpenError> {
        self.read(name, "true or false", Value::as_bool)
    }

    /// A text, if the field is there.
    pub fn text(self, name: &str) -> Result<Option<&'a str>, OpenError> {
        self.read(name, "a text", Value::as_str)
    }

    /// One token or several; none when the field is not there, or below zero, as some programs write it.
    pub fn tokens(self, name: &str) -> Result<Vec<u32>, OpenError> {
        let token = |value: &Value| u32::try_from(value.as_u64()?).ok();
        let tokens = |value: &Value| match value {
            Value::Array(tokens) => tokens.iter().map(token).collect(),
            none if none.as_i64().is_some_and(|id| id < 0) => Some(Vec::new()),
            one => Some(vec![token(one)?]),
        };
        Ok(self.read(name, "a token id or a list of token ids", tokens)?.unwrap_or_default())
    }

    /// A list of whole numbers; empty when the field is not there.
    pub fn wholes(self, name: &str) -> Result<Vec<u32>, OpenError> {
        let whole = |value: &Value| u32::try_from(value.as_u64()?).ok();
        let wholes = |value: &Value| value.as_array()?.iter().map(whole).collect();
        Ok(self.read(name, "a list of whole numbers", wholes)?.unwrap_or_default())
    }

    /// Turns a missing field into an error.
    pub fn require<T>(self, name: &str, value: Result<Option<T>, OpenError>, expected: &str) -> Result<T, OpenError> {
        value?.ok_or_else(|| self.error(name, expected))
    }

    /// An error about the field `name`.
    pub fn error(self, name: &str, expected: &str) -> OpenError {
        OpenError::Field {
            file: self.file.into(),
            field: self.path(name),
            expected: expected.into(),
            found: self.shown(name),
        }
    }

    /// An error about a value that is well formed and not supported.
    pub fn unsupported(self, name: &str, help: &str) -> OpenError {
        OpenError::Unsupported {
            file: self.file.into(),
            field: self.path(name),
            value: self.shown(name),
            help: help.into(),
        }
    }

    /// What a field holds, for errors.
    pub fn shown(self, name: &str) -> String {
        self.map.get(name).map_or_else(|| "missing".into(), shorten)
    }

    /// Where a field stands in the file.
    pub fn path(self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn read<T>(
        self,
        name: &str,
        expected: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, OpenError> {
        self.get(name).map(|value| read(value).ok_or_else(|| self.error(name, expected))).transpose()
    }
}

/// Above every count of a real model; sums and products of two of them stay far inside a `u64`.
const MAX_COUNT: usize = 1 << 31;

/// A value as text, cut when it is long.
fn shorten(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 { text } else { text.chars().take(57).chain("...".chars()).collect() }
}
