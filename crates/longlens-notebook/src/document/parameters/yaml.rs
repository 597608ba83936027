//! Parameters in YAML, as papermill reads them: with `PyYAML`, which follows YAML 1.1.
//!
//! A word without quotes is what its `SafeLoader` makes of it: `yes` and `off` are truths, `017` is octal, `0o17`, `08` and
//! `1e3` are texts, `1.0e+3` is a number, `12:30:45` counts in sixties. Dates stay text, as papermill has them. Names of entries are
//! texts, whatever else they look like.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};
use serde_json::{Map, Value};

use crate::document::json;

/// Values inside values; cells are not parsed beyond it either.
const MOST_LEVELS: usize = 64;
/// Values of one text, those that aliases repeat among them.
const MOST_VALUES: usize = 1 << 20;
/// Bytes of a text that count as one more value.
const TEXT: usize = 32;
/// Where tags of YAML itself begin.
const OWN_TAG: &str = "tag:yaml.org,2002:";

/// The value of a text with one document, `null` for a text without any; else what is wrong, and in which line.
pub fn read(text: &str) -> Result<Value, String> {
    let mut reader =
        Reader { events: Parser::new_from_str(text), anchors: HashMap::new(), n_values: 0, n_named: 0, line: 1 };
    let read = reader.document();
    read.map_err(|what| format!("line {}: {what}", reader.line))
}

struct Reader<'a> {
    events: Parser<'a, StrInput<'a>>,
    /// Finished values that have a name, with how many values each holds.
    anchors: HashMap<usize, (Value, usize)>,
    n_values: usize,
    /// Values that have a name, or lie in one that has.
    n_named: usize,
    /// The line that was read last, from 1.
    line: usize,
}

/// A key of a map.
struct Key {
    name: String,
    /// `<<`, whose value gives entries.
    merges: bool,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Event<'a>, String> {
        loop {
            let next: Option<Result<(Event<'a>, Span), ScanError>> = self.events.next();
            match next {
                Some(Ok((event, span))) => {
                    self.line = span.start.line();
                    if !matches!(event, Event::StreamStart | Event::DocumentStart(..)) {
                        return Ok(event);
                    }
                }
                Some(Err(error)) => {
                    self.line = error.marker().line();
                    return Err(error.info());
                }
                None => return Err("it ends too early".into()),
            }
        }
    }

    fn document(&mut self) -> Result<Value, String> {
        let first = self.next()?;
        if matches!(first, Event::StreamEnd) {
            return Ok(Value::Null);
        }
        let value = self.value(first, 0)?;
        let Event::DocumentEnd = self.next()? else { return Err("something stands behind the value".into()) };
        let Event::StreamEnd = self.next()? else { return Err("a second document begins".into()) };
        Ok(value)
    }

