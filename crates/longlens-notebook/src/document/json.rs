//! JSON as Jupyter writes it: keys sorted, one space per level, numbers and lines as Python has them.

use std::borrow::Cow;

use serde_json::{Map, Number, Value};

/// What JSON has no word for and Python writes all the same.
const BEYOND: [(&str, f64); 3] = [("NaN", f64::NAN), ("-Infinity", f64::NEG_INFINITY), ("Infinity", f64::INFINITY)];
/// The one name of the object that stands for one of these while a file is open, or for a whole number that has too many digits
/// to be one here. No text is taken for one, whatever it says.
const MARK: &str = "\u{f8ff}number";
/// Whole numbers of fewer digits always fit.
const FITTING: usize = 18;

/// A number, also one that JSON has no word for.
pub fn number(number: f64) -> Value {
    Number::from_f64(number).map_or_else(
        || {
            let is_it = |other: f64| other.to_bits() == number.to_bits() || (other.is_nan() && number.is_nan());
            let word = BEYOND.iter().find(|(_, other)| is_it(*other)).map_or("NaN", |(word, _)| *word);
            serde_json::json!({ MARK: word })
        },
        Value::Number,
    )
}

/// The number that JSON has no word for, if the value stands for one.
pub fn not_finite(value: &Value) -> Option<f64> {
    let word = word_beyond(value)?;
    BEYOND.iter().find(|(other, _)| *other == word).map(|(_, number)| *number)
}

/// What a file says where the value stands for a number that JSON or this program has no word for.
pub fn word_beyond(value: &Value) -> Option<&str> {
    let map = value.as_object().filter(|map| map.len() == 1)?;
    let word = map.get(MARK)?.as_str()?;
    (BEYOND.iter().any(|(other, _)| *other == word) || is_too_long(word)).then_some(word)
}

/// Reads JSON as Python writes it, `NaN` and `Infinity` and whole numbers of any length too.
pub fn read(text: &str) -> Result<Value, serde_json::Error> {
    match with_marks(text) {
        Cow::Owned(marked) => serde_json::from_str(&marked).or_else(|_| serde_json::from_str(text)),
        Cow::Borrowed(text) => serde_json::from_str(text),
    }
}

/// Whether this is a whole number in JSON that no type here holds: it would become a float.
fn is_too_long(word: &str) -> bool {
    let digits = word.strip_prefix('-').unwrap_or(word);
    digits.len() > FITTING
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0')
        && word.parse::<i64>().is_err()
        && word.parse::<u64>().is_err()
}

/// The number that a text begins with, or what may be one.
fn leading_number(text: &str) -> &str {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit() && !b"+-.eE".contains(&byte));
    &text[..end.unwrap_or(text.len())]
}

/// The text with marks for what JSON has no word for, and for whole numbers that no type holds.
fn with_marks(text: &str) -> Cow<'_, str> {
    let has_long = || text.as_bytes().split(|byte| !byte.is_ascii_digit()).any(|digits| digits.len() > FITTING);
    if BEYOND.iter().all(|(word, _)| !text.contains(word)) && !has_long() {
        return Cow::Borrowed(text);
    }
    let (mut marked, mut at) = (String::with_capacity(text.len()), 0);
    while at < text.len() {
        let rest = &text[at..];
        let number = leading_number(rest);
        let word = BEYOND.iter().map(|(word, _)| *word).find(|word| rest.starts_with(word));
        if let Some(word) = word.or(Some(number).filter(|number| is_too_long(number))) {
            marked.extend(["{\"", MARK, "\":\"", word, "\"}"]);
            at += word.len();
            continue;
        }
        // a text as it stands, or everything up to what may begin a word or a text
        let len = match rest.strip_prefix('"') {
            Some(inside) => 1 + end_of_text(inside),
            None if !number.is_empty() => number.len(),
            None => rest
                .char_indices()
                .skip(1)
                .find(|(_, c)| matches!(c, '"' | 'N' | 'I' | '-' | '0'..='9'))
                .map_or(rest.len(), |(at, _)| at),
        };
        marked.push_str(&rest[..len]);
        at += len;
    }
    Cow::Owned(marked)
}

/// Bytes up to the quote that ends a text, with it.
fn end_of_text(inside: &str) -> usize {
    let mut bytes = inside.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return at + 1,
            b'\\' => drop(bytes.next()),
            _ => (),
        }
    }
    inside.len()
}

