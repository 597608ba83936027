//! Values from outside, set by a cell behind the one that declares them.

mod declared;
mod given;
mod yaml;

use longlens_core::nearest::nearest;
use serde_json::{Map, Value, json};

use super::json::{self, not_finite, word_beyond};
use super::{Cell, DocumentError, INJECTED, Kind, Notebook, PARAMETERS, identity, ipynb};

pub use self::declared::Plain;
pub use self::given::{read_base64, read_file, read_pair, read_raw, read_value, read_yaml};

/// Names and values, in the order they were given.
pub type Parameters = Map<String, Value>;

/// Something about a parameter that may be a mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remark {
    /// No cell declares it.
    Undeclared {
        name: String,
        /// A declared name that may have been meant.
        nearest: Option<String>,
        /// Whether there is a cell tagged `parameters` at all.
        has_cell: bool,
    },
    /// It is a text, and the cell that declares it has something else.
    Text {
        name: String,
        /// What the cell has.
        declared: Plain,
    },
}

/// Sets parameters: inserts a cell that assigns them behind the first cell tagged `parameters`, or on top, in place of the
/// one of an earlier run, and notes them in the metadata. A whole number becomes a float where the notebook has one. Returns
/// what may be a mistake. Without parameters the notebook stays as it is.
pub fn inject(notebook: &mut Notebook, parameters: &Parameters) -> Result<Vec<Remark>, DocumentError> {
    if parameters.is_empty() {
        return Ok(Vec::new());
    }
    let cell = notebook.cells.iter().find(|cell| cell.has_tag(PARAMETERS));
    let declaration = cell.map_or("", |cell| cell.source.as_str());
    let mut parameters = parameters.clone();
    let mut remarks = undeclared(declaration, cell.is_some(), &parameters);
    let mut source = String::from("// Parameters");
    for (name, value) in &mut parameters {
        if let Some(default) = declared::default(declaration, name) {
            declared::fit(value, &default);
            let declared = Plain::of(&default).filter(|_| value.is_string());
            remarks.extend(declared.map(|declared| Remark::Text { name: name.clone(), declared }));
        }
        source += &assignment(name, value)?;
    }

    let mut cell = Cell::new(Kind::Code, source);
    cell.metadata.insert("tags".into(), json!([INJECTED]));
    notebook.cells.retain(|cell| !cell.has_tag(INJECTED));
    if notebook.cells.iter().all(|cell| cell.id != INJECTED) {
        cell.id = INJECTED.into();
    }
    let declared = notebook.cells.iter().position(|cell| cell.has_tag(PARAMETERS));
    notebook.cells.insert(declared.map_or(0, |idx| idx + 1), cell);
    identity::name_cells(&mut notebook.cells);

    note(notebook, "longlens", "parameters", Value::Object(parameters.clone()));
    note(notebook, "longlens", "version", env!("CARGO_PKG_VERSION").into());
    note(notebook, "papermill", "parameters", Value::Object(parameters.clone()));
    Ok(remarks)
}

/// A line that sets a variable, after a line break.
fn assignment(name: &str, value: &Value) -> Result<String, DocumentError> {
    // the language's own parser knows which names are words of it
    let is_name =
        rhai::is_valid_identifier(name) && rhai::Engine::new_raw().compile(format!("let {name} = 0;")).is_ok();
    if !is_name {
        return Err(DocumentError::NotName { name: name.into() });
    }
    let literal = literal(value);
    let literal = literal.ok_or_else(|| DocumentError::NotValue { name: name.into(), value: json::line(value) })?;
    Ok(format!("\nlet {name} = {literal};"))
}

/// A value as Rhai writes it; `None` for a whole number that does not fit.
fn literal(value: &Value) -> Option<String> {
    if let Some(number) = not_finite(value) {
        let above = if number.is_nan() {
            "0.0"
        } else if number > 0.0 {
            "1.0"
        } else {
            "-1.0"
        };
        return Some(format!("({above} / 0.0)"));
    }
    if word_beyond(value).is_some() {
        return None;
    }
    Some(match value {
        Value::Null => "()".into(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            // the sign is an operator, and the digits alone do not fit
            (Some(i64::MIN), _) => "(-9223372036854775807 - 1)".into(),
            (Some(whole), _) => whole.to_string(),
            (None, Some(float)) if number.is_f64() => with_point(float),
            _ => return None,
        },
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items = items.iter().map(literal).collect::<Option<Vec<_>>>()?;
            format!("[{}]", items.join(", "))
        }
        Value::Object(map) => {
            let entry = |(key, value): (&String, &Value)| Some(format!("{}: {}", quoted(key), literal(value)?));
            let entries = map.iter().map(entry).collect::<Option<Vec<_>>>()?;
            if entries.is_empty() { "#{}".into() } else { format!("#{{ {} }}", entries.join(", ")) }
        }
    })
}

/// All digits, since a point makes a float and an exponent alone does not.
fn with_point(float: f64) -> String {
    let digits = float.to_string();
    if digits.contains('.') { digits } else { digits + ".0" }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    text.chars().for_each(|char| push_escaped(&mut quoted, char));
    quoted.push('"');
    quoted
}

/// Appends a character as it stands between the quotes of a text in Rhai.
pub(crate) fn push_escaped(rhai: &mut String, char: char) {
    match char {
        '"' | '\\' => rhai.extend(['\\', char]),
        '\n' => rhai.push_str("\\n"),
        '\r' => rhai.push_str("\\r"),
        '\t' => rhai.push_str("\\t"),
        _ if char.is_control() => rhai.extend(format!("\\u{:04x}", u32::from(char)).chars()),
        _ => rhai.push(char),
    }
}

