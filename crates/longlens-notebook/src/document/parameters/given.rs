//! Parameters as they are given: on a command line, and in files. The types are those that papermill's command line gives.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::Parameters;
use crate::document::{DocumentError, read_text};

/// Reads `name=value`.
pub fn read_pair(text: &str) -> Result<(String, Value), DocumentError> {
    let (name, value) = pair(text)?;
    let value = read_value(value).ok_or_else(|| DocumentError::NotValue { name: name.into(), value: value.into() })?;
    Ok((name.to_owned(), value))
}

/// Reads `name=text`, where the text stays text whatever it looks like.
pub fn read_raw(text: &str) -> Result<(String, Value), DocumentError> {
    pair(text).map(|(name, value)| (name.to_owned(), value.into()))
}

fn pair(text: &str) -> Result<(&str, &str), DocumentError> {
    let pair = text.split_once('=').map(|(name, value)| (name.trim(), value)).filter(|(name, _)| !name.is_empty());
    pair.ok_or_else(|| DocumentError::NotParameter { text: text.into() })
}

/// Reads a value from a command line. As papermill does: a number as Python writes it (`8192`, `1_000`, `.5`, `1e3`), `True`,
/// `False`, `None`. Beyond it: `true`, `false`, `null`, `none`, a quoted text, an array or table of TOML. Anything else is text
/// as it stands: `0x10`, `inf` and `nan` too. `None` for a number that is too large for one.
pub fn read_value(text: &str) -> Option<Value> {
    let word = text.trim();
    match word {
        "null" | "none" | "None" => return Some(Value::Null),
        "True" | "true" => return Some(true.into()),
        "False" | "false" => return Some(false.into()),
        _ => {}
    }
    if let Some(digits) = number(word) {
        return if digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-')) {
            digits.parse::<i64>().ok().map(Value::from)
        } else {
            digits.parse::<f64>().ok().and_then(Number::from_f64).map(Value::from)
        };
    }
    // a document of one line: a value cannot bring in keys of its own
    let is_toml = word.starts_with(['[', '{', '"', '\'']) && !word.contains(['\n', '\r']);
    let table = if is_toml { format!("value = {word}").parse::<toml::Table>().ok() } else { None };
    let value = table.filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
    Some(value.and_then(|value| from_toml(value).ok()).unwrap_or_else(|| text.into()))
}

/// A number as Python's `int` and `float` take it, without the `_` between its digits.
fn number(word: &str) -> Option<String> {
    let bytes = word.as_bytes();
    let is_digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let mut marks = word.match_indices('_');
    let is_apart = marks.all(|(at, _)| is_digit(at.checked_sub(1)) && is_digit(Some(at + 1)));
    let digits = word.replace('_', "");
    let is_number = is_apart
        && digits.bytes().any(|byte| byte.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
        && digits.parse::<f64>().is_ok();
    is_number.then_some(digits)
}

/// Reads a file of parameters: `.yaml`, `.yml`, `.json`, anything else as TOML. Dates and times become text.
pub fn read_file(path: &Path) -> Result<Parameters, DocumentError> {
    let text = read_text(path)?;
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    let read = match ending.as_deref() {
        Some("yaml" | "yml") => read_yaml(&text),
        Some("json") => read_json(&text),
        _ => read_toml(&text),
    };
    read.map_err(|error| error.in_file(path))
}

fn read_toml(text: &str) -> Result<Parameters, DocumentError> {
    let table: toml::Table =
        text.parse().map_err(|error: toml::de::Error| DocumentError::NotToml { what: place(&error, text) })?;
    let json = |(name, value): (String, toml::Value)| match from_toml(value) {
        Ok(value) => Ok((name, value)),
        Err(value) => Err(DocumentError::NotValue { name, value }),
    };
    table.into_iter().map(json).collect()
}

fn read_json(text: &str) -> Result<Parameters, DocumentError> {
    let plain: Plain = serde_json::from_str(text)
        .map_err(|error| DocumentError::NotParameters { form: "JSON", what: error.to_string() })?;
    named(plain.0, "JSON")
}

/// Reads parameters in YAML. What repeats itself without end is refused, as everything is that is no map of names.
pub fn read_yaml(text: &str) -> Result<Parameters, DocumentError> {
    if text.trim().is_empty() {
        return Ok(Parameters::new());
    }
    let read = longlens_core::panics::caught(|| serde_saphyr::from_str::<Plain>(text));
    let what = match read {
        Ok(Ok(plain)) => return named(plain.0, "YAML"),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => panic,
    };
    // the rest is an excerpt of what was given
    Err(DocumentError::NotParameters { form: "YAML", what: what.lines().next().unwrap_or_default().to_owned() })
}

/// Reads parameters in YAML in base64, as schedulers hand them on.
pub fn read_base64(text: &str) -> Result<Parameters, DocumentError> {
    let wrong = |what: String| DocumentError::NotParameters { form: "base64", what };
    let bytes = STANDARD.decode(text.trim()).map_err(|error| wrong(error.to_string()))?;
    read_yaml(&String::from_utf8(bytes).map_err(|_| wrong("it holds no text in UTF-8".into()))?)
}

fn named(value: Value, form: &'static str) -> Result<Parameters, DocumentError> {
    match value {
        Value::Object(parameters) => Ok(parameters),
        Value::Null => Ok(Parameters::new()),
        _ => Err(DocumentError::NotParameters { form, what: "it is no map of names and values".into() }),
    }
}

/// The value that is infinity or NaN, if there is one inside.
fn from_toml(value: toml::Value) -> Result<Value, String> {
    Ok(match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(whole) => whole.into(),
        toml::Value::Float(float) => Number::from_f64(float).ok_or_else(|| float.to_string())?.into(),
        toml::Value::Boolean(truth) => truth.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(items) => Value::Array(items.into_iter().map(from_toml).collect::<Result<_, _>>()?),
        toml::Value::Table(table) => {
            let entry = |(key, value)| Ok::<_, String>((key, from_toml(value)?));
            Value::Object(table.into_iter().map(entry).collect::<Result<_, _>>()?)
        }
    })
}

