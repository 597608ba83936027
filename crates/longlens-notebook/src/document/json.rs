//! JSON as Jupyter writes it: keys sorted, one space per level, numbers and lines as Python has them.

use std::borrow::Cow;

use serde_json::{Number, Value};

/// What JSON has no word for and Python writes all the same, and the texts that stand for these while a file is open.
const BEYOND: [(&str, &str); 3] =
    [("NaN", "\u{f8ff}NaN"), ("-Infinity", "\u{f8ff}-Infinity"), ("Infinity", "\u{f8ff}Infinity")];

/// Reads JSON as Python writes it, `NaN` and `Infinity` too.
pub fn read(text: &str) -> Result<Value, serde_json::Error> {
    let plain = serde_json::from_str(text);
    match with_marks(text) {
        Cow::Owned(marked) if plain.is_err() => serde_json::from_str(&marked).or(plain),
        _ => plain,
    }
}

/// The text with marks for what JSON has no word for.
fn with_marks(text: &str) -> Cow<'_, str> {
    if BEYOND.iter().all(|(word, _)| !text.contains(word)) {
        return Cow::Borrowed(text);
    }
    let (mut marked, mut at) = (String::with_capacity(text.len()), 0);
    while at < text.len() {
        let rest = &text[at..];
        if let Some((word, mark)) = BEYOND.iter().find(|(word, _)| rest.starts_with(word)) {
            marked.extend(["\"", mark, "\""]);
            at += word.len();
            continue;
        }
        // a text as it stands, or everything up to what may begin a word or a text
        let len = match rest.strip_prefix('"') {
            Some(inside) => 1 + end_of_text(inside),
            None => rest
                .char_indices()
                .skip(1)
                .find(|(_, c)| matches!(c, '"' | 'N' | 'I' | '-'))
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
pub fn write(value: &Value) -> String {
    let mut text = String::new();
    put(&mut text, value, 0);
    text.push('\n');
    text
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
        Value::String(string) => match BEYOND.iter().find(|(_, mark)| string == mark) {
            Some((word, _)) => text.push_str(word),
            None => put_string(text, string),
        },
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
        for (text, at) in [("{\"a\": Nan}", (1, 7)), ("[NaN, ]", (1, 2)), ("[\"", (1, 2)), ("NaNNaN\"\\", (1, 1))] {
            let error = read(text).unwrap_err();
            assert_eq!((error.line(), error.column()), at, "{text}: {error}");
        }
    }

    #[test]
    fn lines_end_where_python_ends_them() {
        let text = "a\nb\r\nc\rd\u{b}e\u{2028}f\u{85}";
        assert_eq!(lines(text), serde_json::json!(["a\n", "b\r\n", "c\r", "d\u{b}", "e\u{2028}", "f\u{85}"]));
        assert_eq!(lines(""), serde_json::json!([]));
    }
}
