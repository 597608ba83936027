//! Jinja as transformers speaks it: what its environment has beyond the language.

use std::fmt::Write;

use chrono::NaiveDate;
use chrono::format::{Item, StrftimeItems};
use longlens_core::lens::LensError;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Value};

use super::bounds::{MAX_BYTES, MAX_DEPTH, bound, too_much, weigh};
use crate::error::cut;

/// Builtins, Python's methods on texts, lists and dictionaries, blocks that leave no lines behind, `raise_exception` and `tojson`.
pub(super) fn environment() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    bound(&mut environment);
    environment.add_function("raise_exception", |said: &Value| -> Result<Value, Error> {
        weigh(said)?;
        Err(Error::new(ErrorKind::InvalidOperation, said.to_string()).with_source(Refusal))
    });
    environment.add_filter("tojson", tojson);
    Ok(environment)
}

/// Marks an error as the template's own word.
#[derive(Debug, thiserror::Error)]
#[error("raise_exception")]
struct Refusal;

/// Whether the template raised an error on purpose.
pub(super) fn is_refusal(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<Refusal>)
}

/// Templates for training mark what the assistant says with a block of transformers' own, which changes nothing of the text.
pub(super) fn without_marks(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("{%") {
        let Some(len) = rest[start..].find("%}") else { break };
        let tag = &rest[start..start + len + 2];
        let word = tag.trim_start_matches("{%").trim_end_matches("%}").trim_matches(['-', '+']).trim();
        out.push_str(&rest[..start]);
        match word {
            "generation" => out.push_str(&tag.replacen("generation", "if true", 1)),
            "endgeneration" => out.push_str(&tag.replacen("endgeneration", "endif", 1)),
            _ => out.push_str(tag),
        }
        rest = &rest[start + len + 2..];
    }
    out + rest
}

/// A day as `YYYY-MM-DD`.
pub(super) fn date(text: &str) -> Result<NaiveDate, LensError> {
    text.parse().map_err(|_| LensError::NoDate { date: cut(text).into_owned() })
}

/// The function that templates ask for the date, of which transformers tells the moment and we a day's beginning.
pub(super) fn strftime(date: NaiveDate) -> Value {
    Value::from_function(move |format: &Value| -> Result<String, Error> {
        weigh(format)?;
        let format = format.to_string();
        let items: Vec<Item<'_>> = StrftimeItems::new(&format).collect();
        let moment = date.and_time(chrono::NaiveTime::MIN).and_utc();
        if items.iter().any(|item| matches!(item, Item::Error)) {
            return Err(Error::new(ErrorKind::InvalidOperation, format!("strftime_now cannot write `{format}`")));
        }
        Ok(moment.format_with_items(items.into_iter()).to_string())
    })
}

/// Python's `json.dumps(x, ensure_ascii=False, …)`, where Jinja's own filter would write signs for HTML.
#[expect(clippy::needless_pass_by_value, reason = "filters take their options so")]
fn tojson(value: &Value, options: Kwargs) -> Result<String, Error> {
    let ascii: Option<bool> = options.get("ensure_ascii")?;
    let indent: Option<usize> = options.get("indent")?;
    let separators: Option<Vec<String>> = options.get("separators")?;
    let sort_keys: Option<bool> = options.get("sort_keys")?;
    options.assert_all_used()?;
    let usual = if indent.is_some() { "," } else { ", " };
    let (comma, colon) = match separators.as_deref() {
        None => (usual, ": "),
        Some([comma, colon]) => (comma.as_str(), colon.as_str()),
        Some(_) => return Err(Error::new(ErrorKind::InvalidOperation, "tojson takes two separators")),
    };
    let mut json = Json {
        out: String::new(),
        comma,
        colon,
        indent: indent.map(|n| n.min(16)),
        sort_keys: sort_keys == Some(true),
    };
    weigh(value)?;
    json.write(value, 0)?;
    Ok(if ascii == Some(true) { escaped(&json.out) } else { json.out })
}

/// Characters beyond ASCII as units of UTF-16.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if c.is_ascii() {
            out.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                let _ = write!(out, "\\u{unit:04x}");
            });
        }
        out
    })
}

/// A value on its way to a text.
struct Json<'a> {
    out: String,
    comma: &'a str,
    colon: &'a str,
    indent: Option<usize>,
    sort_keys: bool,
}

impl Json<'_> {
    fn write(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH || self.out.len() > MAX_BYTES {
            return Err(too_much());
        }
        match value.kind() {
            ValueKind::None | ValueKind::Undefined => self.out.push_str("null"),
            ValueKind::Bool => self.out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.out.push_str(&value.to_string()),
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sort_keys {
                    keys.sort();
                }
                self.items("{", "}", depth, &keys, |json, key| {
                    json.text(&key.to_string());
                    json.out.push_str(json.colon);
                    json.write(&value.get_item(key)?, depth + 1)
                })?;
            }
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.collect();
                self.items("[", "]", depth, &items, |json, item| json.write(item, depth + 1))?;
            }
            _ => self.text(&value.to_string()),
        }
        Ok(())
    }

    fn items(
        &mut self,
        open: &str,
        close: &str,
        depth: usize,
        items: &[Value],
        mut write: impl FnMut(&mut Self, &Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.out.push_str(open);
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.out.push_str(self.comma);
            }
            self.line(depth + 1);
            write(self, item)?;
        }
        if !items.is_empty() {
            self.line(depth);
        }
        self.out.push_str(close);
        Ok(())
    }

    /// A new line, where values have lines of their own.
    fn line(&mut self, depth: usize) {
        if let Some(indent) = self.indent {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n(' ', indent * depth));
        }
    }

    fn text(&mut self, text: &str) {
        self.out.push_str(&serde_json::Value::from(text).to_string());
    }
}
