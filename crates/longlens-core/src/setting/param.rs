//! Parameters: the values that each takes, and how they are read.

use std::fmt;

use super::SettingError;

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
    /// Any text without a comma, such as the name of a file.
    Text,
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

/// Counts stay exact in an `f64`, and sums of a few of them in a `usize`.
pub(super) const MAX_COUNT: f64 = 1e12;
/// Factors up to this leave frequencies and positions that a float can tell apart.
pub const MAX_REAL: f64 = 1e9;

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
            (Self::Parts, Value::Word(_)) | (Self::Text, _) => true,
            _ => false,
        }
    }

    /// Whether values are whole numbers.
    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Count(_) | Self::Whole(..))
    }
}

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
            Self::Text => f.write_str("a text"),
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
