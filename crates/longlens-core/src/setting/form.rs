//! The forms in which a setting is written: text, and the table of TOML and JSON.

use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserializer, Serializer};

use super::param::MAX_COUNT;
use super::{Info, Kind, Param, Setting, SettingError, Value};
use crate::nearest::nearest;

impl Setting {
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

    /// Writes a table with `name`, the given parameters, and an entry `beside` them.
    pub fn serialize_table<S: Serializer>(
        &self,
        serializer: S,
        beside: Option<(&str, &str)>,
    ) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1 + self.given.len() + usize::from(beside.is_some())))?;
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
        beside.map_or(Ok(()), |(name, text)| map.serialize_entry(name, text))?;
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

/// How a string, or a table with `name` and parameters, becomes something made of a setting.
pub(crate) struct Forms<T> {
    /// What the catalog holds, for errors.
    pub what: &'static str,
    pub catalog: &'static [&'static Info],
    /// Reads the text form.
    pub text: fn(&str) -> Result<T, SettingError>,
    /// A table's entry that is no parameter of the setting.
    pub beside: Option<&'static str>,
    /// Makes it of a table's setting and that entry.
    pub table: fn(Setting, Option<&str>) -> Result<T, SettingError>,
}

impl<T> Forms<T> {
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T> Visitor<'de> for Forms<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {} as text, or a table with `name` and its parameters", self.what)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.text)(text).map_err(explain)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut name: Option<String> = None;
        let mut beside: Option<String> = None;
        let mut values: Vec<(String, serde_json::Value)> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == "name" {
                name = Some(map.next_value()?);
            } else if self.beside == Some(&key) {
                beside = Some(map.next_value()?);
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
        (self.table)(setting, beside.as_deref()).map_err(explain)
    }
}

/// What a table of a method from a script looks like: a name of its own, and the script's `text`.
fn script_only(name: &str, values: &[(String, serde_json::Value)], catalog: &[&'static Info]) -> Option<SettingError> {
    let known = catalog.iter().any(|info| info.name == name);
    let written = !known && values.iter().any(|(key, _)| key == "text");
    written.then(|| SettingError::ScriptOnly { name: name.into() })
}

/// An error of a setting as one of a file that is read.
fn explain<E: de::Error>(error: SettingError) -> E {
    match error.help() {
        Some(help) => E::custom(format!("{error}; {help}")),
        None => E::custom(error),
    }
}