    /// The value that begins with an event.
    fn value(&mut self, event: Event<'a>, level: usize) -> Result<Value, String> {
        if level > MOST_LEVELS {
            return Err(format!("values lie inside values more than {MOST_LEVELS} levels deep"));
        }
        let before = self.n_values;
        self.counts(1)?;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.counts(text.len() / TEXT)?;
                let tag = tag.map(|tag| format!("{}{}", tag.handle(), tag.suffix()));
                (scalar(&text, style == ScalarStyle::Plain, tag.as_deref())?, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                untagged(tag.map(|tag| format!("{}{}", tag.handle(), tag.suffix())), "seq")?;
                let mut list = Vec::new();
                loop {
                    match self.next()? {
                        Event::SequenceEnd => break (list.into(), anchor),
                        event => list.push(self.value(event, level + 1)?),
                    }
                }
            }
            Event::MappingStart(_, anchor, tag) => {
                untagged(tag.map(|tag| format!("{}{}", tag.handle(), tag.suffix())), "map")?;
                (self.map(level)?, anchor)
            }
            Event::Alias(of) => {
                let known = self.anchors.get(&of).map(|(value, n)| (value, *n));
                let (value, n) = known.ok_or("a value repeats itself")?;
                let value = value.clone();
                self.counts(n)?;
                (value, 0)
            }
            _ => return Err("a value is missing".into()),
        };
        if anchor != 0 {
            let n = self.n_values - before;
            // values with names inside values with names are kept several times
            self.n_named = self.n_named.saturating_add(n);
            if self.n_named > MOST_VALUES {
                return Err(format!("there are more than {MOST_VALUES} values with names"));
            }
            self.anchors.insert(anchor, (value.clone(), n));
        }
        Ok(value)
    }

    fn counts(&mut self, n: usize) -> Result<(), String> {
        self.n_values = self.n_values.saturating_add(n);
        if self.n_values > MOST_VALUES {
            return Err(format!("there are more than {MOST_VALUES} values, or it repeats itself without end"));
        }
        Ok(())
    }

    fn map(&mut self, level: usize) -> Result<Value, String> {
        let (mut own, mut lines, mut merged) = (Map::new(), HashMap::new(), Map::new());
        loop {
            let key = match self.next()? {
                Event::MappingEnd => break,
                Event::Scalar(text, style, anchor, _) => {
                    self.counts(text.len() / TEXT)?;
                    if anchor != 0 {
                        self.anchors.insert(anchor, (text.clone().into(), 1 + text.len() / TEXT));
                    }
                    Key { merges: text == "<<" && style == ScalarStyle::Plain, name: text.into_owned() }
                }
                Event::Alias(of) => match self.anchors.get(&of) {
                    Some((Value::String(name), _)) => Key { name: name.clone(), merges: false },
                    _ => return Err("the name of an entry is no text".into()),
                },
                _ => return Err("the name of an entry is no text".into()),
            };
            let line = self.line;
            let event = self.next()?;
            let value = self.value(event, level + 1)?;
            if key.merges {
                merge(&mut merged, value)?;
                continue;
            }
            if let Some(first) = lines.insert(key.name.clone(), line) {
                self.line = line;
                return Err(format!("`{}` is set a second time, after line {first}", key.name));
            }
            own.insert(key.name, value);
        }
        // its own entries count, and stand behind those that it takes over
        own.into_iter().for_each(|(name, value)| drop(merged.insert(name, value)));
        Ok(merged.into())
    }
}

/// Takes over the entries of a map, or of each map of a list; what comes first counts.
fn merge(into: &mut Map<String, Value>, from: Value) -> Result<(), String> {
    let maps = match from {
        Value::Array(maps) => maps,
        map => vec![map],
    };
    for map in maps {
        let Value::Object(map) = map else { return Err("`<<` takes a map, or a list of maps".into()) };
        for (name, value) in map {
            into.entry(name).or_insert(value);
        }
    }
    Ok(())
}

/// Refuses a list or a map that is to be something else.
fn untagged(tag: Option<String>, own: &str) -> Result<(), String> {
    match tag {
        Some(tag) if tag != "!" && tag.strip_prefix(OWN_TAG) != Some(own) => {
            Err(format!("the tag `{tag}` is not known"))
        }
        _ => Ok(()),
    }
}

fn scalar(text: &str, is_plain: bool, tag: Option<&str>) -> Result<Value, String> {
    let is_not = |kind: &str| format!("`{text}` is no {kind}");
    match tag.map(|tag| tag.strip_prefix(OWN_TAG).unwrap_or(tag)) {
        None if is_plain => plain(text),
        None | Some("!" | "str") => Ok(text.into()),
        Some("null") => Ok(Value::Null),
        Some("bool") => truth(text).map(Value::from).ok_or_else(|| is_not("truth")),
        Some("int") => plain(text).ok().filter(Value::is_i64).ok_or_else(|| is_not("whole number")),
        Some("float") => {
            let number = float(text).or_else(|| text.replace('_', "").parse().ok());
            number.map(json::number).ok_or_else(|| is_not("number"))
        }
        Some(_) => Err(format!("the tag `{}` is not known", tag.unwrap_or_default())),
    }
}

/// What a word without quotes stands for.
fn plain(text: &str) -> Result<Value, String> {
    if matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Ok(Value::Null);
    }
    if let Some(truth) = truth(text) {
        return Ok(truth.into());
    }
    if let Some(whole) = whole(text) {
        let fits = i64::try_from(whole).map(Value::from);
        return fits.map_err(|_| format!("{text} is too large: whole numbers lie within ±{}", i64::MAX));
    }
    Ok(float(text).map_or_else(|| text.into(), json::number))
}

