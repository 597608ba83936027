//! Settings of a run in a config file: each value is checked by its description, where it stands.

use std::fmt;

use longlens_app::settings::params::{self, Given, param};
use longlens_core::setting::{Param, Value};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

/// `[sampling]`.
#[derive(Debug, Clone, Default)]
pub struct SamplingFile {
    /// The settings that it names.
    pub given: Given,
    /// Texts that end the generated one.
    pub stop: Vec<String>,
}

pub fn seed<'a, D: Deserializer<'a>>(from: D) -> Result<Option<Value>, D::Error> {
    ValueOf(param("seed")).deserialize(from).map(Some)
}

pub fn prefill_chunk<'a, D: Deserializer<'a>>(from: D) -> Result<Option<Value>, D::Error> {
    ValueOf(&params::PREFILL_CHUNK).deserialize(from).map(Some)
}

pub fn layer_windows<'a, D: Deserializer<'a>>(from: D) -> Result<Option<Value>, D::Error> {
    ValueOf(&params::LAYER_WINDOWS).deserialize(from).map(Some)
}

pub fn trained_context<'a, D: Deserializer<'a>>(from: D) -> Result<Option<Value>, D::Error> {
    ValueOf(&params::TRAINED_CONTEXT).deserialize(from).map(Some)
}

/// Reads a value of one setting.
struct ValueOf(&'static Param);

impl<'a> DeserializeSeed<'a> for ValueOf {
    type Value = Value;

    fn deserialize<D: Deserializer<'a>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl Visitor<'_> for ValueOf {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.kind)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        self.0.read(&number.to_string()).map_err(E::custom)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        let value = Value::Number(number);
        self.0.check(&value).map_err(E::custom)?;
        Ok(value)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        self.0.read(text).map_err(E::custom)
    }
}

/// A key of `[sampling]`.
enum Key {
    Stop,
    Setting(&'static Param),
}

impl<'a> Deserialize<'a> for Key {
    fn deserialize<D: Deserializer<'a>>(from: D) -> Result<Self, D::Error> {
        let known = params::text().filter(|param| !params::TOP_LEVEL.contains(&param.name));
        match String::deserialize(from)?.as_str() {
            "stop" => Ok(Self::Stop),
            name => known.clone().find(|param| param.name == name).map(Self::Setting).ok_or_else(|| {
                let known: Vec<_> = known.map(|param| format!("`{}`", param.name)).collect();
                D::Error::custom(format!("unknown field `{name}`, expected one of {}, `stop`", known.join(", ")))
            }),
        }
    }
}

impl<'a> Deserialize<'a> for SamplingFile {
    fn deserialize<D: Deserializer<'a>>(from: D) -> Result<Self, D::Error> {
        struct Table;

        impl<'a> Visitor<'a> for Table {
            type Value = SamplingFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<SamplingFile, A::Error> {
                let mut file = SamplingFile::default();
                while let Some(key) = map.next_key()? {
                    match key {
                        Key::Stop => file.stop = map.next_value()?,
                        Key::Setting(param) => file.given.push((param, map.next_value_seed(ValueOf(param))?)),
                    }
                }
                Ok(file)
            }
        }

        from.deserialize_map(Table)
    }
}