/// The value as a file, with a newline at its end.
#[cfg(test)]
pub fn write(value: &Value) -> String {
    let mut text = String::new();
    put(&mut text, value, 0);
    text.push('\n');
    text
}

/// An object as a file, as [`write`] has it, with a list that is written already: its name, and its entries as [`entry`] has
/// them.
pub fn write_with(object: &Map<String, Value>, name: &str, list: &[impl AsRef<str>]) -> String {
    let mut text = String::new();
    let mut names: Vec<&str> = object.keys().map(String::as_str).filter(|other| *other != name).chain([name]).collect();
    names.sort_unstable();
    put_all(&mut text, ['{', '}'], 0, names, |text, key| {
        put_string(text, key);
        text.push_str(": ");
        match object.get(key).filter(|_| key != name) {
            Some(value) => put(text, value, 1),
            None if list.is_empty() => text.push_str("[]"),
            None => put_all(text, ['[', ']'], 1, list, |text, entry| text.push_str(entry.as_ref())),
        }
    });
    text.push('\n');
    text
}

/// A value as an entry of a list in a file's object.
pub fn entry(value: &Value) -> String {
    let mut text = String::new();
    put(&mut text, value, 2);
    text
}

/// A value on one line, its numbers as they stand in files.
pub fn line(value: &Value) -> String {
    let list = |parts: Vec<String>, [open, close]: [char; 2]| format!("{open}{}{close}", parts.join(", "));
    match value {
        _ if word_beyond(value).is_some() => entry(value),
        Value::Array(items) => list(items.iter().map(line).collect(), ['[', ']']),
        Value::Object(map) => {
            let entries = map.iter().map(|(key, value)| format!("{}: {}", Value::from(key.as_str()), line(value)));
            list(entries.collect(), ['{', '}'])
        }
        plain => entry(plain),
    }
}

/// Lines with their ends, as `str.splitlines(True)` cuts them; the empty text has none.
pub fn lines(text: &str) -> Value {
    let mut lines = Vec::new();
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        let ends = matches!(char, '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}');
        if ends && !(char == '\r' && chars.peek().is_some_and(|(_, next)| *next == '\n')) {
            let end = at + char.len_utf8();
            lines.push(Value::from(&text[start..end]));
            start = end;
        }
    }
    if start < text.len() {
        lines.push(Value::from(&text[start..]));
    }
    Value::Array(lines)
}

fn put(text: &mut String, value: &Value, level: usize) {
    if let Some(word) = word_beyond(value) {
        return text.push_str(word);
    }
    match value {
        Value::Object(map) if !map.is_empty() => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| key.as_str());
            put_all(text, ['{', '}'], level, entries, |text, (key, value)| {
                put_string(text, key);
                text.push_str(": ");
                put(text, value, level + 1);
            });
        }
        Value::Array(items) if !items.is_empty() => {
            put_all(text, ['[', ']'], level, items, |text, item| put(text, item, level + 1));
        }
        Value::String(string) => put_string(text, string),
        Value::Number(number) => text.push_str(&digits(number)),
        plain => text.push_str(&plain.to_string()),
    }
}

fn put_all<T>(
    text: &mut String,
    [open, close]: [char; 2],
    level: usize,
    items: impl IntoIterator<Item = T>,
    put_one: impl Fn(&mut String, T),
) {
    text.push(open);
    for (idx, item) in items.into_iter().enumerate() {
        if idx > 0 {
            text.push(',');
        }
        new_line(text, level + 1);
        put_one(text, item);
    }
    new_line(text, level);
    text.push(close);
}

fn new_line(text: &mut String, level: usize) {
    text.push('\n');
    text.extend(std::iter::repeat_n(' ', level));
}

fn put_string(text: &mut String, string: &str) {
    // escapes are the same in both: quotes, backslashes and what lies below the space
    text.push_str(&Value::from(string).to_string());
}

