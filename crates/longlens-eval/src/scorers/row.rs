//! What a scorer is given.

use serde_json::{Map, Value};

use super::error::{ScoreError, Stop};

/// A row of predictions and references as a scorer reads it.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    scorer: &'static str,
    fields: &'a Map<String, Value>,
}

impl<'a> Row<'a> {
    pub(super) fn new(scorer: &'static str, fields: &'a Map<String, Value>) -> Self {
        Self { scorer, fields }
    }

    pub(super) fn scorer(self) -> &'static str {
        self.scorer
    }

    /// A field that may be missing, which `null` is, too.
    pub(super) fn maybe(self, field: &str) -> Option<&'a Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    pub(super) fn field(self, field: &'static str) -> Result<&'a Value, Stop> {
        Ok(self.maybe(field).ok_or(ScoreError::Missing { scorer: self.scorer, field })?)
    }

    pub(super) fn refused(self, field: &'static str, found: &Value, expected: &'static str) -> Stop {
        let found = match found {
            Value::Null => "null",
            Value::Bool(_) => "a truth value",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::Array(items) if items.is_empty() => "an empty list",
            Value::Array(_) => "a list of something else",
            Value::Object(_) => "an object",
        };
        ScoreError::Type { scorer: self.scorer, field, expected, found }.into()
    }

    pub(super) fn text(self, field: &'static str) -> Result<&'a str, Stop> {
        let value = self.field(field)?;
        value.as_str().ok_or_else(|| self.refused(field, value, "a text"))
    }

    pub(super) fn items(self, field: &'static str, expected: &'static str) -> Result<&'a [Value], Stop> {
        let value = self.field(field)?;
        value.as_array().map(Vec::as_slice).ok_or_else(|| self.refused(field, value, expected))
    }

    pub(super) fn texts(self, field: &'static str) -> Result<Vec<&'a str>, Stop> {
        let expected = "a list of texts";
        let of_item = |item: &'a Value| item.as_str().ok_or_else(|| self.refused(field, self.value(field), expected));
        self.items(field, expected)?.iter().map(of_item).collect()
    }

    /// Lists of texts, one list for every prediction of a data set.
    pub(super) fn lists(self, field: &'static str) -> Result<Vec<Vec<&'a str>>, Stop> {
        let refused = || self.refused(field, self.value(field), "a list of lists of texts");
        let texts = |item: &'a Value| -> Option<Vec<&'a str>> { item.as_array()?.iter().map(Value::as_str).collect() };
        let items = self.items(field, "a list of lists of texts")?;
        items.iter().map(|item| texts(item).ok_or_else(refused)).collect()
    }

    fn value(self, field: &str) -> &'a Value {
        self.fields.get(field).unwrap_or(&Value::Null)
    }

    pub(super) fn prediction(self) -> Result<&'a str, Stop> {
        self.text("prediction")
    }

    /// The references as texts.
    pub(super) fn references(self) -> Result<Vec<&'a str>, Stop> {
        self.texts("references")
    }

    /// The only reference of scorers that read one.
    pub(super) fn reference(self) -> Result<&'a Value, Stop> {
        let expected = "a list with a reference";
        let items = self.items("references", expected)?;
        items.first().ok_or_else(|| self.refused("references", self.value("references"), expected))
    }

    /// The same as text.
    pub(super) fn reference_text(self) -> Result<&'a str, Stop> {
        let reference = self.reference()?;
        reference.as_str().ok_or_else(|| self.refused("references", self.value("references"), "a list with a text"))
    }
}