fn place(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    match before {
        Some(before) => format!("{} at line {}", error.message(), before.matches('\n').count() + 1),
        None => error.message().into(),
    }
}

/// A value of YAML or JSON; infinity and NaN, which JSON values drop in silence, are errors.
struct Plain(Value);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any).map(Self)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Value, E> {
        Ok(truth.into())
    }

    fn visit_i64<E: Error>(self, whole: i64) -> Result<Value, E> {
        Ok(whole.into())
    }

    fn visit_u64<E: Error>(self, whole: u64) -> Result<Value, E> {
        Ok(whole.into())
    }

    fn visit_f64<E: Error>(self, float: f64) -> Result<Value, E> {
        let number = Number::from_f64(float);
        number.map(Value::from).ok_or_else(|| E::custom(format!("{float} is no value that Rhai can write")))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Plain(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        // names are texts, whatever else they look like: `on` and `1` too
        while let Some((name, Plain(value))) = entries.next_entry::<String, Plain>()? {
            map.insert(name, value);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_a_value_or_too_large(text in any::<String>()) {
            read_value(&text);
            let _ = (read_yaml(&text), read_json(&text), read_toml(&text), read_base64(&text));
        }

        #[test]
        fn yaml_of_its_own_signs_never_panics(text in "[-a:{}\\[\\]&*!|> \n\"'#0-9.,?%@<]{0,40}") {
            let _ = read_yaml(&text);
        }
    }

    #[test]
    fn values_are_read_as_they_look() {
        let cases = [
            ("8192", json!(8192)),
            ("-3", json!(-3)),
            ("+3", json!(3)),
            ("1_000", json!(1000)),
            ("_1", json!("_1")),
            ("1__0", json!("1__0")),
            ("1e3", json!(1000.0)),
            ("0.5", json!(0.5)),
            (".5", json!(0.5)),
            ("5.", json!(5.0)),
            ("-.5e-1", json!(-0.05)),
            ("0x10", json!("0x10")),
            ("0o7", json!("0o7")),
            ("1e", json!("1e")),
            ("-", json!("-")),
            ("e", json!("e")),
            ("true", json!(true)),
            ("True", json!(true)),
            ("False", json!(false)),
            ("TRUE", json!("TRUE")),
            ("none", Value::Null),
            ("", json!("")),
            ("tiny model", json!("tiny model")),
            ("\"12\"", json!("12")),
            ("'12'", json!("12")),
            ("[1, 2.5, \"x\"]", json!([1, 2.5, "x"])),
            ("[1, 2", json!("[1, 2")),
            ("{ w = 4, g = 2 }", json!({ "w": 4, "g": 2 })),
            ("inf", json!("inf")),
            ("1 # no comment\nother = 2", json!("1 # no comment\nother = 2")),
            ("2026-01-01", json!("2026-01-01")),
            ("008", json!(8)),
            ("-9223372036854775808", json!(i64::MIN)),
        ];
        for (text, value) in cases {
            assert_eq!(read_value(text), Some(value), "{text}");
        }
        for text in ["9223372036854775808", "-9223372036854775809", "1e400"] {
            assert_eq!(read_value(text), None, "{text}");
            assert!(matches!(read_pair(&format!("a={text}")), Err(DocumentError::NotValue { .. })));
        }
        assert_eq!(read_raw("name=007").unwrap(), ("name".into(), json!("007")));
        assert_eq!(read_raw("name=a=b").unwrap().1, json!("a=b"));
    }

    #[test]
    fn yaml_and_json_give_the_same_parameters() {
        let yaml =
            "trials: 9\nname: seven\nids: [1, 2.5, x]\nrope: {factor: 8, on: true}\nnothing: null\nday: 2026-01-01\n";
        let json = json!({
            "trials": 9, "name": "seven", "ids": [1, 2.5, "x"], "rope": { "factor": 8, "on": true }, "nothing": null,
            "day": "2026-01-01",
        });
        assert_eq!(Value::Object(read_yaml(yaml).unwrap()), json);
        assert_eq!(Value::Object(read_json(&json.to_string()).unwrap()), json);
        assert_eq!(Value::Object(read_base64(&STANDARD.encode(yaml)).unwrap()), json);
        assert!(read_yaml("").unwrap().is_empty() && read_yaml("# nothing\n").unwrap().is_empty());
        for wrong in ["- 1\n- 2\n", "seven", "a: .nan", "a: .inf", "a: [1", "a: *nobody", "a: 1\na: 2"] {
            assert!(read_yaml(wrong).is_err(), "{wrong}: {:?}", read_yaml(wrong));
        }
        for wrong in ["[1]", "{\"a\": NaN}", "{", "7"] {
            assert!(read_json(wrong).is_err(), "{wrong}");
        }
        assert!(read_base64("%%%").is_err());
    }

    #[test]
    fn yaml_that_grows_without_end_is_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for at in 1..12 {
            let before = format!("*a{}", at - 1);
            bomb = format!("{bomb}a{at}: &a{at} [{}]\n", vec![before; 10].join(", "));
        }
        assert!(read_yaml(&bomb).is_err());
        assert!(read_yaml(&format!("a: {}1{}", "[".repeat(100_000), "]".repeat(100_000))).is_err());
    }
}