fn undeclared(declaration: &str, has_cell: bool, parameters: &Parameters) -> Vec<Remark> {
    let declared = declared::names(declaration);
    let unknown = parameters.keys().filter(|name| !declared.contains(&name.as_str()));
    let undeclared = unknown.map(|name| Remark::Undeclared {
        name: name.clone(),
        nearest: nearest(name, declared.iter().copied()).map(str::to_owned),
        has_cell,
    });
    undeclared.collect()
}

/// What differs between the parameters that two notebooks were given, a few words for each name.
pub fn changes(before: &Notebook, now: &Notebook) -> Vec<String> {
    let given = |notebook: &Notebook| match notebook.metadata.get("longlens").and_then(|own| own.get("parameters")) {
        Some(Value::Object(parameters)) => parameters.clone(),
        _ => Parameters::new(),
    };
    let (before, now) = (given(before), given(now));
    let names = before.keys().chain(now.keys().filter(|name| !before.contains_key(*name)));
    let changed = names.filter(|name| before.get(*name) != now.get(*name)).map(|name| {
        let shown = |given: Option<&Value>| match given {
            // as long as a line can have it
            Some(value) => {
                let text = literal(value).unwrap_or_else(|| json::line(value));
                longlens_core::printable::excerpt(&text, 0, 40).0.into_owned()
            }
            None => "as the notebook sets it".to_owned(),
        };
        format!("`{name}` was {}, is {}", shown(before.get(name)), shown(now.get(name)))
    });
    changed.collect()
}

/// Sets `metadata.OF.KEY`.
pub(crate) fn note(notebook: &mut Notebook, of: &str, key: &str, value: Value) {
    let entry = notebook.metadata.entry(of).or_insert_with(|| json!({}));
    if !entry.is_object() {
        *entry = json!({});
    }
    let mut map = ipynb::object(entry.take());
    map.insert(key.into(), value);
    *entry = Value::Object(map);
}

impl std::fmt::Display for Remark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Undeclared { name, nearest: Some(nearest), .. } => {
                write!(f, "the notebook has no parameter `{name}`; did you mean `{nearest}`?")
            }
            Self::Undeclared { name, nearest: None, has_cell: true } => {
                write!(f, "the notebook has no parameter `{name}`; it is set all the same")
            }
            Self::Undeclared { name, nearest: None, has_cell: false } => write!(
                f,
                "no cell is tagged `{PARAMETERS}`; `{name}` is set on top of the notebook, where a cell may set it again"
            ),
            Self::Text { name, declared } => write!(
                f,
                "parameter `{name}` is set to a text, and the notebook has {}: write it like `-p {name} {}`, or `-r {name}` if \
                 a text is meant",
                declared.name(),
                declared.example()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_filter_map("finite", |float| serde_json::Number::from_f64(float).map(Value::from)),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// What Rhai makes of a literal, as JSON.
    fn evaluated(literal: &str) -> Value {
        let mut engine = rhai::Engine::new();
        engine.set_max_expr_depths(0, 0);
        json_of(&engine.eval(literal).unwrap_or_else(|error| panic!("{literal}: {error}")))
    }

    fn json_of(value: &rhai::Dynamic) -> Value {
        if let Ok(array) = value.as_array_ref() {
            array.iter().map(json_of).collect()
        } else if let Ok(map) = value.as_map_ref() {
            Value::Object(map.iter().map(|(key, value)| (key.to_string(), json_of(value))).collect())
        } else if let Ok(float) = value.as_float() {
            serde_json::Number::from_f64(float).unwrap().into()
        } else if let Ok(whole) = value.as_int() {
            whole.into()
        } else if let Ok(truth) = value.as_bool() {
            truth.into()
        } else if value.is_unit() {
            Value::Null
        } else {
            value.as_immutable_string_ref().unwrap().as_str().into()
        }
    }

    proptest! {
        #[test]
        fn rhai_reads_back_what_is_written(value in any_value()) {
            prop_assert_eq!(evaluated(&literal(&value).unwrap()), value);
        }

        #[test]
        fn a_line_sets_one_variable_or_none(name in ".{0,12}", value in any_value()) {
            if let Ok(line) = assignment(&name, &value) {
                let mut scope = rhai::Scope::new();
                let mut engine = rhai::Engine::new();
                engine.set_max_expr_depths(0, 0);
                engine.run_with_scope(&mut scope, &line).unwrap();
                prop_assert_eq!(scope.iter().map(|(name, ..)| name.to_owned()).collect::<Vec<_>>(), [name]);
            }
        }
    }

    #[test]
    fn numbers_at_the_edges_are_written_whole() {
        for value in [json!(i64::MIN), json!(i64::MAX), json!(1e300), json!(-5e-324), json!(-0.0), json!(3.0)] {
            assert_eq!(evaluated(&literal(&value).unwrap()), value);
        }
        assert_eq!(literal(&json!(u64::MAX)), None);
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let given = json!([super::json::number(number)]);
            let code = literal(&given).unwrap();
            let list: rhai::Array = rhai::Engine::new().eval(&code).unwrap();
            assert_eq!(list[0].as_float().unwrap().to_string(), number.to_string(), "{code}");
        }
    }

    #[test]
    fn words_of_the_language_are_no_names() {
        for name in ["if", "let", "fn", "this", "a b", "1a", "a;b", "", "_", "print = 1; let b", "new"] {
            let error = assignment(name, &json!(1)).unwrap_err();
            assert!(matches!(error, DocumentError::NotName { .. }), "{name}");
        }
        assert!(assignment("n_tokens", &json!(1)).is_ok());
    }
}
