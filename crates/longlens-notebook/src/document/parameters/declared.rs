//! What the cell tagged `parameters` declares: names, and the values that they have there.

use rhai::{Dynamic, Engine};
use serde_json::Value;

use crate::document::json;
use crate::lexer::{self, Kind};

/// Steps that a declared value may take to be known.
const MOST_STEPS: u64 = 10_000;

/// A kind of value that no text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plain {
    /// A whole number or a float.
    Number,
    /// `true` or `false`.
    Truth,
    List,
    Map,
}

impl Plain {
    /// The kind of a value, unless it is a text or nothing that a parameter can be.
    pub(super) fn of(value: &Dynamic) -> Option<Self> {
        match value {
            _ if value.is_int() || value.is_float() => Some(Self::Number),
            _ if value.is_bool() => Some(Self::Truth),
            _ if value.is_array() => Some(Self::List),
            _ if value.is_map() => Some(Self::Map),
            _ => None,
        }
    }

    /// Its name with an article.
    pub fn name(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Truth => "a truth value",
            Self::List => "a list",
            Self::Map => "a map",
        }
    }

    /// A value as a command line has it.
    pub fn example(self) -> &'static str {
        match self {
            Self::Number => "0.5",
            Self::Truth => "true",
            Self::List => "\"[0.1, 0.5]\"",
            Self::Map => "\"{ factor = 8 }\"",
        }
    }
}

/// The variables that a cell declares, however many stand on a line, without those inside blocks.
pub fn names(source: &str) -> Vec<&str> {
    declarations(source).into_iter().map(|(name, _)| name).collect()
}

/// The value that a cell declares a variable with, if it can be known without running other code. Of two the last counts.
pub fn default(source: &str, name: &str) -> Option<Dynamic> {
    let (_, value) = declarations(source).into_iter().rev().find(|(declared, _)| *declared == name)?;
    let mut engine = Engine::new_raw(); // without functions
    engine.set_max_operations(MOST_STEPS);
    engine.eval_expression(value?).ok()
}

/// Makes floats of whole numbers where the default has floats: `n / 2` is to be what it is with the default.
pub fn fit(value: &mut Value, default: &Dynamic) {
    match value {
        Value::Number(number) if default.is_float() => {
            if let Some(whole) = number.as_i64() {
                *value = json::number(whole as f64);
            }
        }
        Value::Array(items) => {
            let defaults = default.as_array_ref();
            let floats = defaults.iter().find(|all| all.iter().all(Dynamic::is_float));
            for (item, first) in items.iter_mut().zip(floats.and_then(|all| all.first()).into_iter().cycle()) {
                fit(item, first);
            }
        }
        Value::Object(entries) => {
            let Ok(defaults) = default.as_map_ref() else { return };
            for (key, value) in entries {
                defaults.get(key.as_str()).into_iter().for_each(|default| fit(value, default));
            }
        }
        _ => {}
    }
}

/// Each `let` or `const` outside of blocks: the name, and the code of its value.
fn declarations(source: &str) -> Vec<(&str, Option<&str>)> {
    let mut tokens = lexer::tokens(source);
    tokens.retain(|token| token.kind != Kind::Comment);
    let text = |at: usize| tokens.get(at).map_or("", |token| &source[token.bytes.clone()]);
    let (mut depth, mut found) = (0_usize, Vec::new());
    // where the value of the newest declaration begins
    let mut begun = None;
    for (at, token) in tokens.iter().enumerate() {
        match text(at) {
            "{" | "(" | "[" | "#{" => depth += 1,
            "}" | ")" | "]" => depth = depth.saturating_sub(1),
            ";" if depth == 0 => close(source, &mut found, &mut begun, token.bytes.start),
            "let" | "const" if depth == 0 && token.kind == Kind::Keyword && at + 1 < tokens.len() => {
                found.push((text(at + 1), None));
                begun = (text(at + 2) == "=").then(|| tokens[at + 2].bytes.end);
            }
            _ => {}
        }
    }
    close(source, &mut found, &mut begun, source.len());
    found
}

/// The value that began has ended.
fn close<'a>(source: &'a str, found: &mut [(&str, Option<&'a str>)], begun: &mut Option<usize>, end: usize) {
    if let (Some(start), Some((_, value))) = (begun.take(), found.last_mut()) {
        *value = Some(&source[start..end]);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_variable_of_a_cell_is_declared() {
        let source = "let a = 1; let b = \"let c\"; const d = [1,\n2]; // let e\nlet f = if a > 0 { let g = 1; g } else { 2 };\nlet\nh;";
        assert_eq!(names(source), ["a", "b", "d", "f", "h"]);
    }

    #[test]
    fn values_that_need_no_other_code_are_known() {
        let source = "let a = -1.5; // half\nconst b = [0.1, /* or */ 1.0];\nlet c = #{ w: 4, f: 8.0 };\nlet d = true; let e = a * 2.0;\n\
                      let f = needle(1); let g; let h = \"x\"; let i = 1 / 4.0; let a = 2.5; let j = while true {}; let k = 3";
        let known = |name| default(source, name).map(|value| value.to_string());
        let expected = [("a", "2.5"), ("b", "[0.1, 1.0]"), ("d", "true"), ("h", "x"), ("i", "0.25"), ("k", "3")];
        for (name, value) in expected {
            assert_eq!(known(name).as_deref(), Some(value), "{name}");
        }
        assert!(default(source, "c").is_some_and(|value| value.is_map()));
        for name in ["e", "f", "g", "j", "z"] {
            assert_eq!(known(name), None, "{name}");
        }
    }

    #[test]
    fn whole_numbers_are_floats_where_the_default_is() {
        for (default_code, given, fitted) in [
            ("1.5", json!(3), json!(3.0)),
            ("1.5", json!("3"), json!("3")),
            ("1", json!(3), json!(3)),
            ("[0.1, 0.5]", json!([0, 0.5, 1]), json!([0.0, 0.5, 1.0])),
            ("[1, 0.5]", json!([0, 1]), json!([0, 1])),
            ("[]", json!([0]), json!([0])),
            ("#{ w: 4, f: 8.0 }", json!({ "w": 2, "f": 4, "z": 1 }), json!({ "w": 2, "f": 4.0, "z": 1 })),
            ("1.5", json::number(f64::NAN), json::number(f64::NAN)),
        ] {
            let mut value = given;
            fit(&mut value, &default(&format!("let p = {default_code};"), "p").unwrap());
            assert_eq!(value, fitted, "{default_code}");
        }
    }
}
