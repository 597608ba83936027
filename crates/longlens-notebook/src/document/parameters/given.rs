//! Parameters as they are given: on a command line, and in files. The types are those that papermill's command line gives.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{Parameters, yaml};
use crate::document::{DocumentError, json, read_text};

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

/// Reads a value from a command line. As papermill does: a number as Python's `int` and `float` read it (`8192`, `1_000`, `.5`,
/// `1e3`, `nan`, `-inf`; `1e400` is infinite), `True`, `False`, `None`. Beyond it: `true`, `false`, `null`, `none`, a quoted text, an
/// array or table of TOML. Anything else is text as it stands, such as `0x10`. `None` for a whole number that is too large for
/// one.
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
            digits.parse::<f64>().ok().map(json::number)
        };
    }
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word).to_ascii_lowercase();
    if ["nan", "inf", "infinity"].contains(&unsigned.as_str()) {
        return word.parse().ok().map(json::number);
    }
    // a document of one line: a value cannot bring in keys of its own
    let is_toml = word.starts_with(['[', '{', '"', '\'']) && !word.contains(['\n', '\r']);
    let table = if is_toml { format!("value = {word}").parse::<toml::Table>().ok() } else { None };
    let value = table.filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
    Some(value.map_or_else(|| text.into(), from_toml))
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
    Ok(table.into_iter().map(|(name, value)| (name, from_toml(value))).collect())
}

fn read_json(text: &str) -> Result<Parameters, DocumentError> {
    let read = json::read(text);
    named(read.map_err(|error| DocumentError::NotParameters { form: "JSON", what: error.to_string() })?, "JSON")
}

/// Reads parameters in YAML. What repeats itself without end is refused, as everything is that is no map of names.
pub fn read_yaml(text: &str) -> Result<Parameters, DocumentError> {
    let read = longlens_core::panics::caught(|| yaml::read(text)).unwrap_or_else(Err);
    named(read.map_err(|what| DocumentError::NotParameters { form: "YAML", what })?, "YAML")
}

/// Reads parameters in YAML in base64, as schedulers hand them on.
pub fn read_base64(text: &str) -> Result<Parameters, DocumentError> {
    let wrong = |what: String| DocumentError::NotParameters { form: "base64", what };
    let bytes = STANDARD.decode(text.trim()).map_err(|error| wrong(error.to_string()))?;
    let text = longlens_eval::text::decode(bytes);
    read_yaml(&text.map_err(|error| DocumentError::not_text(&error, "the decoded text"))?)
}

fn named(value: Value, form: &'static str) -> Result<Parameters, DocumentError> {
    match value {
        Value::Object(parameters) => Ok(parameters),
        Value::Null => Ok(Parameters::new()),
        _ => Err(DocumentError::NotParameters { form, what: "it is no map of names and values".into() }),
    }
}

fn from_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(whole) => whole.into(),
        toml::Value::Float(float) => json::number(float),
        toml::Value::Boolean(truth) => truth.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(items) => Value::Array(items.into_iter().map(from_toml).collect()),
        toml::Value::Table(table) => {
            Value::Object(table.into_iter().map(|(key, value)| (key, from_toml(value))).collect())
        }
    }
}

fn place(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    match before {
        Some(before) => format!("{} at line {}", error.message(), before.matches('\n').count() + 1),
        None => error.message().into(),
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
            ("inf", json::number(f64::INFINITY)),
            ("-Infinity", json::number(f64::NEG_INFINITY)),
            ("nan", json::number(f64::NAN)),
            ("+NaN", json::number(f64::NAN)),
            ("1e400", json::number(f64::INFINITY)),
            ("-1e400", json::number(f64::NEG_INFINITY)),
            ("infinite", json!("infinite")),
            ("[nan]", Value::Array(vec![json::number(f64::NAN)])),
            ("1 # no comment\nother = 2", json!("1 # no comment\nother = 2")),
            ("2026-01-01", json!("2026-01-01")),
            ("008", json!(8)),
            ("-9223372036854775808", json!(i64::MIN)),
        ];
        for (text, value) in cases {
            assert_eq!(read_value(text), Some(value), "{text}");
        }
        for text in ["9223372036854775808", "-9223372036854775809"] {
            assert_eq!(read_value(text), None, "{text}");
            assert!(matches!(read_pair(&format!("a={text}")), Err(DocumentError::NotValue { .. })));
        }
        assert_eq!(read_raw("name=007").unwrap(), ("name".into(), json!("007")));
        assert_eq!(read_raw("name=a=b").unwrap().1, json!("a=b"));
    }

    #[test]
    fn yaml_and_json_give_the_same_parameters() {
        let yaml = "trials: 9\nname: seven\nids: [1, 2.5, x]\nrope: {factor: 8, on: yes}\nbound: -.inf\nnothing: null\nday: 2026-01-01\n";
        let json = json!({
            "trials": 9, "name": "seven", "ids": [1, 2.5, "x"], "rope": { "factor": 8, "on": true }, "nothing": null,
            "day": "2026-01-01",
            "bound": json::number(f64::NEG_INFINITY),
        });
        assert_eq!(Value::Object(read_yaml(yaml).unwrap()), json);
        assert_eq!(Value::Object(read_json(&json::write(&json)).unwrap()), json);
        assert_eq!(Value::Object(read_base64(&STANDARD.encode(yaml)).unwrap()), json);
        assert!(read_yaml("").unwrap().is_empty() && read_yaml("# nothing\n").unwrap().is_empty());
        for wrong in ["- 1\n- 2\n", "seven", "a: [1", "a: *nobody", "a: 1\na: 2"] {
            assert!(read_yaml(wrong).is_err(), "{wrong}: {:?}", read_yaml(wrong));
        }
        for wrong in ["[1]", "{", "7"] {
            assert!(read_json(wrong).is_err(), "{wrong}");
        }
        assert!(read_base64("%%%").is_err());
        let error = read_base64(&STANDARD.encode(b"a: 1\nb: caf\xe9")).unwrap_err();
        assert!(error.to_string().contains("byte 0xe9 in line 2, column 7"), "{error}");
        assert!(error.help().contains("iconv"), "{}", error.help());
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