fn truth(text: &str) -> Option<bool> {
    match text {
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// The sign in front of a number, and what follows it.
fn signed(text: &str) -> (i128, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn is_of(text: &str, digit: impl Fn(char) -> bool) -> bool {
    text.chars().all(|c| digit(c) || c == '_')
}

/// A whole number, or the largest there is where it is larger.
fn whole(text: &str) -> Option<i128> {
    let (sign, digits) = signed(text);
    let (rest, radix) = if let Some(rest) = digits.strip_prefix("0b") {
        (rest, 2)
    } else if let Some(rest) = digits.strip_prefix("0x") {
        (rest, 16)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (digits, 8)
    } else {
        (digits, 10)
    };
    if radix == 10 && digits.contains(':') {
        let (first, rest) = digits.split_once(':')?;
        let is_first = first.starts_with(|c: char| matches!(c, '1'..='9')) && is_of(first, |c| c.is_ascii_digit());
        return (is_first && rest.split(':').all(is_sixtieth)).then(|| {
            let parts = digits.split(':').map(|part| part.replace('_', "").parse().unwrap_or(i128::MAX));
            parts.fold(0, |sum: i128, part| sum.saturating_mul(60).saturating_add(part)) * sign
        });
    }
    let is_number = is_of(rest, |c| c.is_digit(radix)) && rest.contains(|c: char| c != '_');
    let is_begun = radix != 10 || rest.starts_with(|c: char| c.is_ascii_digit());
    (is_number && is_begun).then(|| sign * i128::from_str_radix(&rest.replace('_', ""), radix).unwrap_or(i128::MAX))
}

fn is_sixtieth(part: &str) -> bool {
    matches!(part.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9'])
}

/// A number with a point; an exponent needs the point, and its sign.
fn float(text: &str) -> Option<f64> {
    let (sign, digits) = signed(text);
    let sign = sign as f64;
    match digits {
        ".inf" | ".Inf" | ".INF" => return Some(sign * f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" if digits == text => return Some(f64::NAN),
        _ => {}
    }
    let (before, behind) = digits.split_once('.')?;
    let (behind, exponent) = match behind.split_once(['e', 'E']) {
        Some((behind, exponent)) => (behind, Some(exponent)),
        None => (behind, None),
    };
    let is_exponent = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or_default();
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    if !is_exponent || !is_of(behind, |c| c.is_ascii_digit()) {
        return None;
    }
    if let Some((first, rest)) = before.split_once(':') {
        let mut parts = rest.split(':');
        let is_first = first.starts_with(|c: char| c.is_ascii_digit()) && is_of(first, |c| c.is_ascii_digit());
        if exponent.is_some() || !is_first || !parts.all(is_sixtieth) {
            return None;
        }
        let text = digits.replace('_', "");
        let parts = text.split(':').map(|part| part.parse::<f64>().ok());
        return parts.reduce(|sum, part| Some(sum? * 60.0 + part?))?.map(|sum| sign * sum);
    }
    let is_number = if before.is_empty() {
        // a sign makes a text of `+.5`
        digits == text && behind.starts_with(|c: char| c.is_ascii_digit())
    } else {
        before.starts_with(|c: char| c.is_ascii_digit()) && is_of(before, |c| c.is_ascii_digit())
    };
    is_number.then(|| digits.replace('_', "").parse::<f64>().ok().map(|number| sign * number))?
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Values that `PyYAML` 6 gave under papermill's loader.
    #[test]
    fn words_are_what_pyyaml_makes_of_them() {
        let (infinite, none) = (json::number(f64::INFINITY), json::number(f64::NAN));
        for (word, value) in [
            ("y", json!("y")),
            ("n", json!("n")),
            ("yes", json!(true)),
            ("No", json!(false)),
            ("on", json!(true)),
            ("OFF", json!(false)),
            ("oFF", json!("oFF")),
            ("True", json!(true)),
            ("~", json!(null)),
            ("NULL", json!(null)),
            ("nULL", json!("nULL")),
            ("017", json!(15)),
            ("-017", json!(-15)),
            ("0_17", json!(15)),
            ("08", json!("08")),
            ("0o17", json!("0o17")),
            ("0x1F", json!(31)),
            ("-0x_1f", json!(-31)),
            ("0b101", json!(5)),
            ("0b2", json!("0b2")),
            ("1_000", json!(1000)),
            ("_1", json!("_1")),
            ("+12", json!(12)),
            ("0", json!(0)),
            ("12:30:45", json!(45045)),
            ("-1:30", json!(-90)),
            ("1:60", json!("1:60")),
            ("01:30", json!("01:30")),
            ("190:20:30.15", json!(685_230.15)),
            ("0:30", json!("0:30")),
            ("0:30.5", json!(30.5)),
            ("1:5:09", json!(3909)),
            (".5e3", json!(".5e3")),
            ("0_", json!(0)),
            ("1e3", json!("1e3")),
            ("1.0e3", json!("1.0e3")),
            ("1.0e+3", json!(1000.0)),
            ("1.e-1", json!(0.1)),
            ("1.", json!(1.0)),
            (".5", json!(0.5)),
            ("+.5", json!("+.5")),
            ("-1.5", json!(-1.5)),
            ("1_0.5_0", json!(10.5)),
            (".", json!(".")),
            ("1.2.3", json!("1.2.3")),
            (".inf", infinite.clone()),
            ("+.INF", infinite),
            (".nan", none),
            ("-.nan", json!("-.nan")),
            (".iNF", json!(".iNF")),
            ("inf", json!("inf")),
            ("2026-01-01", json!("2026-01-01")),
            ("2026-01-01 10:00:00", json!("2026-01-01 10:00:00")),
            ("-9223372036854775808", json!(i64::MIN)),
        ] {
            assert_eq!(read(&format!("a: {word}")), Ok(json!({ "a": value })), "{word}");
            assert_eq!(read(&format!("a: '{word}'")), Ok(json!({ "a": word })), "{word} in quotes");
        }
        assert_eq!(read("a:\nb: ''"), Ok(json!({ "a": null, "b": "" })));
        assert_eq!(read("on: 1\n1: 2"), Ok(json!({ "on": 1, "1": 2 })), "names are texts");
        assert_eq!(
            read("[!!str 1, !!float 1, !!int '7', !!bool 'no', ! 5, !!null '']"),
            Ok(json!(["1", 1.0, 7, false, "5", null]))
        );
    }

    #[test]
    fn maps_take_over_entries_of_others() {
        let text = "base: &base {a: 1, b: 2}\nmore: &more {b: 3, c: 4}\nmine: {<<: [*base, *more], a: 9}\n'<<': x\nlist: [*base]";
        let read = read(text).unwrap();
        assert_eq!(read["mine"].to_string(), r#"{"a":9,"b":2,"c":4}"#);
        assert_eq!((&read["<<"], &read["list"][0]["b"]), (&json!("x"), &json!(2)));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, told) in [
            ("a: 1\nb: 2\na: 3", "line 3: `a` is set a second time, after line 1"),
            ("a: 1\nb: {c: 1,\n  c: 2}", "line 3: `c` is set a second time, after line 2"),
            ("a: 1\n---\nb: 2", "line 3: a second document begins"),
            (
                "a: !!python/object:os.system x",
                "line 1: the tag `tag:yaml.org,2002:python/object:os.system` is not known",
            ),
            ("a: !mine x", "line 1: the tag `!mine` is not known"),
            (
                "a: 9223372036854775808",
                "line 1: 9223372036854775808 is too large: whole numbers lie within ±9223372036854775807",
            ),
            ("a: &a [*a]", "line 1: a value repeats itself"),
            ("? [1]\n: 2", "line 1: the name of an entry is no text"),
            ("a: 1\n<<: 7", "line 2: `<<` takes a map, or a list of maps"),
        ] {
            assert_eq!(read(text), Err(told.to_owned()), "{text}");
        }
        for text in ["a: [1", "a: *nobody", "a: 'x"] {
            assert!(read(text).unwrap_err().starts_with("line 1: "), "{text}: {:?}", read(text));
        }
    }

    #[test]
    fn long_texts_that_repeat_are_refused() {
        let long = "x".repeat(1 << 20);
        let list = "*a, ".repeat(2000);
        let told = read(&format!("a: &a \"{long}\"\nb: [{list}]\n")).unwrap_err();
        assert!(told.contains("repeats itself without end"), "{told}");
        let nested = (0..60).fold(format!("\"{long}\""), |inside, at| format!("&n{at} [{inside}]"));
        let told = read(&format!("a: {nested}\n")).unwrap_err();
        assert!(told.contains("values with names"), "{told}");
        assert!(read(&format!("a: &a \"{long}\"\nb: [*a, *a]\n")).is_ok());
    }
}