/// A number as Python's `repr` has it: an exponent of two digits from 1e16 up and below 1e-4.
fn digits(number: &Number) -> String {
    let plain = number.to_string();
    if !number.is_f64() {
        return plain;
    }
    let value = number.as_f64().unwrap_or_default();
    let size = value.abs();
    if size == 0.0 || (1e-4..1e16).contains(&size) {
        return format!("{value:?}");
    }
    let short = format!("{value:e}");
    let (mantissa, exponent) = short.split_once('e').expect("`{:e}` writes an exponent");
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{exponent:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_python_writes_them() {
        let cases = [
            ("1", "1"),
            ("-0.0", "-0.0"),
            ("1.0", "1.0"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("1.5e-7", "1.5e-07"),
            ("1e15", "1000000000000000.0"),
            ("1e16", "1e+16"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("18446744073709551615", "18446744073709551615"),
        ];
        for (read, written) in cases {
            let value: Value = serde_json::from_str(read).unwrap();
            assert_eq!(write(&value), format!("{written}\n"));
        }
    }

    #[test]
    fn numbers_that_json_lacks_come_back_as_they_were() {
        let text = "{\n \"a\": [\n  NaN,\n  -Infinity,\n  Infinity,\n  -1.5,\n  \"NaN \\\" Infinity\"\n ],\n \"z NaN\": NaN\n}\n";
        assert_eq!(write(&read(text).unwrap()), text);
        for word in ["NaN", "-Infinity", "Infinity"] {
            // texts that look like anything of ours are texts
            for text in [format!("\"\u{f8ff}{word}\""), format!("[\n \"{MARK}\",\n \"{word}\",\n {word}\n]")] {
                assert_eq!(write(&read(&text).unwrap()), format!("{text}\n"));
            }
            assert!(not_finite(&read(word).unwrap()).is_some_and(|number| !number.is_finite()));
        }
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.5] {
            let written = number(value);
            assert_eq!(
                not_finite(&written).map_or("finite".to_owned(), |number| number.to_string()),
                if value.is_finite() { "finite".into() } else { value.to_string() }
            );
        }
        for (text, at) in [("{\"a\": Nan}", (1, 7)), ("[NaN, ]", (1, 2)), ("[\"", (1, 2)), ("NaNNaN\"\\", (1, 1))] {
            let error = read(text).unwrap_err();
            assert_eq!((error.line(), error.column()), at, "{text}: {error}");
        }
    }

    #[test]
    fn whole_numbers_keep_all_their_digits() {
        let long = "123456789012345678901234567890";
        let text = format!(
            "{{\n \"a {long}\": \"{long}\",\n \"b\": [\n  {long},\n  -{long},\n  18446744073709551615,\n  18446744073709551616,\n  \
             -9223372036854775808,\n  -9223372036854775809,\n  1.2345678901234567,\n  NaN\n ],\n \"c\": {long}\n}}\n"
        );
        assert_eq!(write(&read(&text).unwrap()), text);
        assert_eq!(not_finite(&read(long).unwrap()), None);
        // floats are floats, however they are written; what is no number stays an error at its place
        for (float, written) in [(format!("{long}.0"), "1.2345678901234568e+29"), (format!("1{:0>29}e-29", 0), "1.0")] {
            assert_eq!(write(&read(&float).unwrap()), format!("{written}\n"));
        }
        for (wrong, at) in
            [(format!("[0{long}]"), (1, 3)), (format!("[{long}, x]"), (1, 34)), (format!("[{long}-]"), (1, 32))]
        {
            let error = read(&wrong).unwrap_err();
            assert_eq!((error.line(), error.column()), at, "{wrong}: {error}");
        }
    }

    #[test]
    fn a_list_that_is_written_already_makes_the_same_file() {
        for list in [vec![], vec![serde_json::json!({ "b": [1, {}], "a": null }), 7.into()]] {
            let mut file: Map<String, Value> =
                [("z".into(), 1.into()), ("a".into(), Value::Null)].into_iter().collect();
            let written: Vec<String> = list.iter().map(entry).collect();
            let text = write_with(&file, "cells", &written);
            file.insert("cells".into(), list.into());
            assert_eq!(text, write(&file.into()));
        }
    }

    #[test]
    fn lines_end_where_python_ends_them() {
        let text = "a\nb\r\nc\rd\u{b}e\u{2028}f\u{85}";
        assert_eq!(lines(text), serde_json::json!(["a\n", "b\r\n", "c\r", "d\u{b}", "e\u{2028}", "f\u{85}"]));
        assert_eq!(lines(""), serde_json::json!([]));
    }
}
